"""Horizontal bars with long names, one row each, and intervals as whiskers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from wutdet.report.markup import Markup, is_number, join, tag
from wutdet.report.plot import (
    INK,
    LETTER,
    MUTED,
    WIDTH,
    Plot,
    format_number,
    line_between,
    nice_ticks,
    series_colour,
    text,
    unplottable,
)

_ROW, _ROW_OF_TWO = 30, 44
_LABEL_MOST = 190.0
_LINE = int((_LABEL_MOST - 14) / LETTER)


@dataclass(frozen=True)
class Row:
    """One bar; ``value`` is None where there is nothing to measure, ``written`` stands at the right end."""

    label: str
    value: float | None
    written: str = ""
    interval: tuple[float, float] | None = None
    group: int = 0  # bars of one group share a colour


def row_chart(
    title: str, rows: Sequence[Row], *, x_label: str, missing: str = "no such ships", groups: Sequence[str] = ()
) -> str:
    """One bar per row from 0 to its value, to the left where it is negative; ``interval`` is drawn as a whisker.

    Args:
        title: read by screen readers.
        rows: from top to bottom.
        x_label: what the bars measure, with its unit.
        missing: said where a row has no value.
        groups: names of the rows' groups; a legend where there are several.
    """
    if not any(is_number(row.value) for row in rows):
        return unplottable(title, "No values to draw.")
    numbers = [0.0, *(row.value for row in rows if is_number(row.value))]
    numbers += [edge for row in rows if row.interval for edge in row.interval]
    ticks = nice_ticks(min(numbers), max(numbers), 4)
    key, key_rows = _legend(groups)
    plot = _Rows(rows, ticks, 8.0 + 24 * key_rows)
    parts = [key, plot.grid(x_label, ticks)]
    zero = plot.x(0.0)
    for index, row in enumerate(rows):
        middle = plot.top + plot.row * (index + 0.5)
        words = _lines(row.label)
        for place, line in enumerate(words):
            parts.append(text(line, plot.left - 8, middle + 5 + 18 * (place - (len(words) - 1) / 2), anchor="end"))
        if not is_number(row.value):
            parts.append(text(missing, zero + 6, middle + 5, colour=MUTED))
            continue
        left, right = sorted((zero, plot.x(row.value)))
        said = f"{row.label}: {row.written or format_number(row.value)}{_interval_text(row.interval)}"
        parts.append(
            tag(
                "rect",
                tag("title", said),
                x=left,
                y=middle - 9.0,
                width=max(right - left, 1.0 if row.value else 0.0),
                height=18.0,
                rx=2,
                style=f"fill:{series_colour(row.group)}",
            )
        )
        if row.interval:
            parts.append(_whisker(plot.x(row.interval[0]), plot.x(row.interval[1]), middle))
        written = row.written or format_number(row.value)
        parts.append(text(written, WIDTH - 8.0, middle + 5, anchor="end", bold=True))
    parts.append(line_between(zero, plot.top, zero, plot.bottom, INK))
    description = "; ".join(
        f"{row.label}: {(row.written or format_number(row.value)) if is_number(row.value) else missing}"
        f"{_interval_text(row.interval)}"
        for row in rows
    )
    return plot.svg(title, f"{x_label}. {description}.", *parts)


class _Rows(Plot):
    """Rows downwards, values to the right, names to the left of them."""

    def __init__(self, rows: Sequence[Row], ticks: Sequence[float], top: float):
        super().__init__((ticks[0], ticks[-1]), (0, 1))
        self.row = _ROW if all(len(_lines(row.label)) == 1 for row in rows) else _ROW_OF_TWO
        self.top, self.bottom = top, top + self.row * len(rows)
        self.height = self.bottom + 52
        self.left = 14 + LETTER * max(len(line) for row in rows for line in _lines(row.label))
        self.right = WIDTH - 24 - LETTER * max(len(row.written) or 6 for row in rows)

    def grid(self, x_label: str, ticks: Sequence[float]) -> Markup:  # type: ignore[override]
        parts = []
        for tick in ticks:
            x = self.x(tick)
            parts.append(line_between(x, self.top, x, self.bottom, "var(--grid,#d5dce3)"))
            parts.append(text(format_number(tick), x, self.bottom + 19, anchor="middle"))
        parts.append(text(x_label, (self.left + self.right) / 2, self.bottom + 42, anchor="middle", bold=True))
        return join(parts)


def _lines(label: str) -> list[str]:
    """The label in at most two lines; what does not fit is cut off."""
    return textwrap.wrap(label, _LINE, max_lines=2, placeholder=" …") or [""]


def _legend(groups: Sequence[str]) -> tuple[Markup, int]:
    """A coloured square and a name per group, and the lines that they take."""
    if len(groups) < 2:
        return Markup(""), 0
    parts, x, row = [], 8.0, 0
    for index, name in enumerate(groups):
        wide = 22 + LETTER * len(name) + 14
        if x > 8 and x + wide > WIDTH:
            x, row = 8.0, row + 1
        y = 4.0 + 24 * row
        parts.append(tag("rect", x=x, y=y, width=14, height=14, rx=2, style=f"fill:{series_colour(index)}"))
        parts.append(text(name, x + 21, y + 12))
        x += wide
    return tag("g", *parts, class_="legend"), row + 1


def _whisker(left: float, right: float, y: float) -> Markup:
    path = f"M{left:.1f} {y:.1f}H{right:.1f}M{left:.1f} {y - 5:.1f}v10M{right:.1f} {y - 5:.1f}v10"
    return tag("path", d=path, style=f"fill:none;stroke:{INK};stroke-width:2")


def _interval_text(interval: tuple[float, float] | None) -> str:
    return f" ({format_number(interval[0], 3)} to {format_number(interval[1], 3)})" if interval else ""
