// A model file, ready to run: what users of the engine open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/engine/operators.h"
#include "core/engine/program.h"

namespace wutdet::engine {

struct Operand {
  std::string name;
  Spec spec;
};

struct Engine {
  std::vector<Operand> inputs, outputs;
  std::map<std::string, std::string> metadata;
  std::map<std::string, int> operators;  // by name, with the domain where it is not the standard one: how many nodes
  std::unique_ptr<Program> program;
};

struct EngineSettings {
  std::size_t threads = 0;       // 0 means all of the machine
  std::string program = "auto";  // "fused", or "generic": the interpreter
};

// Takes a graph as read and picks the program: the one that the settings name, else the environment variable
// WUTDET_ENGINE, else the fastest that knows the graph. Throws ModelFault; std::invalid_argument for an unknown name.
Engine open_engine(Graph graph, const EngineSettings& settings, const Limits& limits = {});

}  // namespace wutdet::engine
