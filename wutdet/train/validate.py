"""Scoring a torch model on whole frames with the same evaluator that scores artefacts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from wutdet.boxes import Letterbox
from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.runtime.decode import decode_output

#: Protocol of the validation: lowest score, NMS threshold (heads that need NMS), most boxes per frame.
LOWEST_SCORE, NMS_IOU, MOST_BOXES = 0.001, 0.7, 100


def predict(
    model: nn.Module,
    dataset: Dataset,
    long_side: int,
    device: torch.device,
    batch: int = 1,
    max_scale: float | None = None,
) -> Detections:
    """Detections on every frame of a data set, in frame pixels.

    Frames are scaled so that the long side is ``long_side`` and padded to a multiple of the model's stride.

    Args:
        model: an ultralytics detection model; it is switched to evaluation mode.
        dataset: what to look at.
        long_side: in pixels of the network input.
        device: where the model lies.
        batch: frames per forward pass; only frames of equal input size share one.
        max_scale: frames are enlarged at most so many times.

    Raises:
        DataError: a frame cannot be read.
    """
    model.eval()
    if getattr(model.model[-1], "one2one_cv2", None) is not None:
        model.end2end = False  # the head that Detector uses: the figures here and those of 'wutdet eval' must agree
    stride = max(int(model.stride.max()), 32)
    parts = []
    for rows, boxes, stack in _batches(dataset, long_side, stride, batch, max_scale):
        pictures = torch.from_numpy(stack).to(device).permute(0, 3, 1, 2).flip(1).float() / 255
        with torch.no_grad():
            output = model(pictures)
        output = output[0] if isinstance(output, (tuple, list)) else output
        for row, letterbox, one in zip(rows, boxes, output, strict=True):
            xyxy, score, category = decode_output(
                one[None].float().cpu().numpy(),
                end2end=bool(model.end2end),
                conf=LOWEST_SCORE,
                iou=NMS_IOU,
                max_det=MOST_BOXES,
            )
            image = np.full(len(score), row, dtype=np.int32)
            parts.append(Detections(letterbox.to_frame(xyxy), score, category, image, dataset.category_names))
    return Detections.concatenate(parts) if parts else Detections.empty(dataset.category_names)


def _batches(dataset: Dataset, long_side: int, stride: int, batch: int, max_scale: float | None) -> Iterator[tuple]:
    """Rows, letterboxes and pictures [B, H, W, 3], decoded one step ahead in a thread."""

    def read(rows: list[int]):
        sizes = [tuple(int(v) for v in dataset.size_wh[row]) for row in rows]
        boxes = [Letterbox.fit_long_side(size, long_side, stride, max_scale) for size in sizes]
        return rows, boxes, np.stack([b.apply(dataset.read_image(r)) for r, b in zip(rows, boxes, strict=True)])

    groups: list[list[int]] = []
    last = None
    for row in range(len(dataset)):
        size = tuple(dataset.size_wh[row])
        if groups and size == last and len(groups[-1]) < batch:
            groups[-1].append(row)
        else:
            groups.append([row])
        last = size
    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(read, groups[0]) if groups else None
        for index in range(len(groups)):
            current = ahead.result()
            ahead = reader.submit(read, groups[index + 1]) if index + 1 < len(groups) else None
            yield current


def score(
    model: nn.Module,
    dataset: Dataset,
    long_side: int,
    device: torch.device,
    batch: int = 1,
    max_scale: float | None = None,
):
    """The evaluation result (COCO protocol, at most 100 boxes a frame) of a model; see wutdet.evaluation.coco."""
    from wutdet.evaluation.coco import evaluate

    return evaluate(dataset, predict(model, dataset, long_side, device, batch, max_scale))
