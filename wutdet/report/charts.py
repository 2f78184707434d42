"""Charts as inline SVG strings: lines, precision over recall, bars, histograms. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wutdet.report.markup import Markup, is_number, tag
from wutdet.report.plot import (
    HEIGHT,
    INK,
    MUTED,
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

_MAX_MARKERS = 40


@dataclass(frozen=True)
class Series:
    """One line of a chart; ``None`` and NaN in ``y`` break the line."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True)
class Bar:
    """One bar; ``value`` is None where there is nothing to measure. ``notes`` are lines of text under the bar."""

    label: str
    value: float | None
    notes: Sequence[str] = ()


# --- charts ----------------------------------------------------------------------------------------------------


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    x_integer: bool = False,
) -> str:
    """Lines over a common x axis, with a legend, and hover titles that give all values at one x.

    Args:
        title: read by screen readers and shown on hover; pages print their own heading.
        series: lines to draw; those without any number are named in the description only.
        x_label, y_label: axis labels with their units.
        y_range: fixed range of y; by default 0 (or the smallest value, where negative) to the largest value.
        x_range: fixed range of x; by default that of the data.
        x_integer: ticks of x only at whole numbers.
    """
    points = [
        [(float(x), float(y)) if is_number(x) and is_number(y) else None for x, y in zip(s.x, s.y, strict=True)]
        for s in series
    ]
    drawn = [(index, s, p) for index, (s, p) in enumerate(zip(series, points, strict=True)) if any(p)]
    if not drawn:
        return unplottable(title, "No values to draw.")
    numbers = [q for _, _, p in drawn for q in p if q]
    x_low, x_high = x_range or (min(x for x, _ in numbers), max(x for x, _ in numbers))
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    y_low, y_high = y_range or (min(0.0, *(y for _, y in numbers)), max(y for _, y in numbers))
    key, rows = legend([s.name for s in series])
    plot = Plot((x_low, x_high), nice_ticks(y_low, y_high), rows)

    parts = [key, plot.grid(y_label), plot.x_axis(_x_ticks(x_low, x_high, x_integer), x_label)]
    for index, _, line in drawn:
        parts.append(tag("path", d=_path(plot, line), style=series_stroke(index) + ";stroke-linejoin:round"))
        # Short lines get markers; so do points without neighbours, which would be invisible otherwise.
        for i, point in enumerate(line):
            alone = not (i and line[i - 1]) and not (i + 1 < len(line) and line[i + 1])
            if point and (alone or len(line) <= _MAX_MARKERS):
                parts.append(
                    tag("circle", cx=plot.x(point[0]), cy=plot.y(point[1]), r=3, style=f"fill:{series_colour(index)}")
                )
    parts.append(_hover_bands(plot, [(s.name, p) for _, s, p in drawn], x_label))
    description = "; ".join(_summary(s.name, p) for s, p in zip(series, points, strict=True))
    return plot.svg(title, f"{y_label} over {x_label}. {description}.", *parts)


def pr_chart(title: str, recall: Sequence[float], precision: Mapping[str, Sequence[float | None]]) -> str:
    """Precision over recall, one line per name; negative precision (COCO's "no such ships") counts as missing."""
    series = [
        Series(name, recall, [v if is_number(v) and v >= 0 else None for v in values])
        for name, values in precision.items()
    ]
    return line_chart(title, series, x_label="recall", y_label="precision", y_range=(0, 1), x_range=(0, 1))


def bar_chart(
    title: str,
    bars: Sequence[Bar],
    *,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    missing: str = "no such ships",
    digits: int = 3,
) -> str:
    """One bar per label with its value above and its notes below; bars without a value say ``missing`` instead."""
    if not bars:
        return unplottable(title, "No values to draw.")
    values = [bar.value for bar in bars if is_number(bar.value)]
    y_low, y_high = y_range or (min([0.0, *values]), max([0.0, *values]) or 1.0)
    notes = max(len(bar.notes) for bar in bars)
    plot = Plot(
        (0, len(bars)), nice_ticks(y_low, y_high), bottom=28 + 20 * notes, height=HEIGHT + 20 * max(0, notes - 1)
    )
    parts = [plot.grid(y_label)]
    slot = (plot.right - plot.left) / len(bars)
    for index, bar in enumerate(bars):
        centre = plot.x(index + 0.5)
        if is_number(bar.value):
            top, base = sorted((plot.y(bar.value), plot.y(max(plot.y_low, 0.0))))
            parts.append(
                tag(
                    "rect",
                    tag("title", f"{bar.label}: {format_number(bar.value)}" + "".join(f", {n}" for n in bar.notes)),
                    x=centre - slot * 0.34,
                    y=top,
                    width=slot * 0.68,
                    height=max(base - top, 1.0 if bar.value else 0.0),
                    rx=2,
                    style=f"fill:{series_colour(0)}",
                )
            )
            parts.append(text(f"{bar.value:.{digits}f}", centre, top - 6, anchor="middle", bold=True))
        else:
            words = missing.split()
            for row, word in enumerate(words):
                y = plot.bottom - 10 - 18 * (len(words) - 1 - row)
                parts.append(text(word, centre, y, anchor="middle", colour=MUTED))
        parts.append(text(bar.label, centre, plot.bottom + 20, anchor="middle", bold=True))
        for row, note in enumerate(bar.notes):
            parts.append(text(note, centre, plot.bottom + 40 + 20 * row, anchor="middle", colour=MUTED))
    parts.append(line_between(plot.left, plot.bottom, plot.right, plot.bottom, INK))
    description = "; ".join(
        f"{bar.label}: {format_number(bar.value) if is_number(bar.value) else missing}"
        + (f" ({', '.join(bar.notes)})" if bar.notes else "")
        for bar in bars
    )
    return plot.svg(title, f"{y_label}. {description}.", *parts)


def histogram(title: str, edges: Sequence[float], counts: Sequence[int], *, x_label: str, y_label: str) -> str:
    """Counts between edges; all bins are drawn equally wide, so that edges may grow by powers of two.

    Args:
        edges: len(counts) + 1 ascending numbers; the last may be infinite.
        counts: numbers of things from one edge up to, not including, the next; written above where there are few.
    """
    if len(edges) != len(counts) + 1:
        raise ValueError(f"histogram needs one edge more than counts, received {len(edges)} and {len(counts)}")
    if not counts or not any(counts):
        return unplottable(title, "Nothing to count.")
    plot = Plot((0, len(counts)), nice_ticks(0, max(counts)))
    parts = [plot.grid(y_label)]
    written_out = len(counts) <= 8
    for index, count in enumerate(counts):
        left, right, top = plot.x(index), plot.x(index + 1), plot.y(count)
        written = f"{format_number(edges[index])} to {_edge(edges[index + 1])} {x_label}: {count}"
        parts.append(
            tag(
                "rect",
                tag("title", written),
                x=left + 1,
                y=top,
                width=max(right - left - 2, 1.0),
                height=plot.bottom - top,
                style=f"fill:{series_colour(0)}",
            )
        )
        if written_out:
            parts.append(text(format_number(count), (left + right) / 2, top - 6, anchor="middle", bold=True))
    every = math.ceil(len(edges) / 9)
    ticks = [(i, _edge(edge)) for i, edge in enumerate(edges) if i % every == 0]
    parts.append(plot.x_axis(ticks, x_label))
    most = max(range(len(counts)), key=lambda i: counts[i])
    description = (
        f"{sum(counts)} in {len(counts)} bins of {x_label}; most ({counts[most]}) from "
        f"{format_number(edges[most])} to {_edge(edges[most + 1])}."
    )
    return plot.svg(title, description, *parts)


# --- parts of lines --------------------------------------------------------------------------------------------


def _edge(value: float) -> str:
    return "∞" if math.isinf(value) else format_number(value)


def _x_ticks(low: float, high: float, integer: bool) -> list[tuple[float, str]]:
    ticks = [t for t in nice_ticks(low, high, 6) if low - 1e-9 <= t <= high + 1e-9]
    if integer:
        ticks = sorted({float(round(t)) for t in ticks if low <= round(t) <= high} | {float(round(low))})
        # The first epoch replaces a tick that would touch it.
        ticks = [t for t in ticks if t == ticks[0] or t - ticks[0] >= (high - low) * 0.06]
    return [(t, format_number(t)) for t in ticks]


def _path(plot: Plot, line: Sequence[tuple[float, float] | None]) -> str:
    commands, pen_down = [], False
    for point in line:
        if point:
            commands.append(f"{'L' if pen_down else 'M'}{plot.x(point[0]):.1f} {plot.y(point[1]):.1f}")
        pen_down = point is not None
    return "".join(commands)


def _hover_bands(plot: Plot, lines: Sequence[tuple[str, Sequence]], x_label: str) -> Markup:
    """Invisible columns around each x, whose titles list the values of all lines there."""
    at: dict[float, list[str]] = {}
    for name, line in lines:
        for point in line:
            if point:
                at.setdefault(point[0], []).append(f"{name}: {format_number(point[1])}")
    places = sorted(at)
    bands = []
    for index, place in enumerate(places):
        left = plot.left if index == 0 else plot.x((places[index - 1] + place) / 2)
        right = plot.right if index == len(places) - 1 else plot.x((place + places[index + 1]) / 2)
        written = f"{x_label} {format_number(place)}\n" + "\n".join(at[place])
        bands.append(
            tag(
                "rect",
                tag("title", written),
                class_="band",
                x=left,
                y=plot.top,
                width=right - left,
                height=plot.bottom - plot.top,
                style="fill:var(--ink,#1b2733)",
                fill_opacity="0",
            )
        )
    return tag("g", *bands)


def _summary(name: str, line: Sequence[tuple[float, float] | None]) -> str:
    values = [point for point in line if point]
    if not values:
        return f"{name} has no values"
    top = max(values, key=lambda point: point[1])
    return (
        f"{name} goes from {format_number(values[0][1])} to {format_number(values[-1][1])}, "
        f"highest {format_number(top[1])} at {format_number(top[0])}"
    )
