"""Random dense scenes as COCO structures, and what pycocotools says of them."""

from __future__ import annotations

import contextlib
import copy
import io
import json

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

STAT_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def scene(
    seed: int,
    *,
    images: int = 6,
    categories: int = 2,
    boxes: int = 12,
    detections: int = 30,
    crowd: float = 0.1,
    ignore: float = 0.0,
    score_steps: int = 6,
    whole_pixels: bool = True,
) -> tuple[dict, list[dict]]:
    """COCO ground truth and results: many boxes on few pixels, so that matches are contested.

    Args:
        boxes, detections: most per image; some images have none.
        score_steps: number of different scores; few of them make ties.
        whole_pixels: integer boxes, whose IoU often lies exactly on a threshold.
    """
    rng = np.random.default_rng(seed)

    def random_box() -> list[float]:
        corner, size = rng.uniform(0, 60, 2), 2 ** rng.uniform(1, 8, 2)
        if whole_pixels:
            corner, size = np.round(corner), np.round(size)
        return [*corner.tolist(), *size.tolist()]

    ids = (rng.permutation(images) * 7 + 3).tolist()
    category_ids = (rng.permutation(categories) * 5 + 1).tolist()
    truth, results = [], []
    for image_id in ids:
        here = []
        for _ in range(rng.integers(0, boxes + 1) if rng.random() < 0.85 else 0):
            box = random_box()
            here.append(
                {
                    "id": len(truth) + len(here) + 1,
                    "image_id": image_id,
                    "category_id": int(rng.choice(category_ids)),
                    "bbox": box,
                    "area": box[2] * box[3] * float(rng.choice([1.0, 0.6])),
                    "iscrowd": int(rng.random() < crowd),
                    "ignore": int(rng.random() < ignore),
                }
            )
        for _ in range(rng.integers(0, detections + 1) if rng.random() < 0.85 else 0):
            box = random_box()
            if here and rng.random() < 0.7:
                step = rng.integers(-1, 2, 4) if whole_pixels else rng.normal(0, 1, 4)
                box = (np.array(here[rng.integers(len(here))]["bbox"]) + step).tolist()
                box[2:] = [max(side, 0.5) for side in box[2:]]
            results.append(
                {
                    "image_id": image_id,
                    "category_id": int(rng.choice(category_ids)),
                    "bbox": box,
                    "score": float(rng.integers(1, score_steps + 1) / score_steps),
                }
            )
        truth += here
    truth_file = {
        "images": [{"id": i, "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in ids],
        "annotations": truth,
        "categories": [{"id": c, "name": f"kind{c}"} for c in category_ids],
    }
    return truth_file, results


class _HonourIgnore(COCOeval):
    """pycocotools with its one line put right that overwrites ``ignore`` by ``iscrowd``."""

    def _prepare(self):
        super()._prepare()
        for boxes in self._gts.values():
            for box in boxes:
                box["ignore"] = bool(box["iscrowd"]) or bool(box["flag_in_file"])


def pycocotools_eval(truth: dict, results: list[dict], *, honour_ignore: bool = False) -> COCOeval:
    """A finished COCOeval (``stats``, ``eval["precision"]``, ``eval["recall"]``)."""
    truth = copy.deepcopy(truth)
    for box in truth["annotations"]:
        box["flag_in_file"] = box.get("ignore", 0)
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {"info": {}, **truth}
        ground_truth.createIndex()
        if results:
            found = ground_truth.loadRes(copy.deepcopy(results))
        else:  # loadRes cannot take an empty list
            found = COCO()
            found.dataset = {**ground_truth.dataset, "annotations": []}
            found.createIndex()
        evaluation = (_HonourIgnore if honour_ignore else COCOeval)(ground_truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def as_pycocotools(stats) -> np.ndarray:
    """Our statistics in pycocotools' order, None as -1."""
    return np.array([-1.0 if stats[name] is None else stats[name] for name in STAT_NAMES])


def write_files(folder, truth: dict, results) -> tuple:
    """Both as files; returns their paths."""
    truth_path, results_path = folder / "truth.json", folder / "results.json"
    truth_path.write_text(json.dumps(truth))
    results_path.write_text(json.dumps(results))
    return truth_path, results_path
