#include "core/engine/engine.h"

#include <cstdlib>
#include <stdexcept>

#include "core/engine/generic.h"

namespace wutdet::engine {
namespace {

std::string chosen_program(const EngineSettings& settings) {
  std::string name = settings.program;
  if (const char* forced = std::getenv("WUTDET_ENGINE"); name == "auto" && forced && *forced) name = forced;
  if (name != "auto" && name != "generic")
    throw std::invalid_argument("no engine program '" + name + "'; there are auto and generic");
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

}  // namespace

Engine open_engine(Graph graph, const EngineSettings& settings, const Limits& limits) {
  chosen_program(settings);
  Engine engine;
  engine.metadata = graph.metadata;
  for (const Node& node : graph.nodes) ++engine.operators[node.domain.empty() ? node.op : node.domain + "." + node.op];
  auto interpreter = std::make_unique<Interpreter>(std::move(graph), limits);
  engine.inputs = operands_of(interpreter->graph(), interpreter->graph().inputs);
  engine.outputs = operands_of(interpreter->graph(), interpreter->graph().outputs);
  engine.program = std::move(interpreter);
  return engine;
}

}  // namespace wutdet::engine
