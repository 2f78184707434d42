"""Every ship and every detection of an evaluation as one table: hits, misses, false alarms and the kinds of error."""

from __future__ import annotations

import numpy as np

from wutdet.evaluation.accumulate import best_f1
from wutdet.evaluation.error_types import (
    BACKGROUND,
    BACKGROUND_IOU,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    HIT,
    LOCALISATION,
    NOT_COUNTED,
    OVER_LIMIT,
    classify,
    detection_boxes,
    ship_boxes,
)
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.overlaps import best_overlaps
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

KINDS = ("hit", "miss", "false_alarm", "duplicate", "localisation", "classification", "ignored")

_KIND_OF_DETECTION = {
    HIT: "hit",
    BACKGROUND: "false_alarm",
    BOTH: "false_alarm",  # it overlaps a ship of another category a little: neither its place nor its kind is right
    DUPLICATE: "duplicate",
    LOCALISATION: "localisation",
    CLASSIFICATION: "classification",
    NOT_COUNTED: "ignored",
}


def objects_table(
    matches: Matches,
    truth: GroundTruth,
    found: FoundBoxes,
    *,
    score: float | None = None,
    iou: float = 0.5,
    background_iou: float = BACKGROUND_IOU,
    max_det: int | None = None,
) -> dict[str, np.ndarray]:
    """What became of every ship, and of every detection at or above a score.

    Detections below the score are left out: at a low score there are hundreds of them in each frame, and none would be
    shown to a user. A ship that only such a detection finds is a miss. A missed ship has a row of its own, beside the
    row of a detection that is badly placed on it or has another category. Error kinds are those of error_types.py, with
    "background" and "both" as "false_alarm".

    Args:
        matches, truth, found: a pass and its tables.
        score: by default that of the best F1; without a single hit there is none, and only ships are listed.
        iou, background_iou: see ``classify``.
        max_det: limit of detections per image and category; that of the pass by default.

    Returns:
        Columns of equal length, rows by image, then falling score, ships without detection last:
        "kind": str, of KINDS; "ignored" are ships that do not count and detections that lie on them.
        "image": int64, row of the image.
        "box": int64, row in the ground truth: the ship that is hit, missed, not counted or pointed at, or -1.
        "detection": int64, row in ``found``, or -1.
        "score": float64, NaN for ships without detection.
        "iou": float64, best overlap of any category: of a detection with ships that count, of a miss with detections.
            NaN for "ignored".
        "size_px": float64, sqrt(area) of the ship for hits, misses and ignored ships, else of the detection.
        "x1", "y1", "x2", "y2": float64, corners in pixels, of the same box as "size_px".
        "category": str, of the ship or detection itself.
    """
    if score is None:
        best = best_f1(matches, iou)
        score = np.inf if best is None else best["score"]
    errors = classify(matches, truth, found, iou=iou, background_iou=background_iou, max_det=max_det, score=score)
    detections = np.flatnonzero(errors.detection != OVER_LIMIT)
    code = errors.detection[detections]
    row, is_hit = matches.dt_row[detections], code == HIT
    ship = np.where(is_hit, matches.match[matches.threshold_index(iou), detections], errors.target[detections])
    ship_row = np.where(ship >= 0, matches.gt_row[ship], -1)
    xyxy, size = found.xyxy[row], np.sqrt(found.area[row])
    xyxy[is_hit], size[is_hit] = truth.xyxy[ship_row[is_hit]], np.sqrt(truth.area[ship_row[is_hit]])

    left = np.flatnonzero(errors.ship != HIT)
    counts = errors.ship[left] != NOT_COUNTED
    nearest = best_overlaps(
        ship_boxes(matches, truth, left), detection_boxes(matches, found, detections), matches.image_count
    ).any_iou
    left_row = matches.gt_row[left]
    kinds = np.array(KINDS, dtype=object)
    kind_of_code = {code: KINDS.index(name) for code, name in _KIND_OF_DETECTION.items()}
    kind = np.select([code == c for c in kind_of_code], list(kind_of_code.values()))
    kind_left = np.where(counts, KINDS.index("miss"), KINDS.index("ignored"))
    nothing = np.full(len(left), -1)
    columns = {
        "kind": kinds[np.r_[kind, kind_left]],
        "image": np.r_[matches.dt_image[detections], matches.gt_image[left]].astype(np.int64),
        "box": np.r_[ship_row, left_row],
        "detection": np.r_[row, nothing],
        "score": np.r_[matches.score[detections], np.full(len(left), np.nan)],
        "iou": np.r_[errors.iou[detections], np.where(counts, nearest, np.nan)],
        "size_px": np.r_[size, np.sqrt(truth.area[left_row])],
    }
    corners = np.concatenate([xyxy, truth.xyxy[left_row]])
    columns |= {name: corners[:, place].copy() for place, name in enumerate(("x1", "y1", "x2", "y2"))}
    category = np.r_[matches.dt_category[detections], matches.gt_category[left]]
    columns["category"] = np.array(truth.category_names, dtype=object)[category]
    order = np.lexsort((-np.nan_to_num(columns["score"], nan=-np.inf), columns["image"]))
    return {name: column[order] for name, column in columns.items()}


def count_kinds(table: dict[str, np.ndarray]) -> dict[str, int]:
    """Rows by kind, all kinds listed."""
    return {kind: int((table["kind"] == kind).sum()) for kind in KINDS}
