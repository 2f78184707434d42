#include "core/engine/conv_chains.h"

#include <algorithm>
#include <cstdlib>

namespace wutdet::engine {
namespace {

constexpr int kMost = 128;  // times 255 is below 2^15

using Weights = std::vector<std::int8_t>;
// For every pair of values, sums of its positive weights, then of its negative ones.
using Load = std::vector<std::uint8_t>;

struct Link {
  std::int32_t step;
  Weights weights;
  Load load;
  int most = 0, total = 0;  // of the load
};

// Cuts pairs down to kMost; what is taken off remains in `rest`. Returns whether there is any.
bool cut(Weights& step, Weights& rest) {
  bool any = false;
  rest.assign(step.size(), 0);
  for (std::size_t at = 0; at < step.size(); at += 2) {
    for (const int sign : {1, -1}) {
      int excess = std::max(0, sign * step[at]) + std::max(0, sign * step[at + 1]) - kMost;
      for (std::size_t i = at; i < at + 2 && excess > 0; ++i) {
        const int off = std::min(std::max(0, sign * step[i]), excess);
        step[i] = static_cast<std::int8_t>(step[i] - sign * off);
        rest[i] = static_cast<std::int8_t>(rest[i] + sign * off);
        excess -= off;
        any = any || off > 0;
      }
    }
  }
  return any;
}

Link weigh(std::int32_t step, Weights weights) {
  Link link{step, std::move(weights), {}, 0, 0};
  const std::size_t pairs = link.weights.size() / 2;
  link.load.resize(2 * pairs);
  for (std::size_t i = 0; i < pairs; ++i) {
    for (const int sign : {1, -1}) {
      const int sum = std::max(0, sign * link.weights[2 * i]) + std::max(0, sign * link.weights[2 * i + 1]);
      link.load[i + (sign < 0 ? pairs : 0)] = static_cast<std::uint8_t>(sum);
      link.most = std::max(link.most, sum);
      link.total += sum;
    }
  }
  return link;
}

bool fits(const Load& load, const Load& more) {
  std::uint8_t over = 0;  // of all, without leaving early: so it becomes vectors
  for (std::size_t i = 0; i < load.size(); ++i)
    over |= static_cast<std::uint8_t>(load[i] > static_cast<std::uint8_t>(kMost - more[i]));
  return over == 0;
}

void chain_group(Chains& out, std::vector<Link>& links) {
  // The heaviest first, each to the first chain that can take it.
  std::stable_sort(links.begin(), links.end(), [](const Link& a, const Link& b) {
    return a.most != b.most ? a.most > b.most : a.total > b.total;
  });
  struct Open {
    Load load;
    std::vector<std::size_t> links;
  };
  std::vector<Open> chains;
  for (std::size_t i = 0; i < links.size(); ++i) {
    const Load& load = links[i].load;
    const auto chain = std::find_if(chains.begin(), chains.end(), [&](const Open& open) {
      return open.links.size() < kLongestChain && fits(open.load, load);
    });
    if (chain == chains.end()) {
      chains.push_back({load, {i}});
      continue;
    }
    for (std::size_t k = 0; k < load.size(); ++k) chain->load[k] = static_cast<std::uint8_t>(chain->load[k] + load[k]);
    chain->links.push_back(i);
  }
  for (std::size_t length = kLongestChain; length > 0; --length) {
    out.counts.push_back(0);
    for (const Open& chain : chains) {
      if (chain.links.size() != length) continue;
      ++out.counts.back();
      for (const std::size_t i : chain.links) {
        out.steps.push_back(links[i].step);
        out.weights.insert(out.weights.end(), links[i].weights.begin(), links[i].weights.end());
      }
    }
  }
}

}  // namespace

Chains chain(const std::int8_t* weights, std::size_t stride, std::size_t steps, std::size_t lanes, std::size_t group) {
  Chains out;
  for (std::size_t first = 0; first < steps; first += group) {
    std::vector<Link> links;
    for (std::size_t s = first; s < std::min(steps, first + group); ++s) {
      Weights step(weights + s * stride, weights + s * stride + lanes * 4), rest;
      for (bool more = true; more; std::swap(step, rest)) {
        more = cut(step, rest);
        links.push_back(weigh(static_cast<std::int32_t>(s), step));
      }
    }
    chain_group(out, links);
  }
  return out;
}

}  // namespace wutdet::engine
