// What the binding files share: array types as part of signatures, and handing results over to NumPy.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <initializer_list>
#include <memory>

namespace wutdet {

namespace nb = nanobind;

template <typename Real>
using Boxes = nb::ndarray<const Real, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
template <typename Value>
using Column = nb::ndarray<const Value, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename Value>
using Rows = nb::ndarray<const Value, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Hands a heap array over to NumPy, which frees it.
template <typename Array, typename Value>
Array to_numpy(std::unique_ptr<Value[]> values, std::initializer_list<std::size_t> shape) {
  Value* data = values.release();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<Value*>(p); });
  return Array(data, shape, owner);
}

// Adds match_boxes, precision_at_recall and weighted_precision.
void bind_evaluation(nb::module_& module);

// Adds read_coco_results and read_coco_truth.
void bind_coco(nb::module_& module);

// Adds _conv_isas, _conv_chosen and _conv_run.
void bind_conv(nb::module_& module);

// Adds lowbit_encode, lowbit_decode and lowbit_has_fast_path.
void bind_lowbit(nb::module_& module);

// Adds _peak_macs.
void bind_peak(nb::module_& module);

// Adds Engine and ModelFault.
void bind_engine(nb::module_& module);

// Adds Letterboxer, decode_anchors, nms, merge_passes and parts_of_others.
void bind_frames(nb::module_& module);

}  // namespace wutdet
