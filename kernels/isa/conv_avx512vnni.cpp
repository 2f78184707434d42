// Convolutions for x86-64 with AVX-512 (F, BW, DQ, VL), VNNI and VBMI; compiled with flags of its own. Nothing in here
// but the table of functions is visible outside, and no inline function of a library is used (see lowbit_avx2.cpp).
//
// A tile is M pixels times N vectors of 16 output channels, its sums in registers. One step of the inner loop loads N
// vectors of weights, and M times four bytes (or one float) of a pixel into all lanes.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 in its own intrinsics (its bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "core/engine/conv.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

constexpr int kLanes = 16;

// Without it, GCC makes functions of parts of a tile and passes its sums through memory.
#define WUTDET_INLINE inline __attribute__((always_inline))

// Inline assembly: GCC 12 spills the sums of large tiles written with the intrinsics.
struct Dot {
  static WUTDET_INLINE void add(__m512i& sum, __m512i x, __m512i w) { __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w)); }
};
struct Fma {
  static WUTDET_INLINE void add(__m512i& sum, __m512i x, __m512i w) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
  }
};

WUTDET_INLINE __m512i load(const void* p) { return _mm512_loadu_si512(p); }
WUTDET_INLINE __m512i four_bytes(const std::uint8_t* p) {
  int x;
  __builtin_memcpy(&x, p, 4);
  return _mm512_set1_epi32(x);
}

// What becomes of sums: bytes at once (perhaps through a table), bytes of a SiLU, or the rarer ways through memory.
enum class Out { bytes, silu_bytes, floats };

// Pixels whose bytes fill a vector.
template <int N>
constexpr int kTogether = N == 1 ? 4 : N == 2 ? 2 : 1;

struct Table {
  __m512i part[4];
  explicit Table(const std::uint8_t* table)
      : part{load(table), load(table + 64), load(table + 128), load(table + 192)} {}
  __m512i operator()(__m512i index) const {
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), _mm512_permutex2var_epi8(part[0], index, part[1]),
                                  _mm512_permutex2var_epi8(part[2], index, part[3]));
  }
};

WUTDET_INLINE __m512i pack4(__m512i a, __m512i b, __m512i c, __m512i d) {
  return _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
}

// The bytes of a pixel in order: its 16, 32, 48 or 64 channels, or fewer.
template <int N>
WUTDET_INLINE void store_pixel(std::uint8_t* p, __m512i bytes, int channels) {
  if (channels == kLanes * N) {
    if constexpr (N == 1) _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_castsi512_si128(bytes));
    if constexpr (N == 2) _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(bytes));
    if constexpr (N == 3) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(bytes));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 32), _mm512_extracti32x4_epi32(bytes, 2));
    }
    if constexpr (N == 4) _mm512_storeu_si512(p, bytes);
  } else {
    _mm512_mask_storeu_epi8(p, (~0ull) >> (64 - channels), bytes);
  }
}

// The bytes of pixel `index` of those together in a vector, moved to its front.
template <int N, int index>
WUTDET_INLINE __m512i pixel_of(__m512i bytes) {
  if constexpr (index == 0 || N > 2) return bytes;
  else if constexpr (N == 2) return _mm512_castsi256_si512(_mm512_extracti64x4_epi64(bytes, index));
  else return _mm512_castsi128_si512(_mm512_extracti32x4_epi32(bytes, index));
}

WUTDET_INLINE __m512i mix(const ConvRow& row, __m512i own, __m512i other) {
  const __m512i none = _mm512_setzero_si512();
  const __m512 a = _mm512_set1_ps(row.mix_own), b = _mm512_set1_ps(row.mix_residual), c = _mm512_set1_ps(row.mix_offset);
  const auto four = [&](__m512i q, __m512i r) {
    return _mm512_cvtps_epi32(
        _mm512_fmadd_ps(a, _mm512_cvtepi32_ps(q), _mm512_fmadd_ps(b, _mm512_cvtepi32_ps(r), c)));
  };
  const __m512i q0 = _mm512_unpacklo_epi8(own, none), q1 = _mm512_unpackhi_epi8(own, none);
  const __m512i r0 = _mm512_unpacklo_epi8(other, none), r1 = _mm512_unpackhi_epi8(other, none);
  return pack4(four(_mm512_unpacklo_epi16(q0, none), _mm512_unpacklo_epi16(r0, none)),
               four(_mm512_unpackhi_epi16(q0, none), _mm512_unpackhi_epi16(r0, none)),
               four(_mm512_unpacklo_epi16(q1, none), _mm512_unpacklo_epi16(r1, none)),
               four(_mm512_unpackhi_epi16(q1, none), _mm512_unpackhi_epi16(r1, none)));
}

template <int N, int count>
WUTDET_INLINE void put(__m512i bytes, std::uint8_t* out, std::ptrdiff_t step, int channels) {
  if constexpr (N == 1 && count == 4) {
    if (step == kLanes && channels == kLanes) {
      _mm512_storeu_si512(out, bytes);
      return;
    }
  }
  store_pixel<N>(out, pixel_of<N, 0>(bytes), channels);
  if constexpr (count > 1) store_pixel<N>(out + step, pixel_of<N, 1>(bytes), channels);
  if constexpr (count > 2) store_pixel<N>(out + 2 * step, pixel_of<N, 2>(bytes), channels);
  if constexpr (count > 3) store_pixel<N>(out + 3 * step, pixel_of<N, 3>(bytes), channels);
}

// The bytes of `count` pixels together, as `put` takes them.
template <int N, int count>
WUTDET_INLINE __m512i fetch(const std::uint8_t* p, std::ptrdiff_t step, std::uint64_t mask) {
  const auto four = static_cast<__mmask16>(mask);
  const auto eight = static_cast<__mmask32>(mask);
  if constexpr (N > 2) return _mm512_maskz_loadu_epi8(mask, p);
  if constexpr (N == 2) {
    const __m512i first = _mm512_castsi256_si512(_mm256_maskz_loadu_epi8(eight, p));
    return count == 1 ? first : _mm512_inserti64x4(first, _mm256_maskz_loadu_epi8(eight, p + step), 1);
  }
  __m512i x = _mm512_castsi128_si512(_mm_maskz_loadu_epi8(four, p));
  if constexpr (count > 1) x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(four, p + step), 1);
  if constexpr (count > 2) x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(four, p + 2 * step), 2);
  if constexpr (count > 3) x = _mm512_inserti32x4(x, _mm_maskz_loadu_epi8(four, p + 3 * step), 3);
  return x;
}

// Bytes of pixels, as many together in a vector as fit, with their residual to the output.
template <int N>
__attribute__((noinline)) void put_mixed(const ConvRow& row, const std::uint8_t* own, int pixels, std::uint8_t* out,
                                         const std::uint8_t* residual) {
  constexpr int together = kTogether<N>;
  const std::uint64_t mask = (~0ull) >> (64 - row.channels);
  int m = 0;
  for (; m + together <= pixels; m += together, own += 64) {
    const __m512i other = fetch<N, together>(residual + m * row.residual_step, row.residual_step, mask);
    put<N, together>(mix(row, _mm512_load_si512(own), other), out + m * row.out_step, row.out_step, row.channels);
  }
  for (int i = 0; m < pixels; ++m, ++i) {
    const __m512i other = _mm512_maskz_loadu_epi8(mask, residual + m * row.residual_step);
    const __m512i mine = _mm512_maskz_loadu_epi8(mask, own + i * kLanes * N);
    _mm512_mask_storeu_epi8(out + m * row.out_step, mask, mix(row, mine, other));
  }
}

// Integers [M][N] to bytes: saturate, table, residual, store. `order` brings packed groups of four bytes in order.
template <int M, int N>
WUTDET_INLINE void put_tile(const ConvRow& row, __m512i (&sum)[M][N], std::uint8_t* out, const std::uint8_t* residual) {
  constexpr int together = kTogether<N>;
  alignas(64) std::uint8_t own[64 * ((M + together - 1) / together) + 64];
  const bool with_table = row.table != nullptr;
  const Table table(with_table ? row.table : row.weights);
  const __m512i order =
      N == 1   ? _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
      : N == 2 ? _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)
               : _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
#pragma GCC unroll 16
  for (int m = 0; m < M; m += together) {
    __m512i bytes;
    if constexpr (N == 4) bytes = pack4(sum[m][0], sum[m][1], sum[m][2], sum[m][3]);
    if constexpr (N == 3) bytes = pack4(sum[m][0], sum[m][1], sum[m][2], sum[m][2]);
    if constexpr (N == 2) {
      const int next = m + 1 < M ? m + 1 : m;
      bytes = pack4(sum[m][0], sum[m][1], sum[next][0], sum[next][1]);
    }
    if constexpr (N == 1) {
      const int b = m + 1 < M ? m + 1 : m, c = m + 2 < M ? m + 2 : m, d = m + 3 < M ? m + 3 : m;
      bytes = pack4(sum[m][0], sum[b][0], sum[c][0], sum[d][0]);
    }
    if (with_table) bytes = table(bytes);
    if constexpr (N != 4) bytes = _mm512_permutexvar_epi32(order, bytes);
    constexpr int rest = M % together == 0 ? together : M % together;
    std::uint8_t* const to = out + m * row.out_step;
    if (residual != nullptr) _mm512_store_si512(own + 64 * (m / together), bytes);
    else if (m + together <= M) put<N, together>(bytes, to, row.out_step, row.channels);
    else put<N, rest>(bytes, to, row.out_step, row.channels);
  }
  if (residual != nullptr) put_mixed<N>(row, own, M, out, residual);
}

WUTDET_INLINE __m512 silu(__m512 x) {
  __m512 c = _mm512_max_ps(x, _mm512_set1_ps(kSiluLow));
  c = _mm512_min_ps(c, _mm512_set1_ps(kSiluHigh));
  const __m512 scale = _mm512_set1_ps(kSiluMinusLog2E), round = _mm512_set1_ps(kSiluRound);
  const __m512 shifted = _mm512_fmadd_ps(c, scale, round);
  const __m512 f = _mm512_fmsub_ps(c, scale, _mm512_sub_ps(shifted, round));
  __m512 e = _mm512_set1_ps(kSiluPowers[5]);
#pragma GCC unroll 5
  for (int i = 4; i >= 0; --i) e = _mm512_fmadd_ps(e, f, _mm512_set1_ps(kSiluPowers[i]));
  e = _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(e), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23)));
  return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

struct SiluForBytes {
  __m512 cubics[4];
  SiluForBytes() {
    for (int k = 0; k < 4; ++k) cubics[k] = _mm512_loadu_ps(kSigmoidCubics[k]);
  }
  WUTDET_INLINE __m512 operator()(__m512 x) const {
    // Sums as fma by one: there is another pipe for these.
    const __m512 c = _mm512_max_ps(x, _mm512_set1_ps(kSiluByteLow)), round = _mm512_set1_ps(kSiluRound),
                 one = _mm512_set1_ps(1.0f);
    const __m512 u =
        _mm512_fmadd_ps(_mm512_min_ps(c, _mm512_set1_ps(kSiluByteHigh)), one, _mm512_set1_ps(kSiluByteShift));
    const __m512 shifted = _mm512_fmadd_ps(u, one, round), d = _mm512_sub_ps(u, _mm512_sub_ps(shifted, round));
    const __m512i i = _mm512_castps_si512(shifted);  // its last four bits
    __m512 y = _mm512_permutexvar_ps(i, cubics[3]);
#pragma GCC unroll 3
    for (int k = 2; k >= 0; --k) y = _mm512_fmadd_ps(y, d, _mm512_permutexvar_ps(i, cubics[k]));
    return _mm512_mul_ps(c, y);
  }
};

// Of vector n of the block.
WUTDET_INLINE __m512i quantised(const ConvRow& row, __m512 y, int n) {
  y = _mm512_fmadd_ps(y, _mm512_load_ps(row.inverse + n * kLanes), _mm512_set1_ps(row.zero));
  // What is too small, or NaN, becomes negative, and 0 when it is packed.
  return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(255.0f), y));
}

// Floats of `pixels` pixels [pixel][vector][lane], plain order, to a float output.
__attribute__((noinline)) void put_floats(const ConvRow& row, const float* y, int pixels, std::uint8_t* out,
                                          const std::uint8_t* residual) {
  for (int m = 0; m < pixels; ++m) {
    for (int c = 0; c < row.channels; c += kLanes) {
      const int left = row.channels - c;
      const __mmask16 mask = left >= kLanes ? 0xFFFF : static_cast<__mmask16>((1u << left) - 1);
      __m512 x = _mm512_load_ps(y + m * row.vectors * kLanes + c);
      if (row.silu) x = silu(x);
      if (residual != nullptr)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, residual + m * row.residual_step + 4 * c));
      _mm512_mask_storeu_ps(out + m * row.out_step + 4 * c, mask, x);
    }
  }
}

// Floats [pixel][vector][lane] to integers of a u8 output that has its own scale, in place.
__attribute__((noinline)) void quantise_all(const ConvRow& row, float* y, int pixels, int vectors) {
  const SiluForBytes silu;
  for (int m = 0; m < pixels; ++m) {
    for (int n = 0; n < vectors; ++n, y += kLanes) {
      const __m512 x = _mm512_load_ps(y);
      _mm512_store_si512(y, quantised(row, row.silu ? silu(x) : x, n));
    }
  }
}

// The rarer ways out, through memory: sums are floats.
template <int M, int N>
__attribute__((noinline)) void finish_floats(const ConvRow& row, float* y, std::uint8_t* out,
                                             const std::uint8_t* residual) {
  if (!row.to_u8) {
    put_floats(row, y, M, out, residual);
    return;
  }
  quantise_all(row, y, M, N);
  __m512i sum[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[m][n] = _mm512_load_si512(y + (m * N + n) * kLanes);
  put_tile<M, N>(row, sum, out, residual);
}

template <int M, int N>
WUTDET_INLINE void spill(__m512i (&sum)[M][N], float* y) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) _mm512_store_si512(y + (m * N + n) * kLanes, sum[m][n]);
}

template <int M, int N>
WUTDET_INLINE void put_sums(const ConvRow& row, __m512i (&sum)[M][N], std::uint8_t* out) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) _mm512_storeu_si512(out + m * row.out_step + 64 * n, sum[m][n]);
}

// Adds `steps` steps of weights from `w` on to the sums; returns where the next are.
template <typename Op, int M, int N>
WUTDET_INLINE const std::uint8_t* accumulate(__m512i (&sum)[M][N], const std::uint8_t* p, std::ptrdiff_t step, int steps,
                                      const std::uint8_t* w) {
  do {
    __m512i weights[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) weights[n] = load(w + 64 * n);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const __m512i x = four_bytes(p + m * step);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) Op::add(sum[m][n], x, weights[n]);
    }
    p += 4;
    w += 64 * N;
  } while (--steps != 0);
  return w;
}

// acc as float, fma by the channel's scale and bias; then whole numbers for the usual u8 output.
template <bool whole, bool already_float, int M, int N>
WUTDET_INLINE void scale_tile(const ConvRow& row, __m512i (&sum)[M][N]) {
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const __m512 scale = _mm512_load_ps(row.scale + n * kLanes), bias = _mm512_load_ps(row.bias + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const __m512 y = already_float ? _mm512_castsi512_ps(sum[m][n]) : _mm512_cvtepi32_ps(sum[m][n]);
      const __m512 z = _mm512_fmadd_ps(y, scale, bias);
      sum[m][n] = whole ? _mm512_cvtps_epi32(z) : _mm512_castps_si512(z);
    }
  }
}

template <int M, int N>
WUTDET_INLINE void silu_tile(const ConvRow& row, __m512i (&sum)[M][N]) {
  const SiluForBytes silu;
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[m][n] = quantised(row, silu(_mm512_castsi512_ps(sum[m][n])), n);
}

template <bool already_float, Out to, int M, int N>
WUTDET_INLINE void finish(const ConvRow& row, __m512i (&sum)[M][N], std::uint8_t* out, const std::uint8_t* residual) {
  if constexpr (to == Out::bytes) {
    scale_tile<true, already_float>(row, sum);
    put_tile<M, N>(row, sum, out, residual);
  } else if constexpr (to == Out::silu_bytes) {
    scale_tile<false, already_float>(row, sum);
    silu_tile<M, N>(row, sum);
    put_tile<M, N>(row, sum, out, residual);
  } else {
    alignas(64) float y[M * N * kLanes];
    scale_tile<false, already_float>(row, sum);
    spill<M, N>(sum, y);
    finish_floats<M, N>(row, y, out, residual);
  }
}

template <int M, int N>
WUTDET_INLINE void add_starts(const ConvRow& row, __m512i (&sum)[M][N], int x) {
  const std::int32_t* const from = row.starts + x / 2 * row.starts_step;
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
      sum[m][n] = _mm512_add_epi32(sum[m][n], load(from + (m + x % 2) / 2 * row.starts_step + n * kLanes));
}

struct Int8 {
  static constexpr int vectors = 4;
  template <int M, int N, Out to>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual, int x) {
    __m512i sum[M][N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      sum[0][n] = _mm512_load_si512(row.initial + n * kLanes);
#pragma GCC unroll 16
      for (int m = 1; m < M; ++m) sum[m][n] = sum[0][n];
    }
    const std::uint8_t* w = row.weights;
    const Run* run = row.runs;
    const Run* const end = run + row.run_count;
    do {
      w = accumulate<Dot, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
    } while (++run != end);
    if constexpr (to == Out::floats) {
      if (row.sums_only) return put_sums<M, N>(row, sum, out);
    } else if (row.starts != nullptr) {
      add_starts<M, N>(row, sum, x);
    }
    finish<false, to>(row, sum, out, residual);
  }
};

struct Grouped {
  static constexpr int vectors = 2;
  template <int M, int N, Out to>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual, int) {
    __m512i sum[M][N];
    __m512 total[M][N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) total[m][n] = _mm512_setzero_ps();
    const std::uint8_t* w = row.weights;
    const std::int32_t* start = row.group_initial;
    const float* scales = row.group_scale;
    const Run* run = row.runs;
    const Run* const end = run + row.run_count;
    do {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        sum[0][n] = _mm512_load_si512(start + n * kLanes);
#pragma GCC unroll 16
        for (int m = 1; m < M; ++m) sum[m][n] = sum[0][n];
      }
      start += N * kLanes;
      bool more;
      do {
        w = accumulate<Dot, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
        more = run->ends_group == 0;
        ++run;
      } while (more);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const __m512 scale = _mm512_load_ps(scales + n * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) total[m][n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[m][n]), scale, total[m][n]);
      }
      scales += N * kLanes;
    } while (run != end);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) sum[m][n] = _mm512_castps_si512(total[m][n]);
    finish<true, to>(row, sum, out, residual);
  }
};

struct Real {
  static constexpr int vectors = 4;
  template <int M, int N, Out to>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual, int) {
    __m512i sum[M][N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      sum[0][n] = _mm512_load_si512(row.bias + n * kLanes);
#pragma GCC unroll 16
      for (int m = 1; m < M; ++m) sum[m][n] = sum[0][n];
    }
    const std::uint8_t* w = row.weights;
    const Run* run = row.runs;
    const Run* const end = run + row.run_count;
    do {
      w = accumulate<Fma, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
    } while (++run != end);
    alignas(64) float y[M * N * kLanes];
    spill<M, N>(sum, y);
    finish_floats<M, N>(row, y, out, residual);
  }
};

// Of pixels from the x-th of the row on.
using Tile = void (*)(const ConvRow&, const std::uint8_t*, std::uint8_t*, const std::uint8_t*, int x);

// The tiles of N vectors by their pixels.
template <typename Kind, Out to, int N, int... M>
struct Tiles {
  static constexpr Tile list[] = {&Kind::template tile<M, N, to>...};
};

// Tiles of almost equal widths, whole groups of `together` pixels.
WUTDET_INLINE void cover(const ConvRow& row, const Tile* tiles, int most, int together) {
  const int groups = (row.pixels + together - 1) / together, per_tile = most / together;
  const int count = (groups + per_tile - 1) / per_tile, share = groups / count, larger = groups % count;
  const std::uint8_t* in = row.in;
  std::uint8_t* out = row.out;
  const std::uint8_t* residual = row.residual;
  int left = row.pixels;
  for (int i = 0; i < count; ++i) {
    int width = (share + (i < larger)) * together;
    if (width > left) width = left;
    tiles[width - 1](row, in, out, residual, row.pixels - left);
    in += width * row.in_step;
    out += width * row.out_step;
    if (residual != nullptr) residual += width * row.residual_step;
    left -= width;
  }
}

template <typename Kind, Out to>
void cover_by(const ConvRow& row) {
  switch (row.vectors) {
    case 1:
      return cover(row, Tiles<Kind, to, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16>::list, 16, 4);
    case 2: return cover(row, Tiles<Kind, to, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>::list, 12, 2);
    case 3: return cover(row, Tiles<Kind, to, 3, 1, 2, 3, 4, 5, 6, 7, 8>::list, 8, 1);
    default: return cover(row, Tiles<Kind, to, 4, 1, 2, 3, 4, 5, 6>::list, 6, 1);
  }
}

template <Out to>
void cover_grouped(const ConvRow& row) {
  if (row.vectors == 1)
    cover(row, Tiles<Grouped, to, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>::list, 12, 4);
  else cover(row, Tiles<Grouped, to, 2, 1, 2, 3, 4, 5, 6>::list, 6, 2);
}

// Up to eight channels: two pixels share a vector, eight pixels the bytes of one. `pixels` are eight times M; no residual.
template <int M>
void narrow_tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out) {
  __m512i sum[M][4];
  const auto twice = [](const void* p) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  };
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sum[m][i] = twice(row.initial);
  const std::uint8_t* w = row.weights;
  for (int r = 0; r < row.run_count; ++r) {
    const std::uint8_t* p = in + row.runs[r].offset;
    for (int steps = row.runs[r].steps; steps != 0; --steps, p += 4, w += 64) {
      const __m512i weights = twice(w);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const std::uint8_t* pair = p + (8 * m + 2 * i) * row.in_step;
          int x[2];
          __builtin_memcpy(&x[0], pair, 4);
          __builtin_memcpy(&x[1], pair + row.in_step, 4);
          // Halves of 256 bits are loaded twice as fast as whole vectors.
          Dot::add(sum[m][i], _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi32(x[0])), _mm256_set1_epi32(x[1]), 1),
                   weights);
        }
      }
    }
  }
  const __m512 scale = _mm512_castsi512_ps(twice(row.scale)), bias = _mm512_castsi512_ps(twice(row.bias));
  const bool with_table = row.table != nullptr;
  const Table table(with_table ? row.table : row.weights);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      sum[m][i] = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[m][i]), scale, bias));
    __m512i bytes = pack4(sum[m][0], sum[m][1], sum[m][2], sum[m][3]);
    if (with_table) bytes = table(bytes);
    bytes = _mm512_permutexvar_epi32(order, bytes);
    std::uint8_t* const to = out + 8 * m * row.out_step;
    if (row.out_step == 8 && row.channels == 8) {
      _mm512_storeu_si512(to, bytes);
      continue;
    }
    const auto mask = static_cast<__mmask16>((1u << row.channels) - 1);
    alignas(64) std::uint8_t own[64 + 16];
    _mm512_store_si512(own, bytes);
    for (int x = 0; x < 8; ++x)
      _mm_mask_storeu_epi8(to + x * row.out_step, mask, _mm_loadu_si128(reinterpret_cast<const __m128i*>(own + 8 * x)));
  }
}

void narrow_row(const ConvRow& original) {
  ConvRow row = original;
  const auto take = [&](int pixels) {
    row.in += pixels * row.in_step;
    row.out += pixels * row.out_step;
    row.pixels -= pixels;
  };
  for (; row.pixels >= 16; take(16)) narrow_tile<2>(row, row.in, row.out);
  for (; row.pixels >= 8; take(8)) narrow_tile<1>(row, row.in, row.out);
  if (row.pixels > 0) cover_by<Int8, Out::bytes>(row);
}

void int8_row(const ConvRow& row) {
  const bool narrow = row.vectors == 1 && row.channels <= 8 && row.residual == nullptr && row.starts == nullptr;
  if (narrow && row.to_u8 && !row.silu) return narrow_row(row);
  if (!row.to_u8) cover_by<Int8, Out::floats>(row);
  else if (row.silu) cover_by<Int8, Out::silu_bytes>(row);
  else cover_by<Int8, Out::bytes>(row);
}

void grouped_row(const ConvRow& row) {
  if (!row.to_u8) cover_grouped<Out::floats>(row);
  else if (row.silu) cover_grouped<Out::silu_bytes>(row);
  else cover_grouped<Out::bytes>(row);
}

void real_row(const ConvRow& row) { cover_by<Real, Out::floats>(row); }

#include "isa/conv_avx512_depthwise.inc"

void widen(const std::uint8_t* in, std::size_t count, int zero, float scale, float* out) {
  const __m512i shift = _mm512_set1_epi32(zero);
  const __m512 factor = _mm512_set1_ps(scale);
  for (std::size_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = count - i >= kLanes ? 0xFFFF : static_cast<__mmask16>((1u << (count - i)) - 1);
    const __m512i x = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, in + i));
    _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(x, shift)), factor));
  }
}

constexpr ConvKernels kKernels{"avx512vnni", kLanes,      Int8::vectors, Grouped::vectors, Real::vectors, false, false,
                               int8_row,     grouped_row, real_row,      depthwise_int8,   depthwise_real, widen};

}  // namespace

const ConvKernels& conv_avx512vnni() { return kKernels; }

}  // namespace wutdet::engine
