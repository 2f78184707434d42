"""Audit of the annotations alone: boxes, classes, sequences; no picture is read."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from wutdet.boxes import box_area
from wutdet.config import AuditConfig
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.findings import Finding, Severity
from wutdet.images import IMAGE_SUFFIXES

#: From this share of frames with a neighbour in training on, a split was made by frame; blocks give a few percent.
_SPLIT_BY_FRAME_SHARE, _MIN_NUMBERED_FRAMES = 0.5, 10
#: Pixels that a box may reach beyond its frame before anyone is told: formats round.
_OUTSIDE_TOLERANCE_PX = 0.5


def annotation_path(dataset: Dataset, frame: int) -> str:
    """The annotation file of a frame as a path that can be opened; its image where there is none."""
    name = dataset.annotation_file[frame]
    return os.path.normpath(os.path.join(dataset.root, name)) if name else str(dataset.image_file(frame))


def check_boxes(dataset: Dataset, config: AuditConfig) -> Iterator[Finding]:
    """Inverted, empty, outside, tiny, absurdly long and duplicate boxes."""
    xyxy, size = np.asarray(dataset.xyxy), np.asarray(dataset.size_wh, dtype=np.float64)[dataset.box_image]
    wh = xyxy[:, 2:] - xyxy[:, :2]
    inverted = (wh < 0).any(axis=1)
    empty = ~inverted & (wh == 0).any(axis=1)
    sound = ~inverted & ~empty
    known = (size > 0).all(axis=1)  # the size of a frame without an image may be unknown
    beyond = np.maximum(np.maximum(-xyxy[:, :2], xyxy[:, 2:] - size), 0).max(axis=1)
    away = sound & known & ((xyxy[:, 2:] <= 0) | (xyxy[:, :2] >= size)).any(axis=1)
    over = sound & known & ~away & (beyond > _OUTSIDE_TOLERANCE_PX)
    ship = sound & ~away & ~np.asarray(dataset.ignore)
    short, long = wh.min(axis=1), wh.max(axis=1)
    tiny = ship & (short < config.min_side)
    absurd = ship & ~tiny & (long > config.max_aspect * np.maximum(short, 1e-9))

    def found(rows: np.ndarray, severity: Severity, kind: str, text: str, remedy: str = "") -> Iterator[Finding]:
        for row in np.flatnonzero(rows).tolist():
            frame = int(dataset.box_image[row])
            box = ", ".join(f"{value:g}" for value in np.round(xyxy[row], 2))
            facts = {
                "size": f"{wh[row, 0]:g} x {wh[row, 1]:g} px",
                "frame": f"{size[row, 0]:g}x{size[row, 1]:g}",
                "beyond": f"{beyond[row]:.1f} px",
                "aspect": f"1 : {long[row] / max(short[row], 1e-9):.0f}",
            }
            name = dataset.category_names[dataset.category[row]]
            message = f"box [{box}] of '{name}' in '{dataset.path[frame]}' {text.format(**facts)}"
            line = int(dataset.box_line[row])
            yield Finding(severity, kind, annotation_path(dataset, frame), line, message, remedy, frame, row)

    yield from found(inverted, "error", "inverted-box", "has its corners swapped ({size})", "drop-box")
    yield from found(empty, "error", "zero-area-box", "has no area ({size})", "drop-box")
    yield from found(away, "error", "box-outside", "lies outside its frame of {frame}", "drop-box")
    yield from found(over, "warning", "box-beyond-frame", "reaches {beyond} beyond its frame of {frame}", "clip-box")
    yield from found(tiny, "warning", "tiny-box", f"is {{size}}, a side below {config.min_side:g} px")
    yield from found(absurd, "warning", "absurd-aspect", "is {size}, {aspect}")
    second, first = duplicate_boxes(dataset, config.duplicate_iou, ship)
    twin = dict(zip(second.tolist(), first.tolist(), strict=True))
    mask = np.zeros(len(xyxy), dtype=bool)
    mask[second] = True
    for finding in found(mask, "warning", "duplicate-box", "repeats a box", "drop-box"):
        line = int(dataset.box_line[twin[finding.box]])
        text = f" of line {line}" if line else ""
        yield Finding(**{**vars(finding), "message": f"{finding.message}{text} (IoU > {config.duplicate_iou:g})"})


def duplicate_boxes(dataset: Dataset, iou: float, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of boxes that repeat an earlier box of the same frame and class, and the (first) box that each repeats.

    Args:
        rows: bool [N], the boxes to look at.
    """
    chosen = np.flatnonzero(rows)
    image, category, xyxy = dataset.box_image[chosen], dataset.category[chosen], np.asarray(dataset.xyxy)[chosen]
    area = box_area(xyxy)
    first = np.full(len(chosen), len(chosen))
    most = np.bincount(image).max(initial=0) if len(image) else 0
    for step in range(1, int(most)):  # boxes are ordered by frame: compare each with the one `step` places later
        a, b = slice(None, -step), slice(step, None)
        low, high = np.maximum(xyxy[a, :2], xyxy[b, :2]), np.minimum(xyxy[a, 2:], xyxy[b, 2:])
        overlap = np.maximum(high - low, 0).prod(axis=1)
        twin = (image[a] == image[b]) & (category[a] == category[b])
        twin &= overlap > iou * (area[a] + area[b] - overlap)
        later = np.flatnonzero(twin) + step
        first[later] = np.minimum(first[later], later - step)
    second = np.flatnonzero(first < len(chosen))
    return chosen[second], chosen[first[second]]


def check_classes(dataset: Dataset, file: str) -> Iterator[Finding]:
    """Classes that no box has; frames without ships (kept: they teach what is not a ship)."""
    counts = np.bincount(dataset.category, minlength=len(dataset.category_names))
    for name, count in zip(dataset.category_names, counts, strict=True):
        if not count:
            yield Finding("warning", "class-without-boxes", file, 0, f"no box has the class '{name}'")
    empty = int((dataset.boxes_per_image() == 0).sum())
    if empty:
        message = f"{empty} of {len(dataset)} frames have no box; they are kept as examples of empty water"
        yield Finding("info", "frames-without-boxes", file, 0, message)


def check_sequences(dataset: Dataset, part: LabelColumn) -> Iterator[Finding]:
    """Sequences that have frames in more than one split.

    Args:
        part: the split of each frame.
    """
    sequence, codes = np.asarray(dataset.sequence.codes), np.asarray(part.codes)
    both = np.flatnonzero((sequence >= 0) & (codes >= 0))
    pairs, first, counts = np.unique(
        np.stack([sequence[both], codes[both]], axis=1), axis=0, return_index=True, return_counts=True
    )
    names, frequency = np.unique(pairs[:, 0], return_counts=True)
    for code in names[frequency > 1].tolist():
        mine = pairs[:, 0] == code
        spread = zip(pairs[mine, 1].tolist(), counts[mine].tolist(), strict=True)
        where = ", ".join(f"{count} in '{part.names[place]}'" for place, count in spread)
        row = int(both[first[mine].max()])
        message = (
            f"frames of sequence '{dataset.sequence.names[code]}' are in several splits: {where}; if it is only a name "
            "for unrelated pictures, give each its own"
        )
        yield Finding("error", "sequence-in-two-splits", annotation_path(dataset, row), 0, message, frame=row)


def check_frame_numbers(dataset: Dataset, part: LabelColumn) -> Iterator[Finding]:
    """Splits by frame: where sequences are unknown, evaluation frames whose neighbour by frame number is in training.

    A split by blocks of numbers has such neighbours only at the borders of blocks; a split that drew frames has them
    nearly everywhere (93 % of the validation frames in one published split of WUTDet's Part A).
    """
    rows = np.flatnonzero((dataset.sequence.codes < 0) & (np.asarray(dataset.frame_index) >= 0))
    rows = rows[np.argsort(np.asarray(dataset.frame_index)[rows], kind="stable")]
    train = part.is_("train")[rows]
    gaps = np.diff(np.asarray(dataset.frame_index)[rows])
    close = gaps <= 2 * np.median(gaps) if len(gaps) else np.zeros(0, dtype=bool)
    beside = np.zeros(len(rows), dtype=bool)
    beside[1:] |= close & train[:-1]
    beside[:-1] |= close & train[1:]
    for name in part.names:
        mine = part.is_(name)[rows]
        if name == "train" or mine.sum() < _MIN_NUMBERED_FRAMES:
            continue
        share = beside[mine].mean()
        if share >= _SPLIT_BY_FRAME_SHARE:
            first = int(rows[np.flatnonzero(mine & beside)[0]])
            message = (
                f"{int(beside[mine].sum())} of {int(mine.sum())} frames of split '{name}' ({share:.0%}) have the next "
                "or previous frame number in 'train': a split by frame, which leaks where the frames are of a video. "
                "Split again with 'wutdet data split', or name the sequences if the numbers are no frame numbers"
            )
            yield Finding("error", "split-by-frame", annotation_path(dataset, first), 0, message, frame=first)


def check_unlisted_images(datasets: list[Dataset]) -> Iterator[Finding]:
    """Pictures beside those of a COCO file that no frame uses (readers of other formats report them themselves)."""
    used = {os.path.normpath(os.path.join(d.root, path)) for d in datasets for path in d.path}
    annotated = {annotation_path(d, row) for d in datasets for row in _first_rows(d.annotation_file)}
    seen: set[str] = set()
    for dataset in datasets:
        files = [annotation_path(dataset, row) for row in _first_rows(dataset.annotation_file)]
        if not files or not all(file.endswith(".json") for file in files) or len(files) == len(dataset) > 1:
            continue
        folders = {os.path.dirname(os.path.normpath(os.path.join(dataset.root, path))) for path in dataset.path} - seen
        seen |= folders
        unlisted = sorted(
            path
            for folder in folders
            if os.path.isdir(folder)
            for name in os.listdir(folder)
            if name.lower().endswith(IMAGE_SUFFIXES) and (path := os.path.join(folder, name)) not in used
        )
        if not unlisted:
            continue
        siblings = {
            os.path.join(folder, name)
            for folder in {os.path.dirname(file) for file in files}
            for name in os.listdir(folder)
            if name.endswith(".json")
        }
        if siblings - annotated:  # they may well belong to another split's annotation file
            message = (
                f"{len(unlisted)} pictures beside its own are not in it (first: {unlisted[0]}); other annotation files "
                "lie in its folder"
            )
            yield Finding("info", "unlisted-images", files[0], 0, message)
            continue
        for path in unlisted:
            yield Finding("error", "missing-annotation", path, 0, f"the picture is not in {files[0]}", "skip")


def _first_rows(column) -> list[int]:
    """One row for each different text of a TextColumn."""
    rows: dict[str, int] = {}
    for row, text in enumerate(column):
        if text:
            rows.setdefault(text, row)
    return list(rows.values())
