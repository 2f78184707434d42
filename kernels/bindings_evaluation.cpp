// The evaluator's kernels as Python sees them. What the kernels trust is checked here.
#include "bindings.h"

#include <algorithm>
#include <cstdint>

#include "core/curves.h"
#include "core/matching.h"

namespace wutdet {
namespace {

template <typename Value>
using Vector = nb::ndarray<nb::numpy, Value, nb::ndim<1>>;
template <typename Value>
using Matrix = nb::ndarray<nb::numpy, Value, nb::ndim<2>>;

void check_offsets(const Column<std::int64_t>& offsets, std::size_t count, const char* what) {
  bool good = offsets.shape(0) > 0 && offsets(0) == 0;
  for (std::size_t i = 1; good && i < offsets.shape(0); ++i) good = offsets(i - 1) <= offsets(i);
  if (!good || offsets(offsets.shape(0) - 1) != static_cast<std::int64_t>(count)) throw nb::value_error(what);
}

void check_thresholds(std::size_t count) {
  if (count > kMostThresholds) throw nb::value_error("at most 16 IoU thresholds fit one pass");
}

nb::tuple py_match_boxes(Boxes<double> dt_xyxy, Column<double> dt_area, Column<std::int64_t> dt_offsets,
                         Boxes<double> gt_xyxy, Column<double> gt_area, Column<std::int64_t> gt_offsets,
                         Column<std::uint8_t> crowd, Rows<std::uint8_t> gt_ignore, Rows<std::uint8_t> dt_outside,
                         Column<double> thresholds, int pairing, std::size_t threads) {
  const std::size_t dts = dt_xyxy.shape(0), gts = gt_xyxy.shape(0);
  const std::size_t views = gt_ignore.shape(0), bars = thresholds.shape(0);
  check_thresholds(bars);
  if (pairing < 0 || pairing > 2) throw nb::value_error("pairing must be 0, 1 or 2");
  if (dt_area.shape(0) != dts || dt_outside.shape(1) != dts) throw nb::value_error("detection columns differ in length");
  if (gt_area.shape(0) != gts || gt_ignore.shape(1) != gts || crowd.shape(0) != gts)
    throw nb::value_error("ground-truth columns differ in length");
  if (dt_outside.shape(0) != views || views == 0) throw nb::value_error("one or more views, as many on both sides");
  if (dt_offsets.shape(0) != gt_offsets.shape(0)) throw nb::value_error("groups differ between the two sides");
  check_offsets(dt_offsets, dts, "dt_offsets must rise from 0 to the number of detections");
  check_offsets(gt_offsets, gts, "gt_offsets must rise from 0 to the number of ground-truth boxes");
  std::unique_ptr<ThresholdBits[]> hit(new ThresholdBits[views * dts]), ignored(new ThresholdBits[views * dts]);
  std::unique_ptr<std::int32_t[]> match(new std::int32_t[bars * dts]);
  {
    nb::gil_scoped_release release;
    const BoxTable dt{dt_xyxy.data(), dt_area.data(), dt_offsets.data(), dts};
    const BoxTable gt{gt_xyxy.data(), gt_area.data(), gt_offsets.data(), gts};
    match_boxes(dt, gt, dt_offsets.shape(0) - 1, crowd.data(), gt_ignore.data(), dt_outside.data(), views,
                thresholds.data(), bars, static_cast<Pairing>(pairing), std::max<std::size_t>(threads, 1), hit.get(),
                ignored.get(), match.get());
  }
  return nb::make_tuple(to_numpy<Matrix<ThresholdBits>>(std::move(hit), {views, dts}),
                        to_numpy<Matrix<ThresholdBits>>(std::move(ignored), {views, dts}),
                        to_numpy<Matrix<std::int32_t>>(std::move(match), {bars, dts}));
}

RankedDetections ranked(const Column<std::int64_t>& order, const Column<ThresholdBits>& hit,
                        const Column<ThresholdBits>& ignored, std::size_t columns) {
  const std::size_t rows = hit.shape(0);
  if (ignored.shape(0) != rows || columns != rows) throw nb::value_error("detection columns differ in length");
  for (std::size_t i = 0; i < order.shape(0); ++i)
    if (order(i) < 0 || static_cast<std::size_t>(order(i)) >= rows) throw nb::index_error("order");
  return {order.data(), order.shape(0), hit.data(), ignored.data()};
}

nb::tuple py_precision_at_recall(Column<std::int64_t> order, Column<ThresholdBits> hit, Column<ThresholdBits> ignored,
                                 Column<double> score, std::int64_t positives, std::size_t thresholds,
                                 Column<double> recall_points) {
  const std::size_t points = recall_points.shape(0);
  check_thresholds(thresholds);
  if (positives <= 0) throw nb::value_error("precision over recall needs ground truth that counts");
  const RankedDetections dt = ranked(order, hit, ignored, score.shape(0));
  std::unique_ptr<double[]> precision(new double[thresholds * points]), point_score(new double[thresholds * points]),
      recall(new double[thresholds]), area(new double[thresholds]);
  {
    nb::gil_scoped_release release;
    precision_at_recall(dt, score.data(), positives, thresholds, recall_points.data(), points, precision.get(),
                        point_score.get(), recall.get(), area.get());
  }
  return nb::make_tuple(to_numpy<Matrix<double>>(std::move(precision), {thresholds, points}),
                        to_numpy<Matrix<double>>(std::move(point_score), {thresholds, points}),
                        to_numpy<Vector<double>>(std::move(recall), {thresholds}),
                        to_numpy<Vector<double>>(std::move(area), {thresholds}));
}

nb::tuple py_weighted_precision(Column<std::int64_t> order, Column<ThresholdBits> hit, Column<ThresholdBits> ignored,
                                Column<std::int32_t> image, Rows<std::uint8_t> weights,
                                Column<std::int32_t> positive_image, std::size_t thresholds,
                                Column<double> recall_points, std::size_t threads) {
  const std::size_t resamples = weights.shape(0), images = weights.shape(1);
  check_thresholds(thresholds);
  const RankedDetections dt = ranked(order, hit, ignored, image.shape(0));
  for (const auto& column : {image, positive_image})
    for (std::size_t i = 0; i < column.shape(0); ++i)
      if (column(i) < 0 || static_cast<std::size_t>(column(i)) >= images) throw nb::index_error("image");
  std::unique_ptr<double[]> mean(new double[resamples * thresholds]), recall(new double[resamples * thresholds]);
  {
    nb::gil_scoped_release release;
    weighted_precision(dt, image.data(), weights.data(), images, resamples, positive_image.data(),
                       positive_image.shape(0), thresholds, recall_points.data(), recall_points.shape(0), threads, mean.get(), recall.get());
  }
  return nb::make_tuple(to_numpy<Matrix<double>>(std::move(mean), {resamples, thresholds}),
                        to_numpy<Matrix<double>>(std::move(recall), {resamples, thresholds}));
}

}  // namespace

void bind_evaluation(nb::module_& module) {
  module.def("match_boxes", &py_match_boxes, nb::arg("dt_xyxy"), nb::arg("dt_area"), nb::arg("dt_offsets"),
             nb::arg("gt_xyxy"), nb::arg("gt_area"), nb::arg("gt_offsets"), nb::arg("crowd"), nb::arg("gt_ignore"),
             nb::arg("dt_outside"), nb::arg("thresholds"), nb::arg("pairing") = 0,
             nb::arg("threads") = 1,
             "hit, ignored (bits per threshold) [views, detections] and match [thresholds, detections]; see "
             "wutdet.evaluation.matching.");
  module.def("precision_at_recall", &py_precision_at_recall, nb::arg("order"), nb::arg("hit"), nb::arg("ignored"),
             nb::arg("score"), nb::arg("positives"), nb::arg("thresholds"), nb::arg("recall_points"),
             "Precision and score [thresholds, points], final recall and area [thresholds]; see wutdet.evaluation.accumulate.");
  module.def("weighted_precision", &py_weighted_precision, nb::arg("order"), nb::arg("hit"), nb::arg("ignored"),
             nb::arg("image"), nb::arg("weights"), nb::arg("positive_image"), nb::arg("thresholds"),
             nb::arg("recall_points"), nb::arg("threads") = 1,
             "Mean precision and final recall [resamples, thresholds]; see wutdet.evaluation.bootstrap.");
}

}  // namespace wutdet
