"""TilePolicy: which parts of a frame a detector looks at, beside the whole.

| written | tiles |
| --- | --- |
| ``none`` | none: the whole frame only |
| ``640`` | a grid of squares of 640 pixels of the frame |
| ``960x544`` | a grid of tiles 960 pixels wide and 544 high |
| ``3x2`` | at most 3 columns and 2 rows, whatever the frame's size: a fixed number of passes |
| ``horizon`` | one row of tiles, not much larger than the network's input, around the horizon |
| ``horizon:2`` | the same with at most 2 columns |
| ``auto`` | the policy saved with the model, else by the frame's size (``AUTO_SCALE``) |

``wutdet.runtime.saved_policy`` adds ``saved``, the policy saved with the model, else none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from wutdet.errors import UsageError
from wutdet.runtime.horizon import Horizon

_SMALLEST_TILE = 32
_LARGEST_OVERLAP = 0.9
#: 'auto' without a saved policy leaves frames whole that the network sees at this scale or a larger one.
AUTO_SCALE = 0.75
#: Tiles of a row are shown at this scale at least, if their number is free: so few as that are enough.
LEAST_SCALE = 0.85
#: Of a row of tiles around the horizon, this share lies above it: masts and superstructures of ships far away.
ABOVE_HORIZON = 0.4

#: Words for whole frames only.
NO_TILES = ("none", "0", "whole")

Kind = Literal["none", "pixels", "grid", "horizon", "auto"]


@dataclass(frozen=True)
class TilePolicy:
    """How frames are cut into tiles.

    Attributes:
        kind: what ``size`` means.
        size: pixels: width and height of a tile in pixels of the frame. grid: most columns and rows. horizon: most
            columns, or 0 for as few as show the frame at ``LEAST_SCALE``; the second number is 1.
        overlap: least share of a tile that neighbours have in common, 0..0.9.
        full_frame: look at the whole frame as well; a policy with a horizon always does.

    Raises:
        UsageError: a size or an overlap that makes no sense.
    """

    kind: Kind = "none"
    size: tuple[int, int] = (0, 0)
    overlap: float = 0.2
    full_frame: bool = True

    def __post_init__(self):
        if not 0 <= self.overlap <= _LARGEST_OVERLAP:
            raise UsageError(
                f"the overlap of tiles is a share of the tile in 0..{_LARGEST_OVERLAP}, received {self.overlap}",
                hint="0.2 lets neighbours share a fifth",
            )
        if self.kind == "horizon" and not self.full_frame:
            raise UsageError("a row of tiles along the horizon needs the whole frame beside it")
        if self.kind == "pixels" and min(self.size) < _SMALLEST_TILE:
            raise UsageError(
                f"a tile must have at least {_SMALLEST_TILE} pixels a side, received {min(self.size)}",
                hint="'none' looks at whole frames only; 3x2 means 3 columns and 2 rows",
            )
        if self.kind == "grid" and min(self.size) < 1:
            raise UsageError(f"a grid needs at least one column and one row, received {self.size[0]}x{self.size[1]}")

    def __str__(self) -> str:
        """As ``parse`` reads it; the overlap is said apart."""
        width, height = self.size
        if self.kind == "pixels":
            return str(width) if width == height else f"{width}x{height}"
        if self.kind == "grid":
            return f"{width}x{height}"
        return f"horizon:{width}" if self.kind == "horizon" and width else self.kind

    @classmethod
    def parse(cls, text: str | int, overlap: float = 0.2, full_frame: bool = True) -> TilePolicy:
        """A policy as written on the command line, see the head of this file; 0 means ``none``.

        Raises:
            UsageError: not a policy, or sizes that make no sense.
        """
        word = str(text).strip().lower()
        if word in NO_TILES:
            return cls("none", overlap=overlap)
        if word == "auto":
            return cls("auto", overlap=overlap)
        if match := re.fullmatch(r"horizon(?::(\d+))?", word):
            return cls("horizon", (int(match[1] or 0), 1), overlap)
        if re.fullmatch(r"-?\d+", word):
            return cls("pixels", (int(word), int(word)), overlap, full_frame)
        if match := re.fullmatch(r"(\d+)x(\d+)", word):
            size = int(match[1]), int(match[2])
            kind = "grid" if max(size) < _SMALLEST_TILE else "pixels"
            return cls(kind, size, overlap, full_frame)
        raise UsageError(
            f"'{text}' is no way to cut frames into tiles",
            hint="none, saved, 640 or 960x544 (pixels), 3x2 (columns x rows), horizon, horizon:2 (columns) or auto",
        )

    def for_frame(self, frame_wh: tuple[int, int], view: InputView) -> TilePolicy:
        """What is done with frames of this size: ``auto`` decided, ``none`` where tiles would show nothing more."""
        whole = view.scale(frame_wh)
        if self.kind == "auto":
            kind = "none" if whole >= AUTO_SCALE else "horizon"
            return replace(self, kind=kind, size=(0, 1)).for_frame(frame_wh, view)
        useless = self.kind in ("grid", "horizon") and whole >= 1 and self.full_frame
        return replace(self, kind="none") if useless else self

    def tile_wh(self, frame_wh: tuple[int, int], view: InputView) -> tuple[int, int]:
        """Width and height of the tiles of frames of this size; the frame's own where it is not cut.

        Grids and rows have tiles of the input's proportions, so that none of it is grey, and never show the frame
        larger than it is.
        """
        policy = self.for_frame(frame_wh, view)
        if policy.kind == "none":
            return frame_wh
        if policy.kind == "pixels":
            return tuple(np.minimum(policy.size, frame_wh).tolist())
        columns, rows = policy.size
        if policy.kind == "horizon":
            columns = columns or _fewest(frame_wh[0], view.width / LEAST_SCALE, policy.overlap)
            width = min(max(view.width, _share(frame_wh[0], columns, policy.overlap)), frame_wh[0])
            height = max(view.height, round(width * view.height / view.width))
            return width, min(height, frame_wh[1])
        width = min(max(_share(frame_wh[0], columns, policy.overlap), view.width), frame_wh[0])
        height = min(max(_share(frame_wh[1], rows, policy.overlap), view.height), frame_wh[1])
        if view.fixed:
            scale = view.scale((width, height))
            width = max(width, min(frame_wh[0], int(view.width / scale)))
            height = max(height, min(frame_wh[1], int(view.height / scale)))
        return width, height

    def tiles(self, frame_wh: tuple[int, int], view: InputView, horizon: Horizon | None = None) -> np.ndarray:
        """The tiles of a frame, row by row, without the whole frame; none where it is not cut.

        Args:
            frame_wh: size of the frame in pixels.
            view: what the network sees.
            horizon: of this frame; where a policy needs one and there is none, rows of tiles cover the whole frame.

        Returns:
            int32 [T, 4], left, top, right, bottom in pixels of the frame; all of one size.
        """
        policy = self.for_frame(frame_wh, view)
        if policy.kind == "none":
            return np.zeros((0, 4), dtype=np.int32)
        tile_wh = policy.tile_wh(frame_wh, view)
        if policy.kind == "pixels":
            return tile_windows(frame_wh, policy.size, policy.overlap)
        left, top = (_even_starts(side, tile, policy.overlap) for side, tile in zip(frame_wh, tile_wh, strict=True))
        if policy.kind == "horizon" and horizon is not None:
            row = horizon.row(left + tile_wh[0] / 2, frame_wh[0]) - ABOVE_HORIZON * tile_wh[1]
            corners = np.stack([left, np.clip(np.rint(row), 0, frame_wh[1] - tile_wh[1])], axis=-1)
        else:
            corners = np.stack(np.meshgrid(left, top), axis=-1).reshape(-1, 2)
        return np.concatenate([corners, corners + np.array(tile_wh)], axis=1).astype(np.int32)


@dataclass(frozen=True)
class InputView:
    """What a frame, or a tile of it, is scaled to.

    Attributes:
        width, height: of the network input in pixels.
        fixed: the input has this size for every frame; else only its long side is given (width = height).
    """

    width: int
    height: int
    fixed: bool = True

    @classmethod
    def of(cls, detector) -> InputView:
        """Of a Detector, or of anything with its attributes."""
        fixed_wh = getattr(getattr(detector, "backend", None), "fixed_input_wh", None)
        return cls(*fixed_wh) if fixed_wh else cls(detector.imgsz, detector.imgsz, fixed=False)

    def scale(self, shown_wh: tuple[int, int]) -> float:
        """Pixels of the input per pixel of what is shown."""
        return min(self.width / shown_wh[0], self.height / shown_wh[1])


def tile_windows(frame_wh: tuple[int, int], tile: int | tuple[int, int], overlap: float) -> np.ndarray:
    """The regular grid of tiles that covers a frame, row by row.

    Neighbours share at least ``overlap`` of a tile; the last row and column are moved inwards, so all tiles are equally
    large and none reaches over the frame. A side of the frame shorter than a tile is taken whole.

    Args:
        frame_wh: size of the frame in pixels.
        tile: side of square tiles, or their width and height, in pixels of the frame.
        overlap: share of the tile, 0..0.9.

    Returns:
        int32 [T, 4], left, top, right, bottom in pixels of the frame.
    """
    tile_wh = (tile, tile) if isinstance(tile, int) else tile
    (left, width), (top, height) = (
        _starts(int(side), one, max(1, int(one * (1 - overlap)))) for side, one in zip(frame_wh, tile_wh, strict=True)
    )
    corners = np.stack(np.meshgrid(left, top), axis=-1).reshape(-1, 2)
    return np.concatenate([corners, corners + np.array([width, height])], axis=1).astype(np.int32)


def _starts(side: int, tile: int, step: int) -> tuple[np.ndarray, int]:
    if side <= tile:
        return np.zeros(1, dtype=np.int64), side
    count = -(-(side - tile) // step) + 1
    return np.minimum(np.arange(count) * step, side - tile), tile


def _even_starts(side: int, tile: int, overlap: float) -> np.ndarray:
    """As few starts as leave neighbours their overlap (but for rounding), at equal distances."""
    gaps = int(np.ceil((side - tile) / max(1.0, tile * (1 - overlap)) - 1e-9))
    return np.rint(np.linspace(0, side - tile, gaps + 1)).astype(np.int64)


def _fewest(side: int, longest: float, overlap: float) -> int:
    """How many tiles no longer than ``longest`` cover a side and share ``overlap``."""
    return max(1, int(np.ceil((side / longest - overlap) / (1 - overlap) - 1e-9)))


def _share(side: int, count: int, overlap: float) -> int:
    """Length of each of ``count`` tiles that cover a side and share ``overlap``."""
    return int(np.ceil(side / (count - (count - 1) * overlap)))
