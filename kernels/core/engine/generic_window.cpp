// Conv, MaxPool, Resize (nearest) and MatMul.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/engine/gemm.h"
#include "core/engine/operators.h"

namespace wutdet::engine {
namespace {

// What is moved over the two picture axes.
struct Window {
  std::int64_t size[2], stride[2], dilation[2], before[2], result[2];
};

void read_pair(const Operands& of, const char* name, std::int64_t lowest, std::int64_t (&out)[2]) {
  const std::vector<std::int64_t> given = of.integer_list(name);
  if (given.empty()) return;
  if (given.size() != 2) throw ModelFault(std::string(name) + " must have two numbers");
  for (std::size_t i = 0; i < 2; ++i) {
    if (given[i] < lowest || given[i] > (1 << 20)) throw ModelFault(std::string(name) + " " + std::to_string(given[i]));
    out[i] = given[i];
  }
}

Window window_of(const Operands& of, const Dims& x, const std::int64_t (&size)[2]) {
  if (x.size() != 4) throw ModelFault("only pictures [N, C, H, W] are supported, received " + text_of(x));
  const std::string padding = of.text("auto_pad", "NOTSET");
  if (padding != "NOTSET" && padding != "VALID") throw ModelFault("auto_pad " + printable(padding) + " is not supported");
  Window window{{size[0], size[1]}, {1, 1}, {1, 1}, {0, 0}, {0, 0}};
  read_pair(of, "strides", 1, window.stride);
  read_pair(of, "dilations", 1, window.dilation);
  std::vector<std::int64_t> pads = of.integer_list("pads");
  if (pads.empty() || padding == "VALID") pads = {0, 0, 0, 0};
  if (pads.size() != 4) throw ModelFault("pads must have four numbers");
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t behind = pads[i + 2], reach = (window.size[i] - 1) * window.dilation[i] + 1;
    window.before[i] = pads[i];
    if (std::min(pads[i], behind) < 0 || std::max(pads[i], behind) > (1 << 20))
      throw ModelFault("a padding of " + std::to_string(pads[i]) + " and " + std::to_string(behind));
    const std::int64_t room = x[i + 2] + pads[i] + behind - reach;
    if (room < 0) throw ModelFault("the kernel is larger than the picture with its padding");
    window.result[i] = room / window.stride[i] + 1;
  }
  return window;
}

// Copies what `columns` output positions from `first` on see of rows [begin, end) of (channel, tap row, tap column).
void gather_taps(const float* x, const Dims& dims, const Window& w, std::size_t begin, std::size_t end,
                 std::size_t first, std::size_t columns, float* to) {
  const std::int64_t height = dims[2], width = dims[3];
  std::int64_t rows[kPanel], places[kPanel];
  for (std::size_t j = 0; j < columns; ++j) {
    const auto at = static_cast<std::int64_t>(first + j);
    rows[j] = at / w.result[1] * w.stride[0] - w.before[0];
    places[j] = at % w.result[1] * w.stride[1] - w.before[1];
  }
  const std::int64_t taps = w.size[0] * w.size[1];
  for (std::size_t k = begin; k < end; ++k, to += kPanel) {
    const auto at = static_cast<std::int64_t>(k);
    const std::int64_t channel = at / taps, tap = at % taps;
    const std::int64_t down = tap / w.size[1] * w.dilation[0], right = tap % w.size[1] * w.dilation[1];
    const float* plane = x + channel * height * width;
    for (std::size_t j = 0; j < kPanel; ++j) {
      const bool inside = j < columns && rows[j] + down >= 0 && rows[j] + down < height && places[j] + right >= 0 &&
                          places[j] + right < width;
      to[j] = inside ? plane[(rows[j] + down) * width + places[j] + right] : 0.0f;
    }
  }
}

Prepared conv(const Operands& of) {
  of.allow_only({2, 3}, 1);
  const Spec x = of.data(0, DataType::F32), weight = of.data(1, DataType::F32);
  if (weight.dims.size() != 4) throw ModelFault("the weight is " + text_of(weight.dims) + ", expected four axes");
  const std::int64_t outputs = weight.dims[0], groups = of.integer("group", 1);
  std::int64_t size[2] = {weight.dims[2], weight.dims[3]};
  read_pair(of, "kernel_shape", 1, size);
  if (size[0] != weight.dims[2] || size[1] != weight.dims[3]) throw ModelFault("kernel_shape is not the weight's");
  const Window window = window_of(of, x.dims, size);
  if (groups < 1 || outputs % groups != 0 || x.dims[1] % groups != 0 || x.dims[1] / groups != weight.dims[1])
    throw ModelFault("a weight of " + text_of(weight.dims) + " in " + std::to_string(groups) +
                     " groups does not fit a picture of " + text_of(x.dims));
  if (of.has(2) && of.data(2, DataType::F32).dims != Dims{outputs}) throw ModelFault("the bias has another length");
  Prepared out;
  const Dims dims{x.dims[0], outputs, window.result[0], window.result[1]};
  checked_bytes(DataType::F32, dims, of.limits());
  out.outputs = {{DataType::F32, dims}};
  const std::size_t depth = element_count(weight.dims) / static_cast<std::size_t>(outputs);
  out.work = product(element_count(dims), depth);
  out.run = [window, groups, depth](const Inputs& in, Outputs& results) {
    const Dims &from = in[0]->dims, &to = results[0].dims;
    const auto columns = static_cast<std::size_t>(to[2] * to[3]);
    const auto rows = static_cast<std::size_t>(to[1] / groups);
    const float* bias = in.size() > 2 && in[2] ? in[2]->data<float>() : nullptr;
    float* result = results[0].data<float>();
    for (std::size_t i = 0, planes = element_count({to[0], to[1]}); i < planes; ++i)
      std::fill_n(result + i * columns, columns, bias ? bias[i % static_cast<std::size_t>(to[1])] : 0.0f);
    std::vector<float> scratch(std::min(depth, kDepth) * kPanel * kPanelsAtOnce);
    const std::int64_t plane = from[2] * from[3], channels = from[1] / groups;
    for (std::int64_t part = 0; part < from[0] * groups; ++part) {
      const float* picture = in[0]->data<float>() + part * channels * plane;
      const std::size_t group = static_cast<std::size_t>(part % groups);
      multiply_add(in[1]->data<float>() + group * rows * depth, rows, depth, columns,
                   result + static_cast<std::size_t>(part) * rows * columns, scratch.data(),
                   [&](std::size_t begin, std::size_t end, std::size_t first, std::size_t count, float* panel) {
                     gather_taps(picture, from, window, begin, end, first, count, panel);
                   });
    }
  };
  return out;
}

Prepared matmul(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec a = of.data(0, DataType::F32), b = of.data(1, DataType::F32);
  const std::size_t axes_a = a.dims.size(), axes_b = b.dims.size();
  if (axes_a < 2 || axes_b < 2 || a.dims[axes_a - 1] != b.dims[axes_b - 2])
    throw ModelFault("a product of " + text_of(a.dims) + " and " + text_of(b.dims));
  const std::size_t axes = std::max(axes_a, axes_b);
  // Matrices are counted along the leading axes; an operand that repeats along one steps by 0 there.
  const auto matrix_strides = [&](const Dims& dims) {
    std::vector<std::int64_t> strides(axes - 2, 0);
    std::int64_t step = 1;
    for (std::size_t axis = dims.size() - 2; axis-- > 0;) {
      if (dims[axis] != 1) strides[axis + axes - dims.size()] = step;
      step *= dims[axis];
    }
    return strides;
  };
  const auto leading = [&](const Dims& dims, std::size_t axis) {
    return axis + dims.size() < axes ? 1 : dims[axis + dims.size() - axes];
  };
  Dims batch;
  for (std::size_t axis = 0; axis + 2 < axes; ++axis) {
    const std::int64_t size_a = leading(a.dims, axis), size_b = leading(b.dims, axis);
    if (size_a != size_b && size_a != 1 && size_b != 1)
      throw ModelFault("a product of " + text_of(a.dims) + " and " + text_of(b.dims));
    batch.push_back(std::max(size_a, size_b));
  }
  const std::int64_t rows = a.dims[axes_a - 2], depth = a.dims[axes_a - 1], columns = b.dims[axes_b - 1];
  Dims dims = batch;
  dims.insert(dims.end(), {rows, columns});
  checked_bytes(DataType::F32, dims, of.limits());
  Prepared out;
  out.outputs = {{DataType::F32, dims}};
  out.work = product(element_count(dims), static_cast<std::uint64_t>(depth));
  out.run = [batch, steps_a = matrix_strides(a.dims), steps_b = matrix_strides(b.dims), rows, depth, columns](
                const Inputs& in, Outputs& results) {
    float* result = results[0].data<float>();
    std::fill_n(result, results[0].size(), 0.0f);
    std::vector<float> scratch(std::min(static_cast<std::size_t>(depth), kDepth) * kPanel * kPanelsAtOnce);
    Dims index(batch.size(), 0);
    for (std::size_t i = 0, count = element_count(batch); i < count; ++i) {
      std::int64_t at_a = 0, at_b = 0;
      for (std::size_t axis = 0; axis < batch.size(); ++axis) {
        at_a += index[axis] * steps_a[axis];
        at_b += index[axis] * steps_b[axis];
      }
      const float* second = in[1]->data<float>() + at_b * depth * columns;
      multiply_add(in[0]->data<float>() + at_a * rows * depth, static_cast<std::size_t>(rows),
                   static_cast<std::size_t>(depth), static_cast<std::size_t>(columns),
                   result + i * static_cast<std::size_t>(rows * columns), scratch.data(),
                   [&](std::size_t begin, std::size_t end, std::size_t first, std::size_t wide, float* panel) {
                     for (std::size_t k = begin; k < end; ++k, panel += kPanel) {
                       const float* from = second + k * static_cast<std::size_t>(columns) + first;
                       for (std::size_t j = 0; j < kPanel; ++j) panel[j] = j < wide ? from[j] : 0.0f;
                     }
                   });
      for (std::size_t axis = batch.size(); axis-- > 0;) {
        if (++index[axis] < batch[axis]) break;
        index[axis] = 0;
      }
    }
  };
  return out;
}

template <typename Value>
void pool_planes(const Tensor& in, const Window& w, Tensor& out) {
  const std::int64_t height = in.dims[2], width = in.dims[3];
  const Value* plane = in.data<Value>();
  Value* to = out.data<Value>();
  for (std::int64_t i = 0; i < in.dims[0] * in.dims[1]; ++i, plane += height * width)
    for (std::int64_t row = 0; row < w.result[0]; ++row)
      for (std::int64_t column = 0; column < w.result[1]; ++column) {
        const std::int64_t top = row * w.stride[0] - w.before[0], left = column * w.stride[1] - w.before[1];
        using Range = std::numeric_limits<Value>;
        Value best = Range::has_infinity ? -Range::infinity() : Range::lowest();
        for (std::int64_t y = std::max<std::int64_t>(top, 0); y < std::min(top + w.size[0], height); ++y)
          for (std::int64_t x = std::max<std::int64_t>(left, 0); x < std::min(left + w.size[1], width); ++x)
            best = std::max(best, plane[y * width + x]);
        *to++ = best;
      }
}

Prepared max_pool(const Operands& of) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0);
  std::int64_t size[2] = {0, 0};
  read_pair(of, "kernel_shape", 1, size);
  if (size[0] == 0) throw ModelFault("no kernel_shape");
  if (of.integer("ceil_mode", 0) != 0 || of.integer("storage_order", 0) != 0)
    throw ModelFault("ceil_mode and storage_order are not supported");
  const Window window = window_of(of, x.dims, size);
  for (std::size_t i = 0; i < 2; ++i) {
    // Every window then sees the picture.
    const std::int64_t last = (window.result[i] - 1) * window.stride[i] - window.before[i];
    if (window.dilation[i] != 1) throw ModelFault("dilations are not supported");
    if (window.before[i] >= window.size[i] || last >= x.dims[i + 2])
      throw ModelFault("its padding is as large as its kernel");
  }
  Prepared out;
  out.outputs = {{x.type, {x.dims[0], x.dims[1], window.result[0], window.result[1]}}};
  checked_bytes(x.type, out.outputs[0].dims, of.limits());
  out.work = product(element_count(out.outputs[0].dims),
                     static_cast<std::uint64_t>(std::min(size[0], x.dims[2]) * std::min(size[1], x.dims[3])));
  switch (x.type) {
    case DataType::F32: out.run = [window](auto& in, auto& to) { pool_planes<float>(*in[0], window, to[0]); }; break;
    case DataType::U8: out.run = [window](auto& in, auto& to) { pool_planes<std::uint8_t>(*in[0], window, to[0]); }; break;
    case DataType::I8: out.run = [window](auto& in, auto& to) { pool_planes<std::int8_t>(*in[0], window, to[0]); }; break;
    default: throw ModelFault(std::string("values of type ") + name_of(x.type) + " are not supported");
  }
  return out;
}

// Scales of Resize: given, or from the sizes. Result sizes in `dims`.
std::vector<float> scales_of(const Operands& of, const Dims& x, Dims& dims) {
  std::vector<float> scales(x.size());
  const bool by_scale = of.has(2) && of.constant(2, "the scales").size() != 0;
  if (by_scale == of.has(3)) throw ModelFault("either scales or sizes must be given");
  if (!by_scale) {
    dims = of.integers(3, "the sizes");
    if (dims.size() != x.size()) throw ModelFault(std::to_string(dims.size()) + " sizes");
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (dims[i] < 1 || dims[i] > INT32_MAX) throw ModelFault("a size of " + std::to_string(dims[i]));
      scales[i] = static_cast<float>(dims[i]) / static_cast<float>(x[i]);
    }
    return scales;
  }
  const Tensor& given = of.constant(2, "the scales");
  if (given.type != DataType::F32 || given.dims != Dims{static_cast<std::int64_t>(x.size())})
    throw ModelFault("scales are " + std::string(name_of(given.type)) + " " + text_of(given.dims));
  for (std::size_t i = 0; i < x.size(); ++i) {
    scales[i] = given.data<float>()[i];
    const float size = std::floor(static_cast<float>(x[i]) * scales[i]);
    if (!(scales[i] > 0) || !(size >= 1) || !(size < 2147483648.0f))
      throw ModelFault("a scale of " + std::to_string(scales[i]));
    dims.push_back(static_cast<std::int64_t>(size));
  }
  return scales;
}

constexpr std::int64_t kLongestAxis = 1 << 20;  // each index of an axis takes 8 bytes

Prepared resize(const Operands& of) {
  of.allow_only({3, 4}, 1);
  const Spec x = of.data(0);
  const std::string mode = of.text("mode", "nearest"), rounding = of.text("nearest_mode", "round_prefer_floor");
  if (x.dims.empty()) throw ModelFault("a scalar has no size");
  const std::string places = of.text("coordinate_transformation_mode", "half_pixel");
  if (mode != "nearest") throw ModelFault("mode " + printable(mode) + " is not supported; nearest is");
  if (places != "asymmetric" && places != "half_pixel")
    throw ModelFault("coordinate_transformation_mode " + printable(places) + " is not supported");
  if (rounding != "floor" && rounding != "ceil" && rounding != "round_prefer_floor" && rounding != "round_prefer_ceil")
    throw ModelFault("nearest_mode " + printable(rounding) + " is not supported");
  if (of.has_attribute("axes") || of.text("keep_aspect_ratio_policy", "stretch") != "stretch")
    throw ModelFault("axes and keep_aspect_ratio_policy are not supported");
  Dims dims;
  const std::vector<float> scales = scales_of(of, x.dims, dims);
  checked_bytes(x.type, dims, of.limits());
  if (*std::max_element(dims.begin(), dims.end()) > kLongestAxis) throw ModelFault("a result of " + text_of(dims));
  // Where each index of each axis comes from, in elements.
  const auto strides = strides_of(x.dims);
  std::vector<std::vector<std::int64_t>> source(dims.size());
  for (std::size_t axis = 0; axis < dims.size(); ++axis)
    for (std::int64_t i = 0; i < dims[axis]; ++i) {
      const auto at = static_cast<float>(i);
      const float place = dims[axis] == x.dims[axis]  ? at
                          : places == "asymmetric"    ? at / scales[axis]
                                                      : (at + 0.5f) / scales[axis] - 0.5f;
      float nearest = std::floor(place);
      if (rounding == "ceil") nearest = std::ceil(place);
      if (rounding == "round_prefer_floor") nearest = std::ceil(place - 0.5f);
      if (rounding == "round_prefer_ceil") nearest = std::floor(place + 0.5f);
      const auto last = static_cast<float>(x.dims[axis] - 1);
      const auto index = std::min(static_cast<std::int64_t>(std::clamp(nearest, 0.0f, last)), x.dims[axis] - 1);
      source[axis].push_back(index * strides[axis]);
    }
  const std::size_t width = size_of(x.type);
  return {{{x.type, dims}}, [source, width, dims](const Inputs& in, Outputs& out) {
            Dims index(dims.size(), 0);
            for (std::size_t i = 0, count = out[0].size(); i < count; ++i) {
              std::int64_t from = 0;
              for (std::size_t axis = 0; axis < dims.size(); ++axis)
                from += source[axis][static_cast<std::size_t>(index[axis])];
              std::memcpy(out[0].bytes.get() + i * width, in[0]->bytes.get() + static_cast<std::size_t>(from) * width,
                          width);
              for (std::size_t axis = dims.size(); axis-- > 0;) {
                if (++index[axis] < dims[axis]) break;
                index[axis] = 0;
              }
            }
          }};
}

}  // namespace

Prepare find_window(const std::string& op) {
  if (op == "Conv") return conv;
  if (op == "MatMul") return matmul;
  if (op == "MaxPool") return max_pool;
  if (op == "Resize") return resize;
  return nullptr;
}

}  // namespace wutdet::engine
