"""Best overlaps between two sets of boxes of the same frames, without a matrix of all pairs.

The loop runs over the boxes *within* a frame: its first step compares the first target of every frame with all queries
of that frame, its second step the second targets, and so on. Each step is a few NumPy operations on long columns;
memory grows with the boxes, not with the pairs. 50,000 detections in one frame with 500 ships are 500 such steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_PAIRS_AT_ONCE = 1 << 20  # of the matrices for frames with very many targets: 8 MB a column
_STEPS_AT_ONCE = 256  # frames with more targets than that, and fewer queries, are compared by matrix
_ROWS_AT_ONCE = 1 << 14  # of the long columns: a dozen of them stay in the cache


@dataclass(frozen=True, eq=False)
class Boxes:
    """N boxes of several frames.

    Attributes:
        xyxy: float64 [N, 4]. area: float64 [N], for the union. image: int [N], row of the frame.
        category: int [N].
    """

    xyxy: np.ndarray
    area: np.ndarray
    image: np.ndarray
    category: np.ndarray

    def __len__(self) -> int:
        return len(self.area)

    def take(self, rows: np.ndarray) -> Boxes:
        return Boxes(self.xyxy[rows], self.area[rows], self.image[rows], self.category[rows])


@dataclass(frozen=True, eq=False)
class BestOverlaps:
    """The best target of each of Q queries among those of its own category, and among those of other categories.

    Attributes:
        same_iou, other_iou: float64 [Q], 0 where nothing overlaps.
        same, other: int64 [Q], row of that target (the first of equal ones), or -1 where nothing overlaps.
    """

    same_iou: np.ndarray
    same: np.ndarray
    other_iou: np.ndarray
    other: np.ndarray

    @property
    def any_iou(self) -> np.ndarray:
        """float64 [Q]: of any category."""
        return np.maximum(self.same_iou, self.other_iou)


def best_overlaps(queries: Boxes, targets: Boxes, image_count: int) -> BestOverlaps:
    """For every query the target of its own frame with the highest IoU.

    Args:
        queries, targets: in any order.
        image_count: M; image rows lie in 0..M-1.
    """
    pairing = Pairing.of(queries.image, targets.image, image_count)
    q, t = queries.take(pairing.query_order), targets.take(pairing.target_order)
    q_columns, t_columns = (np.ascontiguousarray(side.xyxy.T) for side in (q, t))
    best = {key: (np.zeros(len(q)), np.full(len(q), -1)) for key in ("same", "other")}
    one_category = _one_category(queries, targets)
    for part, places, is_matrix in pairing.pieces():
        own, theirs = q_columns[:, part], t_columns[:, places]
        if is_matrix:
            iou = _iou_columns(own[:, :, None], q.area[part, None], theirs[:, None], t.area[None, places])
            same = q.category[part, None] == t.category[None, places]
        else:
            iou = _iou_columns(own, q.area[part], theirs, t.area[places])
            same = None if one_category else q.category[part] == t.category[places]
        for key, allowed in (("same", same), ("other", None if same is None else ~same)):
            if same is None and key == "other":
                continue
            masked = iou if allowed is None else np.where(allowed, iou, 0)
            at = places
            if is_matrix:
                column = masked.argmax(axis=1)
                masked, at = masked[np.arange(len(masked)), column], places[column]
            best_iou, best_place = best[key][0][part], best[key][1][part]  # views
            better = masked > best_iou
            np.copyto(best_iou, masked, where=better)
            np.copyto(best_place, at, where=better)
    out = []
    for best_iou, best_place in best.values():
        iou, row = np.empty_like(best_iou), np.empty_like(best_place)
        iou[pairing.query_order] = best_iou
        row[pairing.query_order] = np.r_[pairing.target_order, -1][best_place]
        out += [iou, row]
    return BestOverlaps(*out)


def _one_category(a: Boxes, b: Boxes) -> bool:
    return len(a) == 0 or len(b) == 0 or a.category.min() == a.category.max() == b.category.min() == b.category.max()


def _iou_columns(a: np.ndarray, a_area: np.ndarray, b: np.ndarray, b_area: np.ndarray) -> np.ndarray:
    """IoU of corners given as four columns, which broadcast; 0 where both boxes are empty."""
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = a_area + b_area - shared
    return shared / np.where(union > 0, union, 1)


@dataclass(frozen=True, eq=False)
class Pairing:
    """All pairs of boxes of the same frame, in pieces that fit the memory.

    Attributes:
        query_order, target_order: int64: the order that the pieces below speak of.
        query_image: int64 [Q], frame of the queries in that order.
        first: int64 [Q], place of the first target in the frame of each query, in that order.
        steps: int64 [Q], falling: targets in the frame of each query; 0 where they are compared by matrix.
        matrices: (start, stop) of queries and of targets, of each frame that is compared by matrix.
    """

    query_order: np.ndarray
    target_order: np.ndarray
    first: np.ndarray
    steps: np.ndarray
    matrices: list[tuple[int, int, int, int]]

    @classmethod
    def of(cls, query_image: np.ndarray, target_image: np.ndarray, image_count: int) -> Pairing:
        queries_in = np.bincount(query_image, minlength=image_count)
        targets_in = np.bincount(target_image, minlength=image_count)
        by_matrix = (targets_in > _STEPS_AT_ONCE) & (queries_in < targets_in)
        # Queries of the frames with most targets come first, so that step j concerns the first so many of them.
        steps_in = np.where(by_matrix, 0, targets_in)
        query_order = np.lexsort((query_image, -steps_in[query_image]))
        first_target = np.cumsum(targets_in) - targets_in
        image = query_image[query_order]
        matrices = []
        if by_matrix.any():
            starts = np.flatnonzero(np.r_[True, image[1:] != image[:-1]]) if len(image) else np.zeros(0, np.int64)
            for start in starts[by_matrix[image[starts]]].tolist():
                row = int(image[start])
                target = int(first_target[row])
                matrices.append((start, start + int(queries_in[row]), target, target + int(targets_in[row])))
        return cls(query_order, np.argsort(target_image, kind="stable"), first_target[image], steps_in[image], matrices)

    def pieces(self) -> Iterator[tuple[slice, np.ndarray, bool]]:
        """Yields (queries, places of targets [n], False), pairs side by side, or (queries, places [m], True), all with
        all. In either case the targets of a frame come in their order.
        """
        for start in range(0, len(self.steps), _ROWS_AT_ONCE):
            first, steps = self.first[start : start + _ROWS_AT_ONCE], self.steps[start : start + _ROWS_AT_ONCE]
            having = np.searchsorted(-steps, -np.arange(steps[0]), side="left")  # how many have more than j targets
            for j, stop in enumerate(having.tolist()):
                yield slice(start, start + stop), first[:stop] + j, False
        for start, stop, first, last in self.matrices:
            height = max(1, _PAIRS_AT_ONCE // (last - first))
            for row in range(start, stop, height):
                yield slice(row, min(row + height, stop)), np.arange(first, last), True
