"""Boxes in NumPy: conversions, IoU, and the letterbox that maps frames to network input and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def xyxy_to_xywh(xyxy: np.ndarray) -> np.ndarray:
    """[..., 4] corners to left, top, width, height; same dtype, copied."""
    out = np.array(xyxy, copy=True)
    out[..., 2:] -= out[..., :2]
    return out


def xywh_to_xyxy(xywh: np.ndarray) -> np.ndarray:
    """[..., 4] left, top, width, height to corners; same dtype, copied."""
    out = np.array(xywh, copy=True)
    out[..., 2:] += out[..., :2]
    return out


def box_area(xyxy: np.ndarray) -> np.ndarray:
    """[...] area in square pixels, 0 for inverted boxes."""
    size = np.maximum(xyxy[..., 2:] - xyxy[..., :2], 0)
    return size[..., 0] * size[..., 1]


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N, M] intersection over union of xyxy boxes a [N, 4] and b [M, 4]; 0 where both are empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=2)
    union = box_area(a)[:, None] + box_area(b)[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


@dataclass(frozen=True)
class Letterbox:
    """How a frame is scaled and centred in the network input: ``input = frame * scale + pad``.

    Attributes:
        frame_wh: size of the frame in pixels.
        input_wh: size of the network input in pixels.
        scaled_wh: size of the frame after scaling, before padding.
        pad_lt: pixels of padding on the left and on top.
        scale: pixels of input per pixel of frame, equal in both directions.
    """

    frame_wh: tuple[int, int]
    input_wh: tuple[int, int]
    scaled_wh: tuple[int, int]
    pad_lt: tuple[int, int]
    scale: float

    #: Grey value of the padding; the value ultralytics' models are trained with.
    PAD_VALUE = 114

    @classmethod
    def fit(cls, frame_wh: tuple[int, int], input_wh: tuple[int, int], max_scale: float | None = None) -> Letterbox:
        """The largest scale, up to ``max_scale``, at which the frame fits a fixed input.

        The frame is centred (odd padding goes right and below).
        """
        scale = min(input_wh[0] / frame_wh[0], input_wh[1] / frame_wh[1])
        if max_scale is not None:
            scale = min(scale, max_scale)
        scaled = tuple(max(1, round(side * scale)) for side in frame_wh)
        # The small shift decides x.5 the same way as ultralytics does, so that boxes agree to the pixel.
        pad = tuple(round((full - part) / 2 - 0.1) for full, part in zip(input_wh, scaled, strict=True))
        return cls(tuple(frame_wh), tuple(input_wh), scaled, pad, scale)

    @classmethod
    def fit_long_side(
        cls, frame_wh: tuple[int, int], long_side: int, stride: int = 32, max_scale: float | None = None
    ) -> Letterbox:
        """The long side becomes ``long_side``, or as much as ``max_scale`` allows; both are padded up to ``stride``."""
        scale = long_side / max(frame_wh)
        if max_scale is not None:
            scale = min(scale, max_scale)
        scaled = tuple(max(1, round(side * scale)) for side in frame_wh)
        return cls.fit(frame_wh, tuple(-(-side // stride) * stride for side in scaled), max_scale)

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] of size ``input_wh`` from a frame of size ``frame_wh`` (bilinear)."""
        import cv2

        width, height = self.scaled_wh
        if (width, height) != self.frame_wh:
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        left, top = self.pad_lt
        right, bottom = self.input_wh[0] - width - left, self.input_wh[1] - height - top
        if not any((left, top, right, bottom)):
            return frame
        grey = (self.PAD_VALUE,) * 3
        return cv2.copyMakeBorder(frame, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey)

    def to_frame(self, xyxy: np.ndarray) -> np.ndarray:
        """float32 [N, 4] boxes in frame pixels, clipped to the frame, from boxes in input pixels."""
        out = (np.asarray(xyxy, dtype=np.float32) - np.float32(self.pad_lt * 2)) / np.float32(self.scale)
        return np.clip(out, 0, np.float32(self.frame_wh * 2))

    def to_input(self, xyxy: np.ndarray) -> np.ndarray:
        """[N, 4] boxes in input pixels from boxes in frame pixels."""
        return np.asarray(xyxy) * self.scale + np.asarray(self.pad_lt * 2)
