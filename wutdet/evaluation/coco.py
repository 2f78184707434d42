"""evaluate: the 12 COCO statistics, equal to pycocotools, and what charts need, out of one matching pass."""

from __future__ import annotations

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.evaluation.accumulate import ABSENT, Curves, accumulate, best_f1, mean_of_present
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.matching import TRUE_POSITIVE, Matches, match
from wutdet.evaluation.protocol import Protocol, preset
from wutdet.evaluation.result import EvaluationResult
from wutdet.evaluation.tables import FoundBoxes, GroundTruth


def evaluate(
    ground_truth: Dataset | GroundTruth, detections: Detections | FoundBoxes, preset: str = "coco", *, native=True
) -> EvaluationResult:
    """Scores detections against annotated frames.

    All frames count, those without ships too. Categories are matched by name; a model and a data set with one category
    each are taken to mean the same thing.

    Args:
        ground_truth: a Dataset, or the table of a COCO file.
        detections: ``image`` is the row in the Dataset.
        preset: "coco".
        native: False takes the slow NumPy path (same figures; it is there to be compared with).

    Returns:
        The statistics in 0..1, e.g. ``result.stats["AP50"]``; None where there are no such objects.

    Raises:
        DataError: detections that cannot be (see FoundBoxes.of), or categories that do not fit.
        UsageError: unknown preset.
    """
    protocol = _preset(preset)
    table = GroundTruth.of(ground_truth) if isinstance(ground_truth, Dataset) else ground_truth
    if isinstance(detections, Detections):
        detections = FoundBoxes.of(align_categories(detections, table.category_names), table)
    matches = match(table, detections, protocol, native=native)
    return result_of(matches, table, native=native)


_preset = preset  # the argument of the same name hides it inside evaluate


def result_of(matches: Matches, ground_truth: GroundTruth, *, native: bool = True) -> EvaluationResult:
    """All figures of one matching pass."""
    protocol = matches.protocol
    last = protocol.max_dets[-1:]
    # Precision is needed at the highest limit only; the lower ones give recalls.
    main = accumulate(matches, protocol.views, last, native=native)
    fewer = accumulate(matches, protocol.views[:1], protocol.max_dets[:-1], native=native)
    bins = accumulate(matches, protocol.size_bins, last, native=native)
    return EvaluationResult(
        stats=coco_stats(main, fewer),
        protocol=describe(matches, ground_truth),
        curves=chart_curves(main, protocol),
        size_bins=size_bin_rows(bins, protocol),
        threshold=best_f1(matches),
        matches=matches,
    )


def coco_stats(main: Curves, fewer: Curves) -> dict[str, float | None]:
    """The 12 statistics.

    Args:
        main: views all, small, medium, large at maxDets 100.
        fewer: view all at maxDets 1 and 10.
    """

    def precision(view: int, threshold: slice | int = slice(None)) -> float | None:
        return mean_of_present(main.precision[threshold, ..., view, 0])

    def recall(curves: Curves, view: int, limit: int) -> float | None:
        return mean_of_present(curves.recall[:, :, view, limit])

    return {
        "AP": precision(0),
        "AP50": precision(0, 0),
        "AP75": precision(0, 5),
        "APs": precision(1),
        "APm": precision(2),
        "APl": precision(3),
        "AR1": recall(fewer, 0, 0),
        "AR10": recall(fewer, 0, 1),
        "AR100": recall(main, 0, 0),
        "ARs": recall(main, 1, 0),
        "ARm": recall(main, 2, 0),
        "ARl": recall(main, 3, 0),
    }


def chart_curves(main: Curves, protocol: Protocol) -> dict:
    """Precision and score over recall at IoU .50, .75 and their mean over all thresholds (mean over categories)."""
    present = np.flatnonzero(main.positives[:, 0] > 0)
    out = {"recall": protocol.recall_points.tolist(), "precision": {}, "score": {}}
    for name, thresholds in (("0.50", [0]), ("0.75", [5]), ("mean", range(len(protocol.iou_thresholds)))):
        for key, values in (("precision", main.precision), ("score", main.score)):
            picked = values[list(thresholds)][:, :, present, 0, 0]
            out[key][name] = picked.mean(axis=(0, 2)).tolist() if len(present) else None
    return out


def size_bin_rows(bins: Curves, protocol: Protocol) -> list[dict]:
    """AP and recall per bin of sqrt(area). As in pycocotools, a box on an edge belongs to both bins."""
    rows = []
    for v, view in enumerate(protocol.size_bins):
        top = None if view is protocol.size_bins[-1] else float(np.sqrt(view.high_px2))
        rows.append(
            {
                "name": view.name,
                "low_px": float(np.sqrt(view.low_px2)),
                "high_px": top,
                "boxes": int(bins.positives[:, v].sum()),
                "AP": mean_of_present(bins.precision[..., v, 0]),
                "AP50": mean_of_present(bins.precision[0, ..., v, 0]),
                "AR": mean_of_present(bins.recall[:, :, v, 0]),
                "recall50": mean_of_present(bins.recall[0, :, v, 0]),
            }
        )
    return rows


def describe(matches: Matches, ground_truth: GroundTruth) -> dict:
    """The protocol that the figures were made under, JSON-compatible."""
    import wutdet

    protocol = matches.protocol
    with_boxes = len(np.unique(ground_truth.image))
    return {
        "preset": protocol.name,
        "iou_thresholds": [round(float(t), 4) for t in protocol.iou_thresholds],
        "recall_points": len(protocol.recall_points),
        "max_dets": list(protocol.max_dets),
        "area_bins_px2": {view.name: [view.low_px2, view.high_px2] for view in protocol.views},
        "dataset": ground_truth.name,
        "split": ground_truth.split,
        "categories": list(ground_truth.category_names),
        "images": ground_truth.image_count,
        "images_without_boxes": ground_truth.image_count - with_boxes,
        "boxes": int((~ground_truth.ignore).sum()),
        "boxes_ignored": int(ground_truth.ignore.sum()),
        "detections": matches.detection_count,
        "detections_over_limit": matches.detection_count - len(matches.score),
        "true_positives_50": int((matches.status[0, 0] == TRUE_POSITIVE).sum()),
        "input_size": None,
        "versions": {"wutdet": wutdet.__version__, "numpy": np.__version__},
    }


__all__ = ["ABSENT", "EvaluationResult", "evaluate", "result_of"]
