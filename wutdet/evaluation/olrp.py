"""Optimal localisation recall precision error: one figure for how well boxes fit, false alarms and misses, 0 is best.

Oksuz et al., "Localization Recall Precision (LRP): A New Performance Metric for Object Detection", ECCV 2018, and "One
Metric to Measure Them All", TPAMI 2021. With TP hits, FP false alarms, FN misses at a score threshold s and tau the IoU
needed for a hit,

    LRP(s) = (sum over hits of (1 - IoU) / (1 - tau) + FP + FN) / (TP + FP + FN),

and oLRP is its least value over all s, which also is the best threshold of the class. The details (every detection's
score is tried, the first of equal minima wins, parts of classes without a hit are left out) are those of
aitodpycocotools, the evaluation code of AI-TOD.
"""

from __future__ import annotations

import numpy as np

from wutdet.evaluation.accumulate import Ranking, count_positives
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import ALL
from wutdet.evaluation.tables import FoundBoxes, GroundTruth


def olrp(
    matches: Matches,
    truth: GroundTruth,
    found: FoundBoxes,
    *,
    max_det: int,
    tau: float = 0.5,
    images: np.ndarray | None = None,
    ranking: Ranking | None = None,
) -> dict:
    """oLRP and its parts over all areas, mean over categories.

    Args:
        matches: of a pass over ``truth`` and ``found``; its first view must take everything.
        truth, found: the tables of the pass.
        max_det: most detections per image and category.
        tau: IoU threshold of a hit; part of the pass.
        images: bool [image_count]; only these images count.
        ranking: ``Ranking.of(matches)``, where it was made already.

    Returns:
        ``{"oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "thresholds": {category: score or None}}``: the error, mean 1 - IoU
        of hits, 1 - precision, 1 - recall, each at the best threshold; None where no category has ships (for Loc and
        FP: hits).
    """
    ranking = Ranking.of(matches) if ranking is None else ranking
    if images is not None:
        ranking = ranking.within(images[matches.dt_image])
    ranking = ranking.limited(matches, max_det)
    positives = count_positives(matches, [ALL], images)[:, 0]
    bit = matches.threshold_index(tau)
    view = matches.view_index(ALL)
    rows, thresholds = [], {}
    for k, name in enumerate(truth.category_names):
        if positives[k] == 0:
            continue
        order = ranking.category(k)
        hit = (matches.hit[view][order] >> bit & 1).astype(bool)
        ignored = (matches.ignored[view][order] >> bit & 1).astype(bool)
        thresholds[name] = None
        if not hit.any():
            rows.append((1.0, np.nan, np.nan, 1.0))
            continue
        distance = np.zeros(len(order))
        distance[hit] = 1 - matched_iou(matches, truth, found, order[hit], bit)
        tp, fp, loc = np.cumsum(hit), np.cumsum(~hit & ~ignored), np.cumsum(distance)
        fn = positives[k] - tp
        error = (loc / (1 - tau) + fp + fn) / (tp + fp + fn)
        best = int(np.argmin(error))
        with np.errstate(invalid="ignore"):  # no hit above the best threshold: nothing to localise
            parts = np.array([loc[best], fp[best]]) / [tp[best], tp[best] + fp[best]]
        rows.append((error[best], *parts, fn[best] / positives[k]))
        thresholds[name] = float(matches.score[order[best]])
    means = []
    for column in np.array(rows, dtype=float).reshape(-1, 4).T:
        present = column[~np.isnan(column)]
        means.append(float(present.mean()) if len(present) else None)
    return {**dict(zip(("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"), means, strict=True)), "thresholds": thresholds}


def matched_iou(
    matches: Matches, truth: GroundTruth, found: FoundBoxes, places: np.ndarray, threshold_index: int
) -> np.ndarray:
    """float64 [n]: IoU of detections (places in the columns of Matches) with the boxes that they matched."""
    gt = matches.gt_row[matches.match[threshold_index][places]]
    dt = matches.dt_row[places]
    a, b = found.xyxy[dt], truth.xyxy[gt]
    size = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    overlap = size[:, 0] * size[:, 1]
    return overlap / (found.area[dt] + truth.box_area[gt] - overlap)
