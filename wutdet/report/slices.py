"""The section of a report about parts of the data: scenes, conditions, sources, cameras, sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wutdet.report.cells import pair, scale_of, whisker
from wutdet.report.markup import is_number, join, tag
from wutdet.report.page import Cell, Column, Page, Protocol, Table
from wutdet.report.plot import format_number
from wutdet.report.read import mapping, sequence
from wutdet.report.words import ap_text, plain

# More rows of one kind (sequences, mostly) are folded away, those with the fewest ships.
_SHOWN = 20

_FIGURES = ("AP", "AP50", "APs", "AR100", "recall50")
# What a row says of itself rather than measures.
_FACTS = {"by", "name", "images", "boxes", "units", "intervals", "warning", "stats"}
_HEADLINE = ("AP", "AP50")


def slices_section(page: Page, evaluation: Mapping, protocol: Protocol) -> None:
    """One table per kind of slice, with counts, intervals as whiskers, and a warning where a slice is thin."""
    slices = [{**row, **mapping(row.get("stats"))} for row in sequence(evaluation.get("slices")) if mapping(row)]
    if not slices:
        return
    section = page.section("Slices")
    drawn = next((key for key in _HEADLINE if any(_interval(row, key) for row in slices)), None)
    scale = scale_of(v for row in slices for v in (row.get(drawn), *(_interval(row, drawn) or ()))) if drawn else (0, 1)
    if drawn:
        level = mapping(evaluation.get("intervals")).get("level")
        sure = f"{100 * level:g} % intervals" if is_number(level) else "Intervals"
        section.paragraph(
            f"{sure} of {drawn} are drawn from {format_number(scale[0])} to {format_number(scale[1])} in all tables. "
            "Where two intervals overlap much, the slices are not shown to differ."
        )
    thin = sum(bool(_warning(row)) for row in slices)
    if thin:
        section.note(
            f"{thin} of {len(slices)} slices have too few ships or sequences to be sure of; they are marked with △."
        )
    for by in dict.fromkeys(str(row.get("by") or "slice") for row in slices):
        rows = [row for row in slices if str(row.get("by") or "slice") == by]
        _table(section, by, rows, drawn, scale, protocol)


def _table(section, by: str, rows: Sequence[Mapping], drawn: str | None, scale: tuple, protocol: Protocol) -> None:
    keys = [key for key in _FIGURES if any(key in row for row in rows)]
    keys += [k for k in dict.fromkeys(k for row in rows for k, v in row.items() if is_number(v))
             if k not in keys and k not in _FACTS]  # fmt: skip
    if not any(_interval(row, drawn) for row in rows):
        drawn = None
    heads = [Column(by.replace("_", " ")), Column("frames", number=True), Column("ships", number=True)]
    for key in keys:
        heads.append(Column(key, number=True))
        if key == drawn:
            heads.append(Column("interval", f"{format_number(scale[0])} to {format_number(scale[1])}"))
    table = []
    for row in sorted(rows, key=lambda r: -_count(r)) if len(rows) > _SHOWN else rows:
        cells = [_name(row), plain(row.get("images")), plain(row.get("boxes"))]
        for key in keys:
            cells.append(ap_text(row.get(key)))
            if key == drawn:
                cells.append(whisker(row.get(key), _interval(row, key), scale))
        table.append(cells)
    folded = Table(heads, table[_SHOWN:]) if len(table) > _SHOWN else None
    title = f"By {by.replace('_', ' ')}"
    section.table(title, Table(heads, table[:_SHOWN]), protocol, wide=True, folded=folded)


def _name(row: Mapping) -> object:
    name, warning = plain(row["name"]) if row.get("name") is not None else "none", _warning(row)
    if not warning:
        return name
    mark = tag("span", "△", class_="thin")
    return Cell(f"{name} △ {warning}", join((name, " ", mark, tag("div", warning, class_="small"))))


def _warning(row: Mapping) -> str:
    return row["warning"] if isinstance(row.get("warning"), str) else ""


def _interval(row: Mapping, key: str) -> tuple[float, float] | None:
    return pair(mapping(row.get("intervals")).get(key))


def _count(row: Mapping) -> float:
    return row["boxes"] if is_number(row.get("boxes")) else 0
