"""``wutdet bench``: artefacts timed side by side in one run; with ``--against``, beside other engines."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.config import BenchConfig
from wutdet.errors import DataError, ModelError, UsageError

log = logging.getLogger(__name__)

SCHEMA = "wutdet.bench/1"

# Names in the place of models: benchmarks that measure something else, and the option that each of them takes.
_BENCHMARKS = {
    "index": ("wutdet.bench.index:run_index_benchmark", "work"),
    "eval": ("wutdet.bench.evaluation:run_evaluation_benchmark", "work"),
    "coverage": ("wutdet.bench.coverage:run_coverage", "work"),
    "formats": ("wutdet.bench.formats:run_formats", "checkpoint"),
    "bakeoff": ("wutdet.bench.bakeoff:run_bakeoff", "bakeoff"),
    "merge": ("wutdet.bench.merge:run_merge", "runs"),
    "lowbit": ("wutdet.bench.lowbit:run_lowbit", "lowbit"),
}


@dataclass(frozen=True)
class BenchResult:
    """Timings.

    Attributes:
        machine: what they depend on.
        frame: what was looked at.
        rows: one per artefact: engine, model, format, threads, imgsz, median_ms, p95_ms, pre/net/post_ms, size_bytes.
    """

    machine: Mapping
    frame: str
    rows: Sequence[Mapping]

    def to_text(self) -> str:
        facts = self.machine
        lines = [
            f"{facts['cpu']}, {facts['cores']} cores ({' '.join(facts['instructions'])}), "
            f"onnxruntime {facts['onnxruntime']}; {self.frame}",
            f"{'model':32} {'format':7} {'input':>9} {'thr':>3} {'median':>8} {'p95':>8} {'pre':>6} {'net':>8} "
            f"{'post':>6} {'MB':>6}",
        ]
        for row in self.rows:
            lines.append(
                f"{row['model'][-32:]:32} {row['format']:7} {row['input']:>9} {row['threads']:>3} "
                f"{row['median_ms']:>8.2f} {row['p95_ms']:>8.2f} {row['pre_ms']:>6.2f} {row['net_ms']:>8.2f} "
                f"{row['post_ms']:>6.2f} {row['size_bytes'] / 1e6:>6.1f}"
            )
        lines.append("milliseconds, batch 1, from pixels to boxes; pre + net + post, reading not counted")
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": SCHEMA,
            "machine": dict(self.machine),
            "frame": self.frame,
            "rows": [dict(row) for row in self.rows],
        }


def run(config: BenchConfig):
    """Times artefacts, or runs the benchmark named ``index``, ``eval``, ``coverage``, ``formats``, ``bakeoff``,
    ``lowbit`` or ``merge``.

    Raises:
        UsageError: one of these names beside models, or runs below 1.
        ModelError: a model cannot be read.
        DataError: no picture to run on.
    """
    for name in _BENCHMARKS:
        if name in config.models:
            if len(config.models) > 1:
                raise UsageError(f"'{name}' is a benchmark of its own", hint=f"run 'wutdet bench {name}' alone")
            place, option = _BENCHMARKS[name]
            module, function = place.split(":")
            return getattr(importlib.import_module(module), function)(getattr(config, option))
    if not config.models:
        raise UsageError(
            "no model to time", hint=f"name artefacts or 'default', or one of the benchmarks {', '.join(_BENCHMARKS)}"
        )
    if config.runs < 1 or config.warmup < 0:
        raise UsageError(f"--runs must be at least 1 and --warmup at least 0, received {config.runs}, {config.warmup}")
    if not config.threads or min(config.threads) < 0:
        raise UsageError(f"--threads must be 0 or more, received {config.threads}")
    if config.against or config.layers:
        from wutdet.bench.side_by_side import run_side_by_side

        return run_side_by_side(config)
    from wutdet.bench.timing import machine, time_detectors
    from wutdet.runtime.detector import Detector

    facts = machine()
    with tempfile.TemporaryDirectory(prefix="wutdet-bench-") as folder:
        files = _artefacts(config, Path(folder))
        detectors = [Detector(file, threads=threads) for threads in config.threads for _, file in files]
        frames, what = load_frames(config.images, Path(folder))
        log.info("timing %d detectors, %d runs each, interleaved", len(detectors), config.runs)
        timings = time_detectors(detectors, frames, config.runs, config.warmup)
        rows = []
        for index, (detector, timing) in enumerate(zip(detectors, timings, strict=True)):
            threads = config.threads[index // len(files)]
            name, file = files[index % len(files)]
            width, height = detector.backend.fixed_input_wh or (detector.imgsz, detector.imgsz)
            rows.append(
                {
                    "engine": detector.backend.name,
                    "model": name,
                    "format": detector.metadata.weight_format,
                    "threads": threads or facts["cores"],
                    "imgsz": detector.imgsz,
                    "input": f"{width}x{height}",
                    **timing.to_json(),
                    "size_bytes": file.stat().st_size,
                }
            )
    return BenchResult(facts, what, rows)


def _artefacts(config: BenchConfig, folder: Path) -> list[tuple[str, Path]]:
    """Names and files; an architecture's name becomes artefacts with seeded random weights."""
    from wutdet.bench.random_models import is_architecture, random_artefacts

    found = []
    for name in config.models:
        if is_architecture(name):
            files = random_artefacts(name, config.imgsz, config.formats, config.categories, folder / Path(name).stem)
        else:
            files = [find_artefact(name)]
        found += [(Path(name).name, file) for file in files]
    return found


def find_artefact(name: str) -> Path:
    """The artefact that a file name or a released name means.

    Raises:
        ModelError: no such file, or a checkpoint.
    """
    from wutdet.runtime.model_files import ARTEFACT_SUFFIXES, find_model

    file = find_model(name)
    if file.suffix.lower() not in ARTEFACT_SUFFIXES:
        raise ModelError(
            "bench times artefacts (.onnx)", file=file, hint="make one with 'wutdet export'; checkpoints train, not run"
        )
    return file


def load_frames(images: str | None, folder: Path) -> tuple[list[np.ndarray], str]:
    """At most 8 frames, uint8 [H, W, 3] BGR, and what they are.

    Raises:
        DataError: no pictures, or one that cannot be read.
    """
    from wutdet.images import list_images, read_image

    if images is None:
        from wutdet.scenes.render import render_dataset

        log.info("rendering a frame to run on")
        render_dataset(folder / "scene", sequences=1, frames=1, seed=0, workers=1)
        found = list_images(folder / "scene")
        what = "one rendered frame"
    else:
        path = Path(images)
        found = list_images(path)[:8] if path.is_dir() else [path]
        what = f"{len(found)} pictures of {images}"
    if not found:
        raise DataError("no pictures to run on", file=images)
    frames = [read_image(file) for file in found]
    sizes = sorted({f"{f.shape[1]}x{f.shape[0]}" for f in frames})
    return frames, f"{what} ({', '.join(sizes)})"
