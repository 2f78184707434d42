#include "core/nms.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace wutdet {
namespace {

struct Box {
  float left, top, right, bottom, area;
  std::int32_t category;
  std::int32_t group;  // below 0: of none
};

bool may_suppress(const Box& a, const Box& b) {
  return a.category == b.category && (a.group != b.group || a.group < 0);
}

Box box_of(const float* xyxy, std::int32_t category, std::int32_t group) {
  const float area = std::max(xyxy[2] - xyxy[0], 0.0f) * std::max(xyxy[3] - xyxy[1], 0.0f);
  return {xyxy[0], xyxy[1], xyxy[2], xyxy[3], area, category, group};
}

// Boxes as columns, gone over in blocks without branches, so that the loop becomes vectors.
class Columns {
 public:
  void add(const Box& box) {
    if (count_ % kBlock == 0) {
      // The places not used yet are of no category.
      blocks_.emplace_back();
      std::fill_n(blocks_.back().usable, kBlock, 0);
    }
    Block& block = blocks_.back();
    const std::size_t at = count_++ % kBlock;
    block.left[at] = box.left;
    block.top[at] = box.top;
    block.right[at] = box.right;
    block.bottom[at] = box.bottom;
    block.area[at] = box.area;
    block.category[at] = box.category;
    block.group[at] = box.group;
    block.usable[at] = 1;
  }

  bool suppress(const Box& box, float threshold) const {
    const std::int32_t alone = box.group < 0;
    for (const Block& block : blocks_) {
      std::int32_t found = 0;
      for (int i = 0; i < kBlock; ++i) {
        const float width = std::max(std::min(box.right, block.right[i]) - std::max(box.left, block.left[i]), 0.0f);
        const float height = std::max(std::min(box.bottom, block.bottom[i]) - std::max(box.top, block.top[i]), 0.0f);
        const float overlap = width * height;
        const std::int32_t above = overlap > threshold * (box.area + block.area[i] - overlap);
        const std::int32_t same = block.category[i] == box.category;
        const std::int32_t apart = alone | (block.group[i] != box.group);
        found |= above & same & apart & block.usable[i];
      }
      if (found) return true;
    }
    return false;
  }

 private:
  static constexpr int kBlock = 16;
  struct Block {
    float left[kBlock], top[kBlock], right[kBlock], bottom[kBlock], area[kBlock];
    std::int32_t category[kBlock], group[kBlock], usable[kBlock];
  };
  std::vector<Block> blocks_;
  std::size_t count_ = 0;
};

// Squares of the image, each with the kept boxes whose centre it holds. With an overlap above t of two boxes, the wider
// one's width times t is common to both (the same holds for heights), so their centres are less than
// (w1 + w2) / 2 - t * max(w1, w2) apart: at most `reach` times the width of either. Boxes with coordinates that are not
// numbers, or with areas that floats hold badly, are in `odd` and are compared with every other one.
class Squares {
 public:
  static constexpr float kLeastThreshold = 0.25f;  // below, centres may be far apart

  Squares(const float* boxes, std::size_t count, float threshold)
      : reach_((1 - threshold) * std::max(1.0f, 0.5f / threshold) + 1e-3f) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    float low[2] = {kInfinity, kInfinity}, high[2] = {-kInfinity, -kInfinity};
    double side = 0;
    std::size_t ordinary = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const float* xyxy = boxes + 4 * i;
      if (!is_ordinary(box_of(xyxy, 0, 0))) continue;
      for (int axis = 0; axis < 2; ++axis) {
        low[axis] = std::min(low[axis], xyxy[axis]);
        high[axis] = std::max(high[axis], xyxy[axis + 2]);
      }
      side += std::max(xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]);
      ++ordinary;
    }
    if (ordinary == 0) return;
    const double most = std::clamp(2 * std::sqrt(static_cast<double>(count)), 1.0, 256.0);
    const double extent = std::max(double{high[0]} - low[0], double{high[1]} - low[1]);
    const double length = std::max(side / ordinary / 2, extent / most);
    constexpr double kLargest = std::numeric_limits<float>::max();
    if (!(length > 1 / kLargest && length < kLargest)) return;
    inverse_ = static_cast<float>(1 / length);
    for (int axis = 0; axis < 2; ++axis) {
      low_[axis] = low[axis];
      number_[axis] = static_cast<int>((high[axis] - low[axis]) * inverse_) + 1;
      // A centre is rounded to the precision of its coordinate.
      rounding_ = std::max({rounding_, 1e-6f * std::fabs(low[axis]), 1e-6f * std::fabs(high[axis])});
    }
    if (static_cast<std::size_t>(number_[0]) * number_[1] < kWorthwhile) return;
    first_.assign(static_cast<std::size_t>(number_[0]) * number_[1], -1);
    boxes_.assign(first_.size(), 0);
  }

  bool useful() const { return !first_.empty(); }

  bool suppress(const Box& box, float threshold) const {
    if (odd_.suppress(box, threshold)) return true;
    if (!is_ordinary(box)) return ordinary_.suppress(box, threshold);
    const float far_x = reach_ * (box.right - box.left) + rounding_, far_y = reach_ * (box.bottom - box.top) + rounding_;
    const float x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
    const int left = index_of(x - far_x, 0), right = index_of(x + far_x, 0);
    const int top = index_of(y - far_y, 1), bottom = index_of(y + far_y, 1);
    // A box at a time costs more than a block of them: in a crowd, all of them in blocks are faster.
    std::size_t cost = static_cast<std::size_t>(right - left + 1) * (bottom - top + 1);
    for (int row = top; row <= bottom && kCostOfOne * cost <= kept_.size(); ++row)
      for (int column = left; column <= right; ++column) cost += boxes_[square(column, row)];
    if (kCostOfOne * cost > kept_.size()) return ordinary_.suppress(box, threshold);
    for (int row = top; row <= bottom; ++row)
      for (int column = left; column <= right; ++column)
        for (std::int32_t i = first_[square(column, row)]; i >= 0; i = kept_[i].next) {
          const Box& other = kept_[i].box;
          const float width = std::max(std::min(box.right, other.right) - std::max(box.left, other.left), 0.0f);
          const float height = std::max(std::min(box.bottom, other.bottom) - std::max(box.top, other.top), 0.0f);
          const float overlap = width * height;
          if (overlap > threshold * (box.area + other.area - overlap) && may_suppress(box, other)) return true;
        }
    return false;
  }

  void add(const Box& box) {
    if (!is_ordinary(box)) return odd_.add(box);
    ordinary_.add(box);
    const std::size_t at = square(index_of((box.left + box.right) / 2, 0), index_of((box.top + box.bottom) / 2, 1));
    kept_.push_back({box, first_[at]});
    first_[at] = static_cast<std::int32_t>(kept_.size() - 1);
    ++boxes_[at];
  }

 private:
  static constexpr std::size_t kWorthwhile = 64;  // squares; with fewer, most boxes are near each other
  static constexpr std::size_t kCostOfOne = 8;
  struct Entry {
    Box box;
    std::int32_t next;
  };

  static bool is_ordinary(const Box& box) {
    // Differences of larger numbers might be infinite, and products of smaller ones imprecise.
    constexpr float kLargest = std::numeric_limits<float>::max() / 4, kLeast = 1e-30f;
    for (const float side : {box.left, box.top, box.right, box.bottom})
      if (!(std::fabs(side) <= kLargest)) return false;
    return box.left <= box.right && box.top <= box.bottom && box.area >= kLeast && box.area <= kLargest;
  }

  // Never falls where the coordinate rises, whatever the rounding.
  int index_of(float coordinate, int axis) const {
    return static_cast<int>(std::clamp((coordinate - low_[axis]) * inverse_, 0.0f, number_[axis] - 1.0f));
  }

  std::size_t square(int x, int y) const { return static_cast<std::size_t>(y) * number_[0] + x; }

  float reach_, rounding_ = 0, low_[2] = {0, 0}, inverse_ = 0;
  int number_[2] = {0, 0};
  std::vector<std::int32_t> first_;   // kept box by square, -1 without one
  std::vector<std::uint32_t> boxes_;  // number by square
  std::vector<Entry> kept_;           // the ordinary ones
  Columns ordinary_, odd_;
};

template <typename Kept>
std::size_t go_through(const float* boxes, const std::int32_t* category, std::size_t count, float threshold,
                       std::size_t max_keep, std::int64_t* keep, const std::int32_t* group, Kept& kept) {
  std::size_t number = 0;
  for (std::size_t i = 0; i < count && number < max_keep; ++i) {
    const Box box = box_of(boxes + 4 * i, category[i], group ? group[i] : -1);
    if (kept.suppress(box, threshold)) continue;
    kept.add(box);
    keep[number++] = static_cast<std::int64_t>(i);
  }
  return number;
}

}  // namespace

std::size_t nms(const float* boxes, const std::int32_t* category, std::size_t count, float iou_threshold,
                std::size_t max_keep, std::int64_t* keep, const std::int32_t* group) {
  constexpr std::size_t kFew = 256;
  if (std::min(count, max_keep) > kFew && iou_threshold >= Squares::kLeastThreshold) {
    Squares kept(boxes, count, iou_threshold);
    if (kept.useful()) return go_through(boxes, category, count, iou_threshold, max_keep, keep, group, kept);
  }
  Columns kept;
  return go_through(boxes, category, count, iou_threshold, max_keep, keep, group, kept);
}

}  // namespace wutdet
