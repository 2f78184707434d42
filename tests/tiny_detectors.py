"""Small detectors with seeded random weights whose scores are spread so that they find something, for tests."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

IMGSZ = 160


def smooth_picture(size_wh: tuple[int, int], seed: int) -> np.ndarray:
    """uint8 [H, W, 3] of coloured blobs, a cut out of one endless texture: every seed has the same statistics."""
    rng = np.random.default_rng(seed)
    out = np.zeros((size_wh[1], size_wh[0], 3), np.float32)
    for cell in (5, 12, 30):
        cells = (size_wh[1] // cell + 2, size_wh[0] // cell + 2, 3)
        noise = rng.uniform(0, 255, cells).astype(np.float32)
        large = cv2.resize(noise, (cells[1] * cell, cells[0] * cell), interpolation=cv2.INTER_CUBIC)
        out += large[: size_wh[1], : size_wh[0]]
    return ((out / 3 - 127) * 1.7 + 127).clip(0, 255).astype(np.uint8)


def constant_model(path: Path, rows, *, size=None, props=None) -> Path:
    """An artefact that always answers the same NMS-free rows."""
    import onnx

    from wutdet.runtime.metadata import ArtefactMetadata

    dims = [1, 3, *(size or ("height", "width"))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["rows"], ["output0"])],
        "constant",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, dims)],
        [onnx.helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, [1, len(rows), 6])],
        [onnx.numpy_helper.from_array(np.asarray(rows, np.float32)[None], "rows")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    if props is None:
        props = ArtefactMetadata(("ship",), size or (320, 320), end2end=True).to_props()
    onnx.helper.set_model_props(model, props)
    onnx.save(model, path)
    return path


def make_checkpoint(path: Path, arch: str, names: tuple[str, ...] = ("ship",), **facts) -> Path:
    """An ultralytics-style .pt file."""
    from wutdet.runtime.offline import import_ultralytics

    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = DetectionModel(f"{arch}.yaml", nc=len(names), verbose=False).eval()
        head = model.model[-1]
        branches = [head.cv3] + ([head.one2one_cv3] if hasattr(head, "one2one_cv3") else [])
        seen = {}
        hooks = [
            layers[-1].register_forward_hook(lambda module, _, out: seen.update({module: out.detach()}))
            for branch in branches
            for layers in branch
        ]
        pictures = np.stack([smooth_picture((IMGSZ, IMGSZ), seed) for seed in range(8)])
        batch = torch.from_numpy(pictures[..., ::-1].transpose(0, 3, 1, 2).copy()).float() / 255
        with torch.no_grad():
            for module in model.modules():  # batch norm takes the statistics of the pictures, or signals die out
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 1.0
            model.train()(batch)
            model.eval()(batch)
            for conv, out in seen.items():  # median logit -3.5; one anchor in 50 above 0.25
                values = out.transpose(0, 1).flatten(1)
                top, middle = values.quantile(0.98, dim=1), values.median(dim=1).values
                gain = 2.4 / (top - middle)
                conv.bias.copy_((conv.bias - top) * gain - 1.1)
                conv.weight.mul_(gain[:, None, None, None])
            for branch in [head.cv2] + ([head.one2one_cv2] if hasattr(head, "one2one_cv2") else []):
                for layers in branch:
                    if head.reg_max > 1:  # small distances, so that boxes are small against the frame
                        bias = -0.7 * torch.arange(head.reg_max, dtype=torch.float32).repeat(4)
                        layers[-1].bias.copy_(bias)
                    else:  # distances near 2 strides; random ones may be negative, which gives inverted boxes
                        layers[-1].weight.mul_(0.2)
        for hook in hooks:
            hook.remove()
        model.names = dict(enumerate(names))
        model.args = {}
        torch.save({"model": model, "ema": None, "train_args": {"imgsz": IMGSZ}, "wutdet": facts}, path)
    return path


def make_dataset(folder: Path, checkpoint: Path, train: int = 6, val: int = 4) -> Path:
    """A COCO set of blob pictures in two splits, annotated with what the float network finds in them."""
    from wutdet.runtime.detector import Detector

    detector = Detector(checkpoint, conf=0.25, imgsz=IMGSZ)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for index in range(train + val):
        size = (IMGSZ, IMGSZ)  # so that checkpoint and artefact see the same network input
        picture = smooth_picture(size, index)
        name = f"frame{index}.png"
        cv2.imwrite(str(folder / "images" / name), picture)
        images.append(
            {
                "id": index + 1,
                "file_name": name,
                "width": size[0],
                "height": size[1],
                "sequence": f"s{index % 3 if index < train else 3 + index % 2}",
                "split": "train" if index < train else "val",
            }
        )
        for left, top, right, bottom in detector(picture).xyxy.astype(float):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
    file = folder / "all.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]})
    )
    return file


_made: dict = {}


def shared_checkpoints(folder: Path) -> dict[str, Path]:
    """.pt files by architecture, made once per test run."""
    if "checkpoints" not in _made:
        _made["checkpoints"] = {
            arch: make_checkpoint(folder / f"{arch}.pt", arch, license="AGPL-3.0") for arch in ("yolo26n", "yolo11n")
        }
    return _made["checkpoints"]


def shared_dataset(folder: Path) -> Path:
    """A COCO file with splits, annotated with what the yolo26n checkpoint finds, made once per test run."""
    if "dataset" not in _made:
        _made["dataset"] = make_dataset(folder, shared_checkpoints(folder)["yolo26n"])
    return _made["dataset"]


def shared_artefact(folder: Path, arch: str, head: str, number_format: str) -> Path:
    """What ``wutdet export`` makes of a shared checkpoint, made once per test run."""
    key = (arch, head, number_format)
    if key not in _made:
        from wutdet.config import ExportConfig
        from wutdet.export.run import run

        out = folder / f"{arch}-{head}.{number_format}.onnx"
        run(
            ExportConfig(
                model=str(shared_checkpoints(folder)[arch]),
                format=number_format,
                out=out,
                imgsz=str(IMGSZ),
                calib=str(shared_dataset(folder)) if number_format == "int8" else None,
                head=head,
                max_drop=1.0,
            )
        )
        _made[key] = out
    return _made[key]
