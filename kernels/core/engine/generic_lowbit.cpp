// The functions of domain wutdet.lowbit: packed codes and scales to float32 weights, by the kernels of core/lowbit.h.
#include <cmath>
#include <cstring>

#include "core/engine/packed_weight.h"
#include "core/lowbit.h"

namespace wutdet::engine {
namespace {

using Format = PackedWeight::Format;

constexpr struct Function {
  const char* name;
  Format format;
  bool zero_points;
  std::int64_t group, scale_bytes;  // 0 where attributes say
} kFunctions[] = {
    {"DequantizeHiF4", Format::HiF4, false, 64, 4},
    {"DequantizeMXFP4", Format::MXFP4, false, 32, 1},
    {"DequantizeNVFP4", Format::NVFP4, false, 16, 1},
    {"DequantizeNVFP4TorchAO", Format::NVFP4TorchAO, false, 16, 1},
    {"DequantizeHiF8", Format::HiF8, false, 0, 0},
    {"DequantizeInt4", Format::Int4, false, 0, 0},
    {"DequantizeInt4ZeroPoint", Format::Int4, true, 0, 0},
    {"DequantizeInt8", Format::Int8, false, 0, 0},
    {"DequantizeInt8ZeroPoint", Format::Int8, true, 0, 0},
};

const Function* function_of(const std::string& op) {
  for (const Function& function : kFunctions)
    if (op == function.name) return &function;
  return nullptr;
}

const Tensor& part(const Operands& of, std::size_t index, const char* what, DataType type, const Dims& dims) {
  const Tensor& tensor = of.constant(index, what);
  if (tensor.type != type || tensor.dims != dims)
    throw ModelFault(std::string(what) + " are " + name_of(tensor.type) + " " + text_of(tensor.dims) + ", expected " +
                     name_of(type) + " " + text_of(dims));
  return tensor;
}

// Integer scales: float32 [1 or O, groups], positive and finite.
void read_integer_scales(const Operands& of, bool zero_points, PackedWeight& weight) {
  const std::int64_t group = of.integer("group", 0);
  const auto columns = static_cast<std::int64_t>(weight.columns);
  if (group < 1 || (group < columns && group % 2 != 0)) throw ModelFault("groups of " + std::to_string(group));
  weight.group = static_cast<std::size_t>(group);
  const std::int64_t groups = (columns - 1) / group + 1;
  weight.groups = static_cast<std::size_t>(groups);
  const Tensor& scales = of.constant(1, "the scales");
  const std::int64_t rows = scales.dims.size() == 2 ? scales.dims[0] : 0;
  if (rows != 1 && rows != static_cast<std::int64_t>(weight.outputs))
    throw ModelFault("the scales have " + std::to_string(rows) + " rows");
  if (rows == 1 && groups != 1 && weight.outputs != 1) throw ModelFault("groups need scales for every row");
  weight.scale_rows = static_cast<std::size_t>(rows);
  weight.scales = part(of, 1, "the scales", DataType::F32, {rows, groups});
  for (std::size_t i = 0; i < weight.scales.size(); ++i)
    if (!(weight.scales.data<float>()[i] > 0) || !std::isfinite(weight.scales.data<float>()[i]))
      throw ModelFault("scale " + std::to_string(i) + " is not positive and finite");
  if (!zero_points) return;
  weight.zero_points = part(of, 2, "the zero points", DataType::U8, {rows, groups});
  if (weight.format == Format::Int4)
    for (std::size_t i = 0; i < weight.zero_points.size(); ++i)
      if (weight.zero_points.data<std::uint8_t>()[i] > 15) throw ModelFault("a zero point above 15");
}

Prepared dequantize(const Operands& of) {
  const PackedWeight weight = read_packed_weight(of);
  return {{{DataType::F32, weight.dims()}}, [weight](const Inputs&, Outputs& out) {
            std::vector<float> rows(weight.outputs * weight.columns);
            decode_rows(weight, rows.data());
            const float* scale = weight.channel_scale.data<float>();
            for (std::size_t row = 0; row < weight.outputs; ++row)
              for (std::size_t i = row * weight.columns; i < (row + 1) * weight.columns; ++i) rows[i] *= scale[row];
            const auto inputs = static_cast<std::int64_t>(weight.inputs), wide = static_cast<std::int64_t>(weight.width);
            copy_strided(reinterpret_cast<const std::byte*>(rows.data()), out[0].dims,
                         {static_cast<std::int64_t>(weight.columns), 1, wide * inputs, inputs}, sizeof(float),
                         out[0].bytes.get());
          }};
}

}  // namespace

PackedWeight read_packed_weight(const Operands& of) {
  const Function* function = function_of(of.node().op);
  if (!function) throw ModelFault("the function is not supported");
  PackedWeight weight;
  weight.format = function->format;
  const bool integers = weight.format == Format::Int4 || weight.format == Format::Int8;
  const bool nvfp4 = weight.format == Format::NVFP4 || weight.format == Format::NVFP4TorchAO;
  const bool hif8 = weight.format == Format::HiF8;
  const std::size_t count = hif8 ? 2 : nvfp4 || function->zero_points ? 4 : 3;
  of.allow_only({count}, 1);
  const std::vector<std::int64_t> ohwi = of.integer_list("ohwi");
  if (ohwi.size() != 4) throw ModelFault("attribute 'ohwi' must be four sizes");
  // Their product is at most twice the number of bytes of the codes.
  checked_bytes(DataType::F32, ohwi, of.limits());
  for (const std::int64_t size : ohwi)
    if (size < 1) throw ModelFault("attribute 'ohwi' has a size of " + std::to_string(size));
  weight.outputs = static_cast<std::size_t>(ohwi[0]);
  weight.height = static_cast<std::size_t>(ohwi[1]);
  weight.width = static_cast<std::size_t>(ohwi[2]);
  weight.inputs = static_cast<std::size_t>(ohwi[3]);
  weight.columns = weight.height * weight.width * weight.inputs;
  const auto columns = static_cast<std::int64_t>(weight.columns);
  if (of.integer("columns", 0) != columns)
    throw ModelFault(std::to_string(of.integer("columns", 0)) + " columns do not fit 'ohwi'");
  const bool whole_bytes = hif8 || weight.format == Format::Int8;
  weight.codes = part(of, 0, "the codes", DataType::U8, {ohwi[0], whole_bytes ? columns : (columns + 1) / 2});
  weight.channel_scale = part(of, count - 1, "the channel scales", DataType::F32, {ohwi[0]});
  for (std::size_t i = 0; i < weight.outputs; ++i)
    if (!std::isfinite(weight.channel_scale.data<float>()[i])) throw ModelFault("a channel scale is not finite");
  weight.group = static_cast<std::size_t>(function->group);
  weight.groups = weight.scale_rows = 0;
  if (integers) read_integer_scales(of, function->zero_points, weight);
  if (integers || hif8) return weight;
  const std::int64_t groups = (columns - 1) / function->group + 1;
  weight.groups = static_cast<std::size_t>(groups);
  weight.scale_rows = weight.outputs;
  weight.scales = part(of, 1, "the scales", DataType::U8, {ohwi[0], groups, function->scale_bytes});
  if (!nvfp4) return weight;
  weight.tensor_scale = *part(of, 2, "the tensor scales", DataType::F32, {}).data<float>();
  for (std::size_t i = 0; i < weight.scales.size(); ++i)
    if (weight.scales.data<std::uint8_t>()[i] > 0x7F) throw ModelFault("a reserved scale code");
  return weight;
}

void decode_rows(const PackedWeight& weight, float* out) {
  const LowbitRun run{weight.outputs, weight.columns, false, 1, false, 0};
  const std::uint8_t* codes = weight.codes.data<std::uint8_t>();
  const std::uint8_t* scales = weight.scales.bytes ? weight.scales.data<std::uint8_t>() : nullptr;
  switch (weight.format) {
    case Format::HiF4: return decode_hif4(codes, scales, run, out);
    case Format::MXFP4: return decode_mxfp4(codes, scales, run, out);
    case Format::NVFP4: return decode_nvfp4(codes, scales, run, weight.tensor_scale, false, out);
    case Format::NVFP4TorchAO: return decode_nvfp4(codes, scales, run, weight.tensor_scale, true, out);
    case Format::HiF8: return decode_hif8(codes, run, out);
    default: break;
  }
  // Scale and zero point of a group lie together there.
  const bool symmetric = !weight.zero_points.bytes;
  const std::size_t width = symmetric ? 4 : 5;
  std::vector<std::uint8_t> together(weight.scales.size() * width);
  for (std::size_t i = 0; i < weight.scales.size(); ++i) {
    std::memcpy(&together[i * width], weight.scales.data<float>() + i, sizeof(float));
    if (!symmetric) together[i * width + 4] = weight.zero_points.data<std::uint8_t>()[i];
  }
  const IntegerOptions options{weight.format == Format::Int8 ? 8 : 4, symmetric,
                               weight.group < weight.columns ? weight.group : 0, weight.scale_rows};
  decode_integer(codes, together.data(), run, options, out);
}

Prepare find_lowbit(const std::string& op) { return function_of(op) ? dequantize : nullptr; }

}  // namespace wutdet::engine
