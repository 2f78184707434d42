// NVFP4: groups of 16 E2M1 elements under E4M3 scales under one float32 scale, see wutdet/lowbit/oracle/nvfp4.py.
// Everything is float32 and in the order of the chosen reference.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"
#include "core/lowbit_rounding.h"
#include "core/philox.h"

namespace wutdet {
namespace {

constexpr std::size_t kGroup = 16;
constexpr float kPeak = 6 * 448, kLargestScale = 448, kSmallestNormalScale = 0x1p-6f;
constexpr std::uint8_t kNanScale = 0x7F, kCodeOfNan = 0x7D;

// E4M3 code of 0 <= x <= 448, ties to even.
unsigned e4m3_code(float x) {
  if (x < kSmallestNormalScale) return static_cast<unsigned>(std::nearbyintf(x * 512));  // multiples of 2^-9
  const std::uint32_t bits = bits_of(x);
  return ((bits + 0x7FFFFu + (bits >> 20 & 1)) >> 20) - (120u << 3);
}

unsigned scale_code(float peak, const NVFP4Steps& steps) {
  if (!steps.torchao) return e4m3_code(std::min(peak * steps.to_code, kLargestScale));
  const float wanted = peak / 6 / steps.tensor_scale;
  // 0 / 0 where the tensor scale underflowed; the code is the one that the definition's search ends at.
  if (std::isnan(wanted)) return kCodeOfNan;
  return e4m3_code(std::min(std::max(wanted, kSmallestNormalScale), kLargestScale));
}

}  // namespace

NVFP4Steps nvfp4_steps(NVFP4Options options, float whole, float* tensor_scale) {
  const LowbitTables& tables = lowbit_tables();
  const float largest = std::numeric_limits<float>::max();
  const bool scaled = options.two_level && whole != 0;
  NVFP4Steps steps;
  steps.torchao = options.torchao;
  steps.tensor_scale = *tensor_scale = scaled ? whole / kPeak : 1.0f;
  const float to_peak = scaled ? std::min(kPeak / whole, largest) : 1.0f;
  const float sixth = 1.0f / 6.0f, from_peak = 1.0f / to_peak, reciprocal = 1.0f / steps.tensor_scale;
  steps.to_code = to_peak * sixth;
  steps.finite = true;
  for (int code = 0; code < 128; ++code) {
    const float value = tables.e4m3[code];
    steps.factor[code] = options.torchao ? reciprocal / value : std::min(1.0f / (value * from_peak), largest);
    // Code 0 does not occur with torchao, nor the NaN code.
    if (code > 0 && code < kNanScale && !(steps.factor[code] <= largest)) steps.finite = false;
  }
  return steps;
}

namespace portable {

void peaks_nvfp4(const float* x, std::size_t count, float* peaks) {
  for (std::size_t begin = 0; begin < count; begin += kGroup) {
    std::uint32_t peak = 0;
    for (std::size_t i = begin; i < std::min(begin + kGroup, count); ++i)
      peak = std::max(peak, bits_of(x[i]) & kMagnitude);
    peaks[begin / kGroup] = peak < kInfinity ? float_of(peak) : 0.0f;
  }
}

void encode_nvfp4(const float* x, std::size_t count, const NVFP4Steps& steps, const float* peaks, const Noise* noise,
                  std::uint8_t* codes, std::uint8_t* scales) {
  Thresholds thresholds(noise ? noise->seed : 0);
  for (std::size_t begin = 0; begin < count; begin += kGroup) {
    const std::size_t length = std::min(kGroup, count - begin);
    std::uint32_t peak = 0;
    for (std::size_t i = 0; i < length; ++i) peak = std::max(peak, bits_of(x[begin + i]) & kMagnitude);
    std::uint8_t elements[kGroup] = {};
    unsigned code = kNanScale;
    if (peak < kInfinity) {
      code = scale_code(peaks ? peaks[begin / kGroup] : float_of(peak), steps);
      const float factor = steps.factor[code];
      // Transformer Engine compares: a product that underflows, and -0 itself, has no sign.
      const std::uint32_t always_signed = steps.torchao;
      for (std::size_t i = 0; i < length; ++i) {
        const std::uint32_t bits = bits_of(x[begin + i]), magnitude = bits & kMagnitude;
        const float product = float_of(magnitude) * factor;
        const std::uint32_t scaled = magnitude == 0 ? 0 : bits_of(product);  // 0 even where the factor is infinite
        const unsigned element = noise ? round_e2m1_by_chance(float_of(scaled), thresholds(noise->first + begin + i))
                                       : round_e2m1(scaled, 0);
        elements[i] = static_cast<std::uint8_t>(element | ((always_signed | (scaled != 0)) & bits >> 31) << 3);
      }
    }
    pack_nibbles(elements, length, codes + begin / 2);
    scales[begin / kGroup] = static_cast<std::uint8_t>(code);
  }
}

void decode_nvfp4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, float tensor_scale,
                  bool torchao, bool, float* out) {
  const LowbitTables& tables = lowbit_tables();
  for (std::size_t begin = 0; begin < count; begin += kGroup) {
    const float scale = tables.e4m3[scales[begin / kGroup]], product = scale * tensor_scale;
    for (std::size_t i = begin; i < std::min(begin + kGroup, count); ++i) {
      const float element = tables.e2m1[nibble(codes, i)];
      out[i] = torchao ? element * product : element * scale * tensor_scale;
    }
  }
}

}  // namespace portable
}  // namespace wutdet
