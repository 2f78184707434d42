"""The row of the horizon in every frame: as labelled, or guessed from where the farthest ships float.

A frame label ``horizon`` holds the row at the middle of the frame in pixels (the rendered scenes have it). Without it,
the guess is made for each camera (where there is such a label), else for each sequence, else over all frames: the
upper tenth of the waterlines of far ships. It lies below the true horizon where no labelled ship is really far: on
rendered scenes by 2 % of the frame height at the median and by 7 % at the upper quartile, with no guess for 4 in 10
frames. So "above the horizon" keeps a margin, and says which of the two it rests on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.evaluation.tables import GroundTruth

#: A ship is far where sqrt(area) is below this share of the frame height.
FAR_SHARE = 0.03
#: Fewer far ships than that give no guess.
FEWEST_FAR = 3
#: A false alarm counts as above the horizon where its lower edge is this share of the frame height above the line.
MARGIN = {"labelled": 0.01, "estimated": 0.05}


@dataclass(frozen=True, eq=False)
class Horizon:
    """Where the horizon lies.

    Attributes:
        row: float64 [M], pixels from the top of the frame; NaN where not known.
        margin: float64 [M], pixels above it that still count as horizon.
        origin: "labelled", "estimated", or None where no frame has one.
    """

    row: np.ndarray
    margin: np.ndarray
    origin: str | None

    @classmethod
    def of(cls, truth: GroundTruth) -> Horizon:
        """From labels, or estimated from the boxes; frame sizes are needed for either."""
        nothing = np.full(truth.image_count, np.nan)
        if truth.size_wh is None:
            return cls(nothing, nothing, None)
        height = np.asarray(truth.size_wh, dtype=np.float64)[:, 1]
        row, origin = _labelled(truth.labels.get("horizon")), "labelled"
        if not np.isfinite(row).any():
            row, origin = _estimated(truth, height), "estimated"
        if np.isfinite(row).any():
            return cls(row, MARGIN[origin] * height, origin)
        return cls(nothing, nothing, None)

    @property
    def known(self) -> np.ndarray:
        """bool [M]."""
        return np.isfinite(self.row)

    def above(self, image: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        """bool [N]: boxes of frames ``image`` whose lower edge ``bottom`` lies clearly above; False where not known."""
        with np.errstate(invalid="ignore"):
            return bottom < (self.row - self.margin)[image]


def _labelled(column: LabelColumn | None) -> np.ndarray:
    if column is None:
        return np.zeros(0)
    values = np.array([*map(_number, column.names), np.nan])
    return values[np.asarray(column.codes)]  # code -1 is the NaN at the end


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:  # some other meaning of the word, such as "visible"
        return math.nan
    return value if math.isfinite(value) else math.nan


def _estimated(truth: GroundTruth, height: np.ndarray) -> np.ndarray:
    """Shares of the height are compared, so that frames of one camera in two sizes fit together."""
    group = np.zeros(truth.image_count, dtype=np.int64)
    for name in ("camera", "sequence"):
        column = truth.labels.get(name)
        if column is not None and (np.asarray(column.codes) >= 0).any():
            group = np.asarray(column.codes, dtype=np.int64)
            break
    tall = np.maximum(height, 1)[truth.image]
    far = ~truth.ignore & (np.sqrt(truth.area) < FAR_SHARE * tall)
    order = np.flatnonzero(far)
    order = order[np.lexsort((truth.xyxy[order, 3] / tall[order], group[truth.image[order]]))]
    of_group, waterline = group[truth.image[order]], truth.xyxy[order, 3] / tall[order]
    guess = np.full(int(group.max(initial=-1)) + 2, np.nan)
    codes, starts, counts = np.unique(of_group, return_index=True, return_counts=True)
    for code, start, count in zip(codes, starts, counts, strict=True):
        if code >= 0 and count >= FEWEST_FAR:  # frames without a sequence have no company
            guess[code] = np.quantile(waterline[start : start + count], 0.1)
    return guess[group] * height
