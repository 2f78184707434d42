"""Made-up COCO files for the evaluation benchmark: a fleet of boxes, and what a middling detector finds of them.

Frames are 1920x1080. Most ships are small and near the horizon, some frames are crowded, some are empty. The detector
misses small ships more often, places boxes worse the smaller they are, finds some ships twice, and has many false
alarms, most of them of low score.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.files import write_json

_WIDTH, _HEIGHT, _HORIZON = 1920, 1080, 420
_STAMP = "benchmark-files.json"


@dataclass(frozen=True)
class Sizes:
    """How much is made up."""

    images: int
    boxes: int
    detections: int
    seed: int = 0


def prepare_files(folder: Path, sizes: Sizes) -> tuple[Path, Path]:
    """Ground truth and results of these sizes in ``folder``; those that are there already are used again.

    Returns:
        The two paths.
    """
    folder = folder / f"eval-{sizes.images}-{sizes.boxes}-{sizes.detections}-{sizes.seed}"
    truth, results, stamp = folder / "truth.json", folder / "results.json", folder / _STAMP
    if not stamp.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write_files(truth, results, sizes)
        write_json(stamp, {"images": sizes.images, "boxes": sizes.boxes, "detections": sizes.detections})
    return truth, results


def _write_files(truth_file: Path, results_file: Path, sizes: Sizes) -> None:
    rng = np.random.default_rng(sizes.seed)
    crowding = rng.lognormal(0, 1.1, sizes.images) * (rng.random(sizes.images) > 0.12)
    image = np.repeat(np.arange(sizes.images), rng.multinomial(sizes.boxes, crowding / crowding.sum()))
    xywh = _ships(rng, image)
    with open(truth_file, "w", encoding="ascii") as file:
        rows = ({"id": i + 1, "width": _WIDTH, "height": _HEIGHT, "file_name": f"{i + 1:06d}.jpg"}
                for i in range(sizes.images))  # fmt: skip
        file.write('{"info": {"description": "made up"}, "categories": [{"id": 1, "name": "ship"}], "images": ')
        _write_list(file, rows)
        file.write(', "annotations": ')
        columns = zip(image.tolist(), xywh.tolist(), strict=True)
        rows = ({"id": i + 1, "image_id": frame + 1, "category_id": 1, "bbox": box, "area": box[2] * box[3],
                 "iscrowd": 0} for i, (frame, box) in enumerate(columns))  # fmt: skip
        _write_list(file, rows)
        file.write("}")
    dt_image, dt_xywh, score = _found(rng, image, xywh, sizes)
    with open(results_file, "w", encoding="ascii") as file:
        columns = zip(dt_image.tolist(), dt_xywh.tolist(), score.tolist(), strict=True)
        _write_list(file, ({"image_id": i + 1, "category_id": 1, "bbox": b, "score": s} for i, b, s in columns))


def _write_list(file, rows) -> None:
    file.write("[")
    for number, row in enumerate(rows):
        file.write((", " if number else "") + json.dumps(row))
    file.write("]")


def _ships(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """int64 [N, 4], left, top, width, height in whole pixels; frames have one or two groups of ships."""
    count = len(image)
    side = np.clip(rng.lognormal(np.log(22), 0.85, count), 3, 600)
    stretch = np.sqrt(np.clip(rng.lognormal(np.log(2.0), 0.4, count), 0.5, 8))
    width, height = np.maximum(side * stretch, 2), np.maximum(side / stretch, 2)
    group = rng.uniform(0.1, 0.9, (image.max(initial=0) + 1, 2))
    centre = group[image, rng.integers(0, 2, count)] * _WIDTH + rng.normal(0, 180, count)
    base = _HORIZON + 1.1 * side + rng.normal(0, 6, count)  # larger is nearer is lower
    x = np.clip(centre - width / 2, 0, _WIDTH - width)
    y = np.clip(base - height, 0, _HEIGHT - height)
    return np.stack([x, y, width, height], axis=1).round().astype(np.int64)


def _found(rng, image: np.ndarray, xywh: np.ndarray, sizes: Sizes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image rows, boxes with 3 decimals and scores with 5, by image and then by falling score."""
    side = np.sqrt(xywh[:, 2] * xywh[:, 3])
    seen = np.flatnonzero(rng.random(len(image)) < 0.55 + 0.43 * np.clip(np.log2(side / 4) / 4, 0, 1))
    again = rng.choice(seen, len(seen) // 12, replace=False)
    of_ship = np.concatenate([seen, again])
    worse = np.r_[np.ones(len(seen)), np.full(len(again), 2.5)]
    blur = worse * rng.gamma(2.0, 0.025 + 0.35 / side[of_ship])  # jitter as a share of the box
    boxes = xywh[of_ship].astype(np.float64)
    boxes[:, :2] += rng.normal(0, 1, (len(boxes), 2)) * blur[:, None] * boxes[:, 2:]
    boxes[:, 2:] *= np.exp(rng.normal(0, 1, (len(boxes), 2)) * blur[:, None])
    score = 1 / (1 + np.exp(-(2.2 + 0.5 * np.log2(side[of_ship] / 22) - 9 * blur + rng.normal(0, 1.1, len(boxes)))))

    extra = sizes.detections - len(boxes)
    if extra < 0:
        boxes, score, of_ship, extra = boxes[:extra], score[:extra], of_ship[:extra], 0
    wrong_image = rng.integers(0, sizes.images, extra)
    wrong = _ships(rng, wrong_image) + rng.random((extra, 4))
    wrong_score = 0.001 + 0.9 * rng.beta(0.35, 5.0, extra)

    all_image = np.concatenate([image[of_ship], wrong_image])
    all_boxes = np.round(np.concatenate([boxes, wrong]), 3)
    all_score = np.round(np.concatenate([score, wrong_score]), 5)
    order = np.lexsort((-all_score, all_image))
    return all_image[order], all_boxes[order], all_score[order]
