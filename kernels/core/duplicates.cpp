#include "core/duplicates.h"

#include <algorithm>
#include <cmath>
#include <vector>

// glibc picks the popcnt variant at load time; elsewhere the compiler's own choice must do.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define WUTDET_POPCNT __attribute__((target_clones("popcnt", "default")))
#else
#define WUTDET_POPCNT
#endif

namespace wutdet {
namespace {

inline int bit_count(std::uint64_t x) {
#if defined(__GNUC__) || defined(__clang__)
  return __builtin_popcountll(x);
#else
  x = x - ((x >> 1) & 0x5555555555555555ULL);
  x = (x & 0x3333333333333333ULL) + ((x >> 2) & 0x3333333333333333ULL);
  return static_cast<int>((((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL) * 0x0101010101010101ULL) >> 56);
#endif
}

std::int64_t root_of(std::int64_t* parent, std::int64_t node) {
  while (parent[node] != node) node = parent[node] = parent[parent[node]];
  return node;
}

double iou_of(const double* a, const double* b) {
  const double width = std::min(a[2], b[2]) - std::max(a[0], b[0]);
  const double height = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const double overlap = width * height;
  return overlap / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap);
}

// Whether enough boxes of frames a and b match; gives up as soon as too many of a's boxes found no partner.
bool same_objects(const double* a, std::size_t count_a, const double* b, std::size_t count_b, double iou, double share,
                  std::vector<char>& taken) {
  const auto needed = static_cast<std::size_t>(std::ceil(share * static_cast<double>(std::max(count_a, count_b)) - 1e-9));
  if (std::min(count_a, count_b) < needed) return false;
  taken.assign(count_b, 0);
  std::size_t matched = 0;
  for (std::size_t i = 0; i < count_a; ++i) {
    if (matched + (count_a - i) < needed) return false;
    std::size_t best = count_b;
    double best_iou = iou;
    for (std::size_t j = 0; j < count_b; ++j) {
      if (taken[j]) continue;
      const double value = iou_of(a + 4 * i, b + 4 * j);
      if (value >= best_iou && (best == count_b || value > best_iou)) {
        best = j;
        best_iou = value;
      }
    }
    if (best < count_b) {
      taken[best] = 1;
      ++matched;
    }
  }
  return matched >= needed;
}

}  // namespace

WUTDET_POPCNT
void hash_neighbours(const std::uint64_t* query, const std::int64_t* query_group, std::size_t count_query,
                     const std::uint64_t* base, const std::int64_t* base_group, std::size_t count_base, int limit,
                     std::int64_t* nearest, std::int32_t* distance, std::int64_t* found) {
  for (std::size_t i = 0; i < count_query; ++i) {
    const std::uint64_t* a = query + kHashWords * i;
    std::int64_t best = -1, count = 0;
    int best_distance = limit + 1;
    for (std::size_t j = 0; j < count_base; ++j) {
      const std::uint64_t* b = base + kHashWords * j;
      int bits = bit_count(a[0] ^ b[0]);
      if (bits > limit) continue;
      bits += bit_count(a[1] ^ b[1]) + bit_count(a[2] ^ b[2]) + bit_count(a[3] ^ b[3]);
      if (bits > limit || query_group[i] == base_group[j]) continue;
      ++count;
      if (bits < best_distance) {
        best_distance = bits;
        best = static_cast<std::int64_t>(j);
      }
    }
    nearest[i] = best;
    distance[i] = best < 0 ? -1 : best_distance;
    found[i] = count;
  }
}

WUTDET_POPCNT
void hash_components(const std::uint64_t* hashes, std::size_t count, int limit, std::int64_t* component) {
  for (std::size_t i = 0; i < count; ++i) component[i] = static_cast<std::int64_t>(i);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t* a = hashes + kHashWords * i;
    for (std::size_t j = i + 1; j < count; ++j) {
      const std::uint64_t* b = hashes + kHashWords * j;
      int bits = bit_count(a[0] ^ b[0]);
      if (bits > limit) continue;
      bits += bit_count(a[1] ^ b[1]) + bit_count(a[2] ^ b[2]) + bit_count(a[3] ^ b[3]);
      if (bits > limit) continue;
      const std::int64_t p = root_of(component, static_cast<std::int64_t>(i));
      const std::int64_t q = root_of(component, static_cast<std::int64_t>(j));
      component[std::max(p, q)] = std::min(p, q);
    }
  }
  // Roots are the lowest index of their component, and a parent is never above its child: one pass flattens.
  for (std::size_t i = 0; i < count; ++i) component[i] = component[component[i]];
}

void box_neighbours(FrameBoxes query, FrameBoxes base, std::size_t min_boxes, double iou, double share,
                    std::int64_t* match) {
  std::vector<char> taken;
  for (std::size_t i = 0; i < query.count; ++i) {
    match[i] = -1;
    const auto count_a = static_cast<std::size_t>(query.offsets[i + 1] - query.offsets[i]);
    if (count_a < min_boxes) continue;
    for (std::size_t j = 0; j < base.count && match[i] < 0; ++j) {
      const auto count_b = static_cast<std::size_t>(base.offsets[j + 1] - base.offsets[j]);
      if (count_b < min_boxes || query.group[i] == base.group[j]) continue;
      if (same_objects(query.boxes + 4 * query.offsets[i], count_a, base.boxes + 4 * base.offsets[j], count_b, iou,
                       share, taken))
        match[i] = static_cast<std::int64_t>(j);
    }
  }
}

}  // namespace wutdet
