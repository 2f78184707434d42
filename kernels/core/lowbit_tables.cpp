// The codebooks of wutdet/lowbit/codebooks.py, and the portable table of functions.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"

namespace wutdet {
namespace {

double hif8_magnitude(unsigned code) {
  if (code < 8) return code == 0 ? 0 : std::ldexp(1.0, static_cast<int>(code) - 23);
  // The dot field: 0001 no exponent bits, 001 one, 01 two, 10 three, 11 four.
  const unsigned bits = code < 16 ? 0 : code < 32 ? 1 : (code >> 5) + 1;
  const unsigned rest = code & (code < 16 ? 7u : code < 32 ? 15u : 31u);
  const unsigned mantissa_bits = bits < 3 ? 3 : bits == 3 ? 2 : 1;
  const unsigned field = rest >> mantissa_bits, mantissa = rest & ((1u << mantissa_bits) - 1);
  int exponent = 0;
  if (bits) {
    const unsigned hidden = 1u << (bits - 1);
    exponent = static_cast<int>(hidden | (field & (hidden - 1)));
    if (field >> (bits - 1)) exponent = -exponent;
  }
  return std::ldexp(1 + mantissa / static_cast<double>(1u << mantissa_bits), exponent);
}

void fill_hif8(LowbitTables& tables) {
  constexpr unsigned infinite = 0x6F;
  for (unsigned code = 0; code < 128; ++code) {
    const double value = code == infinite ? std::numeric_limits<double>::infinity() : hif8_magnitude(code);
    tables.hif8[code] = static_cast<float>(value);
    tables.hif8[code | 128] = static_cast<float>(-value);
  }
  tables.hif8[0x80] = std::numeric_limits<float>::quiet_NaN();
  unsigned count = 0;
  for (unsigned code = 0; code < 128; ++code)
    if (code != infinite) tables.hif8_rising_code[count++] = static_cast<std::uint8_t>(code);
  std::sort(tables.hif8_rising_code, tables.hif8_rising_code + count,
            [&](std::uint8_t a, std::uint8_t b) { return tables.hif8[a] < tables.hif8[b]; });
  for (unsigned i = 0; i < count; ++i) tables.hif8_rising[i] = tables.hif8[tables.hif8_rising_code[i]];
  // Ties go up and lie at most one bit behind three mantissa bits: the smallest float with these 13 upper bits has the
  // code of all of them.
  for (unsigned upper = 0; upper < 4096; ++upper) {
    const double magnitude = float_of(upper << 19);
    unsigned code = infinite;
    if (magnitude < 1.25 * 32768) {
      unsigned low = 0;
      while (low < 125 && magnitude >= tables.hif8_rising[low + 1]) ++low;
      const double middle = (tables.hif8_rising[low] + tables.hif8_rising[low + 1]) / 2;
      code = tables.hif8_rising_code[low + (magnitude >= middle)];
    }
    tables.hif8_nearest[upper] = static_cast<std::uint8_t>(code);
    tables.hif8_nearest[upper | 4096] = static_cast<std::uint8_t>(code ? code | 128 : 0);
  }
}

LowbitTables make_tables() {
  LowbitTables tables;
  static const float e2m1[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (int i = 0; i < 8; ++i) {
    tables.e2m1[i] = e2m1[i];
    tables.e2m1[i + 8] = -e2m1[i];
  }
  for (int code = 0; code < 128; ++code) {
    const int exponent = code >> 3, mantissa = code & 7;
    const double value = std::ldexp((exponent ? 1 : 0) + mantissa / 8.0, (exponent ? exponent : 1) - 7);
    tables.e4m3[code] = code == 127 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(value);
    tables.e4m3[code + 128] = -tables.e4m3[code];
  }
  fill_hif8(tables);
  return tables;
}

}  // namespace

const LowbitTables& lowbit_tables() {
  static const LowbitTables tables = make_tables();
  return tables;
}

const LowbitKernels& portable_lowbit_kernels() {
  static const LowbitKernels kernels = {
      portable::encode_hif4,  portable::decode_hif4,   portable::encode_mxfp4,   portable::decode_mxfp4,
      portable::peaks_nvfp4,  portable::encode_nvfp4,  portable::decode_nvfp4,   portable::encode_hif8,
      portable::decode_hif8,  portable::integer_range, portable::encode_integer, portable::decode_integer,
  };
  return kernels;
}

}  // namespace wutdet
