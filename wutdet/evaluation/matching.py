"""One matching pass over all images, categories, IoU thresholds and area ranges; its result is kept as columns.

The rules are pycocotools' ``COCOeval.evaluateImg``. Two notes on flags. pycocotools overwrites ``ignore`` by
``iscrowd``; here a box with ``ignore`` alone is ignored too, and otherwise treated like a box outside the area range
(usual IoU, matched at most once). And pycocotools takes a match with the annotation of id 0 for no match; here ids
play no part.

Everything else (limits on detections per image, slices of images, curves, resampling) is a re-accumulation of these
columns: see accumulate.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet import _kernels
from wutdet.evaluation.protocol import Protocol, View
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

FALSE_POSITIVE, TRUE_POSITIVE, IGNORED = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of every detection and every ground-truth box.

    Detection columns (length N; ordered by category, then image id, then falling score; only the first
    ``max_dets[-1]`` of each image and category):
        dt_row: int64, row in the FoundBoxes.
        dt_image: int64, row of the image.
        dt_category: int64.
        rank: int64, 0-based place within its image and category.
        score: float64.
        status: uint8 [V, T, N]: FALSE_POSITIVE, TRUE_POSITIVE or IGNORED, per view and IoU threshold.
        match: int32 [T, N]: place in the ground-truth columns below that it matched in the first view, or -1.

    Ground-truth columns (length G; ordered by category, then image id, then as in the file):
        gt_row: int64, row in the GroundTruth.
        gt_image: int64, row of the image.
        gt_category: int64.
        gt_ignored: bool [V, G]: does not count in this view.

    Others:
        protocol: views (V = len(protocol.all_views)) and thresholds (T).
        image_count, category_count: of the ground truth.
        detection_count: detections before the limit per image.
    """

    dt_row: np.ndarray
    dt_image: np.ndarray
    dt_category: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    status: np.ndarray
    match: np.ndarray
    gt_row: np.ndarray
    gt_image: np.ndarray
    gt_category: np.ndarray
    gt_ignored: np.ndarray
    protocol: Protocol
    image_count: int
    category_count: int
    detection_count: int

    def view_index(self, view: View) -> int:
        """Place of a view in ``status`` and ``gt_ignored``."""
        return self.protocol.all_views.index(view)


def _places_in_group(group: np.ndarray) -> np.ndarray:
    """int64 [N]: 0, 1, 2, ... anew for each run of equal values."""
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(group)])
    return np.arange(len(group)) - np.repeat(starts, lengths)


def match(ground_truth: GroundTruth, found: FoundBoxes, protocol: Protocol, *, native: bool = True) -> Matches:
    """Matches detections to ground truth.

    Args:
        ground_truth, found: the two tables.
        protocol: thresholds, views, and the most detections per image and category.
        native: False takes the slow NumPy path, which is the reference for the native one; both give the same bytes.
    """
    # Equal scores of different images are decided by the order of image ids, as in pycocotools.
    image_place = np.empty(ground_truth.image_count, dtype=np.int64)
    image_place[np.argsort(ground_truth.image_id, kind="stable")] = np.arange(ground_truth.image_count)
    images = max(ground_truth.image_count, 1)
    groups = images * len(ground_truth.category_names)

    gt_group = ground_truth.category * images + image_place[ground_truth.image]
    gt_order = np.argsort(gt_group, kind="stable")
    dt_group = found.category * images + image_place[found.image]
    dt_order = np.lexsort((-found.score, dt_group))
    rank = _places_in_group(dt_group[dt_order])
    kept = rank < protocol.max_dets[-1]
    dt_order, rank = dt_order[kept], rank[kept]

    def offsets(group: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.bincount(group, minlength=groups))]).astype(np.int64)

    gt_area = ground_truth.area[gt_order]
    dt_area = found.area[dt_order]
    views = protocol.all_views
    gt_ignored = np.stack([ground_truth.ignore[gt_order] | view.outside(gt_area) for view in views])
    dt_outside = np.stack([view.outside(dt_area) for view in views])
    kernel = _kernels.match_boxes if native else match_boxes_numpy
    status, matched = kernel(
        dt_xyxy=np.ascontiguousarray(found.xyxy[dt_order]),
        dt_area=dt_area,
        dt_offsets=offsets(dt_group[dt_order]),
        gt_xyxy=np.ascontiguousarray(ground_truth.xyxy[gt_order]),
        gt_area=ground_truth.box_area[gt_order],
        gt_offsets=offsets(gt_group),
        crowd=ground_truth.crowd[gt_order].astype(np.uint8),
        gt_ignore=gt_ignored.astype(np.uint8),
        dt_outside=dt_outside.astype(np.uint8),
        thresholds=protocol.iou_thresholds,
    )
    return Matches(
        dt_row=dt_order,
        dt_image=found.image[dt_order],
        dt_category=found.category[dt_order],
        rank=rank,
        score=found.score[dt_order],
        status=status,
        match=matched,
        gt_row=gt_order,
        gt_image=ground_truth.image[gt_order],
        gt_category=ground_truth.category[gt_order],
        gt_ignored=gt_ignored,
        protocol=protocol,
        image_count=ground_truth.image_count,
        category_count=len(ground_truth.category_names),
        detection_count=len(found),
    )


def overlap_ratio(dt_xyxy: np.ndarray, dt_area: float, gt_xyxy: np.ndarray, gt_area: float, crowd: bool) -> float:
    """IoU of two boxes; intersection over the detection's area where the ground truth is a crowd."""
    width = min(dt_xyxy[2], gt_xyxy[2]) - max(dt_xyxy[0], gt_xyxy[0])
    height = min(dt_xyxy[3], gt_xyxy[3]) - max(dt_xyxy[1], gt_xyxy[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (dt_area if crowd else dt_area + gt_area - overlap)


def match_boxes_numpy(
    dt_xyxy: np.ndarray,
    dt_area: np.ndarray,
    dt_offsets: np.ndarray,
    gt_xyxy: np.ndarray,
    gt_area: np.ndarray,
    gt_offsets: np.ndarray,
    crowd: np.ndarray,
    gt_ignore: np.ndarray,
    dt_outside: np.ndarray,
    thresholds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The reference for ``_kernels.match_boxes``: slow, and nothing else than the rule.

    Boxes are sorted by group (one image and category); group g owns rows ``offsets[g]:offsets[g + 1]``. Within a group
    detections come by falling score.

    Returns:
        status uint8 [V, T, N] and match int32 [T, N]; see Matches.
    """
    views, count = dt_outside.shape
    status = np.zeros((views, len(thresholds), count), dtype=np.uint8)
    match = np.full((len(thresholds), count), -1, dtype=np.int32)
    for group in range(len(dt_offsets) - 1):
        dt_rows = range(dt_offsets[group], dt_offsets[group + 1])
        gt_rows = range(gt_offsets[group], gt_offsets[group + 1])
        iou = {
            (d, g): overlap_ratio(dt_xyxy[d], dt_area[d], gt_xyxy[g], gt_area[g], bool(crowd[g]))
            for d in dt_rows
            for g in gt_rows
        }
        for view in range(views):
            # What counts is looked at first; of what is ignored only where nothing that counts was found.
            counted = [g for g in gt_rows if not gt_ignore[view, g]]
            ignored = [g for g in gt_rows if gt_ignore[view, g]]
            for t, threshold in enumerate(thresholds):
                taken = set()
                for d in dt_rows:
                    best = -1
                    for rows in (counted, ignored):
                        bar = min(threshold, 1 - 1e-10)
                        for g in rows:
                            if g in taken and not crowd[g]:
                                continue
                            if iou[d, g] >= bar:  # of equals, the later one wins
                                bar, best = iou[d, g], g
                        if best >= 0:
                            break
                    if best >= 0:
                        taken.add(best)
                        status[view, t, d] = IGNORED if gt_ignore[view, best] else TRUE_POSITIVE
                    else:
                        status[view, t, d] = IGNORED if dt_outside[view, d] else FALSE_POSITIVE
                    if view == 0:
                        match[t, d] = best
    return status, match
