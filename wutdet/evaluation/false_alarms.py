"""False alarms at a score threshold: per frame, above the horizon, and duplicates of ships that were found."""

from __future__ import annotations

import numpy as np

from wutdet.evaluation.error_types import DUPLICATE, HIT, Errors, classify
from wutdet.evaluation.horizon import Horizon
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.tables import FoundBoxes, GroundTruth


def is_false_alarm(errors: Errors) -> np.ndarray:
    """bool [N], in the order of Matches: detections that count and are no hit."""
    return errors.detection > HIT


def false_alarms_per_image(matches: Matches, errors: Errors) -> np.ndarray:
    """int64 [M]."""
    return np.bincount(matches.dt_image[is_false_alarm(errors)], minlength=matches.image_count)


def false_alarms(
    matches: Matches,
    truth: GroundTruth,
    found: FoundBoxes,
    *,
    score: float | None,
    iou: float = 0.5,
    max_det: int | None = None,
    horizon: Horizon | None = None,
    errors: Errors | None = None,
) -> dict:
    """Counts of what a user of the detector would see.

    Args:
        matches, truth, found: a pass and its tables.
        score: detections below do not exist. None (no threshold is known) gives no figures.
        iou: threshold of the pass; also what makes a duplicate.
        max_det: limit of detections per image and category; that of the pass by default.
        horizon: ``Horizon.of(truth)`` by default.
        errors: ``classify`` at this score, where it was made already.

    Returns:
        ``{"score", "iou", "per_frame", "frames", "above_horizon_per_frame", "horizon", "duplicates_per_frame",
        "duplicate_rate"}``. ``above_horizon_per_frame`` counts false alarms whose lower edge is clearly above the
        horizon, over the frames whose horizon is known ("horizon" says how: "labelled", "estimated", or None). A
        duplicate overlaps (IoU above ``iou``) a ship that a detection with a higher score has taken; it is a false
        alarm too. ``duplicate_rate`` is duplicates per hit.
    """
    horizon = Horizon.of(truth) if horizon is None else horizon
    frames = matches.image_count
    out = {
        "score": score,
        "iou": float(iou),
        "per_frame": None,
        "frames": frames,
        "above_horizon_per_frame": None,
        "horizon": horizon.origin,
        "duplicates_per_frame": None,
        "duplicate_rate": None,
    }
    if score is None or frames == 0:
        return out
    if errors is None:
        errors = classify(matches, truth, found, iou=iou, max_det=max_det, score=score)
    wrong = np.flatnonzero(is_false_alarm(errors))
    hits, duplicates = int((errors.detection == HIT).sum()), int((errors.detection == DUPLICATE).sum())
    out |= {
        "per_frame": len(wrong) / frames,
        "duplicates_per_frame": duplicates / frames,
        "duplicate_rate": duplicates / hits if hits else None,
    }
    known = int(horizon.known.sum())
    if known:
        above = horizon.above(matches.dt_image[wrong], found.xyxy[matches.dt_row[wrong], 3])
        out["above_horizon_per_frame"] = int(above.sum()) / known
    return out


def false_alarms_text(figures: dict) -> str:
    """One line for people."""
    if figures["per_frame"] is None:
        return "false alarms: no score threshold"
    line = (
        f"false alarms at score {figures['score']:.3f}: {figures['per_frame']:.3f} per frame, "
        f"{figures['duplicates_per_frame']:.3f} of them on ships already found"
    )
    if figures["above_horizon_per_frame"] is not None:
        line += f", {figures['above_horizon_per_frame']:.3f} above the {figures['horizon']} horizon"
    return line
