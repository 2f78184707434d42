// Attention for x86-64 with AVX2 and FMA; compiled with flags of its own.
#include <immintrin.h>

#include "core/engine/attention.h"
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
inline Floats zero_below(Floats x, Floats low, Floats y) {
  return {_mm256_and_ps(_mm256_cmp_ps(x.a, low.a, _CMP_GE_OQ), y.a),
          _mm256_and_ps(_mm256_cmp_ps(x.b, low.b, _CMP_GE_OQ), y.b)};
}
inline __m256 power_of_eight(__m256 x) {
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(x), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(127 << 23)));
}
inline Floats power_of_two(Floats x) { return {power_of_eight(x.a), power_of_eight(x.b)}; }

#include "core/engine/attention_body.inc"

}  // namespace

const FloatFunctions& float_functions_avx2() { return kFunctions; }

}  // namespace wutdet::engine
