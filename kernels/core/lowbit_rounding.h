// Rounding of exact magnitudes to the tables of the portable encoders.
#pragma once

#include <cstdint>

namespace wutdet {

// Whether the upper of two neighbours is taken: `way` is the exact share of the way to it, at least 0, perhaps above 1.
inline bool round_up_by_chance(double way, std::uint32_t threshold) {
  return threshold < static_cast<std::uint32_t>((way < 1 ? way : 1) * 16777216.0);
}

// E2M1 code of a magnitude by its float bits, which rise with it: how many of the middles between neighbours (0.25,
// 0.75, 1.25, 1.75, 2.5, 3.5, 5) lie below. `one` is 1 where every middle goes up itself, 0 where those to even do.
inline unsigned round_e2m1(std::uint32_t bits, std::uint32_t one) {
  return (bits > 0x3E800000u - one) + (bits > 0x3F400000u - 1) + (bits > 0x3FA00000u - one) + (bits > 0x3FE00000u - 1) +
         (bits > 0x40200000u - one) + (bits > 0x40600000u - 1) + (bits > 0x40A00000u - one);
}

inline unsigned round_e2m1_by_chance(double magnitude, std::uint32_t threshold) {
  static const double table[7] = {0, 0.5, 1, 1.5, 2, 3, 4}, steps_per_one[7] = {2, 2, 2, 2, 1, 1, 0.5};
  unsigned low = 0;
  for (unsigned i = 1; i < 7; ++i) low += magnitude >= table[i];
  return low + round_up_by_chance((magnitude - table[low]) * steps_per_one[low], threshold);
}

}  // namespace wutdet
