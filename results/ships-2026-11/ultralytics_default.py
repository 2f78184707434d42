"""ultralytics' default recipe from COCO weights: ultralytics_default.py FOLDER WEIGHTS OUT EPOCHS SEED.

FOLDER is a YOLO export (`wutdet data convert ... --to yolo`) with a data.yaml. Nothing but data, epochs, seed and
device is set; no validation between epochs, the last one counts.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from ultralytics import YOLO

folder, weights, out, epochs, seed = sys.argv[1:6]
torch.set_num_threads(1)
start = YOLO("yolo11n.yaml")
start.model.load_state_dict(load_file(weights))
start.ckpt = {"model": start.model}  # train() then takes these weights as it takes those of a downloaded yolo11n.pt
start.train(
    data=str(Path(folder).resolve() / "data.yaml"),
    epochs=int(epochs),
    imgsz=640,
    seed=int(seed),
    device="cpu",
    workers=0,
    project=str(Path(out).resolve().parent),
    name=Path(out).name,
    exist_ok=True,
    plots=False,
    val=False,
)
