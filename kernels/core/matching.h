// Matching of detections to ground truth. Knows no Python.
//
// The rules are those of pycocotools' COCOeval.evaluateImg; wutdet/evaluation/matching.py says them in NumPy, operation
// by operation, so results are equal bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet {

// One bit per IoU threshold, so that what became of a detection in one view takes four bytes.
using ThresholdBits = std::uint16_t;
constexpr std::size_t kMostThresholds = 16;

// Boxes of one side, sorted by group (one image and category): group g owns rows offsets[g] .. offsets[g + 1].
struct BoxTable {
  const double* xyxy;           // [count, 4] corners
  const double* area;           // [count] width times height
  const std::int64_t* offsets;  // [groups + 1]
  std::size_t count;
};

// How detections and ignored ground truth meet; see wutdet.evaluation.matching.
enum class Pairing : int { kCoco = 0, kCover = 1, kMissRate = 2 };

// Greedy matching within each group, detections in the order given (falling score).
//
// `crowd` [gt.count] marks boxes that stand for many objects: overlap is measured against the detection alone, and
// any number of detections may match. A view is a question asked of the same boxes (an area range, for example):
// `gt_ignore` [views, gt.count] marks what does not count in it, `dt_outside` [views, dt.count] the detections that
// do not count when they match nothing. Writes `hit` and `ignored` [views, dt.count]: bit t is set where the detection
// is a true positive, or does not count, at thresholds[t]; where neither is set it is a false positive. Writes, for the
// first view, `match` [thresholds, dt.count]: row of the ground-truth box, or -1. Groups are dealt out to `threads`.
void match_boxes(const BoxTable& dt, const BoxTable& gt, std::size_t groups, const std::uint8_t* crowd,
                 const std::uint8_t* gt_ignore, const std::uint8_t* dt_outside, std::size_t views,
                 const double* thresholds, std::size_t threshold_count, Pairing pairing, std::size_t threads,
                 ThresholdBits* hit, ThresholdBits* ignored, std::int32_t* match);

}  // namespace wutdet
