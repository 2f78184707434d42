"""What an AP means: area ranges, IoU thresholds, limits, and the list of figures. presets.py names the known ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from wutdet.errors import UsageError

Unit = Literal["px", "input", "frame"]

#: pycocotools' upper limit of area.
HUGE_PX2 = 1e5**2

# pycocotools' Params.setDetParams: the same linspace calls, so that the thresholds are the same doubles.
COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class View:
    """A question asked of all boxes: which of them count.

    Attributes:
        name: of the area range.
        low, high: ground truth with an area outside these limits (both inclusive, as in pycocotools) is ignored, and
            so are unmatched detections outside.
        unit: of the area: square pixels of the frame ("px"), of the network input ("input"), or shares of the frame's
            area ("frame").
    """

    name: str
    low: float
    high: float
    unit: Unit = "px"

    @property
    def limits(self) -> tuple:
        """What decides which boxes count; the name does not."""
        return self.unit, float(self.low), float(self.high)

    def outside(self, area: np.ndarray) -> np.ndarray:
        """bool [N]: which areas (in this view's unit) do not count."""
        return (area < self.low) | (area > self.high)

    @property
    def edges(self) -> tuple[float, float | None]:
        """Square roots of the limits, in pixels or as a share; None for "no upper limit"."""
        top = self.high >= HUGE_PX2 if self.unit != "frame" else self.high >= 1
        return float(np.sqrt(self.low)), None if top else float(np.sqrt(self.high))


#: All boxes.
ALL = View("all", 0, HUGE_PX2)


@dataclass(frozen=True)
class Stat:
    """One figure.

    Attributes:
        name: key in ``EvaluationResult.stats``.
        title: for people.
        kind: average precision, or average recall.
        view: which boxes count.
        max_det: most detections per image and category.
        iou: one threshold, or None for the mean over all of the protocol's.
    """

    name: str
    title: str
    kind: Literal["precision", "recall"]
    view: View
    max_det: int
    iou: float | None = None


@dataclass(frozen=True)
class Protocol:
    """Everything that decides what an AP means.

    Attributes:
        name: of the preset.
        source: whose rules these are.
        stats: the figures; the first is the headline.
        iou_thresholds: float64 [T], rising; figures with one threshold may name others.
        recall_points: float64 [R], where precision is read off.
        integral: AP is the mean of precision at the recall points ("points"), or the area under the interpolated
            precision over all of recall ("area").
        limit_per: limits of detections hold per image and category, or per image over all categories.
        olrp: also oLRP, its three parts and the best threshold (olrp.py).
        miss_rate: also the log-average miss rate over false alarms per image (miss_rate.py).
        pairing: how detections and ignored boxes meet; see matching.py.
        ignore_rule: what ignored boxes are before matching; see ignored.py.
    """

    name: str
    source: str
    stats: tuple[Stat, ...]
    iou_thresholds: np.ndarray = field(default_factory=lambda: COCO_THRESHOLDS)
    recall_points: np.ndarray = field(default_factory=lambda: RECALL_POINTS)
    integral: Literal["points", "area"] = "points"
    limit_per: Literal["category", "image"] = "category"
    olrp: bool = False
    miss_rate: bool = False
    pairing: Literal["coco", "cover"] = "coco"
    ignore_rule: Literal["coco", "plain", "drop"] = "coco"

    @property
    def views(self) -> tuple[View, ...]:
        """The area ranges of the figures, each once; the first takes everything."""
        return distinct_views([ALL, *(stat.view for stat in self.stats)])

    @property
    def all_thresholds(self) -> np.ndarray:
        """float64: thresholds of the protocol and of single figures, rising, each once."""
        return merged_thresholds([self])

    @property
    def max_det(self) -> int:
        """The largest limit."""
        return max(stat.max_det for stat in self.stats)

    @property
    def titles(self) -> dict[str, str]:
        """What each figure is, for people."""
        titles = {stat.name: stat.title for stat in self.stats}
        if self.olrp:
            titles |= OLRP_TITLES
        if self.miss_rate:
            titles |= {miss_rate_name(*setup): _miss_rate_title(*setup) for setup in MISS_RATE_SETUPS}
        return titles

    @property
    def headline(self) -> Stat:
        return self.stats[0]


OLRP_TITLES = {
    "oLRP": "optimal localisation recall precision error, 0 is best",
    "oLRP_Loc": "its part of localisation: mean 1 - IoU of hits",
    "oLRP_FP": "its part of false alarms: 1 - precision",
    "oLRP_FN": "its part of misses: 1 - recall",
}

#: TinyPerson's miss rates: IoU threshold and size range (sqrt of area, px; "tiny" begins at 2, not at 1 as for AP).
MISS_RATE_SETUPS = tuple(
    (iou, View(name, low**2, high**2))
    for iou in (0.5, 0.25, 0.75)
    for name, low, high in (
        ("tiny", 2, 20),
        ("tiny1", 2, 8),
        ("tiny2", 8, 12),
        ("tiny3", 12, 20),
        ("small", 20, 32),
        ("all", 0, 1e5),
    )
)


def miss_rate_name(iou: float, view: View) -> str:
    """Key of a miss rate among the figures."""
    return f"MR{round(100 * iou)}_{view.name}"


def _miss_rate_title(iou: float, view: View) -> str:
    return f"miss rate over .01 to 1 false alarms a frame, IoU {iou:.2f}, {view.name}, 0 is best"


def distinct_views(views: Iterable[View]) -> tuple[View, ...]:
    """The views in order, of those with the same limits only the first."""
    once: dict[tuple, View] = {}
    for view in views:
        once.setdefault(view.limits, view)
    return tuple(once.values())


def merged_thresholds(protocols: Iterable[Protocol]) -> np.ndarray:
    """float64: every IoU threshold that some figure needs, rising, each once."""
    out: list[float] = []
    for protocol in protocols:
        wanted = [*protocol.iou_thresholds.tolist(), *(s.iou for s in protocol.stats if s.iou is not None)]
        for threshold in wanted:
            if all(abs(threshold - have) > 1e-9 for have in out):
                out.append(threshold)
    return np.array(sorted(out))


#: Bins for charts, edges in pixels of sqrt(area). The last two are COCO's "medium" and "large".
SIZE_BINS = (
    View("very tiny (<8 px)", 0, 8**2),
    View("tiny (8-16 px)", 8**2, 16**2),
    View("small (16-32 px)", 16**2, 32**2),
    View("medium (32-96 px)", 32**2, 96**2),
    View("large (>96 px)", 96**2, HUGE_PX2),
)


def size_bins(text: str | None) -> tuple[View, ...]:
    """Own bins from the command line: rising edges of sqrt(area), with an optional unit.

    ``"8,16,32,96"`` means pixels of the frame, ``"8,16,32@input"`` pixels of the network input, and
    ``"1/256,1/64,1/16@frame"`` shares of the frame's side (square root of box area over frame area). Bins reach from 0
    to the first edge, between edges, and from the last edge up. None means SIZE_BINS.

    Raises:
        UsageError: not rising positive numbers, or an unknown unit.
    """
    if text is None:
        return SIZE_BINS
    numbers, at, unit = text.partition("@")
    unit = unit.strip() if at else "px"
    if unit not in ("px", "input", "frame"):
        raise UsageError(f"unknown unit '{unit}' of size bins '{text}'; there is px, input, frame")
    edges = [_number(word, text) for word in numbers.split(",")]
    if edges[0] <= 0 or any(a >= b for a, b in pairwise(edges)):
        raise UsageError(f"size bins need rising edges above 0, received '{text}'", hint="for example 8,16,32,96")
    return bins_between(edges, unit)


def bins_between(edges: Sequence[float], unit: Unit = "px") -> tuple[View, ...]:
    """Bins of sqrt(area): below the first edge, between edges, above the last."""
    word = {"px": "px", "input": "input px", "frame": "of frame"}[unit]
    top = 1.0 if unit == "frame" else HUGE_PX2

    def shown(edge: float) -> str:
        return f"1/{1 / edge:g}" if unit == "frame" and edge < 1 else f"{edge:g}"

    bins = [View(f"<{shown(edges[0])} {word}", 0, edges[0] ** 2, unit)]
    for low, high in pairwise(edges):
        bins.append(View(f"{shown(low)}-{shown(high)} {word}", low**2, high**2, unit))
    return (*bins, View(f">{shown(edges[-1])} {word}", edges[-1] ** 2, top, unit))


def _number(word: str, text: str) -> float:
    top, slash, bottom = word.partition("/")
    try:
        value = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        value = float("nan")
    if not np.isfinite(value):
        raise UsageError(f"'{word.strip()}' in size bins '{text}' is not a number", hint="for example 8,16,32,96")
    return value
