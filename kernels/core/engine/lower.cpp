#include "core/engine/lower.h"

#include <algorithm>
#include <string>

#include "core/engine/prepare.h"

namespace wutdet::engine {

Place place_of(const std::vector<Item>& items, int item) {
  Place place{item, 0};
  while (items[place.item].whole >= 0) {
    place.channel += items[place.item].channel;
    place.item = items[place.item].whole;
  }
  return place;
}

Plan lower(Graph graph, const Limits& limits, const ConvKernels& kernels) {
  return Lowering(std::move(graph), limits, kernels).run();
}

int Lowering::add_item(Item item) {
  plan_.items.push_back(std::move(item));
  return static_cast<int>(plan_.items.size()) - 1;
}

int Lowering::new_image(DataType type, const Dims& dims, Quant quant) {
  Item item;
  item.image = true;
  item.type = type;
  item.dims = dims;
  item.quant = quant;
  return add_item(std::move(item));
}

int Lowering::slice_of(int item, int channel, int channels) {
  Item slice = plan_.items[item];
  slice.dims[1] = channels;
  slice.whole = item;
  slice.channel = channel;
  return add_item(std::move(slice));
}

Step& Lowering::add_step(StepKind kind, const Node& node, std::vector<int> inputs, std::vector<int> outputs) {
  Step step{};
  step.kind = kind;
  step.name = node.name;
  step.op = node.op;
  step.inputs = std::move(inputs);
  step.outputs = std::move(outputs);
  plan_.steps.push_back(std::move(step));
  return plan_.steps.back();
}

bool Lowering::is_image_shape(int value) const {
  const Value& v = graph_.values[value];
  return v.dims.size() == 4 && v.dims[0] == 1 && element_count(v.dims) > 0 && !v.constant &&
         (v.type == DataType::F32 || v.type == DataType::U8);
}

bool Lowering::has_image(int value) const { return forms_[value].bytes >= 0 || forms_[value].floats >= 0; }

bool Lowering::is_output(int value) const {
  return std::find(graph_.outputs.begin(), graph_.outputs.end(), value) != graph_.outputs.end();
}

int Lowering::only_consumer(int value) const {
  const Value& v = graph_.values[value];
  return v.consumers.size() == 1 && !is_output(value) ? v.consumers[0] : -1;
}

std::optional<Quant> Lowering::quant_of(const Node& node) const {
  const int scale = node.input(1), zero = node.input(2);
  if (!fixed(scale) || !fixed(zero)) return std::nullopt;
  const Tensor& s = *graph_.values[scale].constant;
  const Tensor& z = *graph_.values[zero].constant;
  if (s.size() != 1 || z.size() != 1 || s.type != DataType::F32 || z.type != DataType::U8) return std::nullopt;
  const float step = *s.data<float>();
  if (!(step > 0) || step > 1e30f || step < 1e-30f) return std::nullopt;
  return Quant{step, *z.data<std::uint8_t>()};
}

std::optional<std::vector<std::int64_t>> Lowering::integers_of(int value) const {
  if (!fixed(value)) return std::nullopt;
  const Tensor& t = *graph_.values[value].constant;
  if (t.type != DataType::I64 || t.size() > 16) return std::nullopt;
  return std::vector<std::int64_t>(t.data<std::int64_t>(), t.data<std::int64_t>() + t.size());
}

std::int64_t Lowering::integer(const Node& node, const char* name, std::int64_t otherwise) const {
  const Attribute* found = node.find(name);
  return found ? found->i : otherwise;
}

int Lowering::floats_of(int value, const Node& node) {
  Forms& forms = forms_[value];
  if (forms.floats >= 0) return forms.floats;
  const int image = new_image(DataType::F32, dims(value));
  if (forms.bytes >= 0) {
    add_step(StepKind::widen, node, {forms.bytes}, {image});
  } else {
    const int dense = dense_of(value, node);
    add_step(StepKind::to_image, node, {dense}, {image});
  }
  return forms_[value].floats = image;
}

int Lowering::dense_of(int value, const Node& node) {
  Forms& forms = forms_[value];
  if (forms.dense >= 0) return forms.dense;
  const Value& v = graph_.values[value];
  Item item;
  item.type = v.type;
  item.dims = v.dims;
  if (v.constant) {
    item.constant = v.constant;
    return forms.dense = add_item(std::move(item));
  }
  const int image = forms.bytes >= 0 ? forms.bytes : forms.floats;
  if (image < 0) throw ModelFault("'" + printable(v.name) + "' is used before it is computed");
  const int dense = add_item(std::move(item));
  add_step(StepKind::to_dense, node, {image}, {dense});
  return forms_[value].dense = dense;
}

// Nodes that give the same values in the same order under other sizes.
bool Lowering::view_dense(const Node& node) {
  static const std::array<const char*, 5> names{"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"};
  if (std::find(names.begin(), names.end(), node.op) == names.end() || node.outputs.size() != 1) return false;
  const int from = node.inputs[0], to = node.outputs[0];
  if (element_count(dims(from)) != element_count(dims(to))) return false;
  Item item;
  item.type = graph_.values[to].type;
  item.dims = dims(to);
  item.whole = dense_of(from, node);
  forms_[to].dense = add_item(std::move(item));
  return true;
}

bool Lowering::keep_node(int index) {
  const Node& node = graph_.nodes[index];
  if (node.domain.empty() && view_dense(node)) return true;
  std::vector<int> inputs, outputs;
  for (const int value : node.inputs) inputs.push_back(value == kAbsent ? kAbsent : dense_of(value, node));
  for (const int value : node.outputs) {
    Item item;
    if (value != kAbsent) {
      item.type = graph_.values[value].type;
      item.dims = dims(value);
    } else {
      const Spec& spec = prepared_[index]->outputs[outputs.size()];
      item.type = spec.type;
      item.dims = spec.dims;
    }
    outputs.push_back(add_item(std::move(item)));
    if (value != kAbsent) forms_[value].dense = outputs.back();
  }
  Step& step = add_step(StepKind::node, node, std::move(inputs), std::move(outputs));
  step.node = prepared_[index];
  step.macs = 0;
  return true;
}

// Types, sizes and constants of all values. Nodes that decode weights stay, beside what they give.
void Lowering::infer() {
  std::vector<Prepared> steps = prepare(graph_, limits_, Fold::KeepWeights);
  for (Prepared& step : steps) prepared_.push_back(std::make_shared<const Prepared>(std::move(step)));
  done_.assign(graph_.nodes.size(), 0);
  std::size_t left = limits_.folded_bytes;
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    const bool all_fixed = std::all_of(node.inputs.begin(), node.inputs.end(),
                                       [&](int value) { return value == kAbsent || fixed(value); });
    if (!all_fixed || node.outputs.size() != 1) continue;
    const Spec& spec = prepared_[i]->outputs[0];
    const std::size_t bytes = checked_bytes(spec.type, spec.dims, limits_);
    if (bytes > left) throw ModelFault("constants that are computed at load take too much memory");
    left -= bytes;
    Inputs inputs;
    for (const int value : node.inputs) inputs.push_back(value == kAbsent ? nullptr : &*graph_.values[value].constant);
    Outputs results{Tensor::make(spec.type, spec.dims)};
    prepared_[i]->run(inputs, results);
    graph_.values[node.outputs[0]].constant = results[0];
    done_[i] = 1;
  }
}

Plan Lowering::run() {
  infer();
  forms_.resize(graph_.values.size());
  for (const int value : graph_.inputs) {
    Item item;
    item.type = graph_.values[value].type;
    item.dims = dims(value);
    plan_.inputs.push_back(forms_[value].dense = add_item(std::move(item)));
    plan_.input_names.push_back(graph_.values[value].name);
  }
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (done_[i]) continue;
    const int node = static_cast<int>(i);
    const std::string& op = graph_.nodes[i].op;
    bool lowered = false;
    if (graph_.nodes[i].domain.empty()) {
      if (op == "Conv") lowered = lower_conv(node);
      else if (op == "QuantizeLinear") lowered = lower_quantize(node);
      else if (op == "DequantizeLinear") lowered = lower_dequantize(node);
      else if (op == "Concat") lowered = lower_concat(node) || lower_dense_concat(node);
      else if (op == "Split") lowered = lower_split(node);
      else if (op == "Slice") lowered = lower_slice(node);
      else if (op == "MaxPool") lowered = lower_max_pool(node);
      else if (op == "Resize") lowered = lower_resize(node);
      else if (op == "Add") lowered = lower_add(node);
      else if (op == "Transpose") lowered = lower_expectation(node);
      else if (op == "Reshape") lowered = lower_attention(node);
      else if (op == "Sigmoid") lowered = lower_sigmoid(node);
    }
    if (!lowered) keep_node(node);
    done_[i] = 1;
  }
  for (const int value : graph_.outputs) {
    Node end;
    end.name = graph_.values[value].name;
    plan_.outputs.push_back(dense_of(value, end));
    plan_.output_names.push_back(graph_.values[value].name);
  }
  return std::move(plan_);
}

}  // namespace wutdet::engine
