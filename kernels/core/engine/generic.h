// The interpreter: every operator in its standard meaning, in NCHW, one after the other. Slow and obvious; what faster
// programs are compared with, and what runs the operators that they do not know.
#pragma once

#include <cstdint>
#include <vector>

#include "core/engine/operators.h"
#include "core/engine/program.h"

namespace wutdet::engine {

class Interpreter : public Program {
 public:
  // Takes a graph as read. Throws ModelFault where it cannot run or needs more than the limits.
  explicit Interpreter(Graph graph, const Limits& limits = {});

  const char* name() const override { return "generic"; }
  std::vector<Tensor> run(const std::vector<Tensor>& inputs) const override;

  const Graph& graph() const { return graph_; }
  std::uint64_t work() const;          // elementary steps of a run, about
  std::size_t working_bytes() const { return working_bytes_; }  // most that lives at the same time

 private:
  Graph graph_;
  std::vector<Prepared> steps_;
  std::vector<std::vector<int>> released_;  // values that nothing needs after a node
  std::size_t working_bytes_ = 0;
};

}  // namespace wutdet::engine
