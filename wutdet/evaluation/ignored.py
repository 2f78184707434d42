"""What ignored boxes do under each benchmark's rules, as a change of the tables before matching.

``coco``: an ``iscrowd`` box takes any number of detections by their share inside it, another ignored box takes one
detection by IoU. This is what matching does; nothing changes.
``plain`` (SODA-D's sodadeval.py): ``iscrowd`` means nothing; every ignored box takes one detection by IoU.
``drop`` (VisDrone2018-DET-toolkit, dropObjectsInIgr.m): ships and detections of which at least half lies in the union
of the ignored boxes are removed, and so are the ignored boxes.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from wutdet.evaluation.tables import FoundBoxes, GroundTruth


def apply_ignore_rule(truth: GroundTruth, found: FoundBoxes, rule: str) -> tuple[GroundTruth, FoundBoxes, bool]:
    """The tables under a rule, and whether the rule changed them ("coco" never does)."""
    if rule == "plain" and truth.crowd.any():
        return replace(truth, crowd=np.zeros_like(truth.crowd)), found, True
    if rule == "drop" and truth.ignore.any():
        return *_drop(truth, found), True
    return truth, found, False


def _drop(truth: GroundTruth, found: FoundBoxes) -> tuple[GroundTruth, FoundBoxes]:
    keep_truth = ~truth.ignore
    keep_found = np.ones(len(found), dtype=bool)
    truth_rows, found_rows = (
        _rows_by_image(truth.image, truth.image_count),
        _rows_by_image(found.image, truth.image_count),
    )
    for image in np.unique(truth.image[truth.ignore]).tolist():
        mine, theirs = truth_rows(image), found_rows(image)
        regions = truth.xyxy[mine[truth.ignore[mine]]]
        everything = np.concatenate([truth.xyxy[mine], found.xyxy[theirs]])
        size_wh = np.ceil(everything[:, 2:].max(axis=0)) if truth.size_wh is None else truth.size_wh[image]
        covered = covered_share(everything, regions, np.maximum(size_wh, 1).astype(int)) >= 0.5
        keep_truth[mine] &= ~covered[: len(mine)]
        keep_found[theirs] = ~covered[len(mine) :]
    columns = ("image", "category", "xyxy", "box_area", "area", "ignore", "crowd")
    left = replace(truth, **{name: getattr(truth, name)[keep_truth] for name in columns})
    return left, FoundBoxes(**{f.name: getattr(found, f.name)[keep_found] for f in fields(FoundBoxes)})


def covered_share(xyxy: np.ndarray, regions_xyxy: np.ndarray, size_wh: np.ndarray) -> np.ndarray:
    """float64 [N]: share of each box, in whole pixels as the toolkit counts them, inside the union of the regions.

    The toolkit counts from 1, rounds half away from zero, paints regions one pixel larger than they are, and takes the
    pixels right of and below a box's corner; all of that is kept, since shares near one half depend on it.

    Args:
        xyxy: float64 [N, 4] corners.
        regions_xyxy: float64 [R, 4] corners.
        size_wh: of the image in pixels.
    """
    width, height = (int(v) for v in size_wh)
    mask = np.zeros((height + 1, width + 1), dtype=np.int64)  # row and column 0 stay empty: MATLAB counts from 1
    for x, y, w, h in np.maximum(1, _xywh(regions_xyxy)):
        mask[int(np.ceil(y)) : min(height, int(y + h)) + 1, int(np.ceil(x)) : min(width, int(x + w)) + 1] = 1
    total = mask.cumsum(axis=0).cumsum(axis=1)
    x, y, w, h = np.maximum(1, np.floor(_xywh(xyxy) + 0.5)).astype(np.int64).T
    left, top = np.clip(x, 1, width), np.clip(y, 1, height)
    right, bottom = np.minimum(width, left + w), np.clip(top + h, 1, height)
    inside = total[top, left] + total[bottom, right] - total[top, right] - total[bottom, left]
    return inside / (w * h)


def _xywh(xyxy: np.ndarray) -> np.ndarray:
    out = np.array(xyxy, dtype=np.float64)
    out[:, 2:] -= out[:, :2]
    return out


def _rows_by_image(image: np.ndarray, image_count: int):
    """A function that gives the rows of an image, found once for all."""
    order = np.argsort(image, kind="stable")
    stops = np.searchsorted(image[order], np.arange(image_count + 1))
    return lambda row: order[stops[row] : stops[row + 1]]
