#include "core/curves.h"

#include <algorithm>
#include <limits>
#include <thread>
#include <vector>

namespace wutdet {
namespace {

constexpr double kTiny = std::numeric_limits<double>::epsilon();  // pycocotools adds np.spacing(1)

double precision_of(double hits, double counted) { return hits / ((counted - hits) + hits + kTiny); }

struct Step {
  double precision, recall;  // at a true positive
};

// Area under the precision interpolated from the right, as MATLAB's VOCap and Python's usual "voc_ap" have it.
double area_under(std::vector<Step>& steps) {
  double area = 0;
  for (std::size_t i = steps.size(); i-- > 0;) {
    if (i + 1 < steps.size()) steps[i].precision = std::max(steps[i].precision, steps[i + 1].precision);
    area += (steps[i].recall - (i > 0 ? steps[i - 1].recall : 0.0)) * steps[i].precision;
  }
  return area;
}

// What the resamples share: detections that count at one threshold at least, side by side in memory.
struct Ranked {
  std::vector<std::int32_t> image;
  std::vector<ThresholdBits> hit, ignored;
};

void weigh(const Ranked& dt, const std::uint8_t* weight, std::int64_t positives, std::size_t threshold_count,
           const double* recall_points, std::size_t recall_count, double* mean_precision, double* recall) {
  // The least number of hits at which each recall point is reached, by the same division as everywhere else.
  std::vector<std::int64_t> needed(recall_count + 1, std::numeric_limits<std::int64_t>::max());
  const double all = static_cast<double>(positives);
  const bool integrate = recall_count == 0;
  std::vector<std::vector<Step>> steps(integrate ? threshold_count : 0);
  for (std::size_t r = 0; r < recall_count; ++r) {
    auto hits = static_cast<std::int64_t>(recall_points[r] * all);
    hits = std::max<std::int64_t>(hits - 1, 0);
    while (static_cast<double>(hits) / all < recall_points[r]) ++hits;
    needed[r] = hits;
  }
  // Of the stretch between two recall points only the best precision is kept, as a fraction hits / counted: comparing
  // fractions needs no division, and rounding cannot change which is largest. Of equals the later one is kept, whose
  // larger denominator swallows kTiny just as in the full curve.
  struct Stretch {
    std::int64_t hits = 0, ignored = 0;
    double best_hits = 0, best_counted = 1;
    std::size_t reached = 0;  // recall points reached so far
  };
  std::vector<Stretch> now(threshold_count);
  std::vector<double> best(threshold_count * (recall_count + 1), 0.0);
  for (Stretch& s : now)
    while (s.reached < recall_count && needed[s.reached] == 0) ++s.reached;
  const auto close = [&](std::size_t t) {
    Stretch& s = now[t];
    if (s.best_hits > 0) best[t * (recall_count + 1) + s.reached] = precision_of(s.best_hits, s.best_counted);
    s.best_hits = 0;
    s.best_counted = 1;
  };
  std::int64_t seen = 0;
  const std::size_t count = dt.image.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t w = weight[dt.image[i]];
    seen += w;
    unsigned bits = dt.hit[i], skipped = dt.ignored[i];
    if (((bits | skipped) == 0) || w == 0) continue;
    for (; skipped != 0; skipped &= skipped - 1) now[static_cast<std::size_t>(__builtin_ctz(skipped))].ignored += w;
    for (; bits != 0; bits &= bits - 1) {
      const auto t = static_cast<std::size_t>(__builtin_ctz(bits));
      Stretch& s = now[t];
      s.hits += w;
      if (integrate) {
        steps[t].push_back({precision_of(static_cast<double>(s.hits), static_cast<double>(seen - s.ignored)),
                            static_cast<double>(s.hits) / all});
        continue;
      }
      if (s.hits >= needed[s.reached]) {
        close(t);
        do ++s.reached;
        while (s.hits >= needed[s.reached]);
      }
      const double hits = static_cast<double>(s.hits), counted = static_cast<double>(seen - s.ignored);
      if (hits * s.best_counted >= s.best_hits * counted) {
        s.best_hits = hits;
        s.best_counted = counted;
      }
    }
  }
  for (std::size_t t = 0; t < threshold_count; ++t) {
    close(t);
    recall[t] = static_cast<double>(now[t].hits) / all;
    double sum = 0, high = 0;
    for (std::size_t r = recall_count; r-- > 0;) {
      high = std::max(high, best[t * (recall_count + 1) + r + 1]);
      sum += high;
    }
    mean_precision[t] = integrate ? area_under(steps[t]) : sum / static_cast<double>(recall_count);
  }
}

}  // namespace

void precision_at_recall(const RankedDetections& dt, const double* score, std::int64_t positives,
                         std::size_t threshold_count, const double* recall_points, std::size_t recall_count,
                         double* precision, double* point_score, double* recall, double* area) {
  // Recall rises only at true positives, so those places (and the very first, for recall 0) are all that is needed.
  struct Curve {
    std::vector<double> precision, recall, score;
    std::int64_t hits = 0, ignored = 0;
  };
  std::vector<Curve> curves(threshold_count);
  const double all = static_cast<double>(positives);
  for (std::size_t i = 0; i < dt.count; ++i) {
    const std::int64_t row = dt.order[i];
    const unsigned hit = dt.hit[row], ignored = dt.ignored[row];
    if ((hit | ignored) == 0 && i != 0) continue;
    for (std::size_t t = 0; t < threshold_count; ++t) {
      Curve& curve = curves[t];
      curve.ignored += (ignored >> t) & 1;
      curve.hits += (hit >> t) & 1;
      if (i != 0 && !((hit >> t) & 1)) continue;
      const double counted = static_cast<double>(static_cast<std::int64_t>(i) + 1 - curve.ignored);
      curve.precision.push_back(precision_of(static_cast<double>(curve.hits), counted));
      curve.recall.push_back(static_cast<double>(curve.hits) / all);
      curve.score.push_back(score[row]);
    }
  }
  for (std::size_t t = 0; t < threshold_count; ++t) {
    Curve& curve = curves[t];
    for (std::size_t i = curve.precision.size(); i-- > 1;)
      curve.precision[i - 1] = std::max(curve.precision[i - 1], curve.precision[i]);
    for (std::size_t r = 0; r < recall_count; ++r) {
      const auto place = std::lower_bound(curve.recall.begin(), curve.recall.end(), recall_points[r]);
      const bool reached = place != curve.recall.end();
      const auto at = static_cast<std::size_t>(place - curve.recall.begin());
      precision[t * recall_count + r] = reached ? curve.precision[at] : 0.0;
      point_score[t * recall_count + r] = reached ? curve.score[at] : 0.0;
    }
    recall[t] = static_cast<double>(curve.hits) / all;
    area[t] = 0;
    for (std::size_t i = 0; i < curve.recall.size(); ++i)
      area[t] += (curve.recall[i] - (i > 0 ? curve.recall[i - 1] : 0.0)) * curve.precision[i];
  }
}

void weighted_precision(const RankedDetections& dt, const std::int32_t* image, const std::uint8_t* weights,
                        std::size_t images, std::size_t resamples, const std::int32_t* positive_image,
                        std::size_t positives, std::size_t threshold_count, const double* recall_points, std::size_t recall_count,
                        std::size_t threads, double* mean_precision, double* recall) {
  Ranked ranked;
  const auto all = static_cast<ThresholdBits>((1u << threshold_count) - 1);
  for (std::size_t i = 0; i < dt.count; ++i) {
    const std::int64_t row = dt.order[i];
    if ((dt.ignored[row] & all) == all) continue;
    ranked.image.push_back(image[row]);
    ranked.hit.push_back(dt.hit[row] & all);
    ranked.ignored.push_back(dt.ignored[row] & all);
  }
  const auto some = [&](std::size_t from, std::size_t to) {
    for (std::size_t b = from; b < to; ++b) {
      double *mean = mean_precision + b * threshold_count, *final_recall = recall + b * threshold_count;
      const std::uint8_t* weight = weights + b * images;
      std::int64_t counted = 0;
      for (std::size_t i = 0; i < positives; ++i) counted += weight[positive_image[i]];
      if (counted > 0) {
        weigh(ranked, weight, counted, threshold_count, recall_points, recall_count, mean,
              final_recall);
      } else {
        std::fill_n(mean, threshold_count, std::numeric_limits<double>::quiet_NaN());
        std::fill_n(final_recall, threshold_count, std::numeric_limits<double>::quiet_NaN());
      }
    }
  };
  threads = std::max<std::size_t>(1, std::min(threads, resamples));
  std::vector<std::thread> others;
  for (std::size_t part = 1; part < threads; ++part)
    others.emplace_back(some, resamples * part / threads, resamples * (part + 1) / threads);
  some(0, resamples / threads);
  for (std::thread& other : others) other.join();
}

}  // namespace wutdet
