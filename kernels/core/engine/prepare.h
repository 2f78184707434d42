// From a graph as read to one that can run: all types and sizes known, constants folded, dead nodes gone.
#pragma once

#include <vector>

#include "core/engine/graph.h"
#include "core/engine/operators.h"

namespace wutdet::engine {

enum class Fold : std::uint8_t {
  All,
  KeepWeights,  // DequantizeLinear and wutdet.lowbit of constants stay nodes, for who computes with the codes
};

// Works on the graph in place and returns what its nodes were prepared to, in the same order.
// Throws ModelFault with the node's name: unknown operators, operands that do not fit, sizes or work beyond the limits.
std::vector<Prepared> prepare(Graph& graph, const Limits& limits = {}, Fold fold = Fold::All);

}  // namespace wutdet::engine
