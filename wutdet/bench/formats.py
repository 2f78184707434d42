"""``wutdet bench formats``: error and speed of the low-bit number formats."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wutdet.bench import format_error, format_speed

log = logging.getLogger(__name__)

#: Bars: native over oracle, and decoding over copying.
LEAST_RATIO, LEAST_OF_COPY = 50, 0.5


@dataclass(frozen=True)
class FormatsBenchmark:
    """What was measured.

    Attributes:
        machine: what the speed depends on.
        gaussian: errors on normally distributed values, see ``wutdet.bench.format_error``.
        weights: errors on a checkpoint's weights; none without one.
        checkpoint: its file name.
        speed: see ``wutdet.bench.format_speed``.
    """

    machine: Mapping
    gaussian: Sequence[Mapping]
    weights: Sequence[Mapping]
    checkpoint: str | None
    speed: Sequence[Mapping]

    def to_text(self) -> str:
        lines = _error_table(
            f"mean squared error, normally distributed values, sigma {format_error.SIGMA}", self.gaussian
        )
        if self.weights:
            lines += _error_table(f"mean squared error, weights of {self.checkpoint}", self.weights)
        facts = self.machine
        lines.append(
            f"{facts['cpu']}, {facts['cores']} cores, load average before {facts.get('load_1min_before', 'unknown')}, "
            f"after {facts.get('load_1min_after', 'unknown')}; GB/s of float32, medians of runs in turn"
        )
        for mib in dict.fromkeys(row["mib"] for row in self.speed):
            lines += _speed_table([row for row in self.speed if row["mib"] == mib])
        lines += [
            "  new: into a new array, whose memory the system gives first; faster: times the oracle's speed, both into "
            "new arrays; of copy: decoding beside copying, into arrays that are there",
            f"  bars: {LEAST_RATIO} times faster to encode (E) and to decode (D), {LEAST_OF_COPY:g} of the speed of "
            "copying (C); letters say which were missed",
        ]
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.bench-formats/1",
            "machine": dict(self.machine),
            "sigma": format_error.SIGMA,
            "gaussian": [dict(row) for row in self.gaussian],
            "checkpoint": self.checkpoint,
            "weights": [dict(row) for row in self.weights],
            "speed": [dict(row) for row in self.speed],
            "bars": {"ratio": LEAST_RATIO, "decode_of_copy": LEAST_OF_COPY},
        }


def run_formats(checkpoint: str | None = None) -> FormatsBenchmark:
    """Measures errors and speed; about 3 minutes on 2 cores and 4 GB of memory.

    Args:
        checkpoint: a trained detector whose weights are rounded as well.

    Raises:
        ModelError: not the checkpoint of a detector.
    """
    from wutdet.bench.timing import machine

    weights = [] if checkpoint is None else format_error.weight_errors(format_error.checkpoint_weights(checkpoint))
    log.info("formats: errors on normally distributed values")
    gaussian = format_error.gaussian_errors()
    facts = machine()
    speed = format_speed.measure(format_speed.LARGE)
    speed += format_speed.measure(format_speed.SMALL, rounds=51, oracle_rounds=9)
    if hasattr(os, "getloadavg"):
        facts["load_1min_after"] = round(os.getloadavg()[0], 2)
    return FormatsBenchmark(facts, gaussian, weights, None if checkpoint is None else Path(checkpoint).name, speed)


def _speed_table(rows: Sequence[Mapping]) -> list[str]:
    copying = ", ".join(
        f"{row['copy_gb_s']:.2f} (new {row['copy_new_gb_s']:.2f}) with {row['threads']} threads"
        for row in {row["threads"]: row for row in rows}.values()
    )
    lines = [
        f"  {rows[0]['mib']:g} MiB of float32; copying {copying}",
        f"  {'format':<17} {'thr':>3} {'encode':>7} {'decode':>7} {'new':>6} {'oracle: encode':>14} {'decode':>7} "
        f"{'faster: encode':>14} {'decode':>7} {'of copy':>8}",
    ]
    for row in rows:
        name = " ".join([row["format"], *map(str, row["options"].values())])
        missed = "E" * (row["encode_ratio"] < LEAST_RATIO) + "D" * (row["decode_ratio"] < LEAST_RATIO)
        missed += "C" * (row["decode_of_copy"] < LEAST_OF_COPY)
        lines.append(
            f"  {name:<17} {row['threads']:>3} {row['encode_gb_s']:>7.2f} {row['decode_gb_s']:>7.2f} "
            f"{row['decode_new_gb_s']:>6.2f} {row['oracle_encode_gb_s']:>14.4f} {row['oracle_decode_gb_s']:>7.4f} "
            f"{row['encode_ratio']:>14.0f} {row['decode_ratio']:>7.0f} {row['decode_of_copy']:>8.2f}  {missed}".rstrip()
        )
    return lines


def _error_table(title: str, rows: Sequence[Mapping]) -> list[str]:
    lines = [title, f"  {'format':<22} {'mse':>11} {'of signal':>10} {'to HiF4':>8} {'published':>9}"]
    for row in rows:
        published = "" if row["published"] is None else f"{row['published']:.2f}"
        lines.append(
            f"  {row['format']:<22} {row['mse']:>11.4e} {row['mse'] / row['signal']:>10.4%} {row['ratio']:>8.3f} "
            f"{published:>9}"
        )
    return lines
