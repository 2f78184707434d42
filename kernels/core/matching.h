// Matching of detections to ground truth, and precision over recall. Knows no Python.
//
// The rules are those of pycocotools' COCOeval (evaluateImg, accumulate); wutdet/evaluation/matching.py and
// accumulate.py say them in NumPy, operation by operation, so results are equal bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet {

// What became of a detection at one IoU threshold in one view.
enum MatchStatus : std::uint8_t { kFalsePositive = 0, kTruePositive = 1, kIgnored = 2 };

// Boxes of one side, sorted by group (one image and category): group g owns rows offsets[g] .. offsets[g + 1].
struct BoxTable {
  const double* xyxy;           // [count, 4] corners
  const double* area;           // [count] width times height
  const std::int64_t* offsets;  // [groups + 1]
  std::size_t count;
};

// Greedy matching within each group, detections in the order given (falling score).
//
// `crowd` [gt.count] marks boxes that stand for many objects: overlap is measured against the detection alone, and
// any number of detections may match. A view is a question asked of the same boxes (an area range, for example):
// `gt_ignore` [views, gt.count] marks what does not count in it, `dt_outside` [views, dt.count] the detections that
// do not count when they match nothing. Writes `status` [views, thresholds, dt.count] and, for the first view,
// `match` [thresholds, dt.count]: row of the ground-truth box, or -1.
void match_boxes(const BoxTable& dt, const BoxTable& gt, std::size_t groups, const std::uint8_t* crowd,
                 const std::uint8_t* gt_ignore, const std::uint8_t* dt_outside, std::size_t views,
                 const double* thresholds, std::size_t threshold_count, std::uint8_t* status, std::int32_t* match);

// Precision and score at `recall_points` for one category, view and threshold.
//
// `order` [count] lists the detections that take part by falling score; `status` is indexed by it. `positives` is the
// number of ground-truth boxes that count. Writes `precision` and `point_score` [recall_count] (0 where recall is
// never reached) and returns the recall at the end.
double precision_at_recall(const std::int64_t* order, std::size_t count, const std::uint8_t* status,
                           const double* score, std::int64_t positives, const double* recall_points,
                           std::size_t recall_count, double* precision, double* point_score);

}  // namespace wutdet
