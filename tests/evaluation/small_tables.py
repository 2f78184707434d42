"""Box tables from rows of numbers, and random scenes whose boxes contest each other."""

from __future__ import annotations

import numpy as np

from wutdet.evaluation.coco import match_for
from wutdet.evaluation.presets import preset
from wutdet.evaluation.tables import FoundBoxes, GroundTruth


def truth_table(rows, images: int, categories: int = 1, size_wh=(640, 480), **columns) -> GroundTruth:
    """Rows of (image, category, x1, y1, x2, y2, crowd)."""
    rows = np.array(rows, dtype=float).reshape(-1, 7)
    xyxy, crowd = rows[:, 2:6], rows[:, 6] > 0
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    values = {
        "image_id": np.arange(images), "image": rows[:, 0].astype(int), "category": rows[:, 1].astype(int),
        "xyxy": xyxy, "box_area": area, "area": area, "ignore": crowd, "crowd": crowd,
        "category_names": tuple(f"kind{k}" for k in range(categories)), "name": "small",
        "size_wh": np.tile(size_wh, (images, 1)),
    } | columns  # fmt: skip
    return GroundTruth(**values)


def found_table(rows) -> FoundBoxes:
    """Rows of (image, category, x1, y1, x2, y2, score)."""
    rows = np.array(rows, dtype=float).reshape(-1, 7)
    xyxy = rows[:, 2:6]
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return FoundBoxes(rows[:, 0].astype(int), rows[:, 1].astype(int), xyxy, area, rows[:, 6])


def matched(truth: GroundTruth, found: FoundBoxes):
    """The pass of the coco preset with the default size bins."""
    return match_for([preset("coco")], truth, found)


def contested(seed: int, *, images=8, categories=3, ships=10, detections=30, crowd=0.0, whole_pixels=False):
    """Random (truth rows, found rows): detections near ships of the right and of the wrong category, and elsewhere."""
    rng = np.random.default_rng(seed)

    def box() -> np.ndarray:
        corner, size = rng.uniform(0, 150, 2), rng.uniform(8, 60, 2)
        return np.r_[corner, corner + size]

    truth, found = [], []
    for image in range(images):
        here = [(int(rng.integers(categories)), box()) for _ in range(rng.integers(ships + 1))]
        for _ in range(rng.integers(detections + 1)):
            category, place = int(rng.integers(categories)), box()
            if here and rng.random() < 0.8:
                own, near = here[rng.integers(len(here))]
                place = near + rng.normal(0, rng.choice([1, 4, 10]), 4)
                category = own if rng.random() < 0.7 else category
            place = np.round(place) if whole_pixels else place
            place[2:] = np.maximum(place[2:], place[:2] + 1)
            found.append((image, category, *place, rng.random()))
        for category, place in here:
            truth.append((image, category, *(np.round(place) if whole_pixels else place), rng.random() < crowd))
    return truth, found
