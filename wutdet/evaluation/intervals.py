"""Confidence intervals out of resamples.

Percentile intervals, widened for few units as Hesterberg proposes ("What Teachers Should Know About the Bootstrap",
The American Statistician 69(4), 2015, the expanded percentile interval): with n units the percentiles are taken at
Phi(-sqrt(n / (n - 1)) * t[n - 1]) in place of 2.5 %, since plain percentiles are too narrow by about that much.

n is not the plain number of units but how many equal ones they are worth (``effective_units``): where one sequence
holds most of the ships, twenty sequences say little more than a few would. Far out in the tail, where B resamples hold
next to no values, the distance from the median is extended as a normal distribution has it.

``wutdet bench coverage`` measures how often such intervals hold the true value. They do not say anything about places,
cameras or weather that no sequence shows, and with fewer than FEW_UNITS units their coverage is not to be relied on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

#: Share of resamples without such objects from which on no interval is given.
_MOST_ABSENT = 0.05

#: Fewer units than this cannot say much; the result then carries a warning.
FEW_UNITS = 10

#: Units of which all together count like fewer than this are uneven enough for a warning.
_FEW_EFFECTIVE = 5

# A percentile is read off only where this many resamples lie beyond it.
_LEAST_BEYOND = 5

_NORMAL = NormalDist()


def interval(
    values: np.ndarray,
    units: int,
    level: float = 0.95,
    *,
    counting: float | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> list[float] | None:
    """``[low, high]`` of a figure.

    Args:
        values: float64 [B], the figure in every resample; NaN where there were no such objects.
        units: number of independent units (sequences or images) that were drawn from.
        level: nominal coverage.
        counting: how many equal units these are worth; see effective_units. By default ``units``.
        limits: smallest and largest value there can be.

    Returns:
        None with fewer than 2 units, or where more than 5 % of the resamples had no such objects.
    """
    present = _enough(values, units)
    if present is None:
        return None
    wanted = expanded_z(_whole_units(units, counting), level)
    tail = max(_NORMAL.cdf(-wanted), _least_tail(present))
    low, middle, high = np.quantile(present, [tail, 0.5, 1 - tail])
    further = max(1.0, wanted / -_NORMAL.inv_cdf(tail))  # 1 where the percentile can be read off
    low, high = middle - further * (middle - low), middle + further * (high - middle)
    return [float(max(low, limits[0])), float(min(high, limits[1]))]


def p_value(drawn: np.ndarray, units: int, *, counting: float | None = None) -> float | None:
    """Two-sided p value of "the true difference is 0": 1 minus the level at which ``interval`` just reaches 0.

    Args:
        drawn: float64 [B], the difference in every resample.
        units, counting: see interval.

    Returns:
        At least 1 / (B + 1), since B resamples cannot tell less; None where there is no interval.
    """
    present = _enough(drawn, units)
    if present is None:
        return None
    middle = float(np.median(present))
    if middle == 0:
        return 1.0
    ordered = np.sort(present if middle > 0 else -present)
    # The inverse of np.quantile: of equal values the last, so that 0 itself counts against the difference.
    beyond = float(np.interp(0.0, ordered, np.arange(len(ordered)))) / max(len(ordered) - 1, 1)
    tail = _least_tail(present)
    if beyond >= tail:
        z = -_NORMAL.inv_cdf(min(beyond, 0.5))
    else:
        edge, middle = (float(value) for value in np.quantile(ordered, [tail, 0.5]))
        z = math.inf if edge == middle else -_NORMAL.inv_cdf(tail) * middle / (middle - edge)
    n = _whole_units(units, counting)
    p = _two_sided(z * math.sqrt((n - 1) / n), n - 1)
    return max(p, 1 / (len(present) + 1))


def _enough(values: np.ndarray, units: int) -> np.ndarray | None:
    """The values that there are, or None where they do not suffice."""
    present = values[~np.isnan(values)]
    if units < 2 or len(present) == 0 or len(present) < (1 - _MOST_ABSENT) * len(values):
        return None
    return present


def _least_tail(present: np.ndarray) -> float:
    return min(0.25, _LEAST_BEYOND / len(present))


def _whole_units(units: int, counting: float | None) -> int:
    return units if counting is None else max(2, min(units, math.floor(counting + 1e-9)))


def effective_units(boxes: np.ndarray) -> float:
    """How many equal units some units are worth: (sum of boxes)^2 / sum of boxes^2 (Kish, Survey Sampling, 1965).

    Args:
        boxes: [U], boxes that count by unit.

    Returns:
        Between 1 (all boxes in one unit) and U (the same number in each); 0 without boxes.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    return float(boxes.sum() ** 2 / (boxes**2).sum()) if boxes.any() else 0.0


def expanded_z(units: int, level: float = 0.95) -> float:
    """Standard deviations of the resamples that the interval reaches to each side, were they normal."""
    return math.sqrt(units / (units - 1)) * student_t_quantile(1 - (1 - level) / 2, units - 1)


def expanded_tail(units: int, level: float = 0.95) -> float:
    """Share of the resamples left out on each side of the interval."""
    return _NORMAL.cdf(-expanded_z(units, level))


def student_t_quantile(p: float, degrees: int) -> float:
    """Quantile of Student's t distribution for 0.5 < p < 1 and a whole number of degrees of freedom above 0."""
    if degrees > 1000:  # two terms of the Cornish-Fisher series are exact to 1e-6 there
        z = _NORMAL.inv_cdf(p)
        return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    low, high = 0.0, 1.0
    while _student_t_cdf(high, degrees) < p:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_t_cdf(middle, degrees) < p else (low, middle)
    return (low + high) / 2


def _student_t_cdf(t: float, degrees: int) -> float:
    """For t >= 0; the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(theta)
    if degrees % 2:
        term, total = cosine, cosine if degrees > 1 else 0.0
        for k in range(3, degrees - 1, 2):
            term *= cosine**2 * (k - 1) / k
            total += term
        inside = 2 / math.pi * (theta + math.sin(theta) * total)
    else:
        term = total = 1.0
        for k in range(2, degrees - 1, 2):
            term *= cosine**2 * (k - 1) / k
            total += term
        inside = math.sin(theta) * total
    return 0.5 + inside / 2


def _two_sided(t: float, degrees: int) -> float:
    """Share of Student's t distribution beyond ``t`` >= 0 on both sides."""
    if degrees > 1000:  # the first term of the same series, the other way round
        return 2 * _NORMAL.cdf(-t * (1 - (t * t + 1) / (4 * degrees))) if t < 30 else 0.0
    return 0.0 if math.isinf(t) else max(0.0, 2 * (1 - _student_t_cdf(t, degrees)))


def intervals_json(
    drawn: Mapping[str, np.ndarray],
    unit: str,
    units: int,
    seed: int,
    level: float = 0.95,
    *,
    counting: Mapping[str, float] | None = None,
    caution: str | None = None,
) -> dict:
    """JSON-compatible intervals of all figures.

    Args:
        drawn: float64 [B] by name of the figure.
        unit, units, seed: what was drawn, how many there are, and the seed.
        level: nominal coverage.
        counting: by name, what the units are worth; see bootstrap.effective_units_of.
        caution: one more warning.

    Returns:
        ``{"level", "resamples", "unit", "units", "seed", "method", "stats": {name: [low, high] or None},
        "effective_units": {name: number}, "warning"}``.
    """
    counting = counting or {}
    resamples = len(next(iter(drawn.values()))) if drawn else 0
    headline = next(iter(drawn), None)
    warnings = [caution, few_units_warning(unit, units, counting.get(headline))]
    return {
        "level": level,
        "resamples": resamples,
        "unit": unit,
        "units": units,
        "seed": seed,
        "method": "expanded percentile bootstrap",
        "stats": {name: interval(values, units, level, counting=counting.get(name)) for name, values in drawn.items()},
        "effective_units": {name: round(counting[name], 1) for name in drawn if name in counting},
        "warning": "; ".join(warning for warning in warnings if warning) or None,
    }


def few_units_warning(unit: str, units: int, counting: float | None = None) -> str | None:
    """A word of caution where the interval rests on few units, or on few that hold most of the boxes."""
    if units >= FEW_UNITS:
        if counting is None or counting >= _FEW_EFFECTIVE:
            return None
        return f"{units} {unit}s, but few hold most ships (they count like {counting:.1f}): the interval is rough"
    many = "" if units == 1 else "s"
    return f"only {units} {unit}{many}: " + ("no interval" if units < 2 else "the interval is rough")
