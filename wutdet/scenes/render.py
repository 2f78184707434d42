"""``wutdet data render``: renders a data set of labelled sea scenes.

Written below OUT: ``images/<sequence>_<frame>.jpg``, ``annotations/all.json`` (COCO), ``README.md``, ``render.json``
(the configuration), and, while it runs, ``.frames/`` with the boxes of finished frames, so that an interrupted run
continues where it stopped.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2

from wutdet.config import RenderConfig
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.dataset import Dataset
from wutdet.errors import UsageError, WutdetError
from wutdet.files import atomic_path, write_json, write_text
from wutdet.scenes.direct import SequenceSpec
from wutdet.scenes.film import render_frame
from wutdet.scenes.plan import SIZES, plan

log = logging.getLogger(__name__)

#: Raised whenever the pictures of a seed change, so that old and new frames never mix in one folder.
RENDERER_VERSION = 2
_UNFINISHED = ".frames"


@dataclass(frozen=True)
class RenderResult:
    """What was rendered."""

    out: Path
    dataset: Dataset
    rendered: int
    kept: int
    seconds: float

    def to_text(self) -> str:
        dataset = self.dataset
        sequences = len(dataset.sequence.counts())
        text = f"{len(dataset)} frames in {sequences} sequences, {dataset.box_count} boxes: {self.out}"
        if self.rendered:
            rate = self.rendered / self.seconds
            text += f"\nrendered {self.rendered} frames in {self.seconds:.1f} s ({rate:.1f} frames/s)"
        if self.kept:
            text += f"\nkept {self.kept} frames of an earlier run"
        return text

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.render/1",
            "out": str(self.out),
            "frames": len(self.dataset),
            "sequences": len(self.dataset.sequence.counts()),
            "boxes": self.dataset.box_count,
            "ignored_boxes": int(self.dataset.ignore.sum()),
            "rendered": self.rendered,
            "kept": self.kept,
            "seconds": round(self.seconds, 3),
        }


def run(config: RenderConfig) -> RenderResult:
    """Renders as configured; see render_dataset for the errors."""
    start = time.perf_counter()
    before = set(_finished(config.out))
    dataset = render_dataset(
        config.out,
        sequences=config.sequences,
        frames=config.frames,
        seed=config.seed,
        size=config.size,
        stride_s=config.stride_s,
        workers=config.workers,
        quality=config.quality,
    )
    kept = len(before & {Path(p).stem for p in dataset.path})
    return RenderResult(config.out, dataset, len(dataset) - kept, kept, time.perf_counter() - start)


def render_dataset(
    out: str | Path,
    *,
    sequences: int = RenderConfig.sequences,
    frames: int = RenderConfig.frames,
    seed: int = RenderConfig.seed,
    size: str = RenderConfig.size,
    stride_s: float = RenderConfig.stride_s,
    workers: int = RenderConfig.workers,
    quality: int = RenderConfig.quality,
) -> Dataset:
    """Renders a data set into a folder and returns it. The bytes written do not depend on ``workers``.

    Args:
        out: folder to write; a folder that an interrupted run with the same settings left is continued.
        sequences, frames: how many sequences, and frames in each.
        seed: any integer; a larger data set with the same seed contains the smaller one.
        size: "1080p", "1440p" or "mixed". stride_s: seconds of scene time between frames.
        workers: processes; 0 means one per CPU core. quality: JPEG quality, 1 to 100.

    Raises:
        UsageError: a number out of range, or ``out`` holds something else or another rendering.
        WutdetError: the folder cannot be written.
    """
    out = Path(out)
    _check(sequences, frames, stride_s, workers, quality)
    if size != "mixed" and size not in SIZES:
        raise UsageError(f"unknown size '{size}'", hint=f"sizes: {', '.join(SIZES)}, mixed")
    settings = {"version": RENDERER_VERSION, "seed": seed, "size": size, "stride_s": stride_s, "quality": quality}
    _claim(out, settings)
    specs = plan(sequences, seed, size, stride_s)
    jobs = [(spec, range(frames)) for spec in specs]
    done = _finished(out)
    todo = [(spec, [i for i in numbers if frame_name(spec, i) not in done]) for spec, numbers in jobs]
    _render_all(out, [(spec, numbers) for spec, numbers in todo if numbers], workers, quality)
    dataset = _collect(out, jobs)
    _write_annotations(dataset, out / "annotations" / "all.json")
    write_text(out / "README.md", _readme(dataset, settings))
    return dataset


def frame_name(spec: SequenceSpec, frame_index: int) -> str:
    """File name of a frame, without ending."""
    return f"{spec.name}_{frame_index:05d}"


def _check(sequences: int, frames: int, stride_s: float, workers: int, quality: int) -> None:
    for name, value, low, high in (
        ("sequences", sequences, 1, 100_000),
        ("frames", frames, 1, 100_000),
        ("workers", workers, 0, 1024),
        ("quality", quality, 1, 100),
    ):
        if not low <= value <= high:
            raise UsageError(f"--{name} is {value}; it must lie between {low} and {high}")
    if not 0 < stride_s <= 3600:
        raise UsageError(f"--stride-s is {stride_s}; it must be more than 0 and at most 3600 seconds")


def _claim(out: Path, settings: dict) -> None:
    """Makes the folder ours, or refuses one that holds something else."""
    marker = out / "render.json"
    if out.exists() and not out.is_dir():
        raise UsageError("OUT is a file, not a folder", file=out, hint="name a folder to write into")
    if marker.is_file():
        try:
            found = json.loads(marker.read_text("utf-8"))
        except ValueError as error:
            raise UsageError(
                f"not a readable render.json ({error})", file=marker, hint="choose an empty folder"
            ) from error
        if found != settings:
            raise UsageError(
                f"the folder holds another rendering ({_difference(found, settings)})",
                file=marker,
                hint="choose another folder, or the same settings to continue it",
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(
            "the folder is not empty and holds no rendering", file=out, hint="choose an empty or new folder"
        )
    write_json(marker, settings)


def _difference(found, wanted: dict) -> str:
    if not isinstance(found, dict):
        return "no settings"
    return (
        ", ".join(
            f"{key} {found.get(key)} there, {value} asked" for key, value in wanted.items() if found.get(key) != value
        )
        or "other keys"
    )


def _finished(out: Path) -> dict[str, dict]:
    """Frames of an earlier run whose picture and boxes are both there."""
    done = {}
    for file in sorted((Path(out) / _UNFINISHED).glob("*.json")):
        picture = Path(out) / "images" / f"{file.stem}.jpg"
        try:
            note = json.loads(file.read_text("utf-8"))
            whole = picture.is_file() and picture.stat().st_size == note["bytes"]
        except (ValueError, KeyError, TypeError):
            whole = False
        if whole:
            done[file.stem] = note
        else:
            log.warning("%s and its picture do not fit together; the frame is rendered again", file)
    return done


def _render_one(out: Path, spec: SequenceSpec, frame_index: int, quality: int) -> None:
    frame = render_frame(spec, frame_index)
    ok, data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise WutdetError("OpenCV could not encode a frame as JPEG")
    name = frame_name(spec, frame_index)
    # No fsync per frame, it would cost as much as the drawing; the size tells later whether all bytes arrived.
    with atomic_path(out / "images" / f"{name}.jpg") as temporary:
        temporary.write_bytes(data.tobytes())
    boxes = [
        {
            "xyxy": list(b.xyxy),
            "pixels": b.pixels,
            "ship": b.ship,
            "kind": b.kind,
            "visible": b.visible,
            "contrast": b.contrast,
            "ignore": b.ignore,
        }
        for b in frame.boxes
    ]
    note = {"bytes": len(data), "horizon": round(frame.horizon, 1), "boxes": boxes}
    with atomic_path(out / _UNFINISHED / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(note), "utf-8")


def _render_some(out: Path, spec: SequenceSpec, numbers: list[int], quality: int) -> int:
    cv2.setNumThreads(1)  # one frame per core is faster than one frame on all cores
    for frame_index in numbers:
        _render_one(out, spec, frame_index, quality)
    return len(numbers)


def _render_all(out: Path, jobs: list[tuple[SequenceSpec, list[int]]], workers: int, quality: int) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not jobs:
        return
    # Pieces of a sequence keep the cost of building its ships low and still fill all processes.
    pieces = [(spec, numbers[i : i + 16]) for spec, numbers in jobs for i in range(0, len(numbers), 16)]
    workers = min(workers or _cpu_count(), len(pieces))
    total = sum(len(numbers) for _, numbers in pieces)
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("render", total=total)
        if workers == 1:
            threads = cv2.getNumThreads()
            try:
                for spec, numbers in pieces:
                    for number in numbers:
                        progress.advance(task, _render_some(out, spec, [number], quality))
            finally:
                cv2.setNumThreads(threads)
            return
        # Forking a process that has OpenCV threads can hang, so processes are started afresh.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            futures = [pool.submit(_render_some, out, spec, numbers, quality) for spec, numbers in pieces]
            try:
                for future in as_completed(futures):
                    progress.advance(task, future.result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _collect(out: Path, jobs) -> Dataset:
    finished = _finished(out)
    builder = DatasetBuilder(out / "images", ClassMap.only(["ship"]), "rendered")
    builder.info["info"] = {"description": "wutdet rendered sea scenes", "version": str(RENDERER_VERSION)}
    for spec, numbers in jobs:
        for frame_index in numbers:
            name = frame_name(spec, frame_index)
            labels = {"sequence": f"rendered/{spec.name}", "source": "rendered", "scene": spec.scene}
            if "horizon" in finished[name]:  # frames of an earlier version have none
                labels["horizon"] = str(finished[name]["horizon"])
            row = builder.add_image(
                f"{name}.jpg",
                spec.size_wh,
                frame_index=frame_index,
                conditions=spec.conditions,
                annotation_file="../annotations/all.json",
                labels=labels,
            )
            for box in finished[name]["boxes"]:
                builder.add_box(
                    row, box["xyxy"], "ship", ignore=box["ignore"], labels={"kind": box["kind"], "ship": box["ship"]}
                )
    return builder.build()


def _write_annotations(dataset: Dataset, file: Path) -> None:
    from wutdet.dataset.write_coco import write_coco

    write_coco(dataset, file)


def _readme(dataset: Dataset, settings: dict) -> str:
    ignored = int(dataset.ignore.sum())
    scenes = ", ".join(f"{k} {v}" for k, v in sorted(dataset.scene.counts().items()))
    tags = ", ".join(f"{name} {int(dataset.has_condition(name).sum())}" for name in ("clear", *dataset.condition_names))
    return f"""# Rendered sea scenes

Made by `wutdet data render`; settings in `render.json`. No photograph and no third-party model went into it.

- `images/`: {len(dataset)} JPEG frames, `<sequence>_<frame>.jpg`
- `annotations/all.json`: COCO, one class `ship`, {dataset.box_count} boxes, {ignored} of them marked `ignore`
- frames per scene: {scenes}
- frames per condition (a frame may have several): {tags}

A box is the extent of the ship's visible pixels (masts included). A ship that fog or other objects hide almost
entirely is marked `ignore` or has no box; `wutdet/scenes/labels.py` states the rule.
`horizon` is the row of the horizon at the middle of the frame, in pixels from the top (it may lie outside).
Split by `sequence_id`, never by frame: frames of one sequence show the same ships.
"""
