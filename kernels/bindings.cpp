// wutdet._kernels: the native functions as Python sees them. Shapes and dtypes are part of the signatures.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>

#include "core/boxes.h"

namespace nb = nanobind;

namespace {

template <typename Real>
using Boxes = nb::ndarray<const Real, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
template <typename Real>
using Matrix = nb::ndarray<nb::numpy, Real, nb::ndim<2>>;
using Indices = nb::ndarray<nb::numpy, std::int64_t, nb::ndim<1>>;

// Hands a heap array over to NumPy, which frees it.
template <typename Array, typename Value>
Array to_numpy(std::unique_ptr<Value[]> values, std::initializer_list<std::size_t> shape) {
  Value* data = values.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<Value*>(p); });
  return Array(data, shape, owner);
}

template <typename Real>
Matrix<Real> box_iou(Boxes<Real> a, Boxes<Real> b) {
  const std::size_t rows = a.shape(0), columns = b.shape(0);
  std::unique_ptr<Real[]> out(new Real[rows * columns]);
  {
    nb::gil_scoped_release release;
    wutdet::box_iou(a.data(), rows, b.data(), columns, out.get());
  }
  return to_numpy<Matrix<Real>>(std::move(out), {rows, columns});
}

Indices nms(Boxes<float> boxes, nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> category,
            float iou_threshold, std::size_t max_keep) {
  const std::size_t count = boxes.shape(0);
  if (category.shape(0) != count) throw nb::value_error("boxes and category must have the same length");
  std::unique_ptr<std::int64_t[]> keep(new std::int64_t[std::min(count, max_keep)]);
  std::size_t kept;
  {
    nb::gil_scoped_release release;
    kept = wutdet::nms(boxes.data(), category.data(), count, iou_threshold, max_keep, keep.get());
  }
  return to_numpy<Indices>(std::move(keep), {kept});
}

}  // namespace

NB_MODULE(_kernels, module) {
  module.doc() = "Native kernels of wutdet.";
  module.def("box_iou", &box_iou<float>, nb::arg("a"), nb::arg("b"),
             "Intersection over union of xyxy boxes: [N, 4] and [M, 4] to [N, M].");
  module.def("box_iou", &box_iou<double>, nb::arg("a"), nb::arg("b"));
  module.def("nms", &nms, nb::arg("boxes"), nb::arg("category"), nb::arg("iou_threshold"), nb::arg("max_keep"),
             "Indices of the boxes [N, 4] (xyxy, sorted by falling score) that greedy NMS keeps, per category [N].");
}
