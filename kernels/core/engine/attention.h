// Softmax and what it is multiplied with: attention of one head over all pixels of an image, softmax(q k^T) v, and the
// mean of distributions over bins.
//
// In the same order of operations on every instruction set, so with the same bits: products are summed by channel, then
// exp(x - peak) by silu.h's sequence (0 below -87), sums over 16 interleaved parts that are added in a fixed tree, and
// at the end everything is divided by the sum. Of bytes: products are exact integers, and exp(x - peak) is rounded to a
// whole number of 1/kWeightSteps before anything is summed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/engine/conv.h"

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

// The same of bytes with one scale and zero point. q, k and v are bytes less the zero point, in 16 bits.
struct ByteAttentionHead {
  // Channel c of pixel n at q[n * key_channels + c].
  const std::int16_t* q;
  // Two channels of a pixel lie together: k[(c / 2 * k_step + n) * 2 + c % 2], k_step a multiple of kAttentionLanes.
  const std::int16_t* k;
  std::ptrdiff_t k_step;
  // Two pixels of a channel lie together: v[(n / 2 * value_channels + c) * 2 + n % 2]; pixels are even, the last may be 0.
  const std::int16_t* v;
  float* out;
  std::ptrdiff_t out_step;
  int pixels, key_channels, value_channels;  // key_channels: even, at most kMostKeyChannels
  float factor;  // of products of bytes
  float scale;   // of bytes
  float* scratch;         // kAttentionRows * k_step floats, 64-byte aligned
  std::int16_t* weights;  // as many values
};

// Where the parts of ByteAttentionHead lie in one block of memory, in values of 16 bits.
struct PackedHead {
  std::ptrdiff_t k_step, q, k, v, values;  // `values`: of a whole head, a multiple of 64 bytes

  PackedHead(std::ptrdiff_t pixels, std::ptrdiff_t key_channels, std::ptrdiff_t value_channels)
      : k_step((pixels + 15) / 16 * 16), q(0), k(up(pixels * key_channels)), v(k + up(k_step * key_channels)),
        values(v + up((pixels + 1) / 2 * 2 * value_channels)) {}

 private:
  static std::ptrdiff_t up(std::ptrdiff_t values) { return (values + 31) / 32 * 32; }
};

// Packs pairs of pixels [first, last) of all heads of an image of bytes with channels [head][key_channels of q, of k,
// value_channels of v]. The pixels, in their order, are cut in `areas` of the same size, whose last pair is one pixel if
// that is odd; areas lie one behind the other in `to`, each with all its heads.
void pack_heads(const View& in, int areas, int heads, int key_channels, int value_channels, int zero, std::int16_t* to,
                int first, int last);

constexpr int kWeightSteps = 16383;     // 15 bits with the sign
constexpr int kMostKeyChannels = 256;   // sums are whole numbers below 2^24
constexpr int kPixelsOfSum = 512;       // so many products of weights and bytes stay below 2^31

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
