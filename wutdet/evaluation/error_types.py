"""Which kinds of error cost how much AP50: the definitions of TIDE.

D. Bolya, S. Foley, J. Hays, J. Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020
(arXiv 2008.08115), section 2.2. With f = 0.5 and b = 0.1, a detection that is not a hit is, by its highest IoU with
ships that count, the first of these that holds:

    localisation     own category, b <= IoU <= f
    classification   another category, IoU >= f
    duplicate        own category, IoU > f: the ship was taken by a detection with a higher score
    background       any category, IoU <= b
    both             what is left: another category, b < IoU < f

A ship that is no hit is ``missed`` unless a localisation or classification error points at it. Each type's dAP is the
AP gained by an oracle that repairs this type alone: localisation and classification errors become hits (once per ship,
for the highest score that points at it; the others go), duplicates, background and both go, missed ships are taken out
of the count. The special oracles lift all types at once: no false positive before a hit, and no ship without a hit.

Where the authors' program (tidecv 1.0.1) and COCO part, COCO is followed: a detection that does not count (it lies on
an ignored box) is no error here, and a category without ships has no AP. The limit of detections is per category.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet import _kernels
from wutdet.evaluation.accumulate import precision_at_recall_numpy
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.overlaps import Boxes, best_overlaps
from wutdet.evaluation.protocol import RECALL_POINTS
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

#: Types in the order of the report; a detection's code is its place here.
ERROR_TYPES = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(6)
#: Codes of detections that are no errors.
HIT, NOT_COUNTED, OVER_LIMIT = -1, -2, -3

BACKGROUND_IOU = 0.1


@dataclass(frozen=True, eq=False)
class Errors:
    """The error type of every detection and ship of a matching pass.

    Attributes:
        detection: int8 [N], in the order of Matches: a code of ERROR_TYPES, or HIT, NOT_COUNTED, OVER_LIMIT (below the
            limit per image or the lowest score asked for).
        iou: float64 [N], highest IoU with a ship that counts, of any category; NaN where ``detection`` is below HIT.
        target: int64 [N], for localisation and classification the ship (place in Matches) that is pointed at, for a
            duplicate the one that is taken already, else -1.
        repaired: bool [N]: of those that point at a ship without a hit, the one with the highest score.
        ship: int8 [G]: HIT, MISSED, NOT_COUNTED, or the code of the error that points at it.
        taker: int64 [G], detection that is the ship's hit, or -1.
        iou_threshold, background_iou: f and b.
    """

    detection: np.ndarray
    iou: np.ndarray
    target: np.ndarray
    repaired: np.ndarray
    ship: np.ndarray
    taker: np.ndarray
    iou_threshold: float
    background_iou: float


def classify(
    matches: Matches,
    truth: GroundTruth,
    found: FoundBoxes,
    *,
    iou: float = 0.5,
    background_iou: float = BACKGROUND_IOU,
    max_det: int | None = None,
    score: float | None = None,
) -> Errors:
    """Puts every detection and ship into its type.

    Args:
        matches, truth, found: a pass and its tables; the first view says what counts.
        iou: f, a threshold of the pass.
        background_iou: b.
        max_det: limit of detections per image and category; that of the pass by default.
        score: detections below do not exist; all do by default. What is above does not change by that, because
            matching goes by falling score.
    """
    bit = matches.threshold_index(iou)
    is_hit = (matches.hit[0] >> bit & 1).astype(bool)
    ignored = (matches.ignored[0] >> bit & 1).astype(bool)
    out = np.zeros(len(matches.score), dtype=bool)
    if max_det is not None:
        out |= matches.rank >= max_det
    if score is not None:
        out |= matches.score < score
    code = np.select([out, ignored, is_hit], [OVER_LIMIT, NOT_COUNTED, HIT], default=BACKGROUND).astype(np.int8)
    counts = ~matches.gt_ignored[0]
    taker = np.full(len(counts), -1)
    hits = np.flatnonzero(code == HIT)
    taker[matches.match[bit, hits]] = hits

    # Hits need their overlap only for the objects table, where there are few (``score`` is given).
    asked = np.flatnonzero(code == BACKGROUND if score is None else code >= HIT)
    ships = _in_file_order(matches, np.flatnonzero(counts))
    best = best_overlaps(detection_boxes(matches, found, asked), ship_boxes(matches, truth, ships), matches.image_count)
    overlap = np.full(len(code), np.nan)
    overlap[asked] = best.any_iou
    kinds = np.select(
        [
            (best.same_iou >= background_iou) & (best.same_iou <= iou) & (best.same_iou > 0),
            best.other_iou >= iou,
            best.same_iou >= iou,
            best.any_iou <= background_iou,
        ],
        [LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND],
        default=BOTH,
    )
    wrong = code[asked] == BACKGROUND
    code[asked[wrong]] = kinds[wrong]
    target = np.full(len(code), -1)
    for kind, place in ((LOCALISATION, best.same), (DUPLICATE, best.same), (CLASSIFICATION, best.other)):
        of_kind = wrong & (kinds == kind)
        target[asked[of_kind]] = ships[place[of_kind]]

    ship = np.where(counts, np.where(taker >= 0, HIT, MISSED), NOT_COUNTED).astype(np.int8)
    pointing = np.flatnonzero(target >= 0)
    pointing = pointing[taker[target[pointing]] < 0]  # no duplicates: their ships are taken
    # By ship, then falling score; of equal scores the first in the file.
    pointing = pointing[np.lexsort((matches.dt_row[pointing], -matches.score[pointing], target[pointing]))]
    first = np.r_[True, target[pointing][1:] != target[pointing][:-1]] if len(pointing) else np.zeros(0, bool)
    repaired = np.zeros(len(code), dtype=bool)
    repaired[pointing[first]] = True
    ship[target[pointing[first]]] = code[pointing[first]]
    return Errors(code, overlap, target, repaired, ship, taker, iou, background_iou)


def detection_boxes(matches: Matches, found: FoundBoxes, places: np.ndarray) -> Boxes:
    """Boxes of some detections, by place in the columns of Matches."""
    rows = matches.dt_row[places]
    return Boxes(found.xyxy[rows], found.area[rows], matches.dt_image[places], matches.dt_category[places])


def ship_boxes(matches: Matches, truth: GroundTruth, places: np.ndarray) -> Boxes:
    """Boxes of some ships, by place in the columns of Matches."""
    rows = matches.gt_row[places]
    return Boxes(truth.xyxy[rows], truth.box_area[rows], matches.gt_image[places], matches.gt_category[places])


def _in_file_order(matches: Matches, places: np.ndarray) -> np.ndarray:
    """Of ships with equal overlap the first in the file counts, whatever its category."""
    return places[np.argsort(matches.gt_row[places], kind="stable")]


def error_breakdown(
    matches: Matches,
    truth: GroundTruth,
    found: FoundBoxes,
    *,
    iou: float = 0.5,
    background_iou: float = BACKGROUND_IOU,
    max_det: int | None = None,
    recall_points: np.ndarray = RECALL_POINTS,
    native: bool = True,
) -> dict:
    """dAP and counts by type.

    Args:
        matches, truth, found, iou, background_iou, max_det: see ``classify``. With the protocol's ``max_det`` and
            ``recall_points``, "AP50" is the protocol's own.
        native: False takes the NumPy path for the curves.

    Returns:
        ``{"iou", "background_iou", "AP50", "dAP": {type: x}, "dAP_special": {"false_positives", "false_negatives"},
        "counts": {type: n}}``. As in TIDE, a negative dAP (rounding of the 101 points) becomes 0. Everything is None
        where no ship counts, but the counts are there.
    """
    errors = classify(matches, truth, found, iou=iou, background_iou=background_iou, max_det=max_det)
    counts = {name: int((errors.detection == code).sum()) for code, name in enumerate(ERROR_TYPES[:MISSED])}
    counts["missed"] = int((errors.ship == MISSED).sum())
    ap = _oracle_aps(matches, errors, recall_points, native)

    def gained(name: str) -> float | None:
        return None if ap["as it is"] is None else ap[name] - ap["as it is"]

    return {
        "iou": float(iou),
        "background_iou": float(background_iou),
        "AP50": ap["as it is"],
        "dAP": {name: None if gained(name) is None else max(gained(name), 0.0) for name in ERROR_TYPES},
        "dAP_special": {name: gained(name) for name in ("false_positives", "false_negatives")},
        "counts": counts,
    }


_AS_IT_IS = len(ERROR_TYPES)  # a bit of its own; the bit of "missed" is not used, see below


def _oracle_aps(matches: Matches, errors: Errors, recall_points: np.ndarray, native: bool) -> dict[str, float | None]:
    """AP by oracle, all in one accumulation: each oracle has a bit in ``hit`` and ``ignored``, as thresholds have."""
    code, bits = errors.detection, _AS_IT_IS + 1
    every = (1 << bits) - 1
    hit = np.where(code == HIT, every, 0).astype(np.uint16)
    gone = np.where(code < HIT, every, 0).astype(np.uint16)
    for kind in range(MISSED):
        gone[(code == kind) & ~errors.repaired] |= np.uint16(1 << kind)
    moved_place = np.flatnonzero((code == CLASSIFICATION) & errors.repaired)
    gone[moved_place] |= np.uint16(1 << CLASSIFICATION)  # it leaves its own category and comes back in another
    hit[(code == LOCALISATION) & errors.repaired] |= np.uint16(1 << LOCALISATION)
    moved = len(moved_place)
    hit = np.r_[hit, np.full(moved, 1 << CLASSIFICATION, np.uint16)]
    gone = np.r_[gone, np.full(moved, every & ~(1 << CLASSIFICATION), np.uint16)]
    score = np.r_[matches.score, matches.score[moved_place]]
    category = np.r_[matches.dt_category, matches.gt_category[errors.target[moved_place]]]

    takes_part = np.flatnonzero(gone != every)
    order = takes_part[np.lexsort((-score[takes_part], category[takes_part]))]
    stops = np.searchsorted(category[order], np.arange(matches.category_count + 1))
    counted = errors.ship != NOT_COUNTED
    per_category = {
        name: np.bincount(matches.gt_category[chosen], minlength=matches.category_count)
        for name, chosen in (
            ("all", counted),
            ("without missed", counted & (errors.ship != MISSED)),
            ("hit", errors.ship == HIT),
        )
    }
    curve = _kernels.precision_at_recall if native else precision_at_recall_numpy
    sums = dict.fromkeys(("as it is", *ERROR_TYPES, "false_positives", "false_negatives"), 0.0)
    present = np.flatnonzero(per_category["all"])
    for k in present:
        rows = order[stops[k] : stops[k + 1]]
        positives = int(per_category["all"][k])
        precision, _, recall = curve(rows, hit, gone, score, positives, bits, recall_points)[:3]
        means = precision.mean(axis=1)
        for kind in range(MISSED):
            sums[ERROR_TYPES[kind]] += means[kind]
        sums["as it is"] += means[_AS_IT_IS]
        # All hits first: precision is 1 up to the recall that is reached, and nowhere without a hit.
        if recall[_AS_IT_IS] > 0:
            sums["false_positives"] += float((recall_points <= recall[_AS_IT_IS]).mean())
        one_bit = [column >> _AS_IT_IS & 1 for column in (hit, gone)]
        for name, key in (("missed", "without missed"), ("false_negatives", "hit")):
            left = int(per_category[key][k])
            if left:
                sums[name] += curve(rows, *one_bit, score, left, 1, recall_points)[0].mean()
            elif not (one_bit[1][rows] == 0).any():
                sums[name] += 1.0  # nothing left to find and nothing reported: perfect
    return {name: float(total / len(present)) if len(present) else None for name, total in sums.items()}


def errors_text(errors: dict) -> str:
    """The breakdown as a table for people, in AP points."""
    if errors["AP50"] is None:
        return "errors at IoU .50: none, no ship counts"
    what = {
        "classification": "right place, wrong category",
        "localisation": f"right category, IoU {errors['background_iou']:g} to {errors['iou']:g}",
        "both": "wrong category and place",
        "duplicate": "ship already taken",
        "background": "nothing there",
        "missed": "ship without any detection near",
    }
    lines = [f"errors: AP at IoU {errors['iou']:g} is {100 * errors['AP50']:.1f}; AP points gained without ..."]
    lines += [
        f"  {name:<15} {100 * errors['dAP'][name]:6.1f}   {errors['counts'][name]:>8}   {what[name]}"
        for name in ERROR_TYPES
    ]
    special = errors["dAP_special"]
    positives, negatives = (100 * special[name] for name in ("false_positives", "false_negatives"))
    lines.append(f"  all false positives {positives:.1f}, all misses {negatives:.1f}")
    return "\n".join(lines)
