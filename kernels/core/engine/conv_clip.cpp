#include "core/engine/conv_clip.h"

#include <algorithm>
#include <cstdlib>

namespace wutdet::engine {
namespace {

constexpr int kMost = 128;  // times 255 is below 2^15

// Takes weights of one sign off a pair, until `excess` is gone or the pair is 0; returns what is left of the excess.
int take(std::int8_t* pair, std::int8_t* taken, int sign, int excess) {
  for (int i = 0; i < 2 && excess > 0; ++i) {
    const int size = sign * pair[i];
    if (size <= 0) continue;
    const int off = std::min(size, excess);
    pair[i] = static_cast<std::int8_t>(pair[i] - sign * off);
    taken[i] = static_cast<std::int8_t>(taken[i] + sign * off);
    excess -= off;
  }
  return excess;
}

int total(const std::int8_t* weights, std::size_t step_bytes, int chain, int sign) {
  int sum = 0;
  for (int s = 0; s < chain; ++s)
    for (int i = 0; i < 2; ++i) sum += std::max(0, sign * weights[s * step_bytes + i]);
  return sum;
}

// Makes a chain safe; adds corrections for its steps, which must be safe on their own: repeats until they are.
void clip_chain(Clipped& out, std::size_t first, int chain, std::size_t lanes) {
  const std::size_t step_bytes = lanes * 4;
  std::vector<std::int8_t> taken(step_bytes * chain);
  std::int8_t* weights = out.weights.data() + first * step_bytes;
  for (std::size_t at = 0; at < step_bytes; at += 2) {
    for (int sign : {1, -1}) {
      int excess = total(weights + at, step_bytes, chain, sign) - kMost;
      // Steps in order, so that few of them get corrections.
      for (int s = 0; s < chain && excess > 0; ++s)
        excess = take(weights + s * step_bytes + at, taken.data() + s * step_bytes + at, sign, excess);
    }
  }
  for (int s = 0; s < chain; ++s) {
    std::int8_t* step = taken.data() + s * step_bytes;
    while (std::any_of(step, step + step_bytes, [](std::int8_t w) { return w != 0; })) {
      std::vector<std::int8_t> rest(step_bytes);
      for (std::size_t at = 0; at < step_bytes; at += 2)
        for (int sign : {1, -1}) take(step + at, rest.data() + at, sign, total(step + at, step_bytes, 1, sign) - kMost);
      out.steps.push_back(static_cast<std::int32_t>(first + s));
      out.corrections.insert(out.corrections.end(), step, step + step_bytes);
      std::copy(rest.begin(), rest.end(), step);
    }
  }
}

}  // namespace

Clipped clip(const std::int8_t* weights, std::size_t steps, std::size_t lanes, std::size_t unit) {
  Clipped best;
  double least = 0;
  for (int chain : {1, 2, 4}) {
    if (unit % chain != 0 || steps % chain != 0) continue;
    Clipped out;
    out.chain = chain;
    out.weights.assign(weights, weights + steps * lanes * 4);
    for (std::size_t first = 0; first < steps; first += chain) clip_chain(out, first, chain, lanes);
    // Per step: a product and an addition; per chain, widening and an addition in place of one addition.
    const double cost = steps * (2.0 + 1.0 / chain) + 4.0 * out.steps.size();
    out.steps.push_back(INT32_MAX);
    if (chain == 1 || cost < least) {
      least = cost;
      best = std::move(out);
    }
  }
  return best;
}

}  // namespace wutdet::engine
