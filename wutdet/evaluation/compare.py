"""Two models on the same frames: is the difference real?

Both are weighted alike in every resample, so what is hard for both cancels out: the interval of the difference is
usually much narrower than the two models' own intervals suggest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wutdet.errors import DataError
from wutdet.evaluation.accumulate import Ranking, count_positives
from wutdet.evaluation.bootstrap import Resampling, bootstrap, effective_units_of
from wutdet.evaluation.intervals import few_units_warning, interval, p_value
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import ALL, Protocol
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
        "interval", "p", "real"}}, "slices": [{"by", "name", "images", "boxes", "stat", "difference", ...,
        "units", "warning"}]}``.
        ``p`` is 1 minus the level at which the interval just reaches 0, ``real`` whether the interval leaves 0 out;
        both None where there is no interval. No account is taken of how many figures are looked at: of 20 figures or
        slices that are alike, one is called real by chance.

    Raises:
        DataError: the passes are not of the same frames and ships.
    """
    if a.image_count != b.image_count or not np.array_equal(a.gt_row, b.gt_row):
        raise DataError(
            "two models can be compared on the same frames and ships only; A was scored on "
            f"{a.image_count} frames with {len(a.gt_row)} ships, B on {b.image_count} with {len(b.gt_row)}",
            hint="score both against the same ground truth",
        )
    units = resampling.units_in()
    rankings = Ranking.of(a), Ranking.of(b)
    sides = list(zip((a, b), rankings, strict=True))
    headline = protocol.headline.name

    def rows(images: np.ndarray | None, wanted: list[str] | None, count: int) -> dict[str, dict]:
        point = [summarise(m, protocol, stats=wanted, images=images, ranking=r) for m, r in sides]
        drawn = [bootstrap(m, protocol, resampling, stats=wanted, images=images, ranking=r) for m, r in sides]
        counting = effective_units_of(a, protocol, resampling, stats=wanted, images=images)
        return {
            name: _difference(
                point[0][name], point[1][name], drawn[1][name] - drawn[0][name], count, counting[name], level
            )
            for name in point[0]
        }

    parts = []
    for part in slices:
        row = rows(part.images, [headline], resampling.units_in(part.images))[headline]
        images, boxes = int(part.images.sum()), int(count_positives(a, [ALL], part.images).sum())
        worth = effective_units_of(a, protocol, resampling, stats=[headline], images=part.images)[headline]
        count = resampling.units_in(part.images)
        warning = few_units_warning(resampling.unit, count, worth, given=row["interval"] is not None)
        parts.append(
            {
                "by": part.by,
                "name": part.name,
                "images": images,
                "boxes": boxes,
                "stat": headline,
                **row,
                "units": count,
                "warning": warning or None,
            }
        )
    worth = effective_units_of(a, protocol, resampling, stats=[headline])[headline]
    stats = rows(None, None, units)
    given = stats[headline]["interval"] is not None
    warnings = resampling.caution, few_units_warning(resampling.unit, units, worth, given=given)
    return {
        "a": names[0],
        "b": names[1],
        "level": level,
        "resamples": resampling.resamples,
        "unit": resampling.unit,
        "units": units,
        "seed": resampling.seed,
        "warning": "; ".join(w for w in warnings if w) or None,
        "stats": stats,
        "slices": parts,
    }


def _difference(a: float | None, b: float | None, drawn: np.ndarray, units: int, counting: float, level: float) -> dict:
    known = a is not None and b is not None
    bounds = interval(drawn, units, level, counting=counting, limits=(-1.0, 1.0)) if known else None
    return {
        "a": a,
        "b": b,
        "difference": b - a if known else None,
        "interval": bounds,
        "p": p_value(drawn, units, counting=counting) if known else None,
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
        lines.append(f"  {name:<9} {_text(row['a'])} {_text(row['b'])} {_verdict(row, c['warning'])}")
    for row in c["slices"]:
        label = f"{row['by']} = {row['name']}"
        lines.append(
            f"  {label} ({row['stat']}): {_text(row['a'])} {_text(row['b'])} {_verdict(row, row.get('warning'))}"
        )
    return lines


def _text(value: float | None) -> str:
    return f"{'none' if value is None else format(value, '.3f'):>7}"


def _verdict(row: Mapping, warning: str | None) -> str:
    if row["difference"] is None:
        return f"{'none':>8}"
    text = f"{row['difference']:>+8.3f}"
    if row["interval"] is None:
        return text + "  (no interval: too few units with such ships)"
    low, high = row["interval"]
    better = "B is better" if row["difference"] > 0 else "A is better"
    if row["real"] and warning:
        better = f"unsure, {better[0]} seems better"
    return text + f"  [{low:+.3f}, {high:+.3f}]  p {row['p']:.3f}  " + (better if row["real"] else "no real difference")
