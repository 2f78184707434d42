"""evaluate: the figures of one protocol, equal to its source's own code, and what charts need, out of one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.evaluation.accumulate import Ranking, best_f1
from wutdet.evaluation.breakdown import chart_curves, view_rows
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.ignored import apply_ignore_rule
from wutdet.evaluation.matching import Matches, match
from wutdet.evaluation.miss_rate import miss_rates
from wutdet.evaluation.network_input import NetworkInput
from wutdet.evaluation.olrp import olrp
from wutdet.evaluation.presets import preset
from wutdet.evaluation.protocol import ALL, SIZE_BINS, Protocol, merged_thresholds
from wutdet.evaluation.result import EvaluationResult
from wutdet.evaluation.summary import summarise
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

_preset = preset  # the argument of the same name hides it inside evaluate


def evaluate(
    ground_truth: Dataset | GroundTruth, detections: Detections | FoundBoxes, preset: str = "coco", *, native=True
) -> EvaluationResult:
    """Scores detections against annotated frames.

    All frames count, those without ships too. Categories are matched by name; a model and a data set with one category
    each are taken to mean the same thing. ``analyse`` gives slices, intervals and error types as well.

    Args:
        ground_truth: a Dataset, or the table of a COCO file.
        detections: ``image`` is the row in the Dataset.
        preset: "coco", "aitod", "soda-d", "tinyperson" or "visdrone".
        native: False takes the slow NumPy path (same figures; it is there to be compared with).

    Returns:
        The statistics in 0..1, e.g. ``result.stats["AP50"]``; None where there are no such objects.

    Raises:
        DataError: detections that cannot be (see FoundBoxes.of), or categories that do not fit.
        UsageError: unknown preset.
    """
    protocol = _preset(preset)
    truth, found, _ = apply_ignore_rule(*box_tables(ground_truth, detections), protocol.ignore_rule)
    matches = match_for([protocol], truth, found, native=native)
    result = result_of(matches, truth, protocol, native=native)
    stats, thresholds = preset_stats(matches, truth, found, protocol, native=native)
    return replace(result, stats=stats, olrp_thresholds=thresholds)


def box_tables(
    ground_truth: Dataset | GroundTruth, detections: Detections | FoundBoxes
) -> tuple[GroundTruth, FoundBoxes]:
    """Both sides as tables, with the ground truth's categories.

    Raises:
        DataError: see ``evaluate``.
    """
    truth = GroundTruth.of(ground_truth) if isinstance(ground_truth, Dataset) else ground_truth
    if isinstance(detections, Detections):
        detections = FoundBoxes.of(align_categories(detections, truth.category_names), truth)
    return truth, detections


def match_for(
    protocols: Sequence[Protocol],
    truth: GroundTruth,
    found: FoundBoxes,
    *,
    bins=SIZE_BINS,
    network_input: NetworkInput | None = None,
    native=True,
) -> Matches:
    """One pass that serves all of the protocols (which must pair boxes alike) and the size bins."""
    views = [ALL, *(view for protocol in protocols for view in protocol.views), *bins]
    limit = max(protocol.max_det for protocol in protocols)
    thresholds, pairing = merged_thresholds(protocols), protocols[0].pairing
    return match(truth, found, views, thresholds, limit, pairing=pairing, network_input=network_input, native=native)


def result_of(
    matches: Matches, truth: GroundTruth, protocol: Protocol, *, bins=SIZE_BINS, native: bool = True
) -> EvaluationResult:
    """The figures of one protocol, size bins, curves and the best threshold."""
    ranking = Ranking.of(matches)
    return EvaluationResult(
        stats=summarise(matches, protocol, ranking=ranking, native=native),
        titles=protocol.titles,
        protocol=describe(matches, truth, protocol),
        curves=chart_curves(matches, protocol, ranking=ranking, native=native),
        size_bins=view_rows(matches, protocol, bins, ranking=ranking, native=native),
        threshold=best_f1(matches, max_det=protocol.headline.max_det),
        matches=matches,
    )


def preset_stats(
    matches: Matches,
    truth: GroundTruth,
    found: FoundBoxes,
    protocol: Protocol,
    *,
    ranking: Ranking | None = None,
    native: bool = True,
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """All figures of a protocol, those that are no averages of precision or recall included.

    Returns:
        The figures by name, and the best score threshold by category where the protocol has oLRP (see olrp.py).
    """
    stats, thresholds = summarise(matches, protocol, ranking=ranking, native=native), {}
    if protocol.olrp:
        parts = olrp(matches, truth, found, max_det=protocol.max_det, ranking=ranking)
        thresholds = parts.pop("thresholds")
        stats |= parts
    if protocol.miss_rate:
        stats |= miss_rates(truth, found, native=native)
    return stats, thresholds


def describe(matches: Matches, truth: GroundTruth, protocol: Protocol) -> dict:
    """The protocol that the figures were made under, JSON-compatible."""
    import wutdet

    with_boxes = len(np.unique(truth.image))
    limits = sorted({stat.max_det for stat in protocol.stats})
    return {
        "preset": protocol.name,
        "source": protocol.source,
        "iou_thresholds": [round(float(t), 4) for t in protocol.iou_thresholds],
        "recall_points": len(protocol.recall_points),
        "max_dets": limits,
        "area_bins_px2": {view.name: [view.low, view.high] for view in protocol.views},
        "dataset": truth.name,
        "split": truth.split,
        "categories": list(truth.category_names),
        "images": truth.image_count,
        "images_without_boxes": truth.image_count - with_boxes,
        "boxes": int((~truth.ignore).sum()),
        "boxes_ignored": int(truth.ignore.sum()),
        "detections": matches.detection_count,
        "detections_over_limit": matches.detection_count - int((matches.rank < limits[-1]).sum()),
        "true_positives_50": int((matches.hit[0] >> matches.threshold_index(0.5) & 1).sum()),
        "input_size": None,
        "versions": {"wutdet": wutdet.__version__, "numpy": np.__version__},
    }
