// Convolutions of the native engine: pack a layer once, bind it to buffers once, run parts of it from many threads.
//
// Activations are NHWC. A view may be a slice of the channels of a wider buffer. Taps reach outside a view where the
// layer pads: the caller allocates these border pixels and fills them with the zero point (uint8) or 0 (float32).
// Nothing else outside views is read, and nothing outside the output view is written.
//
// What is computed, on every instruction set with the same bits (u8 = uint8, all fma are one rounding):
//   int8 weights          acc = initial + start, where there is one, + sum of (x - zero) * w         exact, int32
//                         y = fma(float(acc), scale, bias)
//   int8 with groups      acc = 0; for groups in order: acc = fma(group_scale, float(dot of the group), acc)
//                         y = fma(acc, scale, bias)                                                  dots exact, int32
//   float32 weights       y = bias; for k in order (tap row, tap column, channel): y = fma(x, w, y)
//   then                  y = silu(y), if asked for; silu.h has one for float and one, coarser, for u8 outputs
//   output i32            acc of int8 weights without groups, and nothing of the above: starts of another layer
//   output float32        y + residual
//   output u8             q = saturate(round half even(y)), of fma(y, inverse_scale * factor, zero) where y was float or
//                         silu'd
//                         q = table[q], if there is a table
//                         q = saturate(round half even(fma(mix.own, q, fma(mix.residual, r, mix.offset)))), if there
//                         is a residual r
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace wutdet::engine {

struct ConvKernels;
struct ConvRow;

// Pixels of one image. Strides are in bytes; `data` is channel 0 of pixel (0, 0).
struct View {
  void* data = nullptr;
  std::ptrdiff_t row_stride = 0, pixel_stride = 0;
  int height = 0, width = 0, channels = 0;
};

enum class Number : std::uint8_t { u8, f32, i32 };

struct ConvSpec {
  // Geometry. Output pixel (y, x) sees input pixels (y * stride_h - pad_top + i * dilation_h, ...).
  int in_channels = 0, out_channels = 0;  // in_channels of int8 weights: a multiple of 4, unless depthwise
  int kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, dilation_h = 1, dilation_w = 1;
  bool depthwise = false;  // out_channels == in_channels, one filter each

  // Weights [out][tap row][tap column][in], or [channel][tap row][tap column] if depthwise: one of the two.
  const std::int8_t* weights = nullptr;
  const float* float_weights = nullptr;
  // Groups of `group` values of one output channel (16, 32 or 64; the last may be short), scales [out][groups].
  int group = 0;
  const float* group_scale = nullptr;
  // How often the taps are gone over, with other weights each time: [out][plane][tap row][tap column][in]. More than one
  // only with groups of a whole plane; see split_in_planes.
  int planes = 1;

  Number input = Number::u8, output = Number::u8;
  int input_zero = 0;        // u8 inputs
  float input_scale = 1.0f;  // u8 inputs of float weights: x = float(q - zero) * scale
  const std::int32_t* initial = nullptr;  // [out], int8 weights without groups: an integer bias; may be null
  const float* scale = nullptr;           // [out], int8 weights
  const float* bias = nullptr;            // [out]; may be null

  bool silu = false;
  float inverse_scale = 1.0f, output_zero = 0.0f;  // u8 outputs of float weights or of silu
  const float* factor = nullptr;                   // [out], of the same outputs; may be null
  const std::uint8_t* table = nullptr;             // 256 bytes; u8 outputs; may be null
  bool residual = false;                           // the same number kind as the output
  struct Mix {
    float own = 1.0f, residual = 1.0f, offset = 0.0f;
  } mix;  // u8 outputs
  // Sums start from those of a layer with as many output channels and i32 results, of half the width, whose height
  // divides this layer's: every pixel of theirs for a block of pixels. Int8 weights without groups, u8 outputs, no
  // residual. That results with their starts stay within int32 is the caller's to know: `pack` sees this layer alone.
  bool starts = false;
};

// 64-byte aligned bytes.
class Packed {
 public:
  Packed() = default;
  explicit Packed(std::size_t bytes);
  template <typename Value>
  Value* as() { return static_cast<Value*>(static_cast<void*>(data_.get())); }
  template <typename Value>
  const Value* as() const { return static_cast<const Value*>(static_cast<const void*>(data_.get())); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Free { void operator()(std::uint8_t* data) const; };
  std::unique_ptr<std::uint8_t, Free> data_;
  std::size_t bytes_ = 0;
};

// Output channels that are computed together.
struct ConvBlock {
  int first = 0, channels = 0;  // output channels
  int vectors = 0;
  std::size_t weights = 0;  // offset in bytes
  std::size_t rows = 0;     // offset in `initial`, `scale`, `bias` (values)
  std::size_t groups = 0;   // offset in `group_scale` and `group_initial` (values)
  std::size_t chains = 0, chain_steps = 0;  // offsets (values), see conv_chains.h
};

// A convolution ready for one instruction set. Immutable; any number of threads may use it.
struct ConvLayer {
  ConvSpec spec;  // pointers are null: everything has been copied
  const ConvKernels* kernels = nullptr;
  std::vector<ConvBlock> blocks;
  Packed weights, initial, scale, bias, inverse, group_scale, group_initial, table;
  // Where weights are in chains (then `weights` has their order): of the vectors of all blocks.
  std::vector<std::int32_t> chains, chain_steps;
  bool has_table = false;
  std::size_t quads = 0;  // steps of the inner loop; values for float weights

  std::size_t bytes() const;
};

// Copies and rearranges. `kernels`: see dispatch.h. Throws std::invalid_argument with the reason where the layer cannot
// be computed exactly (in_channels not a multiple of 4, more than 65,536 products per output, scales that are not finite
// or so large that results leave int32, ...).
ConvLayer pack(const ConvSpec& spec, const ConvKernels& kernels);

// Float weights as two planes of int8 with scales: weight = scale[0] * high + scale[1] * low, where scale[0] is 128 times
// scale[1], to within half of scale[1] = (largest of the output channel) / 16319: 15 bits. |low| <= 64. A layer with a u8
// input and float weights then runs on dots of bytes, with group = `values` and planes = 2, in about half the time of
// float32 where there are instructions for them; not the same numbers, but far within a step of 8 bits.
struct Planes {
  std::vector<std::int8_t> weights;  // [out][2][values]
  std::vector<float> scales;         // [out][2], to be `group_scale`
};
Planes split_in_planes(const float* weights, int out_channels, std::size_t values);

// A run of values that lie together: `offset` bytes from the first channel of the input pixel under the first tap...
struct Run {
  std::ptrdiff_t offset;
  std::int32_t steps;  // quads of 4 bytes (u8) or single values (f32)
  std::int32_t ends_group;
};

// A layer with its buffers. Cheap to make, immutable; the layer must outlive it.
struct ConvCall {
  const ConvLayer* layer = nullptr;
  View in, out, residual, starts;
  std::vector<Run> runs;
  std::vector<std::int32_t> chain_offsets;  // of chain_steps, in bytes, counted like those of `runs`
  bool flat = false;  // rows follow each other without a gap and a pixel sees one pixel: rows can be joined
  std::size_t scratch_bytes = 0;  // per thread, 64-byte aligned; 0 for most layers
};

// `second` is the residual or the starts; null without one. A residual has the output's size, and may be the output
// itself only if strides are equal. The channels of an i32 view are as `sum_lanes` says, in an order of the kernels' own.
// Throws std::invalid_argument if views do not fit the layer: channels, sizes, strides too small, not aligned to the
// numbers in them.
ConvCall bind(const ConvLayer& layer, const View& in, const View& out, const View* second);

// Channels of an i32 output: whole vectors.
int sum_lanes(int out_channels, const ConvKernels& kernels);

// Output rows [first_row, last_row) of blocks [first_block, last_block). Calls for disjoint parts may run at once.
void run(const ConvCall& call, int first_row, int last_row, int first_block, int last_block, void* scratch);

inline int block_count(const ConvLayer& layer) { return static_cast<int>(layer.blocks.size()); }

}  // namespace wutdet::engine
