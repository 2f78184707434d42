// What conv_run.cpp calls for one output row of one block: a table of functions per instruction set, and the layout
// that they share with conv_pack.cpp. Included by isa/: no code in here.
//
// Packed int8 weights: [step][vector][lane][4]: step = four values along K (tap row, tap column, channel), lane = output
// channel. Packed float weights: [step][vector][lane], a step is one value. Depthwise: [step][vector][lane][4 taps] for
// int8 (taps padded with zeros), [tap][vector][lane] for float.
//
// Which output channel a lane holds. Plain order: vectors * ... `lanes * vector + lane`. Interleaved order (u8 outputs):
// `4 * (vectors * (lane / 4) + vector) + lane % 4`, so that packing four vectors by saturation within 128-bit parts
// leaves bytes in order. i32 results have it too, of whole vectors, for a layer with u8 outputs. Depthwise int8 blocks are interleaved too (byte interleaving of taps does the same); depthwise
// float blocks are plain.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet::engine {

struct Run;

constexpr int kMaxVectors = 4;

// One output row of one block.
struct ConvRow {
  const std::uint8_t* in;      // channel 0 of the input pixel at the first output pixel's origin
  std::ptrdiff_t in_step;      // bytes from there to the next output pixel's
  const Run* runs;             // depthwise: one per tap
  int run_count;
  std::uint8_t* out;           // the block's first channel of the first pixel
  std::ptrdiff_t out_step;
  const std::uint8_t* residual;  // null without one
  std::ptrdiff_t residual_step;
  int pixels;
  int channels;                // of the block; beyond it nothing is read (depthwise) or written
  int vectors;
  int steps;                   // of packed weights
  const std::uint8_t* weights;
  // Per lane of the block, [vectors * lanes]:
  const std::int32_t* initial; // int8 without groups
  const float* scale;          // int8
  const float* bias;
  // [groups][vectors * lanes]:
  const float* group_scale;
  const std::int32_t* group_initial;
  // Kernels that need chains, see conv_chains.h: weights are [step of a chain][vector][lane][4] with groups, else
  // [vector][step of its chains][lane][4]; beside them counts of chains, in each of the groups, or for each vector, and
  // the offset of every step's input.
  const std::int32_t* chains;
  const std::int32_t* chain_offsets;
  int groups;
  const std::uint8_t* table;   // null without one
  const float* inverse;        // applied if `quantise`, with `zero`; per lane of the block
  float zero;
  float mix_own, mix_residual, mix_offset;
  bool silu, quantise, to_u8;
  // Int8 without groups. `starts` of the block's vectors, null without: those of pixel x are at x / 2 * starts_step.
  const std::int32_t* starts;
  std::ptrdiff_t starts_step;  // values
  bool sums_only;  // the output is whole vectors of sums
};

using ConvRowFunction = void (*)(const ConvRow&);

struct ConvKernels {
  const char* name;
  int lanes;                    // output channels of a vector; a multiple of 4
  int int8_vectors, grouped_vectors, float_vectors;  // most vectors of a block; depthwise blocks have kMaxVectors
  bool chains;                  // needs weights of int8 layers (not depthwise) as conv_chains.h makes them
  bool signed_inputs;           // int8 layers (not depthwise) take 128 off every input: sums start from 128 * weights
  ConvRowFunction int8, grouped, real, depthwise_int8, depthwise_real;
  // out[i] = float(in[i] - zero) * scale
  void (*widen)(const std::uint8_t* in, std::size_t count, int zero, float scale, float* out);
};

const ConvKernels& conv_scalar();

}  // namespace wutdet::engine
