"""The presets of other benchmarks against oracles written from their definitions, and own size bins by hand."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import preset_oracles
import pytest
from coco_scenes import scene
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tables import found_table, truth_table
from test_coco_statistics import tables

from wutdet.config import AnalysisConfig
from wutdet.evaluation.analyse import analyse
from wutdet.evaluation.coco import evaluate, match_for
from wutdet.evaluation.matching import match
from wutdet.evaluation.olrp import olrp
from wutdet.evaluation.presets import PRESETS, preset
from wutdet.evaluation.protocol import ALL


def random_case(seed: int) -> dict:
    """Knobs of a scene, drawn here because hypothesis' own draws are mostly of small scenes, with little contested."""
    rng = np.random.default_rng(seed)

    def one_of(*values):
        return values[rng.integers(len(values))]

    return {
        "seed": seed,
        "images": one_of(1, 3, 6),
        "categories": one_of(1, 2, 3),
        "boxes": one_of(0, 8, 14, 20),
        "detections": one_of(0, 20, 40, 60),
        "ignore": one_of(0.0, 0.05, 0.2, 1.0),
        "score_steps": one_of(1, 4, 1000),
        "whole_pixels": one_of(True, False),
    }


cases = st.integers(0, 2**32 - 1).map(random_case)
ORACLES = {
    "aitod": preset_oracles.aitod,
    "soda-d": preset_oracles.soda_d,
    "tinyperson": preset_oracles.tinyperson,
    "visdrone": preset_oracles.visdrone,
}


def made(case: dict, name: str) -> tuple[dict, list[dict]]:
    """A scene within what the benchmark's own files can hold."""
    truth, results = scene(**case)
    for box in truth["annotations"]:
        if name == "tinyperson":  # its files know no crowds, and no area but that of the box
            box["area"] = box["bbox"][2] * box["bbox"][3]
            assert not box["iscrowd"]
        if name == "visdrone" and (box["ignore"] or box["iscrowd"]):
            box["bbox"] = [float(round(value)) for value in box["bbox"]]
    return truth, results


def compare(name: str, truth: dict, results: list[dict]) -> dict:
    """Both paths against the oracle; returns the figures."""
    expected = ORACLES[name](truth, results)
    ground_truth, detections = tables(truth, results)
    for native in (True, False):
        stats = evaluate(ground_truth, detections, preset=name, native=native).stats
        assert set(stats) == set(expected)
        for key, value in expected.items():
            assert (stats[key] is None) == (value is None), (key, stats[key], value)
            if value is not None:
                assert math.isclose(stats[key], value, rel_tol=0, abs_tol=1e-9), (key, stats[key], value)
    return expected


@settings(max_examples=60, deadline=None)
@given(cases, st.sampled_from([0.0, 0.2]))
def test_aitod_and_olrp(case, crowd):
    compare("aitod", *made({**case, "crowd": crowd}, "aitod"))


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from([0.0, 0.2]))
def test_soda_d(case, crowd):
    compare("soda-d", *made({**case, "crowd": crowd}, "soda-d"))


@settings(max_examples=40, deadline=None)
@given(cases)
def test_tinyperson(case):
    compare("tinyperson", *made({**case, "crowd": 0.0}, "tinyperson"))


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from([0.0, 0.1]))
def test_visdrone(case, crowd):
    compare("visdrone", *made({**case, "crowd": crowd}, "visdrone"))


@pytest.mark.parametrize("name", ORACLES)
def test_scenes_reach_every_figure(name):
    # The property tests would prove little if figures were mostly absent, 0 or 1.
    seen: dict[str, set] = {}
    for seed in range(6):
        case = {"seed": seed, "images": 6, "categories": 2, "boxes": 14, "detections": 40, "crowd": 0.0, "ignore": 0.2}
        for key, value in compare(name, *made(case, name)).items():
            seen.setdefault(key, set()).add(value)
    assert all(any(v is not None and 0 < v < 1 for v in values) for values in seen.values()), seen


@pytest.mark.parametrize(
    ("name", "detections"), [("aitod", 1600), ("soda-d", 1100), ("tinyperson", 1100), ("visdrone", 620)]
)
def test_limits_of_detections(name, detections):
    # A crowded frame with more detections than the largest limit, hits among the first and beyond the last of them.
    rng = np.random.default_rng(5)
    truth, _ = scene(1, images=2, categories=2, boxes=0, detections=0)
    image, classes = truth["images"][0]["id"], [row["id"] for row in truth["categories"]]
    for i in range(40):
        box = [*rng.integers(0, 400, 2).tolist(), *rng.integers(6, 40, 2).tolist()]
        truth["annotations"].append(
            {"id": i + 1, "image_id": image, "category_id": classes[i % 2], "bbox": box, "area": box[2] * box[3],
             "iscrowd": 0, "ignore": 0}
        )  # fmt: skip
    results = []
    for i in range(detections):
        here = truth["annotations"][int(rng.integers(40))]
        near = rng.random() < 0.1
        box = list(here["bbox"]) if near else [*rng.integers(0, 400, 2).tolist(), *rng.integers(6, 40, 2).tolist()]
        category = here["category_id"] if i % 8 == 0 else classes[0]  # nearly all of one class, whose limit is hit
        results.append(
            {"image_id": image, "category_id": category, "bbox": box, "score": float(np.round(rng.random(), 2))}
        )
    figures = compare(name, truth, results)
    limits = sorted({stat.max_det for stat in preset(name).stats})[-3:]  # one detection a frame hardly ever hits
    if name == "tinyperson":
        assert preset_oracles.tinyperson(truth, results, limit=detections)["AR50_all"] > figures["AR50_all"]
    else:
        recalls = [figures[f"AR{limit}"] for limit in limits]
        assert recalls == sorted(recalls) and len(set(recalls)) == len(recalls), "no limit mattered"


@pytest.mark.parametrize("crowd", [0.0, 0.15])
def test_one_analysis_gives_every_preset_its_own_figures(crowd):
    # In an analysis presets share passes over all their thresholds, views and limits.
    for seed in range(4):
        ground_truth, detections = tables(*scene(seed, crowd=crowd, ignore=0.1, detections=130, categories=2))
        whole = analyse(ground_truth, detections, AnalysisConfig(resamples=0))
        assert list(whole.presets) == list(PRESETS)
        for name in PRESETS:
            assert whole.presets[name] == evaluate(ground_truth, detections, preset=name).stats


# oLRP ------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from([5, 1500]))
def test_thresholds_of_olrp_per_category(case, limit):
    truth, results = scene(**{**case, "detections": 20})
    ground_truth, detections = tables(truth, results)
    matches = match(ground_truth, detections, [ALL], np.array([0.5]), 1500)
    ours = olrp(matches, ground_truth, detections, max_det=limit)
    assert ours["thresholds"] == preset_oracles.olrp(truth, results, limit)["thresholds"]


@settings(max_examples=20, deadline=None)
@given(cases, st.sampled_from([0.0, 0.2]))
def test_results_carry_the_thresholds_of_olrp(case, crowd):
    truth, results = scene(**{**case, "crowd": crowd})
    expected = preset_oracles.olrp(truth, results)["thresholds"]
    ground_truth, detections = tables(truth, results)
    assert evaluate(ground_truth, detections, preset="aitod").olrp_thresholds == expected
    assert evaluate(ground_truth, detections, preset="coco").olrp_thresholds == {}
    whole = analyse(ground_truth, detections, AnalysisConfig(resamples=0))
    content = json.loads(json.dumps(whole.to_json()))
    assert whole.presets["aitod"].keys() >= {"oLRP", "oLRP_Loc"} and "thresholds" not in whole.presets["aitod"]
    assert content["olrp_thresholds"] == whole.olrp_thresholds == expected
    short = analyse(ground_truth, detections, AnalysisConfig(resamples=0, full=False))
    assert short.olrp_thresholds == {} and "oLRP" not in short.to_text()


@pytest.mark.parametrize("headline", ["coco", "aitod"])
def test_the_text_names_the_thresholds_of_olrp(headline):
    truth = truth_table([(0, 0, 0, 0, 100, 10, 0), (0, 1, 0, 100, 100, 110, 0)], images=1, categories=3)
    found = found_table([(0, 0, 0, 0, 100, 10, 0.875)])
    result = analyse(truth, found, AnalysisConfig(preset=headline, resamples=0))
    lines = [line.strip() for line in result.to_text().splitlines()]
    place = lines.index("best thresholds by oLRP: kind0 0.875, kind1 none")  # nothing of kind2
    assert lines[place - 1].startswith("best threshold at IoU .50" if headline == "aitod" else "aitod ")
    many = dataclasses.replace(result, olrp_thresholds={f"kind{k}": k / 100 for k in range(20)})
    assert "kind11 0.110 and 8 more" in many.to_text()


def test_olrp_by_hand():
    # Two ships, 100 x 10. A hit with IoU 1, a false alarm, a hit with IoU .8, two more false alarms:
    # after each of the first three (0 + 0 + 1) / 2 = .5, (0 + 1 + 1) / 3, (.2 / .5 + 1 + 0) / 3 = .4667: the least.
    truth = truth_table([(0, 0, 0, 0, 100, 10, 0), (0, 0, 0, 100, 100, 110, 0)], images=1)
    found = found_table(
        [
            (0, 0, 0, 0, 100, 10, 0.9),
            (0, 0, 300, 0, 400, 10, 0.8),
            (0, 0, 0, 100, 80, 110, 0.7),
            (0, 0, 300, 50, 400, 60, 0.6),
            (0, 0, 300, 90, 400, 99, 0.5),
        ]
    )
    stats = evaluate(truth, found, preset="aitod").stats
    assert stats["oLRP"] == pytest.approx(1.4 / 3)
    assert stats["oLRP_Loc"] == pytest.approx(0.1)
    assert stats["oLRP_FP"] == pytest.approx(1 / 3)
    assert stats["oLRP_FN"] == 0.0
    matches = match_for([preset("aitod")], truth, found)
    assert olrp(matches, truth, found, max_det=1500)["thresholds"] == {"kind0": 0.7}


def test_olrp_without_hits_and_without_ships():
    truth = truth_table([(0, 0, 0, 0, 100, 10, 0)], images=2, categories=3)
    found = found_table([(0, 1, 0, 0, 100, 10, 0.9)])
    stats = evaluate(truth, found, preset="aitod").stats
    assert (stats["oLRP"], stats["oLRP_FN"]) == (1.0, 1.0)  # only the category with ships counts
    assert stats["oLRP_Loc"] is None and stats["oLRP_FP"] is None
    none = evaluate(truth_table([], images=2), found_table([]), preset="aitod").stats
    assert set(none.values()) == {None}


def test_olrp_of_some_images_is_that_of_a_smaller_data_set():
    truth, results = scene(8, images=8, detections=40)
    ground_truth, detections = tables(truth, results)
    matches = match_for([preset("aitod")], ground_truth, detections)
    chosen = np.arange(8) % 2 == 0
    part = olrp(matches, ground_truth, detections, max_det=1500, images=chosen)
    ids = set(ground_truth.image_id[chosen].tolist())
    smaller = {
        **truth,
        "images": [row for row in truth["images"] if row["id"] in ids],
        "annotations": [row for row in truth["annotations"] if row["image_id"] in ids],
    }
    expected = preset_oracles.olrp(smaller, [row for row in results if row["image_id"] in ids])
    for name in ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"):
        assert part[name] == pytest.approx(expected[name], abs=1e-9)


# Rules that are easy to get wrong, counted by hand ----------------------------------------------------------------


def test_a_box_on_the_edge_of_two_sizes_is_in_both():
    truth = truth_table([(0, 0, 0, 0, 8, 8, 0)], images=1)  # area 64
    stats = evaluate(truth, found_table([(0, 0, 0, 0, 8, 8, 0.9)]), preset="aitod").stats
    assert stats["APvt"] == stats["APt"] == pytest.approx(1.0) and stats["APs"] is None


def test_soda_d_headline_is_of_small_ships_and_large_ones_are_no_false_alarms():
    rows = [(0, 0, 0, 0, 20, 20, 0), (0, 0, 100, 100, 200, 200, 0)]
    found = found_table([(0, 0, 100, 100, 200, 200, 0.9), (0, 0, 0, 0, 20, 20, 0.8)])
    stats = evaluate(truth_table(rows, images=1), found, preset="soda-d").stats
    assert stats["AP"] == pytest.approx(1.0)
    assert stats["APn"] is None  # 10,000 px are beyond its "normal"


def test_soda_d_takes_a_crowd_for_one_ignored_box():
    crowd = [(0, 0, 0, 0, 20, 20, 1), (0, 0, 50, 50, 70, 70, 0)]
    inside = [(0, 0, 0, 0, 20, 20, 0.9), (0, 0, 1, 1, 20, 20, 0.8), (0, 0, 50, 50, 70, 70, 0.7)]
    truth, found = truth_table(crowd, images=1), found_table(inside)
    assert evaluate(truth, found, preset="coco").stats["AP50"] == pytest.approx(1.0)  # the crowd takes both
    assert evaluate(truth, found, preset="soda-d").stats["AP50"] == pytest.approx(0.5)  # the second is a false alarm


def ignored(truth, row: int):
    flags = np.zeros(len(truth), bool)
    flags[row] = True
    return dataclasses.replace(truth, ignore=flags)


def test_tinyperson_ignores_any_number_of_detections_inside_an_ignored_box():
    rows = [(0, 0, 0, 0, 100, 100, 0), (0, 0, 300, 300, 310, 310, 0)]
    truth = ignored(truth_table(rows, images=1), 0)
    inside = [(0, 0, 10 * i, 0, 10 * i + 10, 10, 0.9 - 0.1 * i) for i in range(3)]
    found = found_table([*inside, (0, 0, 300, 300, 310, 310, 0.2)])
    stats = evaluate(truth, found, preset="tinyperson").stats
    assert stats["AP50_tiny"] == pytest.approx(1.0)
    assert evaluate(truth, found, preset="aitod").stats["AP50"] == pytest.approx(0.25)  # there they are false alarms
    # Half inside: ignored at IoU .25 and .50, a false alarm at .75.
    half = found_table([(0, 0, 95, 0, 105, 10, 0.9), (0, 0, 300, 300, 310, 310, 0.2)])
    stats = evaluate(truth, half, preset="tinyperson").stats
    assert [stats[f"AP{iou}_tiny"] for iou in (25, 50, 75)] == pytest.approx([1.0, 1.0, 0.5])


def test_tinyperson_sizes_begin_at_one_pixel_for_ap_and_at_two_for_the_miss_rate():
    truth = truth_table([(0, 0, 0, 0, 1.5, 1.5, 0)], images=1)
    stats = evaluate(truth, found_table([(0, 0, 0, 0, 1.5, 1.5, 0.9)]), preset="tinyperson").stats
    assert stats["AP50_tiny1"] == pytest.approx(1.0)
    assert stats["MR50_tiny1"] is None and stats["MR50_all"] == 0.0


def test_miss_rate_by_hand():
    # 200 frames with a ship each, half of them found before the first false alarm, 3 in 10 more before the 20th.
    truth = truth_table([(i, 0, 0, 0, 10, 10, 0) for i in range(200)], images=200)
    rows = [(i, 0, 0, 0, 10, 10, 0.9) for i in range(100)]
    rows += [(i, 0, 300, 0, 310, 10, 0.8) for i in range(20)]  # 0.1 false alarms a frame
    rows += [(i, 0, 0, 0, 10, 10, 0.7) for i in range(100, 160)]
    stats = evaluate(truth, found_table(rows), preset="tinyperson").stats
    # At .01, .018, .032, .056 per frame recall is .5; at .1, .178, .316, .562, 1 it is .8.
    assert stats["MR50_tiny"] == pytest.approx((0.5**4 * 0.2**5) ** (1 / 9))


def test_visdrone_limits_are_of_all_classes_together():
    rows = [(0, 0, 0, 0, 20, 20, 0), (0, 1, 50, 50, 70, 70, 0)]
    found = found_table([(0, 0, 0, 0, 20, 20, 0.9), (0, 1, 50, 50, 70, 70, 0.8)])
    truth = truth_table(rows, images=1, categories=2)
    assert evaluate(truth, found, preset="visdrone").stats["AR1"] == pytest.approx(0.5)
    assert evaluate(truth, found, preset="coco").stats["AR1"] == pytest.approx(1.0)


def test_visdrone_ties_at_a_limit_keep_the_order_of_the_file():
    rows = [(0, 0, 0, 0, 20, 20, 0), (0, 1, 50, 50, 70, 70, 0)]
    hit_of_second = (0, 1, 50, 50, 70, 70, 0.5)
    wrong_of_first = (0, 0, 200, 200, 220, 220, 0.5)
    truth = truth_table(rows, images=1, categories=2)
    first = evaluate(truth, found_table([hit_of_second, wrong_of_first]), preset="visdrone").stats
    second = evaluate(truth, found_table([wrong_of_first, hit_of_second]), preset="visdrone").stats
    assert (first["AR1"], second["AR1"]) == (0.5, 0.0)


def test_visdrone_drops_ships_and_detections_half_inside_a_region():
    # The region covers columns 101 to 201 (counted from 1). A ship with 10 of its 20 columns inside is dropped, one
    # with 9 is not. The detection on the dropped ship is dropped as well, else it would be a false alarm.
    rows = [(0, 0, 101, 101, 201, 201, 0), (0, 0, 90, 120, 110, 140, 0), (0, 0, 89, 160, 109, 180, 0)]
    truth = ignored(truth_table(rows, images=1), 0)
    found = found_table(
        [(0, 0, 90, 120, 110, 140, 0.9), (0, 0, 89, 160, 109, 180, 0.8), (0, 0, 120, 120, 140, 140, 0.7)]
    )
    result = evaluate(truth, found, preset="visdrone")
    assert result.protocol["boxes"] == 1 and result.protocol["detections"] == 1
    assert result.stats["AP"] == pytest.approx(1.0)


def test_visdrone_area_is_exact_where_101_points_are_not():
    # One of two ships found: the area under the curve is .5; 51 of 101 points say .505.
    truth = truth_table([(0, 0, 0, 0, 20, 20, 0), (0, 0, 50, 50, 70, 70, 0)], images=1)
    found = found_table([(0, 0, 0, 0, 20, 20, 0.9)])
    assert evaluate(truth, found, preset="visdrone").stats["AP"] == pytest.approx(0.5)
    assert evaluate(truth, found, preset="coco").stats["AP"] == pytest.approx(51 / 101)
