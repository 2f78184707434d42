// wutdet._kernels: the native functions as Python sees them. Shapes and dtypes are part of the signatures.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <cerrno>
#include <memory>
#include <string>
#include <tuple>

#include "bindings.h"
#include "core/boxes.h"
#include "core/duplicates.h"
#include "core/folder_digest.h"

namespace nb = nanobind;

namespace {

using wutdet::Boxes;
using wutdet::to_numpy;
template <typename Real>
using Matrix = nb::ndarray<nb::numpy, Real, nb::ndim<2>>;
using Indices = nb::ndarray<nb::numpy, std::int64_t, nb::ndim<1>>;

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

using Hashes = nb::ndarray<const std::uint64_t, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::tuple hash_neighbours(Hashes query, Integers query_group, Hashes base, Integers base_group, int limit) {
  const std::size_t count = query.shape(0);
  if (query_group.shape(0) != count || base_group.shape(0) != base.shape(0))
    throw nb::value_error("one group per hash is needed");
  std::unique_ptr<std::int64_t[]> nearest(new std::int64_t[count]), found(new std::int64_t[count]);
  std::unique_ptr<std::int32_t[]> distance(new std::int32_t[count]);
  {
    nb::gil_scoped_release release;
    wutdet::hash_neighbours(query.data(), query_group.data(), count, base.data(), base_group.data(), base.shape(0),
                            limit, nearest.get(), distance.get(), found.get());
  }
  return nb::make_tuple(to_numpy<Indices>(std::move(nearest), {count}),
                        to_numpy<nb::ndarray<nb::numpy, std::int32_t, nb::ndim<1>>>(std::move(distance), {count}),
                        to_numpy<Indices>(std::move(found), {count}));
}

Indices hash_components(Hashes hashes, int limit) {
  const std::size_t count = hashes.shape(0);
  std::unique_ptr<std::int64_t[]> component(new std::int64_t[count]);
  {
    nb::gil_scoped_release release;
    wutdet::hash_components(hashes.data(), count, limit, component.get());
  }
  return to_numpy<Indices>(std::move(component), {count});
}

wutdet::FrameBoxes frame_boxes(const Boxes<double>& boxes, const Integers& offsets, const Integers& group) {
  const std::size_t count = group.shape(0);
  if (offsets.shape(0) != count + 1) throw nb::value_error("offsets must have one entry more than frames");
  for (std::size_t i = 0; i <= count; ++i)
    if (offsets(i) < (i ? offsets(i - 1) : 0) || static_cast<std::size_t>(offsets(i)) > boxes.shape(0))
      throw nb::index_error("offsets");
  return {boxes.data(), offsets.data(), group.data(), count};
}

Indices box_neighbours(Boxes<double> query, Integers query_offsets, Integers query_group, Boxes<double> base,
                       Integers base_offsets, Integers base_group, std::size_t min_boxes, double iou, double share) {
  const auto a = frame_boxes(query, query_offsets, query_group), b = frame_boxes(base, base_offsets, base_group);
  std::unique_ptr<std::int64_t[]> match(new std::int64_t[a.count]);
  {
    nb::gil_scoped_release release;
    wutdet::box_neighbours(a, b, min_boxes, iou, share, match.get());
  }
  return to_numpy<Indices>(std::move(match), {a.count});
}

std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::int64_t> folder_digest(nb::bytes folder,
                                                                                    const std::string& suffix) {
  // Bytes, as os.fsencode gives them: names need not be UTF-8.
  const std::string path(folder.c_str(), folder.size());
  wutdet::FolderDigest digest;
  int failure;
  {
    nb::gil_scoped_release release;
    failure = wutdet::folder_digest(path, suffix, digest);
  }
  if (failure != 0) {
    errno = failure;
    PyErr_SetFromErrno(PyExc_OSError);
    throw nb::python_error();
  }
  return {digest.low, digest.high, digest.files, digest.newest_mtime_ns};
}

}  // namespace

NB_MODULE(_kernels, module) {
  module.doc() = "Native kernels of wutdet.";
  module.def("folder_digest", &folder_digest, nb::arg("folder"), nb::arg("suffix") = "",
             "(low, high, files, newest mtime in ns) over name, size and mtime of the files in a folder.");
  module.def("box_iou", &box_iou<float>, nb::arg("a"), nb::arg("b"),
             "Intersection over union of xyxy boxes: [N, 4] and [M, 4] to [N, M].");
  module.def("box_iou", &box_iou<double>, nb::arg("a"), nb::arg("b"));
  module.def("hash_neighbours", &hash_neighbours, nb::arg("query"), nb::arg("query_group"), nb::arg("base"),
             nb::arg("base_group"), nb::arg("limit"),
             "Nearest index, distance and number of 256-bit hashes within `limit`; see wutdet.dataset.hashing.");
  module.def("hash_components", &hash_components, nb::arg("hashes"), nb::arg("limit"),
             "Lowest index of each hash's connected component; see wutdet.dataset.hashing.");
  module.def("box_neighbours", &box_neighbours, nb::arg("query"), nb::arg("query_offsets"), nb::arg("query_group"),
             nb::arg("base"), nb::arg("base_offsets"), nb::arg("base_group"), nb::arg("min_boxes"), nb::arg("iou"),
             nb::arg("share"), "First frame that shows the same boxes; see wutdet.dataset.hashing.");
  wutdet::bind_evaluation(module);
  wutdet::bind_coco(module);
  wutdet::bind_conv(module);
  wutdet::bind_lowbit(module);
  wutdet::bind_engine(module);
  wutdet::bind_peak(module);
  wutdet::bind_frames(module);
}
