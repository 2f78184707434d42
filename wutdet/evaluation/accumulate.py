"""From matches to curves and averages. Nothing is matched again here, so slices and resamples are cheap.

The rules are pycocotools' ``COCOeval.accumulate`` and ``summarize``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wutdet import _kernels
from wutdet.evaluation.matching import FALSE_POSITIVE, TRUE_POSITIVE, Matches
from wutdet.evaluation.protocol import View

#: Value of precision and recall where there are no such objects (pycocotools prints it; we turn it into None).
ABSENT = -1.0


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision over recall for every setting; -1 where there are no such objects.

    T IoU thresholds, R recall points, K categories, V views, M limits of detections per image.

    Attributes:
        precision: float64 [T, R, K, V, M], interpolated.
        score: float64 [T, R, K, V, M], score of the detection at which that recall is reached (0 where it never is).
        recall: float64 [T, K, V, M], of all detections.
        positives: int64 [K, V], ground-truth boxes that count.
    """

    precision: np.ndarray
    score: np.ndarray
    recall: np.ndarray
    positives: np.ndarray


def mean_of_present(values: np.ndarray) -> float | None:
    """Mean of what is not ABSENT, or None where all of it is."""
    present = values[values > ABSENT]
    return float(np.mean(present)) if len(present) else None


def accumulate(
    matches: Matches,
    views: Sequence[View] | None = None,
    max_dets: Sequence[int] | None = None,
    *,
    images: np.ndarray | None = None,
    native: bool = True,
) -> Curves:
    """Curves of some views and limits, over all images or some.

    Args:
        matches: of the matching pass.
        views: which, out of ``matches.protocol.all_views``; all of them by default.
        max_dets: limits of detections per image and category, none above that of the pass.
        images: bool [image_count]; only these images count.
        native: False takes the NumPy path, which is the reference for the native one.
    """
    protocol = matches.protocol
    views = protocol.all_views if views is None else views
    max_dets = protocol.max_dets if max_dets is None else max_dets
    assert max(max_dets) <= protocol.max_dets[-1], "matching saw fewer detections than asked for"
    points, thresholds = protocol.recall_points, protocol.iou_thresholds
    shape = (len(thresholds), matches.category_count, len(views), len(max_dets))
    precision = np.full((shape[0], len(points), *shape[1:]), ABSENT)
    score, recall = precision.copy(), np.full(shape, ABSENT)
    positives = np.zeros(shape[1:3], dtype=np.int64)
    curve = _kernels.precision_at_recall if native else precision_at_recall_numpy

    # Stable: equal scores stay in the order of image ids. Sorted once; every subset below keeps this order.
    order = np.lexsort((-matches.score, matches.dt_category))
    if images is not None:
        order = order[images[matches.dt_image[order]]]
    category_stops = np.searchsorted(matches.dt_category[order], np.arange(matches.category_count + 1))
    counts_here = np.ones(len(matches.gt_row), bool) if images is None else images[matches.gt_image]
    for v, view in enumerate(views):
        counted = matches.gt_category[counts_here & ~matches.gt_ignored[matches.view_index(view)]]
        positives[:, v] = np.bincount(counted, minlength=matches.category_count)
    for k in range(matches.category_count):
        in_category = order[category_stops[k] : category_stops[k + 1]]
        for m, limit in enumerate(max_dets):
            rows = in_category[matches.rank[in_category] < limit]
            for v, view in enumerate(views):
                if positives[k, v] == 0:
                    continue
                for t in range(len(thresholds)):
                    precision[t, :, k, v, m], score[t, :, k, v, m], recall[t, k, v, m] = curve(
                        rows, matches.status[matches.view_index(view), t], matches.score, int(positives[k, v]), points
                    )
    return Curves(precision, score, recall, positives)


def precision_at_recall_numpy(
    order: np.ndarray, status: np.ndarray, score: np.ndarray, positives: int, recall_points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The reference for ``_kernels.precision_at_recall``.

    Args:
        order: int64 [n], detections that take part, by falling score.
        status, score: [N], indexed by ``order``.
        positives: ground-truth boxes that count, above 0.
        recall_points: float64 [R].

    Returns:
        precision [R] and score [R] at those points (0 where recall is never reached), and the final recall.
    """
    hits = np.cumsum(status[order] == TRUE_POSITIVE).astype(float)
    false_alarms = np.cumsum(status[order] == FALSE_POSITIVE).astype(float)
    recall = hits / positives
    precision = hits / (false_alarms + hits + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, recall_points, side="left")
    reached = place < len(order)
    at_points, score_at_points = np.zeros(len(recall_points)), np.zeros(len(recall_points))
    at_points[reached] = precision[place[reached]]
    score_at_points[reached] = score[order][place[reached]]
    return at_points, score_at_points, float(recall[-1]) if len(recall) else 0.0


def best_f1(matches: Matches, iou_threshold_index: int = 0) -> dict | None:
    """The score threshold with the best F1 over all categories together, in the first view.

    Returns:
        ``{"score", "f1", "precision", "recall", "iou", "tp", "fp", "fn"}``. ``score`` lies half way between the lowest
        score that is kept and the highest that is not, so that "above" and "at least" mean the same. None where there
        is no ground truth or no detection hits.
    """
    positives = int((~matches.gt_ignored[0]).sum())
    order = np.argsort(-matches.score, kind="stable")
    status = matches.status[0, iou_threshold_index][order]
    score = matches.score[order]
    hits, false_alarms = np.cumsum(status == TRUE_POSITIVE), np.cumsum(status == FALSE_POSITIVE)
    if positives == 0 or len(order) == 0 or hits[-1] == 0:
        return None
    f1 = 2 * hits / (hits + false_alarms + positives)
    f1[:-1][score[:-1] == score[1:]] = -1  # a threshold cannot part equal scores
    best = int(np.argmax(f1))
    tp, fp = int(hits[best]), int(false_alarms[best])
    next_lower = (
        score[best + 1] if best + 1 < len(score) else np.nextafter(np.float32(score[best]), np.float32(-np.inf))
    )
    return {
        "score": float((score[best] + next_lower) / 2),
        "f1": float(f1[best]),
        "precision": tp / (tp + fp),
        "recall": tp / positives,
        "iou": float(matches.protocol.iou_thresholds[iou_threshold_index]),
        "tp": tp,
        "fp": fp,
        "fn": positives - tp,
    }
