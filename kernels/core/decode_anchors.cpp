#include "core/decode_anchors.h"

#include <algorithm>
#include <cstring>

#include "core/nms.h"

namespace wutdet {
namespace {

// Best scores of a few anchors at a time, in loops that become vectors.
constexpr std::size_t kBlock = 64;

struct Candidate {
  std::uint64_t order;  // rises with falling score, then with the anchor
  float score;
};

std::uint64_t order_of(float score, std::size_t anchor) {
  score += 0.0f;  // -0 equals 0
  std::uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  const std::uint32_t rising = bits >> 31 ? ~bits : bits | 0x80000000u;
  return std::uint64_t{~rising} << 32 | anchor;
}

std::vector<Candidate> candidates_of(const AnchorOutput& output, float confidence) {
  std::vector<Candidate> found;
  for (std::size_t start = 0; start < output.anchors; start += kBlock) {
    const std::size_t count = std::min(kBlock, output.anchors - start);
    float best[kBlock];
    std::int32_t invalid[kBlock], hit = 0;
    for (std::size_t i = 0; i < count; ++i) best[i] = output.scores[start + i];
    for (std::size_t i = 0; i < count; ++i) invalid[i] = best[i] != best[i];
    for (std::size_t c = 1; c < output.categories; ++c) {
      const float* row = output.scores + c * output.anchors + start;
      for (std::size_t i = 0; i < count; ++i) {
        best[i] = row[i] > best[i] ? row[i] : best[i];
        invalid[i] |= row[i] != row[i];
      }
    }
    for (std::size_t i = 0; i < count; ++i) hit |= best[i] > confidence;
    if (!hit) continue;
    for (std::size_t i = 0; i < count; ++i)
      if (best[i] > confidence && !invalid[i]) found.push_back({order_of(best[i], start + i), best[i]});
  }
  return found;
}

}  // namespace

FoundBoxes decode_anchors(const AnchorOutput& output, const DecodeSettings& settings) {
  std::vector<Candidate> candidates = candidates_of(output, settings.confidence);
  const auto before = [](const Candidate& a, const Candidate& b) { return a.order < b.order; };
  if (candidates.size() > settings.max_candidates) {
    std::nth_element(candidates.begin(), candidates.begin() + settings.max_candidates, candidates.end(), before);
    candidates.resize(settings.max_candidates);
  }
  std::sort(candidates.begin(), candidates.end(), before);

  const std::size_t anchors = output.anchors;
  std::vector<float> boxes(4 * candidates.size());
  std::vector<std::int32_t> category(candidates.size(), 0);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const std::size_t anchor = static_cast<std::uint32_t>(candidates[i].order);
    const float *at = output.boxes + anchor, *scores = output.scores + anchor;
    const float x = at[0], y = at[anchors], half_width = at[2 * anchors] / 2, half_height = at[3 * anchors] / 2;
    const float box[4] = {x - half_width, y - half_height, x + half_width, y + half_height};
    std::memcpy(&boxes[4 * i], box, sizeof box);
    for (std::size_t c = 1; c < output.categories; ++c)
      if (scores[c * anchors] > scores[category[i] * anchors]) category[i] = static_cast<std::int32_t>(c);
  }
  std::vector<std::int64_t> keep(std::min(settings.max_boxes, candidates.size()));
  keep.resize(nms(boxes.data(), category.data(), candidates.size(), settings.iou, settings.max_boxes, keep.data()));

  FoundBoxes found;
  found.xyxy.reserve(4 * keep.size());
  for (const std::int64_t i : keep) {
    found.xyxy.insert(found.xyxy.end(), &boxes[4 * i], &boxes[4 * i] + 4);
    found.score.push_back(candidates[i].score);
    found.category.push_back(category[i]);
  }
  return found;
}

}  // namespace wutdet
