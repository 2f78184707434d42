// A 1x1 convolution of a concatenation of which one part is upsampled: every pixel of that part stands for a block of
// pixels, and so do its sums. They are computed before the upsampling, and the convolution of the other parts starts
// from them. Integers only, so no result changes.
#include <algorithm>
#include <iterator>

#include "core/engine/lower.h"

namespace wutdet::engine {
namespace {

// Inputs [first, first + count) of 1x1 weights [out][in], or all others.
std::vector<std::int8_t> some_inputs(const std::vector<std::int8_t>& codes, int inputs, int first, int count,
                                     bool others) {
  std::vector<std::int8_t> some;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const int input = static_cast<int>(i % static_cast<std::size_t>(inputs));
    if ((input >= first && input < first + count) != others) some.push_back(codes[i]);
  }
  return some;
}

}  // namespace

// The node, of those that round to bytes and back only, that a value comes from, if `node` alone takes the value.
int Lowering::sole_source(int value, int node) const {
  for (;;) {
    const int from = graph_.values[value].producer;
    if (only_consumer(value) != node || from < 0 || !graph_.nodes[from].domain.empty()) return -1;
    const std::string& op = graph_.nodes[from].op;
    if (op != "QuantizeLinear" && op != "DequantizeLinear") return from;
    value = graph_.nodes[from].inputs[0];
    node = from;
  }
}

// The step that upsamples to twice the width into a part of the image that a convolution takes, and nothing else takes.
int Lowering::upsampling_for(int conv) const {
  const int x = graph_.nodes[conv].inputs[0], image = forms_[x].bytes;
  const int join = sole_source(x, conv);
  if (join < 0 || graph_.nodes[join].op != "Concat" || plan_.items[image].whole >= 0) return -1;
  const std::vector<int>& parts = graph_.nodes[join].inputs;
  for (const int part : parts) {
    const int from = std::count(parts.begin(), parts.end(), part) == 1 ? sole_source(part, join) : -1;
    if (from < 0 || graph_.nodes[from].op != "Resize") continue;
    const int item = forms_[graph_.nodes[from].outputs[0]].bytes;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      if (step.kind == StepKind::upsample && step.outputs[0] == item && step.window.width == 2 &&
          plan_.items[item].whole == image)
        return static_cast<int>(i);
    }
  }
  return -1;
}

std::optional<Lowering::FromStarts> Lowering::start_before_upsampling(int conv, ConvSpec spec,
                                                                      const ConvWeights& weights, Quant sums,
                                                                      int bias_value, const std::vector<float>& bias) {
  const int upsampling = upsampling_for(conv);
  if (upsampling < 0) return std::nullopt;
  const Step& step = plan_.steps[static_cast<std::size_t>(upsampling)];
  const int small = step.inputs[0], large = step.outputs[0], image = forms_[graph_.nodes[conv].inputs[0]].bytes;
  const int first = plan_.items[large].channel, count = plan_.items[large].channels(),
            rest = spec.in_channels - count;
  if (count % 4 != 0 || rest == 0 || rest % 4 != 0 || !(plan_.items[small].quant == plan_.items[image].quant))
    return std::nullopt;

  ConvSpec below;
  below.in_channels = count;
  below.out_channels = spec.out_channels;
  const std::vector<std::int8_t> upsampled = some_inputs(weights.codes, spec.in_channels, first, count, false);
  below.weights = upsampled.data();
  below.input_zero = spec.input_zero;
  below.scale = weights.scale.data();
  below.output = Number::i32;
  // That the sums of both together fit is known: the caller has packed them as one.
  const auto starts_layer = pack_or_null(below, kernels_);
  ConvWeights others = weights;
  others.codes = some_inputs(weights.codes, spec.in_channels, first, count, true);
  spec.in_channels = rest;
  spec.starts = true;
  FromStarts made{pack_integers(spec, others, plan_.items[image].quant, sums, bias_value, bias), -1};
  if (!starts_layer || !made.layer) return std::nullopt;

  // The image loses the part.
  plan_.steps.erase(std::next(plan_.steps.begin(), upsampling));
  plan_.items[large].whole = -1;
  for (Item& item : plan_.items)
    if (item.whole == image && item.channel > first) item.channel -= count;
  plan_.items[image].dims[1] = rest;
  const Dims& dims = plan_.items[small].dims;
  const std::int64_t pixels = dims[2] * dims[3];
  made.starts = new_image(DataType::I32, {1, sum_lanes(spec.out_channels, kernels_), dims[2], dims[3]});
  Step& low = add_step(StepKind::conv, graph_.nodes[conv], {small}, {made.starts});
  low.conv = starts_layer;
  low.macs = static_cast<std::uint64_t>(pixels * spec.out_channels) * static_cast<std::uint64_t>(count);
  return made;
}

}  // namespace wutdet::engine
