#include "core/curves.h"

#include <algorithm>
#include <limits>
#include <thread>
#include <vector>

// The inner loops are plain C++; on x86-64 GCC makes a second version of them for CPUs with AVX2.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WUTDET_CLONES __attribute__((target_clones("avx2", "default")))
#define WUTDET_INLINE inline __attribute__((always_inline))
#else
#define WUTDET_CLONES
#define WUTDET_INLINE inline
#endif

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

// Resamples walked along together: a detection's bits are looked at once for all of them.
constexpr std::size_t kLanes = 16;

// One IoU threshold in kLanes resamples. Of the stretch between two recall points only the best precision is kept, as a
// fraction hits / counted: comparing fractions needs no division, and rounding cannot change which is largest. Of equals
// the later one is kept, whose larger denominator swallows kTiny just as in the full curve.
struct Lanes {
  std::int32_t hits[kLanes] = {};
  std::int32_t ignored[kLanes] = {};
  std::int32_t needed[kLanes] = {};  // hits at which the next recall point is reached
  std::size_t reached[kLanes] = {};  // recall points reached so far
  double best_hits[kLanes] = {};
  double best_counted[kLanes];
  Lanes() { std::fill_n(best_counted, kLanes, 1.0); }
};

// Adds a hit's weights; whether any resample has reached its next recall point.
WUTDET_INLINE bool add_hits(Lanes& now, const std::uint8_t* weight) {
  std::int32_t reached = 0;
  for (std::size_t l = 0; l < kLanes; ++l) {
    now.hits[l] += weight[l];
    reached |= now.hits[l] >= now.needed[l];
  }
  return reached != 0;
}

// A resample that leaves the image out sees its last fraction again, or a lower one: neither changes the best.
WUTDET_INLINE void keep_best(Lanes& now, const std::int32_t* seen) {
  for (std::size_t l = 0; l < kLanes; ++l) {
    const double hits = now.hits[l], counted = seen[l] - now.ignored[l];
    const bool better = hits * now.best_counted[l] >= now.best_hits[l] * counted;
    now.best_hits[l] = better ? hits : now.best_hits[l];
    now.best_counted[l] = better ? counted : now.best_counted[l];
  }
}

WUTDET_INLINE void add(std::int32_t* sum, const std::uint8_t* weight) {
  for (std::size_t l = 0; l < kLanes; ++l) sum[l] += weight[l];
}

// weight [images, kLanes]; positives [kLanes]. Writes mean_precision and recall [lanes, threshold_count].
WUTDET_CLONES void weigh(const Ranked& dt, const std::uint8_t* weight, const std::int64_t* positives, std::size_t lanes,
           std::size_t threshold_count, const double* recall_points, std::size_t recall_count, double* mean_precision,
           double* recall) {
  const bool integrate = recall_count == 0;
  const std::size_t stretches = recall_count + 1;
  // The least number of hits at which each recall point is reached, by the same division as everywhere else; never for
  // what lies behind the last point, or where there is nothing to find.
  std::vector<std::int32_t> needed(kLanes * stretches, std::numeric_limits<std::int32_t>::max());
  for (std::size_t l = 0; l < lanes; ++l) {
    const double all = static_cast<double>(positives[l]);
    for (std::size_t r = 0; r < recall_count && positives[l] > 0; ++r) {
      auto hits = std::max(static_cast<std::int32_t>(recall_points[r] * all) - 1, 0);
      while (static_cast<double>(hits) / all < recall_points[r]) ++hits;
      needed[l * stretches + r] = hits;
    }
  }
  std::vector<Lanes> now(threshold_count);
  std::vector<double> best(threshold_count * kLanes * stretches, 0.0);
  std::vector<std::vector<Step>> steps(integrate ? threshold_count * kLanes : 0);
  const auto advance = [&](std::size_t t) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      if (now[t].hits[l] < now[t].needed[l]) continue;
      if (now[t].best_hits[l] > 0)
        best[(t * kLanes + l) * stretches + now[t].reached[l]] =
            precision_of(now[t].best_hits[l], now[t].best_counted[l]);
      now[t].best_hits[l] = 0;
      now[t].best_counted[l] = 1;
      while (now[t].hits[l] >= needed[l * stretches + now[t].reached[l]]) ++now[t].reached[l];
      now[t].needed[l] = needed[l * stretches + now[t].reached[l]];
    }
  };
  for (std::size_t t = 0; t < threshold_count; ++t) {
    for (std::size_t l = 0; l < kLanes; ++l) now[t].needed[l] = needed[l * stretches];
    advance(t);
  }
  std::int32_t seen[kLanes] = {};
  for (std::size_t i = 0; i < dt.image.size(); ++i) {
    const std::uint8_t* w = weight + static_cast<std::size_t>(dt.image[i]) * kLanes;
    add(seen, w);
    unsigned bits = dt.hit[i], skipped = dt.ignored[i];
    for (; skipped != 0; skipped &= skipped - 1) add(now[static_cast<std::size_t>(__builtin_ctz(skipped))].ignored, w);
    for (; bits != 0; bits &= bits - 1) {
      const auto t = static_cast<std::size_t>(__builtin_ctz(bits));
      if (add_hits(now[t], w)) advance(t);
      if (!integrate) {
        keep_best(now[t], seen);
        continue;
      }
      for (std::size_t l = 0; l < lanes; ++l)
        if (w[l] != 0)
          steps[t * kLanes + l].push_back(
              {precision_of(now[t].hits[l], seen[l] - now[t].ignored[l]), now[t].hits[l] / double(positives[l])});
    }
  }
  for (std::size_t l = 0; l < lanes; ++l) {
    for (std::size_t t = 0; t < threshold_count; ++t) {
      double &mean = mean_precision[l * threshold_count + t], &final_recall = recall[l * threshold_count + t];
      mean = final_recall = std::numeric_limits<double>::quiet_NaN();
      if (positives[l] == 0) continue;
      final_recall = now[t].hits[l] / static_cast<double>(positives[l]);
      if (integrate) {
        mean = area_under(steps[t * kLanes + l]);
        continue;
      }
      double sum = 0;
      double high = now[t].best_hits[l] > 0 ? precision_of(now[t].best_hits[l], now[t].best_counted[l]) : 0.0;
      double* of_stretch = &best[(t * kLanes + l) * stretches];
      of_stretch[now[t].reached[l]] = high;
      high = 0;
      for (std::size_t r = recall_count; r-- > 0;) {
        high = std::max(high, of_stretch[r + 1]);
        sum += high;
      }
      mean = sum / static_cast<double>(recall_count);
    }
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
  const std::size_t blocks = (resamples + kLanes - 1) / kLanes;
  const auto some = [&](std::size_t from, std::size_t to) {
    std::vector<std::uint8_t> weight(images * kLanes);
    for (std::size_t block = from; block < to; ++block) {
      const std::size_t first = block * kLanes, lanes = std::min(kLanes, resamples - first);
      std::fill(weight.begin(), weight.end(), std::uint8_t{0});
      for (std::size_t l = 0; l < lanes; ++l)
        for (std::size_t m = 0; m < images; ++m) weight[m * kLanes + l] = weights[(first + l) * images + m];
      std::int64_t counted[kLanes] = {};
      for (std::size_t i = 0; i < positives; ++i)
        for (std::size_t l = 0; l < kLanes; ++l)
          counted[l] += weight[static_cast<std::size_t>(positive_image[i]) * kLanes + l];
      weigh(ranked, weight.data(), counted, lanes, threshold_count, recall_points, recall_count,
            mean_precision + first * threshold_count, recall + first * threshold_count);
    }
  };
  threads = std::max<std::size_t>(1, std::min(threads, blocks));
  std::vector<std::thread> others;
  for (std::size_t part = 1; part < threads; ++part)
    others.emplace_back(some, blocks * part / threads, blocks * (part + 1) / threads);
  some(0, blocks / threads);
  for (std::thread& other : others) other.join();
}

}  // namespace wutdet
