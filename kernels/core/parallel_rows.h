// Splitting a matrix of groups among threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <thread>
#include <vector>

namespace wutdet {

// Below this many bytes of work per thread, starting one costs more than it saves.
constexpr std::size_t kBytesPerThread = std::size_t{1} << 19;

inline std::size_t threads_for(std::size_t bytes, std::size_t most) {
  if (most == 0) most = std::max(1u, std::thread::hardware_concurrency());
  return std::max<std::size_t>(1, std::min(most, bytes / kBytesPerThread));
}

// Calls work(part, row, first group, end of groups) for contiguous parts of rows that together cover every group once;
// each of `threads` parts goes over neighbouring groups.
template <typename Work>
void for_row_parts(std::size_t rows, std::size_t groups, std::size_t threads, const Work& work) {
  const std::size_t total = rows * groups;
  const auto run = [&](std::size_t part) {
    // total / threads first: total * part would not fit for the largest tensors of a 32-bit machine.
    const std::size_t share = total / threads, extra = total % threads;
    std::size_t at = share * part + std::min(part, extra);
    const std::size_t end = at + share + (part < extra);
    while (at < end) {
      const std::size_t row = at / groups, first = at % groups;
      const std::size_t last = std::min(groups, first + (end - at));
      work(part, row, first, last);
      at += last - first;
    }
  };
  std::vector<std::thread> others;
  for (std::size_t part = 1; part < threads; ++part) others.emplace_back(run, part);
  run(0);
  for (std::thread& other : others) other.join();
}

}  // namespace wutdet
