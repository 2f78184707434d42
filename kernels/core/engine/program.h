// Something that runs a model: the interpreter (generic.h) or the planned executor.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/engine/graph.h"

namespace wutdet::engine {

class Program {
 public:
  virtual ~Program() = default;
  virtual const char* name() const = 0;
  // Inputs in the order of Graph::inputs, with their types and dims; they may be borrowed memory and are not kept.
  // Outputs in the order of Graph::outputs, owned by the caller. Safe to call from several threads at once.
  virtual std::vector<Tensor> run(const std::vector<Tensor>& inputs) const = 0;
};

}  // namespace wutdet::engine
