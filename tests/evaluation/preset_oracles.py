"""What the benchmarks' own rules give, written from their definitions as plain loops over COCO dicts.

AI-TOD's and SODA-D's averages are pycocotools with other parameters, so pycocotools computes them. The others are
written out here: slow, one step after the other as in the sources, with nothing shared with ``wutdet.evaluation``.
Every oracle takes a COCO ground truth and COCO results and returns figures by wutdet's names, None for "no such
objects".

One file, though longer than most: the oracles share their reading of COCO dicts, and nothing else may import them.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

TEN_THRESHOLDS = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


# AI-TOD and SODA-D: pycocotools with the parameters of their own copies of it ------------------------------------


class _OwnParameters(COCOeval):
    """pycocotools, with ``ignore`` of the file honoured, and ``iscrowd`` dropped where a benchmark does so."""

    crowds = True

    def _prepare(self):
        super()._prepare()
        for boxes in self._gts.values():
            for box in boxes:
                box["ignore"] = bool(box["iscrowd"]) or bool(box["flag_in_file"])
                box["iscrowd"] = int(box["iscrowd"] and self.crowds)


def _evaluated(truth: dict, results: list[dict], ranges: dict, limits: list[int], thresholds=None, crowds=True):
    """A function of (kind, range, limit, iou or None): the mean over what pycocotools knows, or None."""
    truth = copy.deepcopy(truth)
    for box in truth["annotations"]:
        box["flag_in_file"] = box.get("ignore", 0)
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth, found = COCO(), COCO()
        ground_truth.dataset = {"info": {}, **truth}
        ground_truth.createIndex()
        if results:
            found = ground_truth.loadRes(copy.deepcopy(results))
        else:
            found.dataset = {**ground_truth.dataset, "annotations": []}
            found.createIndex()
        run = _OwnParameters(ground_truth, found, "bbox")
        run.crowds = crowds
        run.params.areaRng, run.params.areaRngLbl = list(ranges.values()), list(ranges)
        run.params.maxDets = limits
        if thresholds is not None:
            run.params.iouThrs = np.array(thresholds)
        run.evaluate()
        run.accumulate()

    def figure(kind: str, name: str, limit: int, iou: float | None = None) -> float | None:
        a, m = list(ranges).index(name), limits.index(limit)
        rows = np.ones(len(run.params.iouThrs), bool) if iou is None else np.isclose(run.params.iouThrs, iou)
        assert rows.any()
        values = run.eval[kind][rows][..., a, m]
        present = values[values > -1]
        return float(present.mean()) if present.size else None

    return figure


def aitod(truth: dict, results: list[dict]) -> dict:
    """AI-TOD's 15 averages (AP25 by a run of its own at IoU .25) and oLRP with its parts."""
    ranges = {"all": [0, 1e10], "vt": [0, 64], "t": [64, 256], "s": [256, 1024], "m": [1024, 1e10]}
    limits = [100, 300, 1500]
    figure = _evaluated(truth, results, ranges, limits)
    loose = _evaluated(truth, results, ranges, limits, [0.25])
    out = {"AP": figure("precision", "all", 1500), "AP25": loose("precision", "all", 1500)}
    out |= {f"AP{round(100 * iou)}": figure("precision", "all", 1500, iou) for iou in (0.5, 0.75)}
    out |= {f"AR{limit}": figure("recall", "all", limit) for limit in limits}
    for name in ("vt", "t", "s", "m"):
        out[f"AP{name}"] = figure("precision", name, 1500)
        out[f"AR{name}"] = figure("recall", name, 1500)
    return out | {key: value for key, value in olrp(truth, results).items() if key != "thresholds"}


def soda_d(truth: dict, results: list[dict]) -> dict:
    """SODA-D's 14 averages."""
    ranges = {"small": [0, 1024], "es": [0, 144], "rs": [144, 400], "gs": [400, 1024], "n": [1024, 2000]}
    limits = [100, 300, 1000]
    figure = _evaluated(truth, results, ranges, limits, crowds=False)
    out = {"AP": figure("precision", "small", 100)}
    out |= {f"AP{round(100 * iou)}": figure("precision", "small", 100, iou) for iou in (0.5, 0.75)}
    out |= {f"AR{limit}": figure("recall", "small", limit) for limit in limits}
    for name in ("es", "rs", "gs", "n"):
        out[f"AP{name}"] = figure("precision", name, 100)
        out[f"AR{name}"] = figure("recall", name, 1000)
    return out


# Parts that the loops below share ---------------------------------------------------------------------------------


def _area(box: dict) -> float:
    return box["bbox"][2] * box["bbox"][3]


def _intersection(a: dict, b: dict) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a["bbox"], b["bbox"]
    width, height = min(ax + aw, bx + bw) - max(ax, bx), min(ay + ah, by + bh) - max(ay, by)
    return width * height if width > 0 and height > 0 else 0.0


def _iou(found: dict, box: dict) -> float:
    inside = _intersection(found, box)
    return inside / (_area(found) + _area(box) - inside) if inside else 0.0


def _share(found: dict, box: dict) -> float:
    return _intersection(found, box) / _area(found)


def _classes(truth: dict) -> list[tuple[int, str]]:
    return sorted((row["id"], row["name"]) for row in truth["categories"])


def _per_image(truth: dict, results: list[dict], category: int | None) -> list[tuple[list[dict], list[dict]]]:
    """(boxes, detections by falling score) of each image in rising id; of one class or of all."""
    out = []
    for image in sorted(row["id"] for row in truth["images"]):
        boxes, found = (
            [row for row in rows if row["image_id"] == image and category in (None, row["category_id"])]
            for rows in (truth["annotations"], results)
        )
        out.append((boxes, sorted(found, key=lambda row: -row["score"])))
    return out


def _averaged(rows: list[float | None]) -> float | None:
    present = [value for value in rows if value is not None]
    return sum(present) / len(present) if present else None


def _pooled(images: list[list[tuple[float, str]]]) -> list[str]:
    """States ("hit", "miss", "ignored") of all images by falling score; equal scores stay in the order of images."""
    flat = [row for rows in images for row in rows]
    return [state for _, state in sorted(flat, key=lambda row: -row[0])]


def _curve(states: list[str], positives: int) -> tuple[list[float], list[float]]:
    """Recall, and precision that never falls to the left, after each detection."""
    recall, precision = [], []
    hits = alarms = 0
    for state in states:
        hits += state == "hit"
        alarms += state == "miss"
        recall.append(hits / positives)
        precision.append(hits / (hits + alarms) if hits + alarms else 0.0)
    for i in reversed(range(len(precision) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return recall, precision


def _at_101_points(recall: list[float], precision: list[float]) -> float:
    total = 0.0
    for point in np.linspace(0, 1, 101):
        place = int(np.searchsorted(recall, point, side="left")) if recall else 0
        total += precision[place] if place < len(precision) else 0.0
    return total / 101


# oLRP ------------------------------------------------------------------------------------------------------------


def _coco_match(boxes: list[dict], found: list[dict], threshold: float) -> list[tuple[float, str, float]]:
    """(score, state, IoU of a hit) of each detection: COCO's greedy rule over all areas."""
    ignored = [bool(box.get("iscrowd") or box.get("ignore")) for box in boxes]
    order = sorted(range(len(boxes)), key=lambda i: ignored[i])
    taken, out = set(), []
    for detection in found:
        best, chosen = min(threshold, 1 - 1e-10), None
        for i in order:
            crowd = bool(boxes[i].get("iscrowd"))
            if i in taken and not crowd:
                continue
            if chosen is not None and not ignored[chosen] and ignored[i]:
                break
            overlap = _share(detection, boxes[i]) if crowd else _iou(detection, boxes[i])
            if overlap >= best:
                best, chosen = overlap, i
        if chosen is None:
            out.append((detection["score"], "miss", 0.0))
            continue
        taken.add(chosen)
        out.append((detection["score"], "ignored" if ignored[chosen] else "hit", best))
    return out


def olrp(truth: dict, results: list[dict], limit: int = 1500, tau: float = 0.5) -> dict:
    """Optimal LRP, its parts, and the best threshold of each class that has objects."""
    rows, thresholds = [], {}
    for category, name in _classes(truth):
        images = _per_image(truth, results, category)
        positives = sum(not (box.get("iscrowd") or box.get("ignore")) for boxes, _ in images for box in boxes)
        if positives == 0:
            continue
        outcome = [row for boxes, found in images for row in _coco_match(boxes, found[:limit], tau)]
        outcome.sort(key=lambda row: -row[0])
        if not any(state == "hit" for _, state, _ in outcome):
            rows.append((1.0, None, None, 1.0))
            thresholds[name] = None
            continue
        best = None
        hits = alarms = 0
        distance = 0.0
        for score, state, overlap in outcome:
            if state == "hit":
                hits, distance = hits + 1, distance + (1 - overlap)
            alarms += state == "miss"
            missed = positives - hits
            error = (distance / (1 - tau) + alarms + missed) / (hits + alarms + missed)
            if best is None or error < best[0] - 1e-12:  # the first of equal ones, rounding aside
                localisation = distance / hits if hits else None
                false_alarms = alarms / (hits + alarms) if hits + alarms else None
                best = (error, localisation, false_alarms, missed / positives, score)
        rows.append(best[:4])
        thresholds[name] = best[4]
    names = ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")
    return {key: _averaged([row[i] for row in rows]) for i, key in enumerate(names)} | {"thresholds": thresholds}


# TinyPerson ------------------------------------------------------------------------------------------------------

TINYPERSON_RANGES = {
    "all": (1, 1e10), "tiny": (1, 400), "tiny1": (1, 64), "tiny2": (64, 144), "tiny3": (144, 400), "small": (400, 1024),
    "reasonable": (1024, 1e10),
}  # fmt: skip


def _tinyperson_match(boxes, found, threshold: float, low: float, high: float) -> list[tuple[float, str]]:
    ignored = [bool(box.get("ignore")) or not low <= box["area"] <= high for box in boxes]
    order = sorted(range(len(boxes)), key=lambda i: ignored[i])
    taken, out = set(), []
    for detection in found:
        best, chosen = min(threshold, 1 - 1e-10), None
        for i in order:
            if i in taken:
                continue
            if chosen is not None and not ignored[chosen] and ignored[i]:
                break
            overlap = _iou(detection, boxes[i])
            if overlap >= best:
                best, chosen = overlap, i
        if chosen is not None:
            taken.add(chosen)
            out.append((detection["score"], "ignored" if ignored[chosen] else "hit"))
            continue
        covered = max((_share(detection, boxes[i]) for i in range(len(boxes)) if ignored[i]), default=0.0)
        counts = covered < threshold and low <= _area(detection) <= high
        out.append((detection["score"], "miss" if counts else "ignored"))
    return out


def tinyperson(truth: dict, results: list[dict], limit: int = 200) -> dict:
    """TinyBenchmark's AP and recall by IoU threshold and size, and its miss rates; boxes must have no ``iscrowd``."""
    assert not any(box.get("iscrowd") for box in truth["annotations"])
    per_class = [_per_image(truth, results, category) for category, _ in _classes(truth)]
    out = {}
    for threshold in (0.25, 0.5, 0.75):
        for name, (low, high) in TINYPERSON_RANGES.items():
            precisions, recalls = [], []
            for images in per_class:
                positives = sum(
                    not box.get("ignore") and low <= box["area"] <= high for boxes, _ in images for box in boxes
                )
                if positives == 0:
                    continue
                recall, precision = _curve(
                    _pooled([_tinyperson_match(boxes, f[:limit], threshold, low, high) for boxes, f in images]),
                    positives,
                )
                precisions.append(_at_101_points(recall, precision))
                recalls.append(recall[-1] if recall else 0.0)
            out[f"AP{round(100 * threshold)}_{name}"] = _averaged(precisions)
            out[f"AR{round(100 * threshold)}_{name}"] = _averaged(recalls)
    return out | miss_rates(truth, results)


MISS_RATE_SIZES = {
    "tiny": (2, 20), "tiny1": (2, 8), "tiny2": (8, 12), "tiny3": (12, 20), "small": (20, 32), "all": (-1, 1e10),
}  # fmt: skip


def _miss_rate_match(boxes, found, threshold: float, low: float, high: float) -> list[tuple[float, str]]:
    ignored = [bool(box.get("ignore")) or not low <= math.sqrt(box["area"]) <= high for box in boxes]
    order = sorted(range(len(boxes)), key=lambda i: ignored[i])
    taken, out = set(), []
    for detection in found:
        if not low / 1.25 <= math.sqrt(_area(detection)) < high * 1.25:
            continue
        best, chosen = min(threshold, 1 - 1e-10), None
        for i in order:
            if i in taken:
                continue
            if chosen is not None and ignored[i]:
                break
            overlap = _share(detection, boxes[i]) if ignored[i] else _iou(detection, boxes[i])
            if overlap >= best:
                best, chosen = overlap, i
        if chosen is not None and not ignored[chosen]:
            taken.add(chosen)
            out.append((detection["score"], "hit"))
        elif chosen is not None:
            out.append((detection["score"], "ignored"))
        else:
            value = 0.0
            for i in order:
                if ignored[i]:  # the share goes once more through the formula that makes a share of an IoU
                    share = _share(detection, boxes[i])
                    value = max(value, share / (1 + share) * (1 + boxes[i]["area"] / _area(detection)))
            out.append((detection["score"], "ignored" if value > 0.5 else "miss"))
    return out


def miss_rates(truth: dict, results: list[dict], limit: int = 1000) -> dict:
    """Log-average miss rates over 0.01 to 1 false alarms per frame."""
    frames, out = len(truth["images"]), {}
    for threshold in (0.25, 0.5, 0.75):
        for name, (low, high) in MISS_RATE_SIZES.items():
            logs = []
            for category, _ in _classes(truth):
                images = _per_image(truth, results, category)
                positives = sum(
                    not box.get("ignore") and low <= math.sqrt(box["area"]) <= high
                    for boxes, _ in images
                    for box in boxes
                )
                if positives == 0:
                    continue
                states = _pooled([_miss_rate_match(boxes, f[:limit], threshold, low, high) for boxes, f in images])
                hits, alarms, steps = 0, 0, []
                for state in states:
                    hits += state == "hit"
                    alarms += state == "miss"
                    steps.append((alarms / frames, hits / positives))
                for j in range(9):
                    allowed = math.exp(math.log(0.01) + j * (math.log(1.0) - math.log(0.01)) / 8)
                    reached = [recall for rate, recall in steps if rate <= allowed]
                    # Already the first detection is a false alarm too many: the source then reads off the last one.
                    recall = reached[-1] if reached else steps[-1][1] if steps else 0.0
                    logs.append(math.log(1 - recall) if recall < 1 else -math.inf)
            key = f"MR{round(100 * threshold)}_{name}"
            out[key] = math.exp(sum(logs) / len(logs)) if logs else None
    return out


# VisDrone --------------------------------------------------------------------------------------------------------


def _dropped(box: dict, mask: np.ndarray) -> bool:
    """Is at least half of the box, in whole pixels, painted? Pixels count from 1; row and column 0 are spare."""
    height, width = mask.shape[0] - 1, mask.shape[1] - 1
    x, y, w, h = (max(1, math.floor(value + 0.5)) for value in box["bbox"])
    left, top = min(x, width), min(y, height)
    painted = sum(
        bool(mask[row, column])
        for row in range(top + 1, min(height, top + h) + 1)
        for column in range(left + 1, min(width, left + w) + 1)
    )
    return painted / (w * h) >= 0.5


def _outside_regions(truth: dict, results: list[dict]) -> tuple[dict, list[dict]]:
    boxes, found = [], []
    for image in truth["images"]:
        mine = [row for row in truth["annotations"] if row["image_id"] == image["id"]]
        theirs = [row for row in results if row["image_id"] == image["id"]]
        regions = [row for row in mine if row.get("ignore") or row.get("iscrowd")]
        mask = np.zeros((image["height"] + 1, image["width"] + 1), bool)
        for region in regions:
            x, y, w, h = (max(1, int(value)) for value in region["bbox"])
            for row in range(y, min(image["height"], y + h) + 1):
                mask[row, x : min(image["width"], x + w) + 1] = True
        boxes += [row for row in mine if row not in regions and not (regions and _dropped(row, mask))]
        found += [row for row in theirs if not (regions and _dropped(row, mask))]
    kept = [row for row in results if row in found]  # in the order of the file
    return {**truth, "annotations": boxes}, kept


def visdrone(truth: dict, results: list[dict]) -> dict:
    """VisDrone-DET's AP, AP50, AP75 and AR by limit; regions are whole pixels, and each class counts alike."""
    truth, results = _outside_regions(truth, results)
    whole = _per_image(truth, results, None)
    ap: dict[float, list] = {threshold: [] for threshold in TEN_THRESHOLDS}
    out = {}
    for limit in (1, 10, 100, 500):
        recalls = []
        for category, _ in _classes(truth):
            positives = sum(box["category_id"] == category for boxes, _ in whole for box in boxes)
            if positives == 0:
                continue
            for threshold in TEN_THRESHOLDS:
                images = []
                for boxes, found in whole:
                    mine = [box for box in boxes if box["category_id"] == category]
                    first = [row for row in found[:limit] if row["category_id"] == category]
                    taken, rows = set(), []
                    for detection in first:
                        best, chosen = threshold, None
                        for i, box in enumerate(mine):
                            overlap = _iou(detection, box)
                            if i not in taken and overlap >= best:
                                best, chosen = overlap, i
                        if chosen is not None:
                            taken.add(chosen)
                        rows.append((detection["score"], "miss" if chosen is None else "hit"))
                    images.append(rows)
                recall, precision = _curve(_pooled(images), positives)
                recalls.append(recall[-1] if recall else 0.0)
                if limit == 500:
                    area, before = 0.0, 0.0
                    for r, p in zip(recall, precision, strict=True):
                        area, before = area + (r - before) * p, r
                    ap[threshold].append(area)
        out[f"AR{limit}"] = _averaged(recalls)
    out["AP"] = _averaged([value for values in ap.values() for value in values])
    out["AP50"], out["AP75"] = _averaged(ap[0.5]), _averaged(ap[0.75])
    return out
