"""Two models on the same frames: is the difference real?

Both are weighted alike in every resample, so what is hard for both cancels out: the interval of the difference is
usually much narrower than the two models' own intervals suggest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wutdet.evaluation.accumulate import Ranking
from wutdet.evaluation.bootstrap import Resampling, bootstrap
from wutdet.evaluation.intervals import few_units_warning, interval
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import Protocol
from wutdet.evaluation.slices import Slice
from wutdet.evaluation.summary import summarise


def compare(
    a: Matches,
    b: Matches,
    protocol: Protocol,
    resampling: Resampling,
    *,
    names: tuple[str, str] = ("A", "B"),
    slices: Sequence[Slice] = (),
    level: float = 0.95,
) -> dict:
    """Differences B minus A with paired intervals.

    Args:
        a, b: matching passes over the same ground truth.
        protocol: whose figures.
        resampling: drawn once, used for both.
        names: of the two models.
        slices: also the headline's difference on these parts.
        level: nominal coverage of the intervals.

    Returns:
        ``{"a", "b", "level", "resamples", "unit", "units", "warning", "stats": {name: {"a", "b", "difference",
        "interval", "p", "real"}}, "slices": [{"by", "name", "images", "difference", ...}]}``. ``p`` is the
        two-sided bootstrap p value, ``real`` whether the interval leaves 0 out; both None where there is no interval.
    """
    assert a.image_count == b.image_count, "two models are compared on the same frames"
    units = resampling.units_in()
    rankings = Ranking.of(a), Ranking.of(b)
    sides = list(zip((a, b), rankings, strict=True))
    headline = protocol.headline.name

    def rows(images: np.ndarray | None, wanted: list[str] | None, count: int) -> dict[str, dict]:
        point = [summarise(m, protocol, stats=wanted, images=images, ranking=r) for m, r in sides]
        drawn = [bootstrap(m, protocol, resampling, stats=wanted, images=images, ranking=r) for m, r in sides]
        return {
            name: _difference(point[0][name], point[1][name], drawn[1][name] - drawn[0][name], count, level)
            for name in point[0]
        }

    parts = []
    for part in slices:
        row = rows(part.images, [headline], resampling.units_in(part.images))[headline]
        parts.append({"by": part.by, "name": part.name, "images": int(part.images.sum()), "stat": headline, **row})
    return {
        "a": names[0],
        "b": names[1],
        "level": level,
        "resamples": resampling.resamples,
        "unit": resampling.unit,
        "units": units,
        "seed": resampling.seed,
        "warning": few_units_warning(resampling.unit, units),
        "stats": rows(None, None, units),
        "slices": parts,
    }


def _difference(a: float | None, b: float | None, drawn: np.ndarray, units: int, level: float) -> dict:
    bounds = None if a is None or b is None else interval(drawn, units, level)
    p = None
    if bounds is not None:
        present = drawn[~np.isnan(drawn)]
        # One is added on both sides, so that no p value is 0 (Davison and Hinkley 1997, section 4.2).
        tail = (min((present <= 0).sum(), (present >= 0).sum()) + 1) / (len(present) + 1)
        p = float(min(1.0, 2 * tail))
    return {
        "a": a,
        "b": b,
        "difference": None if a is None or b is None else b - a,
        "interval": bounds,
        "p": p,
        "real": None if bounds is None else bool(bounds[0] > 0 or bounds[1] < 0),
    }


def comparison_lines(comparison: Mapping) -> list[str]:
    """The table for people, with a verdict in words."""
    c = comparison
    drawn = f"{c['resamples']} resamples of {c['units']} {c['unit']}s"
    lines = [f"  A = {c['a']}", f"  B = {c['b']}", f"  B - A, {c['level']:.0%} intervals, paired, {drawn}"]
    if c["warning"]:
        lines.append(f"  ! {c['warning']}")
    lines.append(f"  {'':<9} {'A':>7} {'B':>7} {'B - A':>8}")
    for name, row in c["stats"].items():
        lines.append(f"  {name:<9} {_text(row['a'])} {_text(row['b'])} {_verdict(row)}")
    for row in c["slices"]:
        label = f"{row['by']} = {row['name']}"
        lines.append(f"  {label} ({row['stat']}): {_text(row['a'])} {_text(row['b'])} {_verdict(row)}")
    return lines


def _text(value: float | None) -> str:
    return f"{'none' if value is None else format(value, '.3f'):>7}"


def _verdict(row: Mapping) -> str:
    if row["difference"] is None:
        return f"{'none':>8}"
    text = f"{row['difference']:>+8.3f}"
    if row["interval"] is None:
        return text + "  (too few units for an interval)"
    low, high = row["interval"]
    better = "B is better" if row["difference"] > 0 else "A is better"
    return text + f"  [{low:+.3f}, {high:+.3f}]  p {row['p']:.3f}  " + (better if row["real"] else "no real difference")
