"""Figures of parts of the data: by scene, condition, source, camera, sequence, time of day and any other label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wutdet.evaluation.accumulate import Ranking, count_positives
from wutdet.evaluation.bootstrap import Resampling, bootstrap, effective_units_of
from wutdet.evaluation.intervals import few_units_warning, interval
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.protocol import ALL, Protocol
from wutdet.evaluation.summary import summarise
from wutdet.evaluation.tables import GroundTruth

#: Labels that say nothing of the scene.
_LEFT_OUT = frozenset({"split", "horizon"})

#: Fewer ships than this cannot say much; the row then carries a warning.
FEW_BOXES = 30

# Order of the best-known labels in tables; others follow by name.
_FIRST = ("scene", "condition", "source", "camera", "time_of_day", "sequence")

# Labels that are none of these and have more values are names of files or the like.
_MOST_VALUES = 12

_STATS = ("AP", "AP50", "APs", "AR100")


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the frames.

    Attributes:
        by: the label ("scene", "condition", ...).
        name: its value ("port", "fog", ...).
        images: bool [M].
    """

    by: str
    name: str
    images: np.ndarray


def slices_of(truth: GroundTruth, most_per_label: int = 40) -> list[Slice]:
    """A slice for every value of every label, and for every condition.

    A label gives no slices where it is the same on all frames, where it parts the frames just as an earlier one does
    (a source and its web address), or where it has many values and is none of the well-known ones (file names). Of
    sequences and the like only those with most frames are taken.

    Args:
        truth: the evaluated frames and their labels.
        most_per_label: most values of one label.
    """
    found: dict[str, list[Slice]] = {}
    for by, column in truth.labels.items():
        if by in _LEFT_OUT or (by == "condition" and truth.conditions):
            continue
        names = list(column.counts())
        unlabelled = bool((np.asarray(column.codes) < 0).any())
        if len(names) + unlabelled < 2 or (by not in _FIRST and len(names) > _MOST_VALUES):
            continue
        found[by] = [Slice(by, name, column.is_(name)) for name in names[:most_per_label]]
    if truth.conditions:
        masks = truth.conditions.items()
        found["condition"] = [Slice("condition", name, mask) for name, mask in masks if mask.any()]
    order = sorted(found, key=lambda by: (_FIRST.index(by) if by in _FIRST else len(_FIRST), by))
    out, seen = [], set()
    for by in order:
        partition = frozenset(part.images.tobytes() for part in found[by])
        if partition not in seen:
            out += found[by]
        seen.add(partition)
    return out


def slice_rows(
    matches: Matches,
    protocol: Protocol,
    slices: Sequence[Slice],
    *,
    resampling: Resampling | None = None,
    ranking: Ranking | None = None,
) -> list[dict]:
    """One row per slice: counts, figures, intervals, and a warning where it is too thin to say anything.

    Args:
        matches, protocol: of the pass.
        slices: parts of the frames.
        resampling: for intervals of the headline and of AP50; none without.
        ranking: ``Ranking.of(matches)``, where it was made already.
    """
    ranking = Ranking.of(matches) if ranking is None else ranking
    known = [stat.name for stat in protocol.stats]
    names = [name for name in _STATS if name in known] or known[:3]
    with_interval = [name for name in names if name in ("AP", "AP50")] or names[:1]
    units_everywhere = np.arange(matches.image_count) if resampling is None else resampling.unit_of_image
    rows = []
    for part in slices:
        stats = summarise(matches, protocol, stats=names, images=part.images, ranking=ranking)
        boxes = int(count_positives(matches, [ALL], part.images).sum())
        units = len(np.unique(units_everywhere[part.images]))
        unit = "image" if resampling is None else resampling.unit
        worth, bounds = None, {}
        if resampling is not None and boxes:
            worth = effective_units_of(matches, protocol, resampling, stats=with_interval, images=part.images)
            drawn = bootstrap(matches, protocol, resampling, stats=with_interval, images=part.images, ranking=ranking)
            bounds = {name: interval(values, units, counting=worth[name]) for name, values in drawn.items()}
        given = None if not bounds else bounds[with_interval[0]] is not None
        row = {
            "by": part.by,
            "name": part.name,
            "images": int(part.images.sum()),
            "boxes": boxes,
            "units": units,
            **stats,
            "recall50": _recall(matches, ranking, part.images, boxes, protocol),
            "intervals": bounds,
            "warning": _thin(boxes, units, unit, worth and worth[with_interval[0]], given),
        }
        rows.append(row)
    return rows


def _recall(matches: Matches, ranking: Ranking, images: np.ndarray, boxes: int, protocol: Protocol) -> float | None:
    """Share of the ships of some frames that are found at IoU .50 at all, over all categories together."""
    if boxes == 0:
        return None
    within = ranking.within(images[matches.dt_image])
    taken = within.limited(matches, protocol.headline.max_det, protocol.limit_per == "image").order
    bit = matches.threshold_index(0.5)
    return int((matches.hit[matches.view_index(ALL)][taken] >> bit & 1).sum()) / boxes


def _thin(boxes: int, units: int, unit: str, worth: float | None, given: bool | None) -> str | None:
    words = []
    if boxes < FEW_BOXES:
        words.append("no ships" if boxes == 0 else f"only {boxes} ship{'' if boxes == 1 else 's'}")
    warning = few_units_warning(unit, units, worth, given=given)
    if warning:
        words.append(warning)
    return "; ".join(words) or None


def slice_lines(rows: Sequence[Mapping]) -> list[str]:
    """The table for people."""
    if not rows:
        return []
    keys = [key for key in (*_STATS, "recall50") if key in rows[0]]
    width = max(len(f"{row['by']} = {row['name']}") for row in rows)
    lines = [f"  {'slice':<{width}} {'images':>7} {'ships':>7} " + " ".join(f"{key:>8}" for key in keys)]
    for row in rows:
        values = " ".join(f"{'none' if row[key] is None else format(row[key], '.3f'):>8}" for key in keys)
        bounds = (row["intervals"] or {}).get("AP")
        shown = f"  AP {bounds[0]:.3f}..{bounds[1]:.3f}" if bounds else ""
        thin = f"  ! {row['warning']}" if row["warning"] else ""
        name = f"{row['by']} = {row['name']}"
        lines.append(f"  {name:<{width}} {row['images']:>7} {row['boxes']:>7} {values}{shown}{thin}")
    return lines
