// Letterbox for x86-64 with AVX-512 (F, BW, DQ, VL, VBMI); compiled with flags of its own.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 in its own intrinsics (its bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "core/engine/letterbox.h"
#include "core/engine/letterbox_kernels.h"

namespace wutdet::engine {
namespace {

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

// The bytes from `p` on that lie before the row's end, zeros for the others.
inline __m512i load_before(const std::uint8_t* p, std::ptrdiff_t left) {
  if (left >= 64) return load(p);
  return _mm512_maskz_loadu_epi8(left <= 0 ? 0 : ~std::uint64_t{0} >> (64 - left), p);
}

// Sixteen bits per channel of eight columns, out of their 64 bytes: (64 * high + low) >> 4 without loss.
inline void put_pairs(const PairRow& row, int column, __m512i bytes) {
  const __m512i high = _mm512_maddubs_epi16(bytes, load(row.high + 8 * column));
  const __m512i low = _mm512_maddubs_epi16(bytes, load(row.low + 8 * column));
  _mm512_storeu_si512(row.out + 4 * column, _mm512_add_epi16(_mm512_slli_epi16(high, 2), _mm512_srli_epi16(low, 4)));
}

void pairs_near(const PairRow& row) {
  for (int column = 0; column < row.columns; column += kLetterboxGroup) {
    const std::int32_t first = row.offsets[column];
    const __m512i part = load_before(row.row + first, row.row_bytes - first);
    put_pairs(row, column, _mm512_permutexvar_epi8(load(row.places + 8 * column), part));
  }
}

void pairs_far(const PairRow& row) {
  for (int column = 0; column < row.columns; column += kLetterboxGroup) {
    const std::int32_t first = row.offsets[column];
    const std::uint8_t* p = row.row + first;
    const std::ptrdiff_t left = row.row_bytes - first;
    const __m512i a = load_before(p, left);
    const __m512i b = left <= 64 ? _mm512_setzero_si512() : load_before(p + 64, left - 64);
    put_pairs(row, column, _mm512_permutex2var_epi8(a, load(row.places + 8 * column), b));
  }
}

// Eight bytes per column of two columns.
inline __m128i two(const PairRow& row, int column) {
  const std::int32_t* offsets = row.offsets + column;
  const __m128i first = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row.row + offsets[0]));
  return _mm_castps_si128(
      _mm_loadh_pi(_mm_castsi128_ps(first), reinterpret_cast<const __m64*>(row.row + offsets[1])));
}

inline __m256i four(const PairRow& row, int column) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(two(row, column)), two(row, column + 2), 1);
}

// The same where they may end behind the row: these start earlier and are shifted.
inline __m512i last_eight(const PairRow& row, int column) {
  const __m256i wanted = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row.offsets + column));
  const __m256i at = _mm256_min_epi32(wanted, _mm256_set1_epi32(row.row_bytes - 8));
  const __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(wanted, at), 3);
  return _mm512_srlv_epi64(_mm512_i32gather_epi64(at, row.row, 1), _mm512_cvtepu32_epi64(bits));
}

// Any distance: a load per column.
void pairs_anywhere(const PairRow& row) {
  const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(2, 5, 1, 4, 0, 3, -1, -1, 10, 13, 9, 12, 8, 11, -1, -1));
  for (int column = 0; column < row.columns; column += kLetterboxGroup) {
    const bool inside = row.offsets[column + kLetterboxGroup - 1] + 8 <= row.row_bytes;
    const __m512i found =
        inside ? _mm512_inserti64x4(_mm512_castsi256_si512(four(row, column)), four(row, column + 4), 1)
               : last_eight(row, column);
    put_pairs(row, column, _mm512_shuffle_epi8(found, order));
  }
}

void pairs(const PairRow& row) {
  if (row.reach <= 64) return pairs_near(row);
  if (row.reach <= 128) return pairs_far(row);
  pairs_anywhere(row);  // a row of so distant pairs has more than eight bytes
}

struct Blender {
  __m512i above, below;
  explicit Blender(const BlendRow& row)
      : above(_mm512_set1_epi16(static_cast<short>(row.weight_above))),
        below(_mm512_set1_epi16(static_cast<short>(row.weight_below))) {}

  __m512i words(const BlendRow& row, int index) const {
    const __m512i sum = _mm512_add_epi16(_mm512_mulhi_epi16(load(row.above + index), above),
                                         _mm512_mulhi_epi16(load(row.below + index), below));
    return _mm512_srli_epi16(_mm512_add_epi16(sum, _mm512_set1_epi16(2)), 2);
  }

  // R, G, B, 0 of 16 columns.
  __m512i bytes(const BlendRow& row, int column) const {
    const __m512i mixed = _mm512_packus_epi16(words(row, 4 * column), words(row, 4 * column + 32));
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), mixed);
  }
};

inline __mmask16 columns_left(const BlendRow& row, int column) {
  const int left = row.columns - column;
  return static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1 << left) - 1);
}

void bytes(const BlendRow& row, std::uint8_t* out, int step) {
  const Blender blender(row);
  if (step == 4) {
    for (int column = 0; column < row.columns; column += 16)
      _mm512_mask_storeu_epi32(out + 4 * column, columns_left(row, column), blender.bytes(row, column));
    return;
  }
  // Without every fourth byte, within 128 bits, then the four parts of 12 bytes together.
  const __m512i three = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m512i close = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 3, 3, 3);
  for (int column = 0; column < row.columns; column += 16) {
    const int left = row.columns - column;
    const __m512i packed = _mm512_permutexvar_epi32(close, _mm512_shuffle_epi8(blender.bytes(row, column), three));
    _mm512_mask_storeu_epi8(out + 3 * column, ~std::uint64_t{0} >> (64 - 3 * (left < 16 ? left : 16)), packed);
  }
}

// x / 255 for whole numbers 0..255, rounded as division rounds: the quotient's remainder corrects its last bit.
inline __m512 share_of(__m512i x) {
  const __m512 value = _mm512_cvtepi32_ps(x), inverse = _mm512_set1_ps(1.0f / 255.0f);
  const __m512 near = _mm512_mul_ps(value, inverse);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(near, _mm512_set1_ps(255.0f), value), inverse, near);
}

void planes(const BlendRow& row, float* red, float* green, float* blue) {
  const Blender blender(row);
  const __m512i byte = _mm512_set1_epi32(255);
  for (int column = 0; column < row.columns; column += 16) {
    const __mmask16 mask = columns_left(row, column);
    const __m512i pixels = blender.bytes(row, column);
    _mm512_mask_storeu_ps(red + column, mask, share_of(_mm512_and_si512(pixels, byte)));
    _mm512_mask_storeu_ps(green + column, mask, share_of(_mm512_and_si512(_mm512_srli_epi32(pixels, 8), byte)));
    _mm512_mask_storeu_ps(blue + column, mask, share_of(_mm512_srli_epi32(pixels, 16)));
  }
}

constexpr LetterboxKernels kKernels = {"avx512", pairs, bytes, planes};

}  // namespace

const LetterboxKernels& letterbox_avx512() { return kKernels; }

}  // namespace wutdet::engine
