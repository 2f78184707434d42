// Operators by name. An operator is prepared once, when every size is known: its attributes and operands are checked
// there, and what comes out is the types and sizes of its results and a function that computes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/engine/graph.h"

namespace wutdet::engine {

struct Spec {
  DataType type;
  Dims dims;
};

using Inputs = std::vector<const Tensor*>;  // null where an operand is left out
using Outputs = std::vector<Tensor>;        // made by the caller, of the prepared types and sizes
using Kernel = std::function<void(const Inputs&, Outputs&)>;

struct Prepared {
  std::vector<Spec> outputs;  // as many as the node has, those without a name included
  Kernel run;              // may throw ModelFault where data decides (an index out of range)
  std::uint64_t work = 0;  // about how many elementary steps a run takes; at least one per value where left at 0
};

// A node with its operands, as an operator sees it. What is wrong is thrown as ModelFault without the node's name.
class Operands {
 public:
  Operands(const Graph& graph, const Node& node, const Limits& limits) : graph_(graph), node_(node), limits_(limits) {}

  const Node& node() const { return node_; }
  const Limits& limits() const { return limits_; }
  std::int64_t opset() const { return graph_.opset; }
  std::size_t count() const { return node_.inputs.size(); }
  bool has(std::size_t index) const { return node_.input(index) != kAbsent; }

  // An operand that is computed on: present, with at least one element.
  Spec data(std::size_t index) const;
  Spec data(std::size_t index, DataType type) const;  // ... and of this type
  // An operand that must be constant.
  const Tensor& constant(std::size_t index, const char* what) const;
  // ... of integers, one axis or none: axes, sizes, repeats. At most 64.
  std::vector<std::int64_t> integers(std::size_t index, const char* what) const;

  std::int64_t integer(const char* name, std::int64_t otherwise) const;
  float real(const char* name, float otherwise) const;
  std::string text(const char* name, const char* otherwise) const;
  // Empty where there is no such attribute.
  std::vector<std::int64_t> integer_list(const char* name) const;
  bool has_attribute(const char* name) const { return node_.find(name) != nullptr; }
  void allow_only(std::initializer_list<std::size_t> counts_of_inputs, std::size_t outputs) const;

 private:
  const Value& value(std::size_t index) const;
  const Attribute* attribute(const char* name, Attribute::Kind kind) const;

  const Graph& graph_;
  const Node& node_;
  const Limits& limits_;
};

// Axis counted from the front; ModelFault where there is none.
std::size_t axis_of(std::int64_t axis, std::size_t axes);

// Multiplication and addition that stay at the largest number.
std::uint64_t product(std::uint64_t a, std::uint64_t b);

// Elements to step over per axis, rows last.
std::vector<std::int64_t> strides_of(const Dims& dims);

// Writes an array of `dims` densely to `to`, reading its element (i, j, ...) from i * strides[0] + j * strides[1] + ...
// elements behind `from`.
void copy_strided(const std::byte* from, const Dims& dims, const std::vector<std::int64_t>& strides, std::size_t bytes,
                  std::byte* to);

// Prepares a node. Throws ModelFault with its name: an unknown operator, wrong operands, sizes that do not fit.
Prepared prepare_node(const Graph& graph, const Node& node, const Limits& limits);

// The families, one file each: null where the operator is not among them.
using Prepare = Prepared (*)(const Operands&);
Prepare find_elementwise(const std::string& op);  // generic_elementwise.cpp
Prepare find_moving(const std::string& op);       // generic_moving.cpp: Reshape, Concat, Slice, Gather, ...
Prepare find_window(const std::string& op);       // generic_window.cpp: Conv, MatMul, MaxPool, Resize
Prepare find_reduction(const std::string& op);    // generic_reduction.cpp: Softmax, ReduceMax, TopK
Prepare find_quantize(const std::string& op);     // generic_quantize.cpp: QuantizeLinear, DequantizeLinear
Prepare find_lowbit(const std::string& op);       // generic_lowbit.cpp: functions of domain wutdet.lowbit

}  // namespace wutdet::engine
