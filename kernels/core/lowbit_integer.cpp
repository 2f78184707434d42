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
  float least = *low, most = *high;
  for (std::size_t i = 0; i < count; ++i) {
    least = std::min(least, x[i]);
    most = std::max(most, x[i]);
  }
  *low = least;
  *high = most;
}

namespace {

// Beyond every code and zero point together; also what a NaN, which has no code, becomes.
constexpr float kBeyond = 1024;

std::uint8_t code_of(int rounded, const IntegerStep& step) {
  const int code = rounded + step.zero;
  const int clamped = code > step.high ? step.high : code < step.low ? step.low : code;
  return static_cast<std::uint8_t>(clamped & ((1 << step.bits) - 1));
}

int round_nearest(float quotient) {
  const float near = quotient < kBeyond ? quotient > -kBeyond ? quotient : -kBeyond : kBeyond;
  const float shift = 12582912;  // 1.5 * 2^23: the sum has no room for a fraction, and rounds ties to even
  return static_cast<int>(near + shift - shift);
}

int round_by_chance(float quotient, std::uint32_t threshold) {
  const double magnitude = std::fabs(static_cast<double>(quotient));
  if (!(magnitude < kBeyond)) return static_cast<int>(quotient < 0 ? -kBeyond : kBeyond);
  const int below = static_cast<int>(magnitude);
  const int rounded = below + round_up_by_chance(magnitude - below, threshold);
  return quotient < 0 ? -rounded : rounded;
}

}  // namespace

void encode_integer(const float* x, std::size_t count, const IntegerStep& shared, const Noise* noise,
                    std::uint8_t* codes) {
  const IntegerStep step = shared;  // a copy: writing codes cannot change it
  constexpr std::size_t chunk = 64;
  Thresholds thresholds(noise ? noise->seed : 0);
  for (std::size_t begin = 0; begin < count; begin += chunk) {
    const std::size_t length = std::min(chunk, count - begin);
    std::uint8_t elements[chunk];
    if (noise)
      for (std::size_t i = 0; i < length; ++i)
        elements[i] =
            code_of(round_by_chance(x[begin + i] / step.scale, thresholds(noise->first + begin + i)), step);
    else
      for (std::size_t i = 0; i < length; ++i) elements[i] = code_of(round_nearest(x[begin + i] / step.scale), step);
    if (step.bits == 8)
      std::copy(elements, elements + length, codes + begin);
    else
      pack_nibbles(elements, length, codes + begin / 2);
  }
}

void decode_integer(const std::uint8_t* codes, std::size_t count, const IntegerStep& step, bool, float* out) {
  // Symmetric codes are two's complement: the exclusive or adds half of the range to them, and it is taken off again.
  const int turn = step.low < 0 ? 1 << (step.bits - 1) : 0, zero = step.zero + turn;
  if (step.bits == 8)
    for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>((codes[i] ^ turn) - zero) * step.scale;
  else
    for (std::size_t i = 0; i < count; ++i)
      out[i] = static_cast<float>((static_cast<int>(nibble(codes, i)) ^ turn) - zero) * step.scale;
}

}  // namespace portable
}  // namespace wutdet
