// Greedy non-maximum suppression. Knows no Python.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet {

// In the order given: a box is kept unless its overlap with a kept box of its category is above
// `iou_threshold * (area + area - overlap)`. `boxes` is [count, 4] xyxy sorted by falling score. Writes the kept
// indices to `keep` (room for `max_keep` or `count`, whichever is less) and returns how many there are. With `group`
// (numbers from 0 on, one per box), boxes of one group do not remove each other.
std::size_t nms(const float* boxes, const std::int32_t* category, std::size_t count, float iou_threshold,
                std::size_t max_keep, std::int64_t* keep, const std::int32_t* group = nullptr);

}  // namespace wutdet
