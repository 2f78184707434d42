"""The section of a report about two models on the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from wutdet.report.cells import interval_text, pair, scale_of, whisker
from wutdet.report.markup import is_number
from wutdet.report.page import Cell, Column, Page, Protocol, Table
from wutdet.report.plot import format_number
from wutdet.report.read import mapping, sequence
from wutdet.report.words import ap_text, change_text, plain

_CUT = "Intervals that reach much farther than the others are cut off in the drawing; their numbers are whole."


def comparison_section(page: Page, evaluation: Mapping, protocol: Protocol) -> None:
    """Differences between A and B with their intervals, over all frames and by slice."""
    comparison = mapping(evaluation.get("comparison"))
    stats = {key: mapping(value) for key, value in mapping(comparison.get("stats")).items()}
    if not stats:
        return
    section = page.section("A against B")
    a, b = compared_names(comparison)
    few = isinstance(comparison.get("warning"), str)
    section.paragraph(f"A is {a}, B is {b}. {_verdict(stats, few)} {_method(comparison)}")
    if few:
        section.note(comparison["warning"])
    slices = [mapping(row) for row in sequence(comparison.get("slices")) if mapping(row)]
    thin = {(str(row.get("by")), str(row.get("name"))) for row in map(mapping, sequence(evaluation.get("slices")))
            if row.get("warning")}  # fmt: skip
    scale, axis, cut = _axis(list(stats.values()))
    heads = [Column("figure"), Column("A", number=True), Column("B", number=True), Column("B − A", number=True), axis,
             Column("p", number=True), Column("real?")]  # fmt: skip
    rows = [
        [key, ap_text(row.get("a")), ap_text(row.get("b")), *_difference(row, scale), _p(row.get("p")), _real(row, few)]
        for key, row in stats.items()
    ]
    section.table("All frames", Table(heads, rows), protocol, wide=True, caption=_CUT if cut else "")
    if slices:
        scale, axis, cut = _axis(slices)
        heads = [Column("slice"), Column("frames", number=True), Column("ships", number=True),
                 Column("B − A", "AP", True), axis, Column("real?")]  # fmt: skip
        rows = [
            [
                ": ".join(str(row[key]) for key in ("by", "name") if row.get(key) is not None),
                plain(row.get("images")),
                plain(row.get("boxes")),
                *_difference(row, scale),
                _real(row, few or (str(row.get("by")), str(row.get("name"))) in thin),
            ]
            for row in slices
        ]
        section.table("By slice", Table(heads, rows), protocol, wide=True, caption=_CUT if cut else "")


def compared_names(comparison: Mapping) -> tuple[str, str]:
    """What A and B are called: their file names, or as they were typed where those are the same."""
    a, b = str(comparison.get("a") or "A"), str(comparison.get("b") or "B")
    short = Path(a).name, Path(b).name
    return short if short[0] != short[1] else (a, b)


def _axis(rows: Sequence[Mapping]) -> tuple[tuple[float, float], Column, bool]:
    """A scale, the column that differences and intervals are drawn in, and whether it cuts some off.

    It holds all differences, and all intervals but those that reach more than three times as far as is usual.
    """
    reach = [max(map(abs, edges)) for edges in map(_interval, rows) if edges]
    usual = median(reach) if reach else 0.0
    shown = [v for v in reach if v <= 3 * usual]
    scale = scale_of((*shown, *(row.get("difference") for row in rows)), symmetric=True)
    column = Column("interval", f"{_signed(scale[0])} to {_signed(scale[1])}")
    return scale, column, any(v > scale[1] for v in reach)


def _verdict(stats: Mapping[str, Mapping], few: bool) -> str:
    key, row = next(iter(stats.items()))
    change = row.get("difference")
    if not is_number(change):
        return f"{key} cannot be compared."
    if change == 0:
        return f"{key} is the same."
    side = "higher" if change > 0 else "lower"
    words = f"{key} of B is {side} by {abs(change):.3f} ({interval_text(_interval(row), True)})"
    if row.get("real") is None:
        return f"{words}; there is no interval, so nobody can say whether the difference is real."
    if row["real"] and few:
        return f"{words}; no difference is outside of the interval, but the interval is rough."
    return f"{words}; the difference is {'real' if row['real'] else 'not shown to be real'}."


def _method(comparison: Mapping) -> str:
    level, resamples, unit = (comparison.get(key) for key in ("level", "resamples", "unit"))
    if not is_number(resamples):
        return ""
    sure = f"{100 * level:g} % intervals" if is_number(level) else "Intervals"
    units = f"{plain(comparison['units'])} " if is_number(comparison.get("units")) else ""
    return f"{sure} of the paired difference, from {plain(resamples)} resamples of {units}{unit or 'unit'}s."


def _interval(row: Mapping) -> tuple[float, float] | None:
    return pair(row.get("interval"))


def _difference(row: Mapping, scale: tuple[float, float]) -> tuple[str, Cell]:
    change = row.get("difference")
    return change_text(change, 0.0) or "–", whisker(change, _interval(row), scale, signed=True)


def _signed(value: float) -> str:
    return format_number(value).replace("-", "−") if value <= 0 else f"+{format_number(value)}"


def _p(value: object) -> str | None:
    if not is_number(value):
        return None
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _real(row: Mapping, few: bool) -> str | None:
    if row.get("real") is None:
        return None
    return ("unsure" if few else "yes") if row["real"] else "not shown"
