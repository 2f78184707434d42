"""The figures of a protocol out of a matching pass, over all images or some: pycocotools' ``COCOeval.summarize``."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wutdet.evaluation.accumulate import Ranking, accumulate, mean_of_present
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import Protocol, distinct_views


def threshold_rows(matches: Matches, protocol: Protocol, iou: float | None) -> list[int]:
    """Places of one threshold, or of all of the protocol's, in the pass."""
    wanted = protocol.iou_thresholds if iou is None else [iou]
    return [matches.threshold_index(float(threshold)) for threshold in wanted]


def summarise(
    matches: Matches,
    protocol: Protocol,
    *,
    stats: Iterable[str] | None = None,
    images: np.ndarray | None = None,
    ranking: Ranking | None = None,
    native: bool = True,
) -> dict[str, float | None]:
    """Figures of the protocol, by name; None where there are no such objects.

    Args:
        matches: of a pass that saw the protocol's views, thresholds and limits.
        protocol: what to compute.
        stats: names of figures; all by default.
        images: bool [image_count]; only these images count.
        ranking: ``Ranking.of(matches)``, where it was made already.
        native: False takes the NumPy path.
    """
    ranking = Ranking.of(matches) if ranking is None else ranking
    chosen = [stat for stat in protocol.stats if stats is None or stat.name in set(stats)]
    out: dict[str, float | None] = {}
    for limit in sorted({stat.max_det for stat in chosen}):
        group = [stat for stat in chosen if stat.max_det == limit]
        views = distinct_views(stat.view for stat in group)
        curves = accumulate(
            matches,
            views,
            [limit],
            per_image=protocol.limit_per == "image",
            images=images,
            recall_points=protocol.recall_points,
            ranking=ranking,
            native=native,
        )
        places = {view.limits: v for v, view in enumerate(views)}
        for stat in group:
            rows, v = threshold_rows(matches, protocol, stat.iou), places[stat.view.limits]
            if stat.kind == "recall":
                values = curves.recall[rows, :, v, 0]
            elif protocol.integral == "area":
                values = curves.area[rows, :, v, 0]
            else:
                values = curves.precision[rows, ..., v, 0]
            out[stat.name] = mean_of_present(values)
    return {stat.name: out[stat.name] for stat in chosen}
