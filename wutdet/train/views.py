"""Views: which part of a frame, at which scale, becomes a (part of a) training picture; and what its boxes become.

The rule for boxes at the rim, in pixels of the training picture: a small ship is either (almost) whole or it is painted
over; a large ship may be cut, as long as enough of it is visible. Painting over, rather than only dropping the box,
keeps the network from being told that the visible piece of a ship is water.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Ships whose longer side is below this many pixels of the training picture are never cut.
SMALL_SIDE = 48.0
#: Visible share of the box area from which a small and a large ship keep their box.
SMALL_VISIBLE, LARGE_VISIBLE = 0.85, 0.35
#: Boxes narrower or lower than this in the training picture cannot be learned and are painted over.
SMALLEST_SIDE = 1.5
#: Windows tried before the one that cuts the fewest small ships is taken.
_TRIES = 8


def frame_scale(size_wh: np.ndarray, long_side: int, max_scale: float | None) -> np.ndarray:
    """float64 [...]: picture pixels per pixel of frames of ``size_wh`` [..., 2]: before any random change of scale."""
    scale = long_side / np.asarray(size_wh).max(axis=-1)
    return scale if max_scale is None else np.minimum(scale, max_scale)


@dataclass(frozen=True)
class View:
    """A window on the scaled frame: ``picture = frame * scale - origin_xy``, then mirrored where ``flip``.

    Attributes:
        scale: picture pixels per frame pixel.
        origin_xy: left top corner of the picture in scaled frame pixels; negative where there is padding.
        size_wh: of the picture, in pixels.
        flip: mirrored left to right.
    """

    scale: float
    origin_xy: tuple[float, float]
    size_wh: tuple[int, int]
    flip: bool = False

    def to_picture(self, xyxy: np.ndarray) -> np.ndarray:
        """float64 [N, 4] boxes in picture pixels (not clipped) from boxes in frame pixels."""
        out = np.asarray(xyxy, dtype=np.float64) * self.scale - np.tile(self.origin_xy, 2)
        if self.flip:
            out[:, [0, 2]] = self.size_wh[0] - out[:, [2, 0]]
        return out


def visible_share(xyxy: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """float64 [N]: share of each box [N, 4] that lies inside a picture of this size."""
    full = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1e-9)
    inside = np.minimum(xyxy[:, 2:], size_wh) - np.maximum(xyxy[:, :2], 0)
    return np.prod(np.maximum(inside, 0) / full, axis=1)


def keep_and_cover(xyxy: np.ndarray, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes [N, 4] (picture pixels, not clipped) stay, and which have to be painted over: two bool [N]."""
    share = visible_share(xyxy, size_wh)
    side = xyxy[:, 2:] - xyxy[:, :2]
    small = side.max(axis=1, initial=0) < SMALL_SIDE
    keep = (share >= np.where(small, SMALL_VISIBLE, LARGE_VISIBLE)) & (side.min(axis=1, initial=9e9) >= SMALLEST_SIDE)
    return keep, (share > 0) & ~keep


def choose_view(
    rng: np.random.Generator,
    frame_wh: tuple[int, int],
    xyxy: np.ndarray,
    scale: float,
    size_wh: tuple[int, int],
    *,
    focus: float,
    flip: bool = False,
) -> View:
    """A random window of ``size_wh`` on the frame at this scale that cuts as few small ships as can be.

    Args:
        rng: source of all choices.
        frame_wh: size of the frame in pixels.
        xyxy: boxes [N, 4] in frame pixels.
        scale: picture pixels per frame pixel.
        size_wh: of the window, in picture pixels.
        focus: probability that the window is laid around a ship (rather than anywhere: that keeps negatives).
        flip: mirror the picture.
    """
    slack = np.asarray(frame_wh, dtype=np.float64) * scale - size_wh  # below 0: the frame is smaller, padding is needed
    low, high = np.minimum(slack, 0), np.maximum(slack, 0)
    origins = rng.uniform(low, high, size=(_TRIES, 2))
    scaled = np.asarray(xyxy, dtype=np.float64) * scale
    if len(scaled) and rng.random() < focus and (slack > 0).any():
        box = scaled[rng.integers(len(scaled))]
        # Where the box fits, the window holds all of it; where it does not, the window lies inside the box.
        inner_low = np.minimum(box[2:] - size_wh, box[:2])
        inner_high = np.maximum(box[2:] - size_wh, box[:2])
        around = rng.uniform(inner_low, inner_high, size=(_TRIES, 2))
        origins = np.where(slack > 0, np.clip(around, low, high), origins)
    best = 0
    if len(scaled) and (slack > 0).any():
        size = scaled[:, 2:] - scaled[:, :2]
        small = size.max(axis=1) < SMALL_SIDE
        shifted = scaled[None] - np.tile(origins, 2)[:, None]
        inside = np.minimum(shifted[..., 2:], size_wh) - np.maximum(shifted[..., :2], 0)
        share = np.prod(np.maximum(inside, 0) / np.maximum(size, 1e-9), axis=2)
        best = int(np.argmin(((share > 0) & (share < SMALL_VISIBLE) & small).sum(axis=1)))
    return View(float(scale), (float(origins[best, 0]), float(origins[best, 1])), tuple(size_wh), bool(flip))
