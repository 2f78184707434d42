"""Example frames with what was found, missed and wrongly reported, and enlarged details of the smallest ships.

A hit is a detection that overlaps a ship at IoU 0.5 or more, each ship taken once, the highest score first (the
matching of COCO at one threshold). Misses are dashed, so that the pictures can be read without seeing colour.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wutdet.boxes import box_area, box_iou
from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.errors import UsageError
from wutdet.files import write_bytes
from wutdet.report.markup import Markup, tag
from wutdet.report.page import Picture

HIT, MISS, FALSE_ALARM, IGNORED = "hit", "miss", "false alarm", "ignored"

# BGR; the same as --hit, --miss, --false and --ignored in style.py.
_COLOUR = {HIT: (140, 201, 0), MISS: (0, 128, 255), FALSE_ALARM: (208, 63, 255), IGNORED: (200, 200, 200)}
TRUTH_COLOUR = (255, 255, 255)

#: Ships with sqrt(box area) below this (pixels of the frame; COCO's "small") are worth an enlarged detail.
SMALL_PX = 32
_INSET_PX = 240


@dataclass(frozen=True, eq=False)
class Match:
    """What became of each box of one frame.

    Attributes:
        truth: per annotated ship ``"hit"``, ``"miss"`` or ``"ignored"``.
        found: per detection ``"hit"``, ``"false alarm"`` or ``"ignored"``.
        truth_of: int [detections], the ship that a hit belongs to, else -1.
        iou: float [detections], with that ship, else with the ship that it overlaps most.
    """

    truth: tuple[str, ...]
    found: tuple[str, ...]
    truth_of: np.ndarray
    iou: np.ndarray

    def count(self, status: str) -> int:
        """Boxes with a status; hits are counted once."""
        return (self.truth if status in (HIT, MISS) else self.found).count(status)


def match_frame(
    truth_xyxy: np.ndarray,
    truth_ignore: np.ndarray,
    found_xyxy: np.ndarray,
    score: np.ndarray,
    iou_threshold: float = 0.5,
    truth_crowd: np.ndarray | None = None,
) -> Match:
    """Matches detections to annotated ships, highest score first.

    Args:
        truth_xyxy: [T, 4] boxes in pixels.
        truth_ignore: bool [T]; overlapping one of these is neither hit nor false alarm.
        found_xyxy: [D, 4] boxes in pixels.
        score: [D].
        iou_threshold: least overlap of a hit.
        truth_crowd: bool [T]; a box for many ships: the overlap is taken relative to the detection, as COCO does.
    """
    found_xyxy = np.asarray(found_xyxy, dtype=np.float64).reshape(-1, 4)
    truth_xyxy = np.asarray(truth_xyxy, dtype=np.float64).reshape(-1, 4)
    ignore = np.asarray(truth_ignore, dtype=bool)
    overlap = box_iou(found_xyxy, truth_xyxy)
    truth = np.where(ignore, IGNORED, MISS).astype(object)
    found = np.full(len(found_xyxy), FALSE_ALARM, dtype=object)
    truth_of = np.full(len(found_xyxy), -1)
    iou = overlap.max(axis=1) if overlap.size else np.zeros(len(found_xyxy))
    crowd = np.zeros(len(truth_xyxy), bool) if truth_crowd is None else np.asarray(truth_crowd, dtype=bool)
    ignore_overlap = overlap * ignore
    if crowd.any():
        low = np.maximum(found_xyxy[:, None, :2], truth_xyxy[None, :, :2])
        high = np.minimum(found_xyxy[:, None, 2:], truth_xyxy[None, :, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=2)
        inside = common / np.maximum(box_area(found_xyxy)[:, None], 1e-9)
        ignore_overlap = np.where(crowd[None, :], inside, ignore_overlap)
    for row in np.argsort(-np.asarray(score), kind="stable"):
        free = overlap[row] * (truth == MISS)
        if free.size and free.max() >= iou_threshold:
            best = int(free.argmax())
            truth[best] = found[row] = HIT
            truth_of[row], iou[row] = best, overlap[row, best]
        elif ignore_overlap.size and ignore_overlap[row].max() >= iou_threshold:
            found[row] = IGNORED
            best = int(ignore_overlap[row].argmax())
            if not crowd[best]:
                ignore_overlap[:, best] = 0  # as in COCO, an ignored ship takes one detection, a crowd any number
    return Match(tuple(truth), tuple(found), truth_of, iou)


def colour_key() -> Markup:
    """What the colours mean, for the page."""
    words = (
        ("hit", "hit: found, IoU 0.5 or more"),
        ("miss", "miss: annotated, not found"),
        ("false", "false alarm: found, nothing annotated there"),
        ("ignored", "ignored: does not count"),
        ("truth", "as annotated (in the details)"),
    )
    return tag("div", *(tag("span", text, class_=name) for name, text in words), class_="key")


def frame_picture(
    frame_bgr: np.ndarray,
    truth_xyxy: np.ndarray,
    truth_ignore: np.ndarray,
    detections: Detections,
    *,
    title: str = "",
    width: int = 1280,
    insets: int = 6,
    truth_crowd: np.ndarray | None = None,
) -> Picture:
    """One frame with its boxes, and enlarged details of its smallest ships.

    Args:
        frame_bgr: uint8 [H, W, 3]; not changed.
        truth_xyxy: [T, 4] annotated boxes, pixels of the frame.
        truth_ignore: bool [T].
        detections: of this frame only, already cut at the score threshold that is to be shown.
        title: begins the caption.
        width: of the picture; the frame is scaled down to it before anything is drawn, so lines stay crisp.
        insets: most details.
        truth_crowd: bool [T], see match_frame.
    """
    truth_xyxy = np.asarray(truth_xyxy, dtype=np.float64).reshape(-1, 4)
    match = match_frame(truth_xyxy, truth_ignore, detections.xyxy, detections.score, truth_crowd=truth_crowd)
    boxes = _drawn_boxes(truth_xyxy, detections, match)

    scale = min(1.0, width / frame_bgr.shape[1])
    size = (round(frame_bgr.shape[1] * scale), max(1, round(frame_bgr.shape[0] * scale)))
    canvas = cv2.resize(frame_bgr, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame_bgr.copy()
    thickness = max(2, round(size[0] / 640))
    for status, xyxy, _ in boxes:
        draw_box(
            canvas, xyxy * scale, _COLOUR[status], thickness, dashed=status in (MISS, IGNORED), least=5 * thickness
        )
    details: list[Picture] = []
    discs: list[tuple[int, int]] = []
    for number, (status, xyxy, words) in enumerate(_pick_details(boxes, insets), 1):
        discs.append(_draw_number(canvas, xyxy * scale, str(number), _COLOUR[status], discs))
        details.append(_detail(frame_bgr, truth_xyxy, boxes, xyxy, f"{number}: {words}"))
    ships = int((~np.asarray(truth_ignore, dtype=bool)).sum())
    counts = (
        f"{ships} ships: {match.count(HIT)} hit, {match.count(MISS)} missed; false alarms: {match.count(FALSE_ALARM)}"
    )
    caption = f"{title}. {counts}." if title else f"{counts}."
    return Picture(canvas, caption, tuple(details), width)


def choose_frames(dataset: Dataset, count: int) -> list[int]:
    """Rows of ``count`` frames to show: sequences take turns, each gives its frame with the most small ships.

    Where there are no sequences, frames are taken at even distances. The rule looks at the annotation only, never at
    the detections, so it cannot flatter a detector.
    """
    small = (box_area(dataset.xyxy) < SMALL_PX**2) & ~dataset.ignore
    rank = np.bincount(dataset.box_image[small], minlength=len(dataset)) + 0.01 * dataset.boxes_per_image()
    groups: dict[int, list[int]] = {}
    for row, code in enumerate(dataset.sequence.codes.tolist()):
        groups.setdefault(code, []).append(row)
    if len(groups) < 2:
        return sorted({int(r) for r in np.linspace(0, len(dataset) - 1, min(count, len(dataset)))})
    queues = [sorted(rows, key=lambda r: (-rank[r], r)) for rows in groups.values()]
    # Sequences are visited at even distances, so that a few frames still span a long data set.
    stride = max(1, len(queues) // count)
    queues = [q for start in range(stride) for q in queues[start::stride]]
    chosen: list[int] = []
    turn = 0
    while len(chosen) < min(count, len(dataset)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
        turn += 1
    return chosen[:count]


def example_pictures(
    dataset: Dataset, detections: Detections, count: int = 6, score_threshold: float = 0.25, width: int = 1280
) -> list[Picture]:
    """Pictures of chosen frames (see choose_frames) with their hits, misses and false alarms.

    Raises:
        DataError: a frame cannot be read.
    """
    pictures = []
    for row in choose_frames(dataset, count):
        boxes = dataset.box_rows(row)
        shown = detections.on_image(row)
        shown = shown.take(shown.score >= score_threshold)
        tags = [tag for tag in (dataset.scene[row], *dataset.conditions_of(row)) if tag]
        title = dataset.path[row] + (f" ({', '.join(tags)})" if tags else "")
        pictures.append(
            frame_picture(
                dataset.read_image(row),
                dataset.xyxy[boxes],
                dataset.ignore[boxes],
                shown,
                title=f"{title}, score {score_threshold:g} and up",
                width=width,
                truth_crowd=dataset.crowd[boxes],
            )
        )
    return pictures


def write_pictures(pictures: Sequence[Picture], folder: str | Path, relative_to: str | Path) -> list[dict]:
    """Writes pictures and their details as JPEG files.

    Returns:
        One ``{"image", "caption", "insets": [{"image", "caption"}, ...]}`` per picture, paths relative to
        ``relative_to``, as ``"examples"`` of demo.json takes them.

    Raises:
        UsageError: ``folder`` does not lie below ``relative_to``.
    """
    folder, base = Path(folder), Path(relative_to)
    if not folder.resolve().is_relative_to(base.resolve()):
        raise UsageError(f"{folder} does not lie below {base}")

    def write(picture: Picture, name: str) -> dict:
        path = folder / name
        data = cv2.imencode(".jpg", picture.image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        write_bytes(path, data.tobytes())
        return {"image": path.resolve().relative_to(base.resolve()).as_posix(), "caption": picture.caption}

    return [
        write(picture, f"example-{index:02d}.jpg")
        | {"insets": [write(p, f"example-{index:02d}-{n}.jpg") for n, p in enumerate(picture.insets, 1)]}
        for index, picture in enumerate(pictures, 1)
    ]


# --- drawing ---------------------------------------------------------------------------------------------------

_Box = tuple[str, np.ndarray, str]  # status, xyxy, words


def _size(xyxy: np.ndarray) -> str:
    return f"{xyxy[2] - xyxy[0]:.0f}×{xyxy[3] - xyxy[1]:.0f} px"


def _drawn_boxes(truth_xyxy: np.ndarray, detections: Detections, match: Match) -> list[_Box]:
    """Misses and ignored ships as annotated, everything found as found."""
    boxes: list[_Box] = []
    for status, xyxy in zip(match.truth, truth_xyxy, strict=True):
        if status != HIT:
            boxes.append((status, xyxy, f"{_size(xyxy)}, {status}"))
    for row, status in enumerate(match.found):
        if status == IGNORED:
            continue
        xyxy = detections.xyxy[row].astype(np.float64)
        size = _size(truth_xyxy[match.truth_of[row]]) if status == HIT else _size(xyxy)
        overlap = f", IoU {match.iou[row]:.2f}" if match.iou[row] > 0 else ""
        boxes.append((status, xyxy, f"{size}, {status}, score {detections.score[row]:.2f}{overlap}"))
    return boxes


def _pick_details(boxes: Sequence[_Box], count: int) -> list[_Box]:
    """The smallest ships, hits and misses by turns; a third at most goes to false alarms (highest scores first)."""

    def side(box: _Box) -> float:
        return float(np.sqrt(box_area(box[1])))

    hits, misses = (
        sorted((b for b in boxes if b[0] == status and side(b) < SMALL_PX), key=side) for status in (HIT, MISS)
    )
    wrong = [b for b in boxes if b[0] == FALSE_ALARM and side(b) < 2 * SMALL_PX]  # highest scores come first
    picked: list[_Box] = []
    for turn in range(count):
        for kind, every in ((hits, 1), (misses, 1), (wrong, 2)):
            if turn % every == 0 and turn // every < len(kind):
                picked.append(kind[turn // every])
    return picked[:count]


def draw_box(
    canvas: np.ndarray, xyxy: np.ndarray, colour: tuple, thickness: int, *, dashed: bool, least: float = 0.0
) -> None:
    """A rectangle just outside the box, so that it hides nothing of it; at least ``least`` pixels wide and high."""
    centre, half = (xyxy[:2] + xyxy[2:]) / 2, np.maximum((xyxy[2:] - xyxy[:2]) / 2 + thickness, least / 2)
    limit = np.array([canvas.shape[1] - 1, canvas.shape[0] - 1])
    x1, y1 = np.clip(np.round(centre - half), 0, limit).astype(int).tolist()
    x2, y2 = np.clip(np.round(centre + half), 0, limit).astype(int).tolist()
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
    for start, stop in itertools.pairwise(corners):
        pieces = [(start, stop)]
        if dashed:
            length = max(abs(stop[0] - start[0]), abs(stop[1] - start[1]))
            count = max(2, round(length / (5 * thickness)))
            at = [
                tuple(round(a + (b - a) * i / (2 * count - 1)) for a, b in zip(start, stop, strict=True))
                for i in range(2 * count)
            ]
            pieces = list(zip(at[::2], at[1::2], strict=True))
        for a, b in pieces:
            cv2.line(canvas, a, b, colour, thickness, cv2.LINE_8)


def _draw_number(
    canvas: np.ndarray, xyxy: np.ndarray, number: str, colour: tuple, taken: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """The number of a detail on a disc above its box (below, where there is no room), tied to it by a line.

    Returns:
        Centre of the disc, for ``taken`` of the next one.
    """
    height, width = canvas.shape[:2]
    radius = max(11, round(width / 85))
    x = int(np.clip((xyxy[0] + xyxy[2]) / 2, radius, max(radius, width - radius)))
    step = 2 * radius + 4
    above = [int(xyxy[1]) - radius - 12 - step * i for i in range(4)]
    below = [int(xyxy[3]) + radius + 12 + step * i for i in range(4)]
    places = [y for y in above + below if radius <= y <= height - radius] or [min(radius, height - 1)]
    y = next((y for y in places if all(np.hypot(x - a, y - b) >= step - 2 for a, b in taken)), places[0])
    cv2.line(canvas, (x, y), (x, int(xyxy[1] if y < xyxy[1] else xyxy[3])), colour, 1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), radius, (0, 0, 0), -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), radius, colour, 2, cv2.LINE_AA)
    font_scale = radius / 17
    (w, h), _ = cv2.getTextSize(number, cv2.FONT_HERSHEY_SIMPLEX, font_scale, 2)
    cv2.putText(canvas, number, (x - w // 2, y + h // 2), cv2.FONT_HERSHEY_SIMPLEX, font_scale, (255, 255, 255), 2,
                cv2.LINE_AA)  # fmt: skip
    return x, y


def _detail(
    frame_bgr: np.ndarray, truth_xyxy: np.ndarray, boxes: Sequence[_Box], xyxy: np.ndarray, words: str
) -> Picture:
    """A square around one box, enlarged by a whole number without smoothing; annotated boxes in thin white."""
    height, width = frame_bgr.shape[:2]
    wanted = float(np.clip(3.0 * (xyxy[2:] - xyxy[:2]).max(), 30, 240))
    factor = max(1, round(_INSET_PX / wanted))
    side = min(_INSET_PX // factor, width, height)
    centre = (xyxy[:2] + xyxy[2:]) / 2
    left = int(np.clip(round(centre[0] - side / 2), 0, width - side))
    top = int(np.clip(round(centre[1] - side / 2), 0, height - side))
    crop = frame_bgr[top : top + side, left : left + side]
    crop = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    offset = np.array([left, top, left, top])
    for box in truth_xyxy:
        if _touches(box - offset, side):
            draw_box(crop, (box - offset) * factor, TRUTH_COLOUR, 1, dashed=False)
    for status, box, _ in boxes:
        if _touches(box - offset, side):
            draw_box(crop, (box - offset) * factor, _COLOUR[status], 2, dashed=status in (MISS, IGNORED))
    return Picture(crop, f"{words}, " + (f"{factor}× enlarged" if factor > 1 else "not enlarged"), (), _INSET_PX)


def _touches(xyxy: np.ndarray, side: int) -> bool:
    return bool((xyxy[2:] > 0).all() and (xyxy[:2] < side).all())
