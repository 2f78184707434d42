// The engine's convolutions for tests: one layer at a time, on buffers and views that the caller lays out.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.h"
#include "core/engine/conv.h"
#include "core/engine/dispatch.h"

namespace wutdet {
namespace {

using namespace engine;
using Buffer = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
// Offset of channel 0 of pixel (0, 0) in the buffer, row stride, pixel stride (bytes), height, width, channels.
using Layout = std::tuple<std::size_t, std::ptrdiff_t, std::ptrdiff_t, int, int, int>;

View view_of(const Buffer& buffer, const Layout& layout) {
  View view;
  std::size_t offset;
  std::tie(offset, view.row_stride, view.pixel_stride, view.height, view.width, view.channels) = layout;
  if (offset > buffer.shape(0)) throw nb::value_error("the view begins outside its buffer");
  view.data = buffer.data() + offset;
  return view;
}

template <typename Value>
const Value* optional(const nb::dict& fields, const char* name, std::size_t count, std::vector<nb::object>& kept) {
  if (!fields.contains(name) || fields[name].is_none()) return nullptr;
  using Array = nb::ndarray<const Value, nb::c_contig, nb::device::cpu>;
  nb::object object = fields[name];
  const Array array = nb::cast<Array>(object);
  if (array.size() != count)
    throw nb::value_error((std::string(name) + " must have " + std::to_string(count) + " values").c_str());
  kept.push_back(object);
  return array.data();
}

Number number_of(const nb::dict& fields, const char* name) {
  const std::string value = nb::cast<std::string>(fields[name]);
  if (value == "u8") return Number::u8;
  if (value == "f32") return Number::f32;
  throw nb::value_error((std::string(name) + " must be u8 or f32").c_str());
}

// `fields`: those of ConvSpec by name; arrays may be left out. `rows`, `blocks`: where the work is cut in parts.
void conv_run(const std::string& isa, const nb::dict& fields, const Buffer& in, const Layout& in_layout,
              const Buffer& out, const Layout& out_layout, const std::optional<Buffer>& residual,
              const Layout& residual_layout, std::vector<int> rows, std::vector<int> blocks) {
  ConvSpec s;
  const auto integer = [&](const char* name, int& value) {
    if (fields.contains(name)) value = nb::cast<int>(fields[name]);
  };
  const auto real = [&](const char* name, float& value) {
    if (fields.contains(name)) value = nb::cast<float>(fields[name]);
  };
  const auto boolean = [&](const char* name, bool& value) {
    if (fields.contains(name)) value = nb::cast<bool>(fields[name]);
  };
  integer("in_channels", s.in_channels);
  integer("out_channels", s.out_channels);
  integer("kernel_h", s.kernel_h);
  integer("kernel_w", s.kernel_w);
  integer("stride_h", s.stride_h);
  integer("stride_w", s.stride_w);
  integer("pad_top", s.pad_top);
  integer("pad_left", s.pad_left);
  integer("dilation_h", s.dilation_h);
  integer("dilation_w", s.dilation_w);
  boolean("depthwise", s.depthwise);
  s.input = number_of(fields, "input");
  s.output = number_of(fields, "output");
  integer("group", s.group);
  integer("planes", s.planes);
  integer("input_zero", s.input_zero);
  real("input_scale", s.input_scale);
  boolean("silu", s.silu);
  real("inverse_scale", s.inverse_scale);
  real("output_zero", s.output_zero);
  real("mix_own", s.mix.own);
  real("mix_residual", s.mix.residual);
  real("mix_offset", s.mix.offset);
  s.residual = residual.has_value();
  std::vector<nb::object> kept;
  const std::size_t channels = std::size_t(std::max(0, s.out_channels));
  const std::size_t filter =
      std::size_t(std::max(0, s.kernel_h)) * std::max(0, s.kernel_w) * (s.depthwise ? 1 : std::max(0, s.in_channels)) *
      std::max(0, s.planes);
  s.weights = optional<std::int8_t>(fields, "weights", channels * filter, kept);
  s.float_weights = optional<float>(fields, "float_weights", channels * filter, kept);
  const std::size_t groups = s.group > 0 ? (filter + s.group - 1) / s.group : 0;
  s.group_scale = optional<float>(fields, "group_scale", channels * groups, kept);
  s.initial = optional<std::int32_t>(fields, "initial", channels, kept);
  s.scale = optional<float>(fields, "scale", channels, kept);
  s.bias = optional<float>(fields, "bias", channels, kept);
  s.factor = optional<float>(fields, "factor", channels, kept);
  s.table = optional<std::uint8_t>(fields, "table", 256, kept);
  const ConvLayer layer = pack(s, kernels_named(isa));
  const View other = residual ? view_of(*residual, residual_layout) : View{};
  const View out_view = view_of(out, out_layout);
  const ConvCall call = bind(layer, view_of(in, in_layout), out_view, residual ? &other : nullptr);
  const Packed scratch(call.scratch_bytes);
  const auto cuts = [](std::vector<int> at, int end) {
    at.insert(at.begin(), 0);
    at.push_back(end);
    for (std::size_t i = 1; i < at.size(); ++i)
      if (at[i] < at[i - 1]) throw nb::value_error("cuts must rise");
    return at;
  };
  rows = cuts(rows, out_view.height);
  blocks = cuts(blocks, block_count(layer));
  nb::gil_scoped_release release;
  for (std::size_t b = 1; b < blocks.size(); ++b)
    for (std::size_t r = 1; r < rows.size(); ++r)
      run(call, rows[r - 1], rows[r], blocks[b - 1], blocks[b], const_cast<void*>(scratch.as<void>()));
}

// Float weights [out, values] as planes: int8 [out, 2, values] and scales [out, 2].
nb::tuple conv_split(const Rows<float>& weights) {
  const std::size_t out = weights.shape(0), values = weights.shape(1);
  const Planes planes = split_in_planes(weights.data(), static_cast<int>(out), values);
  std::unique_ptr<std::int8_t[]> codes(new std::int8_t[planes.weights.size()]);
  std::copy(planes.weights.begin(), planes.weights.end(), codes.get());
  std::unique_ptr<float[]> scales(new float[planes.scales.size()]);
  std::copy(planes.scales.begin(), planes.scales.end(), scales.get());
  return nb::make_tuple(to_numpy<nb::ndarray<nb::numpy, std::int8_t, nb::ndim<3>>>(std::move(codes), {out, 2, values}),
                        to_numpy<nb::ndarray<nb::numpy, float, nb::ndim<2>>>(std::move(scales), {out, 2}));
}

}  // namespace

void bind_conv(nb::module_& module) {
  module.def("_conv_isas", &available_isas, "Names of the convolution kernels that this processor can run, best first.");
  module.def("_conv_chosen", [] { return std::string(chosen_kernels().name); },
             "The kernels in use: the best, or what WUTDET_ISA names.");
  module.def("_conv_split", &conv_split, nb::arg("weights"), "Float weights as two planes of int8; see core/engine/conv.h.");
  module.def("_conv_run", &conv_run, nb::arg("isa"), nb::arg("fields"), nb::arg("input"), nb::arg("input_layout"),
             nb::arg("output"), nb::arg("output_layout"), nb::arg("residual").none(), nb::arg("residual_layout"),
             nb::arg("rows"), nb::arg("blocks"), "One convolution on buffers of bytes; see core/engine/conv.h.");
}

}  // namespace wutdet
