"""Which mistakes are shown, and crops of the frames around them with boxes drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError
from wutdet.report.gallery import TRUTH_COLOUR, draw_box

#: Kinds of mistakes in the order in which they are shown, their names, and the most that are shown of each.
SHOWN = {
    "miss": ("missed", 40),
    "false_alarm": ("false alarm", 40),
    "localisation": ("poorly localised", 20),
    "duplicate": ("duplicate", 20),
    "classification": ("wrong category", 20),
}
# BGR; the same as in style.py.
_COLOUR = {
    "hit": (140, 201, 0),
    "miss": (0, 128, 255),
    "false_alarm": (208, 63, 255),
    "localisation": (0, 213, 255),
    "duplicate": (255, 140, 179),
    "classification": (255, 210, 77),
    "ignored": (200, 200, 200),
}
_CROP_PX = 320
# A static camera shows the same ship again and again: so many of one sequence, then others have their turn.
_TURN = 3


@dataclass(frozen=True, eq=False)
class Crop:
    """One mistake.

    Attributes:
        row: in the table of objects.
        image: uint8 [h, w, 3] BGR, boxes drawn.
        factor: how much the crop is enlarged (below 1: reduced).
    """

    row: int
    image: np.ndarray
    factor: float


def badness(objects: Mapping[str, np.ndarray]) -> np.ndarray:
    """float64 [N]: pixels of a missed ship, the score of anything else."""
    return np.where(objects["kind"] == "miss", objects["size_px"], np.nan_to_num(objects["score"]))


def choose_worst(objects: Mapping[str, np.ndarray], bins: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rows of the mistakes to show, in order: the worst of each kind by turns.

    Of each kind, size bins have equal shares (else the biggest ships would leave no room for small ones), and within a
    bin no group (sequence) has more than three before the others had theirs. What lies in the same place in several
    frames of a group, such as a buoy that a static camera takes for a ship, comes once; repetitions stand behind
    everything else, and only where there is room.

    Args:
        objects: see wutdet.report.objects.COLUMNS.
        bins: int [N], size bin of each object.
        groups: int [N], sequence of each object.
    """
    bad = badness(objects)
    ranked: list[tuple[int, int, int]] = []
    for order, (kind, (_, most)) in enumerate(SHOWN.items()):
        rows = np.flatnonzero(objects["kind"] == kind)
        rows = rows[np.argsort(-bad[rows], kind="stable")]
        again = _is_repetition(objects, groups, rows)
        rows, again = rows[np.argsort(again, kind="stable")], np.sort(again)
        turn = _ordinal(bins[rows] * (groups.max(initial=0) + 1) + groups[rows]) // _TURN
        order_in_bin = np.lexsort((turn, again))
        rows, again = rows[order_in_bin], again[order_in_bin]
        chosen = np.lexsort((_ordinal(bins[rows]), again))[:most]
        rows = rows[chosen[np.lexsort((-bad[rows[chosen]], again[chosen]))]]
        ranked += [(rank, order, int(row)) for rank, row in enumerate(rows)]
    return np.array([row for _, _, row in sorted(ranked)], dtype=np.int64)


def _is_repetition(objects: Mapping[str, np.ndarray], groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """bool [len(rows)]: whether an earlier row has about the same box, in the same group.

    Boxes with centres up to a quarter of their size apart share a cell of at least one of several grids, each shifted
    by half a cell; cells are half as wide as the ship's size, rounded to a power of two (in two ways).
    """
    size = np.log2(np.maximum(objects["size_px"][rows], 1.0))
    centre_x, centre_y = ((objects[a][rows] + objects[b][rows]) / 2 for a, b in (("x1", "x2"), ("y1", "y2")))
    out = np.zeros(len(rows), dtype=bool)
    for shift_size, shift_x, shift_y in product((0.0, 0.5), repeat=3):
        octave = np.floor(size + shift_size)
        cell = 2.0 ** (octave - 1 - shift_size)
        key = groups[rows].astype(np.int64)
        for part, bits in ((octave, 6), (centre_x / cell + shift_x, 18), (centre_y / cell + shift_y, 18)):
            key = (key << bits) + np.maximum(np.floor(part), 0).astype(np.int64)
        out |= _ordinal(key) > 0
    return out


def crops(
    dataset: Dataset, objects: Mapping[str, np.ndarray], rows: np.ndarray, score: float
) -> tuple[list[Crop], list[str]]:
    """Crops for the given rows, in their order, and the frames that could not be read.

    Args:
        dataset: frames and annotated boxes.
        objects: see wutdet.report.objects.COLUMNS.
        rows: of objects.
        score: other detections are drawn from this score up.
    """
    boxes = np.stack([objects[name] for name in ("x1", "y1", "x2", "y2")], axis=1)
    made: dict[int, Crop] = {}
    unread = []
    order = np.argsort(objects["image"], kind="stable")
    starts = objects["image"][order]
    for image in np.unique(objects["image"][rows]):
        try:
            frame = dataset.read_image(int(image))
        except DataError:
            unread.append(dataset.path[int(image)])
            continue
        low, high = np.searchsorted(starts, [image, image + 1])
        around = order[low:high]
        # Misses have no score; they are always drawn.
        around = around[~(objects["score"][around] < score)]
        truth = dataset.xyxy[dataset.box_rows(int(image))]
        for row in rows[objects["image"][rows] == image]:
            row = int(row)
            others = [(objects["kind"][r], boxes[r]) for r in around if r != row]
            made[row] = _crop(row, frame, truth, others, objects["kind"][row], boxes[row])
    return [made[int(row)] for row in rows if int(row) in made], unread


def _ordinal(values: np.ndarray) -> np.ndarray:
    """int [N]: how many equal values come before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(values)]
    position = np.arange(len(values))
    out = np.empty(len(values), dtype=np.int64)
    out[order] = position - np.maximum.accumulate(np.where(first, position, 0))
    return out


def _crop(row: int, frame: np.ndarray, truth: np.ndarray, others: Sequence, kind: str, xyxy: np.ndarray) -> Crop:
    """A square around the box with as much again on each side, or as much of it as the frame has."""
    height, width = frame.shape[:2]
    wanted = max(64.0, 3.0 * float((xyxy[2:] - xyxy[:2]).max()))
    # Whole factors keep the pixels of small ships visible as pixels.
    factor = float(max(1, round(_CROP_PX / wanted))) if wanted <= _CROP_PX else _CROP_PX / wanted
    side = round(_CROP_PX / factor)
    wide, high = min(side, width), min(side, height)
    centre = (xyxy[:2] + xyxy[2:]) / 2
    left = int(np.clip(round(centre[0] - wide / 2), 0, width - wide))
    top = int(np.clip(round(centre[1] - high / 2), 0, height - high))
    part = frame[top : top + high, left : left + wide]
    size = (max(1, round(wide * factor)), max(1, round(high * factor)))
    part = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST if factor >= 1 else cv2.INTER_AREA)
    offset = np.array([left, top, left, top])

    def drawn(box: np.ndarray, colour: tuple, thickness: int, dashed: bool = False) -> None:
        box = (box - offset) * factor
        if (box[2:] > 0).all() and (box[:2] < size).all():
            draw_box(part, box, colour, thickness, dashed=dashed)

    for box in truth:
        drawn(box, TRUTH_COLOUR, 1)
    for other, box in others:
        drawn(box, _COLOUR[other], 1, other in ("miss", "ignored"))
    drawn(xyxy, _COLOUR[kind], 3, kind == "miss")
    return Crop(row, part, factor)
