"""The error breakdown against a slow oracle written from TIDE's paper, and cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_tables import contested, found_table, matched, truth_table

from wutdet.boxes import box_iou
from wutdet.evaluation.coco import evaluate
from wutdet.evaluation.error_types import ERROR_TYPES, HIT, MISSED, classify, error_breakdown, errors_text
from wutdet.evaluation.overlaps import Boxes, best_overlaps

POINTS = np.linspace(0.0, 1.0, 101)


def average_precision(records, positives) -> float:
    """Records (score, is hit) of one category."""
    if positives == 0:
        return 1.0 if not records else 0.0
    precision, recall, hits = [], [], 0
    for n, (_, hit) in enumerate(sorted(records, key=lambda r: -r[0]), 1):
        hits += hit
        precision.append(hits / n)
        recall.append(hits / positives)
    values = [max((p for p, r in zip(precision, recall, strict=True) if r >= point), default=0.0) for point in POINTS]
    return sum(values) / len(values)


def paper_breakdown(truth_rows, found_rows, ignored, foreground=0.5, background=0.1):
    """TIDE section 2.2, one detection at a time. ``ignored``: rows of detections that do not count."""
    ships = [
        {"image": r[0], "category": r[1], "box": np.array(r[2:6]), "taken": False, "candidates": []}
        for r in truth_rows
        if not r[6]
    ]
    entries = []
    for row in sorted(range(len(found_rows)), key=lambda row: -found_rows[row][6]):
        if row in ignored:
            continue
        image, category, *box, score = found_rows[row]
        here = [ship for ship in ships if ship["image"] == image]
        overlap = {id(s): float(box_iou(np.array([box]), s["box"][None])[0, 0]) for s in here}
        free = [s for s in here if s["category"] == category and not s["taken"] and overlap[id(s)] >= foreground]
        entry = {"category": category, "score": score, "kind": "hit", "ship": None}
        if free:
            best = max(reversed(free), key=lambda s: overlap[id(s)])  # of equals the later one, as in pycocotools
            best["taken"] = True
        else:
            same = max((s for s in here if s["category"] == category), key=lambda s: overlap[id(s)], default=None)
            other = max((s for s in here if s["category"] != category), key=lambda s: overlap[id(s)], default=None)
            same_iou = overlap[id(same)] if same else 0
            other_iou = overlap[id(other)] if other else 0
            if same and background <= same_iou <= foreground:
                entry |= {"kind": "localisation", "ship": same}
            elif other and other_iou >= foreground:
                entry |= {"kind": "classification", "ship": other}
            elif same_iou > foreground:
                entry["kind"] = "duplicate"
            elif max(same_iou, other_iou) <= background:
                entry["kind"] = "background"
            else:
                entry["kind"] = "both"
        entries.append(entry)
    for entry in entries:  # by falling score: the first that points at a ship repairs it
        if entry["ship"] is not None and not entry["ship"]["taken"]:
            entry["ship"]["candidates"].append(entry)
    missed = [s for s in ships if not s["taken"] and not s["candidates"]]
    counts = {kind: sum(e["kind"] == kind for e in entries) for kind in ERROR_TYPES} | {"missed": len(missed)}

    def mean_ap(repaired: str) -> float:
        aps = []
        for category in sorted({s["category"] for s in ships}):
            records = []
            for e in entries:
                goes_to, is_hit = e["category"], e["kind"] == "hit"
                if e["kind"] == repaired:
                    target = e["ship"]
                    if target is None or not target["candidates"] or target["candidates"][0] is not e:
                        continue
                    goes_to, is_hit = target["category"], True
                if goes_to == category:
                    score = (1.0 if is_hit else 0.0) if repaired == "false_positives" else e["score"]
                    records.append((score, is_hit))
            own = [s for s in ships if s["category"] == category]
            gone = {"missed": missed, "false_negatives": [s for s in ships if not s["taken"]]}.get(repaired, [])
            aps.append(average_precision(records, sum(all(s is not g for g in gone) for s in own)))
        return sum(aps) / len(aps)

    ap = mean_ap("")
    gained = {kind: max(mean_ap(kind) - ap, 0.0) for kind in ERROR_TYPES}
    special = {kind: mean_ap(kind) - ap for kind in ("false_positives", "false_negatives")}
    return ap, gained, special, counts


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([0.0, 0.2]), st.booleans())
@example(2889373, 3, 0.0, False)  # a category with ships and no hit
def test_breakdown_equals_the_papers_definitions(seed, categories, crowd, whole_pixels):
    rows = contested(seed, categories=categories, crowd=crowd, whole_pixels=whole_pixels)
    truth, found = truth_table(rows[0], 8, categories), found_table(rows[1])
    matches = matched(truth, found)
    if truth.ignore.all():
        assert error_breakdown(matches, truth, found)["AP50"] is None
        return
    bit = matches.threshold_index(0.5)
    ignored = set(matches.dt_row[(matches.ignored[0] >> bit & 1).astype(bool)].tolist())
    ap, gained, special, counts = paper_breakdown(*rows, ignored)
    for native in (True, False):
        result = error_breakdown(matches, truth, found, native=native)
        assert result["counts"] == counts
        assert result["AP50"] == pytest.approx(ap, abs=1e-9)
        assert result["dAP"] == pytest.approx(gained, abs=1e-9)
        assert result["dAP_special"] == pytest.approx(special, abs=1e-9)


def test_ap50_is_the_protocols_own():
    rows = contested(5, ships=20, detections=60)
    truth, found = truth_table(rows[0], 8, 3), found_table(rows[1])
    result = error_breakdown(matched(truth, found), truth, found, max_det=100)
    assert result["AP50"] == pytest.approx(evaluate(truth, found).stats["AP50"], abs=1e-12)


def test_one_of_each_kind():
    ship = (0, 0, 40, 40)
    truth = truth_table([(0, 0, *ship, 0), (0, 1, 100, 0, 140, 40, 0), (0, 0, 200, 0, 240, 40, 0),
                         (0, 0, 300, 0, 340, 40, 0), (0, 0, 400, 0, 440, 40, 1)], 1, 2)  # fmt: skip
    found = found_table([
        (0, 0, *ship, 0.9),  # hit
        (0, 0, 1, 0, 41, 40, 0.8),  # the same ship again
        (0, 0, 100, 0, 140, 40, 0.7),  # a ship of the other kind
        (0, 0, 220, 0, 260, 40, 0.6),  # a third of a ship
        (0, 1, 20, 0, 60, 40, 0.5),  # the other kind and only a third
        (0, 0, 500, 400, 540, 440, 0.4),  # water
        (0, 0, 405, 5, 435, 35, 0.3),  # in the crowd: does not count
    ])  # fmt: skip
    matches = matched(truth, found)
    result = error_breakdown(matches, truth, found)
    assert result["counts"] == dict.fromkeys(ERROR_TYPES, 1)
    text = errors_text(result)
    assert "ship already taken" in text and f"{100 * result['AP50']:.1f}" in text
    errors = classify(matches, truth, found)
    assert (errors.ship == MISSED).sum() == 1 and (errors.detection == HIT).sum() == 1
    # Leaving out low scores leaves the kinds of the others alone.
    above = classify(matches, truth, found, score=0.55)
    kept = matches.score >= 0.55
    np.testing.assert_array_equal(above.detection[kept], errors.detection[kept])
    assert kept.sum() == 4


def test_only_the_best_of_several_repairs_a_ship():
    truth = truth_table([(0, 0, 0, 0, 40, 40, 0)], 1)
    found = found_table([(0, 0, 20, 0, 60, 40, 0.9), (0, 0, 0, 20, 40, 60, 0.8), (0, 0, 25, 0, 65, 40, 0.7)])
    result = error_breakdown(matched(truth, found), truth, found)
    assert result["counts"]["localisation"] == 3 and result["counts"]["missed"] == 0
    # All three are repaired together: one hit with the highest score, the others gone.
    assert result["AP50"] == 0 and result["dAP"]["localisation"] == pytest.approx(1.0)


def test_nothing_found_and_nothing_to_find():
    ship = truth_table([(0, 0, 0, 0, 40, 40, 0)], 1)
    nothing = found_table([])
    result = error_breakdown(matched(ship, nothing), ship, nothing)
    assert result["dAP"]["missed"] == 1.0 and result["counts"]["missed"] == 1
    water, alarm = truth_table([], 1), found_table([(0, 0, 0, 0, 40, 40, 0.9)])
    result = error_breakdown(matched(water, alarm), water, alarm)
    assert result["AP50"] is None and result["counts"]["background"] == 1
    assert "none" in errors_text(result)


@pytest.mark.parametrize(
    ("images", "categories", "queries", "targets"), [(5, 3, 60, 50), (3, 1, 10, 1500), (2, 2, 5, 0), (4, 2, 2000, 900)]
)
def test_best_overlaps_equal_the_full_matrix(rng, images, categories, queries, targets):
    def boxes(count: int) -> Boxes:
        corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(5, 100, (count, 2))
        return Boxes(np.c_[corner, corner + size], size.prod(1), rng.integers(0, images, count),
                     rng.integers(0, categories, count))  # fmt: skip

    a, b = boxes(queries), boxes(targets)
    best = best_overlaps(a, b, images)
    iou = box_iou(a.xyxy, b.xyxy) * (a.image[:, None] == b.image)
    same = a.category[:, None] == b.category
    for name, allowed in (("same", same), ("other", ~same)):
        masked = np.where(allowed, iou, 0)
        expected = masked.max(axis=1, initial=0)
        np.testing.assert_allclose(getattr(best, f"{name}_iou"), expected, rtol=1e-12)
        row = np.where(expected > 0, masked.argmax(axis=1) if targets else -1, -1)
        np.testing.assert_array_equal(getattr(best, name), row)
