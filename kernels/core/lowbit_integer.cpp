// int8 and int4: rounded quotients by a float32 scale, see wutdet/lowbit/oracle/integer.py.
#include <algorithm>
#include <cmath>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"
#include "core/lowbit_rounding.h"
#include "core/philox.h"

namespace wutdet {
namespace portable {

void integer_range(const float* x, std::size_t count, float* low, float* high) {
  for (std::size_t i = 0; i < count; ++i) {
    *low = std::min(*low, x[i]);
    *high = std::max(*high, x[i]);
  }
}

void encode_integer(const float* x, std::size_t count, const IntegerStep& step, const Noise* noise,
                    std::uint8_t* codes) {
  Thresholds thresholds(noise ? noise->seed : 0);
  for (std::size_t i = 0; i < count; ++i) {
    const double quotient = x[i] / step.scale;  // one float32 division
    double magnitude = std::fabs(quotient);
    if (noise) {
      const double below = std::floor(magnitude);
      magnitude = below + round_up_by_chance(magnitude - below, thresholds(noise->first + i));
    } else {
      magnitude = std::nearbyint(magnitude);
    }
    const double code = std::copysign(magnitude, quotient) + step.zero;
    // Written so that a NaN, which has no code, ends at the lower end.
    const int clamped = code >= step.high ? step.high : code > step.low ? static_cast<int>(code) : step.low;
    const auto element = static_cast<std::uint8_t>(clamped & ((1 << step.bits) - 1));
    if (step.bits == 8)
      codes[i] = element;
    else if (i % 2 == 0)
      codes[i / 2] = element;
    else
      codes[i / 2] = static_cast<std::uint8_t>(codes[i / 2] | element << 4);
  }
}

void decode_integer(const std::uint8_t* codes, std::size_t count, const IntegerStep& step, bool, float* out) {
  // Symmetric codes are two's complement: those from `turn` on are negative.
  const int turn = step.low < 0 ? 1 << (step.bits - 1) : 1 << step.bits;
  for (std::size_t i = 0; i < count; ++i) {
    int code = step.bits == 8 ? codes[i] : static_cast<int>(nibble(codes, i));
    if (code >= turn) code -= 1 << step.bits;
    out[i] = static_cast<float>(code - step.zero) * step.scale;
  }
}

}  // namespace portable
}  // namespace wutdet
