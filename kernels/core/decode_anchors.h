// From the output of a detector that needs NMS to boxes. Knows no Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace wutdet {

// Rows of `anchors` floats each.
struct AnchorOutput {
  const float* boxes;   // centre x, centre y, width, height
  const float* scores;  // one row per category
  std::size_t categories, anchors;
};

struct DecodeSettings {
  float confidence;            // anchors whose best score is above it are candidates; one with NaN among them is none
  float iou;                   // see nms.h
  std::size_t max_candidates;  // that enter NMS, best first; of equal ones the first
  std::size_t max_boxes;
};

struct FoundBoxes {
  std::vector<float> xyxy, score;
  std::vector<std::int32_t> category;
};

// Category of a box: the first one with the best score. The arithmetic is in float, operation by operation as
// written in NumPy in tests/runtime/decode_reference.py.
FoundBoxes decode_anchors(const AnchorOutput& output, const DecodeSettings& settings);

}  // namespace wutdet
