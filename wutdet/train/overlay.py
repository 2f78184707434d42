"""What cameras write into their pictures: dates, names, bearings and zoom, as hard negatives.

A detector that never saw them takes round white digits for boats. They are drawn where no ship is, as large as video
recorders and camera firmware draw them, with and without an outline or a dark box, some of them in blocks of pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)
#: BGR; most cameras write in white.
_COLOURS = ((255, 255, 255), (255, 255, 255), (255, 255, 255), (0, 255, 255), (0, 255, 0), (20, 20, 20))
#: Height of a capital letter in pixels of the picture.
_HEIGHTS = (7.0, 44.0)
#: Places tried before the picture is left as it is.
_TRIES = 6
#: Pixels that stay free around every ship.
_MARGIN = 4
_NAMES = ("CAM", "PTZ", "HARBOUR", "PIER", "NORTH", "BOW", "STERN", "MAST", "REC", "IR", "EO", "CH")


def random_text(rng: np.random.Generator) -> str:
    """A line as cameras write it."""
    year, month, day = rng.integers(1998, 2031), rng.integers(1, 13), rng.integers(1, 29)
    hour, minute, second = rng.integers(0, 24), rng.integers(0, 60), rng.integers(0, 60)
    time = f"{hour:02}:{minute:02}:{second:02}"
    lines = (
        f"{year}-{month:02}-{day:02} {time}",
        f"{day:02}.{month:02}.{year} {time}",
        f"{month:02}/{day:02}/{year}",
        f"{year}{month:02}{day:02}",
        time,
        f"{hour:02}-{minute:02}-{second:02}",
        f"{rng.choice(_NAMES)} {rng.integers(0, 100):02}",
        f"{rng.choice(_NAMES)}",
        f"{rng.uniform(0, 90):.4f}N {rng.uniform(0, 180):.4f}E",
        f"HDG {rng.integers(0, 360):03} {rng.uniform(0, 40):.1f}kn",
        f"AZ {rng.uniform(-180, 180):+.1f} EL {rng.uniform(-20, 20):+.1f}",
        f"x{rng.integers(1, 40)}  {rng.integers(5, 60)} fps",
        "".join(str(digit) for digit in rng.integers(0, 10, rng.integers(1, 9))),
    )
    return str(lines[rng.integers(len(lines))])


def draw_text(picture: np.ndarray, xyxy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 [H, W, 3] BGR: the picture with a line of text where no box is, perhaps cut by the picture's rim.

    Args:
        picture: uint8 [H, W, 3] BGR; it is not changed.
        xyxy: [N, 4], boxes that stay free, in pixels of the picture.
        rng: source of all choices.

    Returns:
        A copy, or the picture itself where no place was found.
    """
    fill, around = _stamp(rng)
    height, width = picture.shape[:2]
    tall, wide = fill.shape
    for _ in range(_TRIES):
        # At least a third of the text lies in the picture, in each direction.
        left = round(rng.uniform(-2 * wide / 3, width - wide / 3))
        top = round(rng.uniform(-2 * tall / 3, height - tall / 3))
        place = np.array([left, top, left + wide, top + tall]) + np.array([-1, -1, 1, 1]) * _MARGIN
        if len(xyxy) and ((xyxy[:, :2] < place[2:]) & (xyxy[:, 2:] > place[:2])).all(axis=1).any():
            continue
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + wide, width), min(top + tall, height)
        inside = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
        out = picture.copy()
        colour = np.array(_COLOURS[rng.integers(len(_COLOURS))], dtype=np.float32)
        shade = np.full(3, 0.0 if colour.sum() > 200 else 255.0, dtype=np.float32)
        spot = out[y1:y2, x1:x2].astype(np.float32)
        for alpha, paint in ((around[inside], shade), (fill[inside], colour)):
            spot += alpha[..., None] * (paint - spot)
        out[y1:y2, x1:x2] = np.rint(spot).astype(np.uint8)
        return out
    return picture


def _stamp(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """float32 [h, w] twice, 0..1: how far the letters, and what lies around them, cover the picture."""
    text, font = random_text(rng), _FONTS[rng.integers(len(_FONTS))]
    height = float(np.exp(rng.uniform(*np.log(_HEIGHTS))))
    block = int(rng.integers(2, 4)) if height >= 18 and rng.random() < 0.4 else 1
    scale = cv2.getFontScaleFromHeight(font, max(6, round(height / block)), 1)
    thickness = max(1, round(height / block * rng.uniform(0.06, 0.18)))
    (wide, tall), below = cv2.getTextSize(text, font, scale, thickness)
    rim = thickness + 3
    canvas = np.zeros((tall + below + 2 * rim, wide + 2 * rim), np.uint8)
    cv2.putText(canvas, text, (rim, rim + tall), font, scale, 255, thickness, cv2.LINE_8 if block > 1 else cv2.LINE_AA)
    fill, style = canvas.astype(np.float32) / 255, rng.random()
    if style < 0.55:
        # Not drawn with a wider stroke: some versions of OpenCV move the letters then.
        side = 2 * max(1, round(thickness / 2)) + 1
        around = cv2.dilate(fill, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    elif style < 0.75:
        around = np.full_like(fill, rng.uniform(0.3, 1.0))
    else:
        around = np.zeros_like(fill)
    fill *= rng.uniform(0.6, 1.0)
    if block > 1:
        fill, around = (np.kron(mask, np.ones((block, block), np.float32)) for mask in (fill, around))
    return fill, around
