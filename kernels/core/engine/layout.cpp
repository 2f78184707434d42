#include "core/engine/layout.h"

#include <algorithm>
#include <numeric>

namespace wutdet::engine {
namespace {

constexpr std::size_t kAlign = 64;

// Pixels beyond the last row or column that the last output sees.
int beyond(int outputs, int stride, int pad, int taps, int dilation, int inputs) {
  return std::max(0, (outputs - 1) * stride - pad + (taps - 1) * dilation + 1 - inputs);
}

void set_borders(Plan& plan) {
  for (const Step& step : plan.steps) {
    if (step.kind != StepKind::conv) continue;
    const ConvSpec& s = step.conv->spec;
    const Item &in = plan.items[step.inputs[0]], &out = plan.items[step.outputs[0]];
    Border& border = plan.items[place_of(plan.items, step.inputs[0]).item].border;
    border.top = std::max(border.top, s.pad_top);
    border.left = std::max(border.left, s.pad_left);
    const int below = beyond(out.height(), s.stride_h, s.pad_top, s.kernel_h, s.dilation_h, in.height()),
              right = beyond(out.width(), s.stride_w, s.pad_left, s.kernel_w, s.dilation_w, in.width());
    border.bottom = std::max(border.bottom, below);
    border.right = std::max(border.right, right);
  }
}

void size_up(const Item& item, Buffer& buffer) {
  if (!item.image) {
    buffer.bytes = element_count(item.dims) * size_of(item.type);
  } else {
    const Border& b = item.border;
    buffer.pixel_stride = static_cast<std::ptrdiff_t>(item.dims[1]) * static_cast<std::ptrdiff_t>(size_of(item.type));
    buffer.row_stride = buffer.pixel_stride * (b.left + static_cast<std::ptrdiff_t>(item.dims[3]) + b.right);
    buffer.origin = b.top * buffer.row_stride + b.left * buffer.pixel_stride;
    const std::int64_t rows = b.top + item.dims[2] + b.bottom;
    buffer.bytes = static_cast<std::size_t>(buffer.row_stride) * static_cast<std::size_t>(rows);
  }
  buffer.bytes = (std::max<std::size_t>(buffer.bytes, 1) + kAlign - 1) / kAlign * kAlign;
}

// Large ones first, each at the lowest place where nothing lies that lives at the same time.
std::size_t place(std::vector<Buffer>& buffers) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].bytes > 0) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  std::size_t total = 0;
  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t i : order) {
    Buffer& buffer = buffers[i];
    std::size_t at = 0;
    for (const std::size_t j : placed) {
      const Buffer& other = buffers[j];
      if (other.first_step > buffer.last_step || other.last_step < buffer.first_step) continue;
      if (at + buffer.bytes <= other.offset) break;
      at = std::max(at, other.offset + other.bytes);
    }
    buffer.offset = at;
    total = std::max(total, at + buffer.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](std::size_t a, std::size_t b) { return buffers[a].offset < buffers[b].offset; }),
                  i);
  }
  return total;
}

}  // namespace

Layout lay_out(Plan& plan, const std::vector<int>& elsewhere, const Limits& limits) {
  set_borders(plan);
  Layout layout;
  layout.buffers.resize(plan.items.size());
  const auto use = [&](int item, int step) {
    if (item == kAbsent) return;
    Buffer& buffer = layout.buffers[place_of(plan.items, item).item];
    if (buffer.first_step < 0) buffer.first_step = step;
    buffer.last_step = step;
  };
  const auto end = static_cast<int>(plan.steps.size());
  for (int i = 0; i < end; ++i) {
    for (const int item : plan.steps[i].inputs) use(item, i);
    for (const int item : plan.steps[i].outputs) use(item, i);
  }
  for (const int item : plan.outputs) use(item, end);
  std::vector<char> borrowed(plan.items.size(), 0);
  for (const int item : plan.inputs) borrowed[item] = 1;
  std::uint64_t bytes = 0;
  for (const int item : elsewhere) {
    borrowed[item] = 1;
    bytes += element_count(plan.items[item].dims) * size_of(plan.items[item].type);
    if (bytes > limits.working_bytes) throw ModelFault("the network needs more memory than the limit");
  }
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    Buffer& buffer = layout.buffers[i];
    if (buffer.first_step < 0 || borrowed[i] || plan.items[i].constant) continue;
    size_up(plan.items[i], buffer);
    bytes += buffer.bytes;
    if (bytes > limits.working_bytes) throw ModelFault("the network needs more memory than the limit");
  }
  layout.bytes = place(layout.buffers);
  return layout;
}

}  // namespace wutdet::engine
