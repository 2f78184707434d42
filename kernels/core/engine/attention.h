// Softmax and what it is multiplied with: attention of one head over all pixels of an image, softmax(q k^T) v, and the
// mean of distributions over bins.
//
// In the same order of operations on every instruction set, so with the same bits: products are summed by channel, then
// exp(x - peak) by silu.h's sequence (0 below -87), sums over 16 interleaved parts that are added in a fixed tree, and
// at the end everything is divided by the sum.
#pragma once

#include <cstddef>

namespace wutdet::engine {

struct AttentionHead {
  // Row n of q lies at q + n * q_step floats and is multiplied by `factor` first; so do those of v. k is transposed:
  // channel c of pixel n at k + c * k_step + n, and 15 floats behind the last channel's last pixel may be read.
  const float *q, *k, *v;
  std::ptrdiff_t q_step, k_step, v_step;
  float* out;  // row n at out + n * out_step
  std::ptrdiff_t out_step;
  int pixels, key_channels, value_channels;  // value_channels: a multiple of kAttentionLanes
  float factor;
  float* scratch;  // attention_scratch(pixels, key_channels) floats, 64-byte aligned
};

constexpr int kAttentionLanes = 16, kAttentionRows = 6;  // at most so many rows at a time
// Scores and scaled rows of q of kAttentionRows pixels.
constexpr std::size_t attention_scratch(std::size_t pixels, std::size_t key_channels) {
  return kAttentionRows * ((pixels + 15) / 16 * 16 + key_channels) + 16;
}

// Distributions over `count` bins, one per value of a row; bin b of value i at in + b * step + i.
struct Bins {
  const float* in;
  std::ptrdiff_t step;
  const float* numbers;  // what the bins stand for
  int count;
  float* out;
};

}  // namespace wutdet::engine
