// Runs a model file once, for machines without Python (aarch64 under qemu): tests compare what it writes with what the
// module gives on this machine, bit for bit. WUTDET_ISA picks the kernels, as everywhere.
//   engine_run MODEL INPUT OUTPUT [fused|generic|auto] [threads]
// INPUT: the values of all inputs as they lie in memory, in the model's order, without anything between them; OUTPUT
// likewise. Prints the program and the kernels that ran.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/engine/engine.h"
#include "core/engine/fused.h"
#include "core/engine/onnx_reader.h"

using namespace wutdet::engine;

namespace {

std::vector<char> content_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot read ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Tensor> inputs_from(const std::vector<char>& bytes, const Engine& engine) {
  std::vector<Tensor> inputs;
  std::size_t at = 0;
  for (const Operand& input : engine.inputs) {
    Tensor tensor = Tensor::make(input.spec.type, input.spec.dims);
    if (bytes.size() - at < tensor.size_bytes()) throw std::runtime_error("the input file is too short");
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), tensor.size_bytes(), tensor.data<char>());
    at += tensor.size_bytes();
    inputs.push_back(std::move(tensor));
  }
  if (at != bytes.size()) throw std::runtime_error("the input file is too long");
  return inputs;
}

void run(int count, char** arguments) {
  const std::vector<char> model = content_of(arguments[1]);
  EngineSettings settings;
  settings.program = count > 4 ? arguments[4] : "fused";
  settings.threads = count > 5 ? static_cast<std::size_t>(std::atoi(arguments[5])) : 1;
  const Engine engine =
      open_engine(read_onnx(reinterpret_cast<const std::uint8_t*>(model.data()), model.size()), settings);
  std::ofstream out(arguments[3], std::ios::binary);
  for (const Tensor& tensor : engine.program->run(inputs_from(content_of(arguments[2]), engine)))
    out.write(tensor.data<char>(), static_cast<std::streamsize>(tensor.size_bytes()));
  if (!out.flush()) throw std::runtime_error(std::string("cannot write ") + arguments[3]);
  const auto* fused = dynamic_cast<const FusedProgram*>(engine.program.get());
  std::printf("%s %s\n", engine.program->name(), fused ? fused->isa() : "-");
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: engine_run MODEL INPUT OUTPUT [fused|generic|auto] [threads]\n");
    return 2;
  }
  try {
    run(count, arguments);
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "%s\n", fault.what());
    return 1;
  }
  return 0;
}
