"""What all charts share: axes over a drawing, ticks, legends, colours, numbers. Standard library only.

Colours come from CSS variables (``--ink``, ``--grid``, ``--c1`` ... ``--c6``) with fallbacks, so that a page can switch
to dark mode and a chart still looks right on its own (for example in a notebook). The palette follows Okabe and Ito,
"Color Universal Design" (2008); series also differ by dashes, so colour is never the only difference.
The drawing is 480 units wide with 14-unit text: about 10 px on a phone 390 px wide, where pages may enlarge it to 17.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from wutdet.report.markup import Markup, is_number, join, tag

#: Fallback colour by series, for light backgrounds; pages override them as --c1, --c2, ...
PALETTE = ("#0072b2", "#d55e00", "#007a5a", "#a8508a", "#b07800", "#3a86c8")
_DASHES = (None, "7 3", "2 3", "10 3 2 3", "4 4", "1 4")

#: Colours of text and of axes.
INK, MUTED, GRID = "var(--ink,#1b2733)", "var(--muted,#5b6875)", "var(--grid,#d5dce3)"

WIDTH, HEIGHT = 480, 300
FONT = 14
#: Width of a letter. Drawings are laid out for the enlarged text of narrow pages; 0.58 em is a wide average for
#: sans-serif letters.
LETTER = 17 * 0.58
_RIGHT, _BOTTOM = 16, 50


def format_number(value: float | None, digits: int = 4) -> str:
    """``digits`` significant digits without an exponent where that is short; a dash for None and NaN."""
    if not is_number(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers (steps of 1, 2, 2.5 or 5 times a power of ten) that cover ``low`` to ``high``."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


class Plot:
    """Axes in data units over a drawing in SVG units."""

    def __init__(
        self,
        x_range: tuple[float, float],
        y_ticks: Sequence[float],
        legend_rows: int = 0,
        bottom: float = _BOTTOM,
        height: float = HEIGHT,
    ):
        self.height = height + 28 * legend_rows
        self.left = max(40.0, 14 + LETTER * max(len(format_number(tick)) for tick in y_ticks))
        self.right = float(WIDTH - _RIGHT)
        self.top, self.bottom = 32.0 + 28 * legend_rows, self.height - bottom
        self.x_low, self.x_high = x_range
        self.y_low, self.y_high = y_ticks[0], y_ticks[-1]
        self.y_ticks = y_ticks

    def x(self, value: float) -> float:
        share = (value - self.x_low) / ((self.x_high - self.x_low) or 1.0)
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / ((self.y_high - self.y_low) or 1.0)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)

    def grid(self, y_label: str) -> Markup:
        """Horizontal grid lines with their numbers, and the label of the y axis above them."""
        lines = [text(y_label, 8, self.top - 15, bold=True)]
        for tick in self.y_ticks:
            y = self.y(tick)
            lines.append(line_between(self.left, y, self.right, y, GRID))
            lines.append(text(format_number(tick), self.left - 8, y + 5, anchor="end"))
        return join(lines)

    def x_axis(self, ticks: Sequence[tuple[float, str]], label: str) -> Markup:
        """Ticks at data positions, and the label of the x axis below them."""
        parts = [line_between(self.left, self.bottom, self.right, self.bottom, INK)]
        for value, written in ticks:
            x = self.x(value)
            parts.append(line_between(x, self.bottom, x, self.bottom + 5, INK))
            parts.append(text(written, x, self.bottom + 21, anchor="middle"))
        parts.append(text(label, (self.left + self.right) / 2, self.bottom + 43, anchor="middle", bold=True))
        return join(parts)

    def svg(self, title: str, description: str, *content: Markup) -> str:
        body = join(content)
        key = "chart-" + hashlib.sha1((title + description + body).encode("utf-8", "replace")).hexdigest()[:10]
        return tag(
            "svg",
            tag("title", title, id=f"{key}-title"),
            tag("desc", description, id=f"{key}-desc"),
            body,
            xmlns="http://www.w3.org/2000/svg",
            class_="chart",
            viewBox=f"0 0 {WIDTH} {format_number(self.height)}",
            role="img",
            aria_labelledby=f"{key}-title {key}-desc",
            font_family="system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
            style=f"width:100%;max-width:{WIDTH + 160}px;height:auto;font-size:{FONT}px",
        )


def text(words: str, x: float, y: float, *, anchor: str = "start", bold: bool = False, colour: str = INK) -> Markup:
    """One line of text; ``x``, ``y`` in SVG units, ``y`` at the base line."""
    return tag(
        "text",
        words,
        x=float(x),
        y=float(y),
        text_anchor=None if anchor == "start" else anchor,
        font_weight="600" if bold else None,
        style=f"fill:{colour}",
    )


def line_between(x1: float, y1: float, x2: float, y2: float, colour: str) -> Markup:
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), style=f"stroke:{colour};stroke-width:1")


def series_colour(index: int) -> str:
    index %= len(PALETTE)
    return f"var(--c{index + 1},{PALETTE[index]})"


def series_stroke(index: int) -> str:
    dash = _DASHES[index % len(_DASHES)]
    return f"fill:none;stroke:{series_colour(index)};stroke-width:2.5" + (f";stroke-dasharray:{dash}" if dash else "")


def legend(names: Sequence[str]) -> tuple[Markup, int]:
    """The legend, top left, and the rows that it takes. A single series needs none."""
    if len(names) < 2:
        return Markup(""), 0
    parts, x, row = [], 8.0, 0
    for index, name in enumerate(names):
        width = 34 + LETTER * len(name) + 12
        if x > 8 and x + width > WIDTH:
            x, row = 8.0, row + 1
        y = 14.0 + 22 * row
        parts.append(tag("path", d=f"M{x:.1f} {y:.1f}h26", style=series_stroke(index)))
        parts.append(text(name, x + 33, y + 5))
        x += width
    return tag("g", *parts, class_="legend"), row + 1


def unplottable(title: str, reason: str) -> str:
    """A chart that says that there is nothing to draw."""
    plot = Plot((0, 1), [0, 1], height=120)
    return plot.svg(title, reason, text(reason, WIDTH / 2, 64, anchor="middle"))
