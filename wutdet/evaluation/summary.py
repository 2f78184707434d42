"""The figures of a protocol out of a matching pass, over all images or some: pycocotools' ``COCOeval.summarize``."""

from __future__ import annotations

import numpy as np

from wutdet.evaluation.accumulate import Ranking, accumulate, mean_of_present
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import Protocol, Stat


def threshold_rows(matches: Matches, protocol: Protocol, iou: float | None) -> list[int]:
    """Places of one threshold, or of all of the protocol's, in the pass."""
    wanted = protocol.iou_thresholds if iou is None else [iou]
    return [matches.threshold_index(float(threshold)) for threshold in wanted]


def summarise(
    matches: Matches,
    protocol: Protocol,
    *,
    images: np.ndarray | None = None,
    ranking: Ranking | None = None,
    native: bool = True,
) -> dict[str, float | None]:
    """Every figure of the protocol, by name; None where there are no such objects.

    Args:
        matches: of a pass that saw the protocol's views, thresholds and limits.
        protocol: what to compute.
        images: bool [image_count]; only these images count.
        ranking: ``Ranking.of(matches)``, where it was made already.
        native: False takes the NumPy path.
    """
    ranking = Ranking.of(matches) if ranking is None else ranking
    out: dict[str, float | None] = {}
    for limit in sorted({stat.max_det for stat in protocol.stats}):
        stats = [stat for stat in protocol.stats if stat.max_det == limit]
        views = tuple({stat.view.limits: stat.view for stat in stats}.values())
        curves = accumulate(
            matches, views, [limit], images=images, recall_points=protocol.recall_points, ranking=ranking, native=native
        )
        places = {view.limits: v for v, view in enumerate(views)}
        for stat in stats:
            rows, v = threshold_rows(matches, protocol, stat.iou), places[stat.view.limits]
            values = curves.precision[rows, ..., v, 0] if stat.kind == "precision" else curves.recall[rows, :, v, 0]
            out[stat.name] = mean_of_present(values)
    return {stat.name: out[stat.name] for stat in protocol.stats}


def figure(stats: dict, stat: Stat) -> str:
    """One figure as text; "none" where there are no such objects."""
    value = stats[stat.name]
    return "none" if value is None else f"{value:.3f}"
