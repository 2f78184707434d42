#include "core/matching.h"

#include <algorithm>
#include <limits>
#include <thread>
#include <vector>

namespace wutdet {
namespace {

struct Candidate {
  std::int32_t gt;  // row within the group
  double iou;
  double cover;  // what decides whether an ignored box swallows the detection; 0 where IoU decides
};

double overlap_area(const double* d, const double* g) {
  const double width = std::min(d[2], g[2]) - std::max(d[0], g[0]);
  if (width <= 0) return 0;
  const double height = std::min(d[3], g[3]) - std::max(d[1], g[1]);
  return height <= 0 ? 0 : width * height;
}

// The order of operations is that of pycocotools' bbIou, with corners in place of left + width.
double overlap_ratio(double overlap, double d_area, double g_area, bool crowd) {
  return overlap == 0 ? 0 : overlap / (crowd ? d_area : d_area + g_area - overlap);
}

double cover_of(Pairing pairing, double overlap, double d_area, double g_area) {
  if (pairing == Pairing::kCoco || overlap == 0) return 0;
  const double share = overlap / d_area;
  if (pairing == Pairing::kCover) return share;
  // TinyPerson's miss rate takes the share for an IoU and turns it into a share once more; above one half it swallows.
  return share / (1 + share) * (1 + g_area / d_area) > 0.5 ? std::numeric_limits<double>::infinity() : share;
}

// Everything match_boxes was given, so that a thread needs one pointer and a range of groups.
struct Task {
  const BoxTable& dt;
  const BoxTable& gt;
  const std::uint8_t* crowd;
  const std::uint8_t* gt_ignore;
  const std::uint8_t* dt_outside;
  std::size_t views;
  std::vector<double> bars;
  double lowest_bar;
  ThresholdBits all;  // one bit per threshold
  Pairing pairing;
  ThresholdBits* hit;
  ThresholdBits* ignored;
  std::int32_t* match;
};

void match_groups(const Task& task, std::size_t first_group, std::size_t last_group) {
  const BoxTable &dt = task.dt, &gt = task.gt;
  const std::size_t threshold_count = task.bars.size();
  std::vector<Candidate> candidates;  // of all detections of the group, one after the other
  std::vector<std::size_t> first;     // where each detection's candidates start
  std::vector<std::int64_t> contested;  // detections that have candidates
  std::vector<std::uint8_t> taken;    // of the group's ground truth
  for (std::size_t group = first_group; group < last_group; ++group) {
    const std::int64_t d0 = dt.offsets[group], d1 = dt.offsets[group + 1];
    const std::int64_t g0 = gt.offsets[group], g1 = gt.offsets[group + 1];

    // Pairs below the lowest bar can match nowhere, and most pairs are below it.
    candidates.clear();
    contested.clear();
    first.assign(1, 0);
    for (std::int64_t d = d0; d < d1; ++d) {
      for (std::int64_t g = g0; g < g1; ++g) {
        const double overlap = overlap_area(dt.xyxy + 4 * d, gt.xyxy + 4 * g);
        const double iou = overlap_ratio(overlap, dt.area[d], gt.area[g], task.crowd[g] != 0);
        const double cover = cover_of(task.pairing, overlap, dt.area[d], gt.area[g]);
        if (std::max(iou, cover) >= task.lowest_bar)
          candidates.push_back({static_cast<std::int32_t>(g - g0), iou, cover});
      }
      if (candidates.size() > first.back()) {
        contested.push_back(d);
        first.push_back(candidates.size());
      }
      for (std::size_t t = 0; t < threshold_count; ++t) task.match[t * dt.count + d] = -1;
    }

    for (std::size_t view = 0; view < task.views; ++view) {
      const std::uint8_t* ignore = task.gt_ignore + view * gt.count + g0;
      const std::uint8_t* outside = task.dt_outside + view * dt.count;
      ThresholdBits* hit = task.hit + view * dt.count;
      ThresholdBits* ignored = task.ignored + view * dt.count;
      for (std::int64_t d = d0; d < d1; ++d) {
        hit[d] = 0;
        ignored[d] = outside[d] ? task.all : 0;
      }
      for (std::size_t t = 0; t < threshold_count; ++t) {
        const auto bit = static_cast<ThresholdBits>(1u << t);
        taken.assign(static_cast<std::size_t>(g1 - g0), 0);
        for (std::size_t c = 0; c < contested.size(); ++c) {
          const std::int64_t d = contested[c];
          if (task.pairing == Pairing::kMissRate && outside[d]) continue;
          std::int32_t best = -1;
          // What counts comes first; what is ignored is only looked at where nothing that counts was found.
          const std::uint8_t passes = task.pairing == Pairing::kCoco ? 2 : 1;
          for (std::uint8_t pass = 0; pass < passes && best < 0; ++pass) {
            double bar = task.bars[t];
            for (std::size_t i = first[c]; i < first[c + 1]; ++i) {
              const std::int32_t g = candidates[i].gt;
              if ((ignore[g] != 0) != (pass != 0)) continue;
              if (taken[static_cast<std::size_t>(g)] && !task.crowd[g0 + g]) continue;
              if (candidates[i].iou < bar) continue;  // of equals, the later one wins
              bar = candidates[i].iou;
              best = g;
            }
          }
          if (best < 0) {
            if (task.pairing == Pairing::kCoco) continue;
            for (std::size_t i = first[c]; i < first[c + 1]; ++i)
              if (ignore[candidates[i].gt] && candidates[i].cover >= task.bars[t]) ignored[d] |= bit;
            continue;
          }
          taken[static_cast<std::size_t>(best)] = 1;
          if (ignore[best]) {
            ignored[d] |= bit;
          } else {
            hit[d] |= bit;
            ignored[d] &= static_cast<ThresholdBits>(~bit);
          }
          if (view == 0) task.match[t * dt.count + d] = static_cast<std::int32_t>(g0 + best);
        }
      }
    }
  }
}

}  // namespace

void match_boxes(const BoxTable& dt, const BoxTable& gt, std::size_t groups, const std::uint8_t* crowd,
                 const std::uint8_t* gt_ignore, const std::uint8_t* dt_outside, std::size_t views,
                 const double* thresholds, std::size_t threshold_count, Pairing pairing, std::size_t threads,
                 ThresholdBits* hit, ThresholdBits* ignored, std::int32_t* match) {
  Task task{dt, gt, crowd, gt_ignore, dt_outside, views, {}, std::numeric_limits<double>::infinity(),
            static_cast<ThresholdBits>((1u << threshold_count) - 1), pairing, hit, ignored, match};
  for (std::size_t t = 0; t < threshold_count; ++t) task.bars.push_back(std::min(thresholds[t], 1 - 1e-10));
  for (double bar : task.bars) task.lowest_bar = std::min(task.lowest_bar, bar);

  // Parts of about as many detections each; they write to different rows, so the result does not depend on them.
  std::vector<std::size_t> border{0};
  for (std::size_t part = 1; part < threads; ++part) {
    const auto wanted = static_cast<std::int64_t>(dt.count * part / threads);
    const auto place = std::lower_bound(dt.offsets, dt.offsets + groups, wanted) - dt.offsets;
    border.push_back(std::max(border.back(), static_cast<std::size_t>(place)));
  }
  border.push_back(groups);
  std::vector<std::thread> others;
  for (std::size_t part = 1; part + 1 < border.size(); ++part)
    others.emplace_back(match_groups, std::cref(task), border[part], border[part + 1]);
  match_groups(task, border[0], border[1]);
  for (std::thread& other : others) other.join();
}

}  // namespace wutdet
