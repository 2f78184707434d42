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

bool Lowering::permutes(int index, const std::vector<std::int64_t>& perm) const {
  if (index < 0 || done_[index]) return false;
  const Node& node = graph_.nodes[index];
  const Attribute* found = node.find("perm");
  return node.domain.empty() && node.op == "Transpose" && found && found->ints == perm;
}

bool Lowering::is_open(int index, const char* op) const {
  return index >= 0 && !done_[index] && graph_.nodes[index].domain.empty() && graph_.nodes[index].op == op;
}

// Queries, keys and values of attention: how they come out of the image [1, channels, height, width] that `index`
// reshapes. Area attention cuts the pixels, in their order, in areas that do not look at each other.
std::optional<Lowering::Heads> Lowering::heads_of(int index) const {
  const Dims &in = dims(graph_.nodes[index].inputs[0]), &reshaped = dims(graph_.nodes[index].outputs[0]);
  const std::int64_t pixels = in[2] * in[3];
  Heads found;
  found.nodes = {index};
  int last = graph_.nodes[index].outputs[0];
  std::int64_t axis = 2, per_head = 0;
  if (reshaped.size() == 4 && reshaped[0] == 1) {  // [1, heads, channels, pixels]
    found.heads = reshaped[1];
    found.pixels = reshaped[3];
    per_head = reshaped[2];
  } else if (reshaped == Dims{1, in[1], pixels}) {  // then [areas, pixels, heads, channels]
    const int transposed = only_consumer(last);
    if (!permutes(transposed, {0, 2, 1})) return std::nullopt;
    const int again = only_consumer(graph_.nodes[transposed].outputs[0]);
    if (!is_open(again, "Reshape")) return std::nullopt;
    last = graph_.nodes[again].outputs[0];
    if (dims(last).size() != 4) return std::nullopt;
    found.pixels_first = true;
    found.areas = dims(last)[0];
    found.pixels = dims(last)[1];
    found.heads = dims(last)[2];
    per_head = dims(last)[3];
    axis = 3;
    found.nodes.insert(found.nodes.end(), {transposed, again});
  } else {
    return std::nullopt;
  }
  if (found.areas * found.pixels != pixels || found.heads * per_head != in[1]) return std::nullopt;
  const int split = only_consumer(last);
  if (!is_open(split, "Split")) return std::nullopt;
  const Node& parts = graph_.nodes[split];
  const std::int64_t given = integer(parts, "axis", 0);
  if ((given != axis && given != axis - 4) || parts.outputs.size() != 3) return std::nullopt;
  if (std::count(parts.outputs.begin(), parts.outputs.end(), kAbsent) > 0) return std::nullopt;
  found.q = parts.outputs[0];
  found.k = parts.outputs[1];
  found.v = parts.outputs[2];
  found.nodes.push_back(split);
  const auto at = static_cast<std::size_t>(axis);
  found.key_channels = dims(found.q)[at];
  found.value_channels = dims(found.v)[at];
  if (dims(found.k)[at] != found.key_channels || found.value_channels % kAttentionLanes != 0) return std::nullopt;
  return found;
}

// The value of size `image` that nodes from `index` on make of heads [1, heads, channels, pixels], or, with pixels
// first, [areas, pixels, heads, channels].
std::optional<int> Lowering::image_of_heads(int index, bool pixels_first, const Dims& image,
                                            std::vector<int>& nodes) const {
  int at = index;
  if (!pixels_first) {
    if (is_open(at, "Reshape") && dims(graph_.nodes[at].inputs[0])[0] == 1 &&
        dims(graph_.nodes[at].outputs[0]) == image) {
      nodes.push_back(at);
      return graph_.nodes[at].outputs[0];
    }
    if (!permutes(at, {0, 3, 1, 2})) return std::nullopt;
    nodes.push_back(at);
    at = only_consumer(graph_.nodes[at].outputs[0]);
  }
  if (!is_open(at, "Reshape") || dims(graph_.nodes[at].outputs[0]) != Dims{1, image[2], image[3], image[1]})
    return std::nullopt;
  nodes.push_back(at);
  at = only_consumer(graph_.nodes[at].outputs[0]);
  if (!permutes(at, {0, 3, 1, 2})) return std::nullopt;
  nodes.push_back(at);
  return graph_.nodes[at].outputs[0];
}

bool Lowering::lower_attention(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0];
  if (!is_image_shape(x) || !has_image(x)) return false;
  const std::optional<Heads> found = heads_of(index);
  if (!found) return false;
  const auto [areas, pixels, heads, key_channels, value_channels, q, k, v, pixels_first, begin] = *found;
  std::vector<int> nodes = begin;

  // Queries: scaled and transposed, in any order.
  float factor = 1.0f;
  bool transposed = false;
  int left = q, at = only_consumer(q);
  for (int steps = 0; steps < 2 && at >= 0 && !done_[at]; ++steps) {
    if (const auto times = factor_of(at, left)) factor *= *times;
    else if (!transposed && permutes(at, pixels_first ? Dims{0, 2, 1, 3} : Dims{0, 1, 3, 2})) transposed = true;
    else break;
    nodes.push_back(at);
    left = graph_.nodes[at].outputs[0];
    at = only_consumer(left);
  }
  // [areas, heads, channels, pixels] of a value with pixels first: kAbsent where `by` is no such transposition.
  const auto channels_first = [&](int by) {
    if (!permutes(by, {0, 2, 3, 1})) return kAbsent;
    nodes.push_back(by);
    return graph_.nodes[by].outputs[0];
  };
  const int keys = pixels_first ? channels_first(only_consumer(k)) : k;
  if (!transposed || !is_open(at, "MatMul") || graph_.nodes[at].inputs != std::vector<int>{left, keys} ||
      only_consumer(keys) != at)
    return false;
  nodes.push_back(at);
  int scores = graph_.nodes[at].outputs[0];
  at = only_consumer(scores);
  if (at >= 0) {
    if (const auto times = factor_of(at, scores)) {
      factor *= *times;
      nodes.push_back(at);
      scores = graph_.nodes[at].outputs[0];
      at = only_consumer(scores);
    }
  }
  if (!is_open(at, "Softmax")) return false;
  const std::int64_t softmax_axis = integer(graph_.nodes[at], "axis", -1);
  if (softmax_axis != -1 && softmax_axis != 3) return false;
  nodes.push_back(at);
  at = only_consumer(graph_.nodes[at].outputs[0]);
  if (!permutes(at, {0, 1, 3, 2})) return false;
  nodes.push_back(at);
  const int weights = graph_.nodes[at].outputs[0];
  const int second = only_consumer(weights);
  if (!is_open(second, "MatMul") || graph_.nodes[second].inputs[1] != weights) return false;
  nodes.push_back(second);
  const int values = graph_.nodes[second].inputs[0];
  const int values_by = pixels_first ? graph_.values[values].producer : second;
  if (pixels_first && (values_by < 0 || channels_first(values_by) != values || only_consumer(values) != second))
    return false;
  if ((pixels_first ? graph_.nodes[values_by].inputs[0] : values) != v) return false;
  const int product = graph_.nodes[second].outputs[0];
  const Dims image{1, heads * value_channels, dims(x)[2], dims(x)[3]};
  const auto result = image_of_heads(only_consumer(product), false, image, nodes);
  if (!result) return false;
  // Values are used beside that as an image, or not at all.
  std::vector<int> images_of_values;
  if (is_output(v)) return false;
  for (const int other : graph_.values[v].consumers) {
    if (other == values_by) continue;
    const auto shown = image_of_heads(other, pixels_first, image, nodes);
    if (!shown) return false;
    images_of_values.push_back(*shown);
  }

  const std::int64_t per_head = 2 * key_channels + value_channels;
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
    packed.dims = {areas * heads, static_cast<std::int64_t>(layout.values) * 2};
    inputs = {add_item(std::move(packed))};
    Step& pack = add_step(StepKind::pack_heads, node, {forms_[x].bytes}, inputs);
    pack.areas = static_cast<int>(areas);
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
  forms_[*result].floats = out;
  Step& step = add_step(integers ? StepKind::byte_attention : StepKind::attention, node, inputs, {out});
  step.areas = static_cast<int>(areas);
  step.heads = static_cast<int>(heads);
  step.key_channels = static_cast<int>(key_channels);
  step.value_channels = static_cast<int>(value_channels);
  step.factor = factor;
  if (integers) {
    step.scale = plan_.items[forms_[x].bytes].quant.scale;
    step.factor *= step.scale * step.scale;
  }
  step.macs = static_cast<std::uint64_t>(areas * heads * pixels * pixels * (key_channels + value_channels));
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
