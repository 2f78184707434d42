"""NetworkInput: how large the network sees a frame, for size bins in pixels of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wutdet.runtime.tile_policy import InputView, TilePolicy
from wutdet.runtime.tiling import TiledDetector

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector


@dataclass(frozen=True)
class NetworkInput:
    """What frames, or tiles of them, are scaled to.

    Attributes:
        width, height: of the input in pixels. A frame is scaled as large as fits in.
        stride: of a network whose input is as large as the frame needs: the frame's long side becomes ``width``
            (= ``height``), both sides are rounded to whole pixels and then up to multiples of the stride. A short side
            that was rounded down to just a multiple takes a little of the scale. 0 where the input is fixed or not
            known so precisely.
        max_scale: frames are enlarged at most so many times; None: as many as the input is larger.
        policy: of the tiles; None where only whole frames are looked at. Where tiles are looked at beside the whole
            frame, the tiles show ships larger, and their scale is the one that counts.
    """

    width: int
    height: int
    policy: TilePolicy | None = None
    stride: int = 0
    max_scale: float | None = None

    @classmethod
    def of_long_side(cls, pixels: int | None) -> NetworkInput | None:
        """An input to whose long side the frame's long side is scaled; None where that is not known."""
        return None if pixels is None else cls(pixels, pixels)

    @classmethod
    def of(cls, detector: Detector | TiledDetector) -> NetworkInput:
        """The input of a detector: of fixed width and height, or given by its long side."""
        policy = None
        if isinstance(detector, TiledDetector):
            detector, policy = detector.detector, detector.policy
        max_scale = getattr(detector, "max_scale", None)
        fixed_wh = getattr(getattr(detector, "backend", None), "fixed_input_wh", None)
        if fixed_wh:
            return cls(*fixed_wh, policy, max_scale=max_scale)
        return cls(detector.imgsz, detector.imgsz, policy, detector.stride, max_scale)

    def scale(self, frame_wh: np.ndarray) -> np.ndarray:
        """float64 [M]: pixels of the input per pixel of the frame, for frames of size ``frame_wh`` [M, 2]."""
        shown = np.maximum(np.asarray(frame_wh, dtype=np.float64), 1)
        limit = np.full(len(shown), np.inf if self.max_scale is None else self.max_scale)
        if self.policy is not None:
            view = InputView(self.width, self.height, fixed=not self.stride, max_scale=limit.min(initial=np.inf))
            sizes, of_frame = np.unique(shown, axis=0, return_inverse=True)
            sizes = [(int(width), int(height)) for width, height in sizes]
            tiles = [self.policy.tile_wh(size, view) for size in sizes]
            zooms = [self.policy.for_frame(size, view).zoom for size in sizes]
            of_frame = of_frame.reshape(-1)
            shown = np.array(tiles, dtype=np.float64).reshape(-1, 2)[of_frame]
            limit = np.maximum(limit, np.array(zooms)[of_frame])
        input_wh = np.array([self.width, self.height])
        if self.stride:
            scale = np.minimum(self.width / shown.max(axis=1), limit)[:, None]
            input_wh = np.ceil(np.maximum(np.rint(shown * scale), 1) / self.stride) * self.stride
        return np.minimum((input_wh / shown).min(axis=1), limit)
