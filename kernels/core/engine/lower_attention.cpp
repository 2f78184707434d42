// What is built around a softmax, and sigmoids. Attention blocks: from the reshaped result of the convolution that gives queries,
// keys and values to the image that comes out of the second product. Distribution focal loss: sides of boxes as means
// over bins.
#include <algorithm>
#include <cmath>

#include "core/engine/attention.h"
#include "core/engine/lower.h"

namespace wutdet::engine {

// The factor of a Mul or Div node that multiplies `value` with one fixed number.
std::optional<float> Lowering::factor_of(int index, int value) const {
  const Node& node = graph_.nodes[index];
  if (!node.domain.empty() || node.inputs.size() != 2) return std::nullopt;
  const bool first = node.inputs[0] == value;
  const int other = node.inputs[first ? 1 : 0];
  if ((node.op != "Mul" && !(node.op == "Div" && first)) || other == value || !fixed(other)) return std::nullopt;
  const Tensor& number = *graph_.values[other].constant;
  if (number.size() != 1 || number.type != DataType::F32 || number.dims.size() > 4) return std::nullopt;
  const float factor = node.op == "Mul" ? *number.data<float>() : 1.0f / *number.data<float>();
  return std::isfinite(factor) ? std::optional<float>(factor) : std::nullopt;
}

bool Lowering::swaps_last_axes(const Node& node) const {
  const Attribute* perm = node.find("perm");
  return node.domain.empty() && node.op == "Transpose" && perm && perm->ints == std::vector<std::int64_t>{0, 1, 3, 2};
}

bool Lowering::lower_attention(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0], reshaped = node.outputs[0];
  if (!is_image_shape(x) || !has_image(x) || dims(reshaped).size() != 4 || dims(reshaped)[0] != 1) return false;
  const std::int64_t heads = dims(reshaped)[1], per_head = dims(reshaped)[2], pixels = dims(reshaped)[3];
  if (pixels != dims(x)[2] * dims(x)[3] || heads * per_head != dims(x)[1]) return false;
  std::vector<int> nodes{index};
  const auto next_of = [&](int value) { return only_consumer(value); };
  const auto is = [&](int at, const char* op) {
    return at >= 0 && !done_[at] && graph_.nodes[at].domain.empty() && graph_.nodes[at].op == op;
  };
  const int split = next_of(reshaped);
  if (!is(split, "Split")) return false;
  const Node& parts = graph_.nodes[split];
  const std::int64_t axis = integer(parts, "axis", 0);
  if ((axis != 2 && axis != -2) || parts.outputs.size() != 3) return false;
  if (std::count(parts.outputs.begin(), parts.outputs.end(), kAbsent) > 0) return false;
  const int q = parts.outputs[0], k = parts.outputs[1], v = parts.outputs[2];
  const std::int64_t key_channels = dims(q)[2], value_channels = dims(v)[2];
  if (dims(k)[2] != key_channels || value_channels % kAttentionLanes != 0) return false;
  nodes.push_back(split);

  // Queries: scaled and transposed, in any order.
  float factor = 1.0f;
  bool transposed = false;
  int left = q, at = next_of(q);
  for (int steps = 0; steps < 2 && at >= 0 && !done_[at]; ++steps) {
    if (const auto times = factor_of(at, left)) factor *= *times;
    else if (!transposed && swaps_last_axes(graph_.nodes[at])) transposed = true;
    else break;
    nodes.push_back(at);
    left = graph_.nodes[at].outputs[0];
    at = next_of(left);
  }
  if (!transposed || !is(at, "MatMul") || graph_.nodes[at].inputs != std::vector<int>{left, k} || next_of(k) != at)
    return false;
  nodes.push_back(at);
  int scores = graph_.nodes[at].outputs[0];
  at = next_of(scores);
  if (at >= 0) {
    if (const auto times = factor_of(at, scores)) {
      factor *= *times;
      nodes.push_back(at);
      scores = graph_.nodes[at].outputs[0];
      at = next_of(scores);
    }
  }
  if (!is(at, "Softmax")) return false;
  const std::int64_t softmax_axis = integer(graph_.nodes[at], "axis", -1);
  if (softmax_axis != -1 && softmax_axis != 3) return false;
  nodes.push_back(at);
  at = next_of(graph_.nodes[at].outputs[0]);
  if (at < 0 || done_[at] || !swaps_last_axes(graph_.nodes[at])) return false;
  nodes.push_back(at);
  const int weights = graph_.nodes[at].outputs[0];
  at = next_of(weights);
  if (!is(at, "MatMul") || graph_.nodes[at].inputs != std::vector<int>{v, weights}) return false;
  const int second = at;
  nodes.push_back(at);
  const int product = graph_.nodes[at].outputs[0];
  const Dims image{1, heads * value_channels, dims(x)[2], dims(x)[3]};
  at = next_of(product);
  if (!is(at, "Reshape") || dims(graph_.nodes[at].outputs[0]) != image) return false;
  nodes.push_back(at);
  const int result = graph_.nodes[at].outputs[0];
  // Values are used beside that as an image, or not at all.
  std::vector<int> images_of_values;
  if (is_output(v)) return false;
  for (const int other : graph_.values[v].consumers) {
    if (other == second) continue;
    if (!is(other, "Reshape") || dims(graph_.nodes[other].outputs[0]) != image) return false;
    nodes.push_back(other);
    images_of_values.push_back(graph_.nodes[other].outputs[0]);
  }

  const auto first_value = static_cast<int>(2 * key_channels);
  if (!images_of_values.empty()) {
    const bool bytes = forms_[x].bytes >= 0;
    const int from = bytes ? forms_[x].bytes : forms_[x].floats;
    const int gathered = new_image(plan_.items[from].type, image, plan_.items[from].quant);
    std::vector<int> slices;
    for (int head = 0; head < heads; ++head)
      slices.push_back(
          slice_of(from, head * static_cast<int>(per_head) + first_value, static_cast<int>(value_channels)));
    concat_items(node, gathered, slices);
    for (const int value : images_of_values) (bytes ? forms_[value].bytes : forms_[value].floats) = gathered;
  }
  const int out = new_image(DataType::F32, image);
  std::vector<int> inputs;
  const bool integers = forms_[x].bytes >= 0 && key_channels % 2 == 0 && key_channels <= kMostKeyChannels;
  if (integers) {
    const PackedHead layout(pixels, key_channels, value_channels);
    Item packed;
    packed.type = DataType::U8;
    packed.dims = {heads, static_cast<std::int64_t>(layout.values) * 2};
    inputs = {add_item(std::move(packed))};
    Step& pack = add_step(StepKind::pack_heads, node, {forms_[x].bytes}, inputs);
    pack.heads = static_cast<int>(heads);
    pack.key_channels = static_cast<int>(key_channels);
    pack.value_channels = static_cast<int>(value_channels);
  } else {
    // Floats of its own, which get no border and no place in another image: pixels must follow each other.
    const int floats = new_image(DataType::F32, dims(x));
    if (forms_[x].bytes >= 0) add_step(StepKind::widen, node, {forms_[x].bytes}, {floats});
    else add_step(StepKind::table, node, {forms_[x].floats}, {floats});
    inputs = {floats, dense_of(x, node)};
  }
  forms_[result].floats = out;
  Step& step = add_step(integers ? StepKind::byte_attention : StepKind::attention, node, inputs, {out});
  step.heads = static_cast<int>(heads);
  step.key_channels = static_cast<int>(key_channels);
  step.value_channels = static_cast<int>(value_channels);
  step.factor = factor;
  if (integers) {
    step.scale = plan_.items[forms_[x].bytes].quant.scale;
    step.factor *= step.scale * step.scale;
  }
  step.macs = static_cast<std::uint64_t>(heads * pixels * pixels * (key_channels + value_channels));
  for (const int done : nodes) done_[done] = 1;
  return true;
}

// [1, sides, bins, values], transposed to have the bins first, a softmax over them, and a convolution that sums them.
bool Lowering::lower_expectation(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0];
  const Attribute* perm = node.find("perm");
  if (dims(x).size() != 4 || dims(x)[0] != 1 || graph_.values[x].type != DataType::F32 || !perm ||
      perm->ints != std::vector<std::int64_t>{0, 2, 1, 3})
    return false;
  const std::int64_t sides = dims(x)[1], bins = dims(x)[2], values = dims(x)[3];
  const int softmax = only_consumer(node.outputs[0]);
  if (softmax < 0 || graph_.nodes[softmax].op != "Softmax" || !graph_.nodes[softmax].domain.empty() ||
      integer(graph_.nodes[softmax], "axis", -1) != 1)
    return false;
  const int conv = only_consumer(graph_.nodes[softmax].outputs[0]);
  if (conv < 0 || graph_.nodes[conv].op != "Conv" || !graph_.nodes[conv].domain.empty()) return false;
  const Node& sum = graph_.nodes[conv];
  if (sum.inputs[0] != graph_.nodes[softmax].outputs[0] || !fixed(sum.input(1)) || sum.input(2) != kAbsent ||
      dims(sum.inputs[1]) != Dims{1, bins, 1, 1} || dims(sum.outputs[0]) != Dims{1, 1, sides, values} || bins > 1024)
    return false;
  Item item;
  item.dims = dims(sum.outputs[0]);
  const int from = dense_of(x, node), to = add_item(std::move(item));
  forms_[sum.outputs[0]].dense = to;
  Step& step = add_step(StepKind::expectation, node, {from}, {to});
  const float* numbers = graph_.values[sum.inputs[1]].constant->data<float>();
  step.numbers.assign(numbers, numbers + bins);
  step.macs = static_cast<std::uint64_t>(sides * bins * values);
  done_[index] = done_[softmax] = done_[conv] = 1;
  return true;
}

bool Lowering::lower_sigmoid(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0], y = node.outputs[0];
  if (graph_.values[x].type != DataType::F32 || element_count(dims(x)) == 0 || element_count(dims(x)) > (1u << 30))
    return false;
  Item item;
  item.dims = dims(y);
  const int from = dense_of(x, node), to = add_item(std::move(item));
  forms_[y].dense = to;
  add_step(StepKind::sigmoid, node, {from}, {to});
  return true;
}

}  // namespace wutdet::engine
