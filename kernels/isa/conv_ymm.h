// Convolutions in registers of 256 bits: the whole of conv_avx2.cpp, conv_avxvnni.cpp and conv_vnni256.cpp but for the
// product of bytes, which they define before they include this (WUTDET_YMM_NAME, WUTDET_YMM_TABLE, and
// WUTDET_YMM_DOT(sum, x, w), an instruction, where there is one). Nothing in here but the table is visible outside.
//
// A tile is M pixels times N vectors of 8 output channels, its sums in registers.
#include <immintrin.h>

#include "core/engine/conv.h"
#include "core/engine/conv_chains.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

constexpr int kLanes = 8;

// Without it, GCC makes functions of parts of a tile and passes its sums through memory.
#define WUTDET_INLINE inline __attribute__((always_inline))

WUTDET_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
WUTDET_INLINE void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
WUTDET_INLINE __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
WUTDET_INLINE __m256i four_bytes(const std::uint8_t* p) {
  int x;
  __builtin_memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}

// The first `count` lanes.
WUTDET_INLINE __m256i first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

WUTDET_INLINE __m256i pack4(__m256i a, __m256i b, __m256i c, __m256i d) {
  return _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
}

// table[x] for 32 bytes, in place: each 16 entries are one instruction, results are chosen by the upper bits of x, which
// are shifted to where the choice looks at them.
WUTDET_INLINE void look_up(const std::uint8_t* table, std::uint8_t* bytes) {
  const __m256i x = load(bytes), low = _mm256_and_si256(x, _mm256_set1_epi8(15));
  const __m256i bit4 = _mm256_slli_epi16(x, 3), bit5 = _mm256_slli_epi16(x, 2), bit6 = _mm256_slli_epi16(x, 1);
  const auto entry = [&](int i) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(table + 16 * i)), low);
  };
  const auto two = [&](int i) { return _mm256_blendv_epi8(entry(i), entry(i + 1), bit4); };
  const auto four = [&](int i) { return _mm256_blendv_epi8(two(i), two(i + 2), bit5); };
  const auto eight = [&](int i) { return _mm256_blendv_epi8(four(i), four(i + 4), bit6); };
  store(bytes, _mm256_blendv_epi8(eight(0), eight(8), x));
}

// 16 bytes mixed with 16 of the residual.
WUTDET_INLINE __m128i mix(const ConvRow& row, __m128i own, __m128i other) {
  const __m256 a = _mm256_set1_ps(row.mix_own), b = _mm256_set1_ps(row.mix_residual), c = _mm256_set1_ps(row.mix_offset);
  const auto eight = [&](__m128i q, __m128i r) {
    const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(q)), y = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(r));
    return _mm256_cvtps_epi32(_mm256_fmadd_ps(a, x, _mm256_fmadd_ps(b, y, c)));
  };
  const __m256i low = eight(own, other), high = eight(_mm_srli_si128(own, 8), _mm_srli_si128(other, 8));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

WUTDET_INLINE void copy_bytes(std::uint8_t* to, const std::uint8_t* from, int count) {
  if (count == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), load16(from));
  } else if (count == 8) {
    __builtin_memcpy(to, from, 8);
  } else {
    for (int i = 0; i < count; ++i) to[i] = from[i];
  }
}

// Saturated bytes of pixels, `stride` apart (a multiple of 8), through table and residual to the output. Reads and changes
// whole vectors of `own`.
__attribute__((noinline)) void put_bytes(const ConvRow& row, std::uint8_t* own, int pixels, int stride,
                                         std::uint8_t* out, const std::uint8_t* residual) {
  if (row.table != nullptr)
    for (int i = 0; i < pixels * stride; i += 32) look_up(row.table, own + i);
  if (residual == nullptr && row.channels == 16 && stride == 16) {
    for (int m = 0; m < pixels; ++m) copy_bytes(out + m * row.out_step, own + 16 * m, 16);
    return;
  }
  for (int m = 0; m < pixels; ++m) {
    for (int c = 0; c < row.channels; c += 16) {
      const int count = row.channels - c < 16 ? row.channels - c : 16;
      std::uint8_t* bytes = own + m * stride + c;
      if (residual != nullptr) {
        std::uint8_t other[16] = {};
        copy_bytes(other, residual + m * row.residual_step + c, count);
        alignas(16) std::uint8_t mixed[16];
        _mm_store_si128(reinterpret_cast<__m128i*>(mixed), mix(row, load16(bytes), load16(other)));
        copy_bytes(out + m * row.out_step + c, mixed, count);
      } else {
        copy_bytes(out + m * row.out_step + c, bytes, count);
      }
    }
  }
}

// Integers [M][N] to bytes [M][N * kLanes], and maybe whole vectors of bytes behind them.
template <int M, int N>
WUTDET_INLINE void pack_tile(__m256i (&sum)[M][N], std::uint8_t* bytes) {
  constexpr int together = 4 / N;
  const __m256i order = N == 1   ? _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)
                        : N == 2 ? _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7)
                                 : _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
#pragma GCC unroll 16
  for (int m = 0; m < M; m += together) {
    const int b = m + 1 < M ? m + 1 : m, c = m + 2 < M ? m + 2 : m, d = m + 3 < M ? m + 3 : m;
    __m256i four;
    if constexpr (N == 4) four = pack4(sum[m][0], sum[m][1], sum[m][2], sum[m][3]);
    if constexpr (N == 2) four = pack4(sum[m][0], sum[m][1], sum[b][0], sum[b][1]);
    if constexpr (N == 1) four = pack4(sum[m][0], sum[b][0], sum[c][0], sum[d][0]);
    if constexpr (N != 4) four = _mm256_permutevar8x32_epi32(four, order);
    store(bytes + m * N * kLanes, four);
  }
}

WUTDET_INLINE __m256 silu(__m256 x) {
  __m256 c = _mm256_max_ps(x, _mm256_set1_ps(kSiluLow));
  c = _mm256_min_ps(c, _mm256_set1_ps(kSiluHigh));
  const __m256 scale = _mm256_set1_ps(kSiluMinusLog2E), round = _mm256_set1_ps(kSiluRound);
  const __m256 shifted = _mm256_fmadd_ps(c, scale, round);
  const __m256 f = _mm256_fmsub_ps(c, scale, _mm256_sub_ps(shifted, round));
  __m256 e = _mm256_set1_ps(kSiluPowers[5]);
#pragma GCC unroll 5
  for (int i = 4; i >= 0; --i) e = _mm256_fmadd_ps(e, f, _mm256_set1_ps(kSiluPowers[i]));
  e = _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_castps_si256(e), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23)));
  return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

// Floats of pixels [pixel][vector][lane], plain order, to a float output.
__attribute__((noinline)) void put_floats(const ConvRow& row, const float* y, int pixels, std::uint8_t* out,
                                          const std::uint8_t* residual) {
  for (int m = 0; m < pixels; ++m) {
    for (int c = 0; c < row.channels; c += kLanes) {
      const __m256i mask = first_lanes(row.channels - c);
      __m256 x = _mm256_load_ps(y + m * row.vectors * kLanes + c);
      if (row.silu) x = silu(x);
      if (residual != nullptr)
        x = _mm256_add_ps(
            x, _mm256_maskload_ps(reinterpret_cast<const float*>(residual + m * row.residual_step + 4 * c), mask));
      float* to = reinterpret_cast<float*>(out + m * row.out_step + 4 * c);
      if (row.channels - c >= kLanes) _mm256_storeu_ps(to, x);
      else _mm256_maskstore_ps(to, mask, x);
    }
  }
}

// Entry `i` (its last four bits) of 16.
WUTDET_INLINE __m256 entry(const float* table, __m256i i) {
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i),
                          _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), i),
                          _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}

WUTDET_INLINE __m256 silu_for_bytes(__m256 x) {
  const __m256 c = _mm256_max_ps(x, _mm256_set1_ps(kSiluByteLow)), round = _mm256_set1_ps(kSiluRound);
  const __m256 u = _mm256_add_ps(_mm256_min_ps(c, _mm256_set1_ps(kSiluByteHigh)), _mm256_set1_ps(kSiluByteShift));
  const __m256 shifted = _mm256_add_ps(u, round), d = _mm256_sub_ps(u, _mm256_sub_ps(shifted, round));
  const __m256i i = _mm256_castps_si256(shifted);
  __m256 y = entry(kSigmoidCubics[3], i);
#pragma GCC unroll 3
  for (int k = 2; k >= 0; --k) y = _mm256_fmadd_ps(y, d, entry(kSigmoidCubics[k], i));
  return _mm256_mul_ps(c, y);
}

// Floats [pixel][vector][lane] to integers of a u8 output that has its own scale, in place.
__attribute__((noinline)) void quantise_all(const ConvRow& row, float* y, int pixels, int vectors) {
  for (int m = 0; m < pixels; ++m) {
    for (int n = 0; n < vectors; ++n, y += kLanes) {
      __m256 x = _mm256_load_ps(y);
      if (row.silu) x = silu_for_bytes(x);
      x = _mm256_fmadd_ps(x, _mm256_load_ps(row.inverse + n * kLanes), _mm256_set1_ps(row.zero));
      // What is too small, or NaN, becomes negative, and 0 when it is packed.
      store(y, _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(255.0f), x)));
    }
  }
}

// The rarer ways out, through memory: sums are floats. See `finish`.
template <int M, int N>
__attribute__((noinline)) void finish_floats(const ConvRow& row, float* y, std::uint8_t* out,
                                             const std::uint8_t* residual) {
  if (!row.to_u8) {
    put_floats(row, y, M, out, residual);
    return;
  }
  quantise_all(row, y, M, N);
  __m256i sum[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[m][n] = load(y + (m * N + n) * kLanes);
  pack_tile<M, N>(sum, out);
}

template <int M, int N>
WUTDET_INLINE void spill(__m256i (&sum)[M][N], float* y) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(y + (m * N + n) * kLanes, sum[m][n]);
}

template <int M, int N>
WUTDET_INLINE void put_sums(const ConvRow& row, __m256i (&sum)[M][N], std::uint8_t* out) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(out + m * row.out_step + 32 * n, sum[m][n]);
}

template <int M, int N>
WUTDET_INLINE void add_starts(const ConvRow& row, __m256i (&sum)[M][N], int x) {
  const std::int32_t* const from = row.starts + x / 2 * row.starts_step;
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
      sum[m][n] = _mm256_add_epi32(sum[m][n], load(from + (m + x % 2) / 2 * row.starts_step + n * kLanes));
}

template <int M, int N>
WUTDET_INLINE void start(__m256i (&sum)[M][N], const void* from) {
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    sum[0][n] = load(static_cast<const std::uint8_t*>(from) + 32 * n);
#pragma GCC unroll 16
    for (int m = 1; m < M; ++m) sum[m][n] = sum[0][n];
  }
}

// Adds `steps` steps of weights from `w` on to the sums; returns where the next are.
template <typename Op, int M, int N>
WUTDET_INLINE const std::uint8_t* accumulate(__m256i (&sum)[M][N], const std::uint8_t* p, std::ptrdiff_t step,
                                             int steps, const std::uint8_t* w) {
  do {
    __m256i weights[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) weights[n] = load(w + 32 * n);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const __m256i x = four_bytes(p + m * step);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) Op::add(sum[m][n], x, weights[n]);
    }
    p += 4;
    w += 32 * N;
  } while (--steps != 0);
  return w;
}

// Four products per lane added to an int32, of bytes and signed bytes.
#ifdef WUTDET_YMM_DOT
struct Dot {
  static WUTDET_INLINE void add(__m256i& sum, __m256i x, __m256i w) { WUTDET_YMM_DOT(sum, x, w); }
};
#endif
struct Fma {
  static WUTDET_INLINE void add(__m256i& sum, __m256i x, __m256i w) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
  }
};

// The channel's scale and bias; then whole numbers for the usual u8 output.
template <bool whole, bool already_float, int M, int N>
WUTDET_INLINE void scale_tile(const ConvRow& row, __m256i (&sum)[M][N]) {
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const __m256 scale = _mm256_load_ps(row.scale + n * kLanes), bias = _mm256_load_ps(row.bias + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const __m256 y = already_float ? _mm256_castsi256_ps(sum[m][n]) : _mm256_cvtepi32_ps(sum[m][n]);
      const __m256 z = _mm256_fmadd_ps(y, scale, bias);
      sum[m][n] = whole ? _mm256_cvtps_epi32(z) : _mm256_castps_si256(z);
    }
  }
}

// Sums to the output's floats, or to saturated bytes [M][N * kLanes] for put_bytes.
template <bool bytes, bool already_float, int M, int N>
WUTDET_INLINE void finish(const ConvRow& row, __m256i (&sum)[M][N], std::uint8_t* out, const std::uint8_t* residual) {
  scale_tile<bytes, already_float>(row, sum);
  if constexpr (bytes) {
    pack_tile<M, N>(sum, out);
  } else {
    alignas(32) float y[M * N * kLanes];
    spill<M, N>(sum, y);
    finish_floats<M, N>(row, y, out, residual);
  }
}

// int32 sums of int8 weights to whichever output.
template <bool bytes, int M, int N>
WUTDET_INLINE void finish_sums(const ConvRow& row, __m256i (&sum)[M][N], std::uint8_t* out,
                               const std::uint8_t* residual, int x) {
  if (!bytes && row.sums_only) {
    put_sums<M, N>(row, sum, out);
    return;
  }
  if (row.starts != nullptr) add_starts<M, N>(row, sum, x);
  finish<bytes, false, M, N>(row, sum, out, residual);
}

#ifdef WUTDET_YMM_DOT
struct Int8 {
  template <int M, int N, bool bytes>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual,
                   int x) {
    __m256i sum[M][N];
    start<M, N>(sum, row.initial);
    const std::uint8_t* w = row.weights;
    const Run* run = row.runs;
    const Run* const end = run + row.run_count;
    do {
      w = accumulate<Dot, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
    } while (++run != end);
    finish_sums<bytes, M, N>(row, sum, out, residual, x);
  }
};

struct Grouped {
  template <int M, int N, bool bytes>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual,
                   int) {
    __m256i sum[M][N];
    __m256 total[M][N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) total[m][n] = _mm256_setzero_ps();
    const std::int32_t* initial = row.group_initial;
    const float* scales = row.group_scale;
    const std::uint8_t* w = row.weights;
    const Run* run = row.runs;
    const Run* const end = run + row.run_count;
    do {
      start<M, N>(sum, initial);
      initial += N * kLanes;
      bool more;
      do {
        more = run->ends_group == 0;
        w = accumulate<Dot, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
        ++run;
      } while (more);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const __m256 scale = _mm256_load_ps(scales + n * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) total[m][n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[m][n]), scale, total[m][n]);
      }
      scales += N * kLanes;
    } while (run != end);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) sum[m][n] = _mm256_castps_si256(total[m][n]);
    finish<bytes, true, M, N>(row, sum, out, residual);
  }
};
#endif

struct Real {
  template <int M, int N, bool>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual,
                   int) {
    __m256i sum[M][N];
    start<M, N>(sum, row.bias);
    const std::uint8_t* w = row.weights;
    const Run* run = row.runs;
    const Run* const end = run + row.run_count;
    do {
      w = accumulate<Fma, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
    } while (++run != end);
    alignas(32) float y[M * N * kLanes];
    spill<M, N>(sum, y);
    finish_floats<M, N>(row, y, out, residual);
  }
};

// Of pixels from the x-th of the row on.
using Tile = void (*)(const ConvRow&, const std::uint8_t*, std::uint8_t*, const std::uint8_t*, int x);

// The tiles of N vectors by their pixels.
template <typename Kind, bool bytes, int N, int... M>
struct Tiles {
  static constexpr Tile list[] = {&Kind::template tile<M, N, bytes>...};
};

// Tiles of almost equal widths, whole groups of `together` pixels. Bytes are collected, since tables and residuals take
// many of them faster than few.
void cover(const ConvRow& row, const Tile* tiles, int most, int together) {
  constexpr int kCollected = 1024;
  const int groups = (row.pixels + together - 1) / together, per_tile = most / together;
  const int count = (groups + per_tile - 1) / per_tile, share = groups / count, larger = groups % count;
  const int stride = row.vectors * kLanes;
  alignas(32) std::uint8_t own[kCollected + 12 * 2 * kLanes + 32];
  const std::uint8_t* in = row.in;
  std::uint8_t* out = row.out;
  const std::uint8_t* residual = row.residual;
  int left = row.pixels, ready = 0;
  for (int i = 0; i < count; ++i) {
    int width = (share + (i < larger)) * together;
    if (width > left) width = left;
    tiles[width - 1](row, in, row.to_u8 ? own + ready * stride : out, residual, row.pixels - left);
    in += width * row.in_step;
    left -= width;
    ready += width;
    if (row.to_u8) {
      if (ready * stride < kCollected && left != 0) continue;
      put_bytes(row, own, ready, stride, out, residual);
    }
    out += ready * row.out_step;
    if (residual != nullptr) residual += ready * row.residual_step;
    ready = 0;
  }
}

template <typename Kind, bool bytes>
void cover_12(const ConvRow& row) {
  if (row.vectors == 1) cover(row, Tiles<Kind, bytes, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>::list, 12, 4);
  else cover(row, Tiles<Kind, bytes, 2, 1, 2, 3, 4, 5, 6>::list, 6, 2);
}

bool usual(const ConvRow& row) { return row.to_u8 && !row.silu; }

#ifdef WUTDET_YMM_DOT
// Half as many sums, the other half of the registers for totals.
template <bool bytes>
void cover_6(const ConvRow& row) {
  if (row.vectors == 1) cover(row, Tiles<Grouped, bytes, 1, 1, 2, 3, 4, 5, 6>::list, 6, 1);
  else cover(row, Tiles<Grouped, bytes, 2, 1, 2, 3>::list, 3, 1);
}

void int8_row(const ConvRow& row) { usual(row) ? cover_12<Int8, true>(row) : cover_12<Int8, false>(row); }
void grouped_row(const ConvRow& row) { usual(row) ? cover_6<true>(row) : cover_6<false>(row); }
#else
#include "isa/conv_ymm_chains.inc"
#endif
void real_row(const ConvRow& row) { cover_12<Real, false>(row); }

#include "isa/conv_ymm_depthwise.inc"

void widen(const std::uint8_t* in, std::size_t count, int zero, float scale, float* out) {
  const __m256i shift = _mm256_set1_epi32(zero);
  const __m256 factor = _mm256_set1_ps(scale);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + i)));
    _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(x, shift)), factor));
  }
  for (; i < count; ++i) out[i] = static_cast<float>(in[i] - zero) * scale;
}

#ifdef WUTDET_YMM_DOT
constexpr bool kChains = false;
#else
constexpr bool kChains = true;
#endif
constexpr ConvKernels kKernels{WUTDET_YMM_NAME, kLanes,      2,        2,              2,              kChains, false,
                               int8_row,        grouped_row, real_row, depthwise_int8, depthwise_real, widen};

}  // namespace

const ConvKernels& WUTDET_YMM_TABLE() { return kKernels; }

}  // namespace wutdet::engine
