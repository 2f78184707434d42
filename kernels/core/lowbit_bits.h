// Bits of floats and packing, for the files of the low-bit formats. All static, so that a file compiled for a newer
// processor keeps its own copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace wutdet {

static constexpr std::uint32_t kMagnitude = 0x7FFFFFFFu, kInfinity = 0x7F800000u;

static inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Two 4-bit codes to a byte, the first in the low half; the high half behind an odd last one is 0.
static inline void pack_nibbles(const std::uint8_t* elements, std::size_t count, std::uint8_t* codes) {
  for (std::size_t i = 0; i + 1 < count; i += 2)
    codes[i / 2] = static_cast<std::uint8_t>(elements[i] | elements[i + 1] << 4);
  if (count % 2) codes[count / 2] = elements[count - 1];
}

static inline unsigned nibble(const std::uint8_t* codes, std::size_t i) { return codes[i / 2] >> (i % 2 * 4) & 15u; }

// E6M2 code of a HiF4 group by its peak, which must not be NaN (arXiv 2602.11287, Algorithm 1): peak times
// bfloat16(1/7), rounded to bfloat16, clamped, rounded to three significant bits; both times ties to even.
static inline unsigned hif4_scale_code(float peak) {
  const double product = static_cast<double>(peak) * 0.142578125;  // 24 and 7 bits: exact
  std::uint64_t bits;
  std::memcpy(&bits, &product, sizeof bits);
  // What lies below bfloat16's normal numbers is clamped in any case, so rounding to 8 significant bits is enough.
  bits = (bits + 0x0FFFFFFFFFFFull + (bits >> 45 & 1)) & ~0x1FFFFFFFFFFFull;
  const std::uint64_t lowest = static_cast<std::uint64_t>(1023 - 48) << 52;              // 2^-48
  const std::uint64_t highest = static_cast<std::uint64_t>(1023 + 15) << 52 | 1ull << 51;  // 1.5 * 2^15
  bits = bits < lowest ? lowest : bits > highest ? highest : bits;
  bits += 0x1FFFFFFFFFFFFull + (bits >> 50 & 1);
  return static_cast<unsigned>((bits >> 50) - ((1023 - 48) << 2));
}

// Bits of the E6M2 scale itself; not for the NaN code.
static inline std::uint32_t hif4_scale_bits(unsigned code) { return (code << 21) + ((127u - 48u) << 23); }

// Bits of bfloat16(1 / scale).
static inline std::uint32_t hif4_reciprocal_bits(unsigned code) {
  static const std::uint8_t mantissa[4] = {0, 77, 43, 18};
  return (175u - (code >> 2) - ((code & 3) != 0)) << 23 | static_cast<std::uint32_t>(mantissa[code & 3]) << 16;
}

}  // namespace wutdet
