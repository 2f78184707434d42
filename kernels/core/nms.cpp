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
};

Box box_of(const float* xyxy, std::int32_t category) {
  const float area = std::max(xyxy[2] - xyxy[0], 0.0f) * std::max(xyxy[3] - xyxy[1], 0.0f);
  return {xyxy[0], xyxy[1], xyxy[2], xyxy[3], area, category};
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
    block.usable[at] = 1;
  }

  bool suppress(const Box& box, float threshold) const {
    for (const Block& block : blocks_) {
      std::int32_t found = 0;
      for (int i = 0; i < kBlock; ++i) {
        const float width = std::max(std::min(box.right, block.right[i]) - std::max(box.left, block.left[i]), 0.0f);
        const float height = std::max(std::min(box.bottom, block.bottom[i]) - std::max(box.top, block.top[i]), 0.0f);
        const float overlap = width * height;
        const std::int32_t above = overlap > threshold * (box.area + block.area[i] - overlap);
        const std::int32_t same = block.category[i] == box.category;
        found |= above & same & block.usable[i];
      }
      if (found) return true;
    }
    return false;
  }

 private:
  static constexpr int kBlock = 16;
  struct Block {
    float left[kBlock], top[kBlock], right[kBlock], bottom[kBlock], area[kBlock];
    std::int32_t category[kBlock], usable[kBlock];
  };
  std::vector<Block> blocks_;
  std::size_t count_ = 0;
};

// Squares of the image, each with the kept boxes that touch it: boxes that overlap touch a common one. Boxes that touch
// many, and those with coordinates that are not numbers, are in `wide` and are compared with every other one.
class Squares {
 public:
  Squares(const float* boxes, std::size_t count) {
    float low[2], high[2] = {-std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
    low[0] = low[1] = std::numeric_limits<float>::infinity();
    double side = 0;
    std::size_t ordinary = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const float* xyxy = boxes + 4 * i;
      if (!is_ordinary(xyxy)) continue;
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
    const double length = std::max(side / ordinary, extent / most);
    constexpr double kLargest = std::numeric_limits<float>::max();
    if (!(length > 1 / kLargest && length < kLargest)) return;
    inverse_ = static_cast<float>(1 / length);
    for (int axis = 0; axis < 2; ++axis) {
      low_[axis] = low[axis];
      number_[axis] = index_of(high[axis], axis) + 1;
    }
    if (static_cast<std::size_t>(number_[0]) * number_[1] < kWorthwhile) {
      number_[0] = number_[1] = 0;
      return;
    }
    first_.assign(static_cast<std::size_t>(number_[0]) * number_[1], -1);
    boxes_.assign(first_.size(), 0);
  }

  bool useful() const { return !first_.empty(); }

  bool suppress(const Box& box, float threshold) const {
    if (wide_.suppress(box, threshold)) return true;
    const Range range = range_of(box);
    // A box at a time costs more than a block of them: in a crowd, all of them in blocks are faster.
    if (range.wide || kCostOfOne * boxes_in(range) > kept_.size()) return narrow_.suppress(box, threshold);
    for (int y = range.top; y <= range.bottom; ++y)
      for (int x = range.left; x <= range.right; ++x)
        for (std::int32_t i = first_[square(x, y)]; i >= 0; i = entries_[i].next) {
          const Box& other = kept_[entries_[i].box];
          const float width = std::max(std::min(box.right, other.right) - std::max(box.left, other.left), 0.0f);
          const float height = std::max(std::min(box.bottom, other.bottom) - std::max(box.top, other.top), 0.0f);
          const float overlap = width * height;
          if (overlap > threshold * (box.area + other.area - overlap) && box.category == other.category) return true;
        }
    return false;
  }

  void add(const Box& box) {
    const Range range = range_of(box);
    if (range.wide) return wide_.add(box);
    narrow_.add(box);
    kept_.push_back(box);
    for (int y = range.top; y <= range.bottom; ++y)
      for (int x = range.left; x <= range.right; ++x) {
        std::int32_t& first = first_[square(x, y)];
        ++boxes_[square(x, y)];
        entries_.push_back({static_cast<std::int32_t>(kept_.size() - 1), first});
        first = static_cast<std::int32_t>(entries_.size() - 1);
      }
  }

 private:
  static constexpr std::size_t kWorthwhile = 64;  // squares; with fewer, most boxes are near each other
  static constexpr int kManySquares = 16;
  static constexpr std::size_t kCostOfOne = 8;
  struct Range {
    int left, top, right, bottom;
    bool wide;
  };
  struct Entry {
    std::int32_t box, next;
  };

  static bool is_ordinary(const float* xyxy) {
    // Differences of larger numbers might be infinite.
    constexpr float kLargest = std::numeric_limits<float>::max() / 4;
    for (int i = 0; i < 4; ++i)
      if (!(std::fabs(xyxy[i]) <= kLargest)) return false;
    return xyxy[0] <= xyxy[2] && xyxy[1] <= xyxy[3];
  }

  // Never falls where the coordinate rises, whatever the rounding.
  int index_of(float coordinate, int axis) const { return static_cast<int>((coordinate - low_[axis]) * inverse_); }

  std::size_t square(int x, int y) const { return static_cast<std::size_t>(y) * number_[0] + x; }

  std::size_t boxes_in(const Range& range) const {
    std::size_t number = 0;
    for (int y = range.top; y <= range.bottom; ++y)
      for (int x = range.left; x <= range.right; ++x) number += boxes_[square(x, y)];
    return number;
  }

  Range range_of(const Box& box) const {
    const float xyxy[4] = {box.left, box.top, box.right, box.bottom};
    if (!is_ordinary(xyxy)) return {0, 0, 0, 0, true};
    Range range{index_of(box.left, 0), index_of(box.top, 1), index_of(box.right, 0), index_of(box.bottom, 1), false};
    range.wide = (range.right - range.left + 1) * (range.bottom - range.top + 1) > kManySquares;
    return range;
  }

  float low_[2] = {0, 0}, inverse_ = 0;
  int number_[2] = {0, 0};
  std::vector<std::int32_t> first_;   // entry by square, -1 without one
  std::vector<std::uint32_t> boxes_;  // number by square
  std::vector<Entry> entries_;
  std::vector<Box> kept_;  // the narrow ones
  Columns narrow_, wide_;
};

template <typename Kept>
std::size_t go_through(const float* boxes, const std::int32_t* category, std::size_t count, float threshold,
                       std::size_t max_keep, std::int64_t* keep, Kept& kept) {
  std::size_t number = 0;
  for (std::size_t i = 0; i < count && number < max_keep; ++i) {
    const Box box = box_of(boxes + 4 * i, category[i]);
    if (kept.suppress(box, threshold)) continue;
    kept.add(box);
    keep[number++] = static_cast<std::int64_t>(i);
  }
  return number;
}

}  // namespace

std::size_t nms(const float* boxes, const std::int32_t* category, std::size_t count, float iou_threshold,
                std::size_t max_keep, std::int64_t* keep) {
  constexpr std::size_t kFew = 256;
  // Only a threshold of 0 or more makes sure that boxes without overlap never suppress each other.
  if (std::min(count, max_keep) > kFew && iou_threshold >= 0) {
    Squares kept(boxes, count);
    if (kept.useful()) return go_through(boxes, category, count, iou_threshold, max_keep, keep, kept);
  }
  Columns kept;
  return go_through(boxes, category, count, iou_threshold, max_keep, keep, kept);
}

}  // namespace wutdet
