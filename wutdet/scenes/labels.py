"""Boxes from the visible pixels of each ship, and the rule for which of them count.

A pixel belongs to the nearest object that covers at least 20 % of it, so a box is the exact extent of the pixels that
a ship owns when all is drawn (masts included). A ship

- has no box when it owns fewer than ``MIN_SEEN_PX`` pixels or when its contrast is below ``MIN_SEEN_CONTRAST``
  (fog has swallowed it);
- has a box marked ``ignore`` when a careful person might or might not have drawn it: fewer than ``MIN_PIXELS`` pixels,
  long side below ``MIN_SIDE_PX``, contrast below the limit (``MIN_CONTRAST`` plus three times what
  the sensor's noise leaves in a mean over its pixels), or less than
  ``MIN_VISIBLE`` of it to be seen and that part smaller than ``CLEAR_PIXELS``;
- has a normal box otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from wutdet.scenes.painter import Drawn

MIN_SEEN_PX = 4
MIN_SEEN_CONTRAST = 3.0
MIN_PIXELS = 12
MIN_SIDE_PX = 6
MIN_CONTRAST = 7.0
MIN_VISIBLE = 0.15
CLEAR_PIXELS = 900


@dataclass(frozen=True)
class ShipBox:
    """One ship in one frame.

    Attributes:
        xyxy: integer pixel corners, right and bottom exclusive. pixels: visible pixels. ship: number of the ship in
            its sequence (1-based). kind: of ship. visible: share that is neither hidden nor outside the frame.
        contrast: in levels. ignore: see the module.
    """

    xyxy: tuple[int, int, int, int]
    pixels: int
    ship: int
    kind: str
    visible: float
    contrast: float
    ignore: bool


def ship_boxes(owner: np.ndarray, drawn: Mapping[int, tuple[str, Drawn]], noise_levels: float) -> list[ShipBox]:
    """Boxes of all ships, by their number.

    Args:
        owner: uint16 [H, W], number of the ship that owns each pixel, 0 for none.
        drawn: what the painter noted of each ship: kind and Drawn.
        noise_levels: deviation of the sensor noise in levels.
    """
    boxes = []
    counts = np.bincount(owner.ravel(), minlength=max(drawn, default=0) + 1)
    for number in sorted(drawn):
        kind, note = drawn[number]
        pixels = int(counts[number])
        if pixels < MIN_SEEN_PX or note.contrast < MIN_SEEN_CONTRAST:
            continue
        left, top, wide, high = _extent(owner, number, note)
        visible = note.inside * pixels / max(1, note.pixels)
        doubtful = (
            pixels < MIN_PIXELS
            or max(wide, high) < MIN_SIDE_PX
            or note.contrast < MIN_CONTRAST + 3.0 * noise_levels / pixels**0.5
            or (visible < MIN_VISIBLE and pixels < CLEAR_PIXELS)
        )
        boxes.append(
            ShipBox(
                (left, top, left + wide, top + high),
                pixels,
                number,
                kind,
                round(visible, 4),
                round(note.contrast, 2),
                doubtful,
            )
        )
    return boxes


def _extent(owner: np.ndarray, number: int, note: Drawn) -> tuple[int, int, int, int]:
    left, top, right, bottom = note.bounds
    x, y, wide, high = cv2.boundingRect((owner[top:bottom, left:right] == number).astype(np.uint8))
    return left + x, top + y, wide, high
