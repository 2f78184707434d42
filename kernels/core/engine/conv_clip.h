// Weights for processors without dot products of bytes (AVX2). vpmaddubsw adds two products in int16 and saturates. It
// cannot, as long as the positive weights of a lane's pair add up to at most 128, and the negative ones too; the same
// goes for a chain of 2 or 4 steps whose results are added in int16 before they widen. What is above is taken off and
// added by further steps, corrections, so that sums are exact for any int8 weights. Weights of 4-bit formats need none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace wutdet::engine {

struct Clipped {
  int chain = 1;                     // 1, 2 or 4 steps
  std::vector<std::int8_t> weights;  // as before, clipped
  std::vector<std::int32_t> steps;   // of the corrections, rising, then INT32_MAX
  std::vector<std::int8_t> corrections;
};

// `weights`: [steps][lanes][4] of a block. Chains neither cross `unit` steps (those of a tap, or of a group if shorter)
// nor exist where `unit` is not a multiple of theirs. The cheapest chain by counted instructions is taken.
Clipped clip(const std::int8_t* weights, std::size_t steps, std::size_t lanes, std::size_t unit);

}  // namespace wutdet::engine
