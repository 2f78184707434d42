"""``wutdet bench merge``: how long the boxes of tiles take to become one list."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wutdet.bench.timing import machine
from wutdet.errors import UsageError
from wutdet.runtime.merge import doubted, merge_passes
from wutdet.runtime.tile_policy import tile_windows

#: Bar: milliseconds for ``BAR_BOXES`` boxes of ships of 24 px. SAHI 0.12.5 states 25 ms for its NMS of as many.
BAR_MS, BAR_BOXES = 5.0, 10_000
_FRAME_WH = (1920, 1080)
#: Boxes, mean side in pixels, and ships: fewer ships than boxes means that passes see the same ones.
_SCENES = ((1_000, 24, 1_000), (10_000, 24, 10_000), (10_000, 24, 2_000), (10_000, 96, 2_000), (30_000, 24, 30_000))


@dataclass(frozen=True)
class MergeBenchmark:
    """What was measured.

    Attributes:
        machine: what it depends on.
        rows: boxes, ships, side_px (mean), kept, median_ms, p95_ms, cpu_ms (median CPU time).
    """

    machine: Mapping
    rows: Sequence[Mapping]

    def to_text(self) -> str:
        lines = [
            f"{self.machine['cpu']}: boxes of 8 tiles and the whole of a 1080p frame, one thread",
            f"  {'boxes':>7} {'ships':>7} {'side px':>7} {'kept':>7} {'ms':>7} {'p95':>7} {'CPU ms':>7}",
        ]
        for row in self.rows:
            lines.append(
                f"  {row['boxes']:>7,} {row['ships']:>7,} {row['side_px']:>7} {row['kept']:>7,} "
                f"{row['median_ms']:>7.2f} {row['p95_ms']:>7.2f} {row['cpu_ms']:>7.2f}"
            )
        bar = max(row["median_ms"] for row in self.rows if (row["boxes"], row["side_px"]) == (BAR_BOXES, 24))
        lines.append(f"  {BAR_BOXES:,} boxes of small ships: {bar:.2f} ms (bar {BAR_MS:g} ms): "
                     f"{'ok' if bar <= BAR_MS else 'MISSED'}")  # fmt: skip
        return "\n".join(lines)

    def to_json(self) -> dict:
        rows = [dict(row) for row in self.rows]
        return {"schema": "wutdet.bench-merge/1", "machine": dict(self.machine), "rows": rows, "bar_ms": BAR_MS}


def run_merge(runs: int) -> MergeBenchmark:
    """Merges seeded boxes of several crowds, ``runs`` times each.

    Raises:
        UsageError: fewer than one run.
    """
    if runs < 1:
        raise UsageError(f"--runs must be at least 1, received {runs}")
    rows = []
    for boxes, side, ships in _SCENES:
        columns = seen_boxes(boxes, side, ships)
        _, score, _, window = columns
        passes = np.unique(window, axis=0)
        scale = np.ones(len(passes))
        wall, cpu, keep = [], [], np.zeros(0)
        for _ in range(runs + 1):
            start, busy = time.perf_counter(), time.process_time()
            keep, moved, agreed = merge_passes(*columns, _FRAME_WH, passes=passes)
            doubted(moved, score[keep], window[keep], agreed, passes, scale, _FRAME_WH)
            wall.append((time.perf_counter() - start) * 1000)
            cpu.append((time.process_time() - busy) * 1000)
        wall, cpu = wall[1:], cpu[1:]  # the first run gets its memory from the system
        rows.append(
            {
                "boxes": len(columns[0]),
                "ships": ships,
                "side_px": side,
                "kept": len(keep),
                "median_ms": round(float(np.median(wall)), 3),
                "p95_ms": round(float(np.percentile(wall, 95)), 3),
                "cpu_ms": round(float(np.median(cpu)), 3),
            }
        )
    return MergeBenchmark(machine(), rows)


def seen_boxes(boxes: int, side: float, ships: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Exactly ``boxes`` boxes as passes over a 1080p frame see ``ships`` ships: xyxy, score, category, window."""
    rng = np.random.default_rng(seed)
    windows = np.concatenate([tile_windows(_FRAME_WH, 640, 0.2), [[0, 0, *_FRAME_WH]]]).astype(np.int32)
    corner = rng.random((ships, 2)) * _FRAME_WH
    ship = np.concatenate([corner, corner + rng.gamma(4, side / 4, (ships, 2)) + 2], axis=1)
    xyxy, window = [], []
    while sum(map(len, xyxy)) < boxes:
        shown = windows[rng.integers(0, len(windows), boxes)]
        box = ship[rng.integers(0, ships, boxes)] + rng.normal(0, 1, (boxes, 4))
        box = np.clip(box, np.tile(shown[:, :2], 2), np.tile(shown[:, 2:], 2)).astype(np.float32)
        inside = (box[:, 2:] - box[:, :2] > 1).all(axis=1)
        xyxy.append(box[inside])
        window.append(shown[inside])
    score = rng.random(boxes).astype(np.float32)
    return np.concatenate(xyxy)[:boxes], score, np.zeros(boxes, np.int32), np.concatenate(window)[:boxes]
