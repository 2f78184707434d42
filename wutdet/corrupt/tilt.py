"""Horizon tilt: the camera rolls with the boat. The only corruption that moves things, so boxes move with the frame.

**Which box is right after a turn?** A box says nothing of the outline inside it. The box around its four turned corners
is right only for ships that fill their box to all corners. Ships are wide at the waterline and narrow at the masthead:
that box is far too large, and a good detector would be marked down for being right. We turn the outline of a plain ship
instead (``OUTLINE``) and take the box around that. Its mean IoU with the true box of 310 rendered ships (others than
those it was chosen with) is

    degrees   outline   ellipse   corners   box not turned
       4       0.93      0.89      0.88        0.88
       7       0.91      0.83      0.82        0.81
      16       0.87      0.75      0.73        0.67

(ellipse: the box around the turned ellipse that fills the old box, Kalra et al., Towards Rotation Invariance in Object
Detection, ICCV 2021). It still is a guess: of the loss at IoU thresholds above .85 a part is the label's, not the
detector's. AP50 is the figure to trust.
"""

from __future__ import annotations

import cv2
import numpy as np

from wutdet.boxes import Letterbox
from wutdet.corrupt.draws import Draws

#: A ship's outline in its box (-1 to 1, y down): waterline, rail at its full length, masthead.
OUTLINE = np.array([(-0.9, 1.0), (0.9, 1.0), (-1.0, 0.4), (1.0, 0.4), (-0.3, -1.0), (0.3, -1.0)])


def tilt_degrees(draws: Draws, degrees: float) -> float:
    """The angle of one frame, anticlockwise as seen: to port or to starboard."""
    return degrees if draws.uniform() < 0.5 else -degrees


def horizon_tilt(image: np.ndarray, draws: Draws, horizon: float, *, degrees: float) -> np.ndarray:
    """The frame turned about its middle, same size; what no camera saw is grey as in the padding of network inputs.

    Mirrored or smeared borders would show ships that have no box.
    """
    height, width = image.shape[:2]
    # OpenCV's coordinates count from the first pixel's centre, ours from its outer edge.
    turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), tilt_degrees(draws, degrees), 1.0)
    grey = (Letterbox.PAD_VALUE,) * 3
    return cv2.warpAffine(
        image, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=grey
    )


def tilt_boxes(xyxy: np.ndarray, size_wh: tuple[int, int], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in the turned frame.

    Args:
        xyxy: float [N, 4], corners in pixels.
        size_wh: width and height of the frame.
        degrees: anticlockwise as seen.

    Returns:
        float64 [N, 4] boxes around the turned outlines, cut at the frame's rim, and bool [N], False where the middle of
        the old box has left the frame: such ships count neither as found nor as missed.
    """
    xyxy = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    # The y axis points down, so that anticlockwise takes x towards -y.
    turn = np.array([[cos, -sin], [sin, cos]])
    size = np.asarray(size_wh, dtype=np.float64)
    middle = ((xyxy[:, :2] + xyxy[:, 2:]) / 2 - size / 2) @ turn + size / 2
    half = (xyxy[:, 2:] - xyxy[:, :2]) / 2
    outline = (OUTLINE[None] * half[:, None]) @ turn + middle[:, None]
    kept = ((middle >= 0) & (middle <= size)).all(axis=1)
    moved = np.concatenate([outline.min(axis=1), outline.max(axis=1)], axis=1)
    return np.clip(moved, 0, np.tile(size, 2)), kept
