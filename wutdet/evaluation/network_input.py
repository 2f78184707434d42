"""NetworkInput: how large the network sees a frame, for size bins in pixels of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wutdet.runtime.tiling import TiledDetector

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector


@dataclass(frozen=True)
class NetworkInput:
    """What frames, or tiles of them, are scaled to.

    Attributes:
        width, height: of the input in pixels. A frame is scaled as large as fits in.
        tile: side of the tiles in pixels of the frame; 0 where only whole frames are looked at. Where tiles are looked
            at beside the whole frame, the tiles show ships larger, and their scale is the one that counts.
    """

    width: int
    height: int
    tile: int = 0

    @classmethod
    def of_long_side(cls, pixels: int | None) -> NetworkInput | None:
        """An input to whose long side the frame's long side is scaled; None where that is not known."""
        return None if pixels is None else cls(pixels, pixels)

    @classmethod
    def of(cls, detector: Detector | TiledDetector) -> NetworkInput:
        """The input of a detector: of fixed width and height, or given by its long side."""
        tile = 0
        if isinstance(detector, TiledDetector):
            detector, tile = detector.detector, detector.tile
        fixed_wh = getattr(getattr(detector, "backend", None), "fixed_input_wh", None)
        return cls(*(fixed_wh or (detector.imgsz, detector.imgsz)), tile)

    def scale(self, frame_wh: np.ndarray) -> np.ndarray:
        """float64 [M]: pixels of the input per pixel of the frame, for frames of size ``frame_wh`` [M, 2]."""
        shown = np.maximum(np.asarray(frame_wh, dtype=np.float64), 1)
        if self.tile:
            shown = np.minimum(shown, self.tile)  # a side of the frame shorter than a tile is taken whole
        return (np.array([self.width, self.height]) / shown).min(axis=1)
