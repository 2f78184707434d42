#include "core/engine/float_functions.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/engine/attention.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

struct Floats {
  float x[kAttentionLanes];
};
constexpr int kRows = 1, kColumns = 1;

template <typename Each>
inline Floats each(const Each& value) {
  Floats out;
  for (int i = 0; i < kAttentionLanes; ++i) out.x[i] = value(i);
  return out;
}

inline Floats load(const float* p) {
  return each([&](int i) { return p[i]; });
}
inline void store(float* p, const Floats& x) { std::memcpy(p, x.x, sizeof x.x); }
inline Floats all(float x) {
  return each([&](int) { return x; });
}
inline Floats add(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.x[i] + b.x[i]; });
}
inline Floats subtract(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.x[i] - b.x[i]; });
}
inline Floats multiply(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.x[i] * b.x[i]; });
}
inline Floats divide(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.x[i] / b.x[i]; });
}
inline Floats fma(const Floats& a, const Floats& b, const Floats& c) {
  return each([&](int i) { return std::fma(a.x[i], b.x[i], c.x[i]); });
}
inline Floats greater_of(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.x[i] > b.x[i] ? a.x[i] : b.x[i]; });
}
inline Floats lesser_of(const Floats& a, const Floats& b) {
  return each([&](int i) { return a.x[i] < b.x[i] ? a.x[i] : b.x[i]; });
}
inline Floats zero_below(const Floats& x, const Floats& low, const Floats& y) {
  return each([&](int i) { return x.x[i] >= low.x[i] ? y.x[i] : 0.0f; });
}
inline Floats power_of_two(const Floats& x) {
  return each([&](int i) {
    std::uint32_t bits;
    std::memcpy(&bits, &x.x[i], sizeof bits);
    bits = (bits << 23) + (127u << 23);
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
  });
}

struct Ints {
  std::int32_t x[kAttentionLanes];
};
inline Ints no_ints() { return {}; }
inline Ints add_pairs(Ints sum, int pair, const std::int16_t* p) {
  std::int16_t by[2];
  std::memcpy(by, &pair, sizeof by);
  for (int i = 0; i < kAttentionLanes; ++i) sum.x[i] += by[0] * p[2 * i] + by[1] * p[2 * i + 1];
  return sum;
}
inline Floats floats_of(const Ints& x) {
  return each([&](int i) { return static_cast<float>(x.x[i]); });
}
inline void store_words(std::int16_t* p, const Floats& x) {
  for (int i = 0; i < kAttentionLanes; ++i) p[i] = static_cast<std::int16_t>(x.x[i]);
}
inline Floats add_exponent(const Floats& x, const Floats& n) {
  return each([&](int i) {
    std::uint32_t bits, by;
    std::memcpy(&bits, &x.x[i], sizeof bits);
    std::memcpy(&by, &n.x[i], sizeof by);
    bits += by << 23;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
  });
}
inline Floats load_bytes(const std::uint8_t* p) {
  return each([&](int i) { return static_cast<float>(p[i]); });
}
inline void store_bytes(std::uint8_t* p, const Floats& x) {
  for (int i = 0; i < kAttentionLanes; ++i) p[i] = static_cast<std::uint8_t>(static_cast<int>(x.x[i]));
}
inline void store_pixels(std::uint8_t* p, const Floats& r, const Floats& g, const Floats& b) {
  for (int i = 0; i < kAttentionLanes; ++i) {
    p[4 * i] = static_cast<std::uint8_t>(static_cast<int>(r.x[i]));
    p[4 * i + 1] = static_cast<std::uint8_t>(static_cast<int>(g.x[i]));
    p[4 * i + 2] = static_cast<std::uint8_t>(static_cast<int>(b.x[i]));
    p[4 * i + 3] = 0;
  }
}
inline void transpose(Floats (&rows)[kAttentionLanes]) {
  for (int i = 0; i < kAttentionLanes; ++i) {
    for (int j = 0; j < i; ++j) {
      const float x = rows[i].x[j];
      rows[i].x[j] = rows[j].x[i];
      rows[j].x[i] = x;
    }
  }
}

#include "core/engine/attention_body.inc"
#include "core/engine/elementwise_body.inc"

}  // namespace

const FloatFunctions& float_functions_avx512();
const FloatFunctions& float_functions_avx2();
const FloatFunctions& float_functions_neon();

const FloatFunctions& float_functions([[maybe_unused]] const ConvKernels& kernels) {
#ifdef WUTDET_FLOATS_AVX512
  if (std::strcmp(kernels.name, "avx512vnni") == 0) return float_functions_avx512();
#endif
#ifdef WUTDET_FLOATS_AVX2
  if (std::strcmp(kernels.name, "scalar") != 0) return float_functions_avx2();
#endif
#ifdef WUTDET_FLOATS_NEON
  if (std::strcmp(kernels.name, "scalar") != 0) return float_functions_neon();
#endif
  return kFunctions;
}

}  // namespace wutdet::engine
