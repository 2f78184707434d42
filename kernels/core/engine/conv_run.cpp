// Binds layers to buffers and goes over their rows and blocks.
#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "core/engine/conv.h"
#include "core/engine/conv_kernels.h"

namespace wutdet::engine {
namespace {

// Above this, weights are gone from the second-level cache before the next row: blocks go outside.
constexpr std::size_t kWeightsThatStay = std::size_t{1} << 19;
constexpr std::size_t kAlign = 64;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument("convolution: " + why); }

std::ptrdiff_t size_of(Number number) { return number == Number::u8 ? 1 : 4; }

void check_view(const View& view, const char* name, int channels, Number number) {
  const std::ptrdiff_t size = size_of(number);
  if (view.channels != channels)
    refuse(std::string(name) + " must have " + std::to_string(channels) + " channels, received " +
           std::to_string(view.channels));
  if (view.data == nullptr || view.height < 1 || view.width < 1) refuse(std::string(name) + " is empty");
  if (view.pixel_stride < channels * size || view.row_stride < view.width * view.pixel_stride ||
      view.pixel_stride % size != 0 || view.row_stride % size != 0 ||
      reinterpret_cast<std::uintptr_t>(view.data) % size != 0)
    refuse(std::string(name) + " has strides too small or not aligned");
}

std::uint8_t* pixel(const View& view, std::ptrdiff_t y, std::ptrdiff_t x) {
  return static_cast<std::uint8_t*>(view.data) + y * view.row_stride + x * view.pixel_stride;
}

bool widens(const ConvSpec& spec, bool real) { return real && spec.input == Number::u8; }
bool is_real(const ConvLayer& layer) { return layer.scale.bytes() == 0; }

// Columns of the input that a row of outputs sees, from -pad_left on.
std::ptrdiff_t seen_columns(const ConvSpec& spec, int width) {
  return std::ptrdiff_t{width - 1} * spec.stride_w + std::ptrdiff_t{spec.kernel_w - 1} * spec.dilation_w + 1;
}

// Offsets of taps, joined where they follow each other and cut where groups end.
std::vector<Run> runs_of(const ConvSpec& s, std::ptrdiff_t row_stride, std::ptrdiff_t pixel_stride,
                         std::ptrdiff_t value_size, bool real) {
  const std::int32_t step_values = real ? 1 : 4;
  const std::int32_t per_tap = s.depthwise ? 1 : s.in_channels / step_values;
  std::vector<Run> joined;
  std::ptrdiff_t end = 0;
  for (int i = 0; i < s.kernel_h; ++i) {
    for (int j = 0; j < s.kernel_w; ++j) {
      const std::ptrdiff_t at = i * s.dilation_h * row_stride + j * s.dilation_w * pixel_stride;
      if (!joined.empty() && at == end && !s.depthwise) joined.back().steps += per_tap;
      else joined.push_back({at, per_tap, 0});
      end = at + per_tap * step_values * value_size;
    }
  }
  if (s.group == 0) return joined;
  const std::size_t once = joined.size();
  for (int plane = 1; plane < s.planes; ++plane)
    for (std::size_t i = 0; i < once; ++i) joined.push_back(joined[i]);
  std::vector<Run> cut;
  std::int32_t left = s.group / 4;
  for (Run run : joined) {
    while (run.steps > 0) {
      const std::int32_t steps = std::min(run.steps, left);
      left -= steps;
      cut.push_back({run.offset, steps, left == 0});
      if (left == 0) left = s.group / 4;
      run.offset += 4 * std::ptrdiff_t{steps};
      run.steps -= steps;
    }
  }
  cut.back().ends_group = 1;
  return cut;
}

// Of steps of int8 weights, counted over all runs.
std::vector<std::int32_t> offsets_of(const std::vector<Run>& runs, const std::vector<std::int32_t>& steps) {
  std::vector<std::int32_t> all, offsets;
  if (steps.empty()) return offsets;
  for (const Run& run : runs) {
    if (std::abs(run.offset) > INT32_MAX - 4 * std::ptrdiff_t{run.steps}) refuse("rows of the input are too long");
    for (std::int32_t i = 0; i < run.steps; ++i) all.push_back(static_cast<std::int32_t>(run.offset) + 4 * i);
  }
  for (const std::int32_t step : steps) offsets.push_back(all[static_cast<std::size_t>(step)]);
  return offsets;
}

}  // namespace

int sum_lanes(int out_channels, const ConvKernels& kernels) {
  return (out_channels + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
}

ConvCall bind(const ConvLayer& layer, const View& in, const View& out, const View* second) {
  const ConvSpec& s = layer.spec;
  check_view(in, "the input", s.in_channels, s.input);
  const int lanes = sum_lanes(s.out_channels, *layer.kernels);
  check_view(out, "the output", s.output == Number::i32 ? lanes : s.out_channels, s.output);
  const View* const residual = s.starts ? nullptr : second;
  if ((s.residual || s.starts) != (second != nullptr))
    refuse("a residual or starts belong to layers that are packed with them, and only there");
  ConvCall call;
  call.layer = &layer;
  call.in = in;
  call.out = out;
  if (residual != nullptr) {
    check_view(*residual, "the residual", s.out_channels, s.output);
    if (residual->height != out.height || residual->width != out.width)
      refuse("the residual must have the output's size");
    call.residual = *residual;
  }
  if (s.starts) {
    check_view(*second, "the starts", lanes, Number::i32);
    if (2 * second->width != out.width || out.height % second->height != 0)
      refuse("starts must have half the output's width and a divisor of its height");
    call.starts = *second;
  }
  // Below and right of the input lie at most as many border pixels as are needed for the last output.
  if ((out.height - 1) * std::int64_t{s.stride_h} - s.pad_top >= in.height ||
      (out.width - 1) * std::int64_t{s.stride_w} - s.pad_left >= in.width)
    refuse("the output is larger than the input allows");
  const bool real = is_real(layer);
  std::ptrdiff_t row_stride = in.row_stride, pixel_stride = in.pixel_stride;
  if (widens(s, real)) {
    pixel_stride = 4 * std::ptrdiff_t{s.in_channels};
    row_stride = pixel_stride * seen_columns(s, out.width);
    call.scratch_bytes = (std::size_t(row_stride) * s.kernel_h + kAlign - 1) / kAlign * kAlign;
  }
  ConvSpec taps = s;
  if (widens(s, real)) taps.dilation_h = 1;  // rows lie one after the other in scratch, whatever the dilation
  call.runs = runs_of(taps, row_stride, pixel_stride, real ? 4 : 1, real);
  call.chain_offsets = offsets_of(call.runs, layer.chain_steps);
  const auto gapless = [](const View& v) { return v.row_stride == v.width * v.pixel_stride; };
  call.flat = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
              s.pad_left == 0 && in.width == out.width && gapless(in) && gapless(out) &&
              (residual == nullptr || gapless(*residual)) && !widens(s, real) && !s.starts;
  return call;
}

void run(const ConvCall& call, int first_row, int last_row, int first_block, int last_block, void* scratch) {
  const ConvLayer& layer = *call.layer;
  const ConvSpec& s = layer.spec;
  const ConvKernels& kernels = *layer.kernels;
  const bool real = is_real(layer), widen = widens(s, real);
  const ConvRowFunction row_function = s.depthwise ? (real ? kernels.depthwise_real : kernels.depthwise_int8)
                                       : real      ? kernels.real
                                       : s.group   ? kernels.grouped
                                                   : kernels.int8;
  ConvRow row{};
  row.in_step = widen ? 4 * std::ptrdiff_t{s.in_channels} * s.stride_w : call.in.pixel_stride * s.stride_w;
  row.runs = call.runs.data();
  row.run_count = static_cast<int>(call.runs.size());
  row.out_step = call.out.pixel_stride;
  row.residual_step = call.residual.pixel_stride;
  row.steps = static_cast<int>(layer.quads);
  row.groups = s.group ? static_cast<int>((4 * layer.quads + s.group - 1) / s.group) : 1;
  row.table = layer.has_table ? layer.table.as<std::uint8_t>() : nullptr;
  row.zero = s.output_zero;
  row.mix_own = s.mix.own;
  row.mix_residual = s.mix.residual;
  row.mix_offset = s.mix.offset;
  row.silu = s.silu;
  row.to_u8 = s.output == Number::u8;
  row.quantise = row.to_u8 && (real || s.silu);
  row.sums_only = s.output == Number::i32;
  row.starts_step = call.starts.pixel_stride / 4;

  const auto do_row = [&](int y, int rows, const ConvBlock& block) {
    const std::ptrdiff_t size = size_of(s.output);
    row.pixels = call.out.width * rows;
    if (widen) {
      row.in = static_cast<const std::uint8_t*>(scratch);
    } else {
      row.in = pixel(call.in, std::ptrdiff_t{y} * s.stride_h - s.pad_top, -s.pad_left);
    }
    if (s.depthwise) row.in += block.first * (real ? 4 : 1);
    row.out = pixel(call.out, y, 0) + (row.sums_only ? block.rows : std::size_t(block.first)) * size;
    if (s.starts) {
      const int repeat = call.out.height / call.starts.height;
      row.starts = reinterpret_cast<const std::int32_t*>(pixel(call.starts, y / repeat, 0)) + block.rows;
    }
    row.residual = s.residual ? pixel(call.residual, y, 0) + block.first * size : nullptr;
    row.channels = block.channels;
    row.vectors = block.vectors;
    row.weights = layer.weights.as<std::uint8_t>() + block.weights;
    row.initial = layer.initial.as<std::int32_t>() + (layer.initial.bytes() ? block.rows : 0);
    row.scale = layer.scale.as<float>() + (layer.scale.bytes() ? block.rows : 0);
    row.bias = layer.bias.as<float>() + block.rows;
    row.inverse = layer.inverse.as<float>() + block.rows;
    row.group_scale = layer.group_scale.as<float>() + (layer.group_scale.bytes() ? block.groups : 0);
    row.group_initial = layer.group_initial.as<std::int32_t>() + (layer.group_initial.bytes() ? block.groups : 0);
    row.chains = layer.chains.data() + block.chains;
    row.chain_offsets = call.chain_offsets.data() + block.chain_steps;
    row_function(row);
  };

  if (call.flat) {
    for (int b = first_block; b < last_block; ++b)
      if (last_row > first_row) do_row(first_row, last_row - first_row, layer.blocks[b]);
    return;
  }
  if (widen) {
    const std::ptrdiff_t values = seen_columns(s, call.out.width) * s.in_channels;
    for (int y = first_row; y < last_row; ++y) {
      float* out = static_cast<float*>(scratch);
      for (int i = 0; i < s.kernel_h; ++i) {
        const std::uint8_t* in =
            pixel(call.in, std::ptrdiff_t{y} * s.stride_h - s.pad_top + std::ptrdiff_t{i} * s.dilation_h, -s.pad_left);
        if (call.in.pixel_stride == s.in_channels) {
          kernels.widen(in, values, s.input_zero, s.input_scale, out);
        } else {
          for (std::ptrdiff_t x = 0; x < values / s.in_channels; ++x)
            kernels.widen(in + x * call.in.pixel_stride, s.in_channels, s.input_zero, s.input_scale,
                          out + x * s.in_channels);
        }
        out += values;
      }
      for (int b = first_block; b < last_block; ++b) do_row(y, 1, layer.blocks[b]);
    }
    return;
  }
  if (layer.weights.bytes() > kWeightsThatStay) {
    for (int b = first_block; b < last_block; ++b)
      for (int y = first_row; y < last_row; ++y) do_row(y, 1, layer.blocks[b]);
  } else {
    for (int y = first_row; y < last_row; ++y)
      for (int b = first_block; b < last_block; ++b) do_row(y, 1, layer.blocks[b]);
  }
}

}  // namespace wutdet::engine
