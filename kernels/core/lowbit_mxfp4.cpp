// MXFP4: groups of 32 E2M1 elements under a power of two, see wutdet/lowbit/oracle/mxfp4.py.
#include <algorithm>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"
#include "core/lowbit_rounding.h"
#include "core/philox.h"

namespace wutdet {
namespace portable {
namespace {

constexpr std::size_t kGroup = 32;

}  // namespace

void encode_mxfp4(const float* x, std::size_t count, MXFP4Options options, const Noise* noise, std::uint8_t* codes,
                  std::uint8_t* scales) {
  Thresholds thresholds(noise ? noise->seed : 0);
  for (std::size_t begin = 0; begin < count; begin += kGroup) {
    const std::size_t length = std::min(kGroup, count - begin);
    std::uint32_t peak = 0;
    for (std::size_t i = 0; i < length; ++i) peak = std::max(peak, bits_of(x[begin + i]) & kMagnitude);
    std::uint8_t elements[kGroup] = {};
    int code = 0xFF;
    if (peak < kInfinity) {
      // Two below the peak's exponent: the largest element, 6, lies in the binade of 4. Peaks below float's normal
      // numbers end at the smallest scale in any case.
      code = std::max(0, static_cast<int>(peak >> 23) - 2 + (options.ceil && (peak & 0x7FFFFFu) > 0x400000u));
      // A power of two: exact, or far below half an element.
      const float factor = float_of(static_cast<std::uint32_t>(254 - code) << 23);
      for (std::size_t i = 0; i < length; ++i) {
        const float scaled = float_of(bits_of(x[begin + i]) & kMagnitude) * factor;
        const unsigned element = noise ? round_e2m1_by_chance(scaled, thresholds(noise->first + begin + i))
                                       : round_e2m1(bits_of(scaled), options.ties_away);
        elements[i] = static_cast<std::uint8_t>(element | (bits_of(x[begin + i]) >> 28 & 8u));
      }
    }
    pack_nibbles(elements, length, codes + begin / 2);
    scales[begin / kGroup] = static_cast<std::uint8_t>(code);
  }
}

void decode_mxfp4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool, float* out) {
  const LowbitTables& tables = lowbit_tables();
  for (std::size_t begin = 0; begin < count; begin += kGroup) {
    const std::uint32_t scale = scales[begin / kGroup];
    const float power = float_of(scale == 0xFF ? 0x7FC00000u : scale == 0 ? 0x00400000u : scale << 23);
    for (std::size_t i = begin; i < std::min(begin + kGroup, count); ++i)
      out[i] = power * tables.e2m1[nibble(codes, i)];
  }
}

}  // namespace portable
}  // namespace wutdet
