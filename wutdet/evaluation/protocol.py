"""Evaluation protocols: thresholds, limits and size bins. These are definitions of benchmarks, not defaults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet.errors import UsageError, suggest


@dataclass(frozen=True)
class View:
    """A question asked of all boxes: which of them count.

    Attributes:
        name: of the area range.
        low_px2, high_px2: ground truth with an area outside these limits (both inclusive, as in pycocotools) is
            ignored, and so are unmatched detections outside.
    """

    name: str
    low_px2: float
    high_px2: float

    def outside(self, area: np.ndarray) -> np.ndarray:
        """bool [N]: which areas (square pixels) do not count."""
        return (area < self.low_px2) | (area > self.high_px2)


@dataclass(frozen=True)
class Protocol:
    """Everything that decides what an AP means.

    Attributes:
        name: of the preset.
        iou_thresholds: float64 [T], rising.
        recall_points: float64 [R], where precision is read off.
        max_dets: rising limits of detections per image and category; matching sees the last.
        views: area ranges; the first one takes everything.
        size_bins: further area ranges, for charts; matched in the same pass.
    """

    name: str
    iou_thresholds: np.ndarray
    recall_points: np.ndarray
    max_dets: tuple[int, ...]
    views: tuple[View, ...]
    size_bins: tuple[View, ...]

    @property
    def all_views(self) -> tuple[View, ...]:
        """Views and size bins in the order in which they are matched."""
        return (*self.views, *self.size_bins)


_HUGE = 1e5**2  # pycocotools' upper limit of area

#: Bins for charts, edges in pixels of sqrt(area). The last two are COCO's "medium" and "large".
SIZE_BINS = (
    View("very tiny (<8 px)", 0, 8**2),
    View("tiny (8-16 px)", 8**2, 16**2),
    View("small (16-32 px)", 16**2, 32**2),
    View("medium (32-96 px)", 32**2, 96**2),
    View("large (>96 px)", 96**2, _HUGE),
)

_PRESETS = {
    # pycocotools' Params.setDetParams: the same linspace calls, so that the thresholds are the same doubles.
    "coco": Protocol(
        name="coco",
        iou_thresholds=np.linspace(0.5, 0.95, 10),
        recall_points=np.linspace(0.0, 1.0, 101),
        max_dets=(1, 10, 100),
        views=(
            View("all", 0, _HUGE),
            View("small", 0, 32**2),
            View("medium", 32**2, 96**2),
            View("large", 96**2, _HUGE),
        ),
        size_bins=SIZE_BINS,
    ),
}


def preset(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        UsageError: no such preset.
    """
    if name not in _PRESETS:
        raise UsageError(f"unknown preset '{name}'; there is {', '.join(_PRESETS)}.{suggest(name, _PRESETS)}")
    return _PRESETS[name]
