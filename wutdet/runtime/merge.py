"""merge_passes: boxes of overlapping looks at one frame become one list of ships.

1. A box that ends at an inner border of its tile is the part of a ship that the border cuts. It goes where another
   pass saw more of that ship: where a box there, cut down to the part's tile, is the part. The score does not matter,
   so that a sure part cannot beat an unsure whole; a ship lying in front of a larger one is no part of it and stays.
2. Category-wise greedy NMS over what is left, between passes only: of one pass, the detector's own NMS has told the
   boxes apart already. Whole boxes are compared by IoU alone, never by the share of the smaller one, so that two ships
   of which one hides the other stay two.
3. A kept box moves to the mean of what the passes say of its ship: of itself and of the best box of each other pass
   that agrees with it, by squares of scores.
4. A box that other passes should show and do not loses up to half of its score (``doubted``). A pass is asked where it
   shows the box whole and not too small. Means of scores instead measured worse: a pass that shows a tiny ship at a few
   pixels scores it low and means nothing by it.

A ship wider than the overlap that only tiles see, each of them a part, stays as its parts. The work is done by
``kernels/core/tile_merge.cpp``; ``tests/runtime/tile_merge_reference.py`` is the same in NumPy.
"""

from __future__ import annotations

import numpy as np

from wutdet import _kernels
from wutdet.runtime.decode import MAX_CANDIDATES

#: A box this near to its tile's border, in pixels of the network input, ends there.
BORDER_PX = 3.0
#: Least IoU of a part with the ship cut down to the part's tile. At 0.5 or more, the ship holds the part's centre.
PART_IOU = 0.5
#: NMS threshold between the passes; within a pass, the detector's own counts.
MERGE_IOU = 0.5
#: Boxes of one ship overlap by more than this, whatever the threshold of the NMS.
MEAN_IOU = 0.5
#: A pass is asked for boxes of at least so many pixels of the network input, sqrt(area): one cell of the finest stride.
WITNESS_PX = 8.0
#: A pass agrees with a box if its own scores at least this share of it.
AGREEING_SHARE = 0.1
#: Share of its score that a box loses with which no pass agrees.
DOUBT = 0.5


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
    """Which boxes of overlapping passes over one frame are the ships, where these are, and which passes agree.

    The order of the boxes does not matter. A box that is not kept agrees with the kept one of its category, from
    another pass, that it overlaps most, if their IoU is above ``iou`` and ``MEAN_IOU``; of equal IoUs, with the better
    one. A kept box's corners become the mean of its own and of those of the best box of each pass that agrees with it,
    by squares of scores (sums in float64: its own, then from the best on); where all of these are 0 it stays. Parts of
    others have no say, so no box that is cut moves one that is not, or is moved by it. Boxes and scores that are not
    finite neither move nor are moved.

    Args:
        xyxy: float32 [N, 4], boxes in pixels of the frame.
        score: float32 [N].
        category: int32 [N].
        window: int32 [N, 4], the part of the frame that each box's pass looked at. Boxes of equal windows are of one
            pass.
        frame_wh: size of the frame in pixels.
        iou: a box goes that overlaps a better one of its category, from another pass, by more than this.
        border: a box this near to an inner border of its window ends there, pixels of the frame.
        max_det: most boxes kept.
        passes: int32 [P, 4], all windows that were looked at, each once; what ``doubted`` needs.

    Returns:
        int64 [K], rows of the boxes kept, best first; of equal scores the one further left first. float32 [K, 4], where
        their ships are, xyxy in pixels of the frame. float32 [K, P], score of the box of each pass that agrees, 0 where
        none does (P = 0 without ``passes``).
    """
    passes = np.zeros((0, 4), np.int32) if passes is None else passes
    return _kernels.merge_passes(
        np.ascontiguousarray(xyxy, dtype=np.float32),
        np.ascontiguousarray(score, dtype=np.float32),
        np.ascontiguousarray(category, dtype=np.int32),
        np.ascontiguousarray(window, dtype=np.int32),
        np.ascontiguousarray(passes, dtype=np.int32),
        frame_wh,
        border,
        PART_IOU,
        iou,
        MEAN_IOU,
        max_det,
    )


def parts_of_others(
    xyxy: np.ndarray, category: np.ndarray, window: np.ndarray, frame_wh: tuple[int, int], *, border: float = BORDER_PX
) -> np.ndarray:
    """bool [N]: boxes cut by an inner border of their window of which another pass saw more.

    More: a box of the same category, either not cut or larger than the part, whose share inside of the part's window
    overlaps it with an IoU of at least ``PART_IOU``. Arguments as for ``merge_passes``.
    """
    return _kernels.parts_of_others(
        np.ascontiguousarray(xyxy, dtype=np.float32),
        np.ascontiguousarray(category, dtype=np.int32),
        np.ascontiguousarray(window, dtype=np.int32),
        frame_wh,
        border,
        PART_IOU,
    )


def doubted(
    xyxy: np.ndarray,
    score: np.ndarray,
    window: np.ndarray,
    agreed: np.ndarray,
    passes: np.ndarray,
    scale: np.ndarray,
    frame_wh: tuple[int, int],
    *,
    border: float = BORDER_PX,
) -> np.ndarray:
    """Scores of kept boxes, less what the silence of other passes makes them lose.

    Asked are the passes with another window that show the box whole (no inner border nearer than ``border``) and at
    ``WITNESS_PX`` or more. A box loses ``DOUBT`` times the share of these that do not agree; without any, nothing.

    Args:
        xyxy: float32 [K, 4], boxes kept, pixels of the frame.
        score: float32 [K].
        window: int32 [K, 4], of the pass that each box came from.
        agreed: float32 [K, P] as ``merge_passes`` gives it.
        passes: int32 [P, 4], all windows that were looked at.
        scale: float64 [P], pixels of the network input per pixel of the frame in each.
        frame_wh: size of the frame in pixels.
        border: pixels of the frame.

    Returns:
        float32 [K].
    """
    boxes, passes = np.asarray(xyxy, dtype=np.float64).T, np.asarray(passes, dtype=np.int32).reshape(-1, 4)
    width, height = np.maximum(boxes[2] - boxes[0], 0), np.maximum(boxes[3] - boxes[1], 0)
    asked = (width * height)[:, None] * np.square(scale) >= WITNESS_PX**2
    for side, (edge, frame_edge) in enumerate(zip(passes.T, (0, 0, *frame_wh), strict=True)):
        inner = edge != frame_edge
        if side < 2:
            asked &= boxes[side][:, None] > np.where(inner, edge + border, -np.inf)
        else:
            asked &= boxes[side][:, None] < np.where(inner, edge - border, np.inf)
    # A window as two numbers of 64 bits.
    own, others = (np.ascontiguousarray(part, dtype=np.int32).view(np.int64) for part in (window, passes))
    asked &= (own[:, :1] != others[:, 0]) | (own[:, 1:] != others[:, 1])
    score = np.asarray(score, dtype=np.float32)
    agrees = asked & (agreed > 0) & (agreed >= np.float32(AGREEING_SHARE) * score[:, None])
    silent = 1 - agrees.sum(axis=1) / np.maximum(asked.sum(axis=1), 1)
    return (score * np.where(asked.any(axis=1), 1 - DOUBT * silent, 1.0)).astype(np.float32)
