"""``wutdet bench tiling MODEL DATA``: what tiles gain and what they cost, policy by policy, and the best within a time.

Every frame is looked at under all policies in turn, so that a busy or hot machine slows all of them alike. What was
measured lies in ``frames.jsonl``, one line per frame and policy: a run that was killed goes on where it stopped, and
further policies can be added.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wutdet.bench.tiling_choice import embed_choice, place_of_choice, refuse_embedding
from wutdet.bench.timing import machine
from wutdet.config import TilingConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.coco import match_for, result_of
from wutdet.evaluation.presets import preset
from wutdet.evaluation.protocol import ALL, View
from wutdet.evaluation.tables import FoundBoxes, GroundTruth
from wutdet.files import write_json
from wutdet.runtime.saved_policy import SCHEMA, model_facts
from wutdet.runtime.tile_policy import TilePolicy
from wutdet.runtime.tiling import TiledDetector

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector

log = logging.getLogger(__name__)

_BINS = (ALL, View("<32", 0, 32**2), View("<16", 0, 16**2))
#: What measurements depend on.
_FACTS = (
    *("file", "model_digest", "made", "format", "input", "max_scale", "head", "category"),
    *("data", "classes", "frames", "frames_digest"),
    *("conf", "iou", "max_det", "overlap", "threads", "backend"),
)
_SECONDS_BETWEEN_NEWS = 10


@dataclass(frozen=True)
class TilingResult:
    """The curve.

    Attributes:
        protocol: the model (with ``wutdet.runtime.saved_policy.model_facts``), data, frames, thresholds, threads.
        machine: what the times depend on.
        rows: one per policy, fastest first: policy, passes (mean per frame), scale (median, input pixels per frame
            pixel that tiles show), ms, p95_ms, cpu_ms (medians of wall and CPU time), AP, AP50, AP_32, AP_16, recall,
            recall_32, recall_16 (at IoU .50), front.
        chosen: policy, overlap, metric, within_ms, clock, and threshold: the score with the best F1 under it.
        file: where the choice was written; ``None`` where it was not.
    """

    protocol: Mapping
    machine: Mapping
    rows: Sequence[Mapping]
    chosen: Mapping
    file: Path | None = None

    def to_text(self) -> str:
        p, limit = self.protocol, self.chosen["within_ms"]
        lines = [
            f"{p['model']} on {p['data']}: {p['frames']} frames, {p['boxes']} ships; {p['backend']}, "
            f"input {p['input']}, {p['threads'] or 'all'} threads, overlap {p['overlap']:g}, score from {p['conf']:g}, "
            f"at most {p['max_det']} boxes",
            f"{self.machine['cpu']}; medians from pixels to boxes, frame by frame in turn",
            f"  {'tiles':<12} {'passes':>6} {'scale':>5} {'ms':>7} {'p95':>7} {'CPU ms':>7} {'AP':>6} {'AP50':>6} "
            f"{'AP<32':>6} {'AP<16':>6} {'found':>6} {'<32':>6} {'<16':>6} {'score':>6}",
        ]
        for row in self.rows:
            figures = " ".join(_figure(row[key]) for key in (
                "AP", "AP50", "AP_32", "AP_16", "recall", "recall_32", "recall_16", "threshold"))  # fmt: skip
            marks = ("*" if row["front"] else " ") + (" <- best" if row["policy"] == self.chosen["policy"] else "")
            lines.append(
                f"  {row['policy']:<12} {row['passes']:>6.2f} {row['scale']:>5.2f} {row['ms']:>7.1f} "
                f"{row['p95_ms']:>7.1f} {row['cpu_ms']:>7.1f} {figures} {marks}".rstrip()
            )
        lines.append("  * no other policy is faster and better; found: share of ships hit at IoU .50; "
                     "score: threshold with the best F1")  # fmt: skip
        chosen, clock = self.chosen["policy"], self.chosen["clock"]
        within = "" if limit is None else f" within {limit:g} ms, {clock} time"
        taken = next(row for row in self.rows if row["policy"] == chosen)["ms" if clock == "wall" else "cpu_ms"]
        name = "no tiles" if chosen == "none" else chosen
        best = f"best {self.chosen['metric']}{within}: {name}"
        if limit is not None and taken > limit:
            best = f"no policy is{within}; the fastest: {name}"
        lines.append(best + ("" if self.file is None else f", written to {self.file}"))
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": SCHEMA,
            "chosen": dict(self.chosen),
            "protocol": dict(self.protocol),
            "machine": dict(self.machine),
            "rows": [dict(row) for row in self.rows],
        }


def run(config: TilingConfig) -> TilingResult:
    """Measures the policies on the frames that the output folder does not hold yet, and writes the choice.

    Raises:
        UsageError: a policy, a limit or an option that cannot be; ``embed`` for what is no artefact of the caller's.
        ModelError: the model cannot be found or read.
        DataError: the data cannot be read, has no frames, or the folder holds measurements of something else.
    """
    policies = _policies(config)
    if config.every < 1:
        raise UsageError(f"--every must be at least 1, received {config.every}")
    if config.embed:
        refuse_embedding(config.model)  # before hours of measuring, not after
    dataset = load_dataset(config.data, format=config.format, classes=config.classes)
    dataset = dataset if config.split is None else dataset.in_split(config.split)
    dataset = dataset.select(np.arange(0, len(dataset), config.every))
    if not len(dataset):
        raise DataError("no frames to measure on", file=config.data)
    detector = _detector(config)
    detectors = {name: TiledDetector(detector, policy) for name, policy in policies.items()}
    align_categories(Detections.empty(detector.category_names), dataset.category_names)
    facts = machine()
    protocol = {
        "model": config.model,
        **model_facts(detector),
        "max_scale": detector.max_scale,
        "head": config.head,
        "category": config.category,
        "data": dataset.name or config.data,
        "classes": config.classes,
        "frames": len(dataset),
        "frames_digest": frames_digest(dataset),
        "boxes": int((~dataset.ignore).sum()),
        "conf": detector.threshold,
        "iou": config.iou,
        "max_det": config.max_det,
        "overlap": config.overlap,
        "threads": config.threads,
        "backend": detector.backend.name,
    }
    looks = _look_at_all(detectors, dataset, config.out, protocol)
    clock = {"wall": "ms", "cpu": "cpu_ms"}[config.clock]
    rows = [_row(name, detectors[name], looks[name], dataset) for name in detectors]
    rows = mark_front(sorted(rows, key=lambda row: row[clock]), config.metric, clock)
    best = best_within(rows, config.metric, config.within_ms, clock)
    if config.within_ms is not None and best[clock] > config.within_ms:
        log.warning("no policy is within %g ms; %s is the fastest", config.within_ms, best["policy"])
    chosen = {
        "policy": best["policy"],
        "overlap": config.overlap,
        "metric": config.metric,
        "within_ms": config.within_ms,
        "clock": config.clock,
        "threshold": best["threshold"],
    }
    file = config.save or place_of_choice(detector.path, config.out)
    result = TilingResult(protocol, facts, rows, chosen, file)
    write_json(file, result.to_json())
    if config.embed:
        embed_choice(detector.path, chosen)
    return result


def frames_digest(dataset: Dataset) -> str:
    """16 hexadecimal digits over the frames in their order: names, sizes in pixels and sizes of the files in bytes.

    Pictures are not read: of thousands of them, that would take longer than to print figures measured before.

    Raises:
        DataError: a frame's file is absent.
    """
    digest = hashlib.sha256()
    for row, (width, height) in enumerate(dataset.size_wh.tolist()):
        try:
            size = dataset.image_file(row).stat().st_size
        except OSError as error:
            raise DataError(
                f"this frame cannot be read ({error.strerror})",
                file=dataset.image_file(row),
                hint="'wutdet data audit' lists all such frames",
            ) from error
        digest.update(f"{dataset.path[row]}\0{width} {height} {size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def mark_front(rows: Sequence[Mapping], metric: str, clock: str = "ms") -> list[dict]:
    """The rows with ``front``: whether no other one is as fast and as good, and better in one of the two."""

    def beats(a: Mapping, b: Mapping) -> bool:
        good_a, good_b = _value(a, metric), _value(b, metric)
        return a[clock] <= b[clock] and good_a >= good_b and (a[clock] < b[clock] or good_a > good_b)

    return [{**row, "front": not any(beats(other, row) for other in rows)} for row in rows]


def best_within(rows: Sequence[Mapping], metric: str, within_ms: float | None, clock: str = "ms") -> Mapping:
    """The best row by a metric that takes at most so many milliseconds; the fastest one where none does."""
    allowed = [row for row in rows if within_ms is None or row[clock] <= within_ms]
    if not allowed:
        return min(rows, key=lambda row: row[clock])
    return max(allowed, key=lambda row: (_value(row, metric), -row[clock]))


def _value(row: Mapping, metric: str) -> float:
    return -1.0 if row[metric] is None else row[metric]


def _figure(value: float | None) -> str:
    return f"{'none' if value is None else format(value, '.4f'):>6}"


def _policies(config: TilingConfig) -> dict[str, TilePolicy]:
    policies = {}
    for text in config.policies:
        policy = TilePolicy.parse(text, config.overlap)
        if policy.kind == "auto":
            raise UsageError("'auto' is what this benchmark chooses", hint="name the policies to choose from")
        policies[str(policy)] = policy
    if not policies:
        raise UsageError("no policies to measure", hint="for example --policies none horizon 3x2 640")
    return policies


def _detector(config: TilingConfig) -> Detector:
    from wutdet.runtime.detector import Detector

    return Detector(
        config.model,
        threads=config.threads,
        backend=config.backend,
        conf=config.conf,
        iou=config.iou,
        max_det=config.max_det,
        imgsz=config.imgsz,
        category=config.category,
        head=config.head,
    )


def _look_at_all(
    detectors: Mapping[str, TiledDetector], dataset: Dataset, folder: Path, protocol: Mapping
) -> dict[str, list[dict]]:
    """By policy, what every frame gave: lines of ``frames.jsonl``, in the order of frames."""
    file = _same_settings(folder, protocol)
    known: dict[tuple[str, int], dict] = {}
    if file.is_file():
        for line in filter(None, file.read_text("utf-8").splitlines()):
            try:
                look = json.loads(line)
            except ValueError:  # the last line of a run that was killed
                continue
            known[look["policy"], look["frame"]] = look
    todo = [row for row in range(len(dataset)) if any((name, row) not in known for name in detectors)]
    if len(todo) < len(dataset):
        log.info("%d of %d frames are measured already (%s)", len(dataset) - len(todo), len(dataset), file)
    news = time.monotonic()
    with file.open("a", encoding="utf-8") as out:
        out.write("\n")  # ends a line that a killed run left unfinished
        for done, row in enumerate(todo):
            frame = dataset.read_image(row)
            for name, detector in detectors.items():
                if (name, row) in known:
                    continue
                if done == 0:
                    detector(frame)  # untimed: plans and memory are made once
                look = {"policy": name, "frame": row, **_look(detector, frame)}
                known[name, row] = look
                out.write(json.dumps(look) + "\n")
            out.flush()
            if time.monotonic() - news > _SECONDS_BETWEEN_NEWS:
                news = time.monotonic()
                print(f"{done + 1} of {len(todo)} frames", file=sys.stderr)
    return {name: [known[name, row] for row in range(len(dataset))] for name in detectors}


def _look(detector: TiledDetector, frame: np.ndarray) -> dict:
    wall, cpu, passes = time.perf_counter(), time.process_time(), detector.passes
    found = detector(frame)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "ms": round(wall * 1000, 3),
        "cpu_ms": round(cpu * 1000, 3),
        "passes": detector.passes - passes,
        "wh": [frame.shape[1], frame.shape[0]],
        "xyxy": [[round(float(side), 2) for side in box] for box in found.xyxy],
        "score": [round(float(score), 6) for score in found.score],
        "category": found.category.tolist(),
    }


def _same_settings(folder: Path, protocol: Mapping) -> Path:
    """A folder holds measurements of one model on one data set; returns the file for them."""
    settings = {key: protocol[key] for key in _FACTS}
    file = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    if file.is_file() and (before := json.loads(file.read_text("utf-8"))) != settings:
        holds = {key: value for key, value in before.items() if key not in settings or settings[key] != value}
        asked = {key: value for key, value in settings.items() if key not in before or before[key] != value}
        raise DataError(
            f"this folder holds measurements of something else: {holds}, now asked: {asked}",
            file=file,
            hint="name another folder with --out",
        )
    write_json(file, settings)
    return folder / "frames.jsonl"


def detections_of(looks: Sequence[Mapping], category_names: Sequence[str]) -> Detections:
    """What lines of ``frames.jsonl`` found, one line for each frame of the data set, in their order."""
    parts = [
        Detections(
            np.array(look["xyxy"], np.float32).reshape(-1, 4),
            np.array(look["score"], np.float32),
            np.array(look["category"], np.int32),
            np.full(len(look["score"]), row),
            tuple(category_names),
        )
        for row, look in enumerate(looks)
    ]
    return Detections.concatenate(parts)


def _row(name: str, detector: TiledDetector, looks: Sequence[Mapping], dataset: Dataset) -> dict:
    detections = align_categories(detections_of(looks, detector.category_names), dataset.category_names)
    truth, protocol = GroundTruth.of(dataset), preset("coco")
    matches = match_for([protocol], truth, FoundBoxes.of(detections, truth), bins=_BINS)
    result = result_of(matches, truth, protocol, bins=_BINS)
    every, below_32, below_16 = result.size_bins
    scales = [detector.policy.scale(tuple(look["wh"]), detector.view) for look in looks]
    ms = np.array([look["ms"] for look in looks])
    return {
        "policy": name,
        "passes": round(float(np.mean([look["passes"] for look in looks])), 2),
        "scale": round(float(np.median(scales)), 3),
        "ms": round(float(np.median(ms)), 2),
        "p95_ms": round(float(np.percentile(ms, 95)), 2),
        "cpu_ms": round(float(np.median([look["cpu_ms"] for look in looks])), 2),
        "AP": every["AP"],
        "AP50": every["AP50"],
        "AP_32": below_32["AP"],
        "AP_16": below_16["AP"],
        "recall": every["recall50"],
        "recall_32": below_32["recall50"],
        "recall_16": below_16["recall50"],
        "threshold": None if result.threshold is None else round(float(result.threshold["score"]), 4),
    }
