"""The picture of ``wutdet data stats --plot``, drawn with cv2 alone (the base install has no plotting library)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.dataset.stats import SLICES, counted_sizes, octaves
from wutdet.errors import WutdetError
from wutdet.files import write_bytes

WIDTH_PX = 1600
TOP_PX = 660
ROW_PX = 34
MOST_ROWS = 24

# BGR. Colours of Okabe and Ito, which colour-blind readers tell apart.
_INK, _GREY, _FAINT, _PAPER = (40, 36, 32), (130, 124, 118), (228, 225, 222), (255, 255, 255)
_SMALL, _MEDIUM, _LARGE = (0, 94, 213), (115, 158, 0), (178, 114, 0)
_FRAME, _INPUT = (233, 180, 86), (0, 94, 213)


def write_stats_picture(path: str | Path, dataset: Dataset, figures: dict) -> None:
    """Draws the picture and writes it; the file's ending decides the format.

    Raises:
        WutdetError: an ending that cv2 does not know, or the file cannot be written.
    """
    path = Path(path)
    if not cv2.haveImageWriter(path.name):
        raise WutdetError(f"'{path.suffix}' is not a picture format", file=path, hint="name it .png")
    ok, data = cv2.imencode(path.suffix, draw_stats(dataset, figures))
    assert ok
    write_bytes(path, data.tobytes())


def draw_stats(dataset: Dataset, figures: dict) -> np.ndarray:
    """uint8 [H, 1600, 3] BGR: ship sizes, ships per image, and sizes per scene, condition, source and split.

    Args:
        dataset: the data set that the figures are of.
        figures: of stats.statistics.
    """
    rows = [("all", "", figures)]
    rows += [(kind, name, part) for kind in SLICES for name, part in figures["slices"][kind].items()]
    hidden = max(0, len(rows) - MOST_ROWS)
    rows = rows[:MOST_ROWS]
    height = TOP_PX + 76 + ROW_PX * (len(rows) + bool(hidden)) + 30
    canvas = np.full((height, WIDTH_PX, 3), _PAPER, dtype=np.uint8)
    _text(canvas, figures["name"] or "data set", (60, 56), 1.0, thick=2)
    _text(
        canvas,
        f"{figures['images']:,} images ({figures['images_without_ships']:,} without ships), {figures['boxes']:,} boxes"
        f" ({figures['ignored_boxes']:,} ignored), {figures['sequences']:,} sequences",
        (60, 90),
        0.6,
        _GREY,
    )
    imgsz = figures["sizes"]["input"]["imgsz"]
    _draw_sizes(canvas, (90, 190, 980, 560), counted_sizes(dataset, imgsz), imgsz)
    _draw_density(canvas, (1110, 214, 1540, 560), figures["boxes_per_image"])
    _draw_slices(canvas, TOP_PX, rows, hidden)
    return canvas


def _draw_sizes(canvas, area, sizes: tuple[np.ndarray, np.ndarray], imgsz: int) -> None:
    """Histogram over log2 of sqrt(area): filled in frame pixels, as a line in network-input pixels."""
    x0, y0, x1, y1 = area
    _text(canvas, "Ship size: sqrt(area) in pixels (log axis)", (x0 - 30, y0 - 44), 0.7, thick=2)
    edges = np.arange(0, 10.01, 0.25)  # 1 to 1024 px, four bins per octave; the outer bins take the rest
    counts = [np.histogram(np.clip(np.log2(np.maximum(s, 1e-9)), 0, 9.999), edges)[0] for s in sizes]
    most = max(1, *(int(c.max()) for c in counts))
    _y_axis(canvas, area, most, "boxes")

    def x_of(log2_px: float) -> int:
        return round(x0 + (x1 - x0) * log2_px / 10)

    def y_of(count: float) -> int:
        return round(y1 - (y1 - y0) * count / (1.05 * most))

    for left, right, count in zip(edges[:-1], edges[1:], counts[0], strict=True):
        if count:
            cv2.rectangle(canvas, (x_of(left) + 1, y_of(count)), (x_of(right) - 1, y1), _FRAME, -1)
    for px, name in ((32, "COCO small | medium"), (96, "medium | large")):
        x = x_of(np.log2(px))
        cv2.line(canvas, (x, y0), (x, y1), _GREY, 1)
        _text(canvas, name, (x, y0 - 8), 0.42, _GREY, anchor=0.5)
    steps = []
    for left, right, count in zip(edges[:-1], edges[1:], counts[1], strict=True):
        steps += [(x_of(left), y_of(count)), (x_of(right), y_of(count))]
    cv2.polylines(canvas, [np.array(steps, dtype=np.int32)], False, _INPUT, 2, cv2.LINE_AA)
    cv2.line(canvas, (x0, y1), (x1, y1), _INK, 1)
    for exponent in range(11):
        x = x_of(exponent)
        cv2.line(canvas, (x, y1), (x, y1 + 6), _INK, 1)
        label = str(2**exponent)
        label = f"<={label}" if exponent == 0 else f"{label}+" if exponent == 10 else label
        _text(canvas, label, (x, y1 + 26), 0.5, anchor=0.5)
    y = y1 + 58
    cv2.rectangle(canvas, (x0, y - 12), (x0 + 26, y + 2), _FRAME, -1)
    _text(canvas, "in frame pixels", (x0 + 36, y), 0.5)
    cv2.line(canvas, (x0 + 220, y - 5), (x0 + 246, y - 5), _INPUT, 2)
    _text(canvas, f"in network-input pixels (long side {imgsz})", (x0 + 256, y), 0.5)


def _draw_density(canvas, area, density: dict) -> None:
    x0, y0, x1, y1 = area
    _text(canvas, "Ships per image", (x0 - 30, y0 - 68), 0.7, thick=2)
    if density["max"] is not None:
        _text(
            canvas,
            f"mean {density['mean']:.2f}   median {density['median']:g}   95 % up to {density['p95']:g}"
            f"   most {density['max']}",
            (x0 - 30, y0 - 40),
            0.48,
            _GREY,
        )
    bins = octaves(density["histogram"])
    most = max(1, *bins.values()) if bins else 1
    _y_axis(canvas, area, most, "images")
    step = (x1 - x0) / max(len(bins), 1)
    for index, (name, images) in enumerate(bins.items()):
        left, right = round(x0 + step * (index + 0.12)), round(x0 + step * (index + 0.88))
        top = round(y1 - (y1 - y0) * images / (1.05 * most))
        if images:
            cv2.rectangle(canvas, (left, top), (right, y1), _FRAME, -1)
            _text(canvas, f"{images:,}", ((left + right) // 2, top - 6), 0.42, _GREY, anchor=0.5)
        _text(canvas, name, ((left + right) // 2, y1 + 26), 0.5 if len(bins) < 9 else 0.4, anchor=0.5)
    cv2.line(canvas, (x0, y1), (x1, y1), _INK, 1)


def _draw_slices(canvas, top: int, rows: list, hidden: int) -> None:
    """A row per slice: how its boxes divide into COCO small, medium and large, and its counts."""
    x0, x1, columns = 420, 1090, (1190, 1300, 1420, 1540)
    _text(canvas, "Sizes by slice", (60, top + 20), 0.7, thick=2)
    x = x0
    for name, colour in (("small < 32 px", _SMALL), ("medium", _MEDIUM), ("large >= 96 px", _LARGE)):
        cv2.rectangle(canvas, (x, top + 6), (x + 20, top + 20), colour, -1)
        _text(canvas, name, (x + 28, top + 20), 0.5)
        x += 190
    for x, title in zip(columns, ("images", "boxes", "per image", "median px"), strict=True):
        _text(canvas, title, (x, top + 20), 0.5, _GREY, anchor=1.0)
    previous = None
    for index, (kind, name, part) in enumerate(rows):
        y = top + 44 + ROW_PX * index
        if kind != previous:
            cv2.line(canvas, (60, y - 4), (1540, y - 4), _FAINT, 1)
            _text(canvas, kind, (60, y + 19), 0.55, thick=2 if kind == "all" else 1)
        previous = kind
        _text(canvas, name if len(name) <= 24 else name[:22] + "..", (170, y + 19), 0.55)
        share = part["sizes"]["coco_share"]
        left = float(x0)
        for size, colour in (("small", _SMALL), ("medium", _MEDIUM), ("large", _LARGE)):
            width = (x1 - x0) * (share[size] or 0)
            if round(left + width) > round(left):
                cv2.rectangle(canvas, (round(left), y + 3), (round(left + width) - 1, y + 24), colour, -1)
            if width > 46:
                _text(canvas, f"{100 * share[size]:.0f} %", (round(left + width / 2), y + 19), 0.48, _PAPER, anchor=0.5)
            left += width
        mean, median = part["boxes_per_image"]["mean"], part["sizes"]["sqrt_area"]["p50"]
        values = (
            f"{part['images']:,}",
            f"{part['boxes']:,}",
            "-" if mean is None else f"{mean:.2f}",
            "-" if median is None else f"{median:.1f}",
        )
        for x, value in zip(columns, values, strict=True):
            _text(canvas, value, (x, y + 19), 0.52, anchor=1.0)
    if hidden:
        _text(canvas, f"and {hidden} more: see --json", (170, top + 44 + ROW_PX * len(rows) + 19), 0.5, _GREY)


def _y_axis(canvas, area, most: int, unit: str) -> None:
    """Grid lines at round numbers."""
    x0, y0, x1, y1 = area
    step = max(1, next(s for e in range(12) for s in (10**e, 2 * 10**e, 5 * 10**e) if most / s <= 6))
    for value in range(0, most + 1, step):
        y = round(y1 - (y1 - y0) * value / (1.05 * most))
        cv2.line(canvas, (x0, y), (x1, y), _FAINT, 1)
        _text(canvas, f"{value:,}", (x0 - 8, y + 5), 0.45, _GREY, anchor=1.0)
    _text(canvas, unit, (x0 - 8, y0 - 8), 0.45, _GREY, anchor=1.0)


def _text(canvas, text: str, at: tuple[int, int], scale: float, colour=_INK, anchor: float = 0.0, thick: int = 1):
    """Text on its baseline; ``anchor`` 0 is left, 0.5 centred, 1 right of ``at``. cv2's fonts are ASCII."""
    text = text.encode("ascii", "replace").decode("ascii")
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    origin = (round(at[0] - anchor * width), at[1])
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thick, cv2.LINE_AA)
