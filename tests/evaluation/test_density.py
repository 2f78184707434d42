"""Density, crowding, recall by size, false alarms: against subsets matched anew, brute force, counting by hand."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from small_tables import contested, found_table, matched, truth_table

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.load import load_dataset
from wutdet.detections import Detections
from wutdet.evaluation.bootstrap import draw
from wutdet.evaluation.coco import box_tables, evaluate
from wutdet.evaluation.crowding import crowding_of, crowding_rows
from wutdet.evaluation.density import SHIPS_PER_FRAME, density, density_text, ships_per_image
from wutdet.evaluation.false_alarms import false_alarms, false_alarms_text
from wutdet.evaluation.horizon import MARGIN, Horizon
from wutdet.evaluation.presets import preset
from wutdet.evaluation.protocol import SIZE_BINS
from wutdet.evaluation.recall_by_size import found_from, recall_by_size, recall_by_size_text, size_edges, wilson

COCO = preset("coco")


def scene(seed: int, **knobs):
    rows = contested(seed, **knobs)
    truth = truth_table(rows[0], knobs.get("images", 8), knobs.get("categories", 3))
    found = found_table(rows[1])
    return truth, found, matched(truth, found)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_by_ships_per_frame_equal_scoring_those_frames_alone(seed):
    truth, found, matches = scene(seed, images=30, ships=24, detections=60, crowd=0.1)
    result = density(matches, truth, found, COCO)
    json.dumps(result, allow_nan=False)
    counts = np.bincount(truth.image[~truth.ignore], minlength=30)
    rows = {row["name"]: row for row in result["ships_per_frame"]}
    expected = {"0": counts == 0, "1": counts == 1, "2-4": (counts >= 2) & (counts <= 4),
                "5-9": (counts >= 5) & (counts <= 9), "10-19": (counts >= 10) & (counts <= 19),
                "20+": counts >= 20}  # fmt: skip
    assert set(rows) == {name for name, images in expected.items() if images.any()}
    assert sum(row["images"] for row in rows.values()) == 30
    for name, row in rows.items():
        images = expected[name]
        ships, boxes = images[truth.image], images[found.image]
        part = {field: getattr(truth, field)[ships]
                for field in ("image", "category", "xyxy", "box_area", "area", "ignore", "crowd")}  # fmt: skip
        columns = {field.name: getattr(found, field.name)[boxes] for field in dataclasses.fields(found)}
        alone = evaluate(dataclasses.replace(truth, **part), type(found)(**columns))
        assert row["images"] == images.sum() and row["boxes"] == int((~part["ignore"]).sum())
        for key, stat in (("AP", "AP"), ("AP50", "AP50"), ("AR", "AR100")):
            assert row[key] == (None if alone.stats[stat] is None else pytest.approx(alone.stats[stat], abs=1e-12))
        sizes = {bin_["name"]: bin_ for bin_ in alone.size_bins}
        for bin_ in row["size_bins"]:
            assert bin_ == {key: sizes[bin_["name"]][key] for key in bin_}
    assert density_text(result).count("\n") > 10
    np.testing.assert_array_equal(ships_per_image(matches), counts)
    assert [low for low, _ in SHIPS_PER_FRAME] == [0, 1, 2, 5, 10, 20]


def test_crowding_by_hand():
    boxes = [(0, 0, 40, 20), (40, 0, 80, 20),  # moored side by side, touching
             (200, 0, 300, 60), (210, 10, 230, 20),  # a launch within a ferry's box
             (0, 200, 20, 220), (50, 200, 70, 220),  # one and a half widths of water
             (300, 300, 310, 310)]  # fmt: skip
    rows = [(0, 0, *box, 0) for box in boxes] + [(1, 0, 0, 0, 40, 20, 0), (1, 0, 5, 0, 45, 20, 1)]
    truth = truth_table(rows, 2)
    matches = matched(truth, found_table([]))
    value = np.full(len(rows), np.nan)
    value[matches.gt_row] = crowding_of(matches, truth)
    assert value[:2] == pytest.approx(0)
    assert value[2] == pytest.approx(20 * 10 / (100 * 60)) and value[3] == 1.0
    assert value[4:6] == pytest.approx(-1.5)
    assert value[6] == pytest.approx(-np.hypot(0, 240) / 10)  # 300 - 60 rows below the ferry, in widths of 10 px
    assert value[7] == -np.inf  # alone: the crowd region does not count
    assert np.isnan(value[8])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_crowding_equals_all_pairs(seed):
    truth, _, matches = scene(seed, ships=12, crowd=0.1)
    got = crowding_of(matches, truth)
    for place, row in enumerate(matches.gt_row):
        if truth.ignore[row]:
            assert np.isnan(got[place])
            continue
        x1, y1, x2, y2 = truth.xyxy[row]
        best = -np.inf
        for other in np.flatnonzero((truth.image == truth.image[row]) & ~truth.ignore):
            if other == row:
                continue
            a1, b1, a2, b2 = truth.xyxy[other]
            shared = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
            gap = np.hypot(max(0, a1 - x2, x1 - a2), max(0, b1 - y2, y1 - b2))
            best = max(best, shared / ((x2 - x1) * (y2 - y1)) if shared > 0 else -gap / (x2 - x1))
        assert got[place] == pytest.approx(best)


def test_recall_by_crowding():
    pair = [(0, 0, 40, 20), (30, 0, 70, 20)]
    truth = truth_table([*((0, 0, *box, 0) for box in pair), (1, 0, 0, 0, 40, 20, 0)], 2)
    found = found_table([(0, 0, *pair[0], 0.9), (1, 0, 0, 0, 40, 20, 0.8)])
    rows = crowding_rows(matched(truth, found), truth, COCO, bins=SIZE_BINS)
    assert [(row["boxes"], row["AR"], row["recall50"]) for row in rows] == [(1, 1.0, 1.0), (2, 0.5, 0.5)]
    assert rows[0]["low"] is None and (rows[1]["low"], rows[1]["high"]) == (0.0, 0.25)
    assert rows[1]["size_bins"] == [{"name": SIZE_BINS[2].name, "boxes": 2, "recall50": 0.5}]
    everything = crowding_rows(matched(truth, found), truth, COCO, edges=())
    assert everything[0]["boxes"] == 3 and everything[0]["recall50"] == pytest.approx(2 / 3)


def sized(sizes, hit, score=0.9, per_image=10):
    """Squares of the given sides far apart; found exactly where ``hit``."""
    corner = [(i // per_image, 0, 1000.0 * (i % per_image), 0) for i in range(len(sizes))]
    truth = [(*c, c[2] + s, s, 0) for c, s in zip(corner, sizes, strict=True)]
    found = [(*c, c[2] + s, s, score) for c, s, h in zip(corner, sizes, hit, strict=True) if h]
    truth = truth_table(truth, -(-len(sizes) // per_image), size_wh=(10000, 1000))
    found = found_table(found)
    return matched(truth, found), truth, found


def test_recall_by_size_counts_and_threshold():
    sizes = np.repeat([6.0, 12.0, 24.0, 48.0], 60)
    hit = np.concatenate([np.arange(60) < n for n in (10, 50, 55, 60)])
    matches, truth, _ = sized(sizes, hit)
    result = recall_by_size(matches, truth, score=0.5)
    assert [p["boxes"] for p in result["points"]] == [60] * 4
    assert [p["found"] for p in result["points"]] == [10, 50, 55, 60]
    assert [p["recall"] for p in result["points"]] == pytest.approx([10 / 60, 50 / 60, 55 / 60, 1])
    third = result["points"][2]
    assert third["low_px"] <= 24 < third["high_px"]
    assert result["found_90_from_px"] == third["low_px"]
    expected = binomtest(55, 60).proportion_ci(method="wilson")
    assert third["interval"] == pytest.approx([expected.low, expected.high], abs=1e-9)
    strict = recall_by_size(matches, truth, score=0.95)
    assert strict["found_90_from_px"] is None and [p["found"] for p in strict["points"]] == [0] * 4
    assert strict["found_90_from_px_all"] == third["low_px"]
    assert "at no size" in recall_by_size_text(strict)
    assert recall_by_size(matches, truth, score=None)["points"][3]["found"] == 0


def test_a_weak_larger_bin_breaks_the_chain():
    points = [{"low_px": low, "recall": recall} for low, recall in ((4, 0.95), (8, 0.95), (16, 0.8), (32, 0.92))]
    assert found_from(points) == 32
    assert found_from(points[:2]) == 4
    assert found_from(points[:3]) is None
    assert found_from([]) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 400), st.integers(1, 60))
def test_size_bins_are_never_thin(seed, count, fewest):
    size = np.exp(np.random.default_rng(seed).normal(3, 1.2, count))
    edges = size_edges(size, fewest)
    if count == 0:
        assert len(edges) == 0
        return
    assert edges[0] == size.min() and edges[-1] == size.max()
    inside, _ = np.histogram(size, edges) if count > 1 else ([1], None)
    assert sum(inside) == count
    assert len(inside) == 1 or min(inside) >= fewest


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (45, 50), (1, 1000)])
def test_wilson_equals_scipy(hits, count):
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx([expected.low, expected.high], abs=1e-9)


def test_resampled_sequences_give_wider_intervals_where_frames_repeat():
    # 12 sequences of 10 frames: a ship is found in all frames of its sequence or in none.
    hit = np.repeat(np.arange(12) % 3 > 0, 50)
    matches, truth, _ = sized(np.full(600, 20.0), hit, per_image=5)
    plain = recall_by_size(matches, truth, score=0.5)["points"][0]
    units = np.repeat(np.arange(12), 10)
    drawn = recall_by_size(matches, truth, score=0.5, resampling=draw(units, "sequence", 500))["points"][0]
    assert drawn["recall"] == plain["recall"] == pytest.approx(2 / 3)
    low, high = drawn["interval"]
    assert low < plain["interval"][0] and high > plain["interval"][1]
    assert low > 0.2 and high < 1.0
    # Where all are found, resampling alone would say "1 to 1".
    matches, truth, _ = sized(np.full(600, 20.0), np.ones(600, bool), per_image=5)
    drawn = recall_by_size(matches, truth, score=0.5, resampling=draw(units, "sequence", 50))["points"][0]
    assert drawn["interval"] == wilson(600, 600)
    one = recall_by_size(matches, truth, score=0.5, resampling=draw(units * 0, "sequence", 50))["points"][0]
    assert one["interval"] is None  # a single sequence says nothing about others


def test_no_ships_at_all():
    truth, found = truth_table([], 3), found_table([(0, 0, 0, 0, 10, 10, 0.9)])
    result = density(matched(truth, found), truth, found, COCO)
    assert [row["name"] for row in result["ships_per_frame"]] == ["0"]
    assert result["ships_per_frame"][0]["AP"] is None and result["crowding"] == []
    assert result["recall_by_size"]["points"] == [] and result["recall_by_size"]["found_90_from_px"] is None
    assert result["false_alarms"]["per_frame"] is None
    assert "no score threshold" in density_text(result)
    given_score = density(matched(truth, found), truth, found, COCO, score=0.5)
    assert given_score["false_alarms"]["per_frame"] == pytest.approx(1 / 3)
    assert given_score["ships_per_frame"][0]["false_alarms_per_frame"] == pytest.approx(1 / 3)


def alarms_scene(**columns):
    truth = truth_table([(0, 0, 100, 210, 140, 250, 0), (1, 0, 100, 210, 140, 250, 0), (2, 0, 0, 300, 50, 350, 1)],
                        4, **columns)  # fmt: skip
    found = found_table([
        (0, 0, 100, 210, 140, 250, 0.9), (0, 0, 102, 210, 142, 250, 0.8),  # a hit and its duplicate
        (0, 0, 300, 50, 320, 70, 0.7),  # a cloud
        (1, 0, 400, 300, 420, 320, 0.6),  # a wave
        (2, 0, 10, 310, 30, 330, 0.9),  # in the crowd
        (3, 0, 300, 50, 320, 70, 0.2),  # a cloud below the threshold
    ])  # fmt: skip
    return truth, found


def test_false_alarms_by_hand():
    labelled = LabelColumn.of(["200", "200.5", None, "visible"])
    truth, found = alarms_scene(labels={"horizon": labelled})
    figures = false_alarms(matched(truth, found), truth, found, score=0.5)
    assert figures == {"score": 0.5, "iou": 0.5, "per_frame": 3 / 4, "frames": 4, "above_horizon_per_frame": 1 / 2,
                       "horizon": "labelled", "duplicates_per_frame": 1 / 4, "duplicate_rate": 1.0}  # fmt: skip
    assert "above the labelled horizon" in false_alarms_text(figures)
    lower = false_alarms(matched(truth, found), truth, found, score=0.1)
    assert lower["per_frame"] == 1 and lower["above_horizon_per_frame"] == 1 / 2  # the horizon of frame 3 is not known
    truth, found = alarms_scene()
    assert false_alarms(matched(truth, found), truth, found, score=0.5)["above_horizon_per_frame"] is None


def test_the_horizon_keeps_a_margin():
    truth, _ = alarms_scene(labels={"horizon": LabelColumn.constant(4, "200")})
    horizon = Horizon.of(truth)
    edge = 200 - MARGIN["labelled"] * 480
    assert horizon.above(np.array([0, 0]), np.array([edge - 0.1, edge + 0.1])).tolist() == [True, False]


def test_horizon_estimated_from_far_ships_of_each_sequence():
    far = [(image, 0, 50.0 * i, row - 6, 50.0 * i + 8, row, 0) for image, row in ((0, 180), (1, 240)) for i in range(4)]
    near = [(0, 0, 0, 100, 200, 160, 0)]  # a near ship's waterline says nothing
    alone = [(2, 0, 0, 20, 8, 26, 0)]  # one far ship is too few
    labels = {"sequence": LabelColumn.of(["a", "b", "c", None])}
    horizon = Horizon.of(truth_table([*far, *near, *alone], 4, labels=labels))
    assert horizon.origin == "estimated"
    np.testing.assert_allclose(horizon.row, [180, 240, np.nan, np.nan])
    assert Horizon.of(truth_table(far, 4, size_wh=(640, 480), **{"labels": {}})).row[3] == pytest.approx(180)
    without_sizes = dataclasses.replace(truth_table(far, 4), size_wh=None)
    assert Horizon.of(without_sizes).origin is None


@pytest.mark.real_data
def test_a_perfect_detector_on_real_frames(shared_dir):
    dataset = load_dataset(shared_dir / "data" / "harborcams").in_split("val")
    boxes = Detections(dataset.xyxy, np.full(dataset.box_count, 0.9), dataset.category, dataset.box_image,
                       dataset.category_names)  # fmt: skip
    truth, found = box_tables(dataset, boxes)
    result = density(matched(truth, found), truth, found, COCO)
    ships = dataset.boxes_per_image()
    assert sum(row["images"] for row in result["ships_per_frame"]) == len(dataset)
    assert {row["name"]: row["images"] for row in result["ships_per_frame"]}["20+"] == int((ships >= 20).sum())
    assert sum(row["boxes"] for row in result["crowding"]) == dataset.box_count
    assert {row["recall50"] for row in result["crowding"]} == {1.0}
    sizes = np.sqrt(dataset.area)
    assert result["recall_by_size"]["found_90_from_px"] == pytest.approx(sizes.min())
    alarms = result["false_alarms"]
    assert alarms["per_frame"] == 0 and alarms["duplicate_rate"] == 0 and alarms["horizon"] == "estimated"
