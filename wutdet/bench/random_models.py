"""Artefacts of an architecture with seeded random weights: for timing. Nothing they find has any meaning."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

#: Rendered frames that ranges of activations are measured on.
CALIBRATION_FRAMES = 2


def is_architecture(name: str) -> bool:
    """Whether a model's name means an architecture: ``yolo11n``, or the definition of one (.yaml)."""
    if Path(name).suffix in (".yaml", ".yml"):
        return True
    return not Path(name).exists() and re.fullmatch(r"(yolo|yolov)\d+[a-z]+", name) is not None


def random_artefacts(name: str, imgsz: str, formats: Sequence[str], categories: int, folder: Path) -> list[Path]:
    """One file per number format, made as ``wutdet export`` makes them.

    Args:
        name: architecture, or the file that defines it.
        imgsz: network input, as for ``wutdet export``.
        formats: of artefacts.
        categories: number of categories; the first is called ``ship``.
        folder: for the files.

    Raises:
        ModelError: no such architecture.
        MissingExtraError: torch or ultralytics is not installed.
        ExportError: the input size does not fit the network.
    """
    from wutdet.config import ExportConfig
    from wutdet.export.run import run
    from wutdet.scenes.render import render_dataset

    stem = Path(name).stem
    folder.mkdir(parents=True, exist_ok=True)
    scenes = folder / "scenes"
    render_dataset(scenes, sequences=1, frames=CALIBRATION_FRAMES, seed=0, workers=1)
    checkpoint = folder / f"{stem}.pt"
    log.info("%s: seeded random weights, for timing only", stem)
    _write_checkpoint(name, categories, scenes, checkpoint)
    measured = {"calib": str(scenes), "calib_images": CALIBRATION_FRAMES}
    measured |= {"gate": str(scenes), "gate_images": 1, "max_drop": 1.0}  # frames for calibration mean a gate
    made = []
    for number_format in formats:
        out = folder / f"{stem}.{number_format}.onnx"
        own: dict = {}
        if number_format == "int8":
            own = measured
        elif number_format != "fp32":
            own = {**measured, "activations": "int8"}
        run(ExportConfig(model=str(checkpoint), format=number_format, out=out, imgsz=imgsz, **own))
        made.append(out)
    return made


def _write_checkpoint(name: str, categories: int, scenes: Path, target: Path) -> None:
    """A .pt file of the architecture, with signals of about the size that they have in a trained network: else they die
    out on their way (and numbers too small for float32's usual form are slow on some processors), or the head's outputs
    are so large that the rounding of float32 sums alone moves boxes by more than export accepts.
    """
    import torch

    from wutdet.boxes import Letterbox
    from wutdet.images import list_images, read_image, to_network_input
    from wutdet.runtime.torch_backend import build_model

    model = build_model(name, categories)
    frames = []
    for file in list_images(scenes)[:2]:
        frame = read_image(file)
        frames.append(to_network_input(Letterbox.fit((frame.shape[1], frame.shape[0]), (320, 320)).apply(frame)))
    pictures = torch.from_numpy(np.concatenate(frames))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
        model.train()(pictures)
        for norm in norms:  # a channel that hardly varies would be blown up, and all rounding with it
            norm.running_var.clamp_(min=float(norm.running_var.mean()))
        handles = [layer.register_forward_hook(_to_unit_deviation) for layer in _last_convolutions(model.model[-1])]
        model.eval()(pictures)
    for handle in handles:
        handle.remove()
    model.names = {0: "ship", **{index: f"other {index}" for index in range(1, categories)}}
    model.args = {}
    torch.save({"model": model, "ema": None, "train_args": {"imgsz": 640}, "wutdet": {}}, target)


def _last_convolutions(head) -> list:
    """Of the box and score branches of an ultralytics head, both heads where there are two."""
    branches = [getattr(head, name, None) for name in ("cv2", "cv3", "one2one_cv2", "one2one_cv3")]
    return [branch[-1] for one in branches if one is not None for branch in one]


def _to_unit_deviation(layer, inputs, output) -> None:
    """Scales a convolution's weights in place."""
    layer.weight.div_(output.std().clamp_min(1e-6))
