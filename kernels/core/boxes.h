// Boxes: intersection over union and non-maximum suppression. Knows no Python.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet {

// Writes the [count_a, count_b] intersection-over-union matrix of xyxy boxes, row-major; 0 where both are empty.
// The arithmetic is that of wutdet/boxes.py, operation by operation, so results are equal bit for bit.
template <typename Real>
void box_iou(const Real* a, std::size_t count_a, const Real* b, std::size_t count_b, Real* out);

// Greedy non-maximum suppression in the order given. `boxes` is [count, 4] xyxy sorted by falling score,
// `category` separates classes (boxes of different categories never suppress each other). Writes the kept
// indices to `keep` (room for `max_keep`) and returns how many there are.
std::size_t nms(const float* boxes, const std::int32_t* category, std::size_t count, float iou_threshold,
                std::size_t max_keep, std::int64_t* keep);

}  // namespace wutdet
