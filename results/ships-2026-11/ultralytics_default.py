"""ultralytics' default recipe from COCO weights: ultralytics_default.py SPLIT_FOLDER WEIGHTS OUT EPOCHS SEED.

SPLIT_FOLDER is a YOLO export (`wutdet data convert ... --to yolo`) with a data.yaml; nothing but data, epochs, seed and device is set.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from ultralytics import YOLO

data, weights, out, epochs, seed = sys.argv[1:6]
torch.set_num_threads(1)
start = YOLO("yolo11n.yaml")
start.model.load_state_dict(load_file(weights))
start.ckpt = {"model": start.model}  # train() then takes these weights as it takes those of a downloaded yolo11n.pt
start.train(
    data=str(Path(data).resolve()), epochs=int(epochs), imgsz=640, seed=int(seed), device="cpu", workers=0,
    project=str(Path(out).resolve().parent), name=Path(out).name, exist_ok=True, plots=False, val=False,
)  # fmt: skip
