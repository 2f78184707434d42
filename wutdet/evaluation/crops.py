"""Pictures of single objects cut out of their frames: the worst misses and false alarms, to be looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.errors import UsageError, WutdetError
from wutdet.evaluation.objects import KINDS
from wutdet.files import write_bytes

_CONTEXT = 3.0  # side of the crop in long sides of the box
_LEAST_PX = 96  # of the frame, so that a tiny ship is seen with what surrounds it
_SHOWN_PX = (256, 512)  # long side of the picture: small crops are enlarged, large ones reduced
_QUALITY = 90
_SHIP_COLOUR, _DETECTION_COLOUR = (40, 200, 255), (60, 60, 255)  # BGR: amber and red


def worst_first(table: Mapping[str, np.ndarray], kind: str) -> np.ndarray:
    """int64: rows of one kind, the worst first.

    Of misses the largest ships come first, of hits the lowest scores, of everything else the highest scores.
    """
    rows = np.flatnonzero(table["kind"] == kind)
    if kind == "miss":
        badness = table["size_px"][rows]
    else:
        badness = np.nan_to_num(table["score"][rows], nan=-np.inf) * (-1 if kind == "hit" else 1)
    return rows[np.argsort(-badness, kind="stable")]


def write_crops(
    folder: str | Path,
    table: Mapping[str, np.ndarray],
    dataset: Dataset,
    kinds: Sequence[str] = ("miss", "false_alarm"),
    most: int = 100,
    per_frame: int = 3,
) -> dict[int, Path]:
    """Cuts out the worst objects with what surrounds them, and a frame around each, as JPEG files.

    Files are named by kind, place (1 is the worst) and frame, e.g. ``miss_0001_harbour_0012.jpg``. Every frame is read
    once.

    Args:
        folder: made where it is not there; other files in it are left alone.
        table: of ``objects_table``.
        dataset: the evaluated frames.
        kinds: which to write, of KINDS.
        most: pictures per kind.
        per_frame: pictures per kind and frame, so that one crowded frame does not take all places.

    Returns:
        File by row of the table.

    Raises:
        UsageError: an unknown kind.
        DataError: a frame that cannot be read.
        WutdetError: a file cannot be written.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UsageError(f"unknown kind of object '{unknown[0]}'; there is {', '.join(KINDS)}")
    chosen = []
    for kind in kinds:
        rows = worst_first(table, kind)
        rows = rows[_earlier_in_frame(table["image"][rows]) < per_frame][:most]
        chosen += [(row, place) for place, row in enumerate(rows.tolist(), 1)]
    files: dict[int, Path] = {}
    picture, shown = None, -1
    for row, place in sorted(chosen, key=lambda pair: int(table["image"][pair[0]])):
        image = int(table["image"][row])
        if image != shown:
            picture, shown = dataset.read_image(image), image
        kind = str(table["kind"][row])
        box = np.array([table[name][row] for name in ("x1", "y1", "x2", "y2")])
        colour = _SHIP_COLOUR if table["detection"][row] < 0 else _DETECTION_COLOUR
        ok, data = cv2.imencode(".jpg", crop(picture, box, colour), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not ok:
            raise WutdetError("OpenCV cannot encode a crop as JPEG")
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(dataset.path[image]).stem)[:80]
        files[row] = Path(folder) / f"{kind}_{place:04d}_{stem}.jpg"
        write_bytes(files[row], data.tobytes())
    return files


def _earlier_in_frame(image: np.ndarray) -> np.ndarray:
    """int64 [N]: how many rows before this one are of the same frame."""
    order = np.argsort(image, kind="stable")
    _, starts, counts = np.unique(image[order], return_index=True, return_counts=True)
    out = np.empty(len(image), dtype=np.int64)
    out[order] = np.arange(len(image)) - np.repeat(starts, counts)
    return out


def crop(picture: np.ndarray, xyxy: np.ndarray, colour: tuple[int, int, int] = _DETECTION_COLOUR) -> np.ndarray:
    """uint8 [h, w, 3]: a square around a box (cut at the frame's edges), with a line around the box.

    Args:
        picture: uint8 [H, W, 3] BGR.
        xyxy: [4] corners in pixels; parts outside the picture are left out.
        colour: BGR, of the line.
    """
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = np.clip(xyxy, 0, [width, height, width, height])
    side = max(_CONTEXT * max(x2 - x1, y2 - y1), _LEAST_PX)
    # The square is moved into the frame, so that a box at its edge has context too.
    left = int(np.clip((x1 + x2 - side) / 2, 0, max(width - side, 0)))
    top = int(np.clip((y1 + y2 - side) / 2, 0, max(height - side, 0)))
    part = picture[top : top + int(np.ceil(side)), left : left + int(np.ceil(side))]
    long = max(part.shape[:2])
    scale = min(max(long, _SHOWN_PX[0]), _SHOWN_PX[1]) / long
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    # The line lies outside the box: it must not cover a ship of a few pixels.
    low = np.floor((np.array([x1, y1]) - [left, top]) * scale) - 2
    high = np.ceil((np.array([x2, y2]) - [left, top]) * scale) + 1
    cv2.rectangle(part, tuple(low.astype(int).tolist()), tuple(high.astype(int).tolist()), colour, 1)
    return part
