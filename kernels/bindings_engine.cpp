// The native engine as Python sees it: a model file, arrays in, arrays out.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.h"
#include "bindings_frame.h"
#include "core/engine/dispatch.h"
#include "core/engine/engine.h"
#include "core/engine/fused.h"
#include "core/engine/letterbox.h"
#include "core/engine/onnx_reader.h"

namespace wutdet {
namespace {

using engine::DataType;
using engine::Engine;
using engine::Tensor;
using Array = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<nb::numpy>;

constexpr struct {
  DataType type;
  nb::dlpack::dtype dtype;
} kTypes[] = {
    {DataType::F32, nb::dtype<float>()},       {DataType::U8, nb::dtype<std::uint8_t>()},
    {DataType::I8, nb::dtype<std::int8_t>()},  {DataType::I32, nb::dtype<std::int32_t>()},
    {DataType::I64, nb::dtype<std::int64_t>()}, {DataType::BOOL, nb::dtype<bool>()},
};

// The array's own memory, borrowed: it must outlive the tensor.
Tensor borrowed(const Array& array) {
  for (const auto& entry : kTypes) {
    if (entry.dtype != array.dtype()) continue;
    Tensor tensor;
    tensor.type = entry.type;
    for (std::size_t axis = 0; axis < array.ndim(); ++axis)
      tensor.dims.push_back(static_cast<std::int64_t>(array.shape(axis)));
    auto* memory = static_cast<std::byte*>(const_cast<void*>(static_cast<const void*>(array.data())));
    tensor.bytes = std::shared_ptr<std::byte>(memory, [](std::byte*) {});
    return tensor;
  }
  throw nb::type_error("arrays must be float32, uint8, int8, int32, int64 or bool");
}

Result to_result(Tensor tensor) {
  nb::dlpack::dtype dtype = kTypes[0].dtype;
  for (const auto& entry : kTypes)
    if (entry.type == tensor.type) dtype = entry.dtype;
  const std::vector<std::size_t> shape(tensor.dims.begin(), tensor.dims.end());
  auto* kept = new std::shared_ptr<std::byte>(tensor.bytes);
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::shared_ptr<std::byte>*>(p); });
  return Result(kept->get(), shape.size(), shape.data(), owner, nullptr, dtype);
}

void open(Engine* self, nb::bytes model, std::size_t threads, const std::string& program) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(model.c_str());
  const std::size_t size = model.size();
  nb::gil_scoped_release release;
  new (self) Engine(engine::open_engine(engine::read_onnx(data, size), {threads, program}));
}

std::vector<Result> run(const Engine& self, const std::vector<Array>& inputs) {
  std::vector<Tensor> tensors;
  for (const Array& input : inputs) tensors.push_back(borrowed(input));
  {
    nb::gil_scoped_release release;
    tensors = self.program->run(tensors);
  }
  std::vector<Result> out;
  for (Tensor& tensor : tensors) out.push_back(to_result(std::move(tensor)));
  return out;
}

bool takes_frames(const Engine& self) {
  const auto* fused = dynamic_cast<const engine::FusedProgram*>(self.program.get());
  return fused && fused->takes_pictures();
}

std::vector<Result> run_frame(const Engine& self, const Pixels& frame, const engine::FramePlan& plan) {
  if (!takes_frames(self)) throw nb::value_error("this model does not begin with rounding a picture to bytes");
  const auto* fused = static_cast<const engine::FusedProgram*>(self.program.get());
  const engine::FrameFit& fit = plan.fit();
  const engine::Dims& dims = self.inputs[0].spec.dims;
  if (dims[2] != fit.input_height || dims[3] != fit.input_width)
    throw nb::value_error("the plan is made for another input size");
  if (frame.shape(0) != static_cast<std::size_t>(fit.frame_height) ||
      frame.shape(1) != static_cast<std::size_t>(fit.frame_width))
    throw nb::value_error("the plan is made for another frame size");
  const engine::Frame pixels = pixels_of(frame);
  std::vector<Tensor> tensors;
  {
    nb::gil_scoped_release release;
    const engine::LetterboxKernels& kernels = engine::letterbox_kernels(engine::chosen_kernels());
    tensors = fused->run_picture(
        [&](const engine::View& out, int first, int last) { plan.to_bytes(pixels, out, first, last, kernels); });
  }
  std::vector<Result> out;
  for (Tensor& tensor : tensors) out.push_back(to_result(std::move(tensor)));
  return out;
}

using Layer = std::tuple<std::string, std::string, std::string, std::uint64_t, double>;

// Runs once with a clock at every step.
std::vector<Layer> layers(const Engine& self, const std::vector<Array>& inputs) {
  const auto* fused = dynamic_cast<const engine::FusedProgram*>(self.program.get());
  if (!fused) throw nb::value_error("only the program 'fused' has layers");
  std::vector<Tensor> tensors;
  for (const Array& input : inputs) tensors.push_back(borrowed(input));
  std::vector<engine::StepTime> times;
  {
    nb::gil_scoped_release release;
    fused->run_timed(tensors, times);
  }
  std::vector<Layer> out;
  for (const engine::StepTime& time : times)
    out.emplace_back(time.name, time.kind, time.shape, time.macs, time.seconds);
  return out;
}

std::string isa_of(const Engine& self) {
  const auto* fused = dynamic_cast<const engine::FusedProgram*>(self.program.get());
  return fused ? fused->isa() : "";
}

using Described = std::vector<std::tuple<std::string, std::string, std::vector<std::int64_t>>>;

Described described(const std::vector<engine::Operand>& operands) {
  Described out;
  for (const engine::Operand& operand : operands)
    out.emplace_back(operand.name, engine::name_of(operand.spec.type), operand.spec.dims);
  return out;
}

}  // namespace

void bind_engine(nb::module_& module) {
  nb::exception<engine::ModelFault>(module, "ModelFault", PyExc_ValueError);
  nb::class_<engine::FramePlan>(module, "FramePlan", "How frames of one size lie in an input; see wutdet.boxes.Letterbox.")
      .def(
          "__init__",
          [](engine::FramePlan* self, Side frame_wh, Side input_wh, Side scaled_wh, Side pad_lt, int pad_value) {
            new (self) engine::FramePlan(fit_of(frame_wh, input_wh, scaled_wh, pad_lt, pad_value));
          },
          nb::arg("frame_wh"), nb::arg("input_wh"), nb::arg("scaled_wh"), nb::arg("pad_lt"), nb::arg("pad_value"));
  nb::class_<Engine>(module, "Engine", "A model file on the native engine. Runs may overlap in several threads.")
      .def("__init__", &open, nb::arg("model"), nb::arg("threads") = 0, nb::arg("program") = "auto",
           "The bytes of an ONNX file. Raises ModelFault where it is damaged or has what is not supported.")
      .def("run", &run, nb::arg("inputs"), "The outputs' arrays of the inputs' arrays (C order, the model's types).")
      .def_prop_ro("takes_frames", &takes_frames, "Whether run_frame can be called.")
      .def("run_frame", &run_frame, nb::arg("frame").noconvert(), nb::arg("plan"),
           "The outputs' arrays of uint8 [H, W, 3] BGR, brought into the input by the plan.")
      .def_prop_ro("inputs", [](const Engine& self) { return described(self.inputs); }, "(name, type, dims) of each.")
      .def_prop_ro("outputs", [](const Engine& self) { return described(self.outputs); }, "(name, type, dims) of each.")
      .def_prop_ro("metadata", [](const Engine& self) { return self.metadata; })
      .def_prop_ro("operators", [](const Engine& self) { return self.operators; }, "Name to number of nodes.")
      .def("layers", &layers, nb::arg("inputs"),
           "One run: (name, kind, shape, multiplications, seconds) of every step of the program 'fused'.")
      .def_prop_ro("isa", &isa_of, "Which kernels the program 'fused' has; empty for others.")
      .def_prop_ro("program", [](const Engine& self) { return std::string(self.program->name()); }, "What runs it.");
}

}  // namespace wutdet
