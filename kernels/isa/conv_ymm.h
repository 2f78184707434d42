// Convolutions in registers of 256 bits: the whole of conv_avx2.cpp, conv_avxvnni.cpp and conv_vnni256.cpp but for the
// product of bytes, which they define before they include this (WUTDET_YMM_NAME, WUTDET_YMM_TABLE, and
// WUTDET_YMM_DOT(sum, x, w), an instruction, where there is one). Nothing in here but the table is visible outside.
//
// A tile is M pixels times N vectors of 8 output channels, its sums in registers.
#include <immintrin.h>

#include "core/engine/conv.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

constexpr int kLanes = 8;

// Without it, GCC makes functions of parts of a tile and passes its sums through memory.
#define WUTDET_INLINE inline __attribute__((always_inline))

WUTDET_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
WUTDET_INLINE void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
WUTDET_INLINE __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
WUTDET_INLINE __m256i four_bytes(const std::uint8_t* p) {
  int x;
  __builtin_memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}

// The first `count` lanes.
WUTDET_INLINE __m256i first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

WUTDET_INLINE __m256i pack4(__m256i a, __m256i b, __m256i c, __m256i d) {
  return _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
}

// table[x] for 32 bytes of each vector, in place. A table of 16 entries is one instruction; the 8 of each half of the bytes are combined by xor:
// `steps` holds each 16 entries xor those before them, and entries under a set top bit count as zero.
template <int vectors>
WUTDET_INLINE void look_up(const std::uint8_t* steps, std::uint8_t* bytes) {
  const __m256i sixteen = _mm256_set1_epi8(16);
  __m256i x[vectors], at[vectors], y[2][vectors];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) x[v] = load(bytes + 32 * v);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m256i part = _mm256_broadcastsi128_si256(load16(steps + 128 * half + 16 * i));
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        at[v] = i != 0 ? _mm256_sub_epi8(at[v], sixteen) : half == 0 ? x[v] : _mm256_xor_si256(x[v], _mm256_set1_epi8(-128));
        const __m256i some = _mm256_shuffle_epi8(part, at[v]);
        y[half][v] = i == 0 ? some : _mm256_xor_si256(y[half][v], some);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) store(bytes + 32 * v, _mm256_blendv_epi8(y[0][v], y[1][v], x[v]));
}

void make_steps(const std::uint8_t* table, std::uint8_t* steps) {
  for (int i = 0; i < 256; ++i) steps[i] = static_cast<std::uint8_t>(table[i] ^ (i % 128 < 16 ? 0 : table[i - 16]));
}

// 16 bytes mixed with 16 of the residual.
WUTDET_INLINE __m128i mix(const ConvRow& row, __m128i own, __m128i other) {
  const __m256 a = _mm256_set1_ps(row.mix_own), b = _mm256_set1_ps(row.mix_residual), c = _mm256_set1_ps(row.mix_offset);
  const auto eight = [&](__m128i q, __m128i r) {
    const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(q)), y = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(r));
    return _mm256_cvtps_epi32(_mm256_fmadd_ps(a, x, _mm256_fmadd_ps(b, y, c)));
  };
  const __m256i low = eight(own, other), high = eight(_mm_srli_si128(own, 8), _mm_srli_si128(other, 8));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

WUTDET_INLINE void copy_bytes(std::uint8_t* to, const std::uint8_t* from, int count) {
  if (count == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), load16(from));
  } else if (count == 8) {
    __builtin_memcpy(to, from, 8);
  } else {
    for (int i = 0; i < count; ++i) to[i] = from[i];
  }
}

// Saturated bytes of pixels, `stride` apart (a multiple of 8), through table and residual to the output. May read and
// change whole vectors of `own`.
__attribute__((noinline)) void put_bytes(const ConvRow& row, std::uint8_t* own, int pixels, int stride,
                                         std::uint8_t* out, const std::uint8_t* residual) {
  if (row.table != nullptr) {
    int i = 0;
    for (; i + 32 < pixels * stride; i += 64) look_up<2>(row.table, own + i);
    if (i < pixels * stride) look_up<1>(row.table, own + i);
  }
  if (residual == nullptr && row.channels == 16 && stride == 16) {
    for (int m = 0; m < pixels; ++m) copy_bytes(out + m * row.out_step, own + 16 * m, 16);
    return;
  }
  for (int m = 0; m < pixels; ++m) {
    for (int c = 0; c < row.channels; c += 16) {
      const int count = row.channels - c < 16 ? row.channels - c : 16;
      std::uint8_t* bytes = own + m * stride + c;
      if (residual != nullptr) {
        std::uint8_t other[16] = {};
        copy_bytes(other, residual + m * row.residual_step + c, count);
        alignas(16) std::uint8_t mixed[16];
        _mm_store_si128(reinterpret_cast<__m128i*>(mixed), mix(row, load16(bytes), load16(other)));
        copy_bytes(out + m * row.out_step + c, mixed, count);
      } else {
        copy_bytes(out + m * row.out_step + c, bytes, count);
      }
    }
  }
}

// Integers [M][N] to bytes.
template <int M, int N>
WUTDET_INLINE void put_tile(const ConvRow& row, __m256i (&sum)[M][N], std::uint8_t* out, const std::uint8_t* residual) {
  constexpr int together = 4 / N;
  // Behind the last pixel there is room for whole vectors.
  alignas(32) std::uint8_t own[(M * N * kLanes + 31) / 32 * 32 + 16];
  const __m256i order = N == 1   ? _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)
                        : N == 2 ? _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7)
                                 : _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
#pragma GCC unroll 16
  for (int m = 0; m < M; m += together) {
    const int b = m + 1 < M ? m + 1 : m, c = m + 2 < M ? m + 2 : m, d = m + 3 < M ? m + 3 : m;
    __m256i bytes;
    if constexpr (N == 4) bytes = pack4(sum[m][0], sum[m][1], sum[m][2], sum[m][3]);
    if constexpr (N == 2) bytes = pack4(sum[m][0], sum[m][1], sum[b][0], sum[b][1]);
    if constexpr (N == 1) bytes = pack4(sum[m][0], sum[b][0], sum[c][0], sum[d][0]);
    if constexpr (N != 4) bytes = _mm256_permutevar8x32_epi32(bytes, order);
    store(own + m * N * kLanes, bytes);
  }
  put_bytes(row, own, M, N * kLanes, out, residual);
}

WUTDET_INLINE __m256 silu(__m256 x) {
  __m256 c = _mm256_max_ps(x, _mm256_set1_ps(kSiluLow));
  c = _mm256_min_ps(c, _mm256_set1_ps(kSiluHigh));
  const __m256 scale = _mm256_set1_ps(kSiluMinusLog2E), round = _mm256_set1_ps(kSiluRound);
  const __m256 shifted = _mm256_fmadd_ps(c, scale, round);
  const __m256 f = _mm256_fmsub_ps(c, scale, _mm256_sub_ps(shifted, round));
  __m256 e = _mm256_set1_ps(kSiluPowers[5]);
#pragma GCC unroll 5
  for (int i = 4; i >= 0; --i) e = _mm256_fmadd_ps(e, f, _mm256_set1_ps(kSiluPowers[i]));
  e = _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_castps_si256(e), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23)));
  return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

// Floats of pixels [pixel][vector][lane], plain order, to a float output.
__attribute__((noinline)) void put_floats(const ConvRow& row, const float* y, int pixels, std::uint8_t* out,
                                          const std::uint8_t* residual) {
  for (int m = 0; m < pixels; ++m) {
    for (int c = 0; c < row.channels; c += kLanes) {
      const __m256i mask = first_lanes(row.channels - c);
      __m256 x = _mm256_load_ps(y + m * row.vectors * kLanes + c);
      if (row.silu) x = silu(x);
      if (residual != nullptr)
        x = _mm256_add_ps(
            x, _mm256_maskload_ps(reinterpret_cast<const float*>(residual + m * row.residual_step + 4 * c), mask));
      float* to = reinterpret_cast<float*>(out + m * row.out_step + 4 * c);
      if (row.channels - c >= kLanes) _mm256_storeu_ps(to, x);
      else _mm256_maskstore_ps(to, mask, x);
    }
  }
}

// Entry `i` (its last four bits) of 16.
WUTDET_INLINE __m256 entry(const float* table, __m256i i) {
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i),
                          _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), i),
                          _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}

WUTDET_INLINE __m256 silu_for_bytes(__m256 x) {
  const __m256 c = _mm256_max_ps(x, _mm256_set1_ps(kSiluByteLow)), round = _mm256_set1_ps(kSiluRound);
  const __m256 u = _mm256_add_ps(_mm256_min_ps(c, _mm256_set1_ps(kSiluByteHigh)), _mm256_set1_ps(kSiluByteShift));
  const __m256 shifted = _mm256_add_ps(u, round), d = _mm256_sub_ps(u, _mm256_sub_ps(shifted, round));
  const __m256i i = _mm256_castps_si256(shifted);
  __m256 y = entry(kSigmoidCubics[3], i);
#pragma GCC unroll 3
  for (int k = 2; k >= 0; --k) y = _mm256_fmadd_ps(y, d, entry(kSigmoidCubics[k], i));
  return _mm256_mul_ps(c, y);
}

// Floats [pixel][vector][lane] to integers of a u8 output that has its own scale, in place.
__attribute__((noinline)) void quantise_all(const ConvRow& row, float* y, int pixels, int vectors) {
  for (int m = 0; m < pixels; ++m) {
    for (int n = 0; n < vectors; ++n, y += kLanes) {
      __m256 x = _mm256_load_ps(y);
      if (row.silu) x = silu_for_bytes(x);
      x = _mm256_fmadd_ps(x, _mm256_load_ps(row.inverse + n * kLanes), _mm256_set1_ps(row.zero));
      // What is too small, or NaN, becomes negative, and 0 when it is packed.
      store(y, _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(255.0f), x)));
    }
  }
}

// The rarer ways out, through memory: sums are floats.
template <int M, int N>
__attribute__((noinline)) void finish_floats(const ConvRow& row, float* y, std::uint8_t* out,
                                             const std::uint8_t* residual) {
  if (!row.to_u8) {
    put_floats(row, y, M, out, residual);
    return;
  }
  quantise_all(row, y, M, N);
  __m256i sum[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[m][n] = load(y + (m * N + n) * kLanes);
  put_tile<M, N>(row, sum, out, residual);
}

template <int M, int N>
WUTDET_INLINE void spill(__m256i (&sum)[M][N], float* y) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(y + (m * N + n) * kLanes, sum[m][n]);
}

template <int M, int N>
WUTDET_INLINE void start(__m256i (&sum)[M][N], const void* from) {
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    sum[0][n] = load(static_cast<const std::uint8_t*>(from) + 32 * n);
#pragma GCC unroll 16
    for (int m = 1; m < M; ++m) sum[m][n] = sum[0][n];
  }
}

// Adds `steps` steps of weights from `w` on to the sums; returns where the next are.
template <typename Op, int M, int N>
WUTDET_INLINE const std::uint8_t* accumulate(__m256i (&sum)[M][N], const std::uint8_t* p, std::ptrdiff_t step,
                                             int steps, const std::uint8_t* w) {
  constexpr int chain = Op::chain;
  do {
    __m256i weights[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) weights[n] = Op::hold(w + 32 * n);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      __m256i part[N];
#pragma GCC unroll 4
      for (int c = 0; c < chain; ++c) {
        const __m256i x = four_bytes(p + m * step + 4 * c);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) Op::add(sum[m][n], part[n], c, x, weights[n], w + (c * N + n) * 32);
      }
    }
    p += 4 * chain;
    w += 32 * N * chain;
    steps -= chain;
  } while (steps != 0);
  return w;
}

// Four products per lane added to an int32, of bytes and signed bytes. Weights are held in registers over the pixels of
// a step where there are enough of them, or else read again: `hold`.
#ifdef WUTDET_YMM_DOT
struct Dot {
  static constexpr int chain = 1;
  static WUTDET_INLINE __m256i hold(const std::uint8_t* w) { return load(w); }
  static WUTDET_INLINE void add(__m256i& sum, __m256i&, int, __m256i x, __m256i w, const std::uint8_t*) {
    WUTDET_YMM_DOT(sum, x, w);
  }
};
#else
template <int length>
struct Chain {
  static constexpr int chain = length;
  static WUTDET_INLINE __m256i hold(const std::uint8_t*) { return _mm256_setzero_si256(); }
  static WUTDET_INLINE void add(__m256i& sum, __m256i& part, int at, __m256i x, __m256i, const std::uint8_t* w) {
    const __m256i pairs = _mm256_maddubs_epi16(x, load(w));
    part = at == 0 ? pairs : _mm256_add_epi16(part, pairs);
    if (at == chain - 1) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)));
  }
};
#endif
struct Fma {
  static constexpr int chain = 1;
  static WUTDET_INLINE __m256i hold(const std::uint8_t* w) { return load(w); }
  static WUTDET_INLINE void add(__m256i& sum, __m256i&, int, __m256i x, __m256i w, const std::uint8_t*) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
  }
};

// Dots of the runs up to one that ends a group, or all of them.
struct Reader {
  const Run* run;
  const std::uint8_t* w;
#ifndef WUTDET_YMM_DOT
  int step;
  const std::int32_t* correction_step;
  const std::uint8_t* correction;
#endif
  explicit WUTDET_INLINE Reader(const ConvRow& row)
      : run(row.runs),
        w(row.weights)
#ifndef WUTDET_YMM_DOT
        ,
        step(0),
        correction_step(row.correction_steps),
        correction(row.corrections)
#endif
  {
  }
  template <typename Op, int M, int N>
  WUTDET_INLINE void add_run(__m256i (&sum)[M][N], const std::uint8_t* in, std::ptrdiff_t pixel) {
    w = accumulate<Op, M, N>(sum, in + run->offset, pixel, run->steps, w);
#ifndef WUTDET_YMM_DOT
    const int end = step + run->steps;
    while (*correction_step < end) {
      accumulate<Chain<1>, M, N>(sum, in + run->offset + 4 * std::ptrdiff_t{*correction_step - step}, pixel, 1,
                                 correction);
      correction += 32 * N;
      ++correction_step;
    }
    step = end;
#endif
    ++run;
  }
};

// The channel's scale and bias; then whole numbers for the usual u8 output.
template <bool whole, bool already_float, int M, int N>
WUTDET_INLINE void scale_tile(const ConvRow& row, __m256i (&sum)[M][N]) {
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const __m256 scale = _mm256_load_ps(row.scale + n * kLanes), bias = _mm256_load_ps(row.bias + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const __m256 y = already_float ? _mm256_castsi256_ps(sum[m][n]) : _mm256_cvtepi32_ps(sum[m][n]);
      const __m256 z = _mm256_fmadd_ps(y, scale, bias);
      sum[m][n] = whole ? _mm256_cvtps_epi32(z) : _mm256_castps_si256(z);
    }
  }
}

template <bool bytes, bool already_float, int M, int N>
WUTDET_INLINE void finish(const ConvRow& row, __m256i (&sum)[M][N], std::uint8_t* out, const std::uint8_t* residual) {
  scale_tile<bytes, already_float>(row, sum);
  if constexpr (bytes) {
    put_tile<M, N>(row, sum, out, residual);
  } else {
    alignas(32) float y[M * N * kLanes];
    spill<M, N>(sum, y);
    finish_floats<M, N>(row, y, out, residual);
  }
}

template <typename Op>
struct Int8 {
  template <int M, int N, bool bytes>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual) {
    __m256i sum[M][N];
    start<M, N>(sum, row.initial);
    Reader reader(row);
    const Run* const end = row.runs + row.run_count;
    do {
      reader.template add_run<Op, M, N>(sum, in, row.in_step);
    } while (reader.run != end);
    finish<bytes, false, M, N>(row, sum, out, residual);
  }
};

template <typename Op>
struct Grouped {
  template <int M, int N, bool bytes>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual) {
    __m256i sum[M][N];
    __m256 total[M][N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) total[m][n] = _mm256_setzero_ps();
    const std::int32_t* initial = row.group_initial;
    const float* scales = row.group_scale;
    Reader reader(row);
    const Run* const end = row.runs + row.run_count;
    do {
      start<M, N>(sum, initial);
      initial += N * kLanes;
      bool more;
      do {
        more = reader.run->ends_group == 0;
        reader.template add_run<Op, M, N>(sum, in, row.in_step);
      } while (more);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const __m256 scale = _mm256_load_ps(scales + n * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) total[m][n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[m][n]), scale, total[m][n]);
      }
      scales += N * kLanes;
    } while (reader.run != end);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) sum[m][n] = _mm256_castps_si256(total[m][n]);
    finish<bytes, true, M, N>(row, sum, out, residual);
  }
};

struct Real {
  template <int M, int N, bool>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual) {
    __m256i sum[M][N];
    start<M, N>(sum, row.bias);
    const std::uint8_t* w = row.weights;
    const Run* run = row.runs;
    const Run* const end = run + row.run_count;
    do {
      w = accumulate<Fma, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
    } while (++run != end);
    alignas(32) float y[M * N * kLanes];
    spill<M, N>(sum, y);
    finish_floats<M, N>(row, y, out, residual);
  }
};

using Tile = void (*)(const ConvRow&, const std::uint8_t*, std::uint8_t*, const std::uint8_t*);

// The tiles of N vectors by their pixels.
template <typename Kind, bool bytes, int N, int... M>
struct Tiles {
  static constexpr Tile list[] = {&Kind::template tile<M, N, bytes>...};
};

// Tiles of almost equal widths, whole groups of `together` pixels.
void cover(ConvRow row, const Tile* tiles, int most, int together) {
  std::uint8_t steps[256];
  if (row.table != nullptr) {
    make_steps(row.table, steps);
    row.table = steps;
  }
  const int groups = (row.pixels + together - 1) / together, per_tile = most / together;
  const int count = (groups + per_tile - 1) / per_tile, share = groups / count, larger = groups % count;
  const std::uint8_t* in = row.in;
  std::uint8_t* out = row.out;
  const std::uint8_t* residual = row.residual;
  int left = row.pixels;
  for (int i = 0; i < count; ++i) {
    int width = (share + (i < larger)) * together;
    if (width > left) width = left;
    tiles[width - 1](row, in, out, residual);
    in += width * row.in_step;
    out += width * row.out_step;
    if (residual != nullptr) residual += width * row.residual_step;
    left -= width;
  }
}

template <typename Kind, bool bytes>
void cover_12(const ConvRow& row) {
  if (row.vectors == 1) cover(row, Tiles<Kind, bytes, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>::list, 12, 4);
  else cover(row, Tiles<Kind, bytes, 2, 1, 2, 3, 4, 5, 6>::list, 6, 2);
}

// Half as many sums, the other half of the registers for totals.
template <typename Kind, bool bytes>
void cover_6(const ConvRow& row) {
  if (row.vectors == 1) cover(row, Tiles<Kind, bytes, 1, 1, 2, 3, 4, 5, 6>::list, 6, 1);
  else cover(row, Tiles<Kind, bytes, 2, 1, 2, 3>::list, 3, 1);
}

bool usual(const ConvRow& row) { return row.to_u8 && !row.silu; }

#ifdef WUTDET_YMM_DOT
void int8_row(const ConvRow& row) { usual(row) ? cover_12<Int8<Dot>, true>(row) : cover_12<Int8<Dot>, false>(row); }
void grouped_row(const ConvRow& row) {
  usual(row) ? cover_6<Grouped<Dot>, true>(row) : cover_6<Grouped<Dot>, false>(row);
}
#else
template <typename Op>
void int8_by(const ConvRow& row) {
  usual(row) ? cover_12<Int8<Op>, true>(row) : cover_12<Int8<Op>, false>(row);
}
template <typename Op>
void grouped_by(const ConvRow& row) {
  usual(row) ? cover_6<Grouped<Op>, true>(row) : cover_6<Grouped<Op>, false>(row);
}
void int8_row(const ConvRow& row) {
  row.chain == 4 ? int8_by<Chain<4>>(row) : row.chain == 2 ? int8_by<Chain<2>>(row) : int8_by<Chain<1>>(row);
}
void grouped_row(const ConvRow& row) {
  row.chain == 4 ? grouped_by<Chain<4>>(row) : row.chain == 2 ? grouped_by<Chain<2>>(row) : grouped_by<Chain<1>>(row);
}
#endif
void real_row(const ConvRow& row) { cover_12<Real, false>(row); }

#include "isa/conv_ymm_depthwise.inc"

void widen(const std::uint8_t* in, std::size_t count, int zero, float scale, float* out) {
  const __m256i shift = _mm256_set1_epi32(zero);
  const __m256 factor = _mm256_set1_ps(scale);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + i)));
    _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(x, shift)), factor));
  }
  for (; i < count; ++i) out[i] = static_cast<float>(in[i] - zero) * scale;
}

#ifdef WUTDET_YMM_DOT
constexpr bool kClips = false;
#else
constexpr bool kClips = true;
#endif
constexpr ConvKernels kKernels{WUTDET_YMM_NAME, kLanes,      2,        2,              2,              kClips, false,
                               int8_row,        grouped_row, real_row, depthwise_int8, depthwise_real, widen};

}  // namespace

const ConvKernels& WUTDET_YMM_TABLE() { return kKernels; }

}  // namespace wutdet::engine
