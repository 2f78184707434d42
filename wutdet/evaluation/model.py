"""Detecting on every frame of a data set, and scoring the result: checkpoints and artefacts by the same code."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.errors import DataError
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.coco import evaluate
from wutdet.evaluation.result import EvaluationResult
from wutdet.evaluation.tables import FoundBoxes
from wutdet.runtime.tiling import TiledDetector

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector

log = logging.getLogger(__name__)

SCHEMA = "wutdet.eval/2"

_MOST_PICTURES_COMPARED = 20_000
_FRAMES_AHEAD = 2  # decoded frames that wait for the network; a 1440p frame takes 11 MB


def evaluate_model(
    detector: Detector | TiledDetector, dataset: Dataset, *, preset: str = "coco", progress: bool = True
) -> tuple[Detections, EvaluationResult]:
    """Detects on every frame of a data set and scores the result.

    Args:
        detector: called with each frame; its threshold should be low (0.001) for AP to mean what it usually does.
        dataset: frames and boxes.
        preset: evaluation protocol.
        progress: a bar on stderr, where that is a terminal.

    Returns:
        The detections with the data set's categories, and the result.

    Raises:
        DataError: no frames, a frame that cannot be read (the message names it), or categories that do not fit.
    """
    # Before the long part, so that categories that do not fit are told at once.
    align_categories(Detections.empty(detector.category_names), dataset.category_names)
    detections = align_categories(detect_all(detector, dataset, progress=progress), dataset.category_names)
    result = evaluate(dataset, detections, preset=preset).with_protocol(**detector_facts(detector, dataset.size_wh))
    return detections, replace(result, schema=SCHEMA)


def detector_facts(detector: Detector | TiledDetector, sizes_wh: np.ndarray | None = None) -> dict:
    """What the protocol of an evaluation says of the detector, and of its tiles, if it has any.

    Args:
        sizes_wh: int [M, 2], width and height of the frames.
    """
    tiles = detector.facts(sizes_wh) if isinstance(detector, TiledDetector) else {}
    return {
        "input_size": int(detector.imgsz),
        "conf": float(detector.threshold),
        "detector_max_det": int(detector.max_det),
        "model_categories": list(detector.category_names)[:100],
        **tiles,
    }


def detect_all(detector: Detector | TiledDetector, dataset: Dataset, *, progress: bool = True) -> Detections:
    """Detections of every frame, ``image`` being the row in ``dataset``.

    Raises:
        DataError: no frames, or a frame that cannot be read.
    """
    if len(dataset) == 0:
        raise DataError(f"'{dataset.name or dataset.root}' has no frames to evaluate on")
    parts = []
    frames = frames_ahead(dataset)
    if progress and sys.stderr.isatty():
        frames = _with_bar(frames, len(dataset))
    for row, frame in enumerate(frames):
        parts.append(detector(frame).at_row(row))
    return Detections.concatenate(parts)


def frames_ahead(dataset: Dataset) -> Iterator[np.ndarray]:
    """uint8 [H, W, 3] BGR of every frame in turn; the next ones are read while the caller works on this one.

    Raises:
        DataError: from ``Dataset.read_image``, when the frame's turn has come.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="wutdet-frames") as pool:
        waiting: deque = deque()
        try:
            for row in range(len(dataset)):
                waiting.append(pool.submit(dataset.read_image, row))
                if len(waiting) > _FRAMES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _with_bar(frames: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    from rich.console import Console
    from rich.progress import track

    return iter(track(frames, "detecting", total=count, console=Console(stderr=True)))


def category_ids(dataset: Dataset) -> list[int]:
    """COCO category ids by category index: those of the data set's own file, or 1, 2, ..."""
    ids = dataset.info.get("category_ids")
    if ids is None or len(ids) != len(dataset.category_names):
        return list(range(1, len(dataset.category_names) + 1))
    return [int(number) for number in ids]


def to_coco_results(found: Detections | FoundBoxes, dataset: Dataset) -> list[dict]:
    """COCO results with the image ids and category ids of the data set's own file."""
    if isinstance(found, Detections):
        return found.to_coco(dataset.image_id, category_ids(dataset))
    images = np.asarray(dataset.image_id)[found.image].tolist()
    categories = np.asarray(category_ids(dataset))[found.category].tolist()
    xywh = np.c_[found.xyxy[:, :2], found.xyxy[:, 2:] - found.xyxy[:, :2]].tolist()
    return [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in zip(images, categories, xywh, found.score.tolist(), strict=True)
    ]


def leak_rate_text(dataset: Dataset, split: str | None) -> tuple[dict | None, str]:
    """The leak rate of ``split`` against ``train``, as JSON and in one line.

    Nothing where there is nothing to compare: no split was chosen, or the data set has no training frames.
    """
    if split in (None, "train") or not dataset.split.is_("train").any():
        return None, ""
    from wutdet.dataset.leaks import leak_rate

    frames = int((dataset.split.is_("train") | dataset.split.is_(split)).sum())
    pixels = frames <= _MOST_PICTURES_COMPARED
    if not pixels:
        log.info("leak rate from sequences and boxes only: comparing %d pictures takes minutes, 'wutdet data audit' "
                 "does it", frames)  # fmt: skip
    leaks = leak_rate(dataset, splits=(split,), pixels=pixels)
    return leaks.to_json(), leaks.to_text()
