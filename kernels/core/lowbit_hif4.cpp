// HiFloat4: groups of 64 under three levels of scales, see wutdet/lowbit/oracle/hif4.py.
#include <algorithm>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"
#include "core/lowbit_rounding.h"
#include "core/philox.h"

namespace wutdet {
namespace portable {
namespace {

constexpr std::size_t kGroup = 64;

// Element code of t = 8 times the scaled magnitude, which is exact.
unsigned round_s1p2(double eighths, bool ties_even) {
  if (eighths >= 14) return 7;
  const int whole = static_cast<int>(eighths);
  const bool tie = whole == eighths && whole % 2 == 1;
  return static_cast<unsigned>(tie && ties_even ? (whole + 1) / 4 * 2 : (whole + 1) / 2);
}

void encode_group(const float* x, std::size_t count, HiF4Options options, const Noise* noise, Thresholds* thresholds,
                  std::uint8_t* codes, std::uint8_t* scale) {
  std::uint32_t of_four[16] = {}, of_eight[8] = {}, peak = 0;
  for (std::size_t i = 0; i < count; ++i) of_four[i / 4] = std::max(of_four[i / 4], bits_of(x[i]) & kMagnitude);
  for (int k = 0; k < 16; ++k) of_eight[k / 2] = std::max(of_eight[k / 2], of_four[k]);
  for (int j = 0; j < 8; ++j) peak = std::max(peak, of_eight[j]);
  if (peak > kInfinity || (peak == kInfinity && !options.saturate)) {
    std::fill(codes, codes + (count + 1) / 2, std::uint8_t{0});
    scale[0] = 0xFF;
    scale[1] = scale[2] = scale[3] = 0;
    return;
  }
  const unsigned code = hif4_scale_code(float_of(peak));
  const double reciprocal = float_of(hif4_reciprocal_bits(code));
  unsigned eight = 0, four = 0;
  double factor[16];
  for (int k = 0; k < 16; ++k) {
    const bool doubled_eight = float_of(of_eight[k / 2]) * reciprocal >= 4;
    const bool doubled_four = float_of(of_four[k]) * reciprocal * (doubled_eight ? 0.5 : 1) >= 2;
    eight |= static_cast<unsigned>(doubled_eight) << k / 2;
    four |= static_cast<unsigned>(doubled_four) << k;
    factor[k] = reciprocal * (doubled_eight ? 0.5 : 1) * (doubled_four ? 0.5 : 1);
  }
  std::uint8_t elements[kGroup];
  for (std::size_t i = 0; i < count; ++i) {
    const double scaled = std::min(static_cast<double>(float_of(bits_of(x[i]) & kMagnitude)), 0x1p128) * factor[i / 4];
    unsigned element;
    if (noise) {
      const unsigned low = scaled >= 1.5 ? 6 : static_cast<unsigned>(scaled * 4);
      element = low + round_up_by_chance(scaled * 4 - low, (*thresholds)(noise->first + i));
    } else {
      element = round_s1p2(scaled * 8, options.ties_even);
    }
    elements[i] = static_cast<std::uint8_t>(element | (x[i] < 0 ? 8 : 0));
  }
  pack_nibbles(elements, count, codes);
  scale[0] = static_cast<std::uint8_t>(code);
  scale[1] = static_cast<std::uint8_t>(eight);
  scale[2] = static_cast<std::uint8_t>(four);
  scale[3] = static_cast<std::uint8_t>(four >> 8);
}

}  // namespace

void encode_hif4(const float* x, std::size_t count, HiF4Options options, const Noise* noise, std::uint8_t* codes,
                 std::uint8_t* scales) {
  Thresholds thresholds(noise ? noise->seed : 0);
  for (std::size_t begin = 0; begin < count; begin += kGroup) {
    const Noise here = noise ? Noise{noise->seed, noise->first + begin} : Noise{};
    encode_group(x + begin, std::min(kGroup, count - begin), options, noise ? &here : nullptr, &thresholds,
                 codes + begin / 2, scales + begin / kGroup * 4);
  }
}

void decode_hif4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool, float* out) {
  static const float s1p2[16] = {0,  0.25f,  0.5f,  0.75f,  1,  1.25f,  1.5f,  1.75f,
                                 -0.0f, -0.25f, -0.5f, -0.75f, -1, -1.25f, -1.5f, -1.75f};
  for (std::size_t begin = 0; begin < count; begin += 4) {
    const std::uint8_t* scale = scales + begin / kGroup * 4;
    const std::size_t k = begin % kGroup / 4;
    const unsigned doublings = (scale[1] >> k / 2 & 1u) + ((scale[2] | scale[3] << 8) >> k & 1u);
    // The NaN code has no bits of a number to double.
    const float step = float_of(scale[0] == 0xFF ? 0x7FC00000u : hif4_scale_bits(scale[0]) + (doublings << 23));
    for (std::size_t i = begin; i < std::min(begin + 4, count); ++i) out[i] = s1p2[nibble(codes, i)] * step;
  }
}

}  // namespace portable
}  // namespace wutdet
