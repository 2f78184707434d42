// Concatenation of dense tensors: what is computed for it alone is computed where it will lie.
#include <algorithm>
#include <cstddef>

#include "core/engine/lower.h"

namespace wutdet::engine {

// The item that holds all values of `value` and nothing else, if these can be moved into another item.
std::optional<int> Lowering::movable_dense(int value) const {
  const int item = forms_[value].dense;
  if (item < 0) return std::nullopt;
  const Place place = place_of(plan_.items, item);
  const Item& root = plan_.items[place.item];
  const bool input = std::find(plan_.inputs.begin(), plan_.inputs.end(), place.item) != plan_.inputs.end();
  if (root.image || root.constant || input || place.channel != 0 ||
      element_count(root.dims) != element_count(dims(value)) || root.type != graph_.values[value].type)
    return std::nullopt;
  return place.item;
}

// The step that brings an image into `item`, of [channels, pixels] of which nothing else makes use.
Step* Lowering::sole_to_dense(int value, int item) {
  const int reshape = graph_.values[value].producer;
  if (only_consumer(value) < 0 || reshape < 0 || graph_.nodes[reshape].op != "Reshape") return nullptr;
  if (only_consumer(graph_.nodes[reshape].inputs[0]) != reshape) return nullptr;
  for (Step& step : plan_.steps)
    if (step.kind == StepKind::to_dense && step.outputs[0] == item && step.plane == 0 &&
        plan_.items[step.inputs[0]].dims[1] == dims(value)[dims(value).size() - 2])
      return &step;
  return nullptr;
}

bool Lowering::lower_dense_concat(int index) {
  const Node& node = graph_.nodes[index];
  const int y = node.outputs[0];
  const Dims& out = dims(y);
  const auto rank = static_cast<std::int64_t>(out.size());
  std::int64_t axis = integer(node, "axis", 0);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank || element_count(out) == 0 || element_count(out) > (1u << 30)) return false;
  std::vector<int> items;
  for (const int value : node.inputs) {
    const auto item = value == kAbsent ? std::nullopt : movable_dense(value);
    if (!item || std::count(items.begin(), items.end(), *item) > 0) return false;
    items.push_back(*item);
  }
  const bool joined = std::all_of(out.begin(), out.begin() + axis, [](std::int64_t size) { return size == 1; });
  std::vector<Step*> steps;
  if (!joined) {  // rows of several tensors in turn: only where a step can write rows apart
    if (axis != rank - 1 || rank < 2 || element_count(out) != static_cast<std::size_t>(out[rank - 2] * out[rank - 1]))
      return false;
    for (std::size_t i = 0; i < items.size(); ++i) {
      Step* const step = sole_to_dense(node.inputs[i], items[i]);
      if (!step || dims(node.inputs[i])[rank - 2] != out[rank - 2]) return false;
      steps.push_back(step);
    }
  }
  Item whole;
  whole.type = graph_.values[y].type;
  whole.dims = out;
  const int cat = add_item(std::move(whole));
  std::size_t offset = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (joined) {
      plan_.items[items[i]].whole = cat;
      plan_.items[items[i]].channel = static_cast<int>(offset);
      offset += element_count(dims(node.inputs[i]));
    } else {
      steps[i]->outputs[0] = cat;
      steps[i]->plane = static_cast<std::size_t>(out[rank - 1]);
      steps[i]->offset = offset;
      offset += static_cast<std::size_t>(dims(node.inputs[i])[rank - 1]);
    }
  }
  forms_[y].dense = cat;
  return true;
}

}  // namespace wutdet::engine
