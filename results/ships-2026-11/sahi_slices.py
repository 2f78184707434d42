"""ultralytics + SAHI on a COCO set: detections as a COCO result file, and the time of a frame.

    sahi_slices.py MODEL ANNOTATIONS OUT.json [--slice 640] [--imgsz 640] [--overlap 0.2] [--every 1]

MODEL is whatever ultralytics runs (.pt, .onnx, an OpenVINO folder); everything else is SAHI's default: a pass over the
whole frame, slices, GREEDYNMM by IOS. Needs `pip install sahi`. One core.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("annotations", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--slice", type=int, default=640)
parser.add_argument("--imgsz", type=int, default=640)
parser.add_argument("--overlap", type=float, default=0.2)
parser.add_argument("--every", type=int, default=1)
parser.add_argument("--conf", type=float, default=0.001)
args = parser.parse_args()
os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:1]))
os.environ["OMP_NUM_THREADS"] = "1"

import cv2  # noqa: E402
import torch  # noqa: E402
from sahi import AutoDetectionModel  # noqa: E402
from sahi.predict import get_sliced_prediction  # noqa: E402

torch.set_num_threads(1)
cv2.setNumThreads(1)
truth = json.loads(args.annotations.read_text())
folder = args.annotations.parent.parent / "images"
model = AutoDetectionModel.from_pretrained(
    "ultralytics", model_path=args.model, confidence_threshold=args.conf, device="cpu", image_size=args.imgsz
)
found, cpu_ms = [], []
for number, image in enumerate(truth["images"][:: args.every]):
    frame = cv2.imread(str(folder / Path(image["file_name"]).name))[:, :, ::-1]
    start = time.process_time()
    result = get_sliced_prediction(
        frame, model, slice_height=args.slice, slice_width=args.slice, overlap_height_ratio=args.overlap,
        overlap_width_ratio=args.overlap, verbose=0,
    )  # fmt: skip
    if number:  # the first frame makes plans
        cpu_ms.append((time.process_time() - start) * 1000)
    for ship in result.object_prediction_list:
        box = [float(v) for v in ship.bbox.to_xywh()]
        found.append({"image_id": image["id"], "category_id": 1, "bbox": box, "score": float(ship.score.value)})
args.out.write_text(json.dumps(found))
print(f"{len(cpu_ms) + 1} frames, {len(found)} boxes; CPU ms of a frame: median {statistics.median(cpu_ms):.1f}")
