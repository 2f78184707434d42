"""One matching pass over all images, categories, IoU thresholds and area ranges; its result is kept as columns.

The rules are pycocotools' ``COCOeval.evaluateImg``. Two notes on flags. pycocotools overwrites ``ignore`` by
``iscrowd``; here a box with ``ignore`` alone is ignored too, and otherwise treated like a box outside the area range
(usual IoU, matched at most once). And pycocotools takes a match with the annotation of id 0 for no match; here ids
play no part.

Two other ways to pair boxes serve TinyPerson's rules (``pairing``). "cover": a detection that hits nothing is ignored
where a box that does not count in the view covers at least the threshold's share of it, however often that box did so
before. "miss-rate": the same, with a formula that swallows more (see ``cover_share``), and detections outside the
view's sizes are left out before matching.

Everything else (limits on detections per image, presets, slices of images, curves, resampling) is a re-accumulation of
these columns: see accumulate.py and bootstrap.py. A limit needs no pass of its own because matching is greedy by
falling score: what is cut off at the end never changed what came before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wutdet import _kernels
from wutdet.evaluation.network_input import NetworkInput
from wutdet.evaluation.protocol import View, distinct_views
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

FALSE_POSITIVE, TRUE_POSITIVE, IGNORED = 0, 1, 2

#: Ways to pair boxes, in the order of the native enum.
PAIRINGS = ("coco", "cover", "miss-rate")

#: How far outside the view's sizes a detection may lie in "miss-rate" pairing.
_SIZE_MARGIN = 1.25

_DETECTIONS_PER_THREAD = 20_000  # below that a thread costs more than it saves


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of every detection and every ground-truth box.

    Detection columns (length N; ordered by category, then image id, then falling score; only the first ``max_det`` of
    each image and category):
        dt_row: int64, row in the FoundBoxes.
        dt_image: int32, row of the image.
        dt_category: int32.
        rank: int32, 0-based place within its image and category.
        score: float64.
        hit, ignored: uint16 [V, N]: bit t of a view's row is set where the detection is a true positive, or does not
            count, at ``iou_thresholds[t]``; where neither is set it is a false positive.
        match: int32 [T, N]: place in the ground-truth columns below that it matched in the first view, or -1.

    Ground-truth columns (length G; ordered by category, then image id, then as in the file):
        gt_row: int64, row in the GroundTruth.
        gt_image: int32, row of the image.
        gt_category: int32.
        gt_ignored: bool [V, G]: does not count in this view.

    Others:
        views: V questions asked; the first one decides ``match``.
        iou_thresholds: float64 [T].
        max_det: limit of detections per image and category.
        image_count, category_count: of the ground truth.
        detection_count: detections before the limit per image.
    """

    dt_row: np.ndarray
    dt_image: np.ndarray
    dt_category: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    match: np.ndarray
    gt_row: np.ndarray
    gt_image: np.ndarray
    gt_category: np.ndarray
    gt_ignored: np.ndarray
    views: tuple[View, ...]
    iou_thresholds: np.ndarray
    max_det: int
    image_count: int
    category_count: int
    detection_count: int

    def view_index(self, view: View) -> int:
        """Place of a view in ``hit``, ``ignored`` and ``gt_ignored``; views with the same limits are one."""
        for index, known in enumerate(self.views):
            if known.limits == view.limits:
                return index
        raise KeyError(f"view '{view.name}' was not part of the matching pass")

    def threshold_index(self, iou: float) -> int:
        """Place of an IoU threshold; it must have been part of the pass."""
        place = int(np.argmin(np.abs(self.iou_thresholds - iou)))
        if abs(self.iou_thresholds[place] - iou) > 1e-9:
            raise KeyError(f"IoU threshold {iou} was not part of the matching pass")
        return place

    @cached_property
    def by_score(self) -> tuple[np.ndarray, np.ndarray]:
        """Places by category, then falling score (int64 [N]), and where categories begin and end in it (int64 [K + 1]).

        Equal scores stay in the order of image ids.
        """
        if self.category_count == 1:
            order = np.argsort(-self.score, kind="stable")
        else:
            order = np.lexsort((-self.score, self.dt_category))
        return order, np.searchsorted(self.dt_category[order], np.arange(self.category_count + 1))

    def image_rank(self) -> np.ndarray:
        """int32 [N]: 0-based place of a detection within its image, over all categories, by falling score.

        Equal scores stay in the order in which the detections were given.
        """
        order = np.lexsort((self.dt_row, -self.score, self.dt_image))
        out = np.empty(len(order), dtype=np.int32)
        out[order] = _places_in_group(self.dt_image[order])
        return out

    def status(self, view_index: int, threshold_index: int) -> np.ndarray:
        """uint8 [N]: FALSE_POSITIVE, TRUE_POSITIVE or IGNORED at one threshold in one view."""
        hit = self.hit[view_index] >> threshold_index & 1
        ignored = self.ignored[view_index] >> threshold_index & 1
        return (hit * TRUE_POSITIVE + ignored * IGNORED).astype(np.uint8)


def _places_in_group(group: np.ndarray) -> np.ndarray:
    """int32 [N]: 0, 1, 2, ... anew for each run of equal values."""
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(group)])
    return (np.arange(len(group)) - np.repeat(starts, lengths)).astype(np.int32)


def _by_group_and_score(group: np.ndarray, score: np.ndarray) -> np.ndarray:
    """int64 [N]: order by group, then falling score; equal ones stay as they are."""
    later, same = group[1:] > group[:-1], group[1:] == group[:-1]  # most tools write this order already
    if (later | (same & (score[1:] <= score[:-1]))).all():
        return np.arange(len(group))
    return np.lexsort((-score, group))


def match(
    ground_truth: GroundTruth,
    found: FoundBoxes,
    views: Sequence[View],
    iou_thresholds: np.ndarray,
    max_det: int,
    *,
    pairing: str = "coco",
    network_input: NetworkInput | None = None,
    native: bool = True,
) -> Matches:
    """Matches detections to ground truth.

    Args:
        ground_truth, found: the two tables.
        views: area ranges; ``match`` is kept for the first. Those with the same limits are matched once.
        iou_thresholds: float64 [T], rising, at most 16.
        max_det: most detections per image and category that take part.
        pairing: "coco", "cover" or "miss-rate"; see above.
        network_input: what frames are scaled to, for views in network-input pixels.
        native: False takes the slow NumPy path, which is the reference for the native one; both give the same bytes.

    Raises:
        UsageError: a view needs frame sizes or an input size that is not known.
    """
    views = distinct_views(views)
    # Equal scores of different images are decided by the order of image ids, as in pycocotools.
    image_place = np.empty(ground_truth.image_count, dtype=np.int64)
    image_place[np.argsort(ground_truth.image_id, kind="stable")] = np.arange(ground_truth.image_count)
    images = max(ground_truth.image_count, 1)
    groups = images * len(ground_truth.category_names)

    gt_group = ground_truth.category * images + image_place[ground_truth.image]
    gt_order = np.argsort(gt_group, kind="stable")
    dt_group = found.category * images + image_place[found.image]
    dt_order = _by_group_and_score(dt_group, found.score)
    rank = _places_in_group(dt_group[dt_order])
    if len(rank) and rank.max() >= max_det:
        kept = rank < max_det
        dt_order, rank = dt_order[kept], rank[kept]

    def offsets(group: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.bincount(group, minlength=groups))]).astype(np.int64)

    gt_image, dt_image = ground_truth.image[gt_order], found.image[dt_order]
    gt_area, dt_area = ground_truth.area[gt_order], found.area[dt_order]
    gt_ignored = np.empty((len(views), len(gt_order)), dtype=bool)
    dt_outside = np.empty((len(views), len(dt_order)), dtype=bool)
    always_ignored = ground_truth.ignore[gt_order]
    for v, view in enumerate(views):
        factor = ground_truth.area_factor(view.unit, network_input)
        dt_measure = dt_area if factor is None else dt_area * factor[dt_image]
        gt_ignored[v] = view.outside(gt_area if factor is None else gt_area * factor[gt_image])
        gt_ignored[v] |= always_ignored
        if pairing == "miss-rate":
            dt_outside[v] = left_out(dt_measure, view)
        else:
            dt_outside[v] = view.outside(dt_measure)
    arguments = {
        "dt_xyxy": np.ascontiguousarray(found.xyxy[dt_order]),
        "dt_area": dt_area,
        "dt_offsets": offsets(dt_group[dt_order]),
        "gt_xyxy": np.ascontiguousarray(ground_truth.xyxy[gt_order]),
        "gt_area": ground_truth.box_area[gt_order],
        "gt_offsets": offsets(gt_group),
        "crowd": ground_truth.crowd[gt_order].view(np.uint8),
        "gt_ignore": gt_ignored.view(np.uint8),
        "dt_outside": dt_outside.view(np.uint8),
        "thresholds": np.ascontiguousarray(iou_thresholds),
        "pairing": PAIRINGS.index(pairing),
    }
    if native:
        threads = thread_count(len(dt_order) // _DETECTIONS_PER_THREAD)
        hit, ignored, matched = _kernels.match_boxes(**arguments, threads=threads)
    else:
        hit, ignored, matched = match_boxes_numpy(**arguments)
    return Matches(
        dt_row=dt_order,
        dt_image=dt_image.astype(np.int32),
        dt_category=found.category[dt_order].astype(np.int32),
        rank=rank,
        score=found.score[dt_order],
        hit=hit,
        ignored=ignored,
        match=matched,
        gt_row=gt_order,
        gt_image=gt_image.astype(np.int32),
        gt_category=ground_truth.category[gt_order].astype(np.int32),
        gt_ignored=gt_ignored,
        views=views,
        iou_thresholds=np.asarray(iou_thresholds),
        max_det=max_det,
        image_count=ground_truth.image_count,
        category_count=len(ground_truth.category_names),
        detection_count=len(found),
    )


def thread_count(most: int) -> int:
    """Threads for a native kernel: the CPUs that this process may use, but no more than ``most`` and at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, most))


def left_out(dt_area: np.ndarray, view: View) -> np.ndarray:
    """bool [N]: detections (areas in the view's unit) that "miss-rate" pairing leaves out: far outside the sizes."""
    size, low, high = np.sqrt(dt_area), np.sqrt(view.low), np.sqrt(view.high)
    return (size < low / _SIZE_MARGIN) | (size >= high * _SIZE_MARGIN)


def overlap_ratio(dt_xyxy: np.ndarray, dt_area: float, gt_xyxy: np.ndarray, gt_area: float, crowd: bool) -> float:
    """IoU of two boxes; intersection over the detection's area where the ground truth is a crowd."""
    width = min(dt_xyxy[2], gt_xyxy[2]) - max(dt_xyxy[0], gt_xyxy[0])
    height = min(dt_xyxy[3], gt_xyxy[3]) - max(dt_xyxy[1], gt_xyxy[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (dt_area if crowd else dt_area + gt_area - overlap)


def cover_share(dt_xyxy: np.ndarray, dt_area: float, gt_xyxy: np.ndarray, gt_area: float, pairing: str) -> float:
    """How much of a detection an ignored box covers, as "cover" and "miss-rate" pairing take it.

    TinyPerson's miss rate (cityperson_eval.py) takes the share for an IoU, turns it into a share a second time, and
    ignores the detection above one half. That swallows what only touches a large ignored box; it is kept, since the
    published figures were made so.
    """
    share = overlap_ratio(dt_xyxy, dt_area, gt_xyxy, gt_area, crowd=True)
    if pairing == "miss-rate" and share > 0 and share / (1 + share) * (1 + gt_area / dt_area) > 0.5:
        return float("inf")
    return share


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
    pairing: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The reference for ``_kernels.match_boxes``: slow, and nothing else than the rule.

    Boxes are sorted by group (one image and category); group g owns rows ``offsets[g]:offsets[g + 1]``. Within a group
    detections come by falling score.

    Returns:
        hit and ignored uint16 [V, N], match int32 [T, N]; see Matches.
    """
    views, count = dt_outside.shape
    hit = np.zeros((views, count), dtype=np.uint16)
    ignored_bits = np.zeros((views, count), dtype=np.uint16)
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
            miss_rate = PAIRINGS[pairing] == "miss-rate"
            counted = [g for g in gt_rows if not gt_ignore[view, g]]
            ignored = [g for g in gt_rows if gt_ignore[view, g]]
            for t, threshold in enumerate(thresholds):
                taken = set()
                for d in dt_rows:
                    best = -1
                    if miss_rate and dt_outside[view, d]:
                        ignored_bits[view, d] |= 1 << t
                        continue
                    for rows in (counted, ignored) if PAIRINGS[pairing] == "coco" else (counted,):
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
                    not_counted = gt_ignore[view, best] if best >= 0 else dt_outside[view, d]
                    if best < 0 and PAIRINGS[pairing] != "coco":
                        covers = [
                            cover_share(dt_xyxy[d], dt_area[d], gt_xyxy[g], gt_area[g], PAIRINGS[pairing])
                            for g in ignored
                        ]
                        not_counted |= any(cover >= min(threshold, 1 - 1e-10) for cover in covers)
                    if not_counted:
                        ignored_bits[view, d] |= 1 << t
                    elif best >= 0:
                        hit[view, d] |= 1 << t
                    if view == 0:
                        match[t, d] = best
    return hit, ignored_bits, match
