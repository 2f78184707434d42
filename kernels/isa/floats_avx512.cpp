// FloatFunctions for x86-64 with AVX-512 (F, VNNI); compiled with flags of its own.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 in its own intrinsics (its bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "core/engine/attention.h"
#include "core/engine/float_functions.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

using Floats = __m512;
constexpr int kRows = 6, kColumns = 4;

inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats greater_of(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats lesser_of(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats zero_below(Floats x, Floats low, Floats y) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, low, _CMP_GE_OQ), y);
}
inline Floats power_of_two(Floats x) {
  const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(x), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(127 << 23)));
}

using Ints = __m512i;
inline Ints no_ints() { return _mm512_setzero_si512(); }
// Inline assembly: GCC 12 spills the sums written with the intrinsic.
inline Ints add_pairs(Ints sum, int pair, const std::int16_t* p) {
  __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(_mm512_loadu_si512(p)), "v"(_mm512_set1_epi32(pair)));
  return sum;
}
inline Floats floats_of(Ints x) { return _mm512_cvtepi32_ps(x); }
inline void store_words(std::int16_t* p, Floats x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
}
inline Floats add_exponent(Floats x, Floats n) {
  const __m512i by = _mm512_slli_epi32(_mm512_castps_si512(n), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), by));
}
inline Floats load_bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline void store_bytes(std::uint8_t* p, Floats x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}
inline void store_pixels(std::uint8_t* p, Floats r, Floats g, Floats b) {
  const __m512i green = _mm512_slli_epi32(_mm512_cvtps_epi32(g), 8), blue = _mm512_slli_epi32(_mm512_cvtps_epi32(b), 16);
  _mm512_storeu_si512(p, _mm512_or_si512(_mm512_cvtps_epi32(r), _mm512_or_si512(green, blue)));
}
inline void transpose(Floats (&rows)[16]) {
  Floats pairs[16], fours[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  // fours[4 * k + j]: of columns j, j + 4, j + 8, j + 12 the rows 4 * k to 4 * k + 3.
  for (int k = 0; k < 16; k += 4) {
    fours[k] = _mm512_shuffle_ps(pairs[k], pairs[k + 2], 0x44);
    fours[k + 1] = _mm512_shuffle_ps(pairs[k], pairs[k + 2], 0xEE);
    fours[k + 2] = _mm512_shuffle_ps(pairs[k + 1], pairs[k + 3], 0x44);
    fours[k + 3] = _mm512_shuffle_ps(pairs[k + 1], pairs[k + 3], 0xEE);
  }
  for (int j = 0; j < 4; ++j) {
    const Floats a = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0x88), b = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0x88),
                 c = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0xDD), d = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0xDD);
    rows[j] = _mm512_shuffle_f32x4(a, b, 0x88);
    rows[j + 8] = _mm512_shuffle_f32x4(a, b, 0xDD);
    rows[j + 4] = _mm512_shuffle_f32x4(c, d, 0x88);
    rows[j + 12] = _mm512_shuffle_f32x4(c, d, 0xDD);
  }
}

#include "core/engine/attention_body.inc"
#include "core/engine/elementwise_body.inc"

}  // namespace

const FloatFunctions& float_functions_avx512() { return kFunctions; }

}  // namespace wutdet::engine
