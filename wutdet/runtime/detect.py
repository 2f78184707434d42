"""``wutdet detect SOURCE``: one JSON object per frame on stdout.

A picture of a folder that cannot be read is told on stderr and the others go on; the exit code is then 3, as where a
video ends well before the number of frames that it states. Whatever ends a run, Ctrl-C or an error, the files that it
writes hold what was found until then.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.config import DetectConfig
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError
from wutdet.files import check_output_file, printable, write_json
from wutdet.runtime.draw import annotated_output, draw_boxes, refuse_inputs
from wutdet.runtime.load import load_detector
from wutdet.runtime.sources import Frame, Source, open_source
from wutdet.runtime.tiling import TiledDetector

log = logging.getLogger(__name__)

SCHEMA = "wutdet.detect/1"


@dataclass(frozen=True)
class DetectResult:
    """Summary of a run.

    Attributes:
        frames: frames that boxes were looked for in.
        boxes: boxes found.
        unreadable: files that could not be read, or not to their end.
        threshold: score threshold in use.
        median_ms: median time per frame from pixels to boxes (reading and drawing not counted); 0 without frames.
        outputs: files and folders written.
    """

    frames: int
    boxes: int
    unreadable: tuple[str, ...]
    threshold: float
    median_ms: float
    outputs: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """3 where a file could not be read, or not to its end."""
        return DataError.exit_code if self.unreadable else 0

    def to_text(self) -> str:
        """Empty: stdout carries the frames, one JSON object per line; the summary goes to stderr."""
        return ""

    def to_json(self) -> dict:
        return {
            "schema": SCHEMA,
            "frames": self.frames,
            "boxes": self.boxes,
            "unreadable": [printable(file) for file in self.unreadable],
            "threshold": self.threshold,
            "median_ms": round(self.median_ms, 2),
            "outputs": [printable(file) for file in self.outputs],
        }


def run(config: DetectConfig) -> DetectResult:
    """Detects on every frame of a source.

    Raises:
        UsageError: an impossible option, or one that would write over what is read.
        ModelError: the model cannot be read.
        DataError: nothing to look at, or the only picture cannot be read.
        WutdetError: a file cannot be written; this is told before the first frame where it can be known then.
    """
    if config.stride < 1:
        raise UsageError(f"--stride must be at least 1, received {config.stride}")
    if config.reconnect_s is not None and not 0 <= config.reconnect_s < float("inf"):
        raise UsageError(f"--reconnect-s must be at least 0 seconds, received {config.reconnect_s}")
    detector = load_detector(
        config.model,
        tile=config.tile,
        tile_overlap=config.tile_overlap,
        threads=config.threads,
        backend=config.backend,
        conf=config.conf,
        iou=config.iou,
        max_det=config.max_det,
    )
    source = open_source(config.source)
    if config.coco is not None:
        refuse_inputs([config.coco], source, "--coco")
        check_output_file(config.coco)
    writer = None if config.save is None else annotated_output(config.save, source, config.stride)
    log.info(
        "%s (%s) on %s, score threshold %.3f, input %d%s",
        detector.path.name,
        detector.backend.name,
        config.source,
        detector.threshold,
        detector.imgsz,
        f", tiles: {detector.policy}, and the whole frame" if isinstance(detector, TiledDetector) else "",
    )
    times, boxes, unreadable, complete = [], 0, [], False
    coco_results: list[dict] = []
    ids = _CocoIds(source)
    try:
        for frame in _with_bar(source, config):
            if frame.image is None:
                if source.count == 1:
                    raise frame.error
                log.error("%s", frame.error)
                unreadable.append(frame.source)
                continue
            started = time.perf_counter()
            found = detector(frame.image)
            times.append((time.perf_counter() - started) * 1000)
            boxes += len(found)
            if config.coco is not None:
                coco_results += found.to_coco(np.array([ids.of(frame)]))
            if not config.quiet:
                print(json.dumps(frame_json(frame, found), ensure_ascii=False), flush=True)
            if writer is not None:
                writer.write(frame, draw_boxes(frame.image, found))
        complete = True
    finally:
        # Where a run fails at once, an earlier run's results are not replaced by none.
        worth_writing = complete or bool(times)
        median = float(np.median(times)) if times else 0.0
        if worth_writing:
            log.info(
                "%d frames, %d boxes, %.1f ms per frame (median)%s",
                len(times), boxes, median, f", {len(unreadable)} not readable to the end" if unreadable else "",
            )  # fmt: skip
        try:
            if writer is not None:
                writer.close()
        finally:
            if config.coco is not None and worth_writing:
                write_json(config.coco, coco_results, indent=None)
                log.info("COCO results: %s; image ids: %s", config.coco, ids.rule)
    outputs = tuple(str(path) for path in (config.save, config.coco) if path is not None)
    return DetectResult(len(times), boxes, tuple(unreadable), detector.threshold, median, outputs)


def frame_json(frame: Frame, detections: Detections) -> dict:
    """``{"source", "frame", "width", "height", "detections": [{"xyxy", "score", "category"}]}``; live: ``time_s``."""
    height, width = frame.image.shape[:2]
    return {
        "source": printable(frame.source),
        "frame": frame.index,
        **({} if frame.time_s is None else {"time_s": round(frame.time_s, 3)}),
        "width": width,
        "height": height,
        "detections": detections.to_records(),
    }


class _CocoIds:
    """COCO image ids: the picture's name where all names are different numbers, else 1, 2, 3, ... in order."""

    def __init__(self, source: Source):
        stems = [file.stem for file in source.files]
        numbers = {int(stem) for stem in stems if stem.isdecimal()}
        self._by_stem = bool(stems) and len(numbers) == len(stems)
        self.rule = "the file names" if self._by_stem else "1, 2, 3, ... in order of frames"

    def of(self, frame: Frame) -> int:
        return int(Path(frame.source).stem) if self._by_stem else frame.position + 1


def _with_bar(source: Source, config: DetectConfig) -> Iterator[Frame]:
    frames = source.frames(config.stride, config.latest, config.reconnect_s)
    if not sys.stderr.isatty() or source.count == 1:
        return frames
    from rich.console import Console
    from rich.progress import track

    total = None if source.count is None else -(-source.count // config.stride)
    return iter(track(frames, "detecting", total=total, console=Console(stderr=True)))
