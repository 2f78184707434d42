#include "core/boxes.h"

#include <algorithm>
#include <vector>

namespace wutdet {
namespace {

template <typename Real>
Real area(const Real* box) {
  return std::max(box[2] - box[0], Real(0)) * std::max(box[3] - box[1], Real(0));
}

template <typename Real>
Real overlap_area(const Real* a, const Real* b) {
  const Real width = std::max(std::min(a[2], b[2]) - std::max(a[0], b[0]), Real(0));
  const Real height = std::max(std::min(a[3], b[3]) - std::max(a[1], b[1]), Real(0));
  return width * height;
}

}  // namespace

template <typename Real>
void box_iou(const Real* a, std::size_t count_a, const Real* b, std::size_t count_b, Real* out) {
  std::vector<Real> area_b(count_b);
  for (std::size_t j = 0; j < count_b; ++j) area_b[j] = area(b + 4 * j);
  for (std::size_t i = 0; i < count_a; ++i) {
    const Real area_a = area(a + 4 * i);
    for (std::size_t j = 0; j < count_b; ++j) {
      const Real overlap = overlap_area(a + 4 * i, b + 4 * j);
      const Real all = area_a + area_b[j] - overlap;
      out[i * count_b + j] = all > 0 ? overlap / all : Real(0);
    }
  }
}

template void box_iou<float>(const float*, std::size_t, const float*, std::size_t, float*);
template void box_iou<double>(const double*, std::size_t, const double*, std::size_t, double*);

}  // namespace wutdet
