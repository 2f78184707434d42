// Tables of a fit, the loop over rows, and the portable kernels.
#include "core/engine/letterbox.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "core/engine/conv_kernels.h"
#include "core/engine/letterbox_kernels.h"

namespace wutdet::engine {
namespace {

// Where an output pixel lies between two pixels of the frame.
struct Tap {
  int at;
  float fraction;
};

Tap tap_of(int index, double step) {
  const auto place = static_cast<float>((index + 0.5) * step - 0.5);
  const float whole = std::floor(place);
  return {static_cast<int>(whole), place - whole};
}

int weight_of(float share) { return static_cast<int>(std::lrint(share * 2048.0f)); }

// Pixels of the frame per pixel of the scaled one, with OpenCV's two roundings.
double step_of(int frame, int scaled) { return 1.0 / (static_cast<double>(scaled) / frame); }

void check(const FrameFit& fit) {
  const int sides[] = {fit.frame_width, fit.frame_height, fit.scaled_width, fit.scaled_height, fit.input_width,
                       fit.input_height};
  for (const int side : sides)
    if (side < 1 || side > FramePlan::kLargestSide)
      throw std::invalid_argument("sides must be 1 to " + std::to_string(FramePlan::kLargestSide) +
                                  " pixels, received " + std::to_string(side));
  if (fit.left < 0 || fit.top < 0 || fit.left > fit.input_width - fit.scaled_width ||
      fit.top > fit.input_height - fit.scaled_height)
    throw std::invalid_argument("the scaled frame does not lie within the input");
}

void pairs_portable(const PairRow& row) {
  for (int column = 0; column < row.columns; ++column) {
    const std::int32_t offset = row.offsets[column];
    const std::uint8_t* left = row.row + offset;
    const std::uint8_t* right = offset + 6 <= row.row_bytes ? left + 3 : left;
    const int a = row.weights[2 * column], b = row.weights[2 * column + 1];
    std::int16_t* out = row.out + 4 * column;
    out[0] = static_cast<std::int16_t>((left[2] * a + right[2] * b) >> 4);
    out[1] = static_cast<std::int16_t>((left[1] * a + right[1] * b) >> 4);
    out[2] = static_cast<std::int16_t>((left[0] * a + right[0] * b) >> 4);
    out[3] = 0;
  }
}

// Columns that are blended at once, so that the loops over them become vectors.
constexpr int kBlock = 16;

// R, G, B, 0 of the columns from `column` on; there is room for whole groups of both rows.
void blend_block(const BlendRow& row, int column, std::uint8_t* out) {
  const auto a = static_cast<std::int16_t>(row.weight_above), b = static_cast<std::int16_t>(row.weight_below);
  const std::int16_t *above = row.above + 4 * column, *below = row.below + 4 * column;
  for (int i = 0; i < 4 * kBlock; ++i) {
    const auto high = static_cast<std::int16_t>((above[i] * a) >> 16);
    const auto low = static_cast<std::int16_t>((below[i] * b) >> 16);
    out[i] = static_cast<std::uint8_t>(static_cast<std::int16_t>(high + low + 2) >> 2);
  }
}

void bytes_portable(const BlendRow& row, std::uint8_t* out, int step) {
  std::uint8_t block[4 * kBlock];
  for (int column = 0; column < row.columns; column += kBlock) {
    blend_block(row, column, block);
    const int columns = std::min(kBlock, row.columns - column);
    if (step == 4) {
      std::memcpy(out + 4 * column, block, static_cast<std::size_t>(4 * columns));
      continue;
    }
    for (int i = 0; i < columns; ++i)
      for (int channel = 0; channel < 3; ++channel) out[3 * (column + i) + channel] = block[4 * i + channel];
  }
}

void planes_portable(const BlendRow& row, float* red, float* green, float* blue) {
  std::uint8_t block[4 * kBlock];
  float* const planes[] = {red, green, blue};
  for (int column = 0; column < row.columns; column += kBlock) {
    blend_block(row, column, block);
    const int columns = std::min(kBlock, row.columns - column);
    for (int channel = 0; channel < 3; ++channel) {
      float values[kBlock];
      for (int i = 0; i < kBlock; ++i) values[i] = static_cast<float>(block[4 * i + channel]) / 255.0f;
      std::memcpy(planes[channel] + column, values, columns * sizeof(float));
    }
  }
}

constexpr LetterboxKernels kPortable = {"scalar", pairs_portable, bytes_portable, planes_portable};

}  // namespace

bool FrameFit::operator==(const FrameFit& other) const {
  const auto same = [&](auto member) { return this->*member == other.*member; };
  return same(&FrameFit::frame_width) && same(&FrameFit::frame_height) && same(&FrameFit::scaled_width) &&
         same(&FrameFit::scaled_height) && same(&FrameFit::input_width) && same(&FrameFit::input_height) &&
         same(&FrameFit::left) && same(&FrameFit::top) && same(&FrameFit::pad_value);
}

FramePlan::FramePlan(const FrameFit& fit) : fit_(fit) {
  check(fit);
  const double step_x = step_of(fit.frame_width, fit.scaled_width);
  const double step_y = step_of(fit.frame_height, fit.scaled_height);
  // As sums of four, with weights such that all the shifts below come out even.
  const bool half = 2 * fit.scaled_width == fit.frame_width && 2 * fit.scaled_height == fit.frame_height;

  lines_.reserve(fit.scaled_height);
  for (int y = 0; y < fit.scaled_height; ++y) {
    const Tap tap = tap_of(y, step_y);
    const int bottom = fit.frame_height - 1;
    lines_.push_back(half ? Line{2 * y, 2 * y + 1, 1 << 14, 1 << 14}
                          : Line{std::clamp(tap.at, 0, bottom), std::clamp(tap.at + 1, 0, bottom),
                                 weight_of(1.0f - tap.fraction), weight_of(tap.fraction)});
  }

  const int groups = (fit.scaled_width + kLetterboxGroup - 1) / kLetterboxGroup, columns = groups * kLetterboxGroup;
  offsets_.resize(columns);
  weights_.resize(2 * columns);
  high_.assign(8 * columns, 0);
  low_.assign(8 * columns, 0);
  for (int x = 0; x < columns; ++x) {
    const int known = std::min(x, fit.scaled_width - 1);
    Tap tap = tap_of(known, step_x);
    if (tap.at < 0) tap = {0, 0.0f};
    if (tap.at >= fit.frame_width - 1) tap = {fit.frame_width - 1, 0.0f};
    int weights[2] = {weight_of(1.0f - tap.fraction), weight_of(tap.fraction)};
    if (half) tap.at = 2 * known, weights[0] = weights[1] = 64;
    offsets_[x] = 3 * tap.at;
    for (int side = 0; side < 2; ++side) weights_[2 * x + side] = static_cast<std::int16_t>(weights[side]);
    for (int channel = 0; channel < 3; ++channel)
      for (int side = 0; side < 2; ++side) {
        high_[8 * x + 2 * channel + side] = static_cast<std::uint8_t>(weights[side] >> 6);
        low_[8 * x + 2 * channel + side] = static_cast<std::uint8_t>(weights[side] & 63);
      }
  }
  for (int x = 0; x < columns; x += kLetterboxGroup)
    reach_ = std::max(reach_, offsets_[x + kLetterboxGroup - 1] + 6 - offsets_[x]);
  if (reach_ > 128) return;
  constexpr int kPlaces[8] = {2, 5, 1, 4, 0, 3, 0, 0};
  places_.resize(8 * columns);
  for (int x = 0; x < columns; ++x)
    for (int i = 0; i < 8; ++i) {
      const std::int32_t first = offsets_[x / kLetterboxGroup * kLetterboxGroup];
      places_[8 * x + i] = static_cast<std::uint8_t>(offsets_[x] - first + kPlaces[i]);
    }
}

template <typename Blend, typename Pad>
void FramePlan::for_rows(const Frame& frame, int first, int last, const LetterboxKernels& kernels, const Blend& blend,
                         const Pad& pad) const {
  // Two rows of pairs, aligned: most rows of the frame are needed by two rows of the input.
  constexpr std::size_t kAlignment = 64;
  const std::size_t room = (offsets_.size() + kLetterboxGroup) * 4 * sizeof(std::int16_t);
  const std::size_t length = (room + kAlignment - 1) / kAlignment * kAlignment;
  // Zeros, because blending goes on to the end of its vectors.
  const std::unique_ptr<std::uint8_t[]> memory(new std::uint8_t[2 * length + kAlignment]());
  std::uint8_t* start = memory.get() + (kAlignment - reinterpret_cast<std::uintptr_t>(memory.get()) % kAlignment);
  std::int16_t* rows[2] = {reinterpret_cast<std::int16_t*>(start), reinterpret_cast<std::int16_t*>(start + length)};
  int held[2] = {-1, -1};

  PairRow row{nullptr,       3 * fit_.frame_width, fit_.scaled_width, offsets_.data(), weights_.data(), high_.data(),
              low_.data(), places_.data(), reach_, nullptr};
  // Which of the two rows holds row y of the frame; `keep` may not be written.
  const auto fetch = [&](int y, int keep) {
    if (held[0] == y) return 0;
    if (held[1] == y) return 1;
    const int slot = keep >= 0 ? 1 - keep : held[0] < held[1] ? 0 : 1;
    row.row = frame.data + frame.row_stride * y;
    row.out = rows[slot];
    kernels.pairs(row);
    held[slot] = y;
    return slot;
  };
  for (int y = first; y < last; ++y) {
    const int line = y - fit_.top;
    if (line < 0 || line >= fit_.scaled_height) {
      pad(y, 0, fit_.input_width);
      continue;
    }
    const Line& taps = lines_[line];
    const int above = fetch(taps.above, -1), below = taps.weight_below == 0 ? above : fetch(taps.below, above);
    pad(y, 0, fit_.left);
    blend(y, BlendRow{rows[above], rows[below], taps.weight_above, taps.weight_below, fit_.scaled_width});
    pad(y, fit_.left + fit_.scaled_width, fit_.input_width);
  }
}

void FramePlan::to_bytes(const Frame& frame, const View& out, int first, int last,
                         const LetterboxKernels& kernels) const {
  const int step = static_cast<int>(out.pixel_stride);
  if (step != 3 && step != 4) throw std::invalid_argument("pixels must take 3 or 4 bytes");
  const auto pixel = [&](int y, int x) { return static_cast<std::uint8_t*>(out.data) + out.row_stride * y + step * x; };
  for_rows(
      frame, first, last, kernels, [&](int y, const BlendRow& row) { kernels.bytes(row, pixel(y, fit_.left), step); },
      [&](int y, int from, int to) {
        std::memset(pixel(y, from), fit_.pad_value, static_cast<std::size_t>(to - from) * step);
        if (step == 4)
          for (int x = from; x < to; ++x) pixel(y, x)[3] = 0;
      });
}

void FramePlan::to_planes(const Frame& frame, float* out, int first, int last, const LetterboxKernels& kernels) const {
  const std::size_t plane = static_cast<std::size_t>(fit_.input_width) * fit_.input_height;
  const float grey = static_cast<float>(fit_.pad_value) / 255.0f;
  const auto at = [&](int y, int x) { return out + static_cast<std::size_t>(fit_.input_width) * y + x; };
  for_rows(
      frame, first, last, kernels,
      [&](int y, const BlendRow& row) {
        float* red = at(y, fit_.left);
        kernels.planes(row, red, red + plane, red + 2 * plane);
      },
      [&](int y, int from, int to) {
        for (int channel = 0; channel < 3; ++channel)
          std::fill(at(y, from) + channel * plane, at(y, to) + channel * plane, grey);
      });
}

#ifdef WUTDET_LETTERBOX_AVX512
const LetterboxKernels& letterbox_avx512();
#endif
#ifdef WUTDET_LETTERBOX_AVX2
const LetterboxKernels& letterbox_avx2();
#endif
#ifdef WUTDET_LETTERBOX_NEON
const LetterboxKernels& letterbox_neon();
#endif

const LetterboxKernels& letterbox_kernels([[maybe_unused]] const ConvKernels& kernels) {
#ifdef WUTDET_LETTERBOX_AVX512
  if (std::strcmp(kernels.name, "avx512vnni") == 0) return letterbox_avx512();
#endif
#ifdef WUTDET_LETTERBOX_AVX2
  if (std::strcmp(kernels.name, "scalar") != 0) return letterbox_avx2();
#endif
#ifdef WUTDET_LETTERBOX_NEON
  if (std::strcmp(kernels.name, "scalar") != 0) return letterbox_neon();
#endif
  return kPortable;
}

}  // namespace wutdet::engine
