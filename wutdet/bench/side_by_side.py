"""``wutdet bench MODEL --against ...``: our engine beside others in one run, interleaved frame by frame."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wutdet.bench.engines import RIVALS, Artefact, Variant, engine_module, version_of
from wutdet.bench.engines.process import EngineError, EngineProcess
from wutdet.config import BenchConfig
from wutdet.errors import UsageError, suggest

log = logging.getLogger(__name__)

SCHEMA = "wutdet.bench/1"
#: Runs of one engine with a clock at every layer; the least time of each layer counts.
LAYER_RUNS = 20


@dataclass(frozen=True)
class SideBySide:
    """Timings of networks, from network input to outputs.

    Attributes:
        machine: what they depend on, and the measured peak of one core.
        frame: what was looked at.
        rows: one per file, engine and number of threads; rows that could not be run have ``absent``.
        layers: per native row that was asked for: its steps.
        notes: what a reader must know.
    """

    machine: Mapping
    frame: str
    rows: Sequence[Mapping]
    layers: Sequence[Mapping]
    notes: Sequence[str]

    def to_text(self) -> str:
        facts = self.machine
        peak = ", ".join(f"{kind} {value:.0f} GMAC/s" for kind, value in facts["peak_gmacs"].items() if value)
        lines = [
            f"{facts['cpu']}, {facts['cores']} cores ({' '.join(facts['instructions'])}); {self.frame}",
            f"peak of one core, measured with {facts['peak_kernels']}: {peak or 'unknown'}",
            f"{'model':20} {'input':>9} {'engine':11} {'format':6} {'file made by':22} {'thr':>3} {'median':>8} "
            f"{'p95':>8} {'best':>8} {'ratio':>6} {'GMAC/s':>7} {'peak':>5} {'MB':>6} {'load':>7} {'RAM MB':>7} "
            f"{'AP':>6}",
        ]
        for row in self.rows:
            start = (
                f"{row['model'][-20:]:20} {row['input']:>9} {row['engine']:11} {row['format']:6} {row['made'][:22]:22} "
            )
            if row["absent"]:
                lines.append(f"{start}{row['threads']:>3} {row['absent']}")
                continue
            share = "" if row["peak_share"] is None else f"{row['peak_share']:.0%}"
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}" + ("*" if row["fastest_rival"] else "")
            ap = "" if row.get("AP") is None else f"{row['AP']:.4f}"
            lines.append(
                f"{start}{row['threads']:>3} {row['median_ms']:>8.2f} {row['p95_ms']:>8.2f} {row['min_ms']:>8.2f} "
                f"{ratio:>6} {row['gmacs']:>7.1f} {share:>5} {row['size_bytes'] / 1e6:>6.1f} {row['load_ms']:>7.0f} "
                f"{row['engine_memory_bytes'] / 1e6:>7.0f} {ap:>6}"
            )
        lines.append(
            "milliseconds, batch 1, the network alone; ratio: median of the fastest rival (*) with as many threads "
            "over this row's, from 1 up we are faster; RAM: peak above Python and the frames"
        )
        lines.extend(self.notes)
        for table in self.layers:
            lines.extend(_layer_lines(table))
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": SCHEMA,
            "timed": "network",
            "machine": dict(self.machine),
            "frame": self.frame,
            "rows": [dict(row) for row in self.rows],
            "layers": [dict(table) for table in self.layers],
            "notes": list(self.notes),
        }


def _layer_lines(table: Mapping) -> list[str]:
    lines = [
        "",
        f"layers of {table['model']}, {table['format']}, {table['threads']} threads, {table['about']}: least of "
        f"{LAYER_RUNS} runs",
        f"{'us':>9} {'share':>6} {'GMAC/s':>7} {'kind':14} {'shape':32} name",
    ]
    whole = sum(step["us"] for step in table["steps"]) or 1
    for step in table["steps"]:
        speed = f"{step['gmacs']:.1f}" if step["multiplications"] else ""
        lines.append(
            f"{step['us']:>9.1f} {step['us'] / whole:>6.1%} {speed:>7} {step['kind']:14} {step['shape']:32} "
            f"{step['name']}"
        )
    return [*lines, f"{whole:>9.1f} sum"] if table["steps"] else [*lines, "this program tells no layers"]


def run_side_by_side(config: BenchConfig) -> SideBySide:
    """Times every model on the native engine and on the engines of ``--against``.

    Raises:
        UsageError: an unknown engine.
        ModelError: a model cannot be read.
        DataError: no picture to run on, or a data set that cannot be read.
    """
    from wutdet.bench.run import load_frames
    from wutdet.bench.timing import machine

    rivals = _rivals(config.against)
    facts = {**machine(), **_peaks()}
    with tempfile.TemporaryDirectory(prefix="wutdet-bench-") as temporary:
        folder = Path(temporary)
        artefacts, notes = _artefacts(config, folder)
        frames, what = load_frames(config.images, folder)
        variants = []
        for imgsz_hw in dict.fromkeys(one.imgsz_hw for one in artefacts):
            group = [one for one in artefacts if one.imgsz_hw == imgsz_hw]
            calibration = _calibration(config, frames, imgsz_hw) if rivals else []
            for name in ("native", *rivals):
                log.info("%s: preparing files of input %dx%d", name, imgsz_hw[1], imgsz_hw[0])
                place = folder / f"{name}-{imgsz_hw[0]}x{imgsz_hw[1]}"
                place.mkdir()
                variants += engine_module(name).prepare(group, calibration, place)
            np.save(_frames_file(folder, imgsz_hw), np.stack(_network_inputs(frames, imgsz_hw)))
        rows, layers = _time(variants, config, folder, facts)
        if config.data is not None:
            rows = _with_accuracy(rows, variants, config.data)
    if rivals and config.calib is None:
        notes.append(
            "rivals' own int8 files are calibrated on the timed frames (--calib names better ones): no accuracy"
        )
    _add_ratios(rows)
    facts["versions"] = {p: version_of(p) for name in ("native", *rivals) for p in engine_module(name).VERSION_OF}
    return SideBySide(facts, what, rows, layers, notes)


def _rivals(words: Sequence[str]) -> list[str]:
    names = [name for word in words for name in word.split(",") if name]
    for name in names:
        if name not in RIVALS:
            raise UsageError(f"unknown engine '{name}'.{suggest(name, RIVALS)}", hint=f"known: {', '.join(RIVALS)}")
    return list(dict.fromkeys(names))


def _peaks() -> dict:
    """Multiply-adds of one core per second with the fastest instructions that the engine would use here."""
    from wutdet import _kernels

    kernels = _kernels._conv_chosen()
    figures = {kind: round(_kernels._peak_macs(kernels, kind == "fp32") / 1e9, 1) for kind in ("int8", "fp32")}
    return {"peak_kernels": kernels, "peak_gmacs": figures}


def _artefacts(config: BenchConfig, folder: Path) -> tuple[list[Artefact], list[str]]:
    """Files to time, random ones included, and what must be said of them."""
    from wutdet.bench.multiplications import multiplications
    from wutdet.bench.random_models import is_architecture, random_artefacts
    from wutdet.bench.run import find_artefact
    from wutdet.runtime.native_backend import NativeBackend

    found, notes = [], []
    for name in config.models:
        if is_architecture(name):
            stem = Path(name).stem
            place = folder / f"random-{stem}"
            files = random_artefacts(name, config.imgsz, config.formats, config.categories, place)
            found += [(stem, file) for file in files]
            notes.append(f"{stem}: seeded random weights, {config.categories} categories; its boxes mean nothing")
        else:
            found.append(("", find_artefact(name)))
    artefacts = []
    for stem, file in found:
        metadata = NativeBackend(file, 1).metadata
        digest = metadata.source_digest[:6]
        model = stem or " ".join(part for part in (metadata.architecture or file.stem, digest) if part)
        integer = str(metadata.quantisation.get("activations", "")).startswith("uint8")
        size, count = metadata.imgsz_hw, multiplications(file)
        artefacts.append(Artefact(model, file, metadata.weight_format, size, count, integer))
    return artefacts, notes


def _network_inputs(frames: Sequence[np.ndarray], imgsz_hw: tuple[int, int]) -> list[np.ndarray]:
    from wutdet.boxes import Letterbox
    from wutdet.images import to_network_input

    height, width = imgsz_hw
    return [
        to_network_input(Letterbox.fit((frame.shape[1], frame.shape[0]), (width, height)).apply(frame))
        for frame in frames
    ]


def _calibration(config: BenchConfig, frames: Sequence[np.ndarray], imgsz_hw: tuple[int, int]) -> list[np.ndarray]:
    """Network inputs for the rivals' own quantisers."""
    if config.calib is None:
        return _network_inputs(frames, imgsz_hw)
    from wutdet.dataset.load import load_dataset
    from wutdet.quantize.calibrate import choose_frames

    chosen = choose_frames(load_dataset(config.calib), "train", config.calib_images, seed=0)
    return list(chosen.network_inputs(imgsz_hw))


def _frames_file(folder: Path, imgsz_hw: tuple[int, int]) -> Path:
    return folder / f"frames-{imgsz_hw[0]}x{imgsz_hw[1]}.npy"


def _time(
    variants: Sequence[Variant], config: BenchConfig, folder: Path, facts: Mapping
) -> tuple[list[dict], list[dict]]:
    """Rows in the order of threads and variants, and layers. All engines stay loaded; every turn of every engine is one
    run that is not timed, so that its data is in the caches, and one that is; who begins changes from frame to frame.
    """
    rows, running = [], []
    try:
        for threads in config.threads:
            threads = threads or facts["cores"]
            for variant in variants:
                row = _row(variant, threads)
                rows.append(row)
                if variant.absent:
                    continue
                frames = _frames_file(folder, variant.artefact.imgsz_hw)
                try:
                    process = EngineProcess(variant.engine, variant.files[0], threads, frames, variant.options)
                except EngineError as error:
                    row["absent"] = str(error)
                    continue
                running.append((row, variant, process))
        times = _interleaved([process for _, _, process in running], config.runs, config.warmup)
        layers = []
        for (row, variant, process), own in zip(running, times, strict=True):
            peak, above = process.memory_bytes()
            row.update(_figures(own, variant, row, facts))
            row |= {"load_ms": round(process.load_ms, 1), "peak_memory_bytes": peak, "engine_memory_bytes": above}
            row["about"] = process.about
            if config.layers and variant.engine == "native":
                layers.append(_layers(process, row))
    finally:
        for _, _, process in running:
            process.close()
    return rows, layers


def _interleaved(processes: Sequence[EngineProcess], runs: int, warmup: int) -> np.ndarray:
    """Milliseconds [engine, run]."""
    log.info("timing %d engines and files, %d runs each, interleaved", len(processes), runs)
    times = np.zeros((len(processes), runs))
    for run in range(-warmup, runs):
        for place in range(len(processes)):
            index = (place + run) % len(processes)
            ms = processes[index].infer_ms(max(run, 0), untimed=1 if run >= 0 else 0)
            if run >= 0:
                times[index, run] = ms
    return times


def _row(variant: Variant, threads: int) -> dict:
    height, width = variant.artefact.imgsz_hw
    return {
        "engine": variant.engine,
        "model": variant.artefact.model,
        "format": variant.number_format,
        "made": variant.made,
        "threads": threads,
        "imgsz": max(height, width),
        "input": f"{width}x{height}",
        "versions": {package: version_of(package) for package in engine_module(variant.engine).VERSION_OF},
        "absent": variant.absent,
    }


def _figures(ms: np.ndarray, variant: Variant, row: Mapping, facts: Mapping) -> dict:
    median = float(np.median(ms))
    gmacs = variant.artefact.multiplications / median / 1e6
    peak = facts["peak_gmacs"]["int8" if variant.artefact.integer else "fp32"] * min(row["threads"], facts["cores"])
    return {
        "median_ms": round(median, 3),
        "p95_ms": round(float(np.percentile(ms, 95)), 3),
        "min_ms": round(float(ms.min()), 3),
        "runs": len(ms),
        "multiplications": variant.artefact.multiplications,
        "gmacs": round(gmacs, 1),
        "peak_share": round(gmacs / peak, 4) if peak else None,
        "size_bytes": sum(file.stat().st_size for file in variant.files),
    }


def _layers(process: EngineProcess, row: Mapping) -> dict:
    runs = [process.layers(frame) for frame in range(LAYER_RUNS)]
    steps = []
    for one in zip(*runs, strict=True):
        name, kind, shape, multiplications, _ = one[0]
        seconds = min(step[4] for step in one)
        steps.append(
            {
                "name": name,
                "kind": kind,
                "shape": shape,
                "multiplications": multiplications,
                "us": round(seconds * 1e6, 1),
                "gmacs": round(multiplications / seconds / 1e9, 1) if multiplications and seconds else 0.0,
            }
        )
    return {**{key: row[key] for key in ("model", "format", "threads", "input", "about")}, "steps": steps}


def _add_ratios(rows: Sequence[dict]) -> None:
    """Over each row's median: that of the fastest rival (``ratio``) and of the fastest with an int8 file
    (``ratio_int8``), among rows of one network, input and number of threads; ``ratio_of_min`` compares least times.
    """
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if not row["absent"]:
            groups.setdefault((row["model"], row["input"], row["threads"]), []).append(row)
    for group in groups.values():
        rivals = [row for row in group if row["engine"] != "native"]
        best = min(rivals, key=lambda row: row["median_ms"], default=None)
        least = min((row["min_ms"] for row in rivals), default=None)
        int8 = min((row["median_ms"] for row in rivals if row["format"] == "int8"), default=None)
        for row in group:
            row["fastest_rival"] = row is best
            row["ratio"] = None if best is None else round(best["median_ms"] / row["median_ms"], 3)
            row["ratio_int8"] = None if int8 is None else round(int8 / row["median_ms"], 3)
            row["ratio_of_min"] = None if least is None else round(least / row["min_ms"], 3)


def _with_accuracy(rows: Sequence[dict], variants: Sequence[Variant], data: str) -> list[dict]:
    """The rows with ``AP`` (0..1) of their files on the validation frames, by the evaluator of ``wutdet eval``."""
    from wutdet.bench.engines.accuracy import average_precision

    known: dict[tuple, float | None] = {}
    out, kinds = [], len(variants)
    for index, row in enumerate(rows):
        variant = replace(variants[index % kinds], absent=row["absent"])
        key = (variant.engine, variant.files, variant.number_format)
        if variant.absent:
            out.append(row)
            continue
        if key not in known:
            known[key] = average_precision(variant, data)
        out.append({**row, "AP": known[key]})
    return out
