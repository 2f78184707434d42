#include "core/engine/generic.h"

#include <algorithm>
#include <cstring>

#include "core/engine/prepare.h"

namespace wutdet::engine {
namespace {

std::size_t bytes_of(const Spec& spec) { return element_count(spec.dims) * size_of(spec.type); }

}  // namespace

Interpreter::Interpreter(Graph graph, const Limits& limits)
    : graph_(std::move(graph)), steps_(prepare(graph_, limits)), released_(steps_.size()) {
  std::vector<bool> kept(graph_.values.size(), false);
  for (const int output : graph_.outputs) kept[static_cast<std::size_t>(output)] = true;
  for (std::size_t i = 0; i < graph_.values.size(); ++i) {
    const Value& value = graph_.values[i];
    if (kept[i] || value.producer < 0) continue;
    const int last = value.consumers.empty() ? value.producer : value.consumers.back();
    released_[static_cast<std::size_t>(last)].push_back(static_cast<int>(i));
  }
  std::size_t living = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    for (const Spec& spec : steps_[i].outputs) living += bytes_of(spec);
    working_bytes_ = std::max(working_bytes_, living);
    if (living > limits.working_bytes)
      throw ModelFault("a run takes more than " + std::to_string(limits.working_bytes) + " bytes");
    for (const int index : released_[i]) {
      const Value& value = graph_.values[static_cast<std::size_t>(index)];
      living -= element_count(value.dims) * size_of(value.type);
    }
  }
}

std::vector<Tensor> Interpreter::run(const std::vector<Tensor>& inputs) const {
  if (inputs.size() != graph_.inputs.size())
    throw ModelFault(std::to_string(inputs.size()) + " inputs, the model has " + std::to_string(graph_.inputs.size()));
  std::vector<Tensor> values(graph_.values.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Value& wanted = graph_.values[static_cast<std::size_t>(graph_.inputs[i])];
    if (inputs[i].type != wanted.type || inputs[i].dims != wanted.dims)
      throw ModelFault("input '" + printable(wanted.name) + "' must be " + name_of(wanted.type) + " " +
                       text_of(wanted.dims) + ", received " + name_of(inputs[i].type) + " " + text_of(inputs[i].dims));
    values[static_cast<std::size_t>(graph_.inputs[i])] = inputs[i];
  }
  const auto tensor_at = [&](int index) -> const Tensor& {
    const Value& value = graph_.values[static_cast<std::size_t>(index)];
    return value.constant ? *value.constant : values[static_cast<std::size_t>(index)];
  };
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Node& node = graph_.nodes[i];
    Inputs operands;
    for (const int input : node.inputs) operands.push_back(input == kAbsent ? nullptr : &tensor_at(input));
    Outputs results;
    for (const Spec& spec : steps_[i].outputs) results.push_back(Tensor::make(spec.type, spec.dims));
    try {
      steps_[i].run(operands, results);
    } catch (const ModelFault& fault) {
      throw ModelFault("node '" + printable(node.name) + "' (" + printable(node.op) + "): " + fault.what());
    }
    for (std::size_t j = 0; j < node.outputs.size(); ++j)
      if (node.outputs[j] != kAbsent) values[static_cast<std::size_t>(node.outputs[j])] = std::move(results[j]);
    for (const int index : released_[i]) values[static_cast<std::size_t>(index)] = {};
  }
  std::vector<Tensor> outputs;
  for (const int index : graph_.outputs) {
    const Tensor& result = tensor_at(index);
    const Value& value = graph_.values[static_cast<std::size_t>(index)];
    if (value.producer >= 0 && std::count(graph_.outputs.begin(), graph_.outputs.end(), index) == 1) {
      outputs.push_back(result);
      continue;
    }
    // A constant or an input, or asked for twice: the caller gets memory of its own.
    outputs.push_back(Tensor::make(result.type, result.dims));
    if (result.size_bytes()) std::memcpy(outputs.back().bytes.get(), result.bytes.get(), result.size_bytes());
  }
  return outputs;
}

std::uint64_t Interpreter::work() const {
  std::uint64_t total = 0;
  for (const Prepared& step : steps_) total = step.work > UINT64_MAX - total ? UINT64_MAX : total + step.work;
  return total;
}

}  // namespace wutdet::engine
