// HiFloat8: one byte a value, no scale, see wutdet/lowbit/oracle/hif8.py.
#include <algorithm>
#include <cmath>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"
#include "core/lowbit_rounding.h"
#include "core/philox.h"

namespace wutdet {
namespace portable {
namespace {

constexpr std::uint8_t kNan = 0x80, kInfinite = 0x6F;
constexpr double kToInfinity = 1.25 * 32768;

std::uint8_t encode_by_chance(float x, std::uint32_t threshold, const LowbitTables& tables) {
  if (std::isnan(x)) return kNan;
  const double magnitude = std::fabs(static_cast<double>(x));
  unsigned code = kInfinite;
  if (magnitude < kToInfinity) {
    const double* table = tables.hif8_rising;
    std::size_t low = static_cast<std::size_t>(std::upper_bound(table, table + 127, magnitude) - table) - 1;
    low = std::min<std::size_t>(low, 125);
    code = tables.hif8_rising_code[low + round_up_by_chance((magnitude - table[low]) / (table[low + 1] - table[low]),
                                                           threshold)];
  }
  return static_cast<std::uint8_t>(x < 0 && code != 0 ? code | 0x80u : code);
}

}  // namespace

void encode_hif8(const float* x, std::size_t count, const Noise* noise, std::uint8_t* codes) {
  const LowbitTables& tables = lowbit_tables();
  if (noise) {
    Thresholds thresholds(noise->seed);
    for (std::size_t i = 0; i < count; ++i) codes[i] = encode_by_chance(x[i], thresholds(noise->first + i), tables);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = bits_of(x[i]);
    const std::uint8_t code = tables.hif8_nearest[bits >> 19];
    codes[i] = (bits & kMagnitude) > kInfinity ? kNan : code;
  }
}

void decode_hif8(const std::uint8_t* codes, std::size_t count, bool, float* out) {
  const float* table = lowbit_tables().hif8;
  for (std::size_t i = 0; i < count; ++i) out[i] = table[codes[i]];
}

}  // namespace portable
}  // namespace wutdet
