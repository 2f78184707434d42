"""Recall against the size of ships: a curve with its band of intervals, and the size from which most are found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from wutdet.report.markup import Markup, is_number, tag
from wutdet.report.plot import (
    INK,
    Plot,
    format_number,
    legend,
    line_between,
    nice_ticks,
    series_colour,
    series_stroke,
    text,
    unplottable,
)

_LABEL = "size of the ship (px, √area)"


def size_curve(
    title: str,
    points: Sequence[Mapping],
    *,
    found_from: float | None = None,
    share: float = 0.9,
    names: tuple[str, str] = ("found", "any score"),
) -> str:
    """Recall over size, sizes on a logarithmic axis.

    Args:
        title: read by screen readers.
        points: by rising size ``{"low_px", "high_px", "boxes", "found", "recall", "interval": [low, high]}``; recall
            and interval may be None; ``high_px`` of the last may be. ``recall_all``, where there is one, is drawn as a
            second line.
        found_from: size in pixels from which on ``share`` is found; marked.
        share: of ships, for the mark and its line.
        names: of the two lines.
    """
    sized = [p for p in points if is_number(p.get("low_px")) or is_number(p.get("high_px"))]
    drawn = [(_centre(p), p) for p in sized if is_number(p.get("recall"))]
    if not drawn:
        return unplottable(title, "No ships to find.")
    marks = [x for x, _ in drawn] + ([found_from] if is_number(found_from) and found_from > 0 else [])
    low, high = min(marks) / 1.15, max(marks) * 1.15
    second = [(x, p["recall_all"]) for x, p in drawn if is_number(p.get("recall_all"))]
    key, key_rows = legend(names if second else names[:1])
    plot = Plot((math.log2(low), math.log2(high)), nice_ticks(0, 1), key_rows)
    parts = [key, plot.grid("recall"), plot.x_axis(_ticks(low, high), _LABEL)]
    parts.append(line_between(plot.left, plot.y(share), plot.right, plot.y(share), "var(--muted,#566370)"))
    parts += _bands(plot, drawn)
    for index, line in enumerate((second, [(x, p["recall"]) for x, p in drawn])):
        path = "".join(
            f"{'L' if i else 'M'}{plot.x(math.log2(x)):.1f} {plot.y(y):.1f}" for i, (x, y) in enumerate(line)
        )
        if path:
            parts.append(tag("path", d=path, style=series_stroke(1 - index)))
    for x, point in drawn:
        parts.append(
            tag(
                "circle",
                tag("title", _said(point)),
                cx=plot.x(math.log2(x)),
                cy=plot.y(point["recall"]),
                r=4,
                style=f"fill:{series_colour(0)}",
            )
        )
    if is_number(found_from) and found_from > 0:
        parts.append(_mark(plot, found_from, share))
    description = "; ".join(_said(point) for _, point in drawn)
    return plot.svg(title, f"Recall over {_LABEL}. {description}.", *parts)


def edges_text(low: object, high: object) -> str:
    """A range of sizes: ``8–16 px``, ``96+ px``."""
    if not is_number(high):
        return f"{format_number(low)}+ px"
    return f"{format_number(low if is_number(low) else 0, 3)}–{format_number(high, 3)} px"


def _centre(point: Mapping) -> float:
    """The geometric middle; open ends are taken to reach half an octave."""
    low, high = point.get("low_px"), point.get("high_px")
    if not is_number(high):
        return max(low, 1.0) * math.sqrt(2)
    if not is_number(low) or low <= 0:
        return high / math.sqrt(2)
    return math.sqrt(low * high)


def _bands(plot: Plot, drawn: Sequence[tuple[float, Mapping]]) -> list[Markup]:
    """The band between neighbours that both have an interval; a whisker where there are no such neighbours."""
    edges = [(plot.x(math.log2(x)), _interval(p)) for x, p in drawn]
    style = f"fill:{series_colour(0)};fill-opacity:.22;stroke:none"
    out = []
    for (x1, a), (x2, b) in pairwise(edges):
        if a and b:
            corners = ((x1, a[0]), (x2, b[0]), (x2, b[1]), (x1, a[1]))
            out.append(tag("path", d=f"M{'L'.join(f'{x:.1f} {plot.y(y):.1f}' for x, y in corners)}Z", style=style))
    for x, interval in edges:
        if interval:
            top, bottom = plot.y(interval[1]), plot.y(interval[0])
            out.append(line_between(x, top, x, bottom, series_colour(0)))
    return out


def _interval(point: Mapping) -> tuple[float, float] | None:
    pair = point.get("interval")
    if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(is_number(v) for v in pair):
        return float(pair[0]), float(pair[1])
    return None


def _mark(plot: Plot, found_from: float, share: float) -> Markup:
    """A vertical line with its words above the plot, where no curve is."""
    x = plot.x(math.log2(found_from))
    words = f"{share:.0%} found from {format_number(round(found_from, 1))} px up".replace("%", " %")
    style = f"fill:none;stroke:{INK};stroke-width:2;stroke-dasharray:2 4"
    return tag(
        "g",
        tag("path", d=f"M{x:.1f} {plot.top - 8:.1f}V{plot.bottom:.1f}", style=style),
        text(words, plot.right, plot.top - 15, anchor="end", bold=True),
        class_="mark",
    )


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    every = max(1, math.ceil(len(powers) / 8))
    return [(float(k), format_number(2.0**k)) for k in powers if k % every == 0]


def _said(point: Mapping) -> str:
    interval = _interval(point)
    words = f"{edges_text(point.get('low_px'), point.get('high_px'))}: {format_number(point.get('recall'), 3)}"
    if interval:
        words += f" ({format_number(interval[0], 3)} to {format_number(interval[1], 3)})"
    if is_number(point.get("boxes")):
        words += f", {format_number(point.get('found'))} of {format_number(point['boxes'])} ships"
    return words
