#include "core/tile_merge.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/nms.h"

namespace wutdet {
namespace {

double area_of(const double* box) { return std::max(box[2] - box[0], 0.0) * std::max(box[3] - box[1], 0.0); }

template <typename A, typename B>
void intersect(const A* a, const B* b, double* out) {
  for (int i = 0; i < 2; ++i) {
    out[i] = std::max<double>(a[i], b[i]);
    out[i + 2] = std::min<double>(a[i + 2], b[i + 2]);
  }
}

struct Placed {
  double x, y;  // its centre
  double box[4], area;
  std::int32_t window[4];
  std::int32_t category;
  std::size_t row;
};

Placed placed(const PassBoxes& boxes, std::size_t row) {
  Placed out{0, 0, {}, 0, {}, boxes.category[row], row};
  std::copy_n(boxes.xyxy + 4 * row, 4, out.box);
  std::copy_n(boxes.window + 4 * row, 4, out.window);
  out.x = (out.box[0] + out.box[2]) / 2, out.y = (out.box[1] + out.box[3]) / 2;
  out.area = (out.box[2] - out.box[0]) * (out.box[3] - out.box[1]);
  return out;
}

// Of one category and of different passes.
bool apart(const Placed& a, const Placed& b) {
  return a.category == b.category && !std::equal(a.window, a.window + 4, b.window);
}

// Boxes by the square of the image that holds their centre.
class Centres {
 public:
  explicit Centres(const std::vector<Placed>& boxes) {
    if (boxes.empty()) return;
    double high[2];
    low_[0] = high[0] = boxes[0].x;
    low_[1] = high[1] = boxes[0].y;
    for (const Placed& box : boxes) {
      low_[0] = std::min(low_[0], box.x), high[0] = std::max(high[0], box.x);
      low_[1] = std::min(low_[1], box.y), high[1] = std::max(high[1], box.y);
    }
    const int most = std::clamp(static_cast<int>(std::sqrt(static_cast<double>(boxes.size()))), 1, kMostSquares);
    for (int axis = 0; axis < 2; ++axis) {
      const double extent = high[axis] - low_[axis];
      inverse_[axis] = extent > 0 ? most / extent : 0;
      number_[axis] = extent > 0 ? most : 1;
    }
    // A counting sort: boxes of a square lie together, from first_ on, and those still in question at its beginning.
    first_.assign(static_cast<std::size_t>(number_[0]) * number_[1] + 1, 0);
    for (const Placed& box : boxes) ++first_[square(index_of(box.x, 0), index_of(box.y, 1)) + 1];
    for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
    end_.assign(first_.begin(), first_.end() - 1);
    boxes_.resize(boxes.size());
    for (const Placed& box : boxes) boxes_[end_[square(index_of(box.x, 0), index_of(box.y, 1))]++] = box;
  }

  // Boxes whose centre this one holds; those for which `found` is true are not asked for again.
  template <typename Found>
  void in_box(const double* box, const Found& found) {
    if (boxes_.empty()) return;
    const int right = index_of(box[2], 0), bottom = index_of(box[3], 1);
    for (int y = index_of(box[1], 1); y <= bottom; ++y)
      for (int x = index_of(box[0], 0); x <= right; ++x) {
        const std::size_t at = square(x, y);
        for (std::size_t i = first_[at]; i < end_[at];) {
          const Placed& other = boxes_[i];
          const bool inside = box[0] <= other.x && other.x <= box[2] && box[1] <= other.y && other.y <= box[3];
          if (inside && found(other)) {
            std::swap(boxes_[i], boxes_[--end_[at]]);
          } else {
            ++i;
          }
        }
      }
  }

 private:
  static constexpr int kMostSquares = 128;

  // Never falls where the coordinate rises. Coordinates beyond the centres belong to the outermost squares.
  int index_of(double coordinate, int axis) const {
    const double index = (coordinate - low_[axis]) * inverse_[axis];
    return static_cast<int>(std::clamp(index, 0.0, number_[axis] - 1.0));
  }
  std::size_t square(int x, int y) const { return static_cast<std::size_t>(y) * number_[0] + x; }

  double low_[2] = {0, 0}, inverse_[2] = {0, 0};
  int number_[2] = {1, 1};
  std::vector<std::size_t> first_, end_;
  std::vector<Placed> boxes_;
};

template <typename Real>
bool finite(const Real* box) {
  return std::isfinite(box[0]) && std::isfinite(box[1]) && std::isfinite(box[2]) && std::isfinite(box[3]);
}

// Orders as -1, 0 or 1; what is not a number comes last.
int order_of(float a, float b) {
  if (a < b || (a == a && b != b)) return -1;
  return a > b || (a != a && b == b) ? 1 : 0;
}

// Rises where the score falls; equal for equal scores.
std::uint32_t key_of(float score) {
  if (score != score) return 0xFFFFFFFFu;
  const float falling = 0.0f - score;  // and no zero with a sign
  std::uint32_t bits;
  std::memcpy(&bits, &falling, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Rows in the order in which nms takes them.
std::vector<std::uint32_t> ranked(const PassBoxes& boxes, const std::vector<char>& is_part) {
  std::vector<std::uint64_t> keys;
  keys.reserve(boxes.count);
  for (std::size_t i = 0; i < boxes.count; ++i)
    if (!is_part[i]) keys.push_back(std::uint64_t{key_of(boxes.score[i])} << 32 | i);
  std::sort(keys.begin(), keys.end());
  std::vector<std::uint32_t> rows(keys.begin(), keys.end());  // the lower halves
  for (std::size_t first = 0; first < keys.size();) {
    std::size_t last = first + 1;
    while (last < keys.size() && keys[last] >> 32 == keys[first] >> 32) ++last;
    if (last - first > 1)
      std::sort(rows.begin() + first, rows.begin() + last, [&](std::uint32_t a, std::uint32_t b) {
        if (boxes.category[a] != boxes.category[b]) return boxes.category[a] < boxes.category[b];
        for (int i = 0; i < 4; ++i)
          if (const int order = order_of(boxes.xyxy[4 * std::size_t{a} + i], boxes.xyxy[4 * std::size_t{b} + i])) return order < 0;
        for (int i = 0; i < 4; ++i) {
          const std::int32_t one = boxes.window[4 * std::size_t{a} + i], other = boxes.window[4 * std::size_t{b} + i];
          if (one != other) return one < other;
        }
        return a < b;
      });
    first = last;
  }
  return rows;
}

// Number of each box's window, from 0 on.
std::vector<std::int32_t> numbers_of_windows(const PassBoxes& boxes) {
  std::vector<const std::int32_t*> known;
  std::vector<std::int32_t> numbers(boxes.count);
  std::size_t last = 0;  // boxes of one pass mostly lie together
  for (std::size_t i = 0; i < boxes.count; ++i) {
    const std::int32_t* window = boxes.window + 4 * i;
    const auto same = [&](const std::int32_t* other) { return std::equal(window, window + 4, other); };
    if (known.empty() || !same(known[last])) {
      last = static_cast<std::size_t>(std::find_if(known.begin(), known.end(), same) - known.begin());
      if (last == known.size()) known.push_back(window);
    }
    numbers[i] = static_cast<std::int32_t>(last);
  }
  return numbers;
}

// Fills in corners and agreement of the kept boxes as the header says. `rows` by rank, `keep` ranks from the best on,
// `pass` by row.
void add_agreement(const PassBoxes& boxes, const TileMergeRules& rules, const std::vector<std::uint32_t>& rows,
                   const std::vector<std::int32_t>& pass, const std::vector<std::int64_t>& keep, MergedPasses& merged) {
  constexpr std::size_t kNone = ~std::size_t{0};
  const auto usable = [&](std::size_t row) { return finite(boxes.xyxy + 4 * row) && std::isfinite(boxes.score[row]); };
  std::vector<Placed> kept;
  std::vector<char> is_kept(rows.size(), 0);
  for (std::size_t i = 0; i < keep.size(); ++i) {
    is_kept[keep[i]] = 1;
    if (!usable(rows[keep[i]])) continue;
    kept.push_back(placed(boxes, rows[keep[i]]));
    kept.back().row = i;
  }
  Centres centres(kept);
  // Lists of the boxes that agree with a kept one, best first. With an IoU above one half, a box holds the other's centre.
  const double least = std::max<double>(rules.merge_iou, rules.mean_iou);
  std::vector<std::size_t> first(keep.size(), kNone), next(rows.size(), kNone);
  for (std::size_t rank = rows.size(); rank-- > 0;) {
    if (is_kept[rank] || !usable(rows[rank])) continue;
    const Placed box = placed(boxes, rows[rank]);
    std::size_t nearest = kNone;
    double most = least;
    centres.in_box(box.box, [&](const Placed& other) {
      if (!apart(box, other)) return false;
      double common[4];
      intersect(box.box, other.box, common);
      const double both = area_of(common), iou = both / (box.area + other.area - both);
      if (iou > most || (iou == most && nearest != kNone && other.row < nearest)) most = iou, nearest = other.row;
      return false;
    });
    if (nearest != kNone) next[rank] = first[nearest], first[nearest] = rank;
  }
  merged.xyxy.resize(4 * keep.size());
  merged.agreed.assign(keep.size() * rules.pass_count, 0.0f);
  const auto column_of = [&](const std::int32_t* window) {
    std::size_t column = 0;
    while (column < rules.pass_count && !std::equal(window, window + 4, rules.passes + 4 * column)) ++column;
    return column;
  };
  std::vector<std::size_t> last_for(boxes.count, kNone);  // by pass: the kept box that one of its boxes moved last
  for (std::size_t i = 0; i < keep.size(); ++i) {
    double weight = 0, sum[4] = {0, 0, 0, 0};
    const auto add = [&](std::size_t row) {
      const double square = double{boxes.score[row]} * boxes.score[row];
      weight += square;
      for (int side = 0; side < 4; ++side) sum[side] += square * boxes.xyxy[4 * row + side];
    };
    const std::size_t own = rows[keep[i]];
    add(own);
    for (std::size_t rank = first[i]; rank != kNone; rank = next[rank]) {
      const std::size_t row = rows[rank];
      std::size_t& last = last_for[pass[row]];
      if (last == i) continue;
      last = i;
      add(row);
      const std::size_t column = column_of(boxes.window + 4 * row);
      if (column < rules.pass_count) merged.agreed[i * rules.pass_count + column] = boxes.score[row];
    }
    const bool moves = first[i] != kNone && weight > 0;
    for (int side = 0; side < 4; ++side)
      merged.xyxy[4 * i + side] = moves ? static_cast<float>(sum[side] / weight) : boxes.xyxy[4 * own + side];
  }
}

}  // namespace

std::vector<char> parts_of_others(const PassBoxes& boxes, const TileMergeRules& rules) {
  const std::size_t count = boxes.count;
  const std::int32_t frame[4] = {0, 0, rules.frame_width, rules.frame_height};
  std::vector<char> cut(count, 0), is_part(count, 0);
  std::vector<Placed> parts;
  for (std::size_t i = 0; i < count; ++i) {
    const Placed box = placed(boxes, i);
    for (int side = 0; side < 4; ++side) {
      const double beyond = side < 2 ? box.window[side] - box.box[side] : box.box[side] - box.window[side];
      if (box.window[side] != frame[side] && beyond >= -rules.border) cut[i] = 1;
    }
    if (cut[i] && finite(box.box)) parts.push_back(box);
  }
  Centres centres(parts);
  for (std::size_t i = 0; i < count; ++i) {
    const Placed whole = placed(boxes, i);
    if (!finite(whole.box)) continue;
    centres.in_box(whole.box, [&](const Placed& part) {
      if (!apart(part, whole) || (cut[i] && !(whole.area > part.area))) return false;
      double shown[4], common[4];
      intersect(whole.box, part.window, shown);
      intersect(shown, part.box, common);
      const double both = area_of(common);
      if (both >= rules.part_iou * (area_of(shown) + part.area - both)) is_part[part.row] = 1;
      return is_part[part.row] != 0;
    });
  }
  return is_part;
}

MergedPasses merge_passes(const PassBoxes& boxes, const TileMergeRules& rules) {
  const std::vector<char> is_part = parts_of_others(boxes, rules);
  const std::vector<std::uint32_t> rows = ranked(boxes, is_part);
  const std::vector<std::int32_t> pass = numbers_of_windows(boxes);
  std::vector<float> xyxy(4 * rows.size());
  std::vector<std::int32_t> category(rows.size()), group(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(boxes.xyxy + 4 * std::size_t{rows[i]}, 4, &xyxy[4 * i]);
    category[i] = boxes.category[rows[i]];
    group[i] = pass[rows[i]];
  }
  std::vector<std::int64_t> keep(std::min(rows.size(), rules.max_keep));
  keep.resize(
      nms(xyxy.data(), category.data(), rows.size(), rules.merge_iou, rules.max_keep, keep.data(), group.data()));
  MergedPasses merged;
  add_agreement(boxes, rules, rows, pass, keep, merged);
  for (const std::int64_t rank : keep) merged.rows.push_back(rows[rank]);
  return merged;
}

}  // namespace wutdet
