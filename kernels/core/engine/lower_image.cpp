// Operators on images that are no convolutions: most of them become addresses or work on bytes.
#include <algorithm>
#include <cmath>

#include "core/engine/lower.h"

namespace wutdet::engine {
namespace {

// Bytes of one quantisation as those of another.
std::vector<std::uint8_t> rescaling_table(Quant from, Quant to) {
  std::vector<std::uint8_t> table(256);
  for (int q = 0; q < 256; ++q) {
    const float x = static_cast<float>(q - from.zero) * from.scale;
    const float code = std::nearbyint(x / to.scale) + static_cast<float>(to.zero);
    table[static_cast<std::size_t>(q)] = static_cast<std::uint8_t>(std::clamp(code, 0.0f, 255.0f));
  }
  return table;
}

}  // namespace

bool Lowering::lower_quantize(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0], y = node.outputs[0];
  const auto quant = quant_of(node);
  if (!quant || !is_image_shape(x) || graph_.values[y].type != DataType::U8) return false;
  const Forms& forms = forms_[x];
  if (forms.bytes >= 0 && plan_.items[forms.bytes].quant == *quant) {
    forms_[y].bytes = forms.bytes;
    return true;
  }
  const int image = new_image(DataType::U8, dims(x), *quant);
  if (forms.bytes >= 0) {
    const Quant from = plan_.items[forms.bytes].quant;
    add_step(StepKind::table, node, {forms.bytes}, {image}).table = rescaling_table(from, *quant);
  } else if (forms.floats >= 0) {
    add_step(StepKind::quantise, node, {forms.floats}, {image});
  } else {
    const int dense = dense_of(x, node);
    add_step(StepKind::to_image, node, {dense}, {image});
  }
  forms_[y].bytes = image;
  return true;
}

bool Lowering::lower_dequantize(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0];
  const auto quant = quant_of(node);
  if (quant && forms_[x].bytes < 0 && is_image_shape(x) && graph_.values[x].type == DataType::U8) {
    const int image = new_image(DataType::U8, dims(x), *quant);
    add_step(StepKind::to_image, node, {dense_of(x, node)}, {image});
    forms_[x].bytes = image;
  }
  if (!quant || forms_[x].bytes < 0 || !(plan_.items[forms_[x].bytes].quant == *quant)) return false;
  forms_[node.outputs[0]].bytes = forms_[x].bytes;
  return true;
}

// Puts the parts one behind the other into `cat`. Those that have no other place are computed there; others are copied.
void Lowering::concat_items(const Node& node, int cat, const std::vector<int>& parts) {
  std::vector<int> offsets{0};
  for (const int part : parts) offsets.push_back(offsets.back() + plan_.items[part].channels());
  const int channels = offsets.back();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Place place = place_of(plan_.items, parts[i]);
    if (place.item == cat && place.channel == offsets[i]) continue;  // came with another part
    const int begin = offsets[i] - place.channel, end = begin + plan_.items[place.item].channels();
    const Item &root = plan_.items[place.item], &whole = plan_.items[cat];
    bool fits = place.item != cat && begin >= 0 && end <= channels && root.type == whole.type &&
                root.quant == whole.quant;
    for (std::size_t j = 0; fits && j < parts.size(); ++j) {
      if (offsets[j + 1] <= begin || offsets[j] >= end) continue;
      const Place other = place_of(plan_.items, parts[j]);
      fits = other.item == place.item && other.channel == offsets[j] - begin;
    }
    if (fits) {
      plan_.items[place.item].whole = cat;
      plan_.items[place.item].channel = begin;
      continue;
    }
    const Quant from = plan_.items[parts[i]].quant, to = whole.quant;
    const int slot = slice_of(cat, offsets[i], plan_.items[parts[i]].channels());
    Step& step = add_step(StepKind::table, node, {parts[i]}, {slot});
    if (!(from == to)) step.table = rescaling_table(from, to);
  }
}

bool Lowering::lower_concat(int index) {
  const Node& node = graph_.nodes[index];
  const int y = node.outputs[0];
  const std::int64_t axis = integer(node, "axis", 0);
  if (!is_image_shape(y) || (axis != 1 && axis != -3)) return false;
  bool any_image = false, all_bytes = true;
  for (const int value : node.inputs) {
    if (!is_image_shape(value)) return false;
    any_image = any_image || has_image(value);
    all_bytes = all_bytes && forms_[value].bytes >= 0;
  }
  if (!any_image) return false;
  std::vector<int> parts;
  if (all_bytes) {
    for (const int value : node.inputs) parts.push_back(forms_[value].bytes);
    Quant quant = plan_.items[parts[0]].quant;
    bool same = std::all_of(parts.begin(), parts.end(), [&](int part) { return plan_.items[part].quant == quant; });
    // Parts of different scales that meet in one right afterwards.
    const int next = only_consumer(y);
    const bool quantised = is_quantize(next);
    if (same || quantised) {
      if (!same) quant = *quant_of(graph_.nodes[next]);
      const int cat = new_image(DataType::U8, dims(y), quant);
      concat_items(node, cat, parts);
      if (same) {
        forms_[y].bytes = cat;
      } else {
        forms_[graph_.nodes[next].outputs[0]].bytes = cat;
        done_[next] = 1;
      }
      return true;
    }
    parts.clear();
  }
  for (const int value : node.inputs) parts.push_back(floats_of(value, node));
  const int cat = new_image(DataType::F32, dims(y));
  concat_items(node, cat, parts);
  forms_[y].floats = cat;
  return true;
}

// Channels of `from` as the value `to`, whose sizes are known.
bool Lowering::slice_value(int from, int to, std::int64_t channel) {
  const auto first = static_cast<int>(channel), count = static_cast<int>(dims(to)[1]);
  if (forms_[from].bytes >= 0) forms_[to].bytes = slice_of(forms_[from].bytes, first, count);
  if (forms_[from].floats >= 0) forms_[to].floats = slice_of(forms_[from].floats, first, count);
  return true;
}

bool Lowering::lower_split(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0];
  if (!is_image_shape(x) || !has_image(x)) return false;
  const std::int64_t axis = integer(node, "axis", 0);
  if (axis != 1 && axis != -3) return false;
  std::int64_t channel = 0;
  for (const int y : node.outputs) {
    if (y == kAbsent) return false;
    channel += dims(y)[1];
  }
  if (channel != dims(x)[1]) return false;
  channel = 0;
  for (const int y : node.outputs) {
    slice_value(x, y, channel);
    channel += dims(y)[1];
  }
  return true;
}

bool Lowering::lower_slice(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0], y = node.outputs[0];
  if (!is_image_shape(x) || !has_image(x) || !is_image_shape(y)) return false;
  if (node.input(3) == kAbsent) return false;
  const auto starts = integers_of(node.input(1)), axes = integers_of(node.input(3));
  const auto steps = node.input(4) == kAbsent ? std::vector<std::int64_t>{1} : integers_of(node.input(4));
  if (!starts || !axes || !steps || starts->size() != 1 || axes->size() != 1 || steps->size() != 1) return false;
  if (((*axes)[0] != 1 && (*axes)[0] != -3) || (*steps)[0] != 1) return false;
  const std::int64_t channels = dims(x)[1];
  const std::int64_t start = (*starts)[0] < 0 ? (*starts)[0] + channels : (*starts)[0];
  if (start < 0 || start + dims(y)[1] > channels) return false;
  return slice_value(x, y, start);
}

std::optional<Window> Lowering::window_of(const Node& node) const {
  const Attribute *kernel = node.find("kernel_shape"), *strides = node.find("strides"), *pads = node.find("pads"),
                  *dilations = node.find("dilations"), *auto_pad = node.find("auto_pad");
  if (!kernel || (auto_pad && auto_pad->s != "NOTSET") || integer(node, "ceil_mode", 0) != 0) return std::nullopt;
  const auto fits = [](const std::vector<std::int64_t>& values, std::size_t count, int low, int high) {
    return values.size() == count &&
           std::all_of(values.begin(), values.end(), [&](std::int64_t v) { return v >= low && v <= high; });
  };
  Window window;
  if (!fits(kernel->ints, 2, 1, 32) || (strides && !fits(strides->ints, 2, 1, 32)) ||
      (dilations && !fits(dilations->ints, 2, 1, 1)))
    return std::nullopt;
  window.height = static_cast<int>(kernel->ints[0]);
  window.width = static_cast<int>(kernel->ints[1]);
  if (pads && !fits(pads->ints, 4, 0, std::min(window.height, window.width) - 1)) return std::nullopt;
  if (strides) {
    window.stride_h = static_cast<int>(strides->ints[0]);
    window.stride_w = static_cast<int>(strides->ints[1]);
  }
  if (pads) {
    window.pad_top = static_cast<int>(pads->ints[0]);
    window.pad_left = static_cast<int>(pads->ints[1]);
  }
  return window;
}

bool Lowering::lower_max_pool(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0], y = node.outputs[0];
  if (!is_image_shape(x) || !has_image(x) || !is_image_shape(y) || node.outputs.size() != 1) return false;
  const auto window = window_of(node);
  if (!window) return false;
  const bool bytes = forms_[x].bytes >= 0;
  const int from = bytes ? forms_[x].bytes : forms_[x].floats;
  const int image = new_image(plan_.items[from].type, dims(y), plan_.items[from].quant);
  add_step(StepKind::max_pool, node, {from}, {image}).window = *window;
  (bytes ? forms_[y].bytes : forms_[y].floats) = image;
  return true;
}

bool Lowering::lower_resize(int index) {
  const Node& node = graph_.nodes[index];
  const int x = node.inputs[0], y = node.outputs[0];
  if (!is_image_shape(x) || !has_image(x) || !is_image_shape(y)) return false;
  const auto text = [&](const char* name, const char* otherwise) {
    const Attribute* found = node.find(name);
    return found ? found->s : std::string(otherwise);
  };
  if (text("mode", "nearest") != "nearest" || text("coordinate_transformation_mode", "half_pixel") != "asymmetric" ||
      text("nearest_mode", "round_prefer_floor") != "floor" || node.find("axes"))
    return false;
  const Dims &in = dims(x), &out = dims(y);
  if (out[1] != in[1] || out[2] % in[2] != 0 || out[3] % in[3] != 0) return false;
  if (fixed(node.input(2)) && graph_.values[node.input(2)].constant->size() == 4) {  // scales, which need not be sizes
    const float* scales = graph_.values[node.input(2)].constant->data<float>();
    for (int axis = 0; axis < 4; ++axis)
      if (scales[axis] != static_cast<float>(out[axis] / in[axis])) return false;
  }
  const bool bytes = forms_[x].bytes >= 0;
  const int from = bytes ? forms_[x].bytes : forms_[x].floats;
  const int image = new_image(plan_.items[from].type, out, plan_.items[from].quant);
  Step& step = add_step(StepKind::upsample, node, {from}, {image});
  step.window.height = static_cast<int>(out[2] / in[2]);
  step.window.width = static_cast<int>(out[3] / in[3]);
  (bytes ? forms_[y].bytes : forms_[y].floats) = image;
  return true;
}

bool Lowering::lower_add(int index) {
  const Node& node = graph_.nodes[index];
  const int a = node.inputs[0], b = node.inputs[1], y = node.outputs[0];
  if (!is_image_shape(a) || !is_image_shape(b) || dims(a) != dims(b) || (!has_image(a) && !has_image(b))) return false;
  const int next = only_consumer(y);
  if (is_quantize(next) && forms_[a].bytes >= 0 && forms_[b].bytes >= 0) {
    const Quant sum = *quant_of(graph_.nodes[next]), qa = plan_.items[forms_[a].bytes].quant,
                qb = plan_.items[forms_[b].bytes].quant;
    const int image = new_image(DataType::U8, dims(y), sum);
    Step& step = add_step(StepKind::add, node, {forms_[a].bytes, forms_[b].bytes}, {image});
    step.mix.own = qa.scale / sum.scale;
    step.mix.residual = qb.scale / sum.scale;
    step.mix.offset = static_cast<float>(sum.zero - double{qa.scale} * qa.zero / sum.scale -
                                         double{qb.scale} * qb.zero / sum.scale);
    forms_[graph_.nodes[next].outputs[0]].bytes = image;
    done_[next] = 1;
    return true;
  }
  const int left = floats_of(a, node), right = floats_of(b, node);
  const int image = new_image(DataType::F32, dims(y));
  add_step(StepKind::add, node, {left, right}, {image});
  forms_[y].floats = image;
  return true;
}

}  // namespace wutdet::engine
