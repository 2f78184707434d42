// The reader of COCO files as Python sees it: bytes to columns, or None where it declines.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "core/coco_json.h"

namespace wutdet {
namespace {

// Hands a vector over to NumPy without a copy.
template <typename Value>
nb::object column(std::vector<Value>&& values, std::size_t width = 0) {
  auto* kept = new std::vector<Value>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<Value>*>(p); });
  const std::size_t rows = width ? kept->size() / width : kept->size();
  const std::size_t shape[] = {rows, width};
  return nb::cast(nb::ndarray<nb::numpy, Value>(kept->data(), width ? 2 : 1, shape, owner));
}

nb::object py_read_coco_results(nb::bytes text, std::size_t threads) {
  CocoResults out;
  bool good;
  {
    nb::gil_scoped_release release;
    good = read_coco_results(text.c_str(), text.size(), threads, out);
  }
  if (!good) return nb::none();
  return nb::make_tuple(column(std::move(out.image_id)), column(std::move(out.category_id)),
                        column(std::move(out.bbox), 4), column(std::move(out.score)));
}

nb::object py_read_coco_truth(nb::bytes text, std::size_t threads) {
  CocoTruth out;
  bool good;
  {
    nb::gil_scoped_release release;
    good = read_coco_truth(text.c_str(), text.size(), threads, out);
  }
  if (!good) return nb::none();
  nb::list names;
  for (const std::string& name : out.category_name) names.append(name);
  nb::dict columns;
  columns["image_id"] = column(std::move(out.image_id));
  columns["size_wh"] = column(std::move(out.size_wh), 2);
  columns["split"] = out.has_split ? nb::cast(out.split) : nb::none();
  columns["box_id"] = column(std::move(out.box_id));
  columns["box_image_id"] = column(std::move(out.box_image_id));
  columns["box_category_id"] = column(std::move(out.box_category_id));
  columns["bbox"] = column(std::move(out.bbox), 4);
  columns["area"] = column(std::move(out.area));
  columns["crowd"] = column(std::move(out.crowd));
  columns["ignore"] = column(std::move(out.ignore));
  columns["category_id"] = column(std::move(out.category_id));
  columns["category_name"] = names;
  return columns;
}

}  // namespace

void bind_coco(nb::module_& module) {
  module.def("read_coco_results", &py_read_coco_results, nb::arg("text"), nb::arg("threads") = 1,
             "image_id, category_id, bbox [N, 4] and score of a result file, or None; see wutdet.evaluation.coco_fast.");
  module.def("read_coco_truth", &py_read_coco_truth, nb::arg("text"), nb::arg("threads") = 1,
             "Columns of a ground-truth file by name, or None; see wutdet.evaluation.coco_fast.");
}

}  // namespace wutdet
