"""Intervals and p values out of resamples: against scipy, against their definition, and at their limits."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from wutdet.evaluation.intervals import (
    effective_units,
    expanded_tail,
    few_units_warning,
    interval,
    intervals_json,
    p_value,
    student_t_quantile,
    two_sided_tail,
)


@pytest.mark.parametrize("degrees", [1, 1.5, 2, 2.7, 3, 4, 5, 6, 10.2, 29, 199, 1001, 100_000])
@pytest.mark.parametrize("p", [0.6, 0.9, 0.975, 0.995, 0.9995])
def test_student_t_quantile_against_scipy(p, degrees):
    assert student_t_quantile(p, degrees) == pytest.approx(stats.t.ppf(p, degrees), rel=1e-9)


@pytest.mark.parametrize("degrees", [1, 2.3, 7, 30, 2500, 80_000])
@pytest.mark.parametrize("t", [0.0, 1e-9, 0.3, 1.0, 2.5, 8.0, 50.0, 1e6, math.inf])
def test_two_sided_tail_against_scipy(t, degrees):
    assert two_sided_tail(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-8, abs=1e-300)


@pytest.mark.parametrize("units", [2, 2.5, 3, 5, 10, 40, 2000])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_expanded_tail_against_scipy(units, level):
    z = math.sqrt(units / (units - 1)) * stats.t.ppf((1 + level) / 2, units - 1)
    assert expanded_tail(units, level) == pytest.approx(stats.norm.sf(z), rel=1e-4, abs=1e-12)


def test_expanded_tail_comes_down_to_the_plain_one():
    tails = [expanded_tail(units) for units in (3, 5, 10, 100, 100_000)]
    assert tails == sorted(tails)
    assert tails[-1] == pytest.approx(0.025, rel=1e-3)


def test_quantiles_of_the_draws_where_there_are_enough_of_them(rng):
    values = rng.beta(2, 5, 100_000)
    tail = expanded_tail(15)
    assert interval(values, 15) == pytest.approx(np.quantile(values, [tail, 1 - tail]).tolist())


@pytest.mark.parametrize("units", [3, 4, 5])
def test_tails_that_the_draws_do_not_reach_are_those_of_a_normal(units):
    # 1000 exact normal quantiles: the interval must be mean -/+ z sd, far beyond the largest of them.
    values = stats.norm.ppf((np.arange(1000) + 0.5) / 1000, 0.5, 0.01)
    z = math.sqrt(units / (units - 1)) * stats.t.ppf(0.975, units - 1)
    # The fifth of 1000 values is 1.3 % nearer to the median than the quantile of .005 that it stands for.
    assert interval(values, units) == pytest.approx([0.5 - 0.01 * z, 0.5 + 0.01 * z], abs=0.015 * z * 0.01)


def test_limits(rng):
    values = rng.normal(0.5, 0.1, 1000)
    assert interval(values, 2) == [0.0, 1.0]
    assert interval(values - 0.5, 2, limits=(-1.0, 1.0)) == pytest.approx([-1.0, 1.0], abs=1)
    low, high = interval(values - 0.5, 3, limits=(-1.0, 1.0))
    assert -1 < low < -0.3 and 0.3 < high < 1


def test_more_units_narrower(rng):
    values = rng.normal(0.5, 0.05, 1000)
    widths = [high - low for low, high in (interval(values, units) for units in (4, 8, 16, 1000))]
    assert widths == sorted(widths, reverse=True)
    assert interval(values, 50, counting=8.0) == interval(values, 8)
    between = [high - low for low, high in (interval(values, 50, counting=n) for n in (8.0, 8.5, 9.0))]
    assert between == sorted(between, reverse=True) and len(set(between)) == 3
    assert interval(values, 8, counting=20.0) == interval(values, 8)
    assert interval(values, 8, counting=1.2) == interval(values, 2)
    assert interval(values, 8, counting=7.99999) == pytest.approx(interval(values, 8), abs=1e-5)


def test_no_interval():
    values = np.linspace(0, 1, 100)
    assert interval(values, 1) is None
    assert interval(values, 0) is None
    assert interval(np.zeros(0), 10) is None
    values[:5] = np.nan  # 5 % is the most
    assert interval(values, 10) is not None
    values[5] = np.nan
    assert interval(values, 10) is None
    assert p_value(values, 10) is None
    assert interval(np.full(100, np.nan), 10) is None


def test_a_figure_that_never_changes():
    assert interval(np.full(1000, 0.25), 10) == [0.25, 0.25]
    assert p_value(np.zeros(1000), 10) == 1.0
    assert p_value(np.full(1000, 0.25), 10) == pytest.approx(1 / 1001)


class TestPValue:
    @pytest.mark.parametrize("units", [3, 6, 12, 60, 3000])
    @pytest.mark.parametrize("shift", [0.0, 0.5, 1.5, 2.0, 2.5, 4.0])
    def test_is_one_minus_the_level_at_which_the_interval_reaches_0(self, units, shift, rng):
        drawn = 0.01 * (rng.normal(shift, 1, 2000) + 0.2 * rng.normal(shift, 1, 2000) ** 2)
        p = p_value(drawn, units)
        assert 1 / 2001 <= p <= 1
        if 0.002 < p < 0.998:
            end = 0 if np.median(drawn) > 0 else 1
            assert interval(drawn, units, 1 - p, limits=(-9, 9))[end] == pytest.approx(0, abs=2e-5)

    @pytest.mark.parametrize("units", [4, 9, 25])
    def test_agrees_with_the_interval(self, units, rng):
        verdicts = set()
        for shift in np.linspace(0, 5, 60):
            drawn = rng.normal(shift, 1, 500) * 0.01
            low, high = interval(drawn, units, limits=(-1, 1))
            assert (p_value(drawn, units) < 0.05) == (low > 0 or high < 0)
            verdicts.add(low > 0)
        assert verdicts == {False, True}

    def test_of_normal_draws_is_that_of_the_t_test(self):
        drawn = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000, 0.02, 0.01)
        t = 2.0 * math.sqrt(11 / 12)
        assert p_value(drawn, 12) == pytest.approx(2 * stats.t.sf(t, 11), rel=1e-3)
        assert p_value(drawn, 5000) == pytest.approx(2 * stats.norm.sf(2), rel=1e-2)

    def test_does_not_depend_on_the_sign(self, rng):
        drawn = rng.gamma(3, 1, 1000) - 0.5
        assert p_value(drawn, 9) == pytest.approx(p_value(-drawn, 9), rel=1e-12)

    def test_counts_zeros_against_the_difference(self):
        drawn = np.r_[np.zeros(300), np.full(700, 0.1)]
        assert p_value(drawn, 1000) > 0.5


def test_effective_units():
    assert effective_units(np.array([3, 3, 3, 3])) == pytest.approx(4)
    assert effective_units(np.array([7, 0, 0])) == pytest.approx(1)
    assert effective_units(np.array([2, 1])) == pytest.approx(9 / 5)
    assert effective_units(np.zeros(4)) == 0
    assert effective_units(np.zeros(0)) == 0


@pytest.mark.parametrize(
    ("units", "counting", "given", "words"),
    [
        (10, None, True, None),
        (10, 5.0, True, None),
        (10, 5.0, None, None),
        (10, 5.0, False, "no interval: over 5 % of the resamples have no such ships"),
        (9, None, True, "only 9 sequences: the interval is rough"),
        (9, None, False, "only 9 sequences: no interval, as over 5 % of the resamples have no such ships"),
        (9, None, None, "only 9 sequences"),
        (1, None, False, "only 1 sequence: no interval"),
        (0, None, None, "only 0 sequences: no interval"),
        (20, 2.44, True, "20 sequences, but few hold most ships (they count like 2.4): the interval is rough"),
        (20, 2.44, None, "20 sequences, but few hold most ships (they count like 2.4)"),
    ],
)
def test_warnings(units, counting, given, words):
    assert few_units_warning("sequence", units, counting, given=given) == words


def test_a_warning_says_no_interval_exactly_where_there_is_none():
    # Of 12 sequences only one has large ships: (11/12)^12 = 35 % of the resamples have none.
    drawn = {"APl": np.r_[np.full(350, np.nan), np.linspace(0.2, 0.4, 650)]}
    found = intervals_json(drawn, "sequence", 12, 7, counting={"APl": 1.0})
    assert found["stats"]["APl"] is None and ": no interval, as over 5 %" in found["warning"]
    drawn["APl"][:301] = 0.3  # 4.9 % without
    found = intervals_json(drawn, "sequence", 12, 7, counting={"APl": 1.0})
    assert found["stats"]["APl"] is not None and found["warning"].endswith("the interval is rough")


def test_json(rng):
    drawn = {"AP": rng.normal(0.5, 0.1, 400), "APl": np.full(400, np.nan)}
    found = intervals_json(drawn, "sequence", 12, 7, counting={"AP": 3.26, "APl": 0.0}, caution="mind the tide")
    assert json.loads(json.dumps(found)) == found
    assert (found["level"], found["resamples"], found["unit"], found["units"], found["seed"]) == (
        0.95, 400, "sequence", 12, 7,
    )  # fmt: skip
    assert found["stats"] == {"AP": interval(drawn["AP"], 12, counting=3.26), "APl": None}
    assert found["effective_units"] == {"AP": 3.3, "APl": 0.0}
    assert found["warning"].startswith("mind the tide; 12 sequences, but few hold most ships")
    plain = intervals_json(drawn, "sequence", 12, 7)
    assert plain["stats"]["AP"] == interval(drawn["AP"], 12)
    assert plain["warning"] is None
    assert intervals_json({}, "image", 12, 7)["stats"] == {}
