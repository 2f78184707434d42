"""The same detections under six tools' rules, and what each difference is worth. docs/metrics.md shows its tables.

    wutdet data render runs/example --sequences 12 --frames 5 --seed 20
    python docs/worked_example.py runs/example

Needs wutdet[train]: ultralytics' figure comes from ultralytics' own code, called as it is installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from wutdet.evaluation.accumulate import accumulate, mean_of_present
from wutdet.evaluation.coco import evaluate
from wutdet.evaluation.ignored import apply_ignore_rule
from wutdet.evaluation.matching import Matches, match
from wutdet.evaluation.protocol import ALL, COCO_THRESHOLDS, View
from wutdet.evaluation.tables import FoundBoxes, GroundTruth
from wutdet.runtime.offline import import_ultralytics

#: ultralytics' default limit, per frame over all classes.
MAX_DET = 300

#: Largest limit of any preset; the detector must not cut below it.
MOST_DETECTIONS = 1500

SMALL = View("below 32 px", 0, 32**2)


def without_ignored(truth: GroundTruth) -> GroundTruth:
    """Only the boxes that count: YOLO labels have no other kind."""
    columns = ("image", "category", "xyxy", "box_area", "area", "ignore", "crowd")
    return replace(truth, **{name: getattr(truth, name)[~truth.ignore] for name in columns})


def ap_by_ultralytics(truth: GroundTruth, found: FoundBoxes) -> np.ndarray:
    """float64 [classes with ships, 10]: AP at IoU .50 to .95 by ultralytics' own matching and averaging."""
    import_ultralytics()
    import torch
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import ap_per_class, box_iou

    truth = without_ignored(truth)
    validator = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    order = np.argsort(-found.score, kind="stable")
    hits, rows = [np.zeros((0, 10), bool)], [np.zeros(0, int)]
    for image in range(truth.image_count):
        here = order[found.image[order] == image][:MAX_DET]
        boxes = truth.image == image
        hit = np.zeros((len(here), 10), bool)
        if boxes.any() and len(here):
            iou = box_iou(torch.from_numpy(truth.xyxy[boxes]), torch.from_numpy(found.xyxy[here]))
            classes = torch.from_numpy(found.category[here]), torch.from_numpy(truth.category[boxes])
            hit = BaseValidator.match_predictions(validator, *classes, iou).numpy()
        hits.append(hit)
        rows.append(here)
    used = np.concatenate(rows)
    return ap_per_class(np.concatenate(hits), found.score[used], found.category[used], truth.category)[5]


def ap_by_its_rule(truth: GroundTruth, found: FoundBoxes, *, ramp: bool = False) -> np.ndarray:
    """float64 [classes with ships, 10]: the same from wutdet's matching, with ultralytics' integration written anew.

    Its curve starts at precision 1 for recall 0, joins the measured points by straight lines, and falls to 0 behind the
    last one; the area is that of trapezoids between 101 points. COCO's is a staircase of the precision still to come.
    ``ramp`` does as versions up to 8.3 did: behind the last point the curve runs straight to recall 1, precision 0, so
    that a triangle of recall that was never reached counts as well.
    """
    truth = without_ignored(truth)
    matches = match(truth, found, [ALL], COCO_THRESHOLDS, MOST_DETECTIONS)
    first = matches.image_rank() < MAX_DET
    out = []
    for category in np.unique(truth.category):
        mine = np.flatnonzero(first & (matches.dt_category == category))
        mine = mine[np.argsort(-matches.score[mine], kind="stable")]
        ships = int((truth.category == category).sum())
        out.append([_trapezoids(matches.hit[0][mine] >> t & 1, ships, ramp) for t in range(len(COCO_THRESHOLDS))])
    return np.array(out, dtype=float).reshape(-1, len(COCO_THRESHOLDS))


def _trapezoids(hit: np.ndarray, ships: int, ramp: bool) -> float:
    if not len(hit):
        return 0.0
    hits = np.cumsum(hit.astype(int))
    recall, precision = hits / ships, hits / np.arange(1, len(hit) + 1)
    best_to_come = np.maximum.accumulate(precision[::-1])[::-1]
    end = [] if ramp else [recall[-1]]
    recall = np.concatenate([[0.0], recall, end, [1.0]])
    curve = np.concatenate([[1.0], best_to_come, [0.0 for _ in end], [0.0]])
    at = np.interp(np.linspace(0, 1, 101), recall, curve)
    return float((at[1:] + at[:-1]).sum() / 200)


def cut_off(truth: GroundTruth, found: FoundBoxes) -> list[dict]:
    """AP and AP50 of three integrations where detections below a score were thrown away before scoring."""
    out = []
    for lowest in (0.001, 0.05, 0.25):
        kept = found.score >= lowest
        left = FoundBoxes(**{f.name: getattr(found, f.name)[kept] for f in fields(FoundBoxes)})
        coco, own = average(truth, left, limit=100), ap_by_ultralytics(truth, left)
        old = ap_by_its_rule(truth, left, ramp=True)
        out.append(
            {"lowest score": lowest, "COCO": coco, "ultralytics": (own.mean(), own[:, 0].mean()),
             "ultralytics until 8.3": (old.mean(), old[:, 0].mean())}
        )  # fmt: skip
    return out


def average(truth, found, *, limit, per_frame=False, area=False, view=ALL, pairing="coco") -> tuple:
    """(AP at IoU .50:.95, AP50) under any mixture of rules; None without such ships."""
    matches: Matches = match(truth, found, [ALL, view], COCO_THRESHOLDS, MOST_DETECTIONS, pairing=pairing)
    curves = accumulate(matches, [view], [limit], per_image=per_frame)
    values = curves.area if area else curves.precision
    return mean_of_present(values), mean_of_present(values[0])


def steps(truth: GroundTruth, found: FoundBoxes) -> list[dict]:
    """From ultralytics to COCO and from COCO to the others, one change at a time; "AP", "AP50" and what changed."""
    plain = without_ignored(truth)
    ultralytics, recomputed = ap_by_ultralytics(truth, found), ap_by_its_rule(truth, found)
    dropped = apply_ignore_rule(truth, found, "drop")[:2]
    coco = average(truth, found, limit=100)
    rows = (
        ("ultralytics", "its own code", (ultralytics.mean(), ultralytics[:, 0].mean())),
        ("ultralytics", "its rules, recomputed from wutdet's matches", (recomputed.mean(), recomputed[:, 0].mean())),
        ("to COCO", "precision as a staircase at 101 points", average(plain, found, limit=MAX_DET, per_frame=True)),
        ("to COCO", "limit 100 per frame and class", average(plain, found, limit=100)),
        ("COCO", "ignored boxes excuse detections", coco),
        ("AI-TOD", "COCO, limit 1500", average(truth, found, limit=1500)),
        ("SODA-D", "COCO, ships below 32 px", average(truth, found, limit=100, view=SMALL)),
        ("TinyPerson", "COCO, limit 200", average(truth, found, limit=200)),
        ("TinyPerson", "ignored boxes excuse what they cover", average(truth, found, limit=200, pairing="cover")),
        ("to VisDrone", "COCO, exact area under the staircase", average(truth, found, limit=100, area=True)),
        ("to VisDrone", "limit 500 per frame", average(truth, found, limit=500, per_frame=True, area=True)),
        ("VisDrone", "what lies in ignored boxes is dropped", average(*dropped, limit=500, per_frame=True, area=True)),
    )
    return [{"rule": rule, "change": change, "AP": ap, "AP50": ap50} for rule, change, (ap, ap50) in rows]


def headlines(truth: GroundTruth, found: FoundBoxes) -> list[dict]:
    """What each tool would print first."""
    own = ap_by_ultralytics(truth, found)
    rows = [{"tool": "ultralytics", "figures": {"mAP50-95": own.mean(), "mAP50": own[:, 0].mean()}}]
    for name, wanted in {
        "coco": ("AP", "AP50", "APs"),
        "aitod": ("AP", "AP25", "AP50", "APvt", "APt", "APs", "oLRP"),
        "soda-d": ("AP", "AP50", "APes", "APrs", "APgs"),
        "tinyperson": ("AP50_tiny", "AP25_tiny", "AP75_tiny", "AP50_all", "MR50_tiny"),
        "visdrone": ("AP", "AP50", "AR500"),
    }.items():
        stats = evaluate(truth, found, preset=name).stats
        rows.append({"tool": name, "figures": {key: stats[key] for key in wanted}})
    return rows


def measure(truth: GroundTruth, found: FoundBoxes) -> dict:
    """All tables: "headlines", "steps", "cut_off"."""
    return {"headlines": headlines(truth, found), "steps": steps(truth, found), "cut_off": cut_off(truth, found)}


def to_text(result: dict) -> str:
    """The result as Markdown tables."""

    def shown(value, digits: int = 3) -> str:
        return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"

    lines = ["| tool | figures |", "| --- | --- |"]
    for row in result["headlines"]:
        figures = ", ".join(f"{key} {shown(value)}" for key, value in row["figures"].items())
        lines.append(f"| {row['tool']} | {figures} |")
    lines += ["", "| rules of | what is different | AP | AP50 |", "| --- | --- | --- | --- |"]
    for row in result["steps"]:
        lines.append(f"| {row['rule']} | {row['change']} | {shown(row['AP'], 4)} | {shown(row['AP50'], 4)} |")
    tools = [key for key in result["cut_off"][0] if key != "lowest score"]
    lines += ["", f"| AP / AP50, lowest score | {' | '.join(tools)} |", "| --- |" + " --- |" * len(tools)]
    for row in result["cut_off"]:
        cells = [" / ".join(shown(value) for value in row[tool]) for tool in tools]
        lines.append(f"| {row['lowest score']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", ", ".join(f"{key} {value}" for key, value in result["protocol"].items())])


def main(arguments: list[str] | None = None) -> dict:
    """Detects on the frames of a data set, prints the tables, and returns them."""
    from wutdet.dataset.load import load_dataset
    from wutdet.evaluation.categories import align_categories
    from wutdet.evaluation.model import detect_all
    from wutdet.runtime.detector import Detector

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--model", default=str(resources.files("wutdet") / "released" / "ship-n-rendered.pt"))
    parser.add_argument("--arch")
    parser.add_argument("--category")
    parser.add_argument("--imgsz", type=int, default=1280)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)

    dataset = load_dataset(options.data, split=options.split)
    detector = Detector(
        options.model, conf=0.001, iou=0.7, max_det=MOST_DETECTIONS, imgsz=options.imgsz, arch=options.arch,
        category=options.category,
    )  # fmt: skip
    detections = align_categories(detect_all(detector, dataset), dataset.category_names)
    truth = GroundTruth.of(dataset)
    found = FoundBoxes.of(detections, truth)
    versions = {name: importlib.metadata.version(name) for name in ("wutdet", "ultralytics", "torch")}
    most = int(np.bincount(found.image, minlength=1).max())
    result = {
        **measure(truth, found),
        "protocol": {
            "data": dataset.name, "split": options.split, "images": truth.image_count,
            "boxes": int((~truth.ignore).sum()), "ignored boxes": int(truth.ignore.sum()), "detections": len(found),
            "most in one frame": most, "input size": options.imgsz, "lowest score": 0.001, "NMS": 0.7,
            "model": Path(options.model).name, **versions,
        },
    }  # fmt: skip
    print(to_text(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    main()
