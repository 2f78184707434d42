"""Table cells that are drawn: intervals as small whiskers, shares as heat."""

from __future__ import annotations

from collections.abc import Iterable

from wutdet.report.markup import Markup, is_number, join, tag
from wutdet.report.plot import nice_ticks
from wutdet.report.table import Cell

_WIDE, _HIGH = 104, 20
_EDGE = 5.0

#: Red, green, blue of heat: "good" grows with accuracy, "loss" with what is lost. Half transparent at most, so that
#: text stays readable on light and on dark pages.
_HEAT = {"good": "0,114,178", "loss": "213,94,0"}


def pair(interval: object) -> tuple[float, float] | None:
    """``[low, high]`` as two numbers, or None."""
    if isinstance(interval, (list, tuple)) and len(interval) == 2 and all(is_number(v) for v in interval):
        return float(interval[0]), float(interval[1])
    return None


def interval_text(interval: object, signed: bool = False) -> str:
    """``0.371 to 0.455``; a dash where there is none."""
    edges = pair(interval)
    if edges is None:
        return "–"
    return " to ".join(f"{edge:{'+' if signed else ''}.3f}".replace("-", "−") for edge in edges)


def scale_of(values: Iterable[object], symmetric: bool = False) -> tuple[float, float]:
    """Round limits that hold all numbers among ``values`` and 0; the same to both sides where ``symmetric``."""
    numbers = [0.0, *(v for v in values if is_number(v))]
    if symmetric:
        most = max(abs(v) for v in numbers) or 1.0
        most = nice_ticks(0, most)[-1]
        return -most, most
    ticks = nice_ticks(min(numbers), max(numbers) or 1.0)
    return ticks[0], ticks[-1]


def whisker(value: object, interval: object, scale: tuple[float, float], signed: bool = False) -> Cell:
    """A point with its interval on an axis from ``scale[0]`` to ``scale[1]``, which all rows of a table share."""
    edges = pair(interval)
    words = interval_text(interval, signed)
    if edges is None:
        return Cell(words)

    def x(number: float) -> float:
        share = (number - scale[0]) / ((scale[1] - scale[0]) or 1.0)
        return _EDGE + min(max(share, 0.0), 1.0) * (_WIDE - 2 * _EDGE)

    middle = _HIGH / 2
    low, high = x(edges[0]), x(edges[1])
    parts = [
        _path(f"M{_EDGE} {middle}H{_WIDE - _EDGE}", "var(--grid)", 1),
        _path(f"M{x(0.0):.1f} 3V{_HIGH - 3}", "var(--muted)", 1),
        _path(f"M{low:.1f} {middle}H{high:.1f}M{low:.1f} 5v10M{high:.1f} 5v10", "var(--c1)", 2),
    ]
    if is_number(value):
        parts.append(tag("circle", cx=x(value), cy=middle, r=4, style="fill:var(--c1)"))
    drawing = tag(
        "svg",
        tag("title", words),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        class_="whisker",
        viewBox=f"0 0 {_WIDE} {_HIGH}",
        width=_WIDE,
        height=_HIGH,
        role="img",
        aria_label=words,
    )
    return Cell(words, join((drawing, tag("span", words, class_="unit small"))))


def heat(text: str, share: float | None, count: object = None, kind: str = "good") -> Cell:
    """A figure on a ground that is the stronger the nearer ``share`` is to 1; ``count`` is written small below."""
    small = f"n={count}" if is_number(count) else ""
    markup = join((text, tag("br"), tag("span", small, class_="unit"))) if small else None
    style = f"background:rgba({_HEAT[kind]},{0.6 * min(max(share, 0.0), 1.0):.2f})" if is_number(share) else None
    return Cell(f"{text} ({small})" if small else text, markup, style)


def _path(d: str, colour: str, width: int) -> Markup:
    return tag("path", d=d, style=f"fill:none;stroke:{colour};stroke-width:{width}")
