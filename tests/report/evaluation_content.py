"""A whole evaluation result as JSON, a small data set with its pictures, and a table of objects, all made by hand."""

from __future__ import annotations

import numpy as np

from wutdet.boxes import box_iou
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections

BINS = (
    ("very tiny (<8 px)", 0, 8),
    ("tiny (8-16 px)", 8, 16),
    ("small (16-32 px)", 16, 32),
    ("medium (32-96 px)", 32, 96),
    ("large (>96 px)", 96, None),
)
LEAKS = {"rate": 0.03125, "exact": 0.0, "near": 0.03125, "objects": None, "sequence": 0.0, "against": "train",
         "near_distance": 10, "frames": 32, "train_frames": 100, "unread": 0, "splits": {}}  # fmt: skip


def whole_result(**facts) -> dict:
    """Everything that an evaluation can hold; ``facts`` go into the protocol."""
    stats = {"AP": 0.4123, "AP50": 0.7012, "AP75": 0.4301, "APs": 0.3517, "APm": 0.5624, "APl": None, "AR1": 0.2011,
             "AR10": 0.4482, "AR100": 0.5219, "ARs": 0.4406, "ARm": 0.6333, "ARl": None}  # fmt: skip
    return {
        "schema": "wutdet.eval/2",
        "protocol": {
            "preset": "coco", "source": "pycocotools COCOeval",
            "iou_thresholds": [round(0.5 + 0.05 * i, 2) for i in range(10)], "recall_points": 101,
            "max_dets": [1, 10, 100], "area_bins_px2": {"small": [0, 1024]}, "dataset": "harbour <1> & co",
            "split": "val", "categories": ["ship"], "images": 12, "images_without_boxes": 0, "boxes": 36,
            "boxes_ignored": 2, "detections": 480, "input_size": 1280, "model": "runs/a/ship.int8.onnx",
            "data": "data/harbour", "classes": "ship", "conf": 0.001, **facts,
        },
        "stats": stats,
        "presets": {
            "coco": stats,
            "aitod": {"AP": 0.4157, "AP25": 0.8102, "AP50": 0.7044, "AP75": 0.4299, "APvt": 0.1203, "APt": 0.3104,
                      "oLRP": 0.6411},
            "soda-d": {"AP": 0.3518, "AP50": 0.6609, "AP75": 0.3021, "APeS": 0.2207, "APrS": None},
            "tinyperson": {"AP50_tiny": 0.6123, "MR50_tiny": 0.4219},
            "visdrone": {"AP": 0.4088, "AP50": 0.6987, "AP75": 0.4267, "AR500": 0.5301},
        },
        "olrp_thresholds": {"ship <1>": 0.2871, "buoy": None},
        "threshold": {"score": 0.3125, "f1": 0.7219, "precision": 0.8012, "recall": 0.6569, "iou": 0.5, "tp": 24,
                      "fp": 6, "fn": 12},
        "size_bins": [
            {"name": name, "unit": "px", "low_px": low, "high_px": high, "boxes": boxes, "AP": ap,
             "AP50": None if ap is None else ap + 0.2, "AR": None if ap is None else ap + 0.05,
             "recall50": None if ap is None else ap + 0.3}
            for (name, low, high), boxes, ap in zip(BINS, (5, 9, 10, 12, 0), (0.11, 0.29, 0.41, 0.56, None),
                                                    strict=True)
        ],
        "curves": {
            "recall": [i / 100 for i in range(101)],
            "precision": {
                "0.50": [max(0.0, 1 - (i / 100) ** 4) if i < 85 else 0.0 for i in range(101)],
                "0.75": [max(0.0, 0.9 - (i / 70) ** 2) if i < 60 else 0.0 for i in range(101)],
                "mean": [max(0.0, 0.95 - (i / 80) ** 2) if i < 75 else 0.0 for i in range(101)],
            },
            "score": {},
        },
        "intervals": {
            "level": 0.95, "resamples": 1000, "unit": "sequence", "units": 3, "seed": 7,
            "stats": {"AP": [0.3711, 0.4519], "AP50": [0.6507, 0.7413], "APs": [0.2902, 0.4115], "APl": None},
            "warning": "only 3 sequences: these intervals are rough",
        },
        "slices": [
            _slice("scene", "port", 8, 24, 0.43, [0.35, 0.51]),
            _slice("scene", "anchorage <far>", 4, 12, 0.36, [0.14, 0.55], "12 ships in 1 sequence: too few"),
            _slice("condition", "fog", 3, 9, 0.22, None, "9 ships: too few"),
            _slice("condition", "clear", 9, 27, 0.47, [0.41, 0.53]),
            *(_slice("sequence", f"s{i:02d}", 1, 40 - i, 0.3 + 0.01 * i, None) for i in range(26)),
        ],
        "density": {
            "ships_per_frame": [
                {"name": name, "low": low, "high": high, "images": 4, "boxes": boxes, "AP": ap, "AP50": ap + 0.25,
                 "AR": ap + 0.1, "recall50": ap + 0.3, "size_bins": _parts(("AP", "AP50", "recall50"), ap)}
                for name, low, high, boxes, ap in (("1", 1, 1, 8, 0.55), ("2–5", 2, 5, 16, 0.42),
                                                   ("6+", 6, None, 12, 0.31))
            ],
            "crowding": [
                {"name": name, "low": low, "high": high, "boxes": boxes, "AR": recall - 0.2, "recall50": recall,
                 "size_bins": _parts(("recall50",), recall)}
                for name, low, high, boxes, recall in (
                    ("neighbour 3 widths away or more", None, -3, 26, 0.81), ("nearer than 1 width", -1, 0, 7, 0.62),
                    ("covered over 30 %", 0.3, None, 3, 0.33),
                )
            ],
            "recall_by_size": {
                "iou": 0.5, "score": 0.3125, "found_90_from_px": 45.25,
                "points": [
                    {"low_px": low, "high_px": high, "boxes": boxes, "found": found,
                     "recall": found / boxes if boxes else None,
                     "interval": [max(0.0, found / boxes - 0.15), min(1.0, found / boxes + 0.1)] if boxes else None}
                    for low, high, boxes, found in ((0, 4, 0, 0), (4, 8, 50, 9), (8, 16, 90, 41), (16, 32, 100, 71),
                                                    (32, 64, 80, 74), (64, 128, 40, 39), (128, None, 12, 12))
                ],
            },
            "false_alarms": {"score": 0.3125, "iou": 0.5, "per_frame": 0.51, "frames": 12,
                             "above_horizon_per_frame": 0.083, "horizon": "estimated", "duplicates_per_frame": 0.25,
                             "duplicate_rate": 0.0417},
        },
        "errors": {
            "iou": 0.5, "background_iou": 0.1, "AP50": 0.7012,
            "dAP": {"classification": 0.0, "localisation": 0.0614, "both": 0.0, "duplicate": 0.0082,
                    "background": 0.0419, "missed": 0.1287},
            "dAP_special": {"false_positives": 0.0905, "false_negatives": 0.2018},
            "counts": {"classification": 0, "localisation": 21, "both": 0, "duplicate": 11, "background": 57,
                       "missed": 14},
        },
        "comparison": {
            "a": "ship.fp32.onnx", "b": "ship <int8> & co.onnx", "level": 0.95, "resamples": 1000, "unit": "sequence",
            "units": 3,
            "stats": {
                "AP": {"a": 0.4205, "b": 0.4123, "difference": -0.0082, "interval": [-0.0151, -0.0021], "p": 0.008,
                       "real": True},
                "AP50": {"a": 0.7033, "b": 0.7012, "difference": -0.0021, "interval": [-0.0098, 0.0061], "p": 0.612,
                         "real": False},
                "APl": {"a": None, "b": None, "difference": None, "interval": None, "p": None, "real": None},
            },
            "slices": [
                {"by": "scene", "name": "port", "images": 8, "boxes": 24, "difference": -0.0101,
                 "interval": [-0.0181, -0.0012], "real": True},
                {"by": "condition", "name": "fog", "images": 3, "boxes": 9, "difference": 0.0133, "interval": None,
                 "real": None},
            ],
        },
        "robustness": {
            "severities": [1, 2, 3, 4, 5], "clean": {"AP": 0.4123, "AP50": 0.7012, "APs": 0.3517},
            "corruptions": [
                {"name": name, "group": group, "AP": [0.4123 * (1 - loss * s / 5) for s in range(1, 6)],
                 "AP50": [0.7012 * (1 - loss * s / 5) for s in range(1, 6)],
                 "APs": [0.3517 * (1 - loss * s / 5) for s in range(1, 6)],
                 "mean_AP": 0.4123 * (1 - 0.6 * loss), "loss_AP": 0.4123 * 0.6 * loss, "relative_loss": 0.6 * loss}
                for name, group, loss in (
                    ("fog", "weather", 0.95), ("glare", "weather", 0.5), ("rain", "weather", 0.35),
                    ("lens_drops", "lens", 0.6), ("spray", "lens", 0.7), ("low_light", "light", 0.4),
                    ("noise", "sensor", 0.8), ("motion_blur", "sensor", 0.75), ("defocus", "sensor", 0.85),
                    ("compression", "sensor", 0.3), ("contrast", "light", 0.55), ("horizon_tilt", "pose", 0.1),
                )
            ],
            "mean_AP": 0.2608, "mean_loss_AP": 0.1515, "frames": 12,
        },
        "leak_rate": LEAKS,
    }  # fmt: skip


def _slice(by: str, name: str, images: int, boxes: int, ap: float, interval, warning: str | None = None) -> dict:
    return {"by": by, "name": name, "images": images, "boxes": boxes, "units": 2, "AP": ap, "AP50": ap + 0.25,
            "APs": ap - 0.1, "AR100": ap + 0.1, "recall50": ap + 0.3, "intervals": {"AP": interval},
            "warning": warning}  # fmt: skip


def _parts(keys: tuple[str, ...], value: float) -> list[dict]:
    return [
        {"name": name, "boxes": 4 * index, **dict.fromkeys(keys, value * (0.5 + 0.1 * index) if index else None)}
        for index, (name, _, _) in enumerate(BINS)
    ]


def small_dataset(root, write_picture) -> Dataset:
    """Twelve frames in three sequences of two sources, each with ships of 6, 20 and 50 px."""
    builder = DatasetBuilder(root, ClassMap.single(), "harbour <1> & co")
    for index in range(12):
        write_picture(root / f"frame {index}.png", (640, 360), seed=index)
        labels = {"sequence": f"s{index // 4}", "source": f"cam <{index // 8}>", "split": "val"}
        row = builder.add_image(f"frame {index}.png", (640, 360), labels=labels)
        for side in (6, 20, 50):
            builder.add_box(row, (side * 8, 100, side * 8 + side, 100 + side), "ship")
    return builder.build()


def jittered(dataset: Dataset, rng: np.random.Generator) -> Detections:
    """Annotated ships moved a little, some of them left out or doubled, and boxes where there is nothing."""
    keep = rng.random(dataset.box_count) < 0.75
    side = np.sqrt(np.prod(dataset.xyxy[:, 2:] - dataset.xyxy[:, :2], axis=1))
    moved = dataset.xyxy + rng.normal(0, 1, (dataset.box_count, 4)) * np.minimum(0.12 * side, 12)[:, None]
    doubled = keep & (rng.random(dataset.box_count) < 0.12)
    again = dataset.xyxy[doubled] + rng.normal(0, 0.8, (int(doubled.sum()), 4))
    image = rng.integers(0, len(dataset), max(8, dataset.box_count // 5))
    corner = rng.uniform(0, 0.85, (len(image), 2)) * dataset.size_wh[image]
    wrong = np.concatenate([corner, corner + rng.uniform(6, 60, (len(image), 2))], axis=1)
    xyxy = np.concatenate([moved[keep], again, wrong])
    xyxy = np.concatenate([xyxy[:, :2], np.maximum(xyxy[:, 2:], xyxy[:, :2] + 2)], axis=1)
    frames = np.concatenate([dataset.box_image[keep], dataset.box_image[doubled], image])
    score = np.concatenate([rng.uniform(0.3, 1, keep.sum()), rng.uniform(0.1, 0.7, doubled.sum()),
                            rng.uniform(0.02, 0.95, len(image))])  # fmt: skip
    return Detections(xyxy, score, np.zeros(len(xyxy)), frames, dataset.category_names)


def objects_of(dataset: Dataset, found: Detections) -> dict[str, np.ndarray]:
    """The table of objects at IoU .50, by plain loops: each detection, highest score first, takes its best ship."""
    rows = []
    for image in range(len(dataset)):
        first = dataset.box_rows(image)
        truth = dataset.xyxy[first]
        mine = np.flatnonzero(found.image == image)
        mine = mine[np.argsort(-found.score[mine], kind="stable")]
        overlap = box_iou(found.xyxy[mine].astype(np.float64), truth)
        taken = set()
        for place, row in enumerate(mine):
            best = int(overlap[place].argmax()) if len(truth) else -1
            iou = float(overlap[place, best]) if len(truth) else 0.0
            free = [b for b in range(len(truth)) if overlap[place, b] >= 0.5 and b not in taken]
            if free:
                hit = max(free, key=lambda b: overlap[place, b])
                taken.add(hit)
                kind, best, iou = "hit", hit, float(overlap[place, hit])
            else:
                kind = "duplicate" if iou >= 0.5 else "localisation" if iou >= 0.1 else "false_alarm"
            box = first.start + best if kind != "false_alarm" else -1
            rows.append((kind, image, box, row, found.score[row], iou, found.xyxy[row]))
        for place in set(range(len(truth))) - taken:
            iou = float(overlap[:, place].max()) if len(mine) else 0.0
            rows.append(("miss", image, first.start + place, -1, np.nan, iou, truth[place]))
    kind, image, box, row, score, iou, xyxy = zip(*rows, strict=True)
    xyxy = np.array(xyxy, dtype=np.float64)
    return {
        "kind": np.array(kind), "image": np.array(image), "box": np.array(box), "detection": np.array(row),
        "score": np.array(score), "iou": np.array(iou),
        "size_px": np.sqrt((xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])),
        "x1": xyxy[:, 0], "y1": xyxy[:, 1], "x2": xyxy[:, 2], "y2": xyxy[:, 3],
        "category": np.full(len(kind), "ship"),
    }  # fmt: skip
