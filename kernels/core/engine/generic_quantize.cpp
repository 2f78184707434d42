// QuantizeLinear and DequantizeLinear, per tensor and per channel.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/engine/operators.h"

namespace wutdet::engine {
namespace {

// How scales lie along the values: value i has scale (i / inner) % channels.
struct Channels {
  std::size_t count, inner;
};

// Checks the scale (input 1) and the zero point (input 2) against values of `dims`.
Channels channels_of(const Operands& of, const Dims& dims, DataType zero_type) {
  if (of.integer("block_size", 0) != 0) throw ModelFault("block_size is not supported");
  const Spec scale = of.data(1, DataType::F32);
  const bool whole = element_count(scale.dims) == 1 && scale.dims.size() <= 1;
  Channels out{1, element_count(dims)};
  if (!whole) {
    const std::size_t axis = axis_of(of.integer("axis", 1), dims.size());
    if (scale.dims != Dims{dims[axis]})
      throw ModelFault("scales are " + text_of(scale.dims) + ", the values " + text_of(dims));
    out = {static_cast<std::size_t>(dims[axis]),
           element_count(Dims(dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1, dims.end()))};
  }
  if (of.has(2) && element_count(of.data(2, zero_type).dims) != out.count)
    throw ModelFault("there are not as many zero points as scales");
  return out;
}

// Calls `each(i, scale, zero)` for every value.
template <typename Code, typename Each>
void for_values(const Inputs& in, const Channels& channels, std::size_t count, Each each) {
  const float* scale = in[1]->data<float>();
  const Code* zero = in.size() > 2 && in[2] ? in[2]->data<Code>() : nullptr;
  for (std::size_t begin = 0, channel = 0; begin < count; begin += channels.inner, ++channel) {
    const std::size_t at = channel % channels.count;
    const Code shift = zero ? zero[at] : Code{0};
    for (std::size_t i = begin; i < begin + channels.inner; ++i) each(i, scale[at], shift);
  }
}

template <typename Code>
Kernel quantize_to(Channels channels) {
  return [channels](const Inputs& in, Outputs& out) {
    const float* x = in[0]->data<float>();
    Code* to = out[0].data<Code>();
    constexpr auto low = static_cast<float>(std::numeric_limits<Code>::min());
    constexpr auto high = static_cast<float>(std::numeric_limits<Code>::max());
    for_values<Code>(in, channels, out[0].size(), [&](std::size_t i, float scale, Code zero) {
      const float code = std::nearbyint(x[i] / scale) + static_cast<float>(zero);
      to[i] = static_cast<Code>(std::clamp(code == code ? code : static_cast<float>(zero), low, high));  // NaN: as 0
    });
  };
}

Prepared quantize(const Operands& of) {
  of.allow_only({2, 3}, 1);
  const Spec x = of.data(0, DataType::F32);
  if (of.integer("output_dtype", 0) != 0 || of.integer("precision", 0) != 0)
    throw ModelFault("output_dtype and precision are not supported");
  const DataType type = of.has(2) ? of.data(2).type : DataType::U8;
  const Channels channels = channels_of(of, x.dims, type);
  if (type == DataType::U8) return {{{type, x.dims}}, quantize_to<std::uint8_t>(channels)};
  if (type == DataType::I8) return {{{type, x.dims}}, quantize_to<std::int8_t>(channels)};
  throw ModelFault(std::string("codes of type ") + name_of(type) + " are not supported");
}

template <typename Code>
Kernel dequantize_from(Channels channels) {
  return [channels](const Inputs& in, Outputs& out) {
    const Code* code = in[0]->data<Code>();
    float* to = out[0].data<float>();
    for_values<Code>(in, channels, out[0].size(), [&](std::size_t i, float scale, Code zero) {
      const std::int64_t steps = static_cast<std::int64_t>(code[i]) - static_cast<std::int64_t>(zero);
      to[i] = static_cast<float>(steps) * scale;
    });
  };
}

Prepared dequantize(const Operands& of) {
  of.allow_only({2, 3}, 1);
  const Spec x = of.data(0);
  const Channels channels = channels_of(of, x.dims, x.type);
  const Spec out{DataType::F32, x.dims};
  switch (x.type) {
    case DataType::U8: return {{out}, dequantize_from<std::uint8_t>(channels)};
    case DataType::I8: return {{out}, dequantize_from<std::int8_t>(channels)};
    case DataType::I32: return {{out}, dequantize_from<std::int32_t>(channels)};
    default: throw ModelFault(std::string("codes of type ") + name_of(x.type) + " are not supported");
  }
}

}  // namespace

Prepare find_quantize(const std::string& op) {
  if (op == "QuantizeLinear") return quantize;
  if (op == "DequantizeLinear") return dequantize;
  return nullptr;
}

}  // namespace wutdet::engine
