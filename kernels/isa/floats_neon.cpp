// FloatFunctions for aarch64, whose baseline has all that is needed: four registers of four lanes.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // sums that no pixels at all would leave unset
#endif
#include <arm_neon.h>

#include "core/engine/attention.h"
#include "core/engine/float_functions.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

// Members with names: elements of an array stay in memory where a tile of them is summed up.
struct Floats {
  float32x4_t a, b, c, d;
};
constexpr int kRows = 5, kColumns = 1;

template <typename Work, typename... Parts>
inline Floats each(Work work, Parts... x) {
  return {work(x.a...), work(x.b...), work(x.c...), work(x.d...)};
}

// Not by vld1q and vld2q, which GCC 12 takes for reads of anything: sums would be stored in every step.
template <typename Vector>
inline Vector read(const void* p) {
  Vector x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
inline float32x4_t read_four(const float* p) { return read<float32x4_t>(p); }

inline Floats load(const float* p) { return {read_four(p), read_four(p + 4), read_four(p + 8), read_four(p + 12)}; }
inline void store(float* p, Floats x) {
  vst1q_f32(p, x.a);
  vst1q_f32(p + 4, x.b);
  vst1q_f32(p + 8, x.c);
  vst1q_f32(p + 12, x.d);
}
inline Floats all(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x)}; }
inline Floats add(Floats x, Floats y) { return {x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d}; }
inline Floats subtract(Floats x, Floats y) { return {x.a - y.a, x.b - y.b, x.c - y.c, x.d - y.d}; }
inline Floats multiply(Floats x, Floats y) { return {x.a * y.a, x.b * y.b, x.c * y.c, x.d * y.d}; }
inline Floats divide(Floats x, Floats y) { return {x.a / y.a, x.b / y.b, x.c / y.c, x.d / y.d}; }
// vfmaq_f32 counts as reading the memory too, for GCC 12: a rounding mode.
inline float32x4_t four_fma(float32x4_t x, float32x4_t y, float32x4_t z) {
  asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(z) : "w"(x), "w"(y));
  return z;
}
inline Floats fma(Floats x, Floats y, Floats z) {
  return {four_fma(x.a, y.a, z.a), four_fma(x.b, y.b, z.b), four_fma(x.c, y.c, z.c), four_fma(x.d, y.d, z.d)};
}
// The second operand where one is NaN, which FMAX and FMIN would not give.
inline float32x4_t greater_of_four(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
inline float32x4_t lesser_of_four(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
inline Floats greater_of(Floats x, Floats y) { return each(greater_of_four, x, y); }
inline Floats lesser_of(Floats x, Floats y) { return each(lesser_of_four, x, y); }
inline float32x4_t four_zero_below(float32x4_t x, float32x4_t low, float32x4_t y) {
  return vreinterpretq_f32_u32(vandq_u32(vcgeq_f32(x, low), vreinterpretq_u32_f32(y)));
}
inline Floats zero_below(Floats x, Floats low, Floats y) { return each(four_zero_below, x, low, y); }
inline float32x4_t four_with_exponent(float32x4_t x, float32x4_t n) {
  const int32x4_t by = vshlq_n_s32(vreinterpretq_s32_f32(n), 23);
  return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), by));
}
inline Floats add_exponent(Floats x, Floats n) { return each(four_with_exponent, x, n); }
inline Floats power_of_two(Floats x) { return add_exponent(all(1.0f), x); }

struct Ints {
  int32x4_t a, b, c, d;
};
inline Ints no_ints() { return {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}; }
struct Pairs {
  int16x8_t even, odd;
};
inline Pairs pairs_at(const std::int16_t* p) {
  const auto x = read<int16x8_t>(p), y = read<int16x8_t>(p + 8);
  return {vuzp1q_s16(x, y), vuzp2q_s16(x, y)};
}
inline int32x4_t add_low(int32x4_t sum, Pairs x, int16x4_t by) {
  sum = vmlal_lane_s16(sum, vget_low_s16(x.even), by, 0);
  return vmlal_lane_s16(sum, vget_low_s16(x.odd), by, 1);
}
inline int32x4_t add_high(int32x4_t sum, Pairs x, int16x4_t by) {
  sum = vmlal_high_lane_s16(sum, x.even, by, 0);
  return vmlal_high_lane_s16(sum, x.odd, by, 1);
}
inline Ints add_pairs(Ints sum, int pair, const std::int16_t* p) {
  const int16x4_t by = vreinterpret_s16_s32(vdup_n_s32(pair));
  const Pairs first = pairs_at(p), second = pairs_at(p + 16);
  return {add_low(sum.a, first, by), add_high(sum.b, first, by), add_low(sum.c, second, by),
          add_high(sum.d, second, by)};
}
inline Floats floats_of(Ints x) {
  return {vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)};
}
inline int16x8_t words_of(float32x4_t x, float32x4_t y) {
  return vmovn_high_s32(vmovn_s32(vcvtq_s32_f32(x)), vcvtq_s32_f32(y));
}
inline void store_words(std::int16_t* p, Floats x) {
  vst1q_s16(p, words_of(x.a, x.b));
  vst1q_s16(p + 8, words_of(x.c, x.d));
}

inline Floats load_bytes(const std::uint8_t* p) {
  const uint8x16_t bytes = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_high_u8(bytes);
  return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_high_u16(low)),
          vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_high_u16(high))};
}
inline uint8x16_t bytes_of(Floats x) {
  return vqmovun_high_s16(vqmovun_s16(words_of(x.a, x.b)), words_of(x.c, x.d));
}
inline void store_bytes(std::uint8_t* p, Floats x) { vst1q_u8(p, bytes_of(x)); }
inline void store_pixels(std::uint8_t* p, Floats r, Floats g, Floats b) {
  vst4q_u8(p, uint8x16x4_t{{bytes_of(r), bytes_of(g), bytes_of(b), vdupq_n_u8(0)}});
}

struct Four {
  float32x4_t a, b, c, d;
};
inline float64x2_t doubles(float32x4_t x) { return vreinterpretq_f64_f32(x); }
inline float32x4_t floats(float64x2_t x) { return vreinterpretq_f32_f64(x); }
inline Four columns_of(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
  const float64x2_t ab_even = doubles(vtrn1q_f32(a, b)), ab_odd = doubles(vtrn2q_f32(a, b));
  const float64x2_t cd_even = doubles(vtrn1q_f32(c, d)), cd_odd = doubles(vtrn2q_f32(c, d));
  return {floats(vtrn1q_f64(ab_even, cd_even)), floats(vtrn1q_f64(ab_odd, cd_odd)),
          floats(vtrn2q_f64(ab_even, cd_even)), floats(vtrn2q_f64(ab_odd, cd_odd))};
}
// Rows 4 * i to 4 * i + 3 of what one member has of the rows.
template <float32x4_t Floats::*part>
inline Four part_of(const Floats (&rows)[16], int i) {
  return columns_of(rows[4 * i].*part, rows[4 * i + 1].*part, rows[4 * i + 2].*part, rows[4 * i + 3].*part);
}
template <float32x4_t Floats::*part>
inline void put_rows(const Floats (&rows)[16], Floats* to) {
  const Four parts[4] = {part_of<part>(rows, 0), part_of<part>(rows, 1), part_of<part>(rows, 2),
                         part_of<part>(rows, 3)};
  to[0] = {parts[0].a, parts[1].a, parts[2].a, parts[3].a};
  to[1] = {parts[0].b, parts[1].b, parts[2].b, parts[3].b};
  to[2] = {parts[0].c, parts[1].c, parts[2].c, parts[3].c};
  to[3] = {parts[0].d, parts[1].d, parts[2].d, parts[3].d};
}
inline void transpose(Floats (&rows)[16]) {
  Floats columns[16];
  put_rows<&Floats::a>(rows, columns);
  put_rows<&Floats::b>(rows, columns + 4);
  put_rows<&Floats::c>(rows, columns + 8);
  put_rows<&Floats::d>(rows, columns + 12);
  for (int i = 0; i < 16; ++i) rows[i] = columns[i];
}

#include "core/engine/attention_body.inc"
#include "core/engine/elementwise_body.inc"

}  // namespace

const FloatFunctions& float_functions_neon() { return kFunctions; }

}  // namespace wutdet::engine
