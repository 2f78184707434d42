// Frames to inputs and outputs to boxes as Python sees them.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.h"
#include "bindings_frame.h"
#include "core/decode_anchors.h"
#include "core/engine/dispatch.h"
#include "core/engine/letterbox.h"
#include "core/engine/reused_memory.h"
#include "core/engine/thread_pool.h"
#include "core/nms.h"
#include "core/tile_merge.h"

namespace wutdet {
namespace {

using engine::FrameFit;
using engine::FramePlan;
template <typename Value>
nb::ndarray<nb::numpy, Value> as_array(const std::shared_ptr<std::byte>& memory,
                                       std::initializer_list<std::size_t> shape) {
  auto* kept = new std::shared_ptr<std::byte>(memory);
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::shared_ptr<std::byte>*>(p); });
  return nb::ndarray<nb::numpy, Value>(reinterpret_cast<Value*>(memory.get()), shape, owner);
}

// Makes inputs of frames. Keeps its threads, the tables of the last fit and one input's memory.
class Letterboxer {
 public:
  Letterboxer(int threads, const std::string& isa)
      : kernels_(engine::letterbox_kernels(isa.empty() ? engine::chosen_kernels() : engine::kernels_named(isa))),
        pool_(std::min(threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency())),
                       kMostThreads)) {}

  nb::ndarray<nb::numpy, float> planes(const Pixels& frame, Side input_wh, Side scaled_wh, Side pad_lt, int pad_value) {
    const FrameFit fit = fit_of(size_wh(frame), input_wh, scaled_wh, pad_lt, pad_value);
    const engine::Frame pixels = pixels_of(frame);
    std::shared_ptr<std::byte> memory;
    {
      nb::gil_scoped_release release;
      const auto plan = plan_of(fit);
      memory = memory_->take(3 * sizeof(float) * width_of(fit) * height_of(fit));
      auto* out = reinterpret_cast<float*>(memory.get());
      in_parts(fit, [&](int first, int last) { plan->to_planes(pixels, out, first, last, kernels_); });
    }
    return as_array<float>(memory, {1, 3, height_of(fit), width_of(fit)});
  }

  nb::ndarray<nb::numpy, std::uint8_t> pixels(const Pixels& frame, Side input_wh, Side scaled_wh, Side pad_lt,
                                              int pad_value, int step) {
    if (step != 3 && step != 4) throw nb::value_error("step must be 3 or 4");
    const FrameFit fit = fit_of(size_wh(frame), input_wh, scaled_wh, pad_lt, pad_value);
    const engine::Frame source = pixels_of(frame);
    const std::size_t row_bytes = step * width_of(fit);
    std::shared_ptr<std::byte> memory;
    {
      nb::gil_scoped_release release;
      const auto plan = plan_of(fit);
      memory = memory_->take(row_bytes * height_of(fit));
      const engine::View out{memory.get(), static_cast<std::ptrdiff_t>(row_bytes), step, fit.input_height,
                             fit.input_width, step};
      in_parts(fit, [&](int first, int last) { plan->to_bytes(source, out, first, last, kernels_); });
    }
    return as_array<std::uint8_t>(memory, {height_of(fit), width_of(fit), static_cast<std::size_t>(step)});
  }

 private:
  static constexpr int kMostThreads = 4;  // memory is the limit before

  static std::size_t width_of(const FrameFit& fit) { return static_cast<std::size_t>(fit.input_width); }
  static std::size_t height_of(const FrameFit& fit) { return static_cast<std::size_t>(fit.input_height); }

  std::shared_ptr<const FramePlan> plan_of(const FrameFit& fit) {
    const std::lock_guard lock(mutex_);
    if (!plan_ || !(plan_->fit() == fit)) plan_ = std::make_shared<const FramePlan>(fit);
    return plan_;
  }

  // Parts of rows, a few per thread; each goes over one row of the frame twice at most.
  template <typename Rows>
  void in_parts(const FrameFit& fit, const Rows& rows) {
    const int parts = pool_.threads() == 1 ? 1 : std::min(4 * pool_.threads(), (fit.input_height + 31) / 32);
    const auto border = [&](int part) { return static_cast<int>(std::int64_t{fit.input_height} * part / parts); };
    pool_.parallel_for(parts, [&](int part) { rows(border(part), border(part + 1)); });
  }

  const engine::LetterboxKernels& kernels_;
  engine::ThreadPool pool_;
  std::shared_ptr<engine::ReusedMemory> memory_ = std::make_shared<engine::ReusedMemory>();
  std::mutex mutex_;
  std::shared_ptr<const FramePlan> plan_;
};

using Indices = nb::ndarray<nb::numpy, std::int64_t, nb::ndim<1>>;

Indices kept_boxes(Boxes<float> boxes, Column<std::int32_t> category, float iou_threshold, std::size_t max_keep) {
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

template <typename Array, typename Value>
Array copied(const std::vector<Value>& values, std::initializer_list<std::size_t> shape) {
  std::unique_ptr<Value[]> copy(new Value[values.size()]);
  std::copy(values.begin(), values.end(), copy.get());
  return to_numpy<Array>(std::move(copy), shape);
}

using Windows = nb::ndarray<const std::int32_t, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<nb::numpy, bool, nb::ndim<1>>;

nb::tuple merged_passes(Boxes<float> xyxy, Column<float> score, Column<std::int32_t> category, Windows window,
                        Windows passes, Side frame_wh, double border, double part_iou, float merge_iou, double mean_iou,
                        std::size_t max_keep) {
  const std::size_t count = xyxy.shape(0);
  if (count > std::size_t{0xFFFFFFFF}) throw nb::value_error("too many boxes");
  if (score.shape(0) != count || category.shape(0) != count || window.shape(0) != count)
    throw nb::value_error("xyxy, score, category and window must have the same length");
  MergedPasses merged;
  {
    nb::gil_scoped_release release;
    merged = wutdet::merge_passes({xyxy.data(), score.data(), category.data(), window.data(), count},
                                  {frame_wh.first, frame_wh.second, border, part_iou, merge_iou, mean_iou, max_keep,
                                   passes.data(), passes.shape(0)});
  }
  const std::size_t kept = merged.rows.size();
  return nb::make_tuple(copied<Indices>(merged.rows, {kept}),
                        copied<nb::ndarray<nb::numpy, float>>(merged.xyxy, {kept, 4}),
                        copied<nb::ndarray<nb::numpy, float>>(merged.agreed, {kept, passes.shape(0)}));
}

Flags flags_of_parts(Boxes<float> xyxy, Column<std::int32_t> category, Windows window, Side frame_wh, double border,
                     double part_iou) {
  const std::size_t count = xyxy.shape(0);
  if (category.shape(0) != count || window.shape(0) != count)
    throw nb::value_error("xyxy, category and window must have the same length");
  std::vector<char> found;
  {
    nb::gil_scoped_release release;
    found = wutdet::parts_of_others({xyxy.data(), nullptr, category.data(), window.data(), count},
                                    {frame_wh.first, frame_wh.second, border, part_iou, 0, 0, 0});
  }
  std::unique_ptr<bool[]> flags(new bool[count]);
  std::copy(found.begin(), found.end(), flags.get());
  return to_numpy<Flags>(std::move(flags), {count});
}

nb::tuple decoded(Rows<float> output, std::optional<std::size_t> only_category, float conf, float iou,
                  std::size_t max_candidates, std::size_t max_det) {
  if (output.shape(0) < 5 + only_category.value_or(0))
    throw nb::value_error("an output has four rows of boxes and one per category");
  // Anchors are numbered in 32 bits.
  if (output.shape(1) > std::size_t{0xFFFFFFFF}) throw nb::value_error("too many anchors");
  FoundBoxes found;
  {
    nb::gil_scoped_release release;
    const std::size_t first = 4 + only_category.value_or(0), anchors = output.shape(1);
    found = wutdet::decode_anchors(
        {output.data(), output.data() + first * anchors, only_category ? 1 : output.shape(0) - 4, anchors},
        {conf, iou, max_candidates, max_det});
  }
  const std::size_t count = found.score.size();
  return nb::make_tuple(copied<nb::ndarray<nb::numpy, float>>(found.xyxy, {count, 4}),
                        copied<nb::ndarray<nb::numpy, float>>(found.score, {count}),
                        copied<nb::ndarray<nb::numpy, std::int32_t>>(found.category, {count}));
}

}  // namespace

void bind_frames(nb::module_& module) {
  nb::class_<Letterboxer>(module, "Letterboxer",
                          "Frames to network inputs, as wutdet.boxes.Letterbox.apply does. Calls may overlap.")
      .def(nb::init<int, const std::string&>(), nb::arg("threads") = 1, nb::arg("isa") = "",
           "Threads (0: as many as help) and, for tests, kernels of an instruction set.")
      .def("planes", &Letterboxer::planes, nb::arg("frame").noconvert(), nb::arg("input_wh"), nb::arg("scaled_wh"),
           nb::arg("pad_lt"), nb::arg("pad_value"),
           "float32 [1, 3, H, W] RGB in 0..1 of uint8 [H, W, 3] BGR; the rows may lie in any distance.")
      .def("pixels", &Letterboxer::pixels, nb::arg("frame").noconvert(), nb::arg("input_wh"), nb::arg("scaled_wh"),
           nb::arg("pad_lt"), nb::arg("pad_value"), nb::arg("step") = 3,
           "uint8 [H, W, 3] RGB, or [H, W, 4] with zeros behind them.");
  module.def("nms", &kept_boxes, nb::arg("boxes"), nb::arg("category"), nb::arg("iou_threshold"), nb::arg("max_keep"),
             "Indices of the boxes [N, 4] (xyxy, sorted by falling score) that greedy NMS keeps, per category [N].");
  module.def("merge_passes", &merged_passes, nb::arg("xyxy"), nb::arg("score"), nb::arg("category"), nb::arg("window"),
             nb::arg("passes"), nb::arg("frame_wh"), nb::arg("border"), nb::arg("part_iou"), nb::arg("merge_iou"),
             nb::arg("mean_iou"), nb::arg("max_keep"),
             "Rows [K] of the boxes of overlapping passes that are ships, best first, their corners [K, 4], and the "
             "score [K, P] with which each pass agrees; see wutdet.runtime.merge.");
  module.def("parts_of_others", &flags_of_parts, nb::arg("xyxy"), nb::arg("category"), nb::arg("window"),
             nb::arg("frame_wh"), nb::arg("border"), nb::arg("part_iou"),
             "bool [N]: boxes cut by their window of which another pass saw more; see wutdet.runtime.merge.");
  module.def("decode_anchors", &decoded, nb::arg("output"), nb::arg("only_category").none(), nb::arg("conf"),
             nb::arg("iou"), nb::arg("max_candidates"), nb::arg("max_det"),
             "xyxy [K, 4], score [K] and category [K], best first, of [4 + categories, anchors] after NMS. A single "
             "category is chosen before anything is ranked, and becomes 0.");
}

}  // namespace wutdet
