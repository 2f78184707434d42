// Operators along an axis: Softmax, ReduceMax, TopK.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/engine/operators.h"

namespace wutdet::engine {
namespace {

// An axis as three nested loops.
struct Lines {
  std::size_t outer, length, inner;
};

Lines lines_along(const Dims& dims, std::size_t axis) {
  const auto at = dims.begin() + static_cast<std::ptrdiff_t>(axis);
  return {element_count(Dims(dims.begin(), at)), static_cast<std::size_t>(*at), element_count(Dims(at + 1, dims.end()))};
}

Prepared softmax(const Operands& of) {
  of.allow_only({1}, 1);
  const Spec x = of.data(0, DataType::F32);
  const Lines lines = lines_along(x.dims, axis_of(of.integer("axis", -1), x.dims.size()));
  return {{x}, [lines](const Inputs& in, Outputs& out) {
            for (std::size_t i = 0; i < lines.outer * lines.inner; ++i) {
              const std::size_t first = i / lines.inner * lines.length * lines.inner + i % lines.inner;
              const float* from = in[0]->data<float>() + first;
              float* to = out[0].data<float>() + first;
              float peak = from[0], sum = 0;
              for (std::size_t k = 1; k < lines.length; ++k) peak = std::max(peak, from[k * lines.inner]);
              for (std::size_t k = 0; k < lines.length; ++k) sum += to[k * lines.inner] = std::exp(from[k * lines.inner] - peak);
              for (std::size_t k = 0; k < lines.length; ++k) to[k * lines.inner] /= sum;
            }
          }};
}

template <typename Value>
void reduce_max(const Tensor& in, const std::vector<std::int64_t>& strides, Tensor& out) {
  const Value* from = in.data<Value>();
  Value* to = out.data<Value>();
  std::vector<bool> begun(out.size(), false);
  Dims index(in.dims.size(), 0);
  for (std::size_t i = 0, count = in.size(); i < count; ++i) {
    std::int64_t at = 0;
    for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * strides[axis];
    const auto target = static_cast<std::size_t>(at);
    to[target] = begun[target] ? std::max(to[target], from[i]) : from[i];
    begun[target] = true;
    for (std::size_t axis = index.size(); axis-- > 0;) {
      if (++index[axis] < in.dims[axis]) break;
      index[axis] = 0;
    }
  }
}

Prepared reduce_max_of(const Operands& of) {
  of.allow_only({1, 2}, 1);
  const Spec x = of.data(0);
  const std::vector<std::int64_t> axes = of.has(1) ? of.integers(1, "axes") : of.integer_list("axes");
  if (axes.empty() && of.integer("noop_with_empty_axes", 0) != 0)
    throw ModelFault("noop_with_empty_axes is not supported");
  std::vector<bool> reduced(x.dims.size(), axes.empty());
  for (const std::int64_t axis : axes) reduced[axis_of(axis, x.dims.size())] = true;
  const bool keep = of.integer("keepdims", 1) != 0;
  Dims dims, kept;
  for (std::size_t axis = 0; axis < x.dims.size(); ++axis) {
    kept.push_back(reduced[axis] ? 1 : x.dims[axis]);
    if (keep || !reduced[axis]) dims.push_back(kept.back());
  }
  std::vector<std::int64_t> strides = strides_of(kept);
  for (std::size_t axis = 0; axis < strides.size(); ++axis)
    if (reduced[axis]) strides[axis] = 0;
  Kernel kernel;
  switch (x.type) {
    case DataType::F32: kernel = [strides](auto& in, auto& out) { reduce_max<float>(*in[0], strides, out[0]); }; break;
    case DataType::I32: kernel = [strides](auto& in, auto& out) { reduce_max<std::int32_t>(*in[0], strides, out[0]); }; break;
    case DataType::I64: kernel = [strides](auto& in, auto& out) { reduce_max<std::int64_t>(*in[0], strides, out[0]); }; break;
    default: throw ModelFault(std::string("values of type ") + name_of(x.type) + " are not supported");
  }
  Prepared out{{{x.type, dims}}, std::move(kernel)};
  out.work = element_count(x.dims);
  return out;
}

// Best first; of equal values the one with the lower index. NaN counts as larger than all numbers.
template <typename Value>
bool before(Value a, std::size_t at_a, Value b, std::size_t at_b, bool largest) {
  const bool nan_a = !(a == a), nan_b = !(b == b);
  if (nan_a != nan_b) return nan_a == largest;
  if (nan_a || a == b) return at_a < at_b;
  return largest ? a > b : a < b;
}

template <typename Value>
void top_k(const Tensor& in, const Lines& lines, std::size_t k, bool largest, Outputs& out) {
  std::vector<std::size_t> order(lines.length);
  for (std::size_t i = 0; i < lines.outer * lines.inner; ++i) {
    const std::size_t row = i / lines.inner, column = i % lines.inner;
    const Value* from = in.data<Value>() + row * lines.length * lines.inner + column;
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                      [&](std::size_t a, std::size_t b) {
                        return before(from[a * lines.inner], a, from[b * lines.inner], b, largest);
                      });
    for (std::size_t j = 0; j < k; ++j) {
      const std::size_t to = (row * k + j) * lines.inner + column;
      out[0].data<Value>()[to] = from[order[j] * lines.inner];
      if (out.size() > 1) out[1].data<std::int64_t>()[to] = static_cast<std::int64_t>(order[j]);
    }
  }
}

constexpr std::int64_t kLongestSorted = 1 << 24;  // sorting takes 8 bytes a value

Prepared top_k_of(const Operands& of) {
  of.allow_only({2}, 2);
  const Spec x = of.data(0);
  const std::size_t axis = axis_of(of.integer("axis", -1), x.dims.size());
  const std::vector<std::int64_t> k = of.integers(1, "k");
  if (k.size() != 1 || k[0] < 1 || k[0] > x.dims[axis])
    throw ModelFault("k must be one number from 1 to " + std::to_string(x.dims[axis]));
  if (x.dims[axis] > kLongestSorted) throw ModelFault("an axis of " + std::to_string(x.dims[axis]) + " is too long");
  Dims dims = x.dims;
  dims[axis] = k[0];
  // "sorted" = 0 allows any order; sorted is one of them.
  const Lines lines = lines_along(x.dims, axis);
  const auto best = static_cast<std::size_t>(k[0]);
  const bool largest = of.integer("largest", 1) != 0;
  Prepared out;
  out.outputs = {{x.type, dims}};
  if (of.node().outputs.size() > 1) out.outputs.push_back({DataType::I64, dims});
  switch (x.type) {
    case DataType::F32: out.run = [=](auto& in, auto& to) { top_k<float>(*in[0], lines, best, largest, to); }; break;
    case DataType::I32: out.run = [=](auto& in, auto& to) { top_k<std::int32_t>(*in[0], lines, best, largest, to); }; break;
    case DataType::I64: out.run = [=](auto& in, auto& to) { top_k<std::int64_t>(*in[0], lines, best, largest, to); }; break;
    default: throw ModelFault(std::string("values of type ") + name_of(x.type) + " are not supported");
  }
  out.work = product(element_count(x.dims), 8);
  return out;
}

}  // namespace

Prepare find_reduction(const std::string& op) {
  if (op == "Softmax") return softmax;
  if (op == "ReduceMax") return reduce_max_of;
  if (op == "TopK") return top_k_of;
  return nullptr;
}

}  // namespace wutdet::engine
