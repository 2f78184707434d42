"""Do 95 % intervals cover? A small version of ``wutdet bench coverage``; results/coverage-2026-11 has the large one.

Bounds follow from the number of simulated data sets: an interval whose true coverage were just inside of 92 to 98 %
would fail one of these tests once in a thousand.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from wutdet.bench import coverage
from wutdet.bench.coverage import CASES, LEAST, MOST, PAIRS, Case, case_rows, pair_rows, run_coverage_benchmark
from wutdet.bench.simulated import Skill, World, simulate
from wutdet.boxes import box_iou
from wutdet.evaluation.coco import evaluate

DATASETS, RESAMPLES = 150, 200
TRUE_FRAMES = 20_000


def rows(name: str, **changes) -> dict[str, dict]:
    case = replace(next(case for case in CASES if case.name == name), **changes)
    return {row["stat"]: row for row in case_rows(case, DATASETS, RESAMPLES, 0, true_frames=TRUE_FRAMES)}


def share_bounds(low: float, high: float) -> tuple[float, float]:
    """A share between low and high is measured between these, but for once in a thousand on each side."""
    binomial = stats.binom
    return binomial.ppf(0.001, DATASETS, low) / DATASETS, binomial.ppf(0.999, DATASETS, high) / DATASETS


def assert_covers(row: dict) -> None:
    low, high = share_bounds(LEAST, MOST)
    assert low <= row["coverage"] <= high, row
    assert row["coverage"] + row["above"] + row["below"] == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images-100", "sequences-10", "sequences-20"])
def test_covers(name):
    found = rows(name)
    for stat in ("AP", "AP50", "APs", "AR100"):
        assert_covers(found[stat])
        # The interval is not only wide enough, but no wider than it need be: 3.92 standard deviations were it normal.
        assert 3.5 < found[stat]["width"] / found[stat]["sd"] < (7 if name == "sequences-10" else 5.2)


@pytest.mark.slow
def test_single_images_are_the_wrong_thing_to_draw_from_sequences():
    right, wrong = rows("sequences-20"), rows("wrong-20")
    for stat in ("AP", "AP50", "APs", "AR100"):
        assert right[stat]["mean"] == wrong[stat]["mean"]  # the same data sets
        assert_covers(right[stat])
        assert wrong[stat]["coverage"] < share_bounds(0.75, 0.75)[1]
        assert wrong[stat]["width"] < 0.6 * right[stat]["width"]


@pytest.mark.slow
def test_pairs():
    equal, better = (
        {row["stat"]: row for row in pair_rows(pair, DATASETS, RESAMPLES, 0, true_frames=TRUE_FRAMES)}
        for pair in (PAIRS[1], PAIRS[2])
    )
    for stat in ("AP", "AP50"):
        assert equal[stat]["true"] == 0 < better[stat]["true"]
        assert_covers(equal[stat])
        assert_covers(better[stat])
        assert equal[stat]["real"] == pytest.approx(1 - equal[stat]["coverage"])
        assert better[stat]["real"] > 4 * better[stat]["unpaired"]["real"]
        assert better[stat]["real"] > 0.3
        assert better[stat]["width"] < 0.5 * better[stat]["unpaired"]["width"]


class TestTheSimulation:
    def test_same_seed_same_tables(self):
        one, two, three = (simulate(World(), 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one[0].xyxy, two[0].xyxy)
        np.testing.assert_array_equal(one[1][0].score, two[1][0].score)
        assert one[0].xyxy.shape != three[0].xyxy.shape or not np.array_equal(one[0].xyxy, three[0].xyxy)

    def test_tables_are_what_they_say(self):
        world = World(frames=4, ships=6)
        truth, (found,) = simulate(world, 300, np.random.default_rng(0))
        assert truth.image_count == 1200
        assert len(np.unique(found.score)) == len(found)
        assert len(truth) / 300 == pytest.approx(4 * 0.8 * 6, rel=0.15)
        np.testing.assert_array_equal(truth.sequence_codes, np.repeat(np.arange(300), 4))
        assert (truth.xyxy[:, 2:] > truth.xyxy[:, :2]).all() and (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()
        assert (np.sort(truth.image) == truth.image).all()
        for image in range(20):
            ships = truth.xyxy[truth.image == image]
            assert box_iou(ships, ships).sum() == pytest.approx(len(ships))  # ships stand apart
            overlap = box_iou(found.xyxy[found.image == image], ships) > 0
            assert (overlap.sum(axis=1) <= 1).all() and (overlap.sum(axis=0) <= 1).all()

    def test_ships_of_a_sequence_are_seen_in_all_of_its_frames(self):
        truth, _ = simulate(World(), 1, np.random.default_rng(3))
        areas, seen = np.unique(truth.area.round(6), return_counts=True)
        assert len(areas) < len(truth) / 5
        assert seen.max() > 6

    def test_a_sequence_is_more_like_itself_than_like_others(self):
        truth, (found,) = simulate(World(ships=10), 60, np.random.default_rng(0))
        share = np.bincount(found.image[found.xyxy[:, 0] < 2000], minlength=600) / np.maximum(
            np.bincount(truth.image, minlength=600), 1
        )
        share = share.reshape(60, 10)
        assert share.mean(axis=1).std() > 2 * share.std(axis=1).mean() / np.sqrt(10)

    def test_more_skill_more_ap(self):
        skills = (Skill(), Skill(ease=1), Skill(jitter=0.5), Skill(false_alarms=0.3))
        truth, found = simulate(World(), 200, np.random.default_rng(0), skills)
        plain, *better = (evaluate(truth, boxes).stats["AP"] for boxes in found)
        assert min(better) > plain + 0.01

    def test_true_values_do_not_depend_on_frames_per_sequence(self):
        found = []
        for seed in range(40):
            truth, (boxes,) = simulate(World(), 500, np.random.default_rng([9, seed]))
            found.append(evaluate(truth, boxes).stats["AP50"])
        error = np.std(found) / np.sqrt(len(found))
        assert error < 0.003
        assert np.mean(found) == pytest.approx(coverage.true_figures(World(), frames=40_000)["AP50"], abs=4 * error)

    def test_true_value_of_a_part(self):
        whole = coverage.true_figures(World(), frames=5_000)
        rough = coverage.true_figures(World(), "rough", frames=5_000)
        assert rough["AP"] < whole["AP"] - 0.05


def test_benchmark_text_and_json(monkeypatch):
    case = Case("few", "a case", 6)
    monkeypatch.setattr(coverage, "CASES", (case, replace(case, name="unsound", sound=False)))
    monkeypatch.setattr(coverage, "PAIRS", (replace(PAIRS[0], name="two"),))
    found = run_coverage_benchmark(8, 50, seed=3, workers=1, true_frames=2000)
    again = run_coverage_benchmark(8, 50, seed=3, workers=2, true_frames=2000)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert values == again.to_json()  # whatever the number of processes
    assert values["schema"] == "wutdet.bench-coverage/1"
    assert [row["case"] for row in values["cases"]] == ["few"] * 5 + ["unsound"] * 5
    assert {row["stat"] for row in values["pairs"]} == {"AP", "AP50"}
    text = found.to_text()
    assert "8 data sets per case, 50 resamples" in text
    few = [line for line in text.splitlines() if line.startswith("  few ")]
    assert len(few) == 5 and all(line.endswith("ok") or "OUTSIDE" in line for line in few)
    assert not any("ok" in line or "OUTSIDE" in line for line in text.splitlines() if line.startswith("  unsound "))


def test_counts():
    counts = coverage._counts([[0.1, 0.3], [0.25, 0.5], None, [0.0, 0.1]], 0.2)
    assert counts == {
        "coverage": pytest.approx(1 / 3), "above": pytest.approx(1 / 3), "below": pytest.approx(1 / 3),
        "width": pytest.approx((0.2 + 0.25 + 0.1) / 3), "none": 0.25,
    }  # fmt: skip
    assert coverage._counts([None], 0.2)["none"] == 1.0
