// Rounding of exact magnitudes to the tables of the portable encoders.
#pragma once

#include <cmath>
#include <cstdint>

namespace wutdet {

// Whether the upper of two neighbours is taken: `way` is the exact share of the way to it, which may be above 1.
inline bool round_up_by_chance(double way, std::uint32_t threshold) {
  const double share = way < 0 ? 0 : way > 1 ? 1 : way;
  return threshold < std::floor(share * 16777216.0);
}

// E2M1 code of a magnitude by its float bits, which rise with it: how many of the middles between neighbours (0.25, 0.75,
// 1.25, 1.75, 2.5, 3.5, 5) lie below. `one` is 1 where every middle itself goes up, 0 where only those to an even code.
inline unsigned round_e2m1(std::uint32_t bits, std::uint32_t one) {
  return (bits > 0x3E800000u - one) + (bits > 0x3F400000u - 1) + (bits > 0x3FA00000u - one) + (bits > 0x3FE00000u - 1) +
         (bits > 0x40200000u - one) + (bits > 0x40600000u - 1) + (bits > 0x40A00000u - one);
}

inline unsigned round_e2m1_by_chance(double magnitude, std::uint32_t threshold) {
  static const double table[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  unsigned low = 0;
  while (low < 6 && magnitude >= table[low + 1]) ++low;
  return low + round_up_by_chance((magnitude - table[low]) / (table[low + 1] - table[low]), threshold);
}

}  // namespace wutdet
