// Low-bit encoders and decoders for x86-64 with AVX2 and FMA; compiled with flags of its own. Nothing in here but the
// table of functions is visible outside, and no inline function of a library is used: the linker could take its copy
// from this file for the rest of the module. Ends of rows go to the portable functions.
#include <immintrin.h>

#include "core/lowbit_bits.h"
#include "core/lowbit_kernels.h"

namespace wutdet {
namespace {

inline __m256i int_of(__m256 x) { return _mm256_castps_si256(x); }
inline __m256 real_of(__m256i x) { return _mm256_castsi256_ps(x); }
inline __m256i load(const float* x) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)); }
inline __m256i all(std::uint32_t bits) { return _mm256_set1_epi32(static_cast<int>(bits)); }
inline __m256i magnitudes(__m256i x) { return _mm256_and_si256(x, all(kMagnitude)); }

// Stores past the caches are in memory before the threads are joined, which takes locked instructions.
template <bool stream>
inline void put(float* out, __m256 x) {
  if (stream) {
    _mm_stream_ps(out, _mm256_castps256_ps128(x));
    _mm_stream_ps(out + 4, _mm256_extractf128_ps(x, 1));
  } else {
    _mm256_storeu_ps(out, x);
  }
}

inline float largest_lane(__m256i x) {
  __m128i most = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  most = _mm_max_epu32(most, _mm_shuffle_epi32(most, 0x4E));
  most = _mm_max_epu32(most, _mm_shuffle_epi32(most, 0xB1));
  return float_of(static_cast<std::uint32_t>(_mm_cvtsi128_si32(most)));
}

// 32 numbers of 0..255 to bytes, in order.
inline __m256i bytes_of(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i mixed = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
  return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// 32 codes to 16 bytes.
inline __m128i nibbles_of(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i pairs = _mm256_maddubs_epi16(bytes_of(a, b, c, d), _mm256_set1_epi16(0x1001));
  return _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

inline void put_codes(std::uint8_t* codes, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), x); }

// Eight 4-bit codes in the lower bits of a lane each (with other bits above), and their signs alone.
struct Unpacked {
  __m256i codes, signs;
};

inline Unpacked unpack(const std::uint8_t* codes) {
  int eight;
  __builtin_memcpy(&eight, codes, 4);
  const __m256i spread = _mm256_set1_epi32(eight);
  return {_mm256_srlv_epi32(spread, _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)),
          _mm256_and_si256(_mm256_sllv_epi32(spread, _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0)),
                           all(0x80000000u))};
}

// Entries of a table of magnitudes by the lower three bits, with signs.
inline __m256 look_up(__m256 table, const Unpacked& x) {
  return _mm256_xor_ps(_mm256_permutevar8x32_ps(table, x.codes), real_of(x.signs));
}

// Bit 3 of the codes: set where the lane's sign bit is.
inline __m256i sign_codes(__m256i x) { return _mm256_and_si256(_mm256_srli_epi32(x, 28), all(8)); }

// E2M1 codes of magnitudes in float bits: how many of the middles between neighbours they lie above.
template <bool ties_away>
inline __m256i e2m1_codes(__m256i bits) {
  // 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5; where the middle itself goes up, the number before it is what counts.
  constexpr std::uint32_t to_even = ties_away ? 1 : 0;
  __m256i code = _mm256_setzero_si256();
  code = _mm256_sub_epi32(code, _mm256_cmpgt_epi32(bits, all(0x3E800000u - to_even)));
  code = _mm256_sub_epi32(code, _mm256_cmpgt_epi32(bits, all(0x3F400000u - 1)));
  code = _mm256_sub_epi32(code, _mm256_cmpgt_epi32(bits, all(0x3FA00000u - to_even)));
  code = _mm256_sub_epi32(code, _mm256_cmpgt_epi32(bits, all(0x3FE00000u - 1)));
  code = _mm256_sub_epi32(code, _mm256_cmpgt_epi32(bits, all(0x40200000u - to_even)));
  code = _mm256_sub_epi32(code, _mm256_cmpgt_epi32(bits, all(0x40600000u - 1)));
  return _mm256_sub_epi32(code, _mm256_cmpgt_epi32(bits, all(0x40A00000u - to_even)));
}

// Bits of the smallest float from which on times the reciprocal is at least 2.
inline std::uint32_t hif4_doubling_bits(unsigned code) {
  static const std::uint32_t mantissa[4] = {0, 0x1FD80Au, 0x3FA030u, 0x607039u};  // of 256 / (128, 205, 171, 146)
  return (80u + (code >> 2)) << 23 | mantissa[code & 3];
}

template <bool ties_even>
inline void encode_hif4_group(const float* x, bool saturate, std::uint8_t* codes, std::uint8_t* scale) {
  __m256i value[8], four[8], eight[8];
  __m256i most = _mm256_setzero_si256();
  for (int j = 0; j < 8; ++j) {
    value[j] = magnitudes(load(x + 8 * j));
    __m256i m = _mm256_max_epu32(value[j], _mm256_shuffle_epi32(value[j], 0xB1));
    four[j] = _mm256_max_epu32(m, _mm256_shuffle_epi32(m, 0x4E));  // in all lanes of the four
    eight[j] = _mm256_max_epu32(four[j], _mm256_permute2x128_si256(four[j], four[j], 1));
    most = _mm256_max_epu32(most, eight[j]);
  }
  const float peak = float_of(static_cast<std::uint32_t>(_mm256_cvtsi256_si32(most)));
  const std::uint32_t peak_bits = bits_of(peak);
  if (peak_bits > kInfinity || (peak_bits == kInfinity && !saturate)) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_setzero_si256());
    scale[0] = 0xFF;
    scale[1] = scale[2] = scale[3] = 0;
    return;
  }
  const unsigned code = hif4_scale_code(peak);
  const std::uint32_t doubling = hif4_doubling_bits(code);
  // Bits of magnitudes rise with them. A threshold doubled has the next exponent.
  const __m256i at_two = all(doubling - 1), at_four = all(doubling + (1u << 23) - 1);
  // 8 / scale for halves of a quarter, or 4 / scale for quarters.
  const __m256i unit = all(hif4_reciprocal_bits(code) + ((ties_even ? 2u : 3u) << 23));
  unsigned eight_bits = 0, four_bits = 0;
  __m256i element[8];
  for (int j = 0; j < 8; ++j) {
    const __m256i by_eight = _mm256_cmpgt_epi32(eight[j], at_four);
    const __m256i by_four = _mm256_cmpgt_epi32(four[j], _mm256_blendv_epi8(at_two, at_four, by_eight));
    const unsigned mask = static_cast<unsigned>(_mm256_movemask_ps(real_of(by_four)));
    eight_bits |= (static_cast<unsigned>(_mm256_movemask_ps(real_of(by_eight))) & 1u) << j;
    four_bits |= ((mask & 1u) | (mask >> 3 & 2u)) << 2 * j;
    // Masks are -1: each takes one off the exponent.
    const __m256 factor = real_of(_mm256_add_epi32(unit, _mm256_slli_epi32(_mm256_add_epi32(by_eight, by_four), 23)));
    const __m256 product = _mm256_mul_ps(real_of(value[j]), factor);
    const __m256i rest = int_of(_mm256_fmsub_ps(real_of(value[j]), factor, product));
    // Where the product was rounded up (the rest is negative), the float before it: now it is cut off.
    __m256i cut = _mm256_add_epi32(int_of(product), _mm256_srai_epi32(rest, 31));
    __m256i rounded;
    if (ties_even) {
      // A last bit that says that something was cut off keeps ties apart from what lies beside them.
      const __m256i exact = _mm256_cmpeq_epi32(_mm256_slli_epi32(rest, 1), _mm256_setzero_si256());
      cut = _mm256_or_si256(cut, _mm256_andnot_si256(exact, all(1)));
      rounded = _mm256_cvtps_epi32(_mm256_min_ps(real_of(cut), _mm256_set1_ps(8)));
    } else {
      const __m256i halves = _mm256_cvttps_epi32(_mm256_min_ps(real_of(cut), _mm256_set1_ps(16)));
      rounded = _mm256_srli_epi32(_mm256_add_epi32(halves, all(1)), 1);
    }
    const __m256 negative = _mm256_cmp_ps(_mm256_loadu_ps(x + 8 * j), _mm256_setzero_ps(), _CMP_LT_OQ);
    element[j] = _mm256_or_si256(_mm256_min_epi32(rounded, all(7)), _mm256_and_si256(int_of(negative), all(8)));
  }
  put_codes(codes, nibbles_of(element[0], element[1], element[2], element[3]));
  put_codes(codes + 16, nibbles_of(element[4], element[5], element[6], element[7]));
  scale[0] = static_cast<std::uint8_t>(code);
  scale[1] = static_cast<std::uint8_t>(eight_bits);
  scale[2] = static_cast<std::uint8_t>(four_bits);
  scale[3] = static_cast<std::uint8_t>(four_bits >> 8);
}

void encode_hif4(const float* x, std::size_t count, HiF4Options options, const Noise*, std::uint8_t* codes,
                 std::uint8_t* scales) {
  const std::size_t whole = count / 64;
  if (options.ties_even)
    for (std::size_t g = 0; g < whole; ++g)
      encode_hif4_group<true>(x + 64 * g, options.saturate, codes + 32 * g, scales + 4 * g);
  else
    for (std::size_t g = 0; g < whole; ++g)
      encode_hif4_group<false>(x + 64 * g, options.saturate, codes + 32 * g, scales + 4 * g);
  portable::encode_hif4(x + 64 * whole, count - 64 * whole, options, nullptr, codes + 32 * whole, scales + 4 * whole);
}

template <bool stream>
void decode_hif4_groups(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t groups, float* out) {
  const __m256 table = _mm256_setr_ps(0, 0.25f, 0.5f, 0.75f, 1, 1.25f, 1.5f, 1.75f);
  const __m256i one = all(1), second_four = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  for (std::size_t g = 0; g < groups; ++g, codes += 32, scales += 4, out += 64) {
    if (scales[0] == 0xFF) {
      for (int j = 0; j < 8; ++j) put<stream>(out + 8 * j, real_of(all(0x7FC00000u)));
      continue;
    }
    const __m256i base = all(hif4_scale_bits(scales[0]));
    __m256i eight = _mm256_set1_epi32(scales[1]);
    __m256i four = _mm256_srlv_epi32(_mm256_set1_epi32(scales[2] | scales[3] << 8), second_four);
    for (int j = 0; j < 8; ++j) {
      const __m256i doublings = _mm256_add_epi32(_mm256_and_si256(eight, one), _mm256_and_si256(four, one));
      const __m256 step = real_of(_mm256_add_epi32(base, _mm256_slli_epi32(doublings, 23)));
      put<stream>(out + 8 * j, _mm256_mul_ps(look_up(table, unpack(codes + 4 * j)), step));
      eight = _mm256_srli_epi32(eight, 1);
      four = _mm256_srli_epi32(four, 2);
    }
  }
}

void decode_hif4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool stream, float* out) {
  const std::size_t whole = count / 64;
  (stream ? decode_hif4_groups<true> : decode_hif4_groups<false>)(codes, scales, whole, out);
  portable::decode_hif4(codes + 32 * whole, scales + 4 * whole, count - 64 * whole, false, out + 64 * whole);
}

template <bool ties_away>
void encode_mxfp4_groups(const float* x, std::size_t groups, bool ceil, std::uint8_t* codes, std::uint8_t* scales) {
  for (std::size_t g = 0; g < groups; ++g, x += 32, codes += 16) {
    __m256i value[4], element[4];
    for (int j = 0; j < 4; ++j) value[j] = load(x + 8 * j);
    const __m256i most = _mm256_max_epu32(_mm256_max_epu32(magnitudes(value[0]), magnitudes(value[1])),
                                          _mm256_max_epu32(magnitudes(value[2]), magnitudes(value[3])));
    const std::uint32_t peak = bits_of(largest_lane(most));
    if (peak >= kInfinity) {
      put_codes(codes, _mm_setzero_si128());
      scales[g] = 0xFF;
      continue;
    }
    const int power = static_cast<int>(peak >> 23) - 2 + (ceil && (peak & 0x7FFFFFu) > 0x400000u);
    const unsigned code = power > 0 ? static_cast<unsigned>(power) : 0u;
    const __m256 factor = real_of(all((254u - code) << 23));  // 1 / scale
    for (int j = 0; j < 4; ++j) {
      const __m256 scaled = _mm256_mul_ps(real_of(magnitudes(value[j])), factor);
      element[j] = _mm256_or_si256(e2m1_codes<ties_away>(int_of(scaled)), sign_codes(value[j]));
    }
    put_codes(codes, nibbles_of(element[0], element[1], element[2], element[3]));
    scales[g] = static_cast<std::uint8_t>(code);
  }
}

void encode_mxfp4(const float* x, std::size_t count, MXFP4Options options, const Noise*, std::uint8_t* codes,
                  std::uint8_t* scales) {
  const std::size_t whole = count / 32;
  (options.ties_away ? encode_mxfp4_groups<true> : encode_mxfp4_groups<false>)(x, whole, options.ceil, codes, scales);
  portable::encode_mxfp4(x + 32 * whole, count - 32 * whole, options, nullptr, codes + 16 * whole, scales + whole);
}

inline __m256 e2m1_table() { return _mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6); }

template <bool stream>
void decode_mxfp4_groups(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t groups, float* out) {
  for (std::size_t g = 0; g < groups; ++g, codes += 16, out += 32) {
    const std::uint32_t scale = scales[g];
    const std::uint32_t bits = scale == 0xFF ? 0x7FC00000u : scale == 0 ? 0x00400000u : scale << 23;
    const __m256 table = _mm256_mul_ps(e2m1_table(), real_of(all(bits)));
    for (int j = 0; j < 4; ++j) put<stream>(out + 8 * j, look_up(table, unpack(codes + 4 * j)));
  }
}

void decode_mxfp4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool stream, float* out) {
  const std::size_t whole = count / 32;
  (stream ? decode_mxfp4_groups<true> : decode_mxfp4_groups<false>)(codes, scales, whole, out);
  portable::decode_mxfp4(codes + 16 * whole, scales + whole, count - 32 * whole, false, out + 32 * whole);
}

// Bits of the largest magnitude of each of 8 groups of 16.
inline __m256i peak_bits(const float* x) {
  __m256i of_group[8];
  for (int g = 0; g < 8; ++g)
    of_group[g] = _mm256_max_epu32(magnitudes(load(x + 16 * g)), magnitudes(load(x + 16 * g + 8)));
  __m256i quads[2];
  for (int h = 0; h < 2; ++h) {
    const __m256i* m = of_group + 4 * h;
    const __m256i ab = _mm256_max_epu32(_mm256_unpacklo_epi32(m[0], m[1]), _mm256_unpackhi_epi32(m[0], m[1]));
    const __m256i cd = _mm256_max_epu32(_mm256_unpacklo_epi32(m[2], m[3]), _mm256_unpackhi_epi32(m[2], m[3]));
    quads[h] = _mm256_max_epu32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  }
  return _mm256_max_epu32(_mm256_permute2x128_si256(quads[0], quads[1], 0x20),
                          _mm256_permute2x128_si256(quads[0], quads[1], 0x31));
}

void peaks_nvfp4(const float* x, std::size_t count, float* peaks) {
  const std::size_t whole = count / 128;
  for (std::size_t b = 0; b < whole; ++b) {
    const __m256i bits = peak_bits(x + 128 * b);
    const __m256i broken = _mm256_cmpgt_epi32(bits, all(kInfinity - 1));
    _mm256_storeu_ps(peaks + 8 * b, real_of(_mm256_andnot_si256(broken, bits)));
  }
  portable::peaks_nvfp4(x + 128 * whole, count - 128 * whole, peaks + 8 * whole);
}

// E4M3 codes of numbers from 0 to 448, ties to even.
inline __m256i e4m3_codes(__m256 x) {
  const __m256i bits = int_of(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 20), all(1));
  const __m256i normal = _mm256_sub_epi32(
      _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, all(0x7FFFFu)), odd), 20), all(120u << 3));
  const __m256i subnormal = _mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(512)));
  return _mm256_blendv_epi8(normal, subnormal, int_of(_mm256_cmp_ps(x, _mm256_set1_ps(0x1p-6f), _CMP_LT_OQ)));
}

template <bool torchao>
void encode_nvfp4_batches(const float* x, std::size_t batches, const NVFP4Steps& steps, const float* peaks,
                          std::uint8_t* codes, std::uint8_t* scales) {
  const __m256 largest = _mm256_set1_ps(448);
  for (std::size_t b = 0; b < batches; ++b, x += 128, codes += 64, scales += 8) {
    const __m256i bits = peak_bits(x);
    const __m256i broken = _mm256_cmpgt_epi32(bits, all(kInfinity - 1));
    const __m256 peak = peaks ? _mm256_loadu_ps(peaks + 8 * b) : real_of(_mm256_andnot_si256(broken, bits));
    __m256 wanted;
    if (torchao) {
      wanted = _mm256_div_ps(_mm256_div_ps(peak, _mm256_set1_ps(6)), _mm256_set1_ps(steps.tensor_scale));
      wanted = _mm256_min_ps(_mm256_max_ps(wanted, _mm256_set1_ps(0x1p-6f)), largest);
    } else {
      wanted = _mm256_min_ps(_mm256_mul_ps(peak, _mm256_set1_ps(steps.to_code)), largest);
    }
    const __m256i code = e4m3_codes(wanted);
    float factor[8];
    _mm256_storeu_ps(factor, _mm256_i32gather_ps(steps.factor, code, 4));
    for (int h = 0; h < 4; ++h) {
      __m256i element[4];
      for (int j = 0; j < 4; ++j) {
        const __m256i value = load(x + 32 * h + 8 * j);
        const __m256i scaled =
            int_of(_mm256_mul_ps(real_of(magnitudes(value)), _mm256_set1_ps(factor[2 * h + j / 2])));
        // Transformer Engine: what has become 0 has no sign.
        const __m256i sign =
            torchao ? value : _mm256_and_si256(value, _mm256_cmpgt_epi32(scaled, _mm256_setzero_si256()));
        element[j] = _mm256_or_si256(e2m1_codes<false>(scaled), sign_codes(sign));
      }
      put_codes(codes + 16 * h, nibbles_of(element[0], element[1], element[2], element[3]));
    }
    const __m256i stored = _mm256_blendv_epi8(code, all(0x7F), broken);
    const __m256i bytes = bytes_of(stored, stored, stored, stored);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(scales), _mm256_castsi256_si128(bytes));
    const int mask = _mm256_movemask_ps(real_of(broken));
    if (mask)
      for (int g = 0; g < 8; ++g)
        if (mask >> g & 1) _mm_storel_epi64(reinterpret_cast<__m128i*>(codes + 8 * g), _mm_setzero_si128());
  }
}

void encode_nvfp4(const float* x, std::size_t count, const NVFP4Steps& steps, const float* peaks, const Noise*,
                  std::uint8_t* codes, std::uint8_t* scales) {
  // Infinite factors times zero would be NaN; tensors that small are rare.
  const std::size_t whole = steps.finite ? count / 128 : 0;
  (steps.torchao ? encode_nvfp4_batches<true> : encode_nvfp4_batches<false>)(x, whole, steps, peaks, codes, scales);
  portable::encode_nvfp4(x + 128 * whole, count - 128 * whole, steps, peaks ? peaks + 8 * whole : nullptr, nullptr,
                         codes + 64 * whole, scales + 8 * whole);
}

template <bool stream>
void decode_nvfp4_groups(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t groups, float tensor_scale,
                         bool torchao, float* out) {
  const float* e4m3 = lowbit_tables().e4m3;
  const __m256 whole = _mm256_set1_ps(tensor_scale);
  for (std::size_t g = 0; g < groups; ++g, codes += 8, out += 16) {
    const __m256 scale = _mm256_set1_ps(e4m3[scales[g]]);
    const __m256 table = torchao ? _mm256_mul_ps(e2m1_table(), _mm256_mul_ps(scale, whole))
                                 : _mm256_mul_ps(_mm256_mul_ps(e2m1_table(), scale), whole);
    put<stream>(out, look_up(table, unpack(codes)));
    put<stream>(out + 8, look_up(table, unpack(codes + 4)));
  }
}

void decode_nvfp4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, float tensor_scale,
                  bool torchao, bool stream, float* out) {
  const std::size_t whole = count / 16;
  (stream ? decode_nvfp4_groups<true> : decode_nvfp4_groups<false>)(codes, scales, whole, tensor_scale, torchao, out);
  portable::decode_nvfp4(codes + 8 * whole, scales + whole, count - 16 * whole, tensor_scale, torchao, false,
                         out + 16 * whole);
}

template <bool stream>
void decode_hif8_eights(const std::uint8_t* codes, std::size_t eights, float* out) {
  const float* table = lowbit_tables().hif8;
  for (std::size_t i = 0; i < eights; ++i) {
    // Not a gather: on Zen 4, eight loads took two thirds of the time.
    const std::uint8_t* c = codes + 8 * i;
    put<stream>(out + 8 * i, _mm256_setr_ps(table[c[0]], table[c[1]], table[c[2]], table[c[3]], table[c[4]],
                                            table[c[5]], table[c[6]], table[c[7]]));
  }
}

void decode_hif8(const std::uint8_t* codes, std::size_t count, bool stream, float* out) {
  const std::size_t whole = count / 8;
  (stream ? decode_hif8_eights<true> : decode_hif8_eights<false>)(codes, whole, out);
  portable::decode_hif8(codes + 8 * whole, count - 8 * whole, false, out + 8 * whole);
}

void integer_range(const float* x, std::size_t count, float* low, float* high) {
  const std::size_t whole = count / 16;
  if (whole) {
    __m256 least = _mm256_set1_ps(*low), most = _mm256_set1_ps(*high), least2 = least, most2 = most;
    for (std::size_t i = 0; i < whole; ++i) {
      const __m256 a = _mm256_loadu_ps(x + 16 * i), b = _mm256_loadu_ps(x + 16 * i + 8);
      least = _mm256_min_ps(least, a);
      most = _mm256_max_ps(most, a);
      least2 = _mm256_min_ps(least2, b);
      most2 = _mm256_max_ps(most2, b);
    }
    // Both at once: of the highest, the negative.
    least = _mm256_min_ps(least, least2);
    most = _mm256_xor_ps(_mm256_max_ps(most, most2), real_of(all(0x80000000u)));
    __m128 a = _mm_min_ps(_mm256_castps256_ps128(least), _mm256_extractf128_ps(least, 1));
    __m128 b = _mm_min_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    a = _mm_min_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    a = _mm_min_ps(a, _mm_movehl_ps(a, a));
    *low = _mm_cvtss_f32(a);
    *high = -_mm_cvtss_f32(_mm_shuffle_ps(a, a, 1));
  }
  if (count % 16) portable::integer_range(x + 16 * whole, count - 16 * whole, low, high);
}

void encode_integer(const float* x, std::size_t count, const IntegerStep& step, const Noise*, std::uint8_t* codes) {
  const std::size_t whole = count / 32;
  const __m256 scale = _mm256_set1_ps(step.scale);
  const __m256i zero = _mm256_set1_epi32(step.zero), low = _mm256_set1_epi32(step.low);
  const __m256i high = _mm256_set1_epi32(step.high), used = _mm256_set1_epi32((1 << step.bits) - 1);
  for (std::size_t i = 0; i < whole; ++i) {
    __m256i element[4];
    for (int j = 0; j < 4; ++j) {
      const __m256 quotient = _mm256_div_ps(_mm256_loadu_ps(x + 32 * i + 8 * j), scale);
      __m256i code = _mm256_add_epi32(_mm256_cvtps_epi32(quotient), zero);
      code = _mm256_min_epi32(_mm256_max_epi32(code, low), high);
      element[j] = _mm256_and_si256(code, used);
    }
    if (step.bits == 8)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 32 * i),
                          bytes_of(element[0], element[1], element[2], element[3]));
    else
      put_codes(codes + 16 * i, nibbles_of(element[0], element[1], element[2], element[3]));
  }
  if (count % 32)
    portable::encode_integer(x + 32 * whole, count - 32 * whole, step, nullptr,
                             codes + (step.bits == 8 ? 32 : 16) * whole);
}

template <bool stream>
void decode_int8_eights(const std::uint8_t* codes, std::size_t eights, const IntegerStep& step, float* out) {
  const __m256 scale = _mm256_set1_ps(step.scale);
  const __m256i zero = _mm256_set1_epi32(step.zero);
  const bool is_signed = step.low < 0;
  for (std::size_t i = 0; i < eights; ++i) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + 8 * i));
    const __m256i code = is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    put<stream>(out + 8 * i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(code, zero)), scale));
  }
}

template <bool stream>
void decode_int4_eights(const std::uint8_t* codes, std::size_t eights, const IntegerStep& step, float* out) {
  const __m256 scale = _mm256_set1_ps(step.scale);
  // Two's complement without a zero point: 8 is added by the exclusive or, and taken off again.
  const __m256i turn = all(step.low < 0 ? 8u : 0u), zero = _mm256_set1_epi32(step.low < 0 ? 8 : step.zero);
  for (std::size_t i = 0; i < eights; ++i) {
    const __m256i code = _mm256_xor_si256(_mm256_and_si256(unpack(codes + 4 * i).codes, all(15)), turn);
    put<stream>(out + 8 * i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(code, zero)), scale));
  }
}

void decode_integer(const std::uint8_t* codes, std::size_t count, const IntegerStep& step, bool stream, float* out) {
  const std::size_t whole = count / 8;
  if (step.bits == 8)
    (stream ? decode_int8_eights<true> : decode_int8_eights<false>)(codes, whole, step, out);
  else
    (stream ? decode_int4_eights<true> : decode_int4_eights<false>)(codes, whole, step, out);
  if (count % 8)
    portable::decode_integer(codes + (step.bits == 8 ? 8 : 4) * whole, count - 8 * whole, step, false,
                             out + 8 * whole);
}

const LowbitKernels kKernels = {
    encode_hif4,  decode_hif4,  encode_mxfp4, decode_mxfp4,  peaks_nvfp4,    encode_nvfp4,
    decode_nvfp4, portable::encode_hif8, decode_hif8, integer_range, encode_integer, decode_integer,
};

}  // namespace

const LowbitKernels& avx2_lowbit_kernels() { return kKernels; }

}  // namespace wutdet
