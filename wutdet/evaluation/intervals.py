"""Confidence intervals out of resamples.

Percentile intervals, widened for few units as Hesterberg proposes ("What Teachers Should Know About the Bootstrap",
The American Statistician 69(4), 2015, the expanded percentile interval): with n units the percentiles are taken at
Phi(-sqrt(n / (n - 1)) * t[n - 1]) in place of 2.5 %, since plain percentiles are too narrow by about that much.
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


def interval(values: np.ndarray, units: int, level: float = 0.95) -> list[float] | None:
    """``[low, high]`` of a figure.

    Args:
        values: float64 [B], the figure in every resample; NaN where there were no such objects.
        units: number of independent units (sequences or images) that were drawn from.
        level: nominal coverage.

    Returns:
        None with fewer than 2 units, or where more than 5 % of the resamples had no such objects.
    """
    present = values[~np.isnan(values)]
    if units < 2 or len(present) == 0 or len(present) < (1 - _MOST_ABSENT) * len(values):
        return None
    tail = expanded_tail(units, level)
    low, high = np.quantile(present, [tail, 1 - tail])
    return [float(low), float(high)]


def expanded_tail(units: int, level: float = 0.95) -> float:
    """Share of the resamples left out on each side of the interval."""
    wanted = student_t_quantile(1 - (1 - level) / 2, units - 1)
    return NormalDist().cdf(-math.sqrt(units / (units - 1)) * wanted)


def student_t_quantile(p: float, degrees: int) -> float:
    """Quantile of Student's t distribution for 0.5 < p < 1 and a whole number of degrees of freedom above 0."""
    if degrees > 1000:  # the first term of the Cornish-Fisher series is exact to 1e-6 there
        z = NormalDist().inv_cdf(p)
        return z + (z**3 + z) / (4 * degrees)
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


def intervals_json(drawn: Mapping[str, np.ndarray], unit: str, units: int, seed: int, level: float = 0.95) -> dict:
    """``{"level", "resamples", "unit", "units", "seed", "stats": {name: [low, high] or None}, "warning"}``."""
    resamples = len(next(iter(drawn.values()))) if drawn else 0
    return {
        "level": level,
        "resamples": resamples,
        "unit": unit,
        "units": units,
        "seed": seed,
        "method": "expanded percentile bootstrap",
        "stats": {name: interval(values, units, level) for name, values in drawn.items()},
        "warning": few_units_warning(unit, units),
    }


def few_units_warning(unit: str, units: int) -> str | None:
    """A word of caution where the interval rests on few units."""
    if units >= FEW_UNITS:
        return None
    many = "" if units == 1 else "s"
    return f"only {units} {unit}{many}: " + ("no interval" if units < 2 else "the interval is rough")
