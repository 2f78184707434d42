// Operators that move values and compute none, and those that make constants.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/engine/operators.h"

namespace wutdet::engine {
namespace {

// The same values in the same order.
Prepared same_values(const Spec& from, Dims dims) {
  if (element_count(dims) != element_count(from.dims))
    throw ModelFault(text_of(from.dims) + " cannot become " + text_of(dims));
  return {{{from.type, std::move(dims)}}, [](const Inputs& in, Outputs& out) {
            std::memcpy(out[0].bytes.get(), in[0]->bytes.get(), out[0].size_bytes());
          }};
}

// The result, of `dims`, reads its element (i, j, ...) from `first` + i * strides[0] + j * strides[1] + ...
Prepared strided(const Spec& from, Dims dims, std::vector<std::int64_t> strides, std::int64_t first = 0) {
  const auto width = static_cast<std::int64_t>(size_of(from.type));
  return {{{from.type, dims}}, [dims, strides, first, width](const Inputs& in, Outputs& out) {
            copy_strided(in[0]->bytes.get() + first * width, dims, strides, static_cast<std::size_t>(width),
                         out[0].bytes.get());
          }};
}

// A result that is known already.
Prepared known(Tensor tensor) {
  return {{{tensor.type, tensor.dims}}, [tensor](const Inputs&, Outputs& out) {
            if (tensor.size_bytes()) std::memcpy(out[0].bytes.get(), tensor.bytes.get(), tensor.size_bytes());
          }};
}

template <typename Value>
Tensor tensor_of(DataType type, const std::vector<Value>& values) {
  Tensor tensor = Tensor::make(type, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.data<Value>());
  return tensor;
}

Prepared constant(const Operands& of) {
  of.allow_only({0}, 1);
  if (const Attribute* value = of.node().find("value"); value && value->tensor) return known(*value->tensor);
  if (of.has_attribute("value_ints")) return known(tensor_of(DataType::I64, of.integer_list("value_ints")));
  if (of.has_attribute("value_int") || of.has_attribute("value_float")) {
    const bool whole = of.has_attribute("value_int");
    Tensor tensor = Tensor::make(whole ? DataType::I64 : DataType::F32, {});
    if (whole) *tensor.data<std::int64_t>() = of.integer("value_int", 0);
    else *tensor.data<float>() = of.real("value_float", 0);
    return known(tensor);
  }
  throw ModelFault("none of value, value_int, value_ints, value_float is given");
}

Prepared constant_of_shape(const Operands& of) {
  of.allow_only({1}, 1);
  const Dims dims = of.integers(0, "the shape");
  Tensor value = Tensor::make(DataType::F32, {1});
  *value.data<float>() = 0;
  if (const Attribute* given = of.node().find("value")) {
    if (!given->tensor || given->tensor->size() != 1) throw ModelFault("its value must be one number");
    value = *given->tensor;
  }
  checked_bytes(value.type, dims, of.limits());
  return {{{value.type, dims}}, [value, dims](const Inputs&, Outputs& out) {
            copy_strided(value.bytes.get(), dims, std::vector<std::int64_t>(dims.size(), 0), size_of(value.type),
                         out[0].bytes.get());
          }};
}

Prepared shape(const Operands& of) {
  of.allow_only({1}, 1);
  const Dims dims = of.data(0).dims;
  const auto axes = static_cast<std::int64_t>(dims.size());
  const auto clipped = [&](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + axes : at, 0, axes); };
  const std::int64_t begin = clipped(of.integer("start", 0)), end = clipped(of.integer("end", axes));
  return known(tensor_of(DataType::I64, Dims(dims.begin() + begin, dims.begin() + std::max(begin, end))));
}

Prepared range(const Operands& of) {
  of.allow_only({3}, 1);
  std::int64_t values[3];
  for (std::size_t i = 0; i < 3; ++i) {
    const std::vector<std::int64_t> number = of.integers(i, "a bound");
    constexpr std::int64_t most = std::int64_t{1} << 40;
    if (number.size() != 1 || number[0] > most || number[0] < -most)
      throw ModelFault("its bounds must be moderate integers");
    values[i] = number[0];
  }
  const DataType type = of.data(0).type;
  if (type != DataType::I64) throw ModelFault("only int64 is supported");
  const auto [start, limit, delta] = values;
  if (delta == 0) throw ModelFault("a step of 0");
  const std::int64_t span = delta > 0 ? limit - start : start - limit, step = std::abs(delta);
  const std::int64_t count = span <= 0 ? 0 : (span + step - 1) / step;
  checked_bytes(type, {count}, of.limits());
  return {{{type, {count}}}, [start = start, delta = delta](const Inputs&, Outputs& out) {
            for (std::size_t i = 0; i < out[0].size(); ++i)
              out[0].data<std::int64_t>()[i] = start + static_cast<std::int64_t>(i) * delta;
          }};
}

Prepared identity(const Operands& of) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0);
  return same_values(x, x.dims);
}

Prepared reshape(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec x = of.data(0);
  Dims dims = of.integers(1, "the shape");
  std::size_t open = dims.size(), rest = element_count(x.dims);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && of.integer("allowzero", 0) == 0 && i < x.dims.size()) dims[i] = x.dims[i];
    if (dims[i] == -1 && open == dims.size()) {
      open = i;
      continue;
    }
    if (dims[i] < 1) throw ModelFault("a shape with " + std::to_string(dims[i]) + " at axis " + std::to_string(i));
    const auto size = static_cast<std::size_t>(dims[i]);
    if (rest % size != 0) throw ModelFault(text_of(x.dims) + " cannot become " + text_of(dims));
    rest /= size;
  }
  if (open < dims.size()) dims[open] = static_cast<std::int64_t>(rest);
  else if (rest != 1) throw ModelFault(text_of(x.dims) + " cannot become " + text_of(dims));
  return same_values(x, std::move(dims));
}

Prepared flatten(const Operands& of) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0);
  const auto axes = static_cast<std::int64_t>(x.dims.size());
  std::int64_t axis = of.integer("axis", 1);
  if (axis < -axes || axis > axes) throw ModelFault("no axis " + std::to_string(axis));
  if (axis < 0) axis += axes;
  const Dims before(x.dims.begin(), x.dims.begin() + axis), behind(x.dims.begin() + axis, x.dims.end());
  return same_values(x, {static_cast<std::int64_t>(element_count(before)),
                         static_cast<std::int64_t>(element_count(behind))});
}

// Which axes are named; each may be named once.
std::vector<bool> marked(const std::vector<std::int64_t>& axes, std::size_t count) {
  std::vector<bool> out(count, false);
  for (const std::int64_t axis : axes) {
    const std::size_t at = axis_of(axis, count);
    if (out[at]) throw ModelFault("axis " + std::to_string(axis) + " is given twice");
    out[at] = true;
  }
  return out;
}

Prepared unsqueeze(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec x = of.data(0);
  const std::vector<std::int64_t> axes = of.integers(1, "axes");
  const std::vector<bool> added = marked(axes, x.dims.size() + axes.size());
  Dims dims;
  auto next = x.dims.begin();
  for (const bool is_new : added) dims.push_back(is_new ? 1 : *next++);
  return same_values(x, std::move(dims));
}

Prepared squeeze(const Operands& of) {
  of.allow_only({1, 2}, 1);
  const Spec x = of.data(0);
  const bool given = of.has(1);
  const std::vector<bool> named =
      given ? marked(of.integers(1, "axes"), x.dims.size()) : std::vector<bool>(x.dims.size(), false);
  Dims dims;
  for (std::size_t axis = 0; axis < x.dims.size(); ++axis) {
    const bool leaves = given ? named[axis] : x.dims[axis] == 1;
    if (leaves && x.dims[axis] != 1) throw ModelFault("axis " + std::to_string(axis) + " is not 1");
    if (!leaves) dims.push_back(x.dims[axis]);
  }
  return same_values(x, std::move(dims));
}

Prepared transpose(const Operands& of) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0);
  std::vector<std::int64_t> order(x.dims.size());
  std::iota(order.rbegin(), order.rend(), 0);
  if (of.has_attribute("perm")) order = of.integer_list("perm");
  if (order.size() != x.dims.size()) throw ModelFault("perm has " + std::to_string(order.size()) + " axes");
  marked(order, order.size());
  const auto strides = strides_of(x.dims);
  Dims dims;
  std::vector<std::int64_t> moved;
  for (const std::int64_t axis : order) {
    dims.push_back(x.dims[axis_of(axis, order.size())]);
    moved.push_back(strides[axis_of(axis, order.size())]);
  }
  return strided(x, std::move(dims), std::move(moved));
}

Prepared expand(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec x = of.data(0);
  Dims wanted = of.integers(1, "the shape");
  const std::size_t axes = std::max(wanted.size(), x.dims.size()), skipped = axes - x.dims.size();
  wanted.insert(wanted.begin(), axes - wanted.size(), 1);
  const auto strides = strides_of(x.dims);
  std::vector<std::int64_t> spread(axes, 0);
  for (std::size_t axis = skipped; axis < axes; ++axis) {
    const std::int64_t size = x.dims[axis - skipped];
    if (size != 1 && wanted[axis] != 1 && wanted[axis] != size)
      throw ModelFault(text_of(x.dims) + " cannot become " + text_of(wanted));
    if (size != 1) {
      wanted[axis] = size;
      spread[axis] = strides[axis - skipped];
    }
  }
  return strided(x, std::move(wanted), std::move(spread));
}

Prepared tile(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec x = of.data(0);
  const std::vector<std::int64_t> repeats = of.integers(1, "repeats");
  if (repeats.size() != x.dims.size()) throw ModelFault(std::to_string(repeats.size()) + " repeats");
  const auto strides = strides_of(x.dims);
  Dims dims, pairs;  // an axis and its repetition, in this order
  std::vector<std::int64_t> steps;
  for (std::size_t axis = 0; axis < repeats.size(); ++axis) {
    if (repeats[axis] < 1 || repeats[axis] > std::numeric_limits<std::int32_t>::max())
      throw ModelFault(std::to_string(repeats[axis]) + " repeats");
    dims.push_back(static_cast<std::int64_t>(product(static_cast<std::uint64_t>(x.dims[axis]),
                                                     static_cast<std::uint64_t>(repeats[axis]))));
    pairs.insert(pairs.end(), {repeats[axis], x.dims[axis]});
    steps.insert(steps.end(), {0, strides[axis]});
  }
  checked_bytes(x.type, dims, of.limits());
  Prepared out = strided(x, std::move(pairs), std::move(steps));
  out.outputs[0].dims = std::move(dims);
  return out;
}

Prepared slice(const Operands& of) {
  of.allow_only({3, 4, 5}, 1);
  const Spec x = of.data(0);
  const std::vector<std::int64_t> starts = of.integers(1, "starts"), ends = of.integers(2, "ends");
  std::vector<std::int64_t> axes(starts.size()), steps(starts.size(), 1);
  std::iota(axes.begin(), axes.end(), 0);
  if (of.has(3)) axes = of.integers(3, "axes");
  if (of.has(4)) steps = of.integers(4, "steps");
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    throw ModelFault("starts, ends, axes and steps differ in length");
  marked(axes, x.dims.size());
  Dims dims = x.dims;
  std::vector<std::int64_t> strides = strides_of(x.dims);
  std::int64_t first = 0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const std::size_t axis = axis_of(axes[i], x.dims.size());
    const std::int64_t size = x.dims[axis], step = steps[i];
    if (step == 0 || step < -INT32_MAX || step > INT32_MAX) throw ModelFault("a step of " + std::to_string(step));
    const auto from_end = [&](std::int64_t at) { return at < 0 ? at + size : at; };
    const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const std::int64_t begin = std::clamp<std::int64_t>(from_end(starts[i]), 0, high);
    const std::int64_t end = std::clamp(from_end(ends[i]), low, high + (step > 0 ? 0 : 1));
    const std::int64_t span = step > 0 ? end - begin : begin - end, stride = std::abs(step);
    dims[axis] = span <= 0 ? 0 : (span + stride - 1) / stride;
    first += begin * strides[axis];
    strides[axis] *= step;
  }
  return strided(x, std::move(dims), std::move(strides), first);
}

Prepared concat(const Operands& of) {
  if (of.count() < 1) throw ModelFault("nothing to put together");
  const Spec head = of.data(0);
  const std::size_t axis = axis_of(of.integer("axis", 0), head.dims.size());
  Dims dims = head.dims;
  for (std::size_t i = 1; i < of.count(); ++i) {
    const Spec part = of.data(i, head.type);
    Dims fitting = part.dims;
    if (fitting.size() == dims.size()) fitting[axis] = head.dims[axis];
    if (fitting != head.dims)
      throw ModelFault("input " + std::to_string(i) + " is " + text_of(part.dims) + ", the first " +
                       text_of(head.dims));
    dims[axis] += part.dims[axis];
  }
  const std::size_t rows = element_count(Dims(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(axis)));
  return {{{head.type, dims}}, [rows](const Inputs& in, Outputs& out) {
            const std::size_t row_bytes = out[0].size_bytes() / rows;
            std::size_t at = 0;
            for (const Tensor* part : in) {
              const std::size_t bytes = part->size_bytes() / rows;
              for (std::size_t row = 0; row < rows; ++row)
                std::memcpy(out[0].bytes.get() + row * row_bytes + at, part->bytes.get() + row * bytes, bytes);
              at += bytes;
            }
          }};
}

Prepared split(const Operands& of) {
  const std::size_t parts = of.node().outputs.size();
  of.allow_only({1, 2}, parts);
  const Spec x = of.data(0);
  const std::size_t axis = axis_of(of.integer("axis", 0), x.dims.size());
  std::vector<std::int64_t> lengths;
  if (of.has(1)) {
    lengths = of.integers(1, "the lengths");
  } else {
    const auto count = of.integer("num_outputs", static_cast<std::int64_t>(parts)), size = x.dims[axis];
    if (count != static_cast<std::int64_t>(parts) || count > size)
      throw ModelFault(std::to_string(size) + " cannot become " + std::to_string(count) + " parts");
    const std::int64_t each = (size + count - 1) / count;  // the last one is shorter where it does not divide
    lengths.assign(parts, each);
    lengths.back() = size - each * (count - 1);
  }
  std::int64_t left = x.dims[axis];
  for (const std::int64_t length : lengths) {
    if (length < 1 || length > left) throw ModelFault("parts do not fit axis " + std::to_string(axis));
    left -= length;
  }
  if (lengths.size() != parts || left != 0) throw ModelFault("parts do not fit axis " + std::to_string(axis));
  Prepared out;
  for (const std::int64_t length : lengths) {
    out.outputs.push_back(x);
    out.outputs.back().dims[axis] = length;
  }
  const auto strides = strides_of(x.dims);
  const std::size_t width = size_of(x.type);
  out.run = [strides, axis, width](const Inputs& in, Outputs& results) {
    const std::byte* from = in[0]->bytes.get();
    for (Tensor& part : results) {
      copy_strided(from, part.dims, strides, width, part.bytes.get());
      from += static_cast<std::size_t>(part.dims[axis] * strides[axis]) * width;
    }
  };
  return out;
}

// Indices of an axis, which may count from its end. Data decides, so they are looked at in every run.
std::int64_t index_at(const Tensor& indices, std::size_t at, std::int64_t size) {
  const std::int64_t index =
      indices.type == DataType::I64 ? indices.data<std::int64_t>()[at] : indices.data<std::int32_t>()[at];
  if (index < -size || index >= size)
    throw ModelFault("index " + std::to_string(index) + " of an axis of " + std::to_string(size));
  return index < 0 ? index + size : index;
}

Spec indices_of(const Operands& of) {
  Spec indices = of.data(1);
  if (indices.type != DataType::I64 && indices.type != DataType::I32)
    throw ModelFault(std::string("indices are ") + name_of(indices.type));
  return indices;
}

Prepared gather(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec x = of.data(0), indices = indices_of(of);
  const std::size_t axis = axis_of(of.integer("axis", 0), x.dims.size());
  const auto at = x.dims.begin() + static_cast<std::ptrdiff_t>(axis);
  Dims dims(x.dims.begin(), at);
  const std::size_t rows = element_count(dims), block = element_count(Dims(at + 1, x.dims.end())) * size_of(x.type);
  dims.insert(dims.end(), indices.dims.begin(), indices.dims.end());
  dims.insert(dims.end(), at + 1, x.dims.end());
  return {{{x.type, dims}}, [rows, block, size = *at](const Inputs& in, Outputs& out) {
            std::byte* to = out[0].bytes.get();
            for (std::size_t row = 0; row < rows; ++row)
              for (std::size_t i = 0, count = in[1]->size(); i < count; ++i, to += block) {
                const auto index = static_cast<std::size_t>(index_at(*in[1], i, size));
                std::memcpy(to, in[0]->bytes.get() + (row * static_cast<std::size_t>(size) + index) * block, block);
              }
          }};
}

Prepared gather_elements(const Operands& of) {
  of.allow_only({2}, 1);
  const Spec x = of.data(0), indices = indices_of(of);
  const std::size_t axis = axis_of(of.integer("axis", 0), x.dims.size());
  bool fits = indices.dims.size() == x.dims.size();
  for (std::size_t i = 0; fits && i < x.dims.size(); ++i) fits = i == axis || indices.dims[i] <= x.dims[i];
  if (!fits) throw ModelFault("indices are " + text_of(indices.dims) + ", the data " + text_of(x.dims));
  const auto strides = strides_of(x.dims);
  return {{{x.type, indices.dims}}, [strides, axis](const Inputs& in, Outputs& out) {
            const Dims& dims = in[1]->dims;
            const std::size_t width = size_of(in[0]->type);
            Dims index(dims.size(), 0);
            for (std::size_t i = 0, count = in[1]->size(); i < count; ++i) {
              std::int64_t from = 0;
              for (std::size_t j = 0; j < dims.size(); ++j)
                from += strides[j] * (j == axis ? index_at(*in[1], i, in[0]->dims[axis]) : index[j]);
              std::memcpy(out[0].bytes.get() + i * width, in[0]->bytes.get() + static_cast<std::size_t>(from) * width,
                          width);
              for (std::size_t j = dims.size(); j-- > 0;) {
                if (++index[j] < dims[j]) break;
                index[j] = 0;
              }
            }
          }};
}

constexpr struct {
  const char* op;
  Prepare prepare;
} kMoving[] = {
    {"Concat", concat},
    {"Constant", constant},
    {"ConstantOfShape", constant_of_shape},
    {"Expand", expand},
    {"Flatten", flatten},
    {"Gather", gather},
    {"GatherElements", gather_elements},
    {"Identity", identity},
    {"Range", range},
    {"Reshape", reshape},
    {"Shape", shape},
    {"Slice", slice},
    {"Split", split},
    {"Squeeze", squeeze},
    {"Tile", tile},
    {"Transpose", transpose},
    {"Unsqueeze", unsqueeze},
};

}  // namespace

Prepare find_moving(const std::string& op) {
  for (const auto& entry : kMoving)
    if (op == entry.op) return entry.prepare;
  return nullptr;
}

}  // namespace wutdet::engine
