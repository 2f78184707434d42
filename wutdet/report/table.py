"""Tables of a report, as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wutdet.report.markdown import md_table
from wutdet.report.markup import Markup, join, tag


@dataclass(frozen=True)
class Column:
    """A table column: its head, the unit under it, and whether it holds numbers (then right-aligned)."""

    name: str
    unit: str = ""
    number: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell that is drawn, or coloured.

    Attributes:
        text: what it says; all that Markdown shows.
        markup: what HTML shows in its place.
        style: CSS of the cell.
    """

    text: str
    markup: Markup | None = None
    style: str | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Rows of cells as text, numbers (already rounded) or Cells; None becomes a dash."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(self.columns)} cells was expected, received {len(row)}: {row!r}")

    def to_html(self) -> Markup:
        head = [
            tag(
                "th",
                column.name,
                join((tag("br"), tag("span", column.unit, class_="unit"))) if column.unit else None,
                scope="col",
                class_=_classes(column),
            )
            for column in self.columns
        ]
        body = []
        for row in self.rows:
            cells = [
                _cell(column, cell, first=index == 0)
                for index, (column, cell) in enumerate(zip(self.columns, row, strict=True))
            ]
            body.append(tag("tr", *cells))
        table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))
        return tag("div", table, class_="scroll")

    def to_markdown(self) -> str:
        heads = [f"{c.name} ({c.unit})" if c.unit else c.name for c in self.columns]
        return md_table(heads, [c.number for c in self.columns], self.rows)


def _classes(column: Column) -> str | None:
    return "right" if column.number else None


def _cell(column: Column, cell: object, first: bool) -> Markup:
    content, style = cell, None
    if isinstance(cell, Cell):
        content, style = cell.text if cell.markup is None else cell.markup, cell.style
    return tag(
        "th" if first else "td",
        "–" if content is None else content,
        scope="row" if first else None,
        class_=_classes(column),
        style=style,
    )
