// Weights of convolutions: codes where integers can be computed with, else floats.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/engine/lower.h"
#include "core/engine/onnx_reader.h"
#include "core/engine/packed_weight.h"

namespace wutdet::engine {
namespace {

// [O, I, H, W] to [O, H, W, I].
template <typename Value>
std::vector<Value> channels_last(const Value* from, const Dims& dims) {
  const auto outputs = static_cast<std::size_t>(dims[0]), inputs = static_cast<std::size_t>(dims[1]),
             taps = static_cast<std::size_t>(dims[2] * dims[3]);
  std::vector<Value> to(outputs * inputs * taps);
  for (std::size_t o = 0; o < outputs; ++o)
    for (std::size_t i = 0; i < inputs; ++i)
      for (std::size_t t = 0; t < taps; ++t) to[(o * taps + t) * inputs + i] = from[(o * inputs + i) * taps + t];
  return to;
}

// The smallest step of a format's elements, as a share of its scale; all its values are whole multiples.
float step_of(PackedWeight::Format format) {
  switch (format) {
    case PackedWeight::Format::HiF4: return 0.25f;
    case PackedWeight::Format::MXFP4:
    case PackedWeight::Format::NVFP4:
    case PackedWeight::Format::NVFP4TorchAO: return 0.5f;
    default: return 1.0f;
  }
}

// Float scales of all groups, [out][groups], of whole steps.
std::vector<float> group_scales(const PackedWeight& weight) {
  std::vector<float> scales(weight.outputs * weight.groups);
  if (weight.format == PackedWeight::Format::Int4 || weight.format == PackedWeight::Format::Int8) {
    for (std::size_t i = 0; i < scales.size(); ++i)
      scales[i] = weight.scales.data<float>()[weight.scale_rows == 1 ? i % weight.groups : i];
    return scales;
  }
  const std::uint8_t* codes = weight.scales.data<std::uint8_t>();
  const float step = step_of(weight.format);
  for (std::size_t i = 0; i < scales.size(); ++i) {
    switch (weight.format) {
      case PackedWeight::Format::HiF4: {
        const int code = codes[4 * i];
        scales[i] = code == 0xFF ? NAN : std::ldexp(1.0f + 0.25f * static_cast<float>(code % 4), code / 4 - 48);
        break;
      }
      case PackedWeight::Format::MXFP4: scales[i] = codes[i] == 0xFF ? NAN : std::ldexp(1.0f, codes[i] - 127); break;
      default: {  // E4M3
        const int exponent = codes[i] >> 3, mantissa = codes[i] & 7;
        const float value = exponent ? std::ldexp(8.0f + static_cast<float>(mantissa), exponent - 10)
                                     : std::ldexp(static_cast<float>(mantissa), -9);
        scales[i] = codes[i] == 0x7F ? NAN : value * weight.tensor_scale;
      }
    }
    scales[i] *= step;
  }
  return scales;
}

// Folds group scales that are powers of two times one scale of the channel into the codes, where they stay within
// 8 bits. True if that could be done for every channel: the codes are then as exact as they were.
bool fold(std::vector<std::int8_t>& codes, const std::vector<float>& group_scale, std::size_t outputs,
          std::size_t columns, std::size_t group, std::size_t groups, std::vector<float>& scale) {
  std::vector<std::int8_t> folded(codes.size());
  std::vector<float> folded_scale = scale;
  for (std::size_t o = 0; o < outputs; ++o) {
    float smallest = 0;
    for (std::size_t g = 0; g < groups; ++g) {
      const std::size_t end = std::min(columns, (g + 1) * group);
      const bool empty = std::all_of(&codes[o * columns + g * group], &codes[o * columns] + end,
                                     [](std::int8_t code) { return code == 0; });
      const float s = group_scale[o * groups + g];
      if (!empty && (smallest == 0 || s < smallest)) smallest = s;
    }
    if (smallest == 0) smallest = 1;
    for (std::size_t i = 0; i < columns; ++i) {
      const std::size_t at = o * columns + i;
      if (codes[at] == 0) continue;
      const float times = group_scale[o * groups + i / group] / smallest;
      int exponent = 0;
      if (std::frexp(times, &exponent) != 0.5f || times > 127.0f) return false;
      const float code = static_cast<float>(codes[at]) * times;
      if (std::fabs(code) > 127.0f) return false;
      folded[at] = static_cast<std::int8_t>(code);
    }
    folded_scale[o] *= smallest;
  }
  codes = std::move(folded);
  scale = std::move(folded_scale);
  return true;
}

std::optional<ConvWeights> packed_codes(const PackedWeight& weight) {
  using Format = PackedWeight::Format;
  if (weight.format == Format::HiF8 || weight.zero_points.bytes) return std::nullopt;
  ConvWeights out;
  std::vector<float> values(weight.outputs * weight.columns);
  decode_rows(weight, values.data());
  const std::size_t group = std::min(weight.group, weight.columns);
  const std::vector<float> scales = group_scales(weight);
  out.codes.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = i / weight.columns, column = i % weight.columns;
    const float s = scales[row * weight.groups + column / group];
    const float code = s == 0 ? 0.0f : std::nearbyint(values[i] / s);
    if (!(std::fabs(code) <= 127.0f)) return std::nullopt;  // NaN as well
    out.codes[i] = static_cast<std::int8_t>(code);
  }
  out.scale.assign(weight.channel_scale.data<float>(), weight.channel_scale.data<float>() + weight.outputs);
  if (fold(out.codes, scales, weight.outputs, weight.columns, group, weight.groups, out.scale)) return out;
  if (group != 16 && group != 32 && group != 64) return std::nullopt;
  out.group = static_cast<int>(group);
  out.group_scale = scales;
  return out;
}

}  // namespace

std::optional<ConvWeights> Lowering::integer_weights(int value, bool depthwise) const {
  const int producer = graph_.values[value].producer;
  if (producer < 0) return std::nullopt;
  const Node& node = graph_.nodes[producer];
  if (node.domain == kLowbitDomain) {
    if (depthwise) return std::nullopt;
    return packed_codes(read_packed_weight(Operands(graph_, node, limits_)));
  }
  if (node.op != "DequantizeLinear" || !fixed(node.input(0)) || !fixed(node.input(1))) return std::nullopt;
  const Tensor& codes = *graph_.values[node.input(0)].constant;
  const Tensor& scale = *graph_.values[node.input(1)].constant;
  const auto outputs = static_cast<std::size_t>(codes.dims[0]);
  if (codes.type != DataType::I8 || codes.dims.size() != 4) return std::nullopt;
  if (scale.size() != 1 && (scale.size() != outputs || integer(node, "axis", 1) != 0)) return std::nullopt;
  if (node.input(2) != kAbsent) {
    if (!fixed(node.input(2))) return std::nullopt;
    const Tensor& zero = *graph_.values[node.input(2)].constant;
    if (zero.type != DataType::I8 ||
        std::any_of(zero.data<std::int8_t>(), zero.data<std::int8_t>() + zero.size(), [](int z) { return z != 0; }))
      return std::nullopt;
  }
  ConvWeights out;
  out.codes = channels_last(codes.data<std::int8_t>(), codes.dims);  // of depthwise ones: the same order
  out.scale.resize(outputs);
  for (std::size_t o = 0; o < outputs; ++o) out.scale[o] = scale.data<float>()[scale.size() == 1 ? 0 : o];
  return out;
}

std::vector<float> Lowering::float_weights(int value) const {
  const Tensor& weights = *graph_.values[value].constant;
  return channels_last(weights.data<float>(), weights.dims);
}

}  // namespace wutdet::engine
