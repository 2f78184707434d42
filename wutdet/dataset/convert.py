"""``wutdet data convert``: any readable data set to COCO, YOLO or VOC, with a list of what got lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wutdet.config import ConvertConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.dataset.progress import progress_bar
from wutdet.dataset.write_coco import write_coco
from wutdet.dataset.write_voc import write_voc
from wutdet.dataset.write_yolo import write_yolo
from wutdet.dataset.writing import Loss, losses, place_image, relative_names, staged_folder
from wutdet.errors import UsageError
from wutdet.files import write_text

#: The file that marks a folder as written by this command; only such a folder is replaced.
RECORD = "conversion.txt"
_ENTRIES = {
    RECORD,
    *("images", "annotations"),
    *("labels", "data.yaml"),
    *("JPEGImages", "Annotations", "ImageSets"),
}


@dataclass(frozen=True)
class ConvertResult:
    """What was written, and what the target format could not hold."""

    out: Path
    to: str
    images: int
    boxes: int
    losses: list[Loss]

    def to_text(self) -> str:
        """One line on what was written, then one per loss."""
        lines = [f"{self.images:,} images and {self.boxes:,} boxes as {self.to.upper()}: {self.out}"]
        if not self.losses:
            return "\n".join([*lines, "nothing was lost"])
        return "\n".join([*lines, f"{self.to.upper()} could not hold:", *(f"  {loss}" for loss in self.losses)])

    def to_json(self) -> dict:
        """The same as JSON-compatible values."""
        return {
            "schema": "wutdet.data.convert/1",
            "out": str(self.out),
            "to": self.to,
            "images": self.images,
            "boxes": self.boxes,
            "losses": [{"what": loss.what, "count": loss.count, "of": loss.of} for loss in self.losses],
        }


def run(config: ConvertConfig) -> ConvertResult:
    """Runs ``wutdet data convert``.

    Raises:
        DataError: the source cannot be read, or an image is missing.
        UsageError: the target folder holds something else, or the source itself.
        WutdetError: the target cannot be written; what was there before is untouched.
    """
    dataset = load_dataset(config.data, config.split, format=config.format, classes=config.classes)
    return convert(dataset, config.out, config.to, config.images, source=Path(config.data))


def convert(
    dataset: Dataset, out: Path, to: str = "coco", images: str = "copy", source: Path | None = None
) -> ConvertResult:
    """Writes a Dataset in another format; ``out`` appears whole or not at all.

    Args:
        dataset: what to write.
        out: folder to write. It is replaced where an earlier conversion wrote it.
        to: ``coco``, ``yolo`` or ``voc``.
        images: ``copy``, ``link`` (hard links) or ``none``.
        source: the file or folder that the data set was read from, where known; it must not be replaced.

    Raises:
        as run.
    """
    out = Path(out)
    refuse_own_source(out, dataset, source)
    writer = {"coco": _write_coco_folder, "yolo": write_yolo, "voc": write_voc}[to]
    with staged_folder(out, _is_ours) as staging, progress_bar(f"writing {to.upper()}") as progress:
        found = writer(dataset, staging, images=images, progress=progress)
        result = ConvertResult(out, to, len(dataset), dataset.box_count, found)
        write_text(staging / RECORD, f"wutdet data convert\n{result.to_text()}\n")
    return result


def _write_coco_folder(
    dataset: Dataset, folder: Path, *, images: str, progress: Callable[[Iterable, int], Iterable]
) -> list[Loss]:
    """``images/`` and ``annotations/all.json``; splits are the ``split`` key of each image."""
    plain = relative_names(dataset)
    names = [str(dataset.image_file(row).absolute()) for row in range(len(dataset))] if images == "none" else None
    if names is None:
        names = _unique(plain)
        for row, name in progress(enumerate(names), len(names)):
            place_image(dataset.image_file(row), folder / "images" / name, images)
    found = write_coco(dataset, folder / "annotations" / "all.json", file_names=names)
    renamed = 0 if images == "none" else sum(a != b for a, b in zip(plain, names, strict=True))
    return [*found, *losses(("renamed, as another one has the same path", renamed, "images"))]


def _unique(names: list[str]) -> list[str]:
    """Names that differ even where the file system ignores case; the first of each keeps its name."""
    taken, wanted, out = set(), {name.casefold() for name in names}, []
    for name in names:
        new, number = name, 1
        while new.casefold() in taken or (number > 1 and new.casefold() in wanted):
            number += 1
            path = Path(name)
            new = path.with_name(f"{path.stem}_{number}{path.suffix}").as_posix()
        taken.add(new.casefold())
        out.append(new)
    return out


def _is_ours(folder: Path) -> bool:
    entries = {entry.name for entry in folder.iterdir() if not entry.name.endswith(".cache")}
    return RECORD in entries and entries <= _ENTRIES


def refuse_own_source(out: Path, dataset: Dataset, source: Path | None) -> None:
    """Refuses to replace the data that is read.

    Raises:
        UsageError: ``out`` is, or contains, ``source``, the data set's root or one of its images.
    """
    target = out.resolve()
    inside = [path for path in dataset.path if os.path.isabs(path)]
    root = [] if len(inside) == len(dataset) else [dataset.root]  # several roots: only their images are sources
    for path in [*inside, *root, *([] if source is None else [source])]:
        resolved = Path(path).resolve()
        if target == resolved or target in resolved.parents:
            raise UsageError(
                f"'{out}' is, or contains, the data set that is read ('{path}'); it would be replaced",
                hint="choose a folder beside it",
            )
