// Near-duplicate search: frames whose hashes, or whose boxes, are nearly the same. Knows no Python.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet {

// Words of 64 bits in one hash (256 bits).
constexpr std::size_t kHashWords = 4;

// For each of `count_query` hashes: the nearest of `count_base` hashes (the first of equals) within `limit` bits
// (`nearest`, -1 if none), its Hamming distance (`distance`, -1 if none), and how many lie within `limit` (`found`).
// Pairs of the same group are skipped (number frames 0, 1, ... so that none is its own neighbour). All pairs are
// compared: exact, O(count_query * count_base) time, O(1) extra memory; most pairs are told apart by their first word.
void hash_neighbours(const std::uint64_t* query, const std::int64_t* query_group, std::size_t count_query,
                     const std::uint64_t* base, const std::int64_t* base_group, std::size_t count_base, int limit,
                     std::int64_t* nearest, std::int32_t* distance, std::int64_t* found);

// Connected components of the graph that joins any two hashes within `limit` bits: writes to `component` the lowest
// index of each hash's component. O(count^2) time, O(1) extra memory.
void hash_components(const std::uint64_t* hashes, std::size_t count, int limit, std::int64_t* component);

// The boxes of many frames: frame i has the xyxy boxes `offsets[i]` to `offsets[i + 1]` of `boxes` and is in `group[i]`.
struct FrameBoxes {
  const double* boxes;
  const std::int64_t* offsets;
  const std::int64_t* group;
  std::size_t count;
};

// For each query frame: the first base frame that shows the same objects (`match`, -1 if none). Two frames do when
// both have at least `min_boxes` boxes and greedy one-to-one matching at `iou` or more covers at least `share` of the
// boxes of the frame that has more. Pairs of the same group are skipped.
void box_neighbours(FrameBoxes query, FrameBoxes base, std::size_t min_boxes, double iou, double share,
                    std::int64_t* match);

}  // namespace wutdet
