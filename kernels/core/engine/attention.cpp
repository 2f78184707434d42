#include "core/engine/attention.h"

#include <cmath>
#include <cstdint>
#include <cstring>

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

#include "core/engine/attention_body.inc"

}  // namespace

const FloatFunctions& float_functions_avx512();
const FloatFunctions& float_functions_avx2();

const FloatFunctions& float_functions([[maybe_unused]] const ConvKernels& kernels) {
#ifdef WUTDET_ATTENTION_AVX512
  if (std::strcmp(kernels.name, "avx512vnni") == 0) return float_functions_avx512();
#endif
#ifdef WUTDET_ATTENTION_AVX2
  if (std::strcmp(kernels.name, "scalar") != 0) return float_functions_avx2();
#endif
  return kFunctions;
}

}  // namespace wutdet::engine
