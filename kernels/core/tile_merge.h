// Boxes of overlapping passes over one frame become one list of ships. Knows no Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace wutdet {

// `count` boxes (fewer than 2^32) as columns: xyxy [count, 4] and window [count, 4] (left, top, right, bottom of what the box's pass
// looked at) in pixels of the frame.
struct PassBoxes {
  const float* xyxy;
  const float* score;
  const std::int32_t* category;
  const std::int32_t* window;
  std::size_t count;
};

struct TileMergeRules {
  std::int32_t frame_width, frame_height;
  double border;    // a box this near to an inner border of its window ends there
  double part_iou;  // least overlap of a part with a ship cut down to the part's window
  float merge_iou;  // of nms
  double mean_iou;  // boxes of one ship overlap by more; one half or more
  std::size_t max_keep;
  const std::int32_t* passes = nullptr;  // [pass_count, 4]: windows for which agreement is told apart
  std::size_t pass_count = 0;
};

// One flag per box: it is cut by an inner border of its window, and another pass saw more of that ship. In double, the
// arithmetic of the reference in tests/runtime/tile_merge_reference.py, operation by operation.
std::vector<char> parts_of_others(const PassBoxes& boxes, const TileMergeRules& rules);

struct MergedPasses {
  std::vector<std::int64_t> rows;
  std::vector<float> xyxy;    // [rows, 4]
  std::vector<float> agreed;  // [rows, pass_count]: score of the box of each pass that agrees, 0 where none does
};

// Rows of the boxes that are ships, best first: no parts of others, then nms between windows. Boxes of equal score are taken in the
// order of category, left, top, right, bottom, window and row; what is not a number comes last.
//
// With them, their corners: the mean of the kept box and of the best box of each other pass that agrees with it, by
// squares of scores. A box that nms did not keep agrees with the kept one of its category, from another pass, that it
// overlaps most, if that is above merge_iou and mean_iou; of equal overlaps with the better one. What is not finite
// neither moves nor is moved. Sums in double: its own, then from the best on; without a weight, it stays.
MergedPasses merge_passes(const PassBoxes& boxes, const TileMergeRules& rules);

}  // namespace wutdet
