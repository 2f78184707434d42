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
from functools import lru_cache
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
    wanted = expanded_z(_worth(units, counting), level)
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
    n = _worth(units, counting)
    return max(two_sided_tail(z * math.sqrt((n - 1) / n), n - 1), 1 / (len(present) + 1))


def _enough(values: np.ndarray, units: int) -> np.ndarray | None:
    """The values that there are, or None where they do not suffice."""
    present = values[~np.isnan(values)]
    if units < 2 or len(present) == 0 or len(present) < (1 - _MOST_ABSENT) * len(values):
        return None
    return present


def _least_tail(present: np.ndarray) -> float:
    return min(0.25, _LEAST_BEYOND / len(present))


def _worth(units: int, counting: float | None) -> float:
    return float(units if counting is None else max(2.0, min(units, counting)))


def effective_units(boxes: np.ndarray) -> float:
    """How many equal units some units are worth: (sum of boxes)^2 / sum of boxes^2 (Kish, Survey Sampling, 1965).

    Args:
        boxes: [U], boxes that count by unit.

    Returns:
        Between 1 (all boxes in one unit) and U (the same number in each); 0 without boxes.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    return float(boxes.sum() ** 2 / (boxes**2).sum()) if boxes.any() else 0.0


def expanded_z(units: float, level: float = 0.95) -> float:
    """Standard deviations of the resamples that the interval reaches to each side, were they normal."""
    return math.sqrt(units / (units - 1)) * student_t_quantile(1 - (1 - level) / 2, units - 1)


def expanded_tail(units: float, level: float = 0.95) -> float:
    """Share of the resamples left out on each side of the interval."""
    return _NORMAL.cdf(-expanded_z(units, level))


@lru_cache(maxsize=256)
def student_t_quantile(p: float, degrees: float) -> float:
    """Quantile of Student's t distribution for 0.5 < p < 1 and degrees of freedom above 0, whole or not."""
    beyond = 2 * (1 - p)
    low, high = 0.0, 1.0
    while two_sided_tail(high, degrees) > beyond:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_tail(middle, degrees) > beyond else (low, middle)
    return (low + high) / 2


def two_sided_tail(t: float, degrees: float) -> float:
    """Share of Student's t distribution outside of -t .. t, for t >= 0: an incomplete beta function (DLMF 8.17)."""
    if math.isinf(t):
        return 0.0
    inside, outside = t * t / (degrees + t * t), degrees / (degrees + t * t)
    a, b = degrees / 2, 0.5
    # The continued fraction converges fast on one side only; the other one is 1 minus it, with the arguments swapped.
    if outside < (a + 1) / (a + b + 2):
        return _incomplete_beta(a, b, outside, inside)
    return 1 - _incomplete_beta(b, a, inside, outside)


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b) with ``rest`` = 1 - x, by the continued fraction DLMF 8.17.22, from the front (modified Lentz)."""
    if x == 0:
        return 0.0
    beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log(rest) - beta) / a
    value, upper, lower = 1.0, 1.0, 0.0
    for j in range(1, 10_000):
        m = j // 2
        if j % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower)
        upper = 1 + term / upper
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return front / value


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
    stats = {name: interval(values, units, level, counting=counting.get(name)) for name, values in drawn.items()}
    given = None if headline is None else stats[headline] is not None
    warnings = [caution, few_units_warning(unit, units, counting.get(headline), given=given)]
    return {
        "level": level,
        "resamples": resamples,
        "unit": unit,
        "units": units,
        "seed": seed,
        "method": "expanded percentile bootstrap",
        "stats": stats,
        "effective_units": {name: round(counting[name], 1) for name in drawn if name in counting},
        "warning": "; ".join(warning for warning in warnings if warning) or None,
    }


def few_units_warning(unit: str, units: int, counting: float | None = None, *, given: bool | None = True) -> str | None:
    """A word of caution where a figure rests on few units, or on few that hold most of the boxes, or has no interval.

    Args:
        unit, units, counting: see interval.
        given: whether ``interval`` gave one; None where it was not asked.
    """
    if units < 2:
        return f"only {units} {unit}{'' if units == 1 else 's'}: no interval"
    about = ""
    if units < FEW_UNITS:
        about = f"only {units} {unit}s"
    elif counting is not None and counting < _FEW_EFFECTIVE:
        about = f"{units} {unit}s, but few hold most ships (they count like {counting:.1f})"
    if given is False:
        reason = f"over {_MOST_ABSENT:.0%} of the resamples have no such ships".replace("%", " %")
        return f"{about}: no interval, as {reason}" if about else f"no interval: {reason}"
    if not about:
        return None
    return f"{about}: the interval is rough" if given else about
