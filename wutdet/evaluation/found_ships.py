"""Which ships were found, and at what score: matches seen from the side of the ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wutdet.evaluation.matching import Matches


def hit_scores(matches: Matches, thresholds: Sequence[int], max_det: int | None = None) -> np.ndarray:
    """float64 [len(thresholds), G], in the order of Matches: score of the ship's hit, -inf where it has none.

    A ship is found at a score threshold where its value is at least that.

    Args:
        matches: of the pass; the first view says what a hit is.
        thresholds: places of IoU thresholds in the pass.
        max_det: limit of detections per image and category; that of the pass by default.
    """
    out = np.full((len(thresholds), len(matches.gt_row)), -np.inf)
    within = None if max_det is None or max_det >= matches.max_det else matches.rank < max_det
    for row, threshold in enumerate(thresholds):
        is_hit = (matches.hit[0] >> threshold & 1).astype(bool)
        hits = np.flatnonzero(is_hit if within is None else is_hit & within)
        out[row, matches.match[threshold, hits]] = matches.score[hits]
    return out
