#include "core/engine/prepare.h"

#include <algorithm>

#include "core/engine/onnx_reader.h"

namespace wutdet::engine {
namespace {

Value& value_at(Graph& graph, int index) { return graph.values[static_cast<std::size_t>(index)]; }

bool foldable(const Graph& graph, const Node& node, Fold fold) {
  if (fold == Fold::KeepWeights && (node.op == "DequantizeLinear" || node.domain == kLowbitDomain)) return false;
  if (node.domain.empty() && node.op == "Shape") return true;  // sizes are known, whatever the values are
  return std::all_of(node.inputs.begin(), node.inputs.end(), [&](int input) {
    return input == kAbsent || graph.values[static_cast<std::size_t>(input)].constant;
  });
}

// Nodes that no output depends on.
std::vector<bool> needed_nodes(const Graph& graph) {
  std::vector<bool> value_needed(graph.values.size(), false), node_needed(graph.nodes.size(), false);
  for (const int output : graph.outputs) value_needed[static_cast<std::size_t>(output)] = true;
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    for (const int output : node.outputs)
      if (output != kAbsent && value_needed[static_cast<std::size_t>(output)]) node_needed[i] = true;
    if (!node_needed[i]) continue;
    for (const int input : node.inputs)
      if (input != kAbsent) value_needed[static_cast<std::size_t>(input)] = true;
  }
  return node_needed;
}

// Keeps the marked nodes and makes producers and consumers right again.
void keep_nodes(Graph& graph, const std::vector<bool>& kept) {
  std::vector<Node> nodes;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (kept[i]) nodes.push_back(std::move(graph.nodes[i]));
  graph.nodes = std::move(nodes);
  for (Value& value : graph.values) {
    value.producer = -1;
    value.consumers.clear();
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const int index = static_cast<int>(i);
    for (const int output : graph.nodes[i].outputs)
      if (output != kAbsent) value_at(graph, output).producer = index;
    for (const int input : graph.nodes[i].inputs) {
      if (input == kAbsent) continue;
      auto& consumers = value_at(graph, input).consumers;
      if (consumers.empty() || consumers.back() != index) consumers.push_back(index);
    }
  }
}

class Budget {
 public:
  explicit Budget(const Limits& limits) : bytes_(limits.folded_bytes), work_(limits.folded_work) {}

  void spend(const Prepared& prepared) {
    for (const Spec& spec : prepared.outputs) {
      const std::size_t bytes = element_count(spec.dims) * size_of(spec.type);
      if (bytes > bytes_) throw ModelFault("constants that are computed at load take too much memory");
      bytes_ -= bytes;
    }
    if (prepared.work > work_) throw ModelFault("constants that are computed at load take too long");
    work_ -= prepared.work;
  }

 private:
  std::size_t bytes_;
  std::uint64_t work_;
};

}  // namespace

std::vector<Prepared> prepare(Graph& graph, const Limits& limits, Fold fold) {
  keep_nodes(graph, needed_nodes(graph));
  std::vector<Prepared> steps;
  std::vector<bool> kept(graph.nodes.size(), true);
  Budget budget(limits);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    Prepared prepared = prepare_node(graph, node, limits);
    for (std::size_t j = 0; j < node.outputs.size(); ++j) {
      if (node.outputs[j] == kAbsent) continue;
      Value& value = value_at(graph, node.outputs[j]);
      value.type = prepared.outputs[j].type;
      value.dims = prepared.outputs[j].dims;
    }
    if (!foldable(graph, node, fold)) {
      steps.push_back(std::move(prepared));
      continue;
    }
    kept[i] = false;
    try {
      budget.spend(prepared);
      Inputs inputs;
      for (const int input : node.inputs)
        inputs.push_back(input == kAbsent || !value_at(graph, input).constant ? nullptr
                                                                              : &*value_at(graph, input).constant);
      Outputs results;
      for (const Spec& spec : prepared.outputs) results.push_back(Tensor::make(spec.type, spec.dims));
      prepared.run(inputs, results);
      for (std::size_t j = 0; j < node.outputs.size(); ++j)
        if (node.outputs[j] != kAbsent) value_at(graph, node.outputs[j]).constant = std::move(results[j]);
    } catch (const ModelFault& fault) {
      throw ModelFault("node '" + printable(node.name) + "' (" + printable(node.op) + "): " + fault.what());
    }
  }
  keep_nodes(graph, kept);
  std::vector<bool> wanted(graph.values.size(), false);
  for (const int output : graph.outputs) wanted[static_cast<std::size_t>(output)] = true;
  for (std::size_t i = 0; i < graph.values.size(); ++i)
    if (graph.values[i].consumers.empty() && !wanted[i]) graph.values[i].constant.reset();
  return steps;
}

}  // namespace wutdet::engine
