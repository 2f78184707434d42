"""YOLO writer: ``images/<split>``, ``labels/<split>`` and ``data.yaml``, as ultralytics reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import yaml

from wutdet.dataset.dataset import Dataset
from wutdet.dataset.writing import (
    Loss,
    check_finite,
    losses,
    place_image,
    relative_names,
    unheld,
    unique_stems,
)
from wutdet.errors import DataError
from wutdet.files import write_text

#: Folder of the frames without a split: where no frame has one, and where only some have.
NO_SPLITS, UNASSIGNED = "all", "unassigned"
#: Splits that readers of data.yaml look for.
SPLITS = ("train", "val", "test")


def write_yolo(
    dataset: Dataset,
    folder: str | Path,
    *,
    images: str = "copy",
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> list[Loss]:
    """Writes a YOLO data set into a folder; one line ``class cx cy w h`` per box, normalised to 0..1.

    Frames without ships get an empty label file. Ignored boxes are left out, as ultralytics does with COCO crowds and
    difficult VOC objects. Boxes are clipped to the frame. Sub-folders of the image paths are kept below
    ``images/<split>``. Where no frame has a split, ``data.yaml`` has no ``val``: the writer does not invent one.

    Args:
        dataset: what to write.
        folder: empty or new; see writing.staged_folder.
        images: ``copy``, ``link`` (hard links) or ``none``.
        progress: wraps the iteration over the frames.

    Returns:
        What the format could not hold.

    Raises:
        DataError: a box is not finite, a frame has no size, an image is missing.
        WutdetError: a file cannot be written.
    """
    folder = Path(folder)
    check_finite(dataset)
    splits = split_folders(dataset)
    plain = relative_names(dataset)
    names = unique_stems(plain, splits)
    lines, box_losses = _label_lines(dataset)
    for row, (split, name) in progress(enumerate(zip(splits, names, strict=True)), len(names)):
        place_image(dataset.image_file(row), folder / "images" / split / name, images)
        label_file = (folder / "labels" / split / name).with_suffix(".txt")
        label_file.parent.mkdir(parents=True, exist_ok=True)
        label_file.write_text("".join(lines[row]), "utf-8")
    write_text(folder / "data.yaml", data_yaml(dataset, splits))
    unassigned = splits.count(UNASSIGNED)
    unusual = sum(split not in (*SPLITS, NO_SPLITS, UNASSIGNED) for split in splits)
    renamed = sum(a != b for a, b in zip(plain, names, strict=True))
    left = len(names) if images == "none" else 0
    return [
        *losses(
            (f"no split: in images/{UNASSIGNED}, which data.yaml does not list", unassigned, "images"),
            (f"split is not one of {', '.join(SPLITS)}: data.yaml lists it, but readers skip it", unusual, "images"),
            ("no split: data.yaml has no 'val'; make one with 'wutdet data split'", splits.count(NO_SPLITS), "images"),
            ("renamed, as another one has the same path without suffix", renamed, "images"),
            ("not copied; YOLO expects them in images/<split>, under the names in labels/<split>", left, "images"),
        ),
        *box_losses,
        *unheld(dataset, tags=True),
    ]


def split_folders(dataset: Dataset) -> list[str]:
    """Name of the split folder of each frame."""
    missing = UNASSIGNED if (np.asarray(dataset.split.codes) >= 0).any() else NO_SPLITS
    return [(dataset.split[row] or missing).replace("/", "_").strip(".") or missing for row in range(len(dataset))]


def data_yaml(dataset: Dataset, splits: list[str]) -> str:
    """Text of ``data.yaml``; without ``path``, so that the folder can be moved."""
    found = dict.fromkeys(splits)
    content: dict = {}
    if NO_SPLITS in found:
        content["train"] = f"images/{NO_SPLITS}"
    for split in sorted(found, key=lambda s: (("train", "val", "test", s).index(s), s)):
        if split not in (NO_SPLITS, UNASSIGNED):
            content[split] = f"images/{split}"
    content["names"] = dict(enumerate(dataset.category_names))
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


def _label_lines(dataset: Dataset) -> tuple[list[list[str]], list[Loss]]:
    """Lines of each frame's label file, and what happened to the boxes."""
    size = np.asarray(dataset.size_wh, dtype=np.float64)
    if (size <= 0).any():
        row = int(np.argmax((size <= 0).any(axis=1)))
        raise DataError(
            f"'{dataset.path[row]}' has the size {size[row].astype(int).tolist()}: boxes cannot be normalised",
            file=dataset.annotation_file[row] or None,
            hint="'wutdet data audit --fix' writes a cleaned copy with true sizes",
        )
    xyxy, frame = np.asarray(dataset.xyxy), np.tile(size[dataset.box_image], 2)
    clipped = np.clip(xyxy, 0, frame)
    ignored = np.asarray(dataset.ignore)
    empty = ~ignored & (clipped[:, 2:] <= clipped[:, :2]).any(axis=1)
    cut = ~ignored & ~empty & (clipped != xyxy).any(axis=1)
    keep = np.flatnonzero(~ignored & ~empty)
    unit = clipped / frame
    centre, extent = (unit[:, :2] + unit[:, 2:]) / 2, unit[:, 2:] - unit[:, :2]
    values = np.concatenate([centre, extent], axis=1)[keep].tolist()
    category, image = dataset.category[keep].tolist(), dataset.box_image[keep].tolist()
    lines: list[list[str]] = [[] for _ in range(len(dataset))]
    for row, (cx, cy, w, h) in enumerate(values):
        # 12 digits: 1e-9 pixels in the largest frames, and no 0.30000000000000004.
        lines[image[row]].append(f"{category[row]} {cx:.12g} {cy:.12g} {w:.12g} {h:.12g}\n")
    return lines, losses(
        ("left out: ignored, and YOLO has no ignore flag", ignored.sum(), "boxes"),
        ("left out: no area inside the frame", empty.sum(), "boxes"),
        ("clipped to the frame", cut.sum(), "boxes"),
    )
