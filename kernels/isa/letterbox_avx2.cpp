// Letterbox for x86-64 with AVX2 and FMA; compiled with flags of its own.
#include <immintrin.h>

#include "core/engine/letterbox.h"
#include "core/engine/letterbox_kernels.h"

namespace wutdet::engine {
namespace {

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// Eight bytes per column of two columns.
inline __m128i two(const std::uint8_t* row, const std::int32_t* offsets) {
  const __m128i first = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + offsets[0]));
  return _mm_castps_si128(
      _mm_loadh_pi(_mm_castsi128_ps(first), reinterpret_cast<const __m64*>(row + offsets[1])));
}

void pairs(const PairRow& row) {
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(2, 5, 1, 4, 0, 3, -1, -1, 10, 13, 9, 12, 8, 11, -1, -1));
  int column = 0;
  for (; column + 4 <= row.columns && row.offsets[column + 3] + 8 <= row.row_bytes; column += 4) {
    const std::int32_t* offsets = row.offsets + column;
    const __m256i found =
        _mm256_inserti128_si256(_mm256_castsi128_si256(two(row.row, offsets)), two(row.row, offsets + 2), 1);
    const __m256i bytes = _mm256_shuffle_epi8(found, order);
    // (64 * high + low) >> 4 without loss
    const __m256i high = _mm256_maddubs_epi16(bytes, load(row.high + 8 * column));
    const __m256i low = _mm256_maddubs_epi16(bytes, load(row.low + 8 * column));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row.out + 4 * column),
                        _mm256_add_epi16(_mm256_slli_epi16(high, 2), _mm256_srli_epi16(low, 4)));
  }
  for (; column < row.columns; ++column) {
    const std::int32_t left = row.offsets[column], right = left + 6 <= row.row_bytes ? left + 3 : left;
    const std::int16_t* weights = row.weights + 2 * column;
    for (int channel = 0; channel < 3; ++channel) {
      const int sum = row.row[left + 2 - channel] * weights[0] + row.row[right + 2 - channel] * weights[1];
      row.out[4 * column + channel] = static_cast<std::int16_t>(sum >> 4);
    }
    row.out[4 * column + 3] = 0;
  }
}

struct Blender {
  __m256i above, below;
  explicit Blender(const BlendRow& row)
      : above(_mm256_set1_epi16(static_cast<short>(row.weight_above))),
        below(_mm256_set1_epi16(static_cast<short>(row.weight_below))) {}

  __m256i words(const BlendRow& row, int index) const {
    const __m256i sum = _mm256_add_epi16(_mm256_mulhi_epi16(load(row.above + index), above),
                                         _mm256_mulhi_epi16(load(row.below + index), below));
    return _mm256_srli_epi16(_mm256_add_epi16(sum, _mm256_set1_epi16(2)), 2);
  }

  // R, G, B, 0 of eight columns.
  __m256i bytes(const BlendRow& row, int column) const {
    const __m256i mixed = _mm256_packus_epi16(words(row, 4 * column), words(row, 4 * column + 16));
    return _mm256_permute4x64_epi64(mixed, 0xD8);
  }
};

// Eight columns' bytes for the last, fewer ones.
struct Last {
  alignas(32) std::uint8_t bytes[32];
  Last(const Blender& blender, const BlendRow& row, int column) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), blender.bytes(row, column));
  }
};

void bytes(const BlendRow& row, std::uint8_t* out, int step) {
  const Blender blender(row);
  const __m256i three = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  int column = 0;
  // Of three bytes per column, 24 and then four more that the next eight columns overwrite.
  const int room = step == 4 ? 8 : 10;
  for (; column + room <= row.columns; column += 8) {
    const __m256i pixels = blender.bytes(row, column);
    std::uint8_t* p = out + step * column;
    if (step == 4) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), pixels);
    } else {
      const __m256i packed = _mm256_shuffle_epi8(pixels, three);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 12), _mm256_extracti128_si256(packed, 1));
    }
  }
  for (; column < row.columns; column += 8) {
    const Last last(blender, row, column);
    for (int i = 0; i < 8 && column + i < row.columns; ++i)
      for (int channel = 0; channel < step; ++channel) out[step * (column + i) + channel] = last.bytes[4 * i + channel];
  }
}

// x / 255 for whole numbers 0..255, rounded as division rounds: the quotient's remainder corrects its last bit.
inline __m256 share_of(__m256i x) {
  const __m256 value = _mm256_cvtepi32_ps(x), inverse = _mm256_set1_ps(1.0f / 255.0f);
  const __m256 near = _mm256_mul_ps(value, inverse);
  return _mm256_fmadd_ps(_mm256_fnmadd_ps(near, _mm256_set1_ps(255.0f), value), inverse, near);
}

void planes(const BlendRow& row, float* red, float* green, float* blue) {
  const Blender blender(row);
  const __m256i byte = _mm256_set1_epi32(255);
  int column = 0;
  for (; column + 8 <= row.columns; column += 8) {
    const __m256i pixels = blender.bytes(row, column);
    _mm256_storeu_ps(red + column, share_of(_mm256_and_si256(pixels, byte)));
    _mm256_storeu_ps(green + column, share_of(_mm256_and_si256(_mm256_srli_epi32(pixels, 8), byte)));
    _mm256_storeu_ps(blue + column, share_of(_mm256_srli_epi32(pixels, 16)));
  }
  if (column == row.columns) return;
  const Last last(blender, row, column);
  for (int i = 0; column + i < row.columns; ++i) {
    red[column + i] = static_cast<float>(last.bytes[4 * i]) / 255.0f;
    green[column + i] = static_cast<float>(last.bytes[4 * i + 1]) / 255.0f;
    blue[column + i] = static_cast<float>(last.bytes[4 * i + 2]) / 255.0f;
  }
}

constexpr LetterboxKernels kKernels = {"avx2", pairs, bytes, planes};

}  // namespace

const LetterboxKernels& letterbox_avx2() { return kKernels; }

}  // namespace wutdet::engine
