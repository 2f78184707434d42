"""How much accuracy maritime corruptions cost: ``wutdet eval --corrupt``.

Every chosen frame is decoded once, corrupted in every way, and looked at by the detector; the figures are COCO's,
whatever the headline's preset. Under horizon_tilt the boxes turn with the frame, see ``wutdet.corrupt.tilt``; the size
of a ship, by which APs chooses, stays what it was.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from wutdet.corrupt.draws import derived_seed
from wutdet.corrupt.frame import DEFAULT_HORIZON, corrupt_labelled
from wutdet.corrupt.severities import GROUPS, NAMES, SEVERITIES, parameters
from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.coco import evaluate
from wutdet.evaluation.horizon import Horizon
from wutdet.evaluation.model import frames_ahead
from wutdet.evaluation.presets import preset
from wutdet.evaluation.result import EvaluationResult
from wutdet.evaluation.tables import GroundTruth

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector

log = logging.getLogger(__name__)

STATS = ("AP", "AP50", "APs")

_PASSES_AHEAD = 2  # corrupted frames that wait for the network


@dataclass(frozen=True, eq=False)
class _View:
    """One frame as the detector sees it: ``place`` is where the figures go, None for the clean frame."""

    place: tuple[str, int] | None
    row: int
    image: np.ndarray
    xyxy: np.ndarray
    kept: np.ndarray


def evaluate_robustness(
    detector: Detector | Callable[[np.ndarray], Detections],
    dataset: Dataset,
    *,
    names: Sequence[str] = NAMES,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    clean: EvaluationResult | None = None,
    max_frames: int | None = None,
    horizon: float | np.ndarray | None = None,
    progress: bool = True,
) -> dict:
    """AP under each corruption and severity, and what is lost against clean frames.

    A frame's corruptions depend on ``seed`` and the frame's file name alone: not on the other frames, their order, or
    the number of threads.

    Args:
        detector: called with each frame; its threshold should be low (0.001).
        dataset: frames and boxes.
        names, severities: which corruptions; all by default.
        seed: of everything random.
        clean: result on the clean frames, which saves one pass; used where it is COCO's and of the same frames.
        max_frames: most frames, chosen evenly; see ``choose_frames``. None takes all.
        horizon: height of the horizon as a share of the frame's height, one for all or one per frame [M]; None
            takes it from the boxes or labels, see ``frame_horizons``.
        progress: a bar on stderr, where that is a terminal; otherwise a line in the log now and then.

    Returns:
        JSON-compatible, accuracy in 0..1, None where there are no such objects::

            {"preset": "coco", "seed", "frames", "frames_of", "horizon": where it comes from,
             "severities": [1, .., 5], "clean": {"AP", "AP50", "APs"},
             "corruptions": [{"name", "group", "AP": [5], "AP50": [5], "APs": [5],
                              "mean_AP", "loss_AP", "relative_loss"}],
             "mean_AP", "mean_loss_AP"}

    Raises:
        UsageError: unknown or repeated corruption or severity, none at all, or ``max_frames`` below 1.
        DataError: no frames, a frame that cannot be read, or categories that do not fit.
    """
    places = _places(names, severities)
    if len(dataset) == 0:
        raise DataError(f"'{dataset.name or dataset.root}' has no frames to evaluate on")
    if hasattr(detector, "category_names"):  # before the long part
        align_categories(Detections.empty(detector.category_names), dataset.category_names)
    horizons, origin = frame_horizons(dataset) if horizon is None else (horizon, "given")
    horizons = np.broadcast_to(horizons, len(dataset))
    rows = choose_frames(dataset, max_frames)
    chosen = dataset.select(rows)
    reference = _reference(clean, len(dataset)) if len(rows) == len(dataset) else None
    found: dict[tuple[str, int] | None, list[Detections]] = {place: [] for place in places}
    if reference is None:
        found[None] = []
    moved: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray]]] = {place: [] for place in places}
    views = _views(chosen, list(found), horizons[rows], seed)
    for view in _reported(_made_ahead(views), len(rows) * len(found), progress):
        boxes = align_categories(detector(view.image), dataset.category_names)
        found[view.place].append(_best(boxes, preset("coco").max_det).at_row(view.row))
        if view.place is not None:
            moved[view.place].append((view.xyxy, view.kept))
    stats = {
        place: _stats(chosen if place is None else _with_boxes(chosen, moved[place]), parts)
        for place, parts in found.items()
    }
    if reference is None:
        reference = stats[None]
    rows_json = [_corruption(name, [stats[name, s] for s in severities], reference) for name in names]
    return {
        "preset": "coco",
        "seed": int(seed),
        "frames": len(rows),
        "frames_of": len(dataset),
        "horizon": origin,
        "severities": [int(s) for s in severities],
        "clean": reference,
        "corruptions": rows_json,
        "mean_AP": _mean([row["mean_AP"] for row in rows_json]),
        "mean_loss_AP": _mean([row["loss_AP"] for row in rows_json]),
    }


def choose_frames(dataset: Dataset, most: int | None) -> np.ndarray:
    """int64, ascending: rows of at most so many frames, every n-th of the sequences laid end to end.

    Each sequence so keeps its share of the frames, and the choice needs no seed.

    Raises:
        UsageError: ``most`` is below 1.
    """
    if most is not None and most < 1:
        raise UsageError(f"at least one frame is needed, received max_frames={most}")
    count = len(dataset)
    if most is None or most >= count:
        return np.arange(count)
    order = np.lexsort((np.arange(count), np.asarray(dataset.frame_index), np.asarray(dataset.sequence.codes)))
    return np.sort(order[(2 * np.arange(most) + 1) * count // (2 * most)])


def frame_horizons(dataset: Dataset) -> tuple[np.ndarray, str]:
    """float64 [M], the horizon as a share of each frame's height, and where it comes from.

    "labelled" or "estimated" from far ships (``wutdet.evaluation.horizon``); frames without either, or all of them
    ("assumed"), get 0.45.
    """
    horizon = Horizon.of(GroundTruth.of(dataset))
    share = horizon.row / np.maximum(np.asarray(dataset.size_wh, dtype=np.float64)[:, 1], 1)
    return np.where(np.isfinite(share), share, DEFAULT_HORIZON), horizon.origin or "assumed"


def _places(names: Sequence[str], severities: Sequence[int]) -> list[tuple[str, int]]:
    if not len(names) or not len(severities):
        raise UsageError("no corruptions or no severities are named", hint=f"corruptions: {', '.join(NAMES)}")
    places = [(name, severity) for name in names for severity in severities]
    for place in places:
        parameters(*place)  # refuses what does not exist
    if len(set(places)) != len(places):
        raise UsageError(f"a corruption or severity is named twice: {list(names)}, {list(severities)}")
    return places


def _reference(clean: EvaluationResult | None, frames: int) -> dict | None:
    if clean is None or clean.protocol.get("preset") != "coco" or clean.protocol.get("images") != frames:
        return None
    return {name: clean.stats[name] for name in STATS}


def _views(dataset: Dataset, places: Sequence[tuple[str, int] | None], horizons: np.ndarray, seed: int):
    for row, image in enumerate(frames_ahead(dataset)):
        xyxy = np.asarray(dataset.xyxy[dataset.box_rows(row)], dtype=np.float64)
        frame_seed = derived_seed(int(seed), dataset.path[row])
        for place in places:
            if place is None:
                yield _View(None, row, image, xyxy, np.ones(len(xyxy), dtype=bool))
                continue
            bad = corrupt_labelled(image, xyxy, *place, seed=frame_seed, horizon=float(horizons[row]))
            yield _View(place, row, bad.image, bad.xyxy, bad.kept)


def _made_ahead(views: Iterator[_View]) -> Iterator[_View]:
    """The same views, the next ones being made in a thread while the detector is at work."""
    with ThreadPoolExecutor(1, thread_name_prefix="wutdet-corrupt") as pool:
        waiting = deque(pool.submit(next, views, None) for _ in range(_PASSES_AHEAD))
        try:
            while (view := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, views, None))
                yield view
        finally:
            for future in waiting:
                future.cancel()


def _reported(views: Iterable[_View], total: int, progress: bool) -> Iterable[_View]:
    if not progress:
        return views
    if not sys.stderr.isatty():
        return _logged(views, total)
    from rich.console import Console
    from rich.progress import track

    return track(views, "detecting on corrupted frames", total=total, console=Console(stderr=True))


def _logged(views: Iterable[_View], total: int) -> Iterator[_View]:
    step = max(total // 10, 1)
    for done, view in enumerate(views, start=1):
        yield view
        if done % step == 0:
            log.info("corrupted frames: %d of %d", done, total)


def _best(boxes: Detections, most: int) -> Detections:
    """The best ``most`` of each category: what COCO counts. 60 passes of everything would take much memory."""
    if len(boxes) <= most:
        return boxes
    order = np.lexsort((-boxes.score, boxes.category))
    category = boxes.category[order]
    rank = np.arange(len(order)) - np.searchsorted(category, category)
    return boxes.take(np.sort(order[rank < most]))


def _with_boxes(dataset: Dataset, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Dataset:
    xyxy, kept = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return replace(dataset, xyxy=xyxy, ignore=np.asarray(dataset.ignore, dtype=bool) | ~kept)


def _stats(dataset: Dataset, parts: Sequence[Detections]) -> dict[str, float | None]:
    stats = evaluate(dataset, Detections.concatenate(parts), preset="coco").stats
    return {name: stats[name] for name in STATS}


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _corruption(name: str, by_severity: Sequence[Mapping], clean: Mapping) -> dict:
    columns = {stat: [stats[stat] for stats in by_severity] for stat in STATS}
    mean, base = _mean(columns["AP"]), clean["AP"]
    loss = None if mean is None or base is None else base - mean
    return {
        "name": name,
        "group": GROUPS[name],
        **columns,
        "mean_AP": mean,
        "loss_AP": loss,
        "relative_loss": loss / base if loss is not None and base > 0 else None,
    }


def robustness_text(robustness: Mapping) -> str:
    """The table for a terminal, worst corruption first."""

    def figure(value: float | None) -> str:
        return "none" if value is None else f"{value:.3f}"

    def share(value: float | None) -> str:
        return "none" if value is None else f"{value:.0%}"

    clean, severities = robustness["clean"], robustness["severities"]
    frames, available = robustness["frames"], robustness.get("frames_of")
    counted = f"{frames} frames" if available in (None, frames) else f"{frames} of {available} frames"
    head = "".join(f"{f'AP at {s}':>9}" for s in severities)
    lines = [
        f"  corrupted frames ({counted}); clean: " + ", ".join(f"{key} {figure(clean[key])}" for key in STATS),
        f"  {'corruption':<14}{head}{'mean':>8}{'lost':>8}{'of AP':>7}{'AP50':>8}{'APs':>8}",
    ]
    rows = robustness["corruptions"]
    for row in sorted(rows, key=lambda row: -(row["loss_AP"] or 0)):
        cells = "".join(f"{figure(value):>9}" for value in row["AP"])
        means = "".join(f"{figure(_mean(row[key])):>8}" for key in ("AP50", "APs"))
        lines.append(
            f"  {row['name']:<14}{cells}{figure(row['mean_AP']):>8}{figure(row['loss_AP']):>8}"
            f"{share(row['relative_loss']):>7}{means}"
        )
    pad = " " * 9 * len(severities)
    lines.append(
        f"  {'mean':<14}{pad}{figure(robustness['mean_AP']):>8}{figure(robustness['mean_loss_AP']):>8}"
        "        (AP50, APs: means over severities)"
    )
    return "\n".join(lines)
