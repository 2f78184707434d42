// Precision over recall out of matches, once or for many weightings of the images. Knows no Python.
//
// The rules are those of pycocotools' COCOeval.accumulate; wutdet/evaluation/accumulate.py and bootstrap.py say them in
// NumPy. Curves are equal bit for bit, means up to the order of a sum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/matching.h"

namespace wutdet {

// Detections of one category that take part, by falling score.
struct RankedDetections {
  const std::int64_t* order;     // [count] rows of the columns below
  std::size_t count;
  const ThresholdBits* hit;      // [rows] see match_boxes
  const ThresholdBits* ignored;  // [rows]
};

// Precision and score at `recall_points` (rising) for thresholds 0 .. threshold_count - 1.
//
// `positives` is the number of ground-truth boxes that count, above 0. Writes `precision` and `point_score`
// [threshold_count, recall_count] (0 where recall is never reached), `recall` [threshold_count] at the end, and `area`
// [threshold_count] under the interpolated precision over all of recall (the integral that VOC and VisDrone take).
void precision_at_recall(const RankedDetections& dt, const double* score, std::int64_t positives,
                         std::size_t threshold_count, const double* recall_points, std::size_t recall_count,
                         double* precision, double* point_score, double* recall, double* area);

// Mean precision over the recall points (over all of recall, if there are none), and final recall, where every image
// counts `weight` times.
//
// `image` [rows] is the image of a detection, `positive_image` [positives] that of each ground-truth box that counts.
// `weights` [resamples, images]. Writes `mean_precision` and `recall` [resamples, threshold_count]; NaN where the boxes
// that count weigh nothing. Resamples are dealt out to `threads`.
void weighted_precision(const RankedDetections& dt, const std::int32_t* image, const std::uint8_t* weights,
                        std::size_t images, std::size_t resamples, const std::int32_t* positive_image,
                        std::size_t positives, std::size_t threshold_count, const double* recall_points, std::size_t recall_count,
                        std::size_t threads, double* mean_precision, double* recall);

}  // namespace wutdet
