// Convolutions with all that can be done to their results before these are stored.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "core/engine/lower.h"

namespace wutdet::engine {
namespace {

constexpr std::int64_t kMostTaps = 64, kMostStep = 16;
// Float layers on bytes run as two planes of int8 from so many output channels on: fewer save no time. Those with one
// tap stay float as well: they are the last ones, whose results are boxes and scores.
constexpr int kWorthPlanes = 16;

// Pads, strides and dilations of a node in ONNX's order, or what is meant where they are left out.
std::optional<std::array<int, 2>> two_of(const Node& node, const char* name) {
  const Attribute* found = node.find(name);
  if (!found) return std::array<int, 2>{1, 1};
  if (found->ints.size() != 2) return std::nullopt;
  for (const std::int64_t value : found->ints)
    if (value < 1 || value > kMostStep) return std::nullopt;
  return std::array<int, 2>{static_cast<int>(found->ints[0]), static_cast<int>(found->ints[1])};
}

void quantise_results(ConvSpec& spec, Quant sums) {
  spec.inverse_scale = 1.0f / sums.scale;
  spec.output_zero = static_cast<float>(sums.zero);
}

// [..., inputs] with zeros behind the last input.
std::vector<std::int8_t> padded_inputs(const std::vector<std::int8_t>& weights, std::size_t inputs, int whole) {
  std::vector<std::int8_t> padded(weights.size() / inputs * static_cast<std::size_t>(whole));
  for (std::size_t i = 0; i < weights.size(); ++i)
    padded[i / inputs * static_cast<std::size_t>(whole) + i % inputs] = weights[i];
  return padded;
}

}  // namespace

std::shared_ptr<const ConvLayer> Lowering::pack_or_null(const ConvSpec& spec, const ConvKernels& kernels) {
  try {
    return std::make_shared<const ConvLayer>(pack(spec, kernels));
  } catch (const std::invalid_argument&) {
    return nullptr;
  }
}

bool Lowering::lower_conv(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.input(0), w = node.input(1), b = node.input(2), y = node.outputs[0];
  if (!is_image_shape(x) || !is_image_shape(y) || !fixed(w) || dims(w).size() != 4 || (b != kAbsent && !fixed(b)))
    return false;
  const Attribute* auto_pad = node.find("auto_pad");
  if (auto_pad && auto_pad->s != "NOTSET") return false;
  const auto strides = two_of(node, "strides"), dilations = two_of(node, "dilations");
  if (!strides || !dilations) return false;
  std::vector<std::int64_t> pads{0, 0, 0, 0};
  if (const Attribute* found = node.find("pads")) pads = found->ints;
  if (pads.size() != 4) return false;
  const Dims &in = dims(x), &out = dims(y), &wd = dims(w);
  if (wd[2] * wd[3] > kMostTaps) return false;
  for (int side = 0; side < 4; ++side) {  // a border as wide as the taps reach, and no wider
    const std::int64_t reach = (wd[2 + side % 2] - 1) * (*dilations)[side % 2];
    if (pads[side] < 0 || pads[side] > reach) return false;
  }
  const std::int64_t groups = integer(node, "group", 1);
  const bool depthwise = groups > 1;
  if (depthwise && (groups != in[1] || groups != out[1])) return false;

  ConvSpec spec;
  spec.in_channels = static_cast<int>(in[1]);
  spec.out_channels = static_cast<int>(out[1]);
  spec.kernel_h = static_cast<int>(wd[2]);
  spec.kernel_w = static_cast<int>(wd[3]);
  spec.stride_h = (*strides)[0];
  spec.stride_w = (*strides)[1];
  spec.dilation_h = (*dilations)[0];
  spec.dilation_w = (*dilations)[1];
  spec.pad_top = static_cast<int>(pads[0]);
  spec.pad_left = static_cast<int>(pads[1]);
  spec.depthwise = depthwise;

  // What follows the convolution. `last` is the value that the step gives; `nodes` are done by it.
  int last = y;
  std::vector<int> nodes{index};
  const auto goes_only_to = [&](int value, const char* op) {
    const int next = only_consumer(value);
    return next >= 0 && !done_[next] && graph_.nodes[next].domain.empty() && graph_.nodes[next].op == op ? next : -1;
  };
  const std::vector<int>& after = graph_.values[y].consumers;
  if (after.size() == 2 && !is_output(y)) {
    for (const int sigmoid : after) {
      const Node& s = graph_.nodes[sigmoid];
      const int product = s.op == "Sigmoid" && s.domain.empty() ? goes_only_to(s.outputs[0], "Mul") : -1;
      if (product < 0 || product != after[after[0] == sigmoid]) continue;
      const Node& m = graph_.nodes[product];
      if (!((m.inputs[0] == y && m.inputs[1] == s.outputs[0]) || (m.inputs[1] == y && m.inputs[0] == s.outputs[0])))
        continue;
      spec.silu = true;
      nodes.insert(nodes.end(), {sigmoid, product});
      last = m.outputs[0];
      break;
    }
  }
  Quant sums, quant;  // of the convolution's own result and of what the step gives, where they are bytes
  std::vector<std::uint8_t> table;
  int residual = -1;
  const auto other_input = [&](int add, int value) {
    const Node& node_of_sum = graph_.nodes[add];
    const int other = node_of_sum.inputs[0] == value ? node_of_sum.inputs[1] : node_of_sum.inputs[0];
    return other != value && is_image_shape(other) && dims(other) == out && has_image(other) ? other : -1;
  };
  // A fixed factor per channel between the activation and rounding to bytes.
  std::vector<float> factor;
  if (const int mul = spec.silu ? goes_only_to(last, "Mul") : -1; mul >= 0) {
    const Node& product = graph_.nodes[mul];
    const int by = product.inputs[product.inputs[0] == last];
    const int q = by != last && fixed(by) ? goes_only_to(product.outputs[0], "QuantizeLinear") : -1;
    if (q >= 0 && quant_of(graph_.nodes[q]) && (dims(by) == Dims{1, out[1], 1, 1} || dims(by) == Dims{out[1], 1, 1})) {
      const float* values = graph_.values[by].constant->data<float>();
      factor.assign(values, values + out[1]);
      spec.factor = factor.data();
      nodes.push_back(mul);
      last = product.outputs[0];
    }
  }
  if (const int q = goes_only_to(last, "QuantizeLinear"); q >= 0 && quant_of(graph_.nodes[q])) {
    spec.output = Number::u8;
    sums = quant = *quant_of(graph_.nodes[q]);
    nodes.push_back(q);
    last = graph_.nodes[q].outputs[0];
    if (const auto function = spec.silu ? std::nullopt : byte_function(last)) {
      table.assign(function->table.begin(), function->table.end());
      spec.table = table.data();
      nodes.insert(nodes.end(), function->nodes.begin(), function->nodes.end());
      last = function->result;
      quant = function->quant;
    }
    const int dq = goes_only_to(last, "DequantizeLinear");
    const bool same = dq >= 0 && quant_of(graph_.nodes[dq]) == quant;
    const int add = same ? goes_only_to(graph_.nodes[dq].outputs[0], "Add") : -1;
    const int q2 = add >= 0 ? goes_only_to(graph_.nodes[add].outputs[0], "QuantizeLinear") : -1;
    if (q2 >= 0 && quant_of(graph_.nodes[q2])) {
      const int other = other_input(add, graph_.nodes[dq].outputs[0]);
      if (other >= 0 && forms_[other].bytes >= 0) {
        residual = forms_[other].bytes;
        const Quant sum = *quant_of(graph_.nodes[q2]), r = plan_.items[residual].quant;
        spec.residual = true;
        spec.mix.own = quant.scale / sum.scale;
        spec.mix.residual = r.scale / sum.scale;
        spec.mix.offset = static_cast<float>(sum.zero - double{quant.scale} * quant.zero / sum.scale -
                                             double{r.scale} * r.zero / sum.scale);
        nodes.insert(nodes.end(), {dq, add, q2});
        last = graph_.nodes[q2].outputs[0];
        quant = sum;
      }
    }
  } else {
    spec.output = Number::f32;
    if (const int add = goes_only_to(last, "Add"); add >= 0) {
      if (const int other = other_input(add, last); other >= 0) {
        residual = floats_of(other, node);
        spec.residual = true;
        nodes.push_back(add);
        last = graph_.nodes[add].outputs[0];
      }
    }
  }
  const std::vector<float> bias = b == kAbsent ? std::vector<float>(static_cast<std::size_t>(out[1]), 0.0f)
                                               : std::vector<float>(graph_.values[b].constant->data<float>(),
                                                                    graph_.values[b].constant->data<float>() + out[1]);
  std::shared_ptr<const ConvLayer> layer;
  int input = forms_[x].bytes, starts = -1;
  if (input >= 0 && !depthwise && spec.in_channels % 4 != 0) {
    // Pixels of whole steps: what lies behind their channels is multiplied by zero.
    auto weights = integer_weights(w, depthwise);
    if (weights && weights->group == 0) {
      const int whole = (spec.in_channels + 3) / 4 * 4;
      weights->codes = padded_inputs(weights->codes, static_cast<std::size_t>(spec.in_channels), whole);
      ConvSpec wide = spec;
      wide.in_channels = whole;
      wide.input_zero = plan_.items[input].quant.zero;
      layer = pack_integers(wide, *weights, plan_.items[input].quant, sums, b, bias);
      if (layer) input = widened_pixels(input, whole);
    }
  } else if (input >= 0) {
    const Quant in_quant = plan_.items[input].quant;
    spec.input = Number::u8;
    spec.input_zero = in_quant.zero;
    spec.input_scale = in_quant.scale;
    if (const auto weights = integer_weights(w, depthwise)) {
      layer = pack_integers(spec, *weights, in_quant, sums, b, bias);
      const bool one_pixel = wd[2] * wd[3] * spec.stride_h * spec.stride_w == 1;
      // Groups add up in float, in their order.
      if (layer && one_pixel && !depthwise && weights->group == 0 && residual < 0 && spec.output == Number::u8) {
        if (const auto made = start_before_upsampling(index, spec, *weights, sums, b, bias)) {
          layer = made->layer;
          starts = made->starts;
        }
      }
    }
    if (!layer && !depthwise && wd[2] * wd[3] > 1 && spec.out_channels >= kWorthPlanes)
      layer = pack_planes(spec, float_weights(w), in_quant, sums, b, bias);
    if (!layer) layer = pack_floats(spec, float_weights(w), sums, bias);
  }
  if (!layer) {
    spec.input = Number::f32;
    layer = pack_floats(spec, float_weights(w), sums, bias);
    if (!layer) return false;
    input = floats_of(x, node);
  }
  const bool bytes = spec.output == Number::u8;
  const int result = new_image(bytes ? DataType::U8 : DataType::F32, dims(last), quant);
  (bytes ? forms_[last].bytes : forms_[last].floats) = result;
  std::vector<int> inputs{input};
  if (residual >= 0) inputs.push_back(residual);
  if (starts >= 0) inputs.push_back(starts);
  Step& step = add_step(StepKind::conv, node, std::move(inputs), {result});
  step.conv = std::move(layer);
  const std::int64_t depth = starts < 0 ? wd[1] : plan_.items[input].dims[1];
  step.macs = element_count(out) * static_cast<std::uint64_t>(depth * wd[2] * wd[3]);
  step.window = {spec.kernel_h, spec.kernel_w, spec.stride_h, spec.stride_w, spec.pad_top, spec.pad_left};
  for (const int done : nodes) done_[done] = 1;
  return true;
}

// An image of `channels` channels whose first ones are `item`, which becomes a slice of it.
int Lowering::widened_pixels(int item, int channels) {
  const int whole = plan_.items[item].whole;
  if (whole >= 0 && plan_.items[item].channel == 0 && plan_.items[whole].channels() == channels) return whole;
  Item wide = plan_.items[item];
  wide.dims[1] = channels;
  wide.whole = -1;
  wide.channel = 0;
  const int added = add_item(std::move(wide));
  if (whole < 0) {
    plan_.items[item].whole = added;
    return added;
  }
  // A slice of another image: its values are copied.
  const int slot = slice_of(added, 0, plan_.items[item].channels());
  add_step(StepKind::table, Node{}, {item}, {slot});
  return added;
}

// Null where the kernels cannot compute it.
std::shared_ptr<const ConvLayer> Lowering::pack_integers(ConvSpec spec, const ConvWeights& weights, Quant in,
                                                         Quant sums, int bias_value,
                                                         const std::vector<float>& bias) const {
  const bool quantised = spec.output == Number::u8 && !spec.silu;
  const std::size_t outputs = weights.scale.size();
  std::vector<float> scale(outputs), shift(outputs);
  std::vector<std::int32_t> whole;
  // A bias in whole steps of the sums, as the file has it beside int8 weights.
  const int producer = bias_value == kAbsent ? -1 : graph_.values[bias_value].producer;
  if (producer >= 0 && graph_.nodes[producer].op == "DequantizeLinear" && weights.group == 0) {
    const Tensor& codes = *graph_.values[graph_.nodes[producer].inputs[0]].constant;
    if (codes.type == DataType::I32 && codes.size() == outputs)
      whole.assign(codes.data<std::int32_t>(), codes.data<std::int32_t>() + outputs);
    for (std::size_t o = 0; o < whole.size(); ++o) {
      const double step = double{in.scale} * weights.scale[o];
      if (std::fabs(whole[o] * step - bias[o]) > 1e-6 * std::fabs(bias[o]) || std::abs(whole[o]) > (1 << 30)) {
        whole.clear();
        break;
      }
    }
  }
  for (std::size_t o = 0; o < outputs; ++o) {
    scale[o] = in.scale * weights.scale[o];  // in this order, in float32: as onnxruntime does
    shift[o] = whole.empty() ? bias[o] : 0.0f;
    if (quantised) {
      scale[o] /= sums.scale;
      shift[o] = static_cast<float>(double{shift[o]} / sums.scale + sums.zero);
    }
  }
  spec.weights = weights.codes.data();
  spec.group = weights.group;
  spec.group_scale = weights.group ? weights.group_scale.data() : nullptr;
  spec.initial = whole.empty() ? nullptr : whole.data();
  spec.scale = scale.data();
  spec.bias = shift.data();
  if (spec.output == Number::u8 && !quantised) quantise_results(spec, sums);
  return pack_or_null(spec, kernels_);
}

std::shared_ptr<const ConvLayer> Lowering::pack_planes(ConvSpec spec, const std::vector<float>& weights, Quant in,
                                                       Quant sums, int bias_value,
                                                       const std::vector<float>& bias) const {
  const std::size_t values = weights.size() / static_cast<std::size_t>(spec.out_channels);
  Planes planes = split_in_planes(weights.data(), spec.out_channels, values);
  ConvWeights split;
  split.codes = std::move(planes.weights);
  split.scale.assign(static_cast<std::size_t>(spec.out_channels), 1.0f);
  split.group = static_cast<int>(values);
  split.group_scale = std::move(planes.scales);
  spec.planes = 2;
  return pack_integers(spec, split, in, sums, bias_value, bias);
}

std::shared_ptr<const ConvLayer> Lowering::pack_floats(ConvSpec spec, const std::vector<float>& weights, Quant sums,
                                                       const std::vector<float>& bias) const {
  spec.float_weights = weights.data();
  spec.bias = bias.data();
  if (spec.output == Number::u8) quantise_results(spec, sums);
  return pack_or_null(spec, kernels_);
}

}  // namespace wutdet::engine
