"""Resampling by weights, against NumPy and against data sets in which images stand as often as they were drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_tables import contested, found_table, matched, truth_table

from wutdet.evaluation.accumulate import Ranking
from wutdet.evaluation.bootstrap import (
    ONE_SEQUENCE,
    Resampling,
    bootstrap,
    draw,
    effective_units_of,
    resample,
    units_of,
)
from wutdet.evaluation.coco import evaluate, match_for
from wutdet.evaluation.ignored import apply_ignore_rule
from wutdet.evaluation.presets import PRESETS, preset
from wutdet.evaluation.slices import Slice, slice_rows
from wutdet.evaluation.summary import summarise


def rows_of(seed: int, **settings):
    """Random rows; every score occurs once."""
    truth, found = contested(seed, **settings)
    scores = np.random.default_rng(seed).permutation(len(found)) + 1
    return truth, [(*row[:6], score / (len(found) + 1)) for row, score in zip(found, scores, strict=True)]


def passes(name: str, truth_rows, found_rows, images=8, categories=3):
    """The matching pass of a preset, its ignore rule applied."""
    protocol = preset(name)
    truth, found, _ = apply_ignore_rule(
        truth_table(truth_rows, images, categories), found_table(found_rows), protocol.ignore_rule
    )
    return match_for([protocol], truth, found), protocol


def weighted(weights, unit_of_image=None) -> Resampling:
    weights = np.atleast_2d(np.asarray(weights, dtype=np.uint8))
    units = np.arange(weights.shape[1]) if unit_of_image is None else unit_of_image
    return Resampling(weights, units, "image", 0)


def same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("whole_pixels", [False, True])
def test_native_equals_numpy(name, whole_pixels, rng):
    matches, protocol = passes(name, *contested(1, crowd=0.1, whole_pixels=whole_pixels))
    some_images = rng.random(8) < 0.7
    for resampling in (draw(np.arange(8), "image", 5, 0), draw(np.arange(8) // 2, "sequence", 5, 1)):
        for images in (None, some_images):
            native = bootstrap(matches, protocol, resampling, images=images)
            reference = bootstrap(matches, protocol, resampling, images=images, native=False)
            same(native, reference)
            assert list(native) == [stat.name for stat in protocol.stats]
    assert any(np.nanstd(values) > 0.01 for values in native.values())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_weights_of_one_give_the_figures_themselves(name, seed):
    matches, protocol = passes(name, *contested(seed, crowd=0.1))
    drawn = bootstrap(matches, protocol, weighted(np.ones(8)))
    figures = summarise(matches, protocol)
    for key, value in figures.items():
        expected = np.nan if value is None else value
        np.testing.assert_allclose(drawn[key], [expected], rtol=0, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_data_set_in_which_images_stand_as_often_as_they_were_drawn(name, seed):
    """The whole way anew: the repeated tables are matched and evaluated, nothing of the pass is reused."""
    truth_rows, found_rows = rows_of(seed, crowd=0.05)
    matches, protocol = passes(name, truth_rows, found_rows)
    resampling = draw(np.arange(8) // 2, "sequence", 4, seed)
    drawn = bootstrap(matches, protocol, resampling)
    for b, weight in enumerate(resampling.weights):
        copies = [image for image in range(8) for _ in range(weight[image])]
        truth = [(new, *row[1:]) for new, image in enumerate(copies) for row in truth_rows if row[0] == image]
        found = [(new, *row[1:]) for new, image in enumerate(copies) for row in found_rows if row[0] == image]
        repeated = evaluate(truth_table(truth, len(copies), 3), found_table(found), name)
        for key, values in drawn.items():
            expected = math.nan if repeated.stats[key] is None else repeated.stats[key]
            np.testing.assert_allclose(values[b], expected, rtol=0, atol=1e-9, err_msg=f"{key} {weight}")


def test_a_part_of_the_images_equals_a_data_set_of_that_part(rng):
    truth_rows, found_rows = contested(11)
    matches, protocol = passes("coco", truth_rows, found_rows)
    kept = np.array([0, 2, 3, 6])
    images = np.isin(np.arange(8), kept)
    place = {old: new for new, old in enumerate(kept.tolist())}
    left = passes(
        "coco",
        [(place[row[0]], *row[1:]) for row in truth_rows if row[0] in place],
        [(place[row[0]], *row[1:]) for row in found_rows if row[0] in place],
        images=4,
    )[0]
    weights = rng.integers(0, 4, (10, 8))
    same(
        bootstrap(matches, protocol, weighted(weights), images=images),
        bootstrap(left, protocol, weighted(weights[:, kept])),
    )


def test_a_part_of_the_figures_and_a_ranking_made_before():
    matches, protocol = passes("coco", *contested(2))
    resampling = draw(np.arange(8), "image", 20, 0)
    everything = bootstrap(matches, protocol, resampling)
    some = bootstrap(matches, protocol, resampling, stats=["AR10", "AP50"], ranking=Ranking.of(matches))
    assert list(some) == ["AP50", "AR10"]
    same(some, {key: everything[key] for key in some})


def test_same_seed_same_draws():
    units = np.repeat(np.arange(7), 3)
    first, again, other = (draw(units, "sequence", 50, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert not np.array_equal(first.weights, other.weights)


def test_draws_are_those_of_whole_units_with_replacement():
    units = np.array([0, 1, 1, 2, 2, 2, 3])
    weights = draw(units, "sequence", 4000, 0).weights.astype(int)
    by_unit = weights[:, [0, 1, 3, 6]]
    np.testing.assert_array_equal(weights, by_unit[:, units])  # frames of a unit go together
    assert (by_unit.sum(axis=1) == 4).all()
    # Multinomial: mean 1, variance 3/4, covariance -1/4; 5 standard errors of 4000 draws.
    assert np.abs(by_unit.mean(axis=0) - 1).max() < 5 * math.sqrt(0.75 / 4000)
    np.testing.assert_allclose(np.cov(by_unit.T), np.eye(4) - 0.25, atol=0.1)


@pytest.mark.parametrize(
    ("codes", "unit", "groups"),
    [
        (None, "image", [[0], [1], [2], [3]]),
        ([-1, -1, -1, -1], "image", [[0], [1], [2], [3]]),
        ([5, 5, 5, 5], "image", [[0], [1], [2], [3]]),
        ([5, 5, 2, 2], "sequence", [[0, 1], [2, 3]]),
        ([2, 0, 2, 0], "sequence", [[0, 2], [1, 3]]),
        ([1, -1, 1, -1], "sequence", [[0, 2], [1], [3]]),
        ([0, -1, 3, 3], "sequence", [[0], [1], [2, 3]]),
    ],
)
def test_units(codes, unit, groups):
    units, name = units_of(None if codes is None else np.array(codes, dtype=np.int32), 4)
    assert name == unit
    assert {tuple(np.flatnonzero(units == u)) for u in set(units.tolist())} == {tuple(group) for group in groups}
    assert sorted(set(units.tolist())) == list(range(len(groups)))


def test_frames_of_one_sequence_are_drawn_with_a_caution():
    assert resample(np.zeros(5, dtype=np.int32), 5, 10).caution == ONE_SEQUENCE
    assert resample(np.array([0, 0, 1]), 3, 10).caution is None
    assert resample(None, 5, 10).caution is None
    assert resample(np.full(5, -1), 5, 10).caution is None


def test_units_in_a_part():
    drawn = draw(np.array([0, 0, 1, 2, 2]), "sequence", 3, 0)
    assert drawn.resamples == 3
    assert drawn.units_in() == 3
    assert drawn.units_in(np.array([True, True, False, False, True])) == 2
    assert drawn.units_in(np.zeros(5, dtype=bool)) == 0


def test_what_units_are_worth_follows_the_boxes_that_count():
    # Ships of 10 px: 3 in unit 0, 1 in unit 1; of 50 px: 2 in unit 1, 2 in unit 2; one crowd that does not count.
    small = [(0, 0, 20 * i, 0, 20 * i + 10, 10, 0) for i in range(3)] + [(1, 0, 0, 0, 10, 10, 0)]
    medium = [(image, 0, 60 * i, 100, 60 * i + 50, 150, 0) for image in (2, 3) for i in range(2)]
    crowd = [(0, 0, 200, 200, 210, 210, 1)]
    matches = matched(truth_table(small + medium + crowd, 4), found_table([]))
    resampling = draw(np.array([0, 1, 1, 2]), "sequence", 2, 0)
    worth = effective_units_of(matches, preset("coco"), resampling)
    assert worth["AP"] == worth["AP50"] == worth["AR1"] == pytest.approx(8**2 / (3**2 + 3**2 + 2**2))
    assert worth["APs"] == worth["ARs"] == pytest.approx(4**2 / (3**2 + 1))
    assert worth["APm"] == pytest.approx(2)
    assert worth["APl"] == 0
    part = np.array([True, True, False, False])
    assert effective_units_of(matches, preset("coco"), resampling, stats=["AP"], images=part) == {
        "AP": pytest.approx(1.6)
    }


class TestNothingThere:
    def test_no_images(self):
        matches = matched(truth_table([], 0), found_table([]))
        resampling = resample(None, 0, 7)
        assert resampling.weights.shape == (7, 0)
        assert resampling.units_in() == 0
        for native in (True, False):
            drawn = bootstrap(matches, preset("coco"), resampling, native=native)
            assert all(np.isnan(values).all() and values.shape == (7,) for values in drawn.values())

    def test_no_boxes(self):
        matches = matched(truth_table([], 3), found_table([(0, 0, 1, 1, 9, 9, 0.5)]))
        drawn = bootstrap(matches, preset("coco"), resample(None, 3, 7))
        assert all(np.isnan(values).all() for values in drawn.values())

    @pytest.mark.parametrize("name", ["coco", "visdrone"])
    def test_no_detections(self, name):
        matches, protocol = passes(name, [(0, 0, 1, 1, 9, 9, 0)], [], images=2, categories=1)
        drawn = bootstrap(matches, protocol, weighted([[1, 1], [0, 2], [2, 0]]))
        np.testing.assert_array_equal(drawn["AP"], [0, np.nan, 0])
        np.testing.assert_array_equal(drawn["AR100"], [0, np.nan, 0])

    def test_one_unit_draws_the_data_set_itself(self):
        matches, protocol = passes("coco", *contested(3))
        drawn = bootstrap(matches, protocol, draw(np.zeros(8, dtype=np.int64), "sequence", 6, 0))
        point = summarise(matches, protocol)
        np.testing.assert_allclose(drawn["AP"], np.full(6, point["AP"]), atol=1e-12)

    def test_no_resamples(self):
        matches, protocol = passes("coco", *contested(3))
        assert bootstrap(matches, protocol, draw(np.arange(8), "image", 0, 0))["AP"].shape == (0,)


def test_intervals_of_slices_are_those_of_their_draws():
    matches, protocol = passes("coco", *contested(5, images=8))
    resampling = draw(np.arange(8), "image", 200, 0)
    part = Slice("scene", "port", np.arange(8) < 6)
    (row,) = slice_rows(matches, protocol, [part], resampling=resampling)
    drawn = bootstrap(matches, protocol, resampling, images=part.images)["AP"]
    low, high = row["intervals"]["AP"]
    assert low < np.quantile(drawn, 0.025) < row["AP"] < np.quantile(drawn, 0.975) < high
