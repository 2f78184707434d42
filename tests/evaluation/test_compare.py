"""Two models on the same frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_tables import contested, found_table, matched, truth_table

from wutdet.bench.simulated import Skill, World, simulate
from wutdet.errors import DataError
from wutdet.evaluation.bootstrap import bootstrap, draw, resample
from wutdet.evaluation.coco import evaluate, match_for
from wutdet.evaluation.compare import compare, comparison_lines
from wutdet.evaluation.presets import preset
from wutdet.evaluation.slices import Slice

COCO = preset("coco")


@pytest.fixture(scope="module")
def recordings():
    """30 sequences and three models: two alike, one that finds far more."""
    truth, found = simulate(World(), 30, np.random.default_rng(5), (Skill(), Skill(), Skill(ease=1.5)))
    return truth, found, [matched(truth, boxes) for boxes in found]


@pytest.fixture(scope="module")
def resampling(recordings):
    truth = recordings[0]
    return resample(truth.sequence_codes, truth.image_count, 400)


def rough(truth) -> list[Slice]:
    return [Slice("condition", name, mask) for name, mask in truth.conditions.items()]


def test_a_model_beside_itself(recordings, resampling):
    truth, _, (a, _, _) = recordings
    found = compare(a, a, COCO, resampling, slices=rough(truth))
    for row in [*found["stats"].values(), *found["slices"]]:
        if row["a"] is not None and row["interval"] is not None:
            assert row["a"] == row["b"]
            assert (row["difference"], row["interval"], row["p"], row["real"]) == (0.0, [0.0, 0.0], 1.0, False)
    assert found["stats"]["AP"]["interval"] is not None


def test_a_better_model_is_called_better(recordings, resampling):
    _, _, (a, _, better) = recordings
    found = compare(a, better, COCO, resampling, names=("old", "new"))
    row = found["stats"]["AP"]
    assert row["difference"] > 0
    assert 0 < row["interval"][0] < row["difference"] < row["interval"][1]
    assert row["p"] < 0.05
    assert row["real"] is True
    lines = "\n".join(comparison_lines(found))
    assert "A = old" in lines and "B = new" in lines
    assert "B is better" in lines
    assert "400 resamples of 30 sequences" in lines
    worse = "\n".join(comparison_lines(compare(better, a, COCO, resampling)))
    assert "A is better" in worse and "B is better" not in worse


def test_models_that_are_alike_are_not_told_apart(recordings, resampling):
    _, _, (a, b, _) = recordings
    found = compare(a, b, COCO, resampling)
    row = found["stats"]["AP"]
    assert row["difference"] != 0
    assert row["interval"][0] < 0 < row["interval"][1]
    assert row["p"] > 0.05
    assert row["real"] is False
    assert "no real difference" in "\n".join(comparison_lines(found))


def test_the_other_way_round_is_the_negative(recordings, resampling):
    truth, _, (a, _, b) = recordings
    there = compare(a, b, COCO, resampling, slices=rough(truth))
    back = compare(b, a, COCO, resampling, slices=rough(truth))
    pairs = [(there["stats"][name], back["stats"][name]) for name in there["stats"]]
    for one, other in [*pairs, *zip(there["slices"], back["slices"], strict=True)]:
        assert (one["a"], one["b"], one["real"]) == (other["b"], other["a"], other["real"])
        if one["interval"] is not None:
            assert one["difference"] == -other["difference"]
            assert one["interval"] == pytest.approx([-end for end in reversed(other["interval"])], abs=1e-12)
            assert one["p"] == pytest.approx(other["p"], rel=1e-9)


def test_figures_are_those_of_evaluate_and_of_the_part(recordings, resampling):
    truth, boxes, (a, _, b) = recordings
    slices = rough(truth)
    found = compare(a, b, COCO, resampling, slices=slices)
    for side, table in (("a", boxes[0]), ("b", boxes[2])):
        alone = evaluate(truth, table).stats
        assert {name: row[side] for name, row in found["stats"].items()} == pytest.approx(dict(alone), abs=1e-12)
    for part, row in zip(slices, found["slices"], strict=True):
        assert (row["by"], row["name"], row["stat"]) == (part.by, part.name, "AP")
        assert row["images"] == part.images.sum()
        assert row["boxes"] == part.images[truth.image].sum()


def test_pairing_narrows_the_interval(recordings, resampling):
    """Against the spread of the difference, were both models resampled on their own."""
    _, _, (a, _, b) = recordings
    low, high = compare(a, b, COCO, resampling)["stats"]["AP"]["interval"]
    other = draw(resampling.unit_of_image, "sequence", 400, seed=1)
    alone = bootstrap(b, COCO, other, stats=["AP"])["AP"] - bootstrap(a, COCO, resampling, stats=["AP"])["AP"]
    assert high - low < 0.75 * np.diff(np.quantile(alone, [0.025, 0.975]))[0]


def test_few_sequences():
    truth, found = simulate(World(), 4, np.random.default_rng(0), (Skill(), Skill(ease=1.5)))
    a, b = (matched(truth, boxes) for boxes in found)
    few = compare(a, b, COCO, resample(truth.sequence_codes, truth.image_count, 200))
    assert few["warning"].startswith("only 4 sequences")
    assert any("only 4 sequences" in line for line in comparison_lines(few))
    one = compare(a, b, COCO, draw(np.zeros(truth.image_count, dtype=np.int64), "sequence", 50, 0))
    row = one["stats"]["AP"]
    assert row["difference"] > 0
    assert (row["interval"], row["p"], row["real"]) == (None, None, None)
    assert "no interval: too few units with such ships" in "\n".join(comparison_lines(one))


def test_frames_of_one_sequence_carry_the_caution():
    truth, found = simulate(World(frames=30, ships=8), 1, np.random.default_rng(1), (Skill(), Skill()))
    a, b = (matched(truth, boxes) for boxes in found)
    warning = compare(a, b, COCO, resample(truth.sequence_codes, truth.image_count, 50))["warning"]
    assert warning.startswith("all frames are of one sequence")


def test_absent_figures_and_empty_parts(recordings, resampling):
    truth, _, (a, b, _) = recordings
    nothing = Slice("scene", "desert", np.zeros(truth.image_count, dtype=bool))
    found = compare(a, b, COCO, resampling, slices=[nothing])
    row = found["slices"][0]
    assert (row["images"], row["boxes"]) == (0, 0)
    assert all(row[key] is None for key in ("a", "b", "difference", "interval", "p", "real"))
    assert "none" in comparison_lines(found)[-1]
    json.dumps(found, allow_nan=False)


def test_other_frames_are_refused():
    truth_rows, found_rows = contested(0)
    protocol = [COCO]
    a = match_for(protocol, truth_table(truth_rows, 8, 3), found_table(found_rows))
    more_frames = match_for(protocol, truth_table(truth_rows, 9, 3), found_table(found_rows))
    fewer_ships = match_for(protocol, truth_table(truth_rows[:-1], 8, 3), found_table(found_rows))
    for other in (more_frames, fewer_ships):
        with pytest.raises(DataError, match="same frames and ships"):
            compare(a, other, COCO, draw(np.arange(8), "image", 5, 0))
