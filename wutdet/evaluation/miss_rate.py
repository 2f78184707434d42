"""TinyPerson's miss rate: how many ships are missed at 0.01 to 1 false alarms per frame.

The rules are those of TinyBenchmark's cityperson_eval.py, after Dollar et al., "Pedestrian Detection: An Evaluation of
the State of the Art", TPAMI 2012: the geometric mean of the miss rate at nine numbers of false alarms per frame, evenly
spaced from 0.01 to 1 on a logarithmic scale. Two of its habits are kept, because the published figures have them:
where already the first detection is more than the allowed number of false alarms (possible below 100 frames), the final
miss rate is taken; and a miss rate of 0 at one of the nine makes the mean 0. Crowd boxes are ignored here, there they
would count.
"""

from __future__ import annotations

import numpy as np

from wutdet.evaluation.accumulate import Ranking, count_positives
from wutdet.evaluation.matching import left_out, match
from wutdet.evaluation.protocol import MISS_RATE_SETUPS, distinct_views, miss_rate_name
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

MAX_DET = 1000
FALSE_ALARMS_PER_FRAME = np.exp(np.linspace(np.log(0.01), np.log(1.0), 9))


def miss_rates(truth: GroundTruth, found: FoundBoxes, *, native: bool = True) -> dict[str, float | None]:
    """Log-average miss rates in 0..1 by name (``MR50_tiny``, ...); None where there are no such ships."""
    views = distinct_views(view for _, view in MISS_RATE_SETUPS)
    thresholds = np.array(sorted({iou for iou, _ in MISS_RATE_SETUPS}))
    matches = match(truth, found, views, thresholds, MAX_DET, pairing="miss-rate", native=native)
    ranking = Ranking.of(matches)
    positives = count_positives(matches, views)
    out = {}
    for iou, view in MISS_RATE_SETUPS:
        v, bit = matches.view_index(view), matches.threshold_index(iou)
        # Left out is more than ignored: an ignored detection is a place on the curve, with no false alarm so far.
        kept = ranking.within(~left_out(found.area[matches.dt_row], view))
        logs = []
        for k in np.flatnonzero(positives[:, v]).tolist():
            order = kept.category(k)
            hit = matches.hit[v][order] >> bit & 1
            ignored = matches.ignored[v][order] >> bit & 1
            recall = recall_at_false_alarms(hit, ignored, int(positives[k, v]), truth.image_count)
            with np.errstate(divide="ignore"):  # log(0): nothing is missed
                logs.append(np.log(1 - recall))
        out[miss_rate_name(iou, view)] = float(np.exp(np.mean(logs))) if logs else None
    return out


def recall_at_false_alarms(hit: np.ndarray, ignored: np.ndarray, positives: int, frames: int) -> np.ndarray:
    """float64 [9]: recall reached at each allowed number of false alarms per frame.

    Args:
        hit, ignored: uint16 [n] of 0 and 1, detections by falling score; neither means false alarm.
        positives: ships that count, above 0.
        frames: number of frames.
    """
    if len(hit) == 0:
        return np.zeros(len(FALSE_ALARMS_PER_FRAME))
    false_alarms = np.cumsum(1 - hit.astype(np.int64) - ignored) / frames
    recall = np.cumsum(hit.astype(np.int64)) / positives
    # The place before the first is the last one: NumPy's and the source's reading of index -1.
    return recall[np.searchsorted(false_alarms, FALSE_ALARMS_PER_FRAME, side="right") - 1]
