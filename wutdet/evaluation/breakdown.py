"""Rows for tables and charts: AP and recall per area range, over all images or some, and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wutdet.evaluation.accumulate import Curves, Ranking, accumulate, mean_of_present
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import ALL, Protocol, View
from wutdet.evaluation.summary import threshold_rows


def view_rows(
    matches: Matches,
    protocol: Protocol,
    views: Sequence[View],
    *,
    images: np.ndarray | None = None,
    ranking: Ranking | None = None,
    native: bool = True,
) -> list[dict]:
    """AP, AP50, AR and recall at IoU .50 per area range, at the limit of the protocol's headline.

    As in pycocotools, a box on an edge belongs to both bins.

    Returns:
        ``[{"name", "unit", "low_px", "high_px", "boxes", "AP", "AP50", "AR", "recall50"}]``; edges are square roots of
        area, as shares of the frame's side where the unit is "frame".
    """
    limit = protocol.headline.max_det
    curves = accumulate(
        matches, views, [limit], images=images, recall_points=protocol.recall_points, ranking=ranking, native=native
    )
    rows, at50 = threshold_rows(matches, protocol, None), threshold_rows(matches, protocol, 0.5)
    out = []
    for v, view in enumerate(views):
        low, high = view.edges
        out.append(
            {
                "name": view.name,
                "unit": view.unit,
                "low_px": low,
                "high_px": high,
                "boxes": int(curves.positives[:, v].sum()),
                "AP": mean_of_present(curves.precision[rows, ..., v, 0]),
                "AP50": mean_of_present(curves.precision[at50, ..., v, 0]),
                "AR": mean_of_present(curves.recall[rows, :, v, 0]),
                "recall50": mean_of_present(curves.recall[at50, :, v, 0]),
            }
        )
    return out


def chart_curves(matches: Matches, protocol: Protocol, *, ranking: Ranking | None = None, native: bool = True) -> dict:
    """Precision and score over recall at IoU .50, .75 and their mean over all thresholds (mean over categories)."""
    limit = protocol.headline.max_det
    curves: Curves = accumulate(
        matches, [ALL], [limit], recall_points=protocol.recall_points, ranking=ranking, native=native
    )
    present = np.flatnonzero(curves.positives[:, 0] > 0)
    out = {"recall": protocol.recall_points.tolist(), "precision": {}, "score": {}}
    for name, iou in (("0.50", 0.5), ("0.75", 0.75), ("mean", None)):
        thresholds = threshold_rows(matches, protocol, iou)
        for key, values in (("precision", curves.precision), ("score", curves.score)):
            picked = values[thresholds][:, :, present, 0, 0]
            out[key][name] = picked.mean(axis=(0, 2)).tolist() if len(present) else None
    return out
