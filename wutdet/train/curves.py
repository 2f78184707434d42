"""curves.png: losses and AP over the epochs, drawn with OpenCV (no fonts, no plotting package)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from wutdet.files import write_bytes

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 640, 420, 64, 40, 44, 16
_INK, _GRID, _PAPER = (60, 60, 60), (225, 225, 225), (255, 255, 255)
#: BGR of the lines; distinguishable without colour vision in this order.
_LINES = ((178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204))


def draw_curves(file: Path, rows: Sequence[Mapping]) -> None:
    """Writes the picture of ``metrics.jsonl``; see MetricsLog."""
    losses = {name: [(row["epoch"], row["train"][name]) for row in rows] for name in (rows[0]["train"] if rows else ())}
    scores = {
        name: [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
        for name in ("AP", "AP50", "APs", "AR100")
    }
    picture = np.hstack([panel("training loss", losses), panel("validation", scores)])
    ok, data = cv2.imencode(".png", picture)
    assert ok, "encoding a uint8 picture in memory cannot fail"
    write_bytes(file, data.tobytes())


def panel(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> np.ndarray:
    """uint8 [420, 640, 3]: one chart; each line is a list of (epoch, value)."""
    picture = np.full((_HEIGHT, _WIDTH, 3), _PAPER, np.uint8)
    lines = {name: points for name, points in lines.items() if points}
    _text(picture, title, (_LEFT, 24), 0.55)
    if not lines:
        _text(picture, "nothing yet", (_LEFT, _HEIGHT // 2), 0.5)
        return picture
    everything = np.array([point for points in lines.values() for point in points], dtype=np.float64)
    x_low, x_high = everything[:, 0].min(), max(everything[:, 0].max(), everything[:, 0].min() + 1)
    y_ticks = _ticks(0.0, max(everything[:, 1].max(), 1e-6))
    y_high = y_ticks[-1]

    def place(x: float, y: float) -> tuple[int, int]:
        right, low = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        return (
            round(_LEFT + (x - x_low) / (x_high - x_low) * (right - _LEFT)),
            round(low - y / y_high * (low - _TOP)),
        )

    for value in y_ticks:
        cv2.line(picture, place(x_low, value), place(x_high, value), _GRID, 1)
        _text(picture, f"{value:g}", (8, place(x_low, value)[1] + 4), 0.4)
    for epoch in sorted({round(v) for v in np.linspace(x_low, x_high, 6)}):
        _text(picture, str(epoch), (place(epoch, 0)[0] - 6, _HEIGHT - _BOTTOM + 18), 0.4)
    _text(picture, "epoch", (_WIDTH // 2, _HEIGHT - 8), 0.4)
    for number, (name, points) in enumerate(lines.items()):
        colour = _LINES[number % len(_LINES)]
        pixels = np.array([place(x, y) for x, y in points], np.int32)
        cv2.polylines(picture, [pixels], False, colour, 2, cv2.LINE_AA)
        for pixel in pixels if len(pixels) < 40 else ():
            cv2.circle(picture, tuple(int(v) for v in pixel), 3, colour, -1, cv2.LINE_AA)
        left = _LEFT + 150 + 110 * number
        cv2.line(picture, (left, 20), (left + 18, 20), colour, 2, cv2.LINE_AA)
        _text(picture, name, (left + 24, 24), 0.45)
    return picture


def _ticks(low: float, high: float) -> np.ndarray:
    """Four to ten round values from ``low`` to at least ``high``."""
    raw = (high - low) / 5
    magnitude = 10.0 ** np.floor(np.log10(raw))
    step = magnitude * next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw - 1e-12)
    return low + step * np.arange(int(np.ceil((high - low) / step - 1e-9)) + 1)


def _text(picture: np.ndarray, text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
