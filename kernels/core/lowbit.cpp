#include "core/lowbit.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"
#include "core/parallel_rows.h"

namespace wutdet {
namespace {

// Outputs that do not fit into the caches anyway go past them.
constexpr std::size_t kStreamBytes = std::size_t{1} << 24, kStreamColumns = 256;
// What a core keeps of its input while it reads it twice.
constexpr std::size_t kCachedBytes = std::size_t{1} << 18;
// What formats without groups are split into for threads.
constexpr std::size_t kChunk = 4096;

const LowbitKernels& kernels_for(const LowbitRun& run) {
#ifdef WUTDET_LOWBIT_AVX2
  if (!run.portable && !run.stochastic && lowbit_has_fast_path()) return avx2_lowbit_kernels();
#endif
  (void)run;
  return portable_lowbit_kernels();
}

// A part of a row: where its values begin, and how many there are.
struct Part {
  std::size_t first, count;
};

Part part_of(std::size_t columns, std::size_t size, std::size_t begin, std::size_t end) {
  return {begin * size, std::min(end * size, columns) - begin * size};
}

std::size_t groups_of(const LowbitRun& run, std::size_t size) { return (run.columns + size - 1) / size; }

// Random bits of one part of a row, or none.
struct PartNoise {
  PartNoise(const LowbitRun& run, std::size_t row, std::size_t first)
      : noise{run.seed, static_cast<std::uint64_t>(row) * run.columns + first}, on(run.stochastic) {}
  const Noise* get() const { return on ? &noise : nullptr; }
  Noise noise;
  bool on;
};

std::size_t threads_of(const LowbitRun& run) {
  return threads_for(run.rows * run.columns * sizeof(float), run.threads);
}

bool streams(const LowbitRun& run, const float* out) {
  return run.rows * run.columns * sizeof(float) >= kStreamBytes && run.columns >= kStreamColumns &&
         reinterpret_cast<std::uintptr_t>(out) % 16 == 0;
}

// work(row, values, first group, last group) for all parts of rows with groups of `size`.
template <typename Work>
void for_groups(const LowbitRun& run, std::size_t size, const Work& work) {
  for_row_parts(run.rows, groups_of(run, size), threads_of(run),
                [&](std::size_t, std::size_t row, std::size_t begin, std::size_t end) {
                  work(row, part_of(run.columns, size, begin, end), begin);
                });
}

template <typename Encode>
void encode_blocks(const float* x, const LowbitRun& run, std::size_t size, std::size_t scale_bytes,
                   std::uint8_t* codes, std::uint8_t* scales, const Encode& encode) {
  const std::size_t row_bytes = (run.columns + 1) / 2, groups = groups_of(run, size);
  for_groups(run, size, [&](std::size_t row, Part part, std::size_t group) {
    const PartNoise noise(run, row, part.first);
    encode(x + row * run.columns + part.first, part.count, noise.get(), codes + row * row_bytes + part.first / 2,
           scales + (row * groups + group) * scale_bytes);
  });
}

template <typename Decode>
void decode_blocks(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run, std::size_t size,
                   std::size_t scale_bytes, float* out, const Decode& decode) {
  const std::size_t row_bytes = (run.columns + 1) / 2, groups = groups_of(run, size);
  for_groups(run, size, [&](std::size_t row, Part part, std::size_t group) {
    float* target = out + row * run.columns + part.first;
    decode(codes + row * row_bytes + part.first / 2, scales + (row * groups + group) * scale_bytes, part.count,
           streams(run, target), target);
  });
}

// Largest magnitude of all groups of 16 that are finite.
float whole_peak(const float* x, const LowbitRun& run, const LowbitKernels& kernels) {
  const std::size_t threads = threads_of(run);
  std::vector<float> of_part(threads, 0.0f);
  for_row_parts(run.rows, groups_of(run, 16), threads,
                [&](std::size_t part, std::size_t row, std::size_t begin, std::size_t end) {
                  float peaks[64], most = of_part[part];
                  for (std::size_t group = begin; group < end; group += 64) {
                    const std::size_t last = std::min(end, group + 64);
                    const Part values = part_of(run.columns, 16, group, last);
                    kernels.peaks_nvfp4(x + row * run.columns + values.first, values.count, peaks);
                    for (std::size_t i = 0; i < last - group; ++i) most = std::max(most, peaks[i]);
                  }
                  of_part[part] = most;
                });
  return *std::max_element(of_part.begin(), of_part.end());
}

void encode_nvfp4_tiles(const float* x, const LowbitRun& run, const LowbitKernels& kernels, const NVFP4Steps& steps,
                        std::uint8_t* codes, std::uint8_t* scales) {
  constexpr std::size_t tile = 16;
  const std::size_t groups = groups_of(run, 16), row_bytes = (run.columns + 1) / 2, threads = threads_of(run);
  std::vector<std::vector<float>> all_peaks(2 * threads);
  for_row_parts((run.rows + tile - 1) / tile, groups, threads,
                [&](std::size_t thread, std::size_t band, std::size_t begin, std::size_t end) {
                  const Part part = part_of(run.columns, 16, begin, end);
                  std::vector<float>&tops = all_peaks[2 * thread], &peaks = all_peaks[2 * thread + 1];
                  tops.assign(end - begin, 0.0f);
                  peaks.resize(end - begin);
                  const std::size_t first_row = band * tile, last_row = std::min(run.rows, first_row + tile);
                  for (std::size_t row = first_row; row < last_row; ++row) {
                    kernels.peaks_nvfp4(x + row * run.columns + part.first, part.count, peaks.data());
                    for (std::size_t i = 0; i < tops.size(); ++i) tops[i] = std::max(tops[i], peaks[i]);
                  }
                  for (std::size_t row = first_row; row < last_row; ++row) {
                    const PartNoise noise(run, row, part.first);
                    kernels.encode_nvfp4(x + row * run.columns + part.first, part.count, steps, tops.data(),
                                         noise.get(), codes + row * row_bytes + part.first / 2,
                                         scales + row * groups + begin);
                  }
                });
}

// The scale and zero point of what lies in [low, high], which holds 0.
IntegerStep integer_step(float low, float high, const IntegerOptions& options) {
  IntegerStep step;
  step.bits = options.bits;
  step.zero = 0;
  if (options.symmetric) {
    step.high = (1 << (options.bits - 1)) - 1;
    step.low = -step.high;
    step.scale = std::max(-low, high) / static_cast<float>(step.high);
  } else {
    step.low = 0;
    step.high = (1 << options.bits) - 1;
    step.scale = high / static_cast<float>(step.high) - low / static_cast<float>(step.high);
  }
  if (step.scale == 0) step.scale = 1;  // nothing but zeros, or nearly
  if (!options.symmetric) {
    const float zero = std::nearbyint(-low / step.scale);
    step.zero = zero >= static_cast<float>(step.high) ? step.high : zero > 0 ? static_cast<int>(zero) : 0;
  }
  return step;
}

void write_scale(const IntegerStep& step, const IntegerOptions& options, std::uint8_t* scale) {
  const std::uint32_t bits = bits_of(step.scale);
  for (int i = 0; i < 4; ++i) scale[i] = static_cast<std::uint8_t>(bits >> 8 * i);
  if (!options.symmetric) scale[4] = static_cast<std::uint8_t>(step.zero);
}

IntegerStep read_scale(const std::uint8_t* scale, const IntegerOptions& options) {
  std::uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) bits |= static_cast<std::uint32_t>(scale[i]) << 8 * i;
  IntegerStep step;
  step.bits = options.bits;
  step.scale = float_of(bits);
  step.zero = options.symmetric ? 0 : scale[4];
  step.low = options.symmetric ? -(1 << (options.bits - 1)) : 0;
  step.high = (1 << options.bits) - 1;
  return step;
}

}  // namespace

bool lowbit_has_fast_path() {
#ifdef WUTDET_LOWBIT_AVX2
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
#else
  return false;
#endif
}

void encode_hif4(const float* x, const LowbitRun& run, HiF4Options options, std::uint8_t* codes, std::uint8_t* scales) {
  const LowbitKernels& kernels = kernels_for(run);
  encode_blocks(x, run, 64, 4, codes, scales,
                [&](const float* from, std::size_t count, const Noise* noise, std::uint8_t* to, std::uint8_t* scale) {
                  kernels.encode_hif4(from, count, options, noise, to, scale);
                });
}

void decode_hif4(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run, float* out) {
  decode_blocks(codes, scales, run, 64, 4, out, kernels_for(run).decode_hif4);
}

void encode_mxfp4(const float* x, const LowbitRun& run, MXFP4Options options, std::uint8_t* codes,
                  std::uint8_t* scales) {
  const LowbitKernels& kernels = kernels_for(run);
  encode_blocks(x, run, 32, 1, codes, scales,
                [&](const float* from, std::size_t count, const Noise* noise, std::uint8_t* to, std::uint8_t* scale) {
                  kernels.encode_mxfp4(from, count, options, noise, to, scale);
                });
}

void decode_mxfp4(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run, float* out) {
  decode_blocks(codes, scales, run, 32, 1, out, kernels_for(run).decode_mxfp4);
}

float encode_nvfp4(const float* x, const LowbitRun& run, NVFP4Options options, std::uint8_t* codes,
                   std::uint8_t* scales) {
  const LowbitKernels& kernels = kernels_for(run);
  float tensor_scale;
  const NVFP4Steps steps =
      nvfp4_steps(options, options.two_level ? whole_peak(x, run, kernels) : 0.0f, &tensor_scale);
  if (options.square_tile)
    encode_nvfp4_tiles(x, run, kernels, steps, codes, scales);
  else
    encode_blocks(x, run, 16, 1, codes, scales,
                  [&](const float* from, std::size_t count, const Noise* noise, std::uint8_t* to, std::uint8_t* scale) {
                    kernels.encode_nvfp4(from, count, steps, nullptr, noise, to, scale);
                  });
  return tensor_scale;
}

void decode_nvfp4(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run, float tensor_scale,
                  bool torchao, float* out) {
  const LowbitKernels& kernels = kernels_for(run);
  decode_blocks(codes, scales, run, 16, 1, out,
                [&](const std::uint8_t* from, const std::uint8_t* scale, std::size_t count, bool stream, float* to) {
                  kernels.decode_nvfp4(from, scale, count, tensor_scale, torchao, stream, to);
                });
}

void encode_hif8(const float* x, const LowbitRun& run, std::uint8_t* codes) {
  const LowbitKernels& kernels = kernels_for(run);
  for_groups(run, kChunk, [&](std::size_t row, Part part, std::size_t) {
    const PartNoise noise(run, row, part.first);
    const std::size_t at = row * run.columns + part.first;
    kernels.encode_hif8(x + at, part.count, noise.get(), codes + at);
  });
}

void decode_hif8(const std::uint8_t* codes, const LowbitRun& run, float* out) {
  const LowbitKernels& kernels = kernels_for(run);
  for_groups(run, kChunk, [&](std::size_t row, Part part, std::size_t) {
    const std::size_t at = row * run.columns + part.first;
    kernels.decode_hif8(codes + at, part.count, streams(run, out + at), out + at);
  });
}

void encode_integer(const float* x, const LowbitRun& run, const IntegerOptions& options, std::uint8_t* codes,
                    std::uint8_t* scales) {
  const LowbitKernels& kernels = kernels_for(run);
  const std::size_t row_bytes = options.bits == 8 ? run.columns : (run.columns + 1) / 2;
  const std::size_t scale_bytes = options.symmetric ? 4 : 5, code_bits = static_cast<std::size_t>(options.bits);
  if (options.group_size) {
    const std::size_t size = options.group_size, groups = groups_of(run, size);
    for_groups(run, size, [&](std::size_t row, Part part, std::size_t group) {
      for (std::size_t begin = part.first; begin < part.first + part.count; begin += size, ++group) {
        const std::size_t count = std::min(size, part.first + part.count - begin);
        const float* from = x + row * run.columns + begin;
        float low = 0, high = 0;
        kernels.integer_range(from, count, &low, &high);
        const IntegerStep step = integer_step(low, high, options);
        write_scale(step, options, scales + (row * groups + group) * scale_bytes);
        const PartNoise noise(run, row, begin);
        kernels.encode_integer(from, count, step, noise.get(), codes + row * row_bytes + begin * code_bits / 8);
      }
    });
    return;
  }
  const std::size_t channels = options.scale_rows, rows_each = channels ? run.rows / channels : 0;
  const std::size_t threads = threads_of(run);
  if (rows_each * run.columns * sizeof(float) <= kCachedBytes && channels >= threads) {
    // A channel is still in the cache when its range is known.
    for_row_parts(channels, 1, threads, [&](std::size_t, std::size_t channel, std::size_t, std::size_t) {
      const std::size_t first = channel * rows_each;
      float low = 0, high = 0;
      kernels.integer_range(x + first * run.columns, rows_each * run.columns, &low, &high);
      const IntegerStep step = integer_step(low, high, options);
      write_scale(step, options, scales + channel * scale_bytes);
      for (std::size_t row = first; row < first + rows_each; ++row) {
        const PartNoise noise(run, row, 0);
        kernels.encode_integer(x + row * run.columns, run.columns, step, noise.get(), codes + row * row_bytes);
      }
    });
    return;
  }
  // The ranges of all channels first: a channel may be shared by threads.
  std::vector<float> ranges(threads * channels * 2, 0.0f);
  for_row_parts(run.rows, groups_of(run, kChunk), threads,
                [&](std::size_t thread, std::size_t row, std::size_t begin, std::size_t end) {
                  const Part part = part_of(run.columns, kChunk, begin, end);
                  float* range = &ranges[(thread * channels + row / rows_each) * 2];
                  kernels.integer_range(x + row * run.columns + part.first, part.count, range, range + 1);
                });
  std::vector<IntegerStep> steps(channels);
  for (std::size_t channel = 0; channel < channels; ++channel) {
    float low = 0, high = 0;
    for (std::size_t thread = 0; thread < threads; ++thread) {
      low = std::min(low, ranges[(thread * channels + channel) * 2]);
      high = std::max(high, ranges[(thread * channels + channel) * 2 + 1]);
    }
    steps[channel] = integer_step(low, high, options);
    write_scale(steps[channel], options, scales + channel * scale_bytes);
  }
  for_groups(run, kChunk, [&](std::size_t row, Part part, std::size_t) {
    const PartNoise noise(run, row, part.first);
    kernels.encode_integer(x + row * run.columns + part.first, part.count, steps[row / rows_each], noise.get(),
                           codes + row * row_bytes + part.first * code_bits / 8);
  });
}

void decode_integer(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run,
                    const IntegerOptions& options, float* out) {
  const LowbitKernels& kernels = kernels_for(run);
  const std::size_t row_bytes = options.bits == 8 ? run.columns : (run.columns + 1) / 2;
  const std::size_t scale_bytes = options.symmetric ? 4 : 5, code_bits = static_cast<std::size_t>(options.bits);
  const std::size_t size = options.group_size ? options.group_size : kChunk, groups = groups_of(run, size);
  const std::size_t rows_each = options.scale_rows ? run.rows / options.scale_rows : 0;
  for_groups(run, size, [&](std::size_t row, Part part, std::size_t group) {
    for (std::size_t begin = part.first; begin < part.first + part.count; begin += size, ++group) {
      const std::size_t count = std::min(size, part.first + part.count - begin);
      const std::size_t scale = options.group_size ? row * groups + group : row / rows_each;
      float* target = out + row * run.columns + begin;
      kernels.decode_integer(codes + row * row_bytes + begin * code_bits / 8, count,
                             read_scale(scales + scale * scale_bytes, options), streams(run, target), target);
    }
  });
}

}  // namespace wutdet
