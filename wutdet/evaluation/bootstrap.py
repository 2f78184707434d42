"""Resampling without matching again: every image counts as often as its sequence was drawn.

Frames of one sequence show the same ships, so they are not independent: whole sequences are drawn (the cluster
bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8), single images only where
sequences are unknown. In a resample an image has a weight, the number of times it was drawn; hits, false alarms and
ships then count that many times. Two models on the same frames get the same weights, which makes comparisons paired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from wutdet import _kernels
from wutdet.evaluation.accumulate import Ranking, precision_at_recall_numpy
from wutdet.evaluation.intervals import effective_units
from wutdet.evaluation.matching import Matches, thread_count
from wutdet.evaluation.protocol import Protocol, Stat
from wutdet.evaluation.summary import threshold_rows

_ROWS_AT_ONCE = 50  # resamples per matrix product, to bound memory
_LARGEST_WEIGHT = 255  # of uint8; a unit drawn more often than that would need more than 255 units and luck of 1e-500


@dataclass(frozen=True, eq=False)
class Resampling:
    """B resamples of M images.

    Attributes:
        weights: uint8 [B, M], how often each image counts.
        unit_of_image: int64 [M], which unit an image belongs to.
        unit: what was drawn: "sequence" or "image".
        seed: of the draws.
        caution: what to say where the units are not independent as far as is known.
    """

    weights: np.ndarray
    unit_of_image: np.ndarray
    unit: str
    seed: int
    caution: str | None = None

    @property
    def resamples(self) -> int:
        return len(self.weights)

    def units_in(self, images: np.ndarray | None = None) -> int:
        """Number of units, of all images or of those where ``images`` (bool [M]) is set."""
        chosen = self.unit_of_image if images is None else self.unit_of_image[images]
        return len(np.unique(chosen))


def resample(sequence_codes: np.ndarray | None, image_count: int, resamples: int = 1000, seed: int = 0) -> Resampling:
    """Draws what ``units_of`` says, with a word of caution where all frames are of one sequence."""
    drawn = draw(*units_of(sequence_codes, image_count), resamples, seed)
    one = drawn.unit == "image" and sequence_codes is not None and image_count > 1 and (sequence_codes >= 0).all()
    return replace(drawn, caution=ONE_SEQUENCE) if one else drawn


#: Caution where single frames of one sequence had to be drawn.
ONE_SEQUENCE = "all frames are of one sequence and much alike: the interval is too narrow for any other sequence"


def units_of(sequence_codes: np.ndarray | None, image_count: int) -> tuple[np.ndarray, str]:
    """What to draw: sequences where some are known and not all frames are of the same one, else images.

    Args:
        sequence_codes: int [M], -1 for a frame without a sequence, which then is a unit of its own.
        image_count: M.

    Returns:
        int64 [M] unit of each image, and "sequence" or "image".
    """
    images = np.arange(image_count, dtype=np.int64), "image"
    if sequence_codes is None or not (np.asarray(sequence_codes) >= 0).any():
        return images
    codes = np.asarray(sequence_codes, dtype=np.int64).copy()
    alone = codes < 0
    codes[alone] = codes.max() + 1 + np.arange(int(alone.sum()))
    units = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return (units, "sequence") if units.max() > 0 else images


def draw(unit_of_image: np.ndarray, unit: str, resamples: int = 1000, seed: int = 0) -> Resampling:
    """Draws as many units as there are, with replacement, ``resamples`` times.

    Args:
        unit_of_image: int64 [M], units 0 .. U - 1; see ``units_of``.
        unit: their name.
        resamples: B.
        seed: same seed, same draws.
    """
    units = int(unit_of_image.max()) + 1 if len(unit_of_image) else 0
    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(unit_of_image)), dtype=np.uint8)
    for b in range(resamples if units else 0):
        counts = np.bincount(rng.integers(0, units, units), minlength=units)
        weights[b] = np.minimum(counts, _LARGEST_WEIGHT).astype(np.uint8)[unit_of_image]
    return Resampling(weights, unit_of_image, unit, seed)


def bootstrap(
    matches: Matches,
    protocol: Protocol,
    resampling: Resampling,
    *,
    stats: Iterable[str] | None = None,
    images: np.ndarray | None = None,
    ranking: Ranking | None = None,
    native: bool = True,
) -> dict[str, np.ndarray]:
    """Figures of a protocol in every resample.

    Args:
        matches: of a pass that saw the protocol's views, thresholds and limits.
        protocol: whose figures.
        resampling: weights of the images.
        stats: names of figures; all by default.
        images: bool [M]; only these images count.
        ranking: ``Ranking.of(matches)``, where it was made already.
        native: False takes the NumPy path, which is the reference for the native one.

    Returns:
        float64 [B] by name; NaN in resamples without such objects.
    """
    ranking = Ranking.of(matches) if ranking is None else ranking
    if images is not None:
        ranking = ranking.within(images[matches.dt_image])
    wanted = [stat for stat in protocol.stats if stats is None or stat.name in set(stats)]
    settings: dict[tuple, list[Stat]] = {}
    for stat in wanted:
        settings.setdefault((stat.max_det, stat.view.limits), []).append(stat)
    out: dict[str, np.ndarray] = {}
    for (limit, _), group in settings.items():
        limited = ranking.limited(matches, limit, protocol.limit_per == "image")
        index = matches.view_index(group[0].view)
        only_recall = all(stat.kind == "recall" for stat in group)
        by_category = _recall_by_category if only_recall and native else _by_category
        precision, recall = by_category(matches, protocol, resampling, limited, index, images, native)
        for stat in group:
            rows = threshold_rows(matches, protocol, stat.iou)
            values = (precision if stat.kind == "precision" else recall)[:, :, rows]
            values = values.reshape(resampling.resamples, matches.category_count * len(rows))
            present = ~np.isnan(values)
            count = present.sum(axis=1)
            total = np.where(present, values, 0).sum(axis=1)
            out[stat.name] = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    return {stat.name: out[stat.name] for stat in wanted}


def effective_units_of(
    matches: Matches,
    protocol: Protocol,
    resampling: Resampling,
    *,
    stats: Iterable[str] | None = None,
    images: np.ndarray | None = None,
) -> dict[str, float]:
    """How many equal units the units are worth, by figure: what counts is how its boxes are spread over them.

    Args:
        matches, protocol, resampling, stats, images: as for ``bootstrap``.
    """
    wanted = [stat for stat in protocol.stats if stats is None or stat.name in set(stats)]
    by_view: dict[tuple, float] = {}
    for stat in wanted:
        if stat.view.limits not in by_view:
            counts = ~matches.gt_ignored[matches.view_index(stat.view)]
            if images is not None:
                counts &= images[matches.gt_image]
            units = resampling.unit_of_image[matches.gt_image[counts]]
            by_view[stat.view.limits] = effective_units(np.bincount(units))
    return {stat.name: by_view[stat.view.limits] for stat in wanted}


def _images_of_ships(matches: Matches, view_index: int, images: np.ndarray | None) -> list[np.ndarray]:
    """Per category int32: the image of every ship that counts in a view, on the chosen images."""
    counts = ~matches.gt_ignored[view_index]
    if images is not None:
        counts &= images[matches.gt_image]
    return [matches.gt_image[counts & (matches.gt_category == k)] for k in range(matches.category_count)]


def _by_category(
    matches: Matches,
    protocol: Protocol,
    resampling: Resampling,
    ranking: Ranking,
    view_index: int,
    images: np.ndarray | None,
    native: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean precision over the recall points and final recall, both float64 [B, K, T]."""
    ships = _images_of_ships(matches, view_index, images)
    thresholds = len(matches.iou_thresholds)
    shape = (resampling.resamples, matches.category_count, thresholds)
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    for k in range(matches.category_count):
        arguments = (
            ranking.category(k),
            matches.hit[view_index],
            matches.ignored[view_index],
            matches.dt_image,
            resampling.weights,
            ships[k],
            thresholds,
            protocol.recall_points if protocol.integral == "points" else np.zeros(0),
        )
        if native:
            threads = thread_count(resampling.resamples)
            precision[:, k], recall[:, k] = _kernels.weighted_precision(*arguments, threads)
        else:
            precision[:, k], recall[:, k] = weighted_precision_numpy(*arguments)
    return precision, recall


def _recall_by_category(
    matches: Matches,
    protocol: Protocol,
    resampling: Resampling,
    ranking: Ranking,
    view_index: int,
    images: np.ndarray | None,
    native: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """As _by_category, where only recall is asked for: hits per image are enough, no curve is walked along."""
    ships = _images_of_ships(matches, view_index, images)
    thresholds = len(matches.iou_thresholds)
    recall = np.full((resampling.resamples, matches.category_count, thresholds), np.nan)
    for k in range(matches.category_count):
        places = ranking.category(k)
        image, hit = matches.dt_image[places], matches.hit[view_index][places]
        per_image = np.zeros((matches.image_count, thresholds + 1))
        for t in range(thresholds):
            per_image[:, t] = np.bincount(image[(hit >> t & 1).astype(bool)], minlength=matches.image_count)
        per_image[:, -1] = np.bincount(ships[k], minlength=matches.image_count)
        busy = np.flatnonzero(per_image.any(axis=1))
        for start in range(0, resampling.resamples, _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            # Whole numbers below 2**53: float64 sums are exact in any order, and never invalid; OpenBLAS raises that
            # flag now and then all the same (numpy issues 13173, 24067).
            with np.errstate(invalid="ignore"):
                total = resampling.weights[rows][:, busy].astype(np.float64) @ per_image[busy]
            positives = total[:, -1:]
            recall[rows, k] = np.divide(
                total[:, :-1], positives, out=np.full_like(total[:, :-1], np.nan), where=positives > 0
            )
    return recall, recall


def weighted_precision_numpy(
    order: np.ndarray,
    hit: np.ndarray,
    ignored: np.ndarray,
    image: np.ndarray,
    weights: np.ndarray,
    positive_image: np.ndarray,
    thresholds: int,
    recall_points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The reference for ``_kernels.weighted_precision``: rows are repeated as often as their image counts.

    Args:
        order: int64 [n], detections that take part, by falling score.
        hit, ignored, image: [N], indexed by ``order``; see Matches.
        weights: uint8 [B, M].
        positive_image: int32 [P], image of each ground-truth box that counts.
        thresholds: T.
        recall_points: float64 [R]; none means all of recall.

    Returns:
        Mean precision over the recall points and final recall, float64 [B, T]; NaN where no box counts.
    """
    precision, recall = np.full((2, len(weights), thresholds), np.nan)
    for b, weight in enumerate(weights):
        positives = int(weight[positive_image].astype(np.int64).sum())
        if positives:
            repeated = np.repeat(order, weight[image[order]])
            at_points, _, recall[b], area = precision_at_recall_numpy(
                repeated, hit, ignored, np.zeros(len(hit)), positives, thresholds, recall_points
            )
            precision[b] = at_points.mean(axis=1) if len(recall_points) else area
    return precision, recall
