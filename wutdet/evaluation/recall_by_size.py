"""Recall against pixel size, and the answer to "what is the smallest ship this model can find?"."""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist

import numpy as np

from wutdet.evaluation.bootstrap import Resampling
from wutdet.evaluation.found_ships import hit_scores
from wutdet.evaluation.intervals import interval as percentile_interval
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.tables import GroundTruth

#: Bins of sqrt(area) are this many to a doubling: 4, 4.8, 5.7, 6.7, 8, ... px. Fixed, so that models compare.
BINS_PER_DOUBLING = 4
#: Bins with fewer ships join the next larger one: 45 of 50 found are 0.79 to 0.96 with 95 % confidence.
FEWEST_SHIPS = 50
FOUND_SHARE = 0.9


def recall_by_size(
    matches: Matches,
    truth: GroundTruth,
    *,
    score: float | None,
    iou: float = 0.5,
    max_det: int | None = None,
    fewest: int = FEWEST_SHIPS,
    resampling: Resampling | None = None,
    level: float = 0.95,
) -> dict:
    """Share of ships found by sqrt(area) in pixels of the frame, at a score threshold and over all detections.

    Ships of all categories are counted together. Bins depend on the ground truth only. The first begins at the
    smallest ship and the last ends at the largest.

    Args:
        matches, truth: of the pass.
        score: threshold in use, e.g. the one with the best F1; None where there is none.
        iou: threshold of the pass.
        max_det: limit of detections per image and category; that of the pass by default.
        fewest: ships per bin, see FEWEST_SHIPS.
        resampling: intervals then come from resampled sequences, but are never narrower than Wilson's (where all ships
            of a bin are found, every resample says so too). Without, they are Wilson's alone, which take ships for
            independent of each other and so are too narrow where the same ship is seen in many frames.
        level: of the intervals.

    Returns:
        ``{"iou", "score", "points": [{"low_px", "high_px", "boxes", "found", "recall", "interval", "found_all",
        "recall_all", "interval_all"}], "found_90_from_px", "found_90_from_px_all"}``. ``found`` counts at the score,
        ``found_all`` at any score. ``found_90_from_px`` is the lower edge of the smallest bin from which on every bin
        has a recall of at least 0.9, None where there is none.
    """
    counted = np.flatnonzero(~matches.gt_ignored[0])
    scores = hit_scores(matches, [matches.threshold_index(iou)], max_det)[0, counted]
    size = np.sqrt(truth.area[matches.gt_row[counted]])
    image = matches.gt_image[counted]
    found = {"": scores >= (np.inf if score is None else score), "_all": np.isfinite(scores)}
    edges = size_edges(size, fewest)
    if len(edges) == 0:
        points = []
    else:
        # Edges are lower bounds; the largest ship belongs to the last bin.
        bin_of = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, len(edges) - 2)
        points = [{"low_px": low, "high_px": high} for low, high in pairwise(edges.tolist())]
        boxes = np.bincount(bin_of, minlength=len(points))
        for suffix, is_found in found.items():
            hits = np.bincount(bin_of[is_found], minlength=len(points))
            intervals = [wilson(int(h), int(n), level) for h, n in zip(hits, boxes, strict=True)]
            if resampling is not None:
                drawn = _resampled(bin_of, is_found, image, len(points), resampling, level)
                intervals = [
                    None if d is None else [min(d[0], w[0]), max(d[1], w[1])]
                    for d, w in zip(drawn, intervals, strict=True)
                ]
            for point, n, h, bounds in zip(points, boxes, hits, intervals, strict=True):
                point |= {"boxes": int(n), f"found{suffix}": int(h), f"recall{suffix}": float(h / n)}
                point[f"interval{suffix}"] = bounds
    return {
        "iou": float(iou),
        "score": score,
        "points": points,
        "found_90_from_px": found_from(points, "recall"),
        "found_90_from_px_all": found_from(points, "recall_all"),
    }


def size_edges(size: np.ndarray, fewest: int = FEWEST_SHIPS) -> np.ndarray:
    """float64 [bins + 1]: rising edges; every bin has at least ``fewest`` ships, or there is one bin.

    Bins are filled from the small end; what is left over at the large end joins the last one.
    """
    if len(size) == 0:
        return np.zeros(0)
    smallest, largest = float(size.min()), float(size.max())
    steps = (
        np.floor(np.log2(max(smallest, 1e-3)) * BINS_PER_DOUBLING),
        np.ceil(np.log2(max(largest, 1e-3)) * BINS_PER_DOUBLING),
    )
    inner = 2.0 ** (np.arange(steps[0] + 1, steps[1]) / BINS_PER_DOUBLING)
    inner = inner[(inner > smallest) & (inner < largest)]
    below = np.searchsorted(np.sort(size), inner, side="left")  # ships below each edge
    edges, used = [smallest], 0
    for edge, count in zip(inner.tolist(), below.tolist(), strict=True):
        if count - used >= fewest and len(size) - count >= fewest:
            edges.append(edge)
            used = count
    return np.array([*edges, largest])


def found_from(points: list[dict], key: str = "recall", share: float = FOUND_SHARE) -> float | None:
    """Lower edge of the smallest bin from which on all reach ``share``; None where the largest does not."""
    smallest = None
    for point in reversed(points):
        if point[key] < share:
            break
        smallest = point["low_px"]
    return smallest


def wilson(hits: int, count: int, level: float = 0.95) -> list[float]:
    """Wilson's score interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # At the ends the exact bound is 0 or 1, which rounding misses by a bit.
    return [0.0 if hits == 0 else float(middle - half), 1.0 if hits == count else float(middle + half)]


def _resampled(
    bin_of: np.ndarray, is_found: np.ndarray, image: np.ndarray, bins: int, resampling: Resampling, level: float
) -> list[list[float] | None]:
    """Intervals of each bin's recall over resampled units."""
    images = resampling.weights.shape[1]
    place = image.astype(np.int64) * bins + bin_of
    counts = [
        np.bincount(rows, minlength=images * bins).reshape(images, bins).astype(np.float32)
        for rows in (place[is_found], place)
    ]
    # Whole numbers, so never invalid; OpenBLAS raises the flag now and then all the same (numpy issues 13173, 24067).
    with np.errstate(invalid="ignore"):
        hits, ships = (
            np.concatenate([block.astype(np.float32) @ table for block in np.array_split(resampling.weights, 16)])
            for table in counts
        )
    values = np.divide(hits, ships, out=np.full(hits.shape, np.nan), where=ships > 0)
    units = [np.unique(resampling.unit_of_image[image[bin_of == b]]) for b in range(bins)]
    return [percentile_interval(values[:, b], len(units[b]), level) for b in range(bins)]


def recall_by_size_text(recall: dict) -> str:
    """The curve as a table for people, with the answer on top."""
    score = "no score threshold" if recall["score"] is None else f"score {recall['score']:.3f}"
    lines = [f"ships found by size (sqrt area), IoU {recall['iou']:g}, {score}:"]
    for key, words in (("found_90_from_px", "at this score"), ("found_90_from_px_all", "at any score")):
        value = recall[key]
        lines.append(f"  90 % found {words}: " + ("at no size" if value is None else f"from {value:.1f} px up"))
    if recall["points"]:
        lines.append(f"  {'px':>15} {'ships':>7} {'found':>7} {'interval':>15} {'any score':>10}")
    for p in recall["points"]:
        bounds = "" if p["interval"] is None else f"{p['interval'][0]:.2f} to {p['interval'][1]:.2f}"
        lines.append(
            f"  {p['low_px']:6.1f} - {p['high_px']:6.1f} {p['boxes']:>7} {p['recall']:>7.3f} {bounds:>15} "
            f"{p['recall_all']:>10.3f}"
        )
    return "\n".join(lines)
