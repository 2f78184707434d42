"""The merging of passes in NumPy, as wutdet.runtime.merge says it: what the native code is held against."""

from __future__ import annotations

import numpy as np

from wutdet.runtime.decode import MAX_CANDIDATES
from wutdet.runtime.merge import BORDER_PX, MEAN_IOU, MERGE_IOU, PART_IOU

_PAIRS_AT_ONCE = 1 << 18


def merge_passes(
    xyxy: np.ndarray,
    score: np.ndarray,
    category: np.ndarray,
    window: np.ndarray,
    frame_wh: tuple[int, int],
    *,
    iou: float = MERGE_IOU,
    border: float = BORDER_PX,
    max_det: int = MAX_CANDIDATES,
    passes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As wutdet.runtime.merge.merge_passes."""
    rows = np.flatnonzero(~parts_of_others(xyxy, category, window, frame_wh, border=border))
    x1, y1, x2, y2 = xyxy[rows].T
    ties = (*window[rows].T[::-1], y2, x2, y1, x1)
    rows = rows[np.lexsort((*ties, category[rows], -score[rows]))]
    columns = xyxy[rows].astype(np.float32), score[rows].astype(np.float32), category[rows], window[rows]
    kept = _nms_between(columns[0], *columns[2:], np.float32(iou), max_det)
    passes = np.zeros((0, 4), np.int32) if passes is None else passes
    return rows[kept], *_agreement(*columns, kept, max(float(np.float32(iou)), MEAN_IOU), passes)


def _agreement(xyxy, score, category, window, kept, iou, passes) -> tuple[np.ndarray, np.ndarray]:
    """The boxes ``kept``, of boxes by falling score, as means with those that agree with them, and these' scores."""
    agreed = np.zeros((len(kept), len(passes)), np.float32)
    usable = np.isfinite(xyxy).all(axis=1) & np.isfinite(score)
    means, agreeing = xyxy[kept], [[] for _ in kept]
    places = np.flatnonzero(usable[kept])
    boxes, weight = xyxy.astype(np.float64), score.astype(np.float64) ** 2
    ships, area = boxes[kept[places]], np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for other in np.setdiff1d(np.flatnonzero(usable), kept):
        both = _area(_intersection(ships, boxes[other : other + 1]))
        with np.errstate(invalid="ignore"):  # boxes without an area
            overlap = both / (area[other] + area[kept[places]] - both)
        possible = (category[kept[places]] == category[other]) & (window[kept[places]] != window[other]).any(axis=1)
        overlap[~(possible & (overlap > iou))] = 0
        if overlap.any():
            agreeing[places[overlap.argmax()]].append(other)  # of equal overlaps the first
    for place, others in enumerate(agreeing):
        best = {}
        for other in others:
            best.setdefault(tuple(window[other].tolist()), other)
        for column, one in enumerate(passes.tolist()):
            if tuple(one) in best:
                agreed[place, column] = score[best[tuple(one)]]
        members = [kept[place], *best.values()]
        if len(members) > 1 and weight[members].any():
            total = sum(weight[member] * boxes[member] for member in members)
            means[place] = total / sum(weight[member] for member in members)
    return means, agreed


def _nms_between(xyxy, category, window, iou, max_det) -> np.ndarray:
    """Greedy, in float32: a box goes that overlaps a kept one of its category and another window by more."""
    area = _area(xyxy)
    alive, kept = np.ones(len(xyxy), dtype=bool), []
    for row in range(len(xyxy)):
        if not alive[row] or len(kept) == max_det:
            continue
        kept.append(row)
        later = row + 1 + np.flatnonzero(alive[row + 1 :])
        overlap = _area(_intersection(xyxy[later], xyxy[row : row + 1]))
        above = overlap > iou * (area[later] + area[row] - overlap)
        apart = (window[later] != window[row]).any(axis=1)
        alive[later[above & apart & (category[later] == category[row])]] = False
    return np.array(kept, dtype=np.int64)


def parts_of_others(
    xyxy: np.ndarray, category: np.ndarray, window: np.ndarray, frame_wh: tuple[int, int], *, border: float = BORDER_PX
) -> np.ndarray:
    """bool [N]: boxes cut by an inner border of their window of which another pass saw more.

    The other box is of the same category and another window, is not cut or else larger, and cut down to the first
    one's window overlaps it with an IoU of at least ``PART_IOU``. Arguments as for ``merge_passes``.
    """
    boxes, window = np.asarray(xyxy, dtype=np.float64), np.asarray(window, dtype=np.int64)
    inner = window != np.array([0, 0, *frame_wh])
    outwards = np.array([-1, -1, 1, 1])
    cut = (inner & ((boxes - window) * outwards >= -border)).any(axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    is_part = np.zeros(len(boxes), dtype=bool)
    for part, other in _centre_pairs(boxes, np.flatnonzero(cut)):
        useful = (category[part] == category[other]) & (~cut[other] | (area[other] > area[part]))
        useful &= (window[part] != window[other]).any(axis=1)
        part, other = part[useful], other[useful]
        shown = _intersection(boxes[other], window[part])
        both = _area(_intersection(shown, boxes[part]))
        is_part[part[both >= PART_IOU * (_area(shown) + area[part] - both)]] = True
    return is_part


def _centre_pairs(boxes: np.ndarray, rows: np.ndarray):
    """Pairs (row of ``rows``, row of a box that holds its centre), in pieces of bounded size; a box holds its own."""
    centre = (boxes[rows, :2] + boxes[rows, 2:]) / 2
    order = np.argsort(centre[:, 0], kind="stable")
    rows, centre = rows[order], centre[order]
    first = np.searchsorted(centre[:, 0], boxes[:, 0], side="left")
    count = np.searchsorted(centre[:, 0], boxes[:, 2], side="right") - first
    total = np.cumsum(count)
    start = total - count
    begin = 0
    while begin < len(boxes):
        end = max(begin + 1, int(np.searchsorted(total, start[begin] + _PAIRS_AT_ONCE, side="right")))
        holder = np.repeat(np.arange(begin, end), count[begin:end])
        held = first[holder] + np.arange(start[begin], total[end - 1]) - start[holder]
        inside = (boxes[holder, 1] <= centre[held, 1]) & (centre[held, 1] <= boxes[holder, 3])
        yield rows[held[inside]], holder[inside]
        begin = end


def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])], axis=1)


def _area(boxes: np.ndarray) -> np.ndarray:
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return size[:, 0] * size[:, 1]
