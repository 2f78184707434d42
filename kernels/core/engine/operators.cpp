#include "core/engine/operators.h"

#include <algorithm>
#include <cstring>

#include "core/engine/onnx_reader.h"

namespace wutdet::engine {
namespace {

constexpr std::size_t kMostIntegers = 64;

template <std::size_t bytes>
void copy_rows(const std::byte* from, const Dims& dims, const std::vector<std::int64_t>& strides, std::byte* to) {
  const std::size_t axes = dims.size();
  const std::int64_t count = axes ? dims[axes - 1] : 1, step = axes ? strides[axes - 1] : 1;
  std::vector<std::int64_t> index(axes, 0);
  const std::size_t total = element_count(dims);
  constexpr auto width = static_cast<std::int64_t>(bytes);
  for (std::size_t done = 0; done < total; done += static_cast<std::size_t>(count)) {
    std::int64_t at = 0;
    for (std::size_t axis = 0; axis + 1 < axes; ++axis) at += index[axis] * strides[axis];
    if (step == 1) {
      std::memcpy(to, from + at * width, static_cast<std::size_t>(count) * bytes);
    } else {
      for (std::int64_t i = 0; i < count; ++i) std::memcpy(to + i * width, from + (at + i * step) * width, bytes);
    }
    to += count * width;
    for (std::size_t axis = axes > 1 ? axes - 1 : 0; axis-- > 0;) {
      if (++index[axis] < dims[axis]) break;
      index[axis] = 0;
    }
  }
}

Prepare find_operator(const Node& node) {
  if (node.domain == kLowbitDomain) return find_lowbit(node.op);
  if (!node.domain.empty()) return nullptr;
  for (const auto find : {find_elementwise, find_moving, find_window, find_reduction, find_quantize})
    if (const Prepare prepare = find(node.op)) return prepare;
  return nullptr;
}

}  // namespace

const Value& Operands::value(std::size_t index) const {
  if (!has(index)) throw ModelFault("input " + std::to_string(index) + " is missing");
  return graph_.values[static_cast<std::size_t>(node_.inputs[index])];
}

Spec Operands::data(std::size_t index) const {
  const Value& found = value(index);
  if (element_count(found.dims) == 0) throw ModelFault("input " + std::to_string(index) + " is empty");
  return {found.type, found.dims};
}

Spec Operands::data(std::size_t index, DataType type) const {
  Spec found = data(index);
  if (found.type != type)
    throw ModelFault("input " + std::to_string(index) + " is " + name_of(found.type) + ", expected " + name_of(type));
  return found;
}

const Tensor& Operands::constant(std::size_t index, const char* what) const {
  const Value& found = value(index);
  if (!found.constant) throw ModelFault(std::string(what) + " is computed by the graph; it must be constant");
  return *found.constant;
}

std::vector<std::int64_t> Operands::integers(std::size_t index, const char* what) const {
  const Tensor& tensor = constant(index, what);
  if ((tensor.type != DataType::I64 && tensor.type != DataType::I32) || tensor.dims.size() > 1 ||
      tensor.size() > kMostIntegers)
    throw ModelFault(std::string(what) + " is " + name_of(tensor.type) + " " + text_of(tensor.dims) +
                     ", expected a few integers");
  std::vector<std::int64_t> out(tensor.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = tensor.type == DataType::I64 ? tensor.data<std::int64_t>()[i] : tensor.data<std::int32_t>()[i];
  return out;
}

const Attribute* Operands::attribute(const char* name, Attribute::Kind kind) const {
  const Attribute* found = node_.find(name);
  if (found && found->kind != kind) throw ModelFault(std::string("attribute '") + name + "' has another type");
  return found;
}

std::int64_t Operands::integer(const char* name, std::int64_t otherwise) const {
  const Attribute* found = attribute(name, Attribute::Kind::Int);
  return found ? found->i : otherwise;
}

float Operands::real(const char* name, float otherwise) const {
  const Attribute* found = attribute(name, Attribute::Kind::Float);
  return found ? found->f : otherwise;
}

std::string Operands::text(const char* name, const char* otherwise) const {
  const Attribute* found = attribute(name, Attribute::Kind::String);
  return found ? found->s : otherwise;
}

std::vector<std::int64_t> Operands::integer_list(const char* name) const {
  const Attribute* found = attribute(name, Attribute::Kind::Ints);
  if (found && found->ints.size() > kMostIntegers) throw ModelFault(std::string("attribute '") + name + "' is too long");
  return found ? found->ints : std::vector<std::int64_t>{};
}

void Operands::allow_only(std::initializer_list<std::size_t> counts_of_inputs, std::size_t outputs) const {
  if (std::find(counts_of_inputs.begin(), counts_of_inputs.end(), count()) == counts_of_inputs.end())
    throw ModelFault("it has " + std::to_string(count()) + " inputs");
  if (node_.outputs.size() > outputs) throw ModelFault("it has " + std::to_string(node_.outputs.size()) + " outputs");
}

std::size_t axis_of(std::int64_t axis, std::size_t axes) {
  const auto count = static_cast<std::int64_t>(axes);
  if (axis < -count || axis >= count)
    throw ModelFault("axis " + std::to_string(axis) + " of a tensor with " + std::to_string(axes) + " axes");
  return static_cast<std::size_t>(axis < 0 ? axis + count : axis);
}

std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

std::vector<std::int64_t> strides_of(const Dims& dims) {
  std::vector<std::int64_t> strides(dims.size(), 1);
  for (std::size_t axis = dims.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * dims[axis];
  return strides;
}

void copy_strided(const std::byte* from, const Dims& dims, const std::vector<std::int64_t>& strides, std::size_t bytes,
                  std::byte* to) {
  switch (bytes) {
    case 1: return copy_rows<1>(from, dims, strides, to);
    case 4: return copy_rows<4>(from, dims, strides, to);
    default: return copy_rows<8>(from, dims, strides, to);
  }
}

Prepared prepare_node(const Graph& graph, const Node& node, const Limits& limits) {
  const std::string kind = node.domain.empty() ? node.op : node.domain + "." + node.op;
  const std::string called = "node '" + printable(node.name) + "' (" + printable(kind) + "): ";
  const Prepare prepare = find_operator(node);
  if (!prepare) throw ModelFault(called + "the operator is not supported");
  try {
    Prepared out = prepare(Operands(graph, node, limits));
    if (node.outputs.size() != out.outputs.size())
      throw ModelFault("it has " + std::to_string(node.outputs.size()) + " outputs");
    std::uint64_t values = 1;
    for (const Spec& spec : out.outputs) {
      checked_bytes(spec.type, spec.dims, limits);
      values += element_count(spec.dims);
      if (element_count(spec.dims) == 0 && !node.inputs.empty()) throw ModelFault("its result is empty");
    }
    out.work = std::max(out.work, values);
    return out;
  } catch (const ModelFault& fault) {
    throw ModelFault(called + fault.what());
  }
}

}  // namespace wutdet::engine
