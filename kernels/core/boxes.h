// Boxes: intersection over union. Knows no Python.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet {

// Writes the [count_a, count_b] intersection-over-union matrix of xyxy boxes, row-major; 0 where both are empty.
// The arithmetic is that of wutdet/boxes.py, operation by operation, so results are equal bit for bit.
template <typename Real>
void box_iou(const Real* a, std::size_t count_a, const Real* b, std::size_t count_b, Real* out);

}  // namespace wutdet
