"""The section of a report about two models on the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wutdet.report.cells import interval_text, pair, scale_of, whisker
from wutdet.report.markup import is_number
from wutdet.report.page import Cell, Column, Page, Protocol, Table
from wutdet.report.plot import format_number
from wutdet.report.read import mapping, sequence
from wutdet.report.words import ap_text, change_text, plain


def comparison_section(page: Page, evaluation: Mapping, protocol: Protocol) -> None:
    """Differences between A and B with their intervals, over all frames and by slice."""
    comparison = mapping(evaluation.get("comparison"))
    stats = {key: mapping(value) for key, value in mapping(comparison.get("stats")).items()}
    if not stats:
        return
    section = page.section("A against B")
    a, b = str(comparison.get("a") or "A"), str(comparison.get("b") or "B")
    section.paragraph(f"A is {a}, B is {b}. {_verdict(stats)} {_method(comparison)}")
    if isinstance(comparison.get("warning"), str):
        section.note(comparison["warning"])
    slices = [mapping(row) for row in sequence(comparison.get("slices")) if mapping(row)]
    scale, axis = _axis(list(stats.values()))
    heads = [Column("figure"), Column("A", number=True), Column("B", number=True), Column("B − A", number=True), axis,
             Column("p", number=True), Column("real?")]  # fmt: skip
    rows = [
        [key, ap_text(row.get("a")), ap_text(row.get("b")), *_difference(row, scale), _p(row.get("p")), _real(row)]
        for key, row in stats.items()
    ]
    section.table("All frames", Table(heads, rows), protocol, wide=True)
    if slices:
        scale, axis = _axis(slices)
        heads = [Column("slice"), Column("frames", number=True), Column("ships", number=True),
                 Column("B − A", "AP", True), axis, Column("real?")]  # fmt: skip
        rows = [
            [
                ": ".join(str(row[key]) for key in ("by", "name") if row.get(key) is not None),
                plain(row.get("images")),
                plain(row.get("boxes")),
                *_difference(row, scale),
                _real(row),
            ]
            for row in slices
        ]
        section.table("By slice", Table(heads, rows), protocol, wide=True)


def _axis(rows: Sequence[Mapping]) -> tuple[tuple[float, float], Column]:
    """A scale that holds all differences and intervals, and the column that they are drawn in."""
    scale = scale_of((v for row in rows for v in (row.get("difference"), *(_interval(row) or ()))), symmetric=True)
    return scale, Column("interval", f"{_signed(scale[0])} to {_signed(scale[1])}")


def _verdict(stats: Mapping[str, Mapping]) -> str:
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


def _real(row: Mapping) -> str | None:
    return None if row.get("real") is None else "yes" if row["real"] else "not shown"
