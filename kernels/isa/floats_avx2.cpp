// FloatFunctions for x86-64 with AVX2 and FMA; compiled with flags of its own.
#include <immintrin.h>

#include "core/engine/attention.h"
#include "core/engine/float_functions.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

struct Floats {
  __m256 a, b;
};
constexpr int kRows = 6, kColumns = 1;

inline Floats load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, Floats x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Floats add(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Floats subtract(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Floats multiply(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Floats divide(Floats x, Floats y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Floats fma(Floats x, Floats y, Floats z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline Floats greater_of(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Floats lesser_of(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Floats zero_below(Floats x, Floats low, Floats y) {
  return {_mm256_and_ps(_mm256_cmp_ps(x.a, low.a, _CMP_GE_OQ), y.a),
          _mm256_and_ps(_mm256_cmp_ps(x.b, low.b, _CMP_GE_OQ), y.b)};
}
inline __m256 power_of_eight(__m256 x) {
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(x), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(127 << 23)));
}
inline Floats power_of_two(Floats x) { return {power_of_eight(x.a), power_of_eight(x.b)}; }

struct Ints {
  __m256i a, b;
};
inline Ints no_ints() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Ints add_pairs(Ints sum, int pair, const std::int16_t* p) {
  const __m256i x = _mm256_set1_epi32(pair);
  const __m256i* from = reinterpret_cast<const __m256i*>(p);
  return {_mm256_add_epi32(sum.a, _mm256_madd_epi16(x, _mm256_loadu_si256(from))),
          _mm256_add_epi32(sum.b, _mm256_madd_epi16(x, _mm256_loadu_si256(from + 1)))};
}
inline Floats floats_of(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline void store_words(std::int16_t* p, Floats x) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(words, 0xD8));
}
inline __m256 add_exponent_of_eight(__m256 x, __m256 n) {
  const __m256i by = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), by));
}
inline Floats add_exponent(Floats x, Floats n) { return {add_exponent_of_eight(x.a, n.a), add_exponent_of_eight(x.b, n.b)}; }
inline Floats load_bytes(const std::uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}
inline void store_bytes(std::uint8_t* p, Floats x) {
  // Packing works within halves: 0..3, 8..11 and 4..7, 12..15 come out.
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
  const __m256i bytes = _mm256_packus_epi16(words, words);
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_unpacklo_epi32(low, high));
}
inline __m256i pixels_of_eight(__m256 r, __m256 g, __m256 b) {
  const __m256i green = _mm256_slli_epi32(_mm256_cvtps_epi32(g), 8), blue = _mm256_slli_epi32(_mm256_cvtps_epi32(b), 16);
  return _mm256_or_si256(_mm256_cvtps_epi32(r), _mm256_or_si256(green, blue));
}
inline void store_pixels(std::uint8_t* p, Floats r, Floats g, Floats b) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), pixels_of_eight(r.a, g.a, b.a));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), pixels_of_eight(r.b, g.b, b.b));
}
inline void transpose_eight(__m256 (&rows)[8]) {
  __m256 pairs[8], fours[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int k = 0; k < 8; k += 4) {
    fours[k] = _mm256_shuffle_ps(pairs[k], pairs[k + 2], 0x44);
    fours[k + 1] = _mm256_shuffle_ps(pairs[k], pairs[k + 2], 0xEE);
    fours[k + 2] = _mm256_shuffle_ps(pairs[k + 1], pairs[k + 3], 0x44);
    fours[k + 3] = _mm256_shuffle_ps(pairs[k + 1], pairs[k + 3], 0xEE);
  }
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x20);
    rows[j + 4] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x31);
  }
}
inline void transpose(Floats (&rows)[16]) {
  __m256 parts[4][8];  // upper left, upper right, lower left, lower right
  for (int i = 0; i < 8; ++i) {
    parts[0][i] = rows[i].a;
    parts[1][i] = rows[i].b;
    parts[2][i] = rows[i + 8].a;
    parts[3][i] = rows[i + 8].b;
  }
  for (int k = 0; k < 4; ++k) transpose_eight(parts[k]);
  for (int i = 0; i < 8; ++i) {
    rows[i] = {parts[0][i], parts[2][i]};
    rows[i + 8] = {parts[1][i], parts[3][i]};
  }
}

#include "core/engine/attention_body.inc"
#include "core/engine/elementwise_body.inc"

}  // namespace

const FloatFunctions& float_functions_avx2() { return kFunctions; }

}  // namespace wutdet::engine
