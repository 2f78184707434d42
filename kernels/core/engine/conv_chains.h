// Weights for processors without dot products of bytes (AVX2). vpmaddubsw adds two products in int16 and saturates, and
// results must widen to int32 before they are added up: as many instructions as the products themselves. So steps (four
// values along K, for the lanes of one or more vectors) are put in chains whose results can be added in int16 and widen
// once: those where, for every lane and pair of values, the positive weights of all steps add up to at most 128, and
// the negative ones too (128 * 255 is below 2^15). Any steps will do: kernels read inputs by a list of offsets. What a
// step has above 128 is taken off and becomes another step of the same input, so that sums are exact for any weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace wutdet::engine {

// Few lengths, since kernels have a loop for each, whose end the processor guesses wrong.
constexpr int kLongestChain = 4;

struct Chains {
  // For every group how many chains have kLongestChain steps, one less, ..., 1: in this order they follow each other.
  std::vector<std::int32_t> counts;
  std::vector<std::int32_t> steps;    // which inputs the steps of the chains have, one chain after the other
  std::vector<std::int8_t> weights;   // [steps][lanes][4]
};

// `weights`: [steps][lanes][4], a step `stride` bytes from the next. Chains do not cross groups of
// `group` steps (all steps, if there are no groups).
Chains chain(const std::int8_t* weights, std::size_t stride, std::size_t steps, std::size_t lanes, std::size_t group);

}  // namespace wutdet::engine
