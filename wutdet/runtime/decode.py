"""From a network's output tensor to boxes in network-input pixels."""

from __future__ import annotations

import numpy as np

from wutdet._kernels import decode_anchors
from wutdet.errors import ModelError

#: Candidates that enter NMS, best first. More than a dense 4K frame has above any useful score.
MAX_CANDIDATES = 30_000


def decode_output(
    output: np.ndarray,
    *,
    end2end: bool | None = None,
    conf: float,
    iou: float,
    max_det: int,
    only_category: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes above a score, best first.

    Args:
        output: float32, one frame: [1, N, 6] rows of x1 y1 x2 y2 score category (NMS-free), or
            [1, 4 + categories, A] columns of cx cy w h and scores, which then get category-wise greedy NMS on the best
            category of each anchor. Network-input pixels.
        end2end: which of the two; told by the last dimension where ``None``.
        conf: boxes with a score above this are kept.
        iou: NMS removes a box that overlaps a better one of its category by more than this.
        max_det: most boxes returned.
        only_category: leave all other categories out, before anything is ranked.

    Returns:
        xyxy float32 [K, 4], score float32 [K], category int32 [K] (0 where ``only_category`` is given).

    Raises:
        ModelError: the output has another shape.
    """
    if output.ndim != 3 or output.shape[0] != 1 or (output.shape[2] != 6 and output.shape[1] < 5):
        raise ModelError(
            f"the model's output has shape {output.shape}; expected (1, N, 6) or (1, 4 + categories, anchors)",
            hint="wutdet runs detection models; segmentation, pose and RT-DETR outputs are not understood",
        )
    if end2end or (end2end is None and output.shape[2] == 6):
        found = _decode_end2end(output[0], conf, max_det, only_category)
    else:
        found = decode_anchors(output[0], only_category, conf, iou, MAX_CANDIDATES, min(max_det, MAX_CANDIDATES))
    # A box branch may put the right edge left of the left one; such a box covers nothing.
    proper = (found[0][:, 2:] > found[0][:, :2]).all(axis=1)
    return found if proper.all() else (found[0][proper], found[1][proper], found[2][proper])


def _decode_end2end(rows: np.ndarray, conf: float, max_det: int, only_category: int | None):
    keep = rows[:, 4] > conf
    if only_category is not None:
        keep &= rows[:, 5] == only_category
    rows = rows[keep]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")][:max_det]
    category = rows[:, 5].astype(np.int32)
    return rows[:, :4], rows[:, 4], category if only_category is None else np.zeros_like(category)
