// Rearranges weights for one instruction set and proves that no intermediate result can leave int32.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "core/engine/conv.h"
#include "core/engine/conv_chains.h"
#include "core/engine/conv_kernels.h"

namespace wutdet::engine {
namespace {

constexpr std::size_t kAlign = 64;
// Results of the last fma must convert to int32.
constexpr double kLargest = 2147483000.0;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument("convolution: " + why); }

struct Shape {
  std::size_t taps, per_filter;  // values of one output channel
  std::size_t steps;
  int lanes;
  bool real, interleaved;
};

void check_numbers(const ConvSpec& s) {
  const auto positive = [](int value, const char* name) {
    if (value < 1) refuse(std::string(name) + " must be at least 1, received " + std::to_string(value));
  };
  positive(s.in_channels, "in_channels");
  positive(s.out_channels, "out_channels");
  positive(s.kernel_h, "kernel_h");
  positive(s.kernel_w, "kernel_w");
  positive(s.stride_h, "stride_h");
  positive(s.stride_w, "stride_w");
  positive(s.dilation_h, "dilation_h");
  positive(s.dilation_w, "dilation_w");
  if (s.pad_top < 0 || s.pad_left < 0) refuse("padding must not be negative");
  if ((s.weights == nullptr) == (s.float_weights == nullptr)) refuse("give int8 weights or float32 weights");
  positive(s.planes, "planes");
  const double plane = double(s.kernel_h) * s.kernel_w * (s.depthwise ? 1 : s.in_channels), products = plane * s.planes;
  if (s.planes > 1 && s.group != plane) refuse("planes need groups of a whole plane");
  if (products > 65536.0) refuse("more than 65,536 products per output");
  if (s.depthwise && s.in_channels != s.out_channels) refuse("depthwise layers have as many outputs as inputs");
  if (s.weights != nullptr && !s.depthwise && s.in_channels % 4 != 0)
    refuse("in_channels of int8 weights must be a multiple of 4, received " + std::to_string(s.in_channels));
  if (s.input_zero < 0 || s.input_zero > 255) refuse("input_zero must be 0..255");
  if (s.weights != nullptr) {
    if (s.input != Number::u8) refuse("int8 weights need a uint8 input");
    if (s.scale == nullptr) refuse("int8 weights need a scale per output channel");
  } else if (s.group != 0 || s.initial != nullptr || s.scale != nullptr) {
    refuse("groups, initial sums and scales belong to int8 weights");
  }
  if (s.group != 0) {
    if (s.group < 4 || s.group % 4 != 0) refuse("group must be a multiple of 4, received " + std::to_string(s.group));
    if (s.group_scale == nullptr) refuse("groups need scales");
    if (s.depthwise) refuse("depthwise layers have no groups");
    if (s.initial != nullptr) refuse("initial sums and groups exclude each other");
  }
  if (s.output == Number::i32 && (s.weights == nullptr || s.group != 0 || s.depthwise || s.silu || s.residual || s.starts))
    refuse("sums as results are those of int8 weights without groups, and nothing follows them");
  if (s.starts && (s.weights == nullptr || s.group != 0 || s.depthwise || s.residual || s.output != Number::u8))
    refuse("starts belong to int8 weights without groups and uint8 outputs without a residual");
  if (s.output != Number::u8 && s.table != nullptr) refuse("a table needs a uint8 output");
  if (s.factor != nullptr && (s.output != Number::u8 || (s.weights != nullptr && !s.silu)))
    refuse("factors belong to uint8 outputs of float weights or of silu");
  if (s.silu && s.table != nullptr) refuse("a table and silu exclude each other");
  for (float value : {s.inverse_scale, s.output_zero, s.input_scale, s.mix.own, s.mix.residual, s.mix.offset})
    if (!std::isfinite(value)) refuse("scales and offsets must be finite");
  if (255.0 * (std::fabs(double(s.mix.own)) + std::fabs(double(s.mix.residual))) + std::fabs(double(s.mix.offset)) >
      kLargest)
    refuse("the factors of the residual are too large");
}

// Lane of the block that holds its output channel `channel`.
std::size_t slot(int channel, int vectors, int lanes, bool interleaved) {
  if (!interleaved) return static_cast<std::size_t>(channel);
  const int four = channel / 4, j = channel % 4;
  return static_cast<std::size_t>(four % vectors * lanes + four / vectors * 4 + j);
}

void split_blocks(ConvLayer& layer, int lanes, int most) {
  const int total = (layer.spec.out_channels + lanes - 1) / lanes;
  const int count = (total + most - 1) / most;
  int vector = 0;
  for (int b = 0; b < count; ++b) {
    ConvBlock block;
    block.vectors = layer.spec.depthwise ? most : total / count + (b < total % count);
    block.first = vector * lanes;
    block.channels = std::min(block.vectors * lanes, layer.spec.out_channels - block.first);
    vector += block.vectors;
    layer.blocks.push_back(block);
  }
}

// Where value k of a filter goes: its step and its place of four.
void place_int8(const ConvLayer& layer, const ConvBlock& block, const Shape& shape, std::int8_t* out) {
  const ConvSpec& s = layer.spec;
  const std::size_t row = std::size_t(block.vectors) * shape.lanes;
  for (int c = 0; c < block.channels; ++c) {
    const std::int8_t* w = s.weights + (block.first + c) * shape.per_filter;
    const std::size_t lane = slot(c, block.vectors, shape.lanes, shape.interleaved);
    for (std::size_t k = 0; k < shape.per_filter; ++k) out[(k / 4 * row + lane) * 4 + k % 4] = w[k];
  }
}

void place_real(const ConvLayer& layer, const ConvBlock& block, const Shape& shape, float* out) {
  const ConvSpec& s = layer.spec;
  const std::size_t row = std::size_t(block.vectors) * shape.lanes;
  for (int c = 0; c < block.channels; ++c) {
    const float* w = s.float_weights + (block.first + c) * shape.per_filter;
    const std::size_t lane = slot(c, block.vectors, shape.lanes, shape.interleaved);
    for (std::size_t k = 0; k < shape.per_filter; ++k) out[k * row + lane] = w[k];
  }
}

// The integer that the accumulator starts from, `shift` times the weights above what the formula says; throws if a sum
// could leave int32.
std::int32_t initial_sum(const ConvSpec& s, const Shape& shape, std::size_t channel, int shift) {
  const std::int8_t* w = s.weights + channel * shape.per_filter;
  std::int64_t sum = 0, above = 0, below = 0;
  for (std::size_t k = 0; k < shape.per_filter; ++k) {
    sum += w[k];
    (w[k] > 0 ? above : below) += 255 * std::int64_t{w[k]};
  }
  const std::int64_t start = (s.initial ? s.initial[channel] : 0) - s.input_zero * sum;
  if (start + above > INT32_MAX || start + below < INT32_MIN || start > INT32_MAX || start < INT32_MIN)
    refuse("sums of output channel " + std::to_string(channel) + " leave int32");
  if (s.output == Number::u8 && !s.silu) {
    const double most = double(std::max(std::llabs(start + above), std::llabs(start + below)));
    if (most * std::fabs(double(s.scale[channel])) + std::fabs(s.bias ? double(s.bias[channel]) : 0.0) > kLargest)
      refuse("results of output channel " + std::to_string(channel) + " leave int32: scale too large");
  }
  // The kernels' sums wrap around: where theirs start, and pass, may lie outside int32, if only they end inside.
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(start + shift * sum));
}

void place_groups(ConvLayer& layer, const ConvBlock& block, const Shape& shape, std::size_t groups, int shift) {
  const ConvSpec& s = layer.spec;
  const std::size_t row = std::size_t(block.vectors) * shape.lanes;
  for (int c = 0; c < block.channels; ++c) {
    const std::size_t channel = std::size_t(block.first + c);
    const std::size_t lane = slot(c, block.vectors, shape.lanes, shape.interleaved);
    const std::int8_t* w = s.weights + channel * shape.per_filter;
    double most = 0;
    for (std::size_t g = 0; g < groups; ++g) {
      int sum = 0, size = 0;
      for (std::size_t k = g * s.group; k < std::min((g + 1) * s.group, shape.per_filter); ++k) {
        sum += w[k];
        size += std::abs(int{w[k]});
      }
      const float scale = s.group_scale[channel * groups + g];
      if (!std::isfinite(scale)) refuse("group scales must be finite");
      most += std::fabs(double(scale)) * 255 * size;
      layer.group_scale.as<float>()[block.groups + g * row + lane] = scale;
      layer.group_initial.as<std::int32_t>()[block.groups + g * row + lane] = (shift - s.input_zero) * sum;
    }
    if (s.output == Number::u8 && !s.silu &&
        most * 1.001 * std::fabs(double(s.scale[channel])) + std::fabs(s.bias ? double(s.bias[channel]) : 0.0) >
            kLargest)
      refuse("results of output channel " + std::to_string(channel) + " leave int32: scale too large");
  }
}

void chain_blocks(ConvLayer& layer, const Shape& shape) {
  const std::size_t group = layer.spec.group != 0 ? std::size_t(layer.spec.group) / 4 : shape.steps;
  std::vector<std::int8_t> weights;
  for (ConvBlock& block : layer.blocks) {
    const std::int8_t* whole = layer.weights.as<std::int8_t>() + block.weights;
    const std::size_t lanes = std::size_t(shape.lanes), row = block.vectors * lanes;
    block.weights = weights.size();
    block.chains = layer.chains.size();
    block.chain_steps = layer.chain_steps.size();
    // With groups, all vectors of a block have the same chains, else each its own.
    const std::size_t together = layer.spec.group != 0 ? row : lanes;
    for (std::size_t lane = 0; lane < row; lane += together) {
      const Chains made = chain(whole + lane * 4, row * 4, shape.steps, together, group);
      layer.chains.insert(layer.chains.end(), made.counts.begin(), made.counts.end());
      layer.chain_steps.insert(layer.chain_steps.end(), made.steps.begin(), made.steps.end());
      weights.insert(weights.end(), made.weights.begin(), made.weights.end());
    }
  }
  layer.weights = Packed(weights.size());
  std::copy(weights.begin(), weights.end(), layer.weights.as<std::int8_t>());
}

}  // namespace

void Packed::Free::operator()(std::uint8_t* data) const { ::operator delete[](data, std::align_val_t{kAlign}); }

Packed::Packed(std::size_t bytes) : bytes_(bytes) {
  const std::size_t whole = (bytes + kAlign - 1) / kAlign * kAlign;
  data_.reset(static_cast<std::uint8_t*>(::operator new[](std::max(whole, kAlign), std::align_val_t{kAlign})));
  std::memset(data_.get(), 0, std::max(whole, kAlign));
}

std::size_t ConvLayer::bytes() const {
  return weights.bytes() + initial.bytes() + scale.bytes() + bias.bytes() + inverse.bytes() + group_scale.bytes() +
         group_initial.bytes() + table.bytes() + 4 * (chains.size() + chain_steps.size());
}

Planes split_in_planes(const float* weights, int out_channels, std::size_t values) {
  Planes planes;
  planes.weights.resize(2 * values * out_channels);
  planes.scales.resize(2 * std::size_t(out_channels));
  for (int c = 0; c < out_channels; ++c) {
    const float* from = weights + c * values;
    float largest = 0;
    for (std::size_t k = 0; k < values; ++k) largest = std::max(largest, std::fabs(from[k]));
    const float step = largest / 16319.0f;
    planes.scales[2 * c] = 128.0f * step;
    planes.scales[2 * c + 1] = step;
    std::int8_t* high = planes.weights.data() + 2 * c * values;
    for (std::size_t k = 0; k < values; ++k) {
      const double whole = step > 0 ? std::nearbyint(double(from[k]) / step) : 0.0;
      const double upper = std::max(-127.0, std::min(127.0, std::nearbyint(whole / 128)));
      high[k] = static_cast<std::int8_t>(upper);
      high[values + k] = static_cast<std::int8_t>(std::max(-64.0, std::min(64.0, whole - 128 * upper)));
    }
  }
  return planes;
}

ConvLayer pack(const ConvSpec& spec, const ConvKernels& kernels) {
  check_numbers(spec);
  ConvLayer layer;
  layer.spec = spec;
  layer.kernels = &kernels;
  Shape shape;
  shape.taps = std::size_t(spec.kernel_h) * spec.kernel_w;
  shape.per_filter = shape.taps * (spec.depthwise ? 1 : spec.in_channels) * spec.planes;
  shape.real = spec.float_weights != nullptr;
  shape.lanes = kernels.lanes;
  shape.interleaved = spec.depthwise ? !shape.real : spec.output != Number::f32;
  shape.steps = shape.real ? shape.per_filter : (shape.per_filter + 3) / 4;
  layer.quads = shape.steps;
  split_blocks(layer, kernels.lanes,
               spec.depthwise ? kMaxVectors
               : shape.real   ? kernels.float_vectors
               : spec.group   ? kernels.grouped_vectors
                              : kernels.int8_vectors);

  const std::size_t groups = spec.group ? (shape.per_filter + spec.group - 1) / spec.group : 0;
  std::size_t weights = 0, rows = 0, group_rows = 0;
  for (ConvBlock& block : layer.blocks) {
    const std::size_t row = std::size_t(block.vectors) * shape.lanes;
    block.weights = weights;
    block.rows = rows;
    block.groups = group_rows;
    weights += shape.steps * row * 4;
    rows += row;
    group_rows += groups * row;
  }
  const int shift = kernels.signed_inputs ? 128 : 0;
  layer.weights = Packed(weights);
  layer.bias = Packed(rows * 4);
  layer.inverse = Packed(rows * 4);
  if (!shape.real) layer.scale = Packed(rows * 4);
  if (groups) {
    layer.group_scale = Packed(group_rows * 4);
    layer.group_initial = Packed(group_rows * 4);
  } else if (!shape.real) {
    layer.initial = Packed(rows * 4);
  }
  for (const ConvBlock& block : layer.blocks) {
    for (int c = 0; c < block.channels; ++c) {
      const std::size_t channel = std::size_t(block.first + c);
      const std::size_t at = block.rows + slot(c, block.vectors, shape.lanes, shape.interleaved);
      layer.bias.as<float>()[at] = spec.bias ? spec.bias[channel] : 0.0f;
      if (!std::isfinite(layer.bias.as<float>()[at])) refuse("biases must be finite");
      layer.inverse.as<float>()[at] = spec.factor ? spec.inverse_scale * spec.factor[channel] : spec.inverse_scale;
      if (!std::isfinite(layer.inverse.as<float>()[at])) refuse("factors must be finite");
      if (shape.real) continue;
      layer.scale.as<float>()[at] = spec.scale[channel];
      if (!std::isfinite(spec.scale[channel])) refuse("scales must be finite");
      if (!groups) layer.initial.as<std::int32_t>()[at] = initial_sum(spec, shape, channel, spec.depthwise ? 0 : shift);
    }
    std::uint8_t* out = layer.weights.as<std::uint8_t>() + block.weights;
    if (shape.real) place_real(layer, block, shape, reinterpret_cast<float*>(out));
    else place_int8(layer, block, shape, reinterpret_cast<std::int8_t*>(out));
    if (groups) place_groups(layer, block, shape, groups, shift);
  }
  if (kernels.chains && !shape.real && !spec.depthwise) chain_blocks(layer, shape);
  if (spec.table != nullptr) {
    layer.table = Packed(256);
    std::memcpy(layer.table.as<std::uint8_t>(), spec.table, 256);
    layer.has_table = true;
  }
  layer.spec.weights = nullptr;
  layer.spec.float_weights = layer.spec.group_scale = layer.spec.scale = layer.spec.bias = nullptr;
  layer.spec.initial = nullptr;
  layer.spec.factor = nullptr;
  layer.spec.table = nullptr;
  return layer;
}

}  // namespace wutdet::engine
