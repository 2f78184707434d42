"""Example frames for a train run, drawn from its data set and the detections that lie in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.detections import Detections
from wutdet.errors import WutdetError
from wutdet.evaluation.coco_files import read_results
from wutdet.evaluation.tables import GroundTruth
from wutdet.report.gallery import colour_key, example_pictures
from wutdet.report.markup import is_number
from wutdet.report.page import Page, Protocol, Section
from wutdet.report.read import TrainRun, mapping
from wutdet.report.words import accuracy_protocol

#: COCO results on the validation frames, as ``wutdet eval ... --detections RUN/detections.json`` writes them.
DETECTIONS_FILE = "detections.json"

# Shown from this score up where the evaluation names no better threshold; the usual one of detectors.
_USUAL_THRESHOLD = 0.25


def frames_section(page: Page, run: TrainRun) -> None:
    """Hits, misses and false alarms on some validation frames; a note where the run has no detections or data."""
    section = page.section("What it sees")
    file = run.folder / DETECTIONS_FILE
    if not file.exists():
        section.note(
            f"There are no example frames: the run folder has no {DETECTIONS_FILE}. "
            f"'wutdet eval MODEL DATA --detections RUN/{DETECTIONS_FILE}' writes it."
        )
        return
    try:
        dataset = _validation_frames(run)
        detections = read_detections(file, dataset)
    except WutdetError as error:
        # The data may be gone long before the report is written again; the rest of the report is still true.
        section.note(f"There are no example frames: {error}")
        return
    add_examples(section, run.evaluation, accuracy_protocol(run.evaluation, run.environment), dataset, detections)


def add_examples(
    section: Section, evaluation: Mapping, protocol: Protocol, dataset: Dataset, detections: Detections, count: int = 6
) -> None:
    """Some frames with hits, misses and false alarms at the best threshold; a note where one cannot be read."""
    best = mapping(evaluation.get("threshold")).get("score")
    threshold = best if is_number(best) else _USUAL_THRESHOLD
    try:
        pictures = example_pictures(dataset, detections, count, score_threshold=round(float(threshold), 3))
    except WutdetError as error:
        section.note(f"There are no example frames: {error}")
        return
    section.paragraph(
        "Sequences take turns; each gives its frame with the most ships below 32 px, whatever was found there."
    )
    section.gallery(pictures, protocol, colour_key())


def _validation_frames(run: TrainRun) -> Dataset:
    config = run.config
    return read_frames(config.get("val") or config.get("data"), config.get("classes"), config.get("val_split"))


def read_frames(data: object, classes: object = None, split: object = None) -> Dataset:
    """The data set at ``data``, only ``split`` where it has such frames.

    Raises:
        WutdetError: it cannot be read.
    """
    dataset = load_dataset(str(data), classes=str(classes or "ship"))
    if split and dataset.split.is_(str(split)).any():
        return dataset.in_split(str(split))
    return dataset


def read_detections(file: Path, dataset: Dataset) -> Detections:
    """The detections of a COCO result file on the frames of a data set.

    Raises:
        DataError: it cannot be read, or names other frames or categories.
    """
    ids = dataset.info.get("category_ids")
    if ids is None or len(ids) != len(dataset.category_names):
        ids = range(1, len(dataset.category_names) + 1)
    found = read_results(file, GroundTruth.of(dataset), np.asarray(list(ids)))
    return Detections(found.xyxy, found.score, found.category, found.image, dataset.category_names)
