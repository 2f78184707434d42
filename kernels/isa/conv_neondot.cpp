// Convolutions for aarch64 with SDOT (Armv8.2 dotprod); compiled with flags of its own. Nothing in here but the table of
// functions is visible outside, and no inline function of a library is used (see lowbit_avx2.cpp).
//
// A tile is M pixels times N vectors of 4 output channels. SDOT multiplies signed bytes: the top bit of every input is
// flipped, which takes 128 off it, and the sums start from 128 times the weights more (conv_pack.cpp). Four steps at a
// time: 16 bytes of a pixel lie in one register, and SDOT takes one of its four lanes.
#include <arm_neon.h>

#include "core/engine/conv.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

constexpr int kLanes = 4;

// Without it, the compiler makes functions of parts of a tile and passes its sums through memory.
#define WUTDET_INLINE inline __attribute__((always_inline))

struct Dot {
  using Sum = int32x4_t;
  using Input = int8x16_t;
  static WUTDET_INLINE Input read(const std::uint8_t* p) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(0x80)));
  }
  static WUTDET_INLINE Input read_step(const std::uint8_t* p) {
    std::uint32_t x;
    __builtin_memcpy(&x, p, 4);
    return vreinterpretq_s8_u32(vdupq_n_u32(x ^ 0x80808080u));
  }
  template <int lane>
  static WUTDET_INLINE void add(Sum& sum, Input x, const std::uint8_t* w) {
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vld1q_u8(w)), x, lane);
  }
};

struct Fma {
  using Sum = float32x4_t;
  using Input = float32x4_t;
  static WUTDET_INLINE Input read(const std::uint8_t* p) { return vld1q_f32(reinterpret_cast<const float*>(p)); }
  static WUTDET_INLINE Input read_step(const std::uint8_t* p) {
    return vld1q_dup_f32(reinterpret_cast<const float*>(p));
  }
  template <int lane>
  static WUTDET_INLINE void add(Sum& sum, Input x, const std::uint8_t* w) {
    sum = vfmaq_laneq_f32(sum, vld1q_f32(reinterpret_cast<const float*>(w)), x, lane);
  }
};

struct Table {
  uint8x16x4_t part[4];
  explicit Table(const std::uint8_t* table) {
    for (int i = 0; i < 4; ++i) part[i] = vld1q_u8_x4(table + 64 * i);
  }
  uint8x16_t operator()(uint8x16_t x) const {
    const uint8x16_t step = vdupq_n_u8(64);
    uint8x16_t y = vqtbl4q_u8(part[0], x);
    for (int i = 1; i < 4; ++i) {
      x = vsubq_u8(x, step);
      y = vqtbx4q_u8(y, part[i], x);
    }
    return y;
  }
};

WUTDET_INLINE uint8x8_t narrow(int32x4_t a, int32x4_t b) {
  return vqmovun_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
}

WUTDET_INLINE uint8x16_t mix(const ConvRow& row, uint8x16_t own, uint8x16_t other) {
  const float32x4_t c = vdupq_n_f32(row.mix_offset);
  const auto four = [&](uint16x4_t q, uint16x4_t r) {
    const float32x4_t rest = vfmaq_n_f32(c, vcvtq_f32_u32(vmovl_u16(r)), row.mix_residual);
    return vcvtnq_s32_f32(vfmaq_n_f32(rest, vcvtq_f32_u32(vmovl_u16(q)), row.mix_own));
  };
  const auto eight = [&](uint8x8_t q, uint8x8_t r) {
    const uint16x8_t a = vmovl_u8(q), b = vmovl_u8(r);
    return narrow(four(vget_low_u16(a), vget_low_u16(b)), four(vget_high_u16(a), vget_high_u16(b)));
  };
  return vcombine_u8(eight(vget_low_u8(own), vget_low_u8(other)), eight(vget_high_u8(own), vget_high_u8(other)));
}

WUTDET_INLINE void copy_bytes(std::uint8_t* to, const std::uint8_t* from, int count) {
  if (count == 16) {
    vst1q_u8(to, vld1q_u8(from));
  } else if (count == 8) {
    vst1_u8(to, vld1_u8(from));
  } else {
    for (int i = 0; i < count; ++i) to[i] = from[i];
  }
}

// Saturated bytes of pixels, `stride` apart (at most 16), through table and residual to the output. May read and change
// up to 16 bytes at a time of `own`.
__attribute__((noinline)) void put_bytes(const ConvRow& row, std::uint8_t* own, int pixels, int stride,
                                         std::uint8_t* out, const std::uint8_t* residual) {
  if (row.table != nullptr) {
    const Table table(row.table);
    for (int i = 0; i < pixels * stride; i += 16) vst1q_u8(own + i, table(vld1q_u8(own + i)));
  }
  for (int m = 0; m < pixels; ++m) {
    std::uint8_t* bytes = own + m * stride;
    if (residual != nullptr) {
      std::uint8_t other[16] = {}, mixed[16];
      copy_bytes(other, residual + m * row.residual_step, row.channels);
      vst1q_u8(mixed, mix(row, vld1q_u8(bytes), vld1q_u8(other)));
      copy_bytes(out + m * row.out_step, mixed, row.channels);
    } else {
      copy_bytes(out + m * row.out_step, bytes, row.channels);
    }
  }
}

// Integers [M][N] to bytes.
template <int M, int N>
WUTDET_INLINE void put_tile(const ConvRow& row, int32x4_t (&sum)[M][N], std::uint8_t* out,
                            const std::uint8_t* residual) {
  std::uint8_t own[(M + 3) / 4 * 4 * N * kLanes + 16];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; n += 2) {
      const uint8x8_t eight = narrow(sum[m][n], sum[m][n + 1 < N ? n + 1 : n]);
      // Each store's excess is written over by the next.
      vst1_u8(own + (m * N + n) * kLanes, eight);
    }
  }
  put_bytes(row, own, M, N * kLanes, out, residual);
}

WUTDET_INLINE float32x4_t silu(float32x4_t x) {
  float32x4_t c = vbslq_f32(vcgtq_f32(x, vdupq_n_f32(kSiluLow)), x, vdupq_n_f32(kSiluLow));
  c = vbslq_f32(vcltq_f32(c, vdupq_n_f32(kSiluHigh)), c, vdupq_n_f32(kSiluHigh));
  const float32x4_t shifted = vfmaq_f32(vdupq_n_f32(kSiluRound), c, vdupq_n_f32(kSiluMinusLog2E));
  const float32x4_t n = vsubq_f32(shifted, vdupq_n_f32(kSiluRound));
  const float32x4_t f = vfmaq_f32(vnegq_f32(n), c, vdupq_n_f32(kSiluMinusLog2E));
  float32x4_t e = vdupq_n_f32(kSiluPowers[5]);
#pragma GCC unroll 5
  for (int i = 4; i >= 0; --i) e = vfmaq_f32(vdupq_n_f32(kSiluPowers[i]), e, f);
  e = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(e), vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23)));
  return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), e));
}

// The 16 entries of four bytes that `bytes` points into.
WUTDET_INLINE float32x4_t entries(const float* table, uint8x16_t bytes) {
  const std::uint8_t* from = reinterpret_cast<const std::uint8_t*>(table);
  const uint8x16x4_t all = {{vld1q_u8(from), vld1q_u8(from + 16), vld1q_u8(from + 32), vld1q_u8(from + 48)}};
  return vreinterpretq_f32_u8(vqtbl4q_u8(all, bytes));
}

WUTDET_INLINE float32x4_t silu_for_bytes(float32x4_t x) {
  const float32x4_t low = vdupq_n_f32(kSiluByteLow), high = vdupq_n_f32(kSiluByteHigh), round = vdupq_n_f32(kSiluRound);
  const float32x4_t c = vbslq_f32(vcgtq_f32(x, low), x, low);
  const float32x4_t u = vaddq_f32(vbslq_f32(vcltq_f32(c, high), c, high), vdupq_n_f32(kSiluByteShift));
  const float32x4_t shifted = vaddq_f32(u, round), d = vsubq_f32(u, vsubq_f32(shifted, round));
  const uint32x4_t i = vandq_u32(vreinterpretq_u32_f32(shifted), vdupq_n_u32(15));
  const uint8x16_t bytes = vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), i, 0x04040404));
  float32x4_t y = entries(kSigmoidCubics[3], bytes);
#pragma GCC unroll 3
  for (int k = 2; k >= 0; --k) y = vfmaq_f32(entries(kSigmoidCubics[k], bytes), y, d);
  return vmulq_f32(c, y);
}

// Floats of pixels [pixel][vector][lane] to a float output.
__attribute__((noinline)) void put_floats(const ConvRow& row, const float* y, int pixels, std::uint8_t* out,
                                          const std::uint8_t* residual) {
  for (int m = 0; m < pixels; ++m) {
    for (int c = 0; c < row.channels; c += kLanes) {
      float32x4_t x = vld1q_f32(y + m * row.vectors * kLanes + c);
      if (row.silu) x = silu(x);
      const float* other = reinterpret_cast<const float*>(residual + m * row.residual_step) + c;
      float* to = reinterpret_cast<float*>(out + m * row.out_step) + c;
      if (row.channels - c >= kLanes) {
        if (residual != nullptr) x = vaddq_f32(x, vld1q_f32(other));
        vst1q_f32(to, x);
      } else {
        float last[kLanes];
        vst1q_f32(last, x);
        for (int i = 0; i < row.channels - c; ++i) to[i] = residual != nullptr ? last[i] + other[i] : last[i];
      }
    }
  }
}

// The ways out for sums that are floats with their channel's scale and bias applied.
template <int M, int N>
__attribute__((noinline)) void finish_floats(const ConvRow& row, const float* y, std::uint8_t* out,
                                             const std::uint8_t* residual) {
  if (!row.to_u8) {
    put_floats(row, y, M, out, residual);
    return;
  }
  int32x4_t sum[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      float32x4_t x = vld1q_f32(y + (m * N + n) * kLanes);
      if (row.silu) x = silu_for_bytes(x);
      // Conversion saturates, and so does narrowing: no limits are needed before.
      sum[m][n] = vcvtnq_s32_f32(vfmaq_f32(vdupq_n_f32(row.zero), x, vld1q_f32(row.inverse + n * kLanes)));
    }
  }
  put_tile<M, N>(row, sum, out, residual);
}

template <typename Op, int M, int N, int lane>
WUTDET_INLINE void add_step(typename Op::Sum (&sum)[M][N], const typename Op::Input (&x)[M], const std::uint8_t* w) {
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) Op::template add<lane>(sum[m][n], x[m], w + 16 * n);
}

// Adds `steps` steps of weights from `w` on to the sums; returns where the next are.
template <typename Op, int M, int N>
WUTDET_INLINE const std::uint8_t* accumulate(typename Op::Sum (&sum)[M][N], const std::uint8_t* p,
                                             std::ptrdiff_t step, int steps, const std::uint8_t* w) {
  typename Op::Input x[M];
  for (; steps >= 4; steps -= 4, p += 16, w += 64 * N) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) x[m] = Op::read(p + m * step);
    add_step<Op, M, N, 0>(sum, x, w);
    add_step<Op, M, N, 1>(sum, x, w + 16 * N);
    add_step<Op, M, N, 2>(sum, x, w + 32 * N);
    add_step<Op, M, N, 3>(sum, x, w + 48 * N);
  }
  for (; steps != 0; --steps, p += 4, w += 16 * N) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) x[m] = Op::read_step(p + m * step);
    add_step<Op, M, N, 0>(sum, x, w);
  }
  return w;
}

// Sums that are floats already, or not, by the channel's scale and bias to whichever output.
template <int M, int N>
WUTDET_INLINE void finish(const ConvRow& row, float32x4_t (&sum)[M][N], std::uint8_t* out,
                          const std::uint8_t* residual) {
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const float32x4_t scale = vld1q_f32(row.scale + n * kLanes), bias = vld1q_f32(row.bias + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sum[m][n] = vfmaq_f32(bias, sum[m][n], scale);
  }
  if (row.to_u8 && !row.silu) {
    int32x4_t whole[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) whole[m][n] = vcvtnq_s32_f32(sum[m][n]);
    put_tile<M, N>(row, whole, out, residual);
    return;
  }
  float y[M * N * kLanes];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) vst1q_f32(y + (m * N + n) * kLanes, sum[m][n]);
  finish_floats<M, N>(row, y, out, residual);
}

template <int M, int N>
WUTDET_INLINE void put_sums(const ConvRow& row, int32x4_t (&sum)[M][N], std::uint8_t* out) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    auto* const to = reinterpret_cast<std::int32_t*>(out + m * row.out_step);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) vst1q_s32(to + n * kLanes, sum[m][n]);
  }
}

template <int M, int N>
WUTDET_INLINE void add_starts(const ConvRow& row, int32x4_t (&sum)[M][N], int x) {
  const std::int32_t* const from = row.starts + x / 2 * row.starts_step;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
      sum[m][n] = vaddq_s32(sum[m][n], vld1q_s32(from + (m + x % 2) / 2 * row.starts_step + n * kLanes));
}

struct Int8 {
  template <int M, int N>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual,
                   int x) {
    int32x4_t sum[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = vld1q_s32(row.initial + n * kLanes);
    const std::uint8_t* w = row.weights;
    for (const Run* run = row.runs; run != row.runs + row.run_count; ++run)
      w = accumulate<Dot, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
    if (row.sums_only) {
      put_sums<M, N>(row, sum, out);
      return;
    }
    if (row.starts != nullptr) add_starts<M, N>(row, sum, x);
    float32x4_t y[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) y[m][n] = vcvtq_f32_s32(sum[m][n]);
    finish<M, N>(row, y, out, residual);
  }
};

struct Grouped {
  template <int M, int N>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual,
                   int) {
    int32x4_t sum[M][N];
    float32x4_t total[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) total[m][n] = vdupq_n_f32(0.0f);
    const std::uint8_t* w = row.weights;
    const std::int32_t* initial = row.group_initial;
    const float* scales = row.group_scale;
    const Run* run = row.runs;
    do {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[m][n] = vld1q_s32(initial + n * kLanes);
      bool more;
      do {
        w = accumulate<Dot, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
        more = run->ends_group == 0;
        ++run;
      } while (more);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n)
          total[m][n] = vfmaq_f32(total[m][n], vcvtq_f32_s32(sum[m][n]), vld1q_f32(scales + n * kLanes));
      initial += N * kLanes;
      scales += N * kLanes;
    } while (run != row.runs + row.run_count);
    finish<M, N>(row, total, out, residual);
  }
};

struct Real {
  template <int M, int N>
  static void tile(const ConvRow& row, const std::uint8_t* in, std::uint8_t* out, const std::uint8_t* residual,
                   int) {
    float32x4_t sum[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = vld1q_f32(row.bias + n * kLanes);
    const std::uint8_t* w = row.weights;
    for (const Run* run = row.runs; run != row.runs + row.run_count; ++run)
      w = accumulate<Fma, M, N>(sum, in + run->offset, row.in_step, run->steps, w);
    float y[M * N * kLanes];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) vst1q_f32(y + (m * N + n) * kLanes, sum[m][n]);
    finish_floats<M, N>(row, y, out, residual);
  }
};

// Of pixels from the x-th of the row on.
using Tile = void (*)(const ConvRow&, const std::uint8_t*, std::uint8_t*, const std::uint8_t*, int x);

// The tiles of N vectors by their pixels.
template <typename Kind, int N, int... M>
struct Tiles {
  static constexpr Tile list[] = {&Kind::template tile<M, N>...};
};

// Tiles of almost equal widths.
void cover(const ConvRow& row, const Tile* tiles, int most) {
  const int count = (row.pixels + most - 1) / most, share = row.pixels / count, larger = row.pixels % count;
  const std::uint8_t* in = row.in;
  std::uint8_t* out = row.out;
  const std::uint8_t* residual = row.residual;
  int x = 0;
  for (int i = 0; i < count; ++i) {
    const int width = share + (i < larger);
    tiles[width - 1](row, in, out, residual, x);
    x += width;
    in += width * row.in_step;
    out += width * row.out_step;
    if (residual != nullptr) residual += width * row.residual_step;
  }
}

template <typename Kind>
void cover_row(const ConvRow& row) {
  switch (row.vectors) {
    case 1: return cover(row, Tiles<Kind, 1, 1, 2, 3, 4, 5, 6, 7, 8>::list, 8);
    case 2: return cover(row, Tiles<Kind, 2, 1, 2, 3, 4, 5, 6, 7, 8>::list, 8);
    case 3: return cover(row, Tiles<Kind, 3, 1, 2, 3, 4, 5>::list, 5);
    default: return cover(row, Tiles<Kind, 4, 1, 2, 3, 4>::list, 4);
  }
}

void grouped_row(const ConvRow& row) {
  if (row.vectors == 1) cover(row, Tiles<Grouped, 1, 1, 2, 3, 4, 5, 6>::list, 6);
  else cover(row, Tiles<Grouped, 2, 1, 2, 3, 4, 5>::list, 5);
}

// Up to 16 bytes, zeros behind them.
WUTDET_INLINE uint8x16_t read_bytes(const std::uint8_t* p, int count) {
  if (count == 16) return vld1q_u8(p);
  std::uint8_t copy[16] = {};
  for (int i = 0; i < count; ++i) copy[i] = p[i];
  return vld1q_u8(copy);
}

// 16 channels of a pixel at a time; products of a byte and a signed byte fit 16 bits.
void depthwise_int8(const ConvRow& row) {
  for (int x = 0; x < row.pixels; ++x) {
    const std::uint8_t* in = row.in + x * row.in_step;
    int32x4_t sum[4];
    for (int n = 0; n < 4; ++n) sum[n] = vld1q_s32(row.initial + n * kLanes);
    for (int t = 0; t < row.run_count; t += 4) {
      // One vector of 16 channels for each of four taps.
      const int8x16x4_t weights = vld4q_s8(reinterpret_cast<const std::int8_t*>(row.weights) + 16 * t);
      for (int i = 0; i < 4 && t + i < row.run_count; ++i) {
        const uint8x16_t bytes = read_bytes(in + row.runs[t + i].offset, row.channels);
        const int16x8_t low = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))),
                                        vmovl_s8(vget_low_s8(weights.val[i])));
        const int16x8_t high = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes))),
                                         vmovl_s8(vget_high_s8(weights.val[i])));
        sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
        sum[1] = vaddw_s16(sum[1], vget_high_s16(low));
        sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
        sum[3] = vaddw_s16(sum[3], vget_high_s16(high));
      }
    }
    float32x4_t y[1][4];
    for (int n = 0; n < 4; ++n) y[0][n] = vcvtq_f32_s32(sum[n]);
    finish<1, 4>(row, y, row.out + x * row.out_step,
                 row.residual != nullptr ? row.residual + x * row.residual_step : nullptr);
  }
}

void depthwise_real(const ConvRow& row) {
  for (int x = 0; x < row.pixels; ++x) {
    const std::uint8_t* in = row.in + x * row.in_step;
    float y[16] = {};
    for (int c = 0; c < row.channels; c += kLanes) {
      float32x4_t sum = vld1q_f32(row.bias + c);
      const float* w = reinterpret_cast<const float*>(row.weights) + c;
      for (int t = 0; t < row.run_count; ++t, w += 16) {
        const float* from = reinterpret_cast<const float*>(in + row.runs[t].offset) + c;
        float last[kLanes] = {};
        for (int i = 0; i < kLanes && c + i < row.channels; ++i) last[i] = from[i];
        sum = vfmaq_f32(sum, vld1q_f32(last), vld1q_f32(w));
      }
      vst1q_f32(y + c, sum);
    }
    finish_floats<1, 4>(row, y, row.out + x * row.out_step,
                        row.residual != nullptr ? row.residual + x * row.residual_step : nullptr);
  }
}

void widen(const std::uint8_t* in, std::size_t count, int zero, float scale, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(in[i] - zero) * scale;
}

constexpr ConvKernels kKernels{"neondot", kLanes,      4,        2,              4,              false, true,
                               &cover_row<Int8>, grouped_row, &cover_row<Real>, depthwise_int8, depthwise_real, widen};

}  // namespace

const ConvKernels& conv_neondot() { return kKernels; }

}  // namespace wutdet::engine
