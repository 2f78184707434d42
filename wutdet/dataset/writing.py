"""What the three writers share: losses, file names in the target, and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError, UsageError, WutdetError

#: Folder names that say nothing about a frame, only about the layout it came from.
LAYOUT_FOLDERS = frozenset({"images", "labels", "jpegimages", "annotations"})


@dataclass(frozen=True)
class Loss:
    """Something that the target format could not hold.

    Attributes:
        what: the thing, and what became of it.
        count: how many of them.
        of: ``"images"``, ``"boxes"``, ``"classes"`` or ``"data sets"``.
    """

    what: str
    count: int
    of: str

    def __str__(self) -> str:
        unit = self.of if self.count != 1 else _SINGULAR[self.of]
        return f"{self.count:,} {unit}: {self.what}"


_SINGULAR = {"images": "image", "boxes": "box", "classes": "class", "data sets": "data set"}


def losses(*candidates: tuple[str, int, str]) -> list[Loss]:
    """The candidates (what, count, of) that happened at all."""
    return [Loss(what, int(count), of) for what, count, of in candidates if count]


def unheld(dataset: Dataset, *, tags: bool) -> list[Loss]:
    """What neither YOLO nor VOC has a place for; ``tags`` adds image labels, conditions, frame numbers, box labels."""
    width_height = np.asarray(dataset.xyxy)[:, 2:] - np.asarray(dataset.xyxy)[:, :2]
    other_area = ~np.isclose(width_height.prod(axis=1), dataset.area, rtol=1e-3, atol=0.01)
    renumbered = np.asarray(dataset.image_id) != np.arange(1, len(dataset) + 1)
    found = [
        ("area of the mask (the box area is all that is left)", other_area.sum(), "boxes"),
        ("image id", renumbered.sum(), "images"),
        ("info and licences", any(dataset.info.get(key) for key in ("info", "licenses")), "data sets"),
    ]
    if tags:
        found += [
            (f"label '{name}'", (np.asarray(column.codes) >= 0).sum(), "images")
            for name, column in dataset.labels.items()
            if name != "split"
        ]
        found.append(("conditions", (np.asarray(dataset.conditions) != 0).sum(), "images"))
        found.append(("frame index", (np.asarray(dataset.frame_index) >= 0).sum(), "images"))
        found += [
            (f"box label '{name}'", (np.asarray(column.codes) >= 0).sum(), "boxes")
            for name, column in dataset.box_labels.items()
        ]
    return losses(*found)


def check_finite(dataset: Dataset) -> None:
    """Refuses boxes and areas that are NaN or infinite.

    Raises:
        DataError: names the first such box.
    """
    good = np.isfinite(dataset.xyxy).all(axis=1) & np.isfinite(dataset.area)
    if not good.all():
        row = int(np.argmin(good))
        image = int(dataset.box_image[row])
        raise DataError(
            f"box of '{dataset.path[image]}' is not finite: xyxy {np.asarray(dataset.xyxy[row]).tolist()}, "
            f"area {float(dataset.area[row])}",
            file=dataset.annotation_file[image] or None,
            line=int(dataset.box_line[row]),
            hint="'wutdet data audit --fix' writes a cleaned copy",
        )


# --- file names ------------------------------------------------------------------------------------------------


def relative_names(dataset: Dataset) -> list[str]:
    """A relative path per frame, without ``..`` and without the folders of the layout that it came from.

    ``images/train/cam 1/7.jpg`` of split ``train`` becomes ``cam 1/7.jpg``. Absolute paths (data sets put together
    from several roots) are taken relative to the deepest folder that they have in common.
    """
    paths = [PurePosixPath(text) for text in dataset.path]
    absolute = [path.parent for path in paths if path.is_absolute()]
    common = PurePosixPath(os.path.commonpath(absolute)) if absolute else PurePosixPath("/")
    names = []
    for row, path in enumerate(paths):
        parts = (path.relative_to(common) if path.is_absolute() else path).parts
        folders = [part for part in parts[:-1] if part not in ("..", ".") and part.lower() not in LAYOUT_FOLDERS]
        if folders and folders[0] == dataset.split[row]:
            folders = folders[1:]
        # A backslash is allowed in Linux file names, but readers take it for a separator.
        names.append("/".join([*folders, parts[-1]]).replace("\\", "_"))
    return names


def flat_names(names: Sequence[str]) -> list[str]:
    """File names without folders. Where two stems would be equal, folders are joined on (``cam 1__7.jpg``)."""
    stems = [PurePosixPath(name).stem.casefold() for name in names]
    seen: dict[str, int] = {}
    for stem in stems:
        seen[stem] = seen.get(stem, 0) + 1
    return [
        name.replace("/", "__") if seen[stem] > 1 else PurePosixPath(name).name
        for name, stem in zip(names, stems, strict=True)
    ]


def unique_stems(names: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Names whose path without suffix is unique in its group, also where the file system ignores case.

    The first frame of each name keeps it. A later one gets its suffix into its stem (``7.png`` beside ``7.jpg`` becomes
    ``7_png.png``), or a number.
    """
    wanted = {(group, str(PurePosixPath(n).with_suffix("")).casefold()) for n, group in zip(names, groups, strict=True)}
    taken: set[tuple[str, str]] = set()
    out = []
    for name, group in zip(names, groups, strict=True):
        path = PurePosixPath(name)
        stem = path.stem
        key = (group, str(path.with_suffix("")).casefold())
        number = 1
        # A made-up name must not take the name of a frame that is still to come.
        while key in taken or (number > 1 and key in wanted):
            number += 1
            stem = path.stem + (f"_{path.suffix[1:]}" if number == 2 and path.suffix else f"_{number}")
            key = (group, str(path.with_name(stem)).casefold())
        taken.add(key)
        out.append(str(path.with_name(stem + path.suffix)))
    return out


# --- files and folders -----------------------------------------------------------------------------------------


def place_image(source: Path, target: Path, how: str) -> None:
    """Copies or hard-links a picture (``how`` is ``copy``, ``link`` or ``none``); a link across disks is a copy.

    Raises:
        DataError: the picture is missing or cannot be read.
        WutdetError: the target cannot be written.
    """
    if how == "none":
        return
    if not source.is_file():
        raise DataError(
            "no such image",
            file=source,
            hint="'--images none' converts the annotations alone; 'wutdet data audit' lists all missing images",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        try:
            os.link(source.resolve(), target)
            return
        except OSError:  # another disk, or one without hard links: the copy below does it
            pass
    shutil.copyfile(source, target)


@contextmanager
def staged_folder(out: Path, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Yields an empty folder beside ``out`` that takes its place when the block succeeds.

    If the block fails, ``out`` is as it was before. An ``out`` that is there and not empty is replaced only where
    ``may_replace(out)``.

    Raises:
        UsageError: ``out`` is a file, or a folder with other content.
        WutdetError: the disk is full, or may not be written.
    """
    out = Path(os.path.realpath(out))
    occupied = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if occupied and not (out.is_dir() and may_replace(out)):
        raise UsageError(
            f"'{out}' is there already and was not written by this command; nothing was changed",
            hint="choose another folder, or remove it first",
        )
    staging = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        yield staging
        _swap(staging, out)
    except OSError as error:
        # A failed copy names its source, also where it is the target's disk that is full.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) or error.filename is None
        raise WutdetError(
            f"cannot write '{out}' ({error.strerror or error}); what was there before is untouched",
            file=None if full else error.filename,
            hint="free some space or choose another folder",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, out: Path) -> None:
    old = None
    if out.exists():
        old = staging.with_suffix(".old")
        os.rename(out, old)
    try:
        os.rename(staging, out)
    except OSError:
        if old is not None:
            os.rename(old, out)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
