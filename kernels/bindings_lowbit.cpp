// The low-bit formats as Python sees them: packed codes and scales, laid out as in wutdet.lowbit.layout.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "bindings.h"
#include "core/lowbit.h"

namespace wutdet {
namespace {

using Bytes2 = nb::ndarray<std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bytes3 = nb::ndarray<std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Scales = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

enum class Kind { hif4, mxfp4, nvfp4, hif8, integer };

// One format with its options, as read from the fields of wutdet.lowbit.options.
struct Format {
  Kind kind;
  HiF4Options hif4{};
  MXFP4Options mxfp4{};
  NVFP4Options nvfp4{};
  IntegerOptions integer{};
  std::size_t group = 0, scale_bytes = 0;
  std::string granularity;
};

// Whether an option has the first of its two values.
bool first_of(const nb::dict& options, const char* name, const char* first, const char* second) {
  const std::string value = nb::cast<std::string>(options[name]);
  if (value == first) return true;
  if (value == second) return false;
  throw nb::value_error((std::string(name) + " must be " + first + " or " + second + ", received " + value).c_str());
}

Format format_of(const std::string& name, const nb::dict& options) {
  Format format;
  if (name == "hif4") {
    format.kind = Kind::hif4;
    format.hif4 = {first_of(options, "ties", "even", "away"), first_of(options, "non_finite", "saturate", "nan")};
    format.group = 64;
    format.scale_bytes = 4;
  } else if (name == "mxfp4") {
    format.kind = Kind::mxfp4;
    format.mxfp4 = {first_of(options, "scale_rule", "ceil", "floor"), first_of(options, "ties", "away", "even")};
    format.group = 32;
    format.scale_bytes = 1;
  } else if (name == "nvfp4") {
    format.kind = Kind::nvfp4;
    format.nvfp4 = {first_of(options, "scaling", "two-level", "block"), first_of(options, "reference", "ao", "te"),
                    first_of(options, "tile", "16x16", "1x16")};
    format.group = 16;
    format.scale_bytes = 1;
  } else if (name == "hif8") {
    format.kind = Kind::hif8;
  } else if (name == "int8" || name == "int4") {
    format.kind = Kind::integer;
    format.integer.bits = name == "int8" ? 8 : 4;
    format.integer.symmetric = nb::cast<bool>(options["symmetric"]);
    format.granularity = nb::cast<std::string>(options["granularity"]);
    format.group = format.granularity == "group" ? nb::cast<std::size_t>(options["group_size"]) : 0;
    format.scale_bytes = format.integer.symmetric ? 4 : 5;
    if (format.granularity == "group" && (format.group < 2 || format.group % 2))
      throw nb::value_error("group_size must be even");
  } else {
    throw nb::value_error(("no format " + name).c_str());
  }
  return format;
}

std::size_t code_bytes(const Format& format, std::size_t columns) {
  const bool whole = format.kind == Kind::hif8 || (format.kind == Kind::integer && format.integer.bits == 8);
  return whole ? columns : (columns + 1) / 2;
}

std::array<std::size_t, 3> scale_shape(const Format& format, std::size_t rows, std::size_t columns,
                                       std::size_t channels) {
  if (format.kind == Kind::hif8) return {rows, 0, 0};
  if (format.kind == Kind::integer && format.granularity != "group")
    return {format.granularity == "tensor" ? 1 : channels, 1, format.scale_bytes};
  return {rows, columns / format.group + (columns % format.group != 0), format.scale_bytes};
}

void complete(Format& format, std::size_t columns, std::size_t scale_rows) {
  format.integer.scale_rows = scale_rows;
  // A group longer than the row is the row; none is not a group.
  format.integer.group_size = std::min(format.group, std::max<std::size_t>(2, columns + columns % 2));
}

LowbitRun run_of(std::size_t rows, std::size_t columns, const std::string& path, std::size_t threads,
                 const std::optional<std::uint64_t>& seed) {
  if (path != "auto" && path != "portable") throw nb::value_error("path must be auto or portable");
  return {rows, columns, path == "portable", threads, seed.has_value(), seed.value_or(0)};
}

// NumPy's own memory: it asks the system for huge pages, which halves the time of writing a large array first.
template <typename Array, typename... Sizes>
Array empty(const char* dtype, Sizes... sizes) {
  return nb::cast<Array>(nb::module_::import_("numpy").attr("empty")(nb::make_tuple(sizes...), dtype));
}

nb::tuple encode(const std::string& name, Rows<float> x, const nb::dict& options, std::size_t channels,
                 std::optional<std::uint64_t> seed, const std::string& path, std::size_t threads) {
  Format format = format_of(name, options);
  const std::size_t rows = x.shape(0), columns = x.shape(1);
  if (format.granularity == "channel" && (channels == 0 ? rows != 0 : rows % channels != 0))
    throw nb::value_error("rows must be a multiple of the channels");
  const std::array<std::size_t, 3> shape = scale_shape(format, rows, columns, channels);
  complete(format, columns, shape[0]);
  const LowbitRun run = run_of(rows, columns, path, threads, seed);
  auto codes = empty<Bytes2>("uint8", rows, code_bytes(format, columns));
  auto scales = empty<Bytes3>("uint8", shape[0], shape[1], shape[2]);
  float tensor_scale = 1;
  {
    nb::gil_scoped_release release;
    switch (format.kind) {
      case Kind::hif4: encode_hif4(x.data(), run, format.hif4, codes.data(), scales.data()); break;
      case Kind::mxfp4: encode_mxfp4(x.data(), run, format.mxfp4, codes.data(), scales.data()); break;
      case Kind::nvfp4: tensor_scale = encode_nvfp4(x.data(), run, format.nvfp4, codes.data(), scales.data()); break;
      case Kind::hif8: encode_hif8(x.data(), run, codes.data()); break;
      case Kind::integer: encode_integer(x.data(), run, format.integer, codes.data(), scales.data()); break;
    }
  }
  return nb::make_tuple(codes, scales, tensor_scale);
}

Matrix decode(const std::string& name, Rows<std::uint8_t> codes, Scales scales, float tensor_scale, std::size_t columns,
              const nb::dict& options, const std::string& path, std::size_t threads, std::optional<Matrix> out) {
  Format format = format_of(name, options);
  const std::size_t rows = codes.shape(0);
  const std::array<std::size_t, 3> shape = scale_shape(format, rows, columns, scales.shape(0));
  for (std::size_t i = 0; i < 3; ++i)
    if (scales.shape(i) != shape[i]) throw nb::value_error("scales do not have the shape that the format has");
  if (codes.shape(1) != code_bytes(format, columns)) throw nb::value_error("codes are not of this many columns");
  if (format.kind == Kind::integer && rows != 0 && (shape[0] == 0 || rows % shape[0] != 0))
    throw nb::value_error("rows must be a multiple of the channels");
  if (out && (out->shape(0) != rows || out->shape(1) != columns)) throw nb::value_error("out has another shape");
  complete(format, columns, shape[0]);
  const LowbitRun run = run_of(rows, columns, path, threads, std::nullopt);
  Matrix values = out ? *out : empty<Matrix>("float32", rows, columns);
  {
    nb::gil_scoped_release release;
    switch (format.kind) {
      case Kind::hif4: decode_hif4(codes.data(), scales.data(), run, values.data()); break;
      case Kind::mxfp4: decode_mxfp4(codes.data(), scales.data(), run, values.data()); break;
      case Kind::nvfp4:
        decode_nvfp4(codes.data(), scales.data(), run, tensor_scale, format.nvfp4.torchao, values.data());
        break;
      case Kind::hif8: decode_hif8(codes.data(), run, values.data()); break;
      case Kind::integer: decode_integer(codes.data(), scales.data(), run, format.integer, values.data()); break;
    }
  }
  return values;
}

}  // namespace

void bind_lowbit(nb::module_& module) {
  module.def("lowbit_encode", &encode, nb::arg("format"), nb::arg("x"), nb::arg("options"), nb::arg("channels") = 1,
             nb::arg("seed") = nb::none(), nb::arg("path") = "auto", nb::arg("threads") = 0,
             "Packed codes [R, bytes], scales [S, G, B] and tensor scale of float32 [R, N]; see wutdet.lowbit.backends."
             " `options`: all fields of the format's options by name.");
  module.def("lowbit_decode", &decode, nb::arg("format"), nb::arg("codes"), nb::arg("scales"), nb::arg("tensor_scale"),
             nb::arg("columns"), nb::arg("options"), nb::arg("path") = "auto", nb::arg("threads") = 0,
             nb::arg("out") = nb::none(), "float32 [R, N] of packed codes and scales, into `out` where it is given.");
  module.def("lowbit_has_fast_path", &lowbit_has_fast_path,
             "Whether path 'auto' is another than 'portable' on this processor.");
}

}  // namespace wutdet
