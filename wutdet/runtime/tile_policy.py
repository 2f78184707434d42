"""TilePolicy: which parts of a frame a detector looks at, beside the whole.

| written | tiles |
| --- | --- |
| ``none`` | none: the whole frame only |
| ``640`` | a grid of squares of 640 pixels of the frame |
| ``960x544`` | a grid of tiles 960 pixels wide and 544 high |
| ``3x2`` | at most 3 columns and 2 rows, whatever the frame's size: a fixed number of passes |
| ``horizon`` | one row of tiles, not much larger than the network's input, around the horizon |
| ``horizon:2`` | the same with at most 2 columns |
| ``horizon@1+1.5`` | two such rows; the second shows a narrower part of the frame 1.5 times as large, for tiny ships |
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
_LARGEST_ZOOM = 8.0
_NUMBER = r"\d+(?:\.\d+)?"
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
        zooms: horizon: one row of tiles each; a tile of a row shows the frame so many times as large. Rising.
        overlap: least share of a tile that neighbours have in common, 0..0.9.
        full_frame: look at the whole frame as well; a policy with a horizon always does.

    Raises:
        UsageError: a size or an overlap that makes no sense.
    """

    kind: Kind = "none"
    size: tuple[int, int] = (0, 0)
    overlap: float = 0.2
    full_frame: bool = True
    zooms: tuple[float, ...] = (1.0,)

    def __post_init__(self):
        if not 0 <= self.overlap <= _LARGEST_OVERLAP:
            raise UsageError(
                f"the overlap of tiles is a share of the tile in 0..{_LARGEST_OVERLAP}, received {self.overlap}",
                hint="0.2 lets neighbours share a fifth",
            )
        if not self.zooms or not all(0 < zoom <= _LARGEST_ZOOM for zoom in self.zooms):
            raise UsageError(
                f"tiles show the frame up to {_LARGEST_ZOOM:g} times as large, received {_written(self.zooms)}",
                hint="horizon@1+1.5 lays a row at the frame's size and one that enlarges it",
            )
        object.__setattr__(self, "zooms", tuple(sorted(set(self.zooms))))
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
        if self.kind != "horizon":
            return self.kind
        columns = f":{width}" if width else ""
        return f"horizon{columns}" + ("" if self.zooms == (1.0,) else f"@{_written(self.zooms)}")

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
        if match := re.fullmatch(rf"horizon(?::(\d+))?(?:@({_NUMBER}(?:\+{_NUMBER})*))?", word):
            zooms = tuple(float(zoom) for zoom in (match[2] or "1").split("+"))
            return cls("horizon", (int(match[1] or 0), 1), overlap, zooms=zooms)
        if re.fullmatch(r"-?\d+", word):
            return cls("pixels", (int(word), int(word)), overlap, full_frame)
        if match := re.fullmatch(r"(\d+)x(\d+)", word):
            size = int(match[1]), int(match[2])
            kind = "grid" if max(size) < _SMALLEST_TILE else "pixels"
            return cls(kind, size, overlap, full_frame)
        raise UsageError(
            f"'{text}' is no way to cut frames into tiles",
            hint="none, saved, 640 or 960x544 (pixels), 3x2 (columns x rows), horizon, horizon:2 (columns), "
            "horizon@1+1.5 (rows of those enlargements) or auto",
        )

    def for_frame(self, frame_wh: tuple[int, int], view: InputView) -> TilePolicy:
        """What is done with frames of this size: ``auto`` decided, ``none`` where tiles would show nothing more."""
        whole = view.scale(frame_wh)
        if self.kind == "auto":
            kind = "none" if whole >= AUTO_SCALE else "horizon"
            return replace(self, kind=kind, size=(0, 1)).for_frame(frame_wh, view)
        if self.kind not in ("grid", "horizon") or not self.full_frame:
            return self
        useful = tuple(zoom for zoom in self.zooms if whole < zoom)
        return replace(self, zooms=useful) if useful else replace(self, kind="none", zooms=(1.0,))

    def tile_wh(self, frame_wh: tuple[int, int], view: InputView) -> tuple[int, int]:
        """Width and height of the tiles of frames of this size; the frame's own where it is not cut.

        Grids and rows have tiles of the input's proportions, so that none of it is grey, and never show the frame
        larger than it is, or than their zoom says. Of several rows, the one that enlarges most.
        """
        return self.for_frame(frame_wh, view)._tile_wh(frame_wh, view)

    def scale(self, frame_wh: tuple[int, int], view: InputView) -> float:
        """Pixels of the input per pixel of the frame in the tiles, or in the whole frame where it is not cut."""
        policy = self.for_frame(frame_wh, view)
        return view.scale(policy._tile_wh(frame_wh, view), policy.zoom)

    @property
    def zoom(self) -> float:
        """Tiles may be enlarged so many times, whatever holds for whole frames; 0: no more than these."""
        return self.zooms[-1] if self.kind == "horizon" and self.zooms[-1] > 1 else 0.0

    def _tile_wh(self, frame_wh: tuple[int, int], view: InputView) -> tuple[int, int]:
        if self.kind == "none":
            return frame_wh
        if self.kind == "pixels":
            return tuple(np.minimum(self.size, frame_wh).tolist())
        columns, rows = self.size
        if self.kind == "horizon":
            view = view.zoomed(self.zooms[-1])
            columns = columns or _fewest(frame_wh[0], view.width / LEAST_SCALE, self.overlap)
            width = min(max(view.width, _share(frame_wh[0], columns, self.overlap)), frame_wh[0])
            height = max(view.height, round(width * view.height / view.width))
            return width, min(height, frame_wh[1])
        width = min(max(_share(frame_wh[0], columns, self.overlap), view.width), frame_wh[0])
        height = min(max(_share(frame_wh[1], rows, self.overlap), view.height), frame_wh[1])
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
            int32 [T, 4], left, top, right, bottom in pixels of the frame; all of one size for each zoom.
        """
        policy = self.for_frame(frame_wh, view)
        if policy.kind == "none":
            return np.zeros((0, 4), dtype=np.int32)
        if policy.kind == "pixels":
            return tile_windows(frame_wh, policy.size, policy.overlap)
        rows = [replace(policy, zooms=(zoom,))._even_tiles(frame_wh, view, horizon) for zoom in policy.zooms]
        # Frames hardly larger than a tile: rows may be the same, or show the whole frame, which is looked at anyway.
        tiles = dict.fromkeys(map(tuple, np.concatenate(rows).tolist()))
        if policy.kind == "horizon":
            tiles.pop((0, 0, *frame_wh), None)
        return np.array(list(tiles), dtype=np.int32).reshape(-1, 4)

    def _even_tiles(self, frame_wh: tuple[int, int], view: InputView, horizon: Horizon | None) -> np.ndarray:
        """int32 [T, 4]: the tiles of a grid, or of one row."""
        tile_wh = self._tile_wh(frame_wh, view)
        left, top = (_even_starts(side, tile, self.overlap) for side, tile in zip(frame_wh, tile_wh, strict=True))
        if self.kind == "horizon" and horizon is not None:
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
        max_scale: whole frames are enlarged at most so many times.
    """

    width: int
    height: int
    fixed: bool = True
    max_scale: float = float("inf")

    @classmethod
    def of(cls, detector) -> InputView:
        """Of a Detector, or of anything with its attributes."""
        fixed_wh = getattr(getattr(detector, "backend", None), "fixed_input_wh", None)
        limit = getattr(detector, "max_scale", None) or float("inf")
        sides = fixed_wh or (detector.imgsz, detector.imgsz)
        return cls(*sides, fixed=fixed_wh is not None, max_scale=limit)

    def zoomed(self, zoom: float) -> InputView:
        """What is left of the view where everything is shown ``zoom`` times as large."""
        return replace(self, width=max(1, int(self.width / zoom)), height=max(1, int(self.height / zoom)))

    def scale(self, shown_wh: tuple[int, int], zoom: float = 0.0) -> float:
        """Pixels of the input per pixel of what is shown: of a tile that may be enlarged ``zoom`` times, or a frame."""
        return min(self.width / shown_wh[0], self.height / shown_wh[1], max(self.max_scale, zoom))


def _written(zooms: tuple[float, ...]) -> str:
    return "+".join(f"{zoom:g}" for zoom in zooms)


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
