"""Dense small ships: figures by ships per frame and size, by crowding and size, recall by size, false alarms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wutdet.evaluation.accumulate import Ranking, best_f1
from wutdet.evaluation.bootstrap import Resampling
from wutdet.evaluation.breakdown import view_rows
from wutdet.evaluation.crowding import CROWDING_EDGES, crowding_rows
from wutdet.evaluation.error_types import classify
from wutdet.evaluation.false_alarms import false_alarms, false_alarms_per_image, false_alarms_text
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import ALL, SIZE_BINS, Protocol, View
from wutdet.evaluation.recall_by_size import recall_by_size, recall_by_size_text
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

#: Bins of ships per frame, both ends inclusive; None is no upper end.
SHIPS_PER_FRAME: tuple[tuple[int, int | None], ...] = ((0, 0), (1, 1), (2, 4), (5, 9), (10, 19), (20, None))


def ships_per_image(matches: Matches) -> np.ndarray:
    """int64 [M]: ships that count."""
    return np.bincount(matches.gt_image[~matches.gt_ignored[0]], minlength=matches.image_count)


def density(
    matches: Matches,
    truth: GroundTruth,
    found: FoundBoxes,
    protocol: Protocol,
    *,
    bins: Sequence[View] = SIZE_BINS,
    ships_per_frame: Sequence[tuple[int, int | None]] = SHIPS_PER_FRAME,
    crowding_edges: Sequence[float] = CROWDING_EDGES,
    score: float | None = None,
    resampling: Resampling | None = None,
    ranking: Ranking | None = None,
) -> dict:
    """Everything about density out of one matching pass.

    Args:
        matches, truth, found, protocol: a pass, its tables, and whose thresholds and limit count.
        bins: size bins; they must be views of the pass.
        ships_per_frame: bins of frames by the ships that count in them.
        crowding_edges: see crowding.py.
        score: threshold in use for false alarms and recall by size; the one with the best F1 by default.
        resampling: for the intervals of recall by size; see there.
        ranking: ``Ranking.of(matches)``, where it was made already.

    Returns:
        ``{"ships_per_frame", "crowding", "recall_by_size", "false_alarms"}``, JSON-compatible. Rows of
        "ships_per_frame" are ``{"name", "low", "high", "images", "boxes", "AP", "AP50", "AR", "recall50",
        "false_alarms_per_frame", "size_bins": [{"name", "boxes", "AP", "AP50", "recall50"}]}``; bins without frames
        are left out. Figures are None where there are no such ships, and false alarms without a score threshold.
    """
    ranking = Ranking.of(matches) if ranking is None else ranking
    if score is None:
        best = best_f1(matches)
        score = None if best is None else best["score"]
    errors = None if score is None else classify(matches, truth, found, score=score)
    alarms = None if errors is None else false_alarms_per_image(matches, errors)
    ships = ships_per_image(matches)
    rows = []
    for low, high in ships_per_frame:
        images = (ships >= low) & (True if high is None else ships <= high)
        if not images.any():
            continue
        everything, *by_size = view_rows(matches, protocol, [ALL, *bins], images=images, ranking=ranking)
        rows.append(
            {
                "name": f"{low}+" if high is None else f"{low}" if low == high else f"{low}-{high}",
                "low": low,
                "high": high,
                "images": int(images.sum()),
                **{key: everything[key] for key in ("boxes", "AP", "AP50", "AR", "recall50")},
                "false_alarms_per_frame": None if alarms is None else float(alarms[images].mean()),
                "size_bins": [
                    {key: row[key] for key in ("name", "boxes", "AP", "AP50", "recall50")} for row in by_size
                ],
            }
        )
    return {
        "ships_per_frame": rows,
        "crowding": crowding_rows(matches, truth, protocol, bins=bins, edges=crowding_edges),
        "recall_by_size": recall_by_size(matches, truth, score=score, resampling=resampling),
        "false_alarms": false_alarms(matches, truth, found, score=score, errors=errors),
    }


def density_text(figures: dict) -> str:
    """Tables for people."""

    def value(number: float | None) -> str:
        return f"{'none':>7}" if number is None else f"{number:>7.3f}"

    lines = [
        f"  {'ships in the frame':<26} {'frames':>7} {'ships':>7} {'AP':>7} {'AP50':>7} {'found':>7} {'alarms':>7}"
    ]
    for row in figures["ships_per_frame"]:
        shown = " ".join(value(row.get(key)) for key in ("AP", "AP50", "recall50", "false_alarms_per_frame"))
        lines.append(f"  {row['name']:<26} {row['images']:>7} {row['boxes']:>7} {shown}")
    lines.append(f"  {'crowding':<26} {'':>7} {'ships':>7} {'AR':>7} {'':>7} {'found':>7}")
    for row in figures["crowding"]:
        lines.append(
            f"  {row['name']:<26} {'':>7} {row['boxes']:>7} {value(row['AR'])} {'':>7} {value(row['recall50'])}"
        )
    return "\n".join(
        [*lines, recall_by_size_text(figures["recall_by_size"]), false_alarms_text(figures["false_alarms"])]
    )
