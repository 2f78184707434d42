"""The 12 statistics against pycocotools, the native path against NumPy, and small cases counted by hand."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from coco_scenes import as_pycocotools, pycocotools_eval, scene, write_files
from hypothesis import given, settings
from hypothesis import strategies as st

import wutdet
from wutdet.config import ScoreConfig
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError
from wutdet.evaluation.accumulate import accumulate, best_f1
from wutdet.evaluation.coco import evaluate, result_of
from wutdet.evaluation.coco_files import read_ground_truth, read_results
from wutdet.evaluation.matching import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE, match
from wutdet.evaluation.presets import preset
from wutdet.evaluation.tables import FoundBoxes, GroundTruth
from wutdet.scorecard import run_score as run

# Only the knobs are drawn; a scene is made inside the test, where its time is not taken for slow drawing.
knobs = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "images": st.integers(1, 8),
        "categories": st.integers(1, 3),
        "boxes": st.integers(0, 20),
        "detections": st.sampled_from([0, 5, 40, 160]),
        "crowd": st.sampled_from([0.0, 0.2, 1.0]),
        "score_steps": st.sampled_from([1, 4, 1000]),
        "whole_pixels": st.booleans(),
    }
)


def tables(truth: dict, results: list[dict]) -> tuple[GroundTruth, FoundBoxes]:
    with tempfile.TemporaryDirectory() as folder:
        truth_path, results_path = write_files(Path(folder), truth, results)
        ground_truth, category_ids = read_ground_truth(truth_path)
        return ground_truth, read_results(results_path, ground_truth, category_ids)


def ships(boxes_per_image: list[list[list[float]]], **columns) -> GroundTruth:
    """One category; boxes are xyxy."""
    image = np.repeat(np.arange(len(boxes_per_image)), [len(boxes) for boxes in boxes_per_image])
    xyxy = np.array([box for boxes in boxes_per_image for box in boxes], dtype=float).reshape(-1, 4)
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    no = np.zeros(len(image), dtype=bool)
    table = GroundTruth(np.arange(len(boxes_per_image)), image, image * 0, xyxy, area, area, no, no, ("ship",))
    return dataclasses.replace(table, **columns)


def found(rows: list[tuple]) -> Detections:
    """Rows of (image, score, x1, y1, x2, y2)."""
    columns = np.array(rows, dtype=float).reshape(-1, 6)
    return Detections(columns[:, 2:], columns[:, 1], np.zeros(len(rows)), columns[:, 0])


@settings(max_examples=120, deadline=None)
@given(knobs)
def test_statistics_and_curves_equal_pycocotools(case):
    truth, results = scene(**case)
    reference = pycocotools_eval(truth, results)
    ground_truth, detections = tables(truth, results)
    result = evaluate(ground_truth, detections)
    np.testing.assert_array_equal(as_pycocotools(result.stats), reference.stats)
    protocol = preset("coco")
    for native in (True, False):
        curves = accumulate(result.matches, protocol.views, (1, 10, 100), native=native)
        np.testing.assert_array_equal(curves.precision, reference.eval["precision"])
        np.testing.assert_array_equal(curves.recall, reference.eval["recall"])
        np.testing.assert_array_equal(curves.score, reference.eval["scores"])


@settings(max_examples=40, deadline=None)
@given(knobs)
def test_native_equals_numpy_bit_for_bit(case):
    ground_truth, detections = tables(*scene(**case))
    fast = evaluate(ground_truth, detections)
    slow = evaluate(ground_truth, detections, native=False)
    for column in dataclasses.fields(fast.matches):
        a, b = getattr(fast.matches, column.name), getattr(slow.matches, column.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=column.name, strict=True)
    assert fast.to_json() == slow.to_json()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0]))
def test_ignore_flags_act_as_in_pycocotools_with_its_overwritten_flag_restored(seed, share):
    truth, results = scene(seed, ignore=share, boxes=15, detections=60)
    reference = pycocotools_eval(truth, results, honour_ignore=True)
    result = evaluate(*tables(truth, results))
    np.testing.assert_array_equal(as_pycocotools(result.stats), reference.stats)


@pytest.mark.parametrize("seed", range(5))
def test_a_slice_of_images_is_a_reaccumulation(seed):
    ground_truth, detections = tables(*scene(seed, images=9, detections=50))
    matches = evaluate(ground_truth, detections).matches
    chosen = np.random.default_rng(seed).random(9) < 0.5
    chosen[0] = True
    row = np.cumsum(chosen) - 1
    part_gt, part_dt = chosen[ground_truth.image], chosen[detections.image]
    columns = ("image", "category", "xyxy", "box_area", "area", "ignore", "crowd")
    smaller_gt = {name: getattr(ground_truth, name)[part_gt] for name in columns}
    smaller_gt.update(image=row[smaller_gt["image"]], image_id=ground_truth.image_id[chosen])
    smaller_dt = {f.name: getattr(detections, f.name)[part_dt] for f in dataclasses.fields(detections)}
    smaller_dt.update(image=row[smaller_dt["image"]])
    anew = match(
        dataclasses.replace(ground_truth, **smaller_gt),
        dataclasses.replace(detections, **smaller_dt),
        matches.views,
        matches.iou_thresholds,
        matches.max_det,
    )
    sliced, expected = accumulate(matches, images=chosen), accumulate(anew)
    np.testing.assert_array_equal(sliced.precision, expected.precision)
    np.testing.assert_array_equal(sliced.recall, expected.recall)
    np.testing.assert_array_equal(sliced.positives, expected.positives)


def test_counted_by_hand():
    # Two ships, 100 px wide, 10 px high. The first is found exactly, a false alarm follows, then the second with
    # IoU 0.8 (80 of 100 px): precision is 1 up to recall .5, and 2/3 beyond for the 7 thresholds up to .80.
    truth = ships([[[0, 0, 100, 10], [0, 100, 100, 110]]])
    result = evaluate(truth, found([(0, 0.9, 0, 0, 100, 10), (0, 0.8, 500, 0, 600, 10), (0, 0.7, 0, 100, 80, 110)]))
    half, whole = 51 / 101, (51 + 50 * 2 / 3) / 101
    assert result.stats["AP50"] == pytest.approx(whole)
    assert result.stats["AP75"] == pytest.approx(whole)
    assert result.stats["AP"] == pytest.approx((7 * whole + 3 * half) / 10)
    assert result.stats["AR1"] == pytest.approx(0.5)
    assert result.stats["AR100"] == pytest.approx((7 * 1 + 3 * 0.5) / 10)
    assert result.stats["APs"] == pytest.approx(result.stats["AP"])  # area 1000: both ships are small
    assert result.stats["APm"] is None and result.stats["APl"] is None and result.stats["ARl"] is None
    assert [result.matches.status(0, t)[0] for t in range(10)] == [TRUE_POSITIVE] * 10
    assert [result.matches.status(0, t)[1] for t in range(10)] == [FALSE_POSITIVE] * 10
    assert [result.matches.status(0, t)[2] for t in range(10)] == [TRUE_POSITIVE] * 7 + [FALSE_POSITIVE] * 3
    assert result.matches.match[:, 2].tolist() == [1] * 7 + [-1] * 3
    bins = {row["name"].split(" (")[0]: row for row in result.size_bins}
    assert bins["small"]["boxes"] == 2 and bins["small"]["recall50"] == 1.0
    assert bins["large"]["boxes"] == 0 and bins["large"]["AP"] is None
    # Both ships, one false alarm: F1 = 4 / 5; keeping only the first would give 2 / 3.
    assert result.threshold["f1"] == pytest.approx(0.8)
    assert result.threshold["precision"] == pytest.approx(2 / 3) and result.threshold["recall"] == 1.0
    assert 0.69 < result.threshold["score"] < 0.7


def test_a_ship_found_twice_is_one_hit_and_one_false_alarm():
    box = [10, 10, 60, 40]
    result = evaluate(ships([[box]]), found([(0, 0.9, *box), (0, 0.8, *box)]))
    assert result.matches.status(0, 0).tolist() == [TRUE_POSITIVE, FALSE_POSITIVE]
    assert result.stats["AP"] == pytest.approx(1.0)


def test_a_crowd_takes_any_number_of_detections_and_is_no_miss():
    truth = ships(
        [[[0, 0, 10, 10], [100, 100, 200, 200]]], ignore=np.array([False, True]), crowd=np.array([False, True])
    )
    inside = [(0, 0.9, 110, 110, 120, 120), (0, 0.8, 150, 150, 160, 170), (0, 0.7, 0, 0, 10, 10)]
    result = evaluate(truth, found(inside))
    assert result.matches.status(0, 0).tolist() == [IGNORED, IGNORED, TRUE_POSITIVE]
    assert result.stats["AP"] == pytest.approx(1.0)
    assert result.protocol["boxes"] == 1 and result.protocol["boxes_ignored"] == 1


def test_only_the_best_hundred_of_a_frame_count():
    truth = ships([[[0, 0, 10, 10]]])
    rows = [(0, 0.9 - 0.001 * i, 300, 300, 310, 310) for i in range(100)] + [(0, 0.1, 0, 0, 10, 10)]
    result = evaluate(truth, found(rows))
    assert result.stats["AR100"] == 0.0
    assert result.protocol["detections"] == 101 and result.protocol["detections_over_limit"] == 1
    assert result.threshold is None
    assert "none, no detection hits" in result.to_text()


def test_a_hit_on_annotation_id_0_counts(tmp_path, caplog):
    # pycocotools stores matches as annotation ids and 0 as "no match", so it misses this one.
    truth, _ = scene(0, images=1, boxes=0, categories=1)
    image, category = truth["images"][0]["id"], truth["categories"][0]["id"]
    box = {"image_id": image, "category_id": category, "bbox": [1, 2, 30, 40]}
    truth["annotations"] = [{**box, "id": 0, "area": 1200, "iscrowd": 0}]
    results = [{**box, "score": 0.5}]
    assert pycocotools_eval(truth, results).stats[0] == 0.0
    truth_path, results_path = write_files(tmp_path, truth, results)
    with caplog.at_level("INFO", "wutdet"):
        assert run(ScoreConfig(truth_path, (results_path,))).stats["AP"] == pytest.approx(1.0)
    assert "id 0" in caplog.text


def test_nothing_to_find_and_nothing_found():
    nothing = evaluate(ships([[], []]), found([(0, 0.9, 0, 0, 10, 10)]))
    assert set(nothing.stats.values()) == {None}
    assert nothing.curves["precision"]["0.50"] is None
    assert nothing.threshold is None
    silent = evaluate(ships([[[0, 0, 10, 10]], []]), Detections.empty())
    assert silent.stats["AP"] == 0.0 and silent.stats["AR100"] == 0.0 and silent.stats["APl"] is None
    assert silent.protocol["images_without_boxes"] == 1
    for result in (nothing, silent):
        assert "AP50" in result.to_text()


def test_best_threshold_does_not_part_equal_scores():
    # At score .5 a hit comes with two false alarms; no threshold keeps the hit alone.
    truth = ships([[[0, 0, 10, 10]]])
    matches = evaluate(truth, found([(0, 0.5, 0, 0, 10, 10), (0, 0.5, 50, 0, 60, 10), (0, 0.5, 80, 0, 90, 10)])).matches
    best = best_f1(matches)
    assert (best["tp"], best["fp"], best["fn"]) == (1, 2, 0)
    assert best["f1"] == pytest.approx(0.5)


def test_json_has_the_promised_keys_and_the_public_name_works():
    result = wutdet.evaluate(ships([[[0, 0, 10, 10]]]), found([(0, 0.5, 0, 0, 10, 10)]), preset="coco")
    content = result.to_json()
    assert set(content) >= {"schema", "protocol", "stats", "slices", "intervals", "leak_rate"}
    assert content["schema"] == "wutdet.score/2"
    assert list(content["stats"]) == [
        "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
    ]  # fmt: skip
    assert len(content["curves"]["recall"]) == len(content["curves"]["precision"]["mean"]) == 101
    assert np.mean(content["curves"]["precision"]["mean"]) == pytest.approx(content["stats"]["AP"])
    assert content["protocol"]["max_dets"] == [1, 10, 100]
    text = result.to_text()
    assert "maxDets 100" in text and "1 images" in text


def test_size_bins_of_coco_sizes_equal_the_statistics(rng):
    result = evaluate(*tables(*scene(int(rng.integers(1 << 30)), images=20, detections=60)))
    medium, large = result.size_bins[3], result.size_bins[4]
    assert (medium["AP"], medium["AR"]) == (result.stats["APm"], result.stats["ARm"])
    assert (large["AP"], large["AR"]) == (result.stats["APl"], result.stats["ARl"])


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        (found([(0, 0.5, 0, 0, 5, 5), (2, 0.5, 0, 0, 5, 5)]), r"detections\[1\] \(image row 2\).*outside 0\.\.1"),
        (found([(0, np.nan, 0, 0, 5, 5)]), r"detections\[0\].*score is not a finite"),
        (found([(0, 0.5, 0, np.inf, 5, 5)]), r"detections\[0\].*coordinate that is not a finite"),
        (found([(1, 0.5, 9, 0, 5, 5)]), r"detections\[0\] \(image row 1\).*negative width"),
    ],
)
def test_impossible_detections_are_refused_with_their_place(detections, message):
    with pytest.raises(DataError, match=message):
        evaluate(ships([[[0, 0, 10, 10]], []]), detections)


def test_unknown_preset_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match="Did you mean 'coco'"):
        evaluate(ships([[]]), Detections.empty(), preset="cocoo")


def test_the_matching_kernel_refuses_tables_that_do_not_fit():
    from wutdet._kernels import match_boxes

    one = {
        "dt_xyxy": np.zeros((1, 4)), "dt_area": np.zeros(1), "dt_offsets": np.array([0, 1]),
        "gt_xyxy": np.zeros((1, 4)), "gt_area": np.zeros(1), "gt_offsets": np.array([0, 1]),
        "crowd": np.zeros(1, np.uint8), "gt_ignore": np.zeros((1, 1), np.uint8),
        "dt_outside": np.zeros((1, 1), np.uint8), "thresholds": np.array([0.5]),
    }  # fmt: skip
    match_boxes(**one)
    for wrong in (
        {"dt_offsets": np.array([0, 2])},
        {"gt_offsets": np.array([0, -1])},
        {"gt_offsets": np.array([0, 1, 1])},
        {"dt_area": np.zeros(2)},
        {"crowd": np.zeros(0, np.uint8)},
        {"dt_outside": np.zeros((2, 1), np.uint8)},
    ):
        with pytest.raises(ValueError):
            match_boxes(**{**one, **wrong})


@pytest.mark.real_data
def test_equals_pycocotools_on_real_ground_truth(shared_dir, rng, tmp_path):
    import json

    path = shared_dir / "data" / "harborcams" / "annotations" / "val.json"
    truth = json.loads(path.read_text())
    results = []
    for box in truth["annotations"]:
        x, y, w, h = box["bbox"]
        for _ in range(rng.integers(0, 4)):
            dx, dy, dw, dh = rng.normal(0, 0.12, 4)
            results.append(
                {
                    "image_id": box["image_id"],
                    "category_id": box["category_id"],
                    "bbox": [x + dx * w, y + dy * h, w * np.exp(dw), h * np.exp(dh)],
                    "score": float(np.round(rng.uniform(), 2)),
                }
            )
    reference = pycocotools_eval(truth, results)
    _, results_path = write_files(tmp_path, {}, results)
    result = run(ScoreConfig(path, (results_path,)))
    np.testing.assert_array_equal(as_pycocotools(result.stats), reference.stats)
    assert result.protocol["images"] == 199 and result.protocol["boxes"] == 512
    assert 0.1 < result.stats["AP"] < 0.9
    # The other way in: a Dataset and float32 Detections.
    dataset = wutdet.load_dataset(path)
    row = {int(image_id): i for i, image_id in enumerate(dataset.image_id)}
    xyxy = np.array([d["bbox"] for d in results])
    xyxy[:, 2:] += xyxy[:, :2]
    detections = Detections(
        xyxy, [d["score"] for d in results], np.zeros(len(results)), [row[d["image_id"]] for d in results]
    )
    columns = wutdet.evaluate(dataset, detections)
    np.testing.assert_allclose(as_pycocotools(columns.stats), reference.stats, atol=2e-3)
    reference = pycocotools_eval(truth, detections.to_coco(dataset.image_id, [1]))
    np.testing.assert_allclose(as_pycocotools(columns.stats), reference.stats, atol=1e-6)


def test_result_of_can_be_made_again_from_matches():
    ground_truth, detections = tables(*scene(3))
    first = evaluate(ground_truth, detections)
    assert result_of(first.matches, ground_truth, preset("coco")).to_json() == first.to_json()
