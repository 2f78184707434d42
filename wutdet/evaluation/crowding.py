"""How crowded a ship lies, and how many are found by that.

Crowding is one number per ship, over its neighbours in the frame (ships of any category that count):

- above 0 where a neighbour's box overlaps: the largest share of the ship's own box that one neighbour covers. A share
  of the own box, not an IoU: a launch in front of a ferry lies entirely within the ferry's box, at an IoU near 0.
- at or below 0 where none does: minus the gap to the nearest neighbour's box in own widths, so that -1 means "a
  ship's width of water in between". Ships moored side by side have overlapping boxes or lie close to 0.
- minus infinity for a ship that is alone in its frame.

There is only recall here. A false alarm has no ship, so it has no crowding, and there is no AP by crowding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from wutdet.evaluation.error_types import ship_boxes
from wutdet.evaluation.found_ships import hit_scores
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.overlaps import Pairing
from wutdet.evaluation.protocol import Protocol, View
from wutdet.evaluation.summary import threshold_rows
from wutdet.evaluation.tables import GroundTruth

#: Edges of the bins; a value on an edge belongs to the less crowded side.
CROWDING_EDGES = (-1.0, 0.0, 0.25, 0.5)


def crowding_of(matches: Matches, truth: GroundTruth) -> np.ndarray:
    """float64 [G], in the order of Matches: crowding of every ship that counts, NaN for the others."""
    counted = np.flatnonzero(~matches.gt_ignored[0])
    ships = ship_boxes(matches, truth, counted)
    pairing = Pairing.of(ships.image, ships.image, matches.image_count)
    own_order, other_order = pairing.query_order, pairing.target_order
    own, other = (np.ascontiguousarray(ships.xyxy[order].T) for order in (own_order, other_order))
    worst = np.full(len(ships), -np.inf)
    # Queries and targets are the same ships, as many in every frame, so no frame is compared by matrix.
    for part, places, _ in pairing.pieces():
        a, b = own[:, part], other[:, places]
        across = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])  # below 0: a gap
        down = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
        width, height = a[2] - a[0], a[3] - a[1]
        covered = across * down / np.maximum(width * height, 1e-9)
        gap = np.hypot(np.minimum(across, 0), np.minimum(down, 0)) / np.maximum(width, 1e-9)
        value = np.where((across > 0) & (down > 0), covered, -gap)
        value[own_order[part] == other_order[places]] = -np.inf  # itself
        np.maximum(worst[part], value, out=worst[part])
    out = np.full(len(matches.gt_row), np.nan)
    out[counted[own_order]] = worst
    return out


def crowding_rows(
    matches: Matches,
    truth: GroundTruth,
    protocol: Protocol,
    *,
    bins: Sequence[View] = (),
    edges: Sequence[float] = CROWDING_EDGES,
) -> list[dict]:
    """Recall by crowding, and by crowding and size.

    Whether a ship is found is asked once, of all ships together, at the limit of the protocol's headline. In contested
    frames this can differ from the recall of a size bin, where ships of other sizes stand back. Ships of all categories
    are counted together.

    Args:
        matches, truth, protocol: of the pass.
        bins: size bins, which must be views of the pass.
        edges: rising.

    Returns:
        ``[{"name", "low", "high", "boxes", "AR", "recall50", "size_bins": [{"name", "boxes", "recall50"}]}]``, from
        alone to crowded; bins without ships are left out; ``low`` and ``high`` are None where open.
    """
    crowding = crowding_of(matches, truth)
    scores = hit_scores(matches, threshold_rows(matches, protocol, None), protocol.headline.max_det)
    found = np.isfinite(scores)
    found50 = np.isfinite(hit_scores(matches, threshold_rows(matches, protocol, 0.5), protocol.headline.max_det))[0]
    # A box on a size edge belongs to both bins, as everywhere.
    in_size = [(view.name, ~matches.gt_ignored[matches.view_index(view)]) for view in bins]
    bounds = [None, *edges, None]
    rows = []
    for low, high in pairwise(bounds):
        chosen = ~np.isnan(crowding)
        if low is not None:
            chosen &= crowding > low
        if high is not None:
            chosen &= crowding <= high
        boxes = int(chosen.sum())
        if boxes == 0:
            continue
        sizes = [(name, chosen & within) for name, within in in_size]
        rows.append(
            {
                "name": _bin_name(low, high),
                "low": low,
                "high": high,
                "boxes": boxes,
                "AR": float(found[:, chosen].mean()),
                "recall50": float(found50[chosen].mean()),
                "size_bins": [
                    {"name": name, "boxes": int(both.sum()), "recall50": float(found50[both].mean())}
                    for name, both in sizes
                    if both.any()
                ],
            }
        )
    return rows


def _bin_name(low: float | None, high: float | None) -> str:
    def widths(value: float) -> str:
        return "1 width" if value == -1 else f"{-value:g} widths"

    if low is None:
        if high is None:
            return "all"
        return f"neighbour {widths(high)} away or more" if high < 0 else f"covered up to {100 * high:g} %"
    if low < 0:
        return f"nearer than {widths(low)}" if high == 0 else f"from {low:g} to {high:g}"
    return f"covered over {100 * low:g} %" if high is None else f"covered {100 * low:g}-{100 * high:g} %"
