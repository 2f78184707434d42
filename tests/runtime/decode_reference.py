"""Decoding of outputs that need NMS, in NumPy: what the native decode_anchors and nms must equal bit for bit."""

from __future__ import annotations

import numpy as np


def nms(xyxy: np.ndarray, category: np.ndarray, iou: float, max_keep: int) -> np.ndarray:
    """Indices that greedy NMS keeps of boxes float32 [N, 4] in their order, per category."""
    low, high = xyxy[:, :2], xyxy[:, 2:]
    size = np.maximum(high - low, 0)
    area = size[:, 0] * size[:, 1]
    iou = np.float32(iou)
    keep: list[int] = []
    for i in range(len(xyxy)):
        if len(keep) == max_keep:
            break
        overlap = np.maximum(np.minimum(high[i], high[keep]) - np.maximum(low[i], low[keep]), 0)
        overlap = overlap[:, 0] * overlap[:, 1]
        above = overlap > iou * (area[i] + area[keep] - overlap)
        if not (above & (category[keep] == category[i])).any():
            keep.append(i)
    return np.array(keep, dtype=np.int64)


def decode_anchors(
    output: np.ndarray, only_category: int | None, conf: float, iou: float, max_candidates: int, max_det: int
):
    """xyxy, score and category of float32 [4 + categories, anchors], best first."""
    scores = output[4:] if only_category is None else output[4 + only_category : 5 + only_category]
    best = scores.max(axis=0)
    candidates = np.flatnonzero(best > conf)
    candidates = candidates[np.argsort(-best[candidates], kind="stable")][:max_candidates]
    score = best[candidates]
    category = scores[:, candidates].argmax(axis=0).astype(np.int32)
    centre, half = output[:2, candidates].T, output[2:4, candidates].T / 2
    xyxy = np.ascontiguousarray(np.concatenate([centre - half, centre + half], axis=1), dtype=np.float32)
    keep = nms(xyxy, category, iou, max_det)
    return xyxy[keep], score[keep], category[keep]
