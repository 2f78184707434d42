"""docs/worked_example.py: its steps from one tool to the next add up, and ultralytics' figure is explained."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from coco_scenes import scene
from test_coco_statistics import tables

from wutdet.evaluation.coco import evaluate


@pytest.fixture(scope="module")
def example():
    from pathlib import Path

    pytest.importorskip("ultralytics")
    path = Path(__file__).resolve().parents[2] / "docs" / "worked_example.py"
    spec = importlib.util.spec_from_file_location("worked_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def harbour(seed: int, **knobs):
    """Many hits, better boxes tending to score higher; no two scores alike, since ultralytics' sort is unstable."""
    case = {"images": 40, "categories": 1, "boxes": 12, "detections": 25, "crowd": 0.0, "ignore": 0.1} | knobs
    truth, results = scene(seed, whole_pixels=False, **case)
    rng = np.random.default_rng(seed)
    for box in results:
        same = [row for row in truth["annotations"] if row["image_id"] == box["image_id"]]
        nearest = min(same, key=lambda row: np.abs(np.subtract(row["bbox"], box["bbox"])).max(), default=None)
        distance = 99.0 if nearest is None else np.abs(np.subtract(nearest["bbox"], box["bbox"])).max()
        if distance < 8:
            box["category_id"] = nearest["category_id"]
        box["score"] = float(0.7 / (1 + np.exp(min(distance, 30) / 4 + rng.normal(0, 1))))
    assert len({box["score"] for box in results}) == len(results)
    return tables(truth, results)


@pytest.mark.parametrize(("seed", "categories"), [(0, 1), (1, 1), (2, 3)])
def test_ultralytics_own_figure_is_reproduced_by_its_described_rule(example, seed, categories):
    truth, found = harbour(seed, categories=categories)
    own, ours = example.ap_by_ultralytics(truth, found), example.ap_by_its_rule(truth, found)
    assert own.shape == (categories, 10) and 0.05 < own.mean() < 0.95
    np.testing.assert_allclose(ours, own, atol=1e-6)
    # And it is not COCO's figure, of the same matches.
    coco = evaluate(example.without_ignored(truth), found).stats["AP"]
    assert abs(own.mean() - coco) > 5e-4


def test_the_limit_of_300_is_over_all_classes(example):
    truth, found = harbour(5, images=2, categories=2, boxes=30, detections=1500)
    assert np.bincount(found.image).max() > 400
    own, ours = example.ap_by_ultralytics(truth, found), example.ap_by_its_rule(truth, found)
    np.testing.assert_allclose(ours, own, atol=1e-6)
    uncut = np.array(example.average(example.without_ignored(truth), found, limit=1500))
    cut = np.array(example.average(example.without_ignored(truth), found, limit=300, per_frame=True))
    assert uncut[0] > cut[0]


def test_steps_end_at_each_tools_own_figure(example):
    truth, found = harbour(3)
    rows = {row["rule"]: row for row in example.steps(truth, found)}  # of equal rules, the last
    for rule, preset in (("COCO", "coco"), ("AI-TOD", "aitod"), ("SODA-D", "soda-d"), ("VisDrone", "visdrone")):
        stats = evaluate(truth, found, preset=preset).stats
        assert rows[rule]["AP"] == pytest.approx(stats["AP"], abs=1e-12), rule
        assert rows[rule]["AP50"] == pytest.approx(stats["AP50"], abs=1e-12), rule
    tiny = evaluate(truth, found, preset="tinyperson").stats
    assert rows["TinyPerson"]["AP50"] == pytest.approx(tiny["AP50_all"], abs=1e-12)
    assert len({round(row["AP"], 6) for row in rows.values()}) > 4, "nothing made a difference"


def test_a_high_lowest_score_shows_what_each_tool_makes_of_recall_never_reached(example):
    truth, found = harbour(4)
    low, _, high = example.cut_off(truth, found)
    for tool in ("COCO", "ultralytics"):
        assert high[tool][0] < low[tool][0] - 0.005, "less recall, less AP"
    # The old versions' ramp pays for it: hardly anything where recall is high, much where the list was cut.
    ramp = [row["ultralytics until 8.3"][0] - row["ultralytics"][0] for row in (low, high)]
    assert 0 < ramp[0] < ramp[1] and ramp[1] > 0.02


def test_one_ship_of_two_counted_by_hand(example):
    from small_tables import found_table, truth_table

    truth = truth_table([(0, 0, 0, 0, 20, 20, 0), (0, 0, 50, 50, 70, 70, 0)], images=1)
    found = found_table([(0, 0, 0, 0, 20, 20, 0.9)])
    # Precision 1 up to recall .5. ultralytics: 49 whole intervals of .01 and a falling one; COCO: 51 points of 101.
    assert example.ap_by_ultralytics(truth, found)[0] == pytest.approx([0.495] * 10)
    assert example.average(truth, found, limit=100)[0] == pytest.approx(51 / 101)
    # The old ramp adds the triangle from recall .5 to 1.
    assert example.ap_by_its_rule(truth, found, ramp=True)[0] == pytest.approx([0.75] * 10)


def test_text_has_every_row(example):
    truth, found = harbour(6, images=10)
    text = example.to_text({**example.measure(truth, found), "protocol": {"images": 10}})
    for word in ("ultralytics", "aitod", "soda-d", "tinyperson", "visdrone", "its own code", "images 10", "0.25"):
        assert word in text
    assert "nan" not in text
