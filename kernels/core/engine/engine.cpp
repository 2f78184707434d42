#include "core/engine/engine.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "core/engine/dispatch.h"
#include "core/engine/fused.h"
#include "core/engine/generic.h"

namespace wutdet::engine {
namespace {

std::string chosen_program(const EngineSettings& settings) {
  std::string name = settings.program;
  if (const char* forced = std::getenv("WUTDET_ENGINE"); name == "auto" && forced && *forced) name = forced;
  if (name != "auto" && name != "generic" && name != "fused")
    throw std::invalid_argument("no engine program '" + name + "'; there are auto, fused and generic");
  return name;
}

std::vector<Operand> operands_of(const Graph& graph, const std::vector<int>& indices) {
  std::vector<Operand> out;
  for (const int index : indices) {
    const Value& value = graph.values[static_cast<std::size_t>(index)];
    out.push_back({value.name, {value.type, value.dims}});
  }
  return out;
}

std::vector<Operand> operands_of(const Plan& plan, const std::vector<int>& items, const std::vector<std::string>& names) {
  std::vector<Operand> out;
  for (std::size_t i = 0; i < items.size(); ++i)
    out.push_back({names[i], {plan.items[items[i]].type, plan.items[items[i]].dims}});
  return out;
}

int thread_count(std::size_t wanted) {
  const std::size_t machine = std::max(1u, std::thread::hardware_concurrency());
  return static_cast<int>(std::min<std::size_t>(wanted ? wanted : machine, ThreadPool::kMostThreads));
}

void take_fused(Engine& engine, Graph graph, int threads, const Limits& limits) {
  auto fused = std::make_unique<FusedProgram>(std::move(graph), threads, limits);
  engine.inputs = operands_of(fused->plan(), fused->plan().inputs, fused->plan().input_names);
  engine.outputs = operands_of(fused->plan(), fused->plan().outputs, fused->plan().output_names);
  engine.program = std::move(fused);
}

}  // namespace

Engine open_engine(Graph graph, const EngineSettings& settings, const Limits& limits) {
  const std::string program = chosen_program(settings);
  Engine engine;
  engine.metadata = graph.metadata;
  for (const Node& node : graph.nodes) ++engine.operators[node.domain.empty() ? node.op : node.domain + "." + node.op];
  if (program == "fused") take_fused(engine, std::move(graph), thread_count(settings.threads), limits);
  if (program == "auto") {
    chosen_kernels();  // a wrong name in WUTDET_ISA is an error, not a reason for the interpreter
    try {
      take_fused(engine, graph, thread_count(settings.threads), limits);
    } catch (const std::invalid_argument&) {  // a combination that the kernels do not have
    }
  }
  if (engine.program) return engine;
  auto interpreter = std::make_unique<Interpreter>(std::move(graph), limits);
  engine.inputs = operands_of(interpreter->graph(), interpreter->graph().inputs);
  engine.outputs = operands_of(interpreter->graph(), interpreter->graph().outputs);
  engine.program = std::move(interpreter);
  return engine;
}

}  // namespace wutdet::engine
