"""From matches to curves and averages. Nothing is matched again here, so slices, presets and resamples are cheap.

The rules are pycocotools' ``COCOeval.accumulate`` and ``summarize``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wutdet import _kernels
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import RECALL_POINTS, View

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
        area: float64 [T, K, V, M], under the precision interpolated over all of recall, without recall points.
        positives: int64 [K, V], ground-truth boxes that count.
    """

    precision: np.ndarray
    score: np.ndarray
    recall: np.ndarray
    area: np.ndarray
    positives: np.ndarray


def mean_of_present(values: np.ndarray) -> float | None:
    """Mean of what is not ABSENT, or None where all of it is."""
    present = values[values > ABSENT]
    return float(np.mean(present)) if len(present) else None


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detections by category and falling score; equal scores stay in the order of image ids.

    Attributes:
        order: int64 [N], places in the detection columns of Matches.
        category_stops: int64 [K + 1]: category k owns ``order[category_stops[k]:category_stops[k + 1]]``.
    """

    order: np.ndarray
    category_stops: np.ndarray

    @classmethod
    def of(cls, matches: Matches) -> Ranking:
        return cls(*matches.by_score)

    def within(self, kept: np.ndarray) -> Ranking:
        """Only the detections where ``kept`` (bool [N], by place in the columns of Matches) is set."""
        chosen = kept[self.order]
        stops = np.concatenate([[0], np.cumsum(chosen)])[self.category_stops]
        return Ranking(self.order[chosen], stops)

    def limited(self, matches: Matches, limit: int, per_image: bool = False) -> Ranking:
        """Only the first ``limit`` detections of every image and category, or of every image."""
        if per_image and matches.category_count > 1:
            return self.within(matches.image_rank() < limit)
        return self if limit >= matches.max_det else self.within(matches.rank < limit)

    def category(self, k: int) -> np.ndarray:
        """int64: places of one category's detections."""
        return self.order[self.category_stops[k] : self.category_stops[k + 1]]


def count_positives(matches: Matches, views: Sequence[View], images: np.ndarray | None = None) -> np.ndarray:
    """int64 [K, V]: ground-truth boxes that count, of all images or of those where ``images`` (bool [M]) is set."""
    out = np.zeros((matches.category_count, len(views)), dtype=np.int64)
    for v, view in enumerate(views):
        counts = ~matches.gt_ignored[matches.view_index(view)]
        if images is not None:
            counts &= images[matches.gt_image]
        out[:, v] = np.bincount(matches.gt_category[counts], minlength=matches.category_count)
    return out


def accumulate(
    matches: Matches,
    views: Sequence[View] | None = None,
    max_dets: Sequence[int] | None = None,
    *,
    per_image: bool = False,
    images: np.ndarray | None = None,
    recall_points: np.ndarray = RECALL_POINTS,
    ranking: Ranking | None = None,
    native: bool = True,
) -> Curves:
    """Curves of some views and limits at all thresholds of the pass, over all images or some.

    Args:
        matches: of the matching pass.
        views: which, out of ``matches.views``; all of them by default.
        max_dets: limits of detections per image and category, none above that of the pass (the default).
        per_image: the limits hold for all categories of an image together.
        images: bool [image_count]; only these images count.
        recall_points: float64 [R], rising.
        ranking: ``Ranking.of(matches)``, where it was made already.
        native: False takes the NumPy path, which is the reference for the native one.
    """
    views = matches.views if views is None else views
    max_dets = (matches.max_det,) if max_dets is None else max_dets
    assert max(max_dets, default=0) <= matches.max_det, "matching saw fewer detections than asked for"
    thresholds = len(matches.iou_thresholds)
    shape = (thresholds, matches.category_count, len(views), len(max_dets))
    precision = np.full((thresholds, len(recall_points), *shape[1:]), ABSENT)
    score, recall = precision.copy(), np.full(shape, ABSENT)
    area = recall.copy()
    positives = count_positives(matches, views, images)
    curve = _kernels.precision_at_recall if native else precision_at_recall_numpy
    ranking = Ranking.of(matches) if ranking is None else ranking
    if images is not None:
        ranking = ranking.within(images[matches.dt_image])
    for m, limit in enumerate(max_dets):
        limited = ranking.limited(matches, limit, per_image)
        for k in range(matches.category_count):
            rows = limited.category(k)
            for v, view in enumerate(views):
                if positives[k, v] == 0:
                    continue
                index = matches.view_index(view)
                at = (slice(None), k, v, m)
                precision[:, :, k, v, m], score[:, :, k, v, m], recall[at], area[at] = curve(
                    rows,
                    matches.hit[index],
                    matches.ignored[index],
                    matches.score,
                    int(positives[k, v]),
                    thresholds,
                    recall_points,
                )
    return Curves(precision, score, recall, area, positives)


def precision_at_recall_numpy(
    order: np.ndarray,
    hit: np.ndarray,
    ignored: np.ndarray,
    score: np.ndarray,
    positives: int,
    thresholds: int,
    recall_points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The reference for ``_kernels.precision_at_recall``.

    Args:
        order: int64 [n], detections that take part, by falling score.
        hit, ignored, score: [N], indexed by ``order``; see Matches.
        positives: ground-truth boxes that count, above 0.
        thresholds: T, bits in use.
        recall_points: float64 [R].

    Returns:
        precision [T, R] and score [T, R] at those points (0 where recall is never reached), final recall [T], and area
        [T] under the precision interpolated over all of recall.
    """
    at_points, score_at_points = np.zeros((2, thresholds, len(recall_points)))
    final, area = np.zeros((2, thresholds))
    for t in range(thresholds):
        is_hit = (hit[order] >> t & 1).astype(bool)
        is_ignored = (ignored[order] >> t & 1).astype(bool)
        hits = np.cumsum(is_hit).astype(float)
        false_alarms = np.cumsum(~is_hit & ~is_ignored).astype(float)
        recall = hits / positives
        precision = hits / (false_alarms + hits + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(recall, recall_points, side="left")
        reached = place < len(order)
        at_points[t, reached] = precision[place[reached]]
        score_at_points[t, reached] = score[order][place[reached]]
        final[t] = recall[-1] if len(recall) else 0.0
        area[t] = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return at_points, score_at_points, final, area


def best_f1(matches: Matches, iou: float = 0.5, max_det: int | None = None) -> dict | None:
    """The score threshold with the best F1 over all categories together, in the first view.

    Args:
        matches: of the pass.
        iou: threshold of a hit; part of the pass.
        max_det: most detections per image and category; that of the pass by default.

    Returns:
        ``{"score", "f1", "precision", "recall", "iou", "tp", "fp", "fn"}``. ``score`` lies half way between the lowest
        score that is kept and the highest that is not, so that "above" and "at least" mean the same. None where there
        is no ground truth or no detection hits.
    """
    positives = int((~matches.gt_ignored[0]).sum())
    order = np.argsort(-matches.score, kind="stable")
    if max_det is not None:
        order = order[matches.rank[order] < max_det]
    threshold_index = matches.threshold_index(iou)
    is_hit = (matches.hit[0][order] >> threshold_index & 1).astype(np.int64)
    is_ignored = (matches.ignored[0][order] >> threshold_index & 1).astype(np.int64)
    score = matches.score[order]
    hits, false_alarms = np.cumsum(is_hit), np.cumsum(1 - is_hit - is_ignored)
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
        "iou": float(matches.iou_thresholds[threshold_index]),
        "tp": tp,
        "fp": fp,
        "fn": positives - tp,
    }
