// libFuzzer target: any bytes as a model file. Reading, planning and (where it is small) running, by the interpreter and
// by what users get, must end in a result or in a ModelFault, within the limits' memory. `make -C kernels/fuzz run` builds, seeds and runs it.
#include <cstdint>
#include <cstring>

#include "core/engine/engine.h"
#include "core/engine/fused.h"
#include "core/engine/generic.h"
#include "core/engine/onnx_reader.h"
#include "fuzz/wire_mutator.h"

namespace {

using namespace wutdet::engine;

Limits small_limits() {
  Limits limits;
  limits.nodes = 500;
  limits.values = 2'000;
  limits.tensor_bytes = 1 << 18;
  limits.folded_bytes = 1 << 20;
  limits.working_bytes = 1 << 22;
  limits.folded_work = 1 << 18;
  return limits;
}

constexpr std::uint64_t kMostWork = 1 << 17;  // of a run

std::vector<Tensor> some_inputs(const Graph& graph) {
  std::vector<Tensor> inputs;
  for (const int index : graph.inputs) {
    const Value& value = graph.values[static_cast<std::size_t>(index)];
    Tensor tensor = Tensor::make(value.type, value.dims);
    for (std::size_t i = 0; i < tensor.size(); ++i) switch (value.type) {
        case DataType::F32: tensor.data<float>()[i] = static_cast<float>(i % 17) / 8 - 1; break;
        case DataType::I32: tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>(i % 5) - 2; break;
        case DataType::I64: tensor.data<std::int64_t>()[i] = static_cast<std::int64_t>(i % 5) - 2; break;
        default: tensor.data<std::uint8_t>()[i] = i % 2; break;
      }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Limits limits = small_limits();
  try {
    const Graph graph = read_onnx(data, size, limits);
    const Interpreter interpreter(graph, limits);
    const Engine engine = open_engine(graph, {1, "auto"}, limits);
    if (interpreter.work() > kMostWork) return 0;
    const std::vector<Tensor> inputs = some_inputs(interpreter.graph());
    engine.program->run(inputs);
    if (const auto* fused = dynamic_cast<const FusedProgram*>(engine.program.get()); fused && fused->takes_pictures()) {
      fused->run_picture([](const View& out, int first, int last) {
        for (int y = first; y < last; ++y)
          std::memset(static_cast<std::uint8_t*>(out.data) + y * out.row_stride, y % 256,
                      static_cast<std::size_t>(out.pixel_stride * out.width));
      });
    }
    interpreter.run(inputs);
  } catch (const ModelFault&) {
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

// Half of the mutations know messages: they change one field and make the lengths around it right again. Random bytes
// alone break a length somewhere and never come past the reader.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most,
                                               unsigned int seed) {
  if (seed % 4 == 0) return LLVMFuzzerMutate(data, size, most);
  return wutdet::fuzz::mutate(data, size, most, seed / 4);
}

extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* a, std::size_t size_a, const std::uint8_t* b,
                                                 std::size_t size_b, std::uint8_t* out, std::size_t most,
                                                 unsigned int seed) {
  return wutdet::fuzz::cross_over(a, size_a, b, size_b, out, most, seed);
}
