"""find_horizon: where the water ends in a frame, from the picture and from ships found in it, in about a millisecond.

The picture is reduced to strips of columns, whose rows are compared with the rows above: a horizon is a place where
many strips change at once, along one nearly level line. The line is found by trying every pair of the strips'
strongest changes (RANSAC with all samples instead of random ones, so that the same picture gives the same line).

It is not always the sea's edge: a quay, a far shore or a hill's foot is as straight. Ships float near these too. Where
no line is sure, small ships are the second witness: they are far away and float near the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wutdet.images import to_bgr_u8

_STRIPS = 16
_ROWS = 270
_CANDIDATES = 3  # changes per strip that may belong to the line
_REACH = 4  # rows above and below that are compared
_TOLERANCE = 0.008  # of the height: a change this near to the line belongs to it
_LEVEL_PRIOR = 0.3  # share of its score that the steepest line loses
_FOREGROUND = 0.2  # share of the height, at the bottom, where lines count less: railings, decks, stamped text
#: Steepest line, rows per column: a ship's camera in a swell, 11 degrees.
STEEPEST = 0.2
#: Lines below this are not believed; see ``Horizon.confidence``.
SURE = 0.4
#: A ship is far where its box is lower than this share of the frame, and counts where it scores so much.
FAR_SHARE, FAR_SCORE = 0.05, 0.15
#: Far ships tell where the horizon is if their scores add up to this.
ENOUGH_SHIPS = 0.75


@dataclass(frozen=True)
class Horizon:
    """A line across the frame.

    Attributes:
        left, right: rows at the frame's left and right edge in pixels from the top; they may lie outside.
        confidence: 0..1: how much of the width has a strong change along the line.
    """

    left: float
    right: float
    confidence: float

    def row(self, column, width: int):
        """Row at a column (a number or an array) of a frame ``width`` pixels wide."""
        return self.left + (self.right - self.left) * np.asarray(column, dtype=np.float64) / width


def find_horizon(frame: np.ndarray, xyxy: np.ndarray, score: np.ndarray) -> Horizon | None:
    """The horizon as far as it can be told: the picture's line if that is sure, else where the far ships float.

    Args:
        frame: as ``estimate_horizon`` takes it.
        xyxy: float32 [N, 4], boxes found in the whole frame, pixels.
        score: float32 [N].

    Returns:
        ``None`` where neither is sure.
    """
    line = estimate_horizon(frame)
    if line is not None and line.confidence >= SURE:
        return line
    far = (xyxy[:, 3] - xyxy[:, 1] < FAR_SHARE * frame.shape[0]) & (score >= FAR_SCORE)
    if score[far].sum() < ENOUGH_SHIPS:
        return None
    waterline, weight = xyxy[far, 3].astype(np.float64), score[far]
    order = np.argsort(waterline)
    median = waterline[order][np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)]
    return Horizon(float(median), float(median), float(min(1.0, weight.sum())))


def estimate_horizon(frame: np.ndarray) -> Horizon | None:
    """The line that most strips of the picture agree on; ``None`` where the picture has no changes at all.

    Args:
        frame: uint8 [H, W, 3] BGR; grey, BGRA and 16-bit frames are converted.
    """
    if frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        frame = to_bgr_u8(frame)
    height, width = frame.shape[:2]
    rows = min(_ROWS, height)
    if rows < 4 * _REACH or width < _STRIPS:
        return None
    fine = cv2.resize(frame, (min(width, 24 * _STRIPS), rows), interpolation=cv2.INTER_NEAREST)
    strips = cv2.resize(fine, (_STRIPS, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    change = _changes(strips)
    column, row, weight = _candidates(change)
    if len(row) < 2:
        return None
    return _best_line(column, row, weight, rows, (width, height))


def _changes(strips: np.ndarray) -> np.ndarray:
    """float32 [rows, strips]: how much the rows below differ from those above, 0..1; 0.5 at three times the usual."""
    total = np.cumsum(np.pad(strips, ((1, 0), (0, 0), (0, 0))), axis=0, dtype=np.float64)
    means = (total[_REACH:] - total[:-_REACH]) / _REACH  # of rows i .. i + reach
    step = np.abs(means[_REACH:] - means[:-_REACH]).sum(axis=2)
    usual = np.median(step, axis=0) + 1.0
    change = np.zeros(strips.shape[:2])
    change[_REACH : _REACH + len(step)] = step / (step + 3 * usual)
    return change


def _candidates(change: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strip, row and weight of every strip's strongest changes, which are at least ``_REACH`` rows apart."""
    highest = cv2.dilate(change, np.ones((2 * _REACH + 1, 1), np.uint8))
    peaks = np.where((change == highest) & (change > 0), change, 0)
    row = np.argpartition(-peaks, _CANDIDATES, axis=0)[:_CANDIDATES]
    weight = np.take_along_axis(peaks, row, axis=0)
    column = np.broadcast_to(np.arange(change.shape[1]), row.shape)
    real = weight > 0
    return column[real], row[real].astype(np.float64), weight[real]


def _best_line(column, row, weight, rows: int, frame_wh: tuple[int, int]) -> Horizon | None:
    width, height = frame_wh
    x = (column + 0.5) / _STRIPS
    first, second = np.nonzero(column[:, None] + _STRIPS // 4 <= column[None, :])
    rise = (row[second] - row[first]) / (x[second] - x[first])  # over the whole width
    level = np.abs(rise) * (height / rows) <= STEEPEST * width
    left = row[first] - rise * x[first]
    middle = left + rise / 2
    level &= (middle >= 0) & (middle < rows)
    rise, left = rise[level], left[level]
    if not len(left):
        return None
    near = np.abs(left[:, None] + rise[:, None] * x - row) <= max(1.5, _TOLERANCE * rows)
    # Of a strip's changes near the line, the strongest counts.
    votes = np.zeros((len(left), _STRIPS))
    for place in range(_CANDIDATES):
        own = _nth_of_strip(column) == place
        votes[:, column[own]] = np.maximum(votes[:, column[own]], near[:, own] * weight[own])
    score = votes.sum(axis=1) / _STRIPS
    score *= 1 - _LEVEL_PRIOR * np.abs(rise) * (height / rows) / (STEEPEST * width)
    score *= np.clip((1 - (left + rise / 2) / rows) / _FOREGROUND, 0, 1)
    best = int(score.argmax())
    inliers = np.flatnonzero(near[best])
    slope, start = np.polyfit(x[inliers], row[inliers], 1, w=weight[inliers])
    scale = height / rows
    return Horizon(float((start + 0.5) * scale), float((start + slope + 0.5) * scale), float(score[best]))


def _nth_of_strip(column: np.ndarray) -> np.ndarray:
    order = np.argsort(column, kind="stable")
    place = np.empty(len(column), dtype=np.int64)
    place[order] = np.arange(len(column)) - np.searchsorted(column[order], column[order])
    return place
