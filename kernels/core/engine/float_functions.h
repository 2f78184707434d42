// What is computed on floats outside of convolutions, one table of functions per instruction set, with the same bits on
// all of them: the order of operations is fixed, and whatever is a fused multiply-add is one everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/engine/conv.h"

namespace wutdet::engine {

struct AttentionHead;
struct Bins;
struct ByteAttentionHead;
struct ConvKernels;

struct FloatFunctions {
  // Rows [first, last).
  void (*attention)(const AttentionHead& head, int first, int last);
  void (*byte_attention)(const ByteAttentionHead& head, int first, int last);
  // Mean of the softmax over the bins of values [first, last).
  void (*expectation)(const Bins& bins, std::ptrdiff_t first, std::ptrdiff_t last);
  // 1 / (1 + exp(-x)), to within 2e-7; NaN stays NaN.
  void (*sigmoid)(const float* in, float* out, std::ptrdiff_t count);
  // round half even(x / scale) + zero, cut off at 0 and 255; NaN becomes `zero`.
  void (*quantise)(const float* in, std::uint8_t* out, std::ptrdiff_t count, float scale, int zero);
  // The same of three planes, `plane` floats apart, to pixels of four bytes, the fourth of which is 0.
  void (*quantise_picture)(const float* in, std::ptrdiff_t plane, std::uint8_t* out, std::ptrdiff_t count, float scale,
                           int zero);
  // round half even(own * a + (residual * b + offset)), each product rounded, cut off at 0 and 255.
  void (*add_bytes)(const std::uint8_t* a, const std::uint8_t* b, std::uint8_t* out, std::ptrdiff_t count,
                    const ConvSpec::Mix& mix);
  // kTransposed pixels, `step` values apart, of kTransposed channels, to rows of channels, `plane` floats apart.
  void (*transpose)(const float* in, std::ptrdiff_t step, float* out, std::ptrdiff_t plane);
  // The same of bytes: (q - zero) * scale.
  void (*transpose_bytes)(const std::uint8_t* in, std::ptrdiff_t step, float* out, std::ptrdiff_t plane, float scale,
                          int zero);
};

constexpr int kTransposed = 16;

// Those that go with the kernels of convolutions.
const FloatFunctions& float_functions(const ConvKernels& kernels);

}  // namespace wutdet::engine
