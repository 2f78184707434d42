// Functions of one byte: what lies between a quantised value and the next one that depends on nothing else.
#include <algorithm>
#include <set>

#include "core/engine/lower.h"

namespace wutdet::engine {
namespace {

// Operators that work on each value for itself, so that 256 of them tell everything.
bool by_value(const std::string& op) {
  static const std::set<std::string> names{
      "Sigmoid", "Mul", "Add", "Sub", "Div", "Relu", "LeakyRelu", "Identity", "QuantizeLinear", "DequantizeLinear"};
  return names.count(op) > 0;
}

// One code per element, in a shape that broadcasts with scalars only.
const Dims kAllCodes{1, 1, 16, 16};

}  // namespace

std::optional<Lowering::ByteFunction> Lowering::byte_function(int codes) const {
  std::set<int> known{codes}, open;  // values; nodes that take known values and are not absorbed yet
  const auto open_consumers = [&](int value) {
    for (const int node : graph_.values[value].consumers) open.insert(node);
  };
  open_consumers(codes);
  if (is_output(codes)) return std::nullopt;
  ByteFunction found;
  Graph small;  // the same values, one element per code
  constexpr std::size_t most_nodes = 16;
  while (!open.empty() && found.nodes.size() < most_nodes) {
    // In the order of computation, so that what a node needs is known when it is looked at.
    const int index = *open.begin();
    open.erase(open.begin());
    const Node& node = graph_.nodes[index];
    if (done_[index] || !node.domain.empty() || !by_value(node.op) || node.outputs.size() != 1) return std::nullopt;
    for (const int value : node.inputs) {
      if (value == kAbsent || known.count(value)) continue;
      if (!fixed(value) || graph_.values[value].constant->size() != 1 || dims(value).size() > 1) return std::nullopt;
    }
    const int result = node.outputs[0];
    if (is_output(result)) return std::nullopt;
    found.nodes.push_back(index);
    known.insert(result);
    if (node.op == "QuantizeLinear" && open.empty()) {
      const std::optional<Quant> quant = quant_of(node);
      if (!quant) return std::nullopt;
      found.result = result;
      found.quant = *quant;
      break;
    }
    open_consumers(result);
  }
  if (found.nodes.empty() || graph_.nodes[found.nodes.back()].outputs[0] != found.result || found.nodes.size() < 2)
    return std::nullopt;

  small.opset = graph_.opset;
  small.values.resize(graph_.values.size());
  const auto take_over = [&](int value) {
    small.values[value].name = graph_.values[value].name;
    small.values[value].type = graph_.values[value].type;
    small.values[value].dims = known.count(value) ? kAllCodes : graph_.values[value].dims;
    if (!known.count(value)) small.values[value].constant = graph_.values[value].constant;
  };
  Tensor all = Tensor::make(DataType::U8, kAllCodes);
  for (int q = 0; q < 256; ++q) all.data<std::uint8_t>()[q] = static_cast<std::uint8_t>(q);
  take_over(codes);
  small.values[codes].constant = all;
  for (const int index : found.nodes) {
    const Node& node = graph_.nodes[index];
    Inputs inputs;
    for (const int value : node.inputs) {
      if (value != kAbsent && !small.values[value].constant) take_over(value);
      inputs.push_back(value == kAbsent ? nullptr : &*small.values[value].constant);
    }
    const Prepared prepared = prepare_node(small, node, limits_);
    Outputs results{Tensor::make(prepared.outputs[0].type, prepared.outputs[0].dims)};
    if (results[0].dims != kAllCodes) return std::nullopt;
    prepared.run(inputs, results);
    take_over(node.outputs[0]);
    small.values[node.outputs[0]].constant = results[0];
  }
  const Tensor& result = *small.values[found.result].constant;
  if (result.type != DataType::U8) return std::nullopt;
  std::copy_n(result.data<std::uint8_t>(), 256, found.table.begin());
  return found;
}

}  // namespace wutdet::engine
