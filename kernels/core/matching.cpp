#include "core/matching.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace wutdet {
namespace {

struct Candidate {
  std::int32_t gt;  // row within the group
  double iou;
};

// The order of operations is that of pycocotools' bbIou, with corners in place of left + width.
double overlap_ratio(const double* d, double d_area, const double* g, double g_area, bool crowd) {
  const double width = std::min(d[2], g[2]) - std::max(d[0], g[0]);
  if (width <= 0) return 0;
  const double height = std::min(d[3], g[3]) - std::max(d[1], g[1]);
  if (height <= 0) return 0;
  const double overlap = width * height;
  return overlap / (crowd ? d_area : d_area + g_area - overlap);
}

}  // namespace

void match_boxes(const BoxTable& dt, const BoxTable& gt, std::size_t groups, const std::uint8_t* crowd,
                 const std::uint8_t* gt_ignore, const std::uint8_t* dt_outside, std::size_t views,
                 const double* thresholds, std::size_t threshold_count, std::uint8_t* status, std::int32_t* match) {
  std::vector<double> bars(threshold_count);
  for (std::size_t t = 0; t < threshold_count; ++t) bars[t] = std::min(thresholds[t], 1 - 1e-10);
  const double lowest_bar =
      bars.empty() ? std::numeric_limits<double>::infinity() : *std::min_element(bars.begin(), bars.end());

  std::vector<Candidate> candidates;      // of all detections of the group, one after the other
  std::vector<std::size_t> first;         // where each detection's candidates start
  std::vector<std::uint8_t> taken;        // of the group's ground truth
  for (std::size_t group = 0; group < groups; ++group) {
    const std::int64_t d0 = dt.offsets[group], d1 = dt.offsets[group + 1];
    const std::int64_t g0 = gt.offsets[group], g1 = gt.offsets[group + 1];

    // Pairs below the lowest bar can match nowhere, and most pairs are below it.
    candidates.clear();
    first.assign(1, 0);
    for (std::int64_t d = d0; d < d1; ++d) {
      for (std::int64_t g = g0; g < g1; ++g) {
        const double iou = overlap_ratio(dt.xyxy + 4 * d, dt.area[d], gt.xyxy + 4 * g, gt.area[g], crowd[g] != 0);
        if (iou >= lowest_bar) candidates.push_back({static_cast<std::int32_t>(g - g0), iou});
      }
      first.push_back(candidates.size());
    }

    for (std::size_t view = 0; view < views; ++view) {
      const std::uint8_t* ignore = gt_ignore + view * gt.count + g0;
      const std::uint8_t* outside = dt_outside + view * dt.count;
      for (std::size_t t = 0; t < threshold_count; ++t) {
        std::uint8_t* out = status + (view * threshold_count + t) * dt.count;
        std::int32_t* out_match = view == 0 ? match + t * dt.count : nullptr;
        taken.assign(static_cast<std::size_t>(g1 - g0), 0);
        for (std::int64_t d = d0; d < d1; ++d) {
          const std::size_t begin = first[static_cast<std::size_t>(d - d0)];
          const std::size_t end = first[static_cast<std::size_t>(d - d0) + 1];
          std::int32_t best = -1;
          // What counts comes first; what is ignored is only looked at where nothing that counts was found.
          for (std::uint8_t pass = 0; pass < 2 && best < 0; ++pass) {
            double bar = bars[t];
            for (std::size_t c = begin; c < end; ++c) {
              const std::int32_t g = candidates[c].gt;
              if ((ignore[g] != 0) != (pass != 0)) continue;
              if (taken[static_cast<std::size_t>(g)] && !crowd[g0 + g]) continue;
              if (candidates[c].iou < bar) continue;  // of equals, the later one wins
              bar = candidates[c].iou;
              best = g;
            }
          }
          if (best >= 0) {
            taken[static_cast<std::size_t>(best)] = 1;
            out[d] = ignore[best] ? kIgnored : kTruePositive;
          } else {
            out[d] = outside[d] ? kIgnored : kFalsePositive;
          }
          if (out_match) out_match[d] = best < 0 ? -1 : static_cast<std::int32_t>(g0 + best);
        }
      }
    }
  }
}

double precision_at_recall(const std::int64_t* order, std::size_t count, const std::uint8_t* status,
                           const double* score, std::int64_t positives, const double* recall_points,
                           std::size_t recall_count, double* precision, double* point_score) {
  const double tiny = std::numeric_limits<double>::epsilon();  // pycocotools adds np.spacing(1)
  // Recall rises only at true positives, so those places (and the very first, for recall 0) are all that is needed.
  std::vector<double> precision_at, recall_at, score_at;
  std::int64_t hits = 0, false_alarms = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t what = status[order[i]];
    if (what == kTruePositive) ++hits;
    if (what == kFalsePositive) ++false_alarms;
    if (i != 0 && what != kTruePositive) continue;
    const double tp = static_cast<double>(hits), fp = static_cast<double>(false_alarms);
    precision_at.push_back(tp / (fp + tp + tiny));
    recall_at.push_back(tp / static_cast<double>(positives));
    score_at.push_back(score[order[i]]);
  }
  for (std::size_t i = precision_at.size(); i-- > 1;) {
    if (precision_at[i] > precision_at[i - 1]) precision_at[i - 1] = precision_at[i];
  }
  for (std::size_t r = 0; r < recall_count; ++r) {
    const auto place = std::lower_bound(recall_at.begin(), recall_at.end(), recall_points[r]);
    const bool reached = place != recall_at.end();
    precision[r] = reached ? precision_at[static_cast<std::size_t>(place - recall_at.begin())] : 0.0;
    point_score[r] = reached ? score_at[static_cast<std::size_t>(place - recall_at.begin())] : 0.0;
  }
  return static_cast<double>(hits) / static_cast<double>(positives);
}

}  // namespace wutdet
