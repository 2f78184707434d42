"""Horizon tilt: the camera rolls with the boat. The only corruption that moves things, so boxes move with the frame.

**Which box is right after a turn?** A box says nothing of the outline inside it. The box around the four turned corners
is only right for ships that fill their box to all corners, and far too large for long ships; a good detector would
be marked down for being right. We take the box around the turned ellipse that fills the old box, which Kalra et al.
(Towards Rotation Invariance in Object Detection, ICCV 2021) found to agree best with the true outlines of objects.
It still is a guess: for thresholds above IoU .75 a part of the measured loss at severities 4 and 5 is the label's, not
the detector's. AP50 is the figure to trust.
"""

from __future__ import annotations

import cv2
import numpy as np

from wutdet.boxes import Letterbox
from wutdet.corrupt.draws import Draws


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
        float64 [N, 4] boxes around the turned ellipses, cut at the frame's rim, and bool [N], False where the middle
        of the box has left the frame: such ships neither count as found nor as missed.
    """
    xyxy = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    size = np.asarray(size_wh, dtype=np.float64)
    middle = (xyxy[:, :2] + xyxy[:, 2:]) / 2 - size / 2
    half = (xyxy[:, 2:] - xyxy[:, :2]) / 2
    # The y axis points down, so that anticlockwise means x towards -y.
    turned = np.stack([cos * middle[:, 0] + sin * middle[:, 1], cos * middle[:, 1] - sin * middle[:, 0]], axis=1)
    turned += size / 2
    reach = np.stack(
        [np.hypot(cos * half[:, 0], sin * half[:, 1]), np.hypot(sin * half[:, 0], cos * half[:, 1])], axis=1
    )
    kept = ((turned >= 0) & (turned <= size)).all(axis=1)
    moved = np.concatenate([turned - reach, turned + reach], axis=1)
    return np.clip(moved, 0, np.tile(size, 2)), kept
