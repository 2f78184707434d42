// Attention for x86-64 with AVX-512F; compiled with flags of its own.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 in its own intrinsics (its bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "core/engine/attention.h"
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
inline Floats zero_below(Floats x, Floats low, Floats y) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, low, _CMP_GE_OQ), y);
}
inline Floats power_of_two(Floats x) {
  const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(x), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(127 << 23)));
}

#include "core/engine/attention_body.inc"

}  // namespace

const FloatFunctions& float_functions_avx512() { return kFunctions; }

}  // namespace wutdet::engine
