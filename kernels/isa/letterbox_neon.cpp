// Letterbox for aarch64, whose baseline has all that is needed.
#include <arm_neon.h>

#include "core/engine/letterbox.h"
#include "core/engine/letterbox_kernels.h"

namespace wutdet::engine {
namespace {

// Two columns: eight bytes each, of which six are of the pair.
inline int16x8_t two_pairs(const PairRow& row, int column) {
  const std::int32_t* offsets = row.offsets + column;
  const uint8x16_t order = {2, 5, 1, 4, 0, 3, 255, 255, 10, 13, 9, 12, 8, 11, 255, 255};
  const uint8x16_t found = vcombine_u8(vld1_u8(row.row + offsets[0]), vld1_u8(row.row + offsets[1]));
  const uint8x16_t bytes = vqtbl1q_u8(found, order);
  const auto sums = [&](const std::uint8_t* weights) {
    const uint8x16_t by = vld1q_u8(weights + 8 * column);
    return vpaddq_u16(vmull_u8(vget_low_u8(bytes), vget_low_u8(by)), vmull_high_u8(bytes, by));
  };
  // (64 * high + low) >> 4 without loss
  return vreinterpretq_s16_u16(vsraq_n_u16(vshlq_n_u16(sums(row.high), 2), sums(row.low), 4));
}

void pairs(const PairRow& row) {
  int column = 0;
  for (; column + 2 <= row.columns && row.offsets[column + 1] + 8 <= row.row_bytes; column += 2)
    vst1q_s16(row.out + 4 * column, two_pairs(row, column));
  for (; column < row.columns; ++column) {
    const std::int32_t left = row.offsets[column], right = left + 6 <= row.row_bytes ? left + 3 : left;
    const std::int16_t* weights = row.weights + 2 * column;
    for (int channel = 0; channel < 3; ++channel) {
      const int sum = row.row[left + 2 - channel] * weights[0] + row.row[right + 2 - channel] * weights[1];
      row.out[4 * column + channel] = static_cast<std::int16_t>(sum >> 4);
    }
    row.out[4 * column + 3] = 0;
  }
}

struct Blender {
  std::int16_t above, below;
  explicit Blender(const BlendRow& row)
      : above(static_cast<std::int16_t>(row.weight_above)), below(static_cast<std::int16_t>(row.weight_below)) {}

  // SQDMULH doubles its products: half of what it gives, rounded down, is the product >> 16.
  uint8x8_t operator()(int16x8_t a, int16x8_t b) const {
    const int16x8_t upper = vshrq_n_s16(vqdmulhq_n_s16(a, above), 1);
    return vqmovun_s16(vrshrq_n_s16(vsraq_n_s16(upper, vqdmulhq_n_s16(b, below), 1), 2));
  }
};

constexpr int kColumns = 8;

// R, G and B of eight columns.
inline uint8x8x3_t eight(const Blender& blend, const BlendRow& row, int column) {
  const int16x8x4_t a = vld4q_s16(row.above + 4 * column), b = vld4q_s16(row.below + 4 * column);
  return {{blend(a.val[0], b.val[0]), blend(a.val[1], b.val[1]), blend(a.val[2], b.val[2])}};
}

void bytes(const BlendRow& row, std::uint8_t* out, int step) {
  const Blender blend(row);
  const auto put = [&](int column, std::uint8_t* to) {
    const uint8x8x3_t pixels = eight(blend, row, column);
    if (step == 3) vst3_u8(to, pixels);
    else vst4_u8(to, uint8x8x4_t{{pixels.val[0], pixels.val[1], pixels.val[2], vdup_n_u8(0)}});
  };
  int column = 0;
  for (; column + kColumns <= row.columns; column += kColumns) put(column, out + step * column);
  if (column == row.columns) return;
  std::uint8_t last[4 * kColumns];
  put(column, last);
  for (int i = 0; i < step * (row.columns - column); ++i) out[step * column + i] = last[i];
}

// x / 255 for whole numbers 0..255, rounded as division rounds: the quotient's remainder corrects its last bit.
inline float32x4_t share_of(uint16x4_t x) {
  const float32x4_t value = vcvtq_f32_u32(vmovl_u16(x)), inverse = vdupq_n_f32(1.0f / 255.0f);
  const float32x4_t near = vmulq_f32(value, inverse);
  return vfmaq_f32(near, vfmsq_f32(value, near, vdupq_n_f32(255.0f)), inverse);
}

void planes(const BlendRow& row, float* red, float* green, float* blue) {
  const Blender blend(row);
  float* const planes[] = {red, green, blue};
  const auto put = [](uint8x8_t bytes, float* to) {
    const uint16x8_t words = vmovl_u8(bytes);
    vst1q_f32(to, share_of(vget_low_u16(words)));
    vst1q_f32(to + 4, share_of(vget_high_u16(words)));
  };
  int column = 0;
  for (; column + kColumns <= row.columns; column += kColumns) {
    const uint8x8x3_t pixels = eight(blend, row, column);
    for (int channel = 0; channel < 3; ++channel) put(pixels.val[channel], planes[channel] + column);
  }
  if (column == row.columns) return;
  const uint8x8x3_t pixels = eight(blend, row, column);
  for (int channel = 0; channel < 3; ++channel) {
    float last[kColumns];
    put(pixels.val[channel], last);
    for (int i = 0; column + i < row.columns; ++i) planes[channel][column + i] = last[i];
  }
}

constexpr LetterboxKernels kKernels = {"neon", pairs, bytes, planes};

}  // namespace

const LetterboxKernels& letterbox_neon() { return kKernels; }

}  // namespace wutdet::engine
