"""Boxes on frames, and where annotated frames go: a folder of pictures or one video file."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

import cv2
import numpy as np

from wutdet.detections import Detections
from wutdet.errors import UsageError, WutdetError
from wutdet.files import check_output_file, check_output_folder, is_unicode, printable, write_bytes, writing_to
from wutdet.runtime.sources import Frame, Source

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv")


def draw_boxes(image: np.ndarray, detections: Detections) -> np.ndarray:
    """A copy of uint8 [H, W, 3] BGR with boxes and scores; lines scale with the frame."""
    out = image.copy()
    width = max(1, round(min(image.shape[:2]) / 500))
    several = len(detections.category_names) > 1
    for box, score, category in zip(detections.xyxy, detections.score, detections.category, strict=True):
        colour = _colour(int(category))
        left, top, right, bottom = (round(float(v)) for v in box)
        cv2.rectangle(out, (left, top), (right, bottom), colour, width, cv2.LINE_AA)
        text = f"{detections.category_names[category]} {score:.2f}" if several else f"{score:.2f}"
        # Small ships are common: the text goes above the box and never covers it.
        cv2.putText(out, text, (left, max(10, top - 2 * width)), cv2.FONT_HERSHEY_SIMPLEX, 0.4 * width, colour, width)
    return out


def _colour(category: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((0.09 + 0.618 * category) % 1.0, 1.0, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


class AnnotatedPictures:
    """Writes one picture per frame, under the frame's own name (see picture_targets).

    Raises:
        UsageError: a picture would be written over one that is read.
        WutdetError: the folder cannot be written.
    """

    def __init__(self, folder: Path, source: Source):
        self.folder = folder
        self.targets = picture_targets(folder, source) if source.kind == "pictures" else {}
        refuse_inputs(self.targets.values(), source, "--save")
        check_output_folder(folder)

    def write(self, frame: Frame, image: np.ndarray) -> None:
        """Raises WutdetError where the file cannot be written."""
        target = self.targets.get(frame.source) or self.folder / f"frame{frame.index:06d}.jpg"
        ok, data = cv2.imencode(target.suffix, image)
        if not ok:
            raise WutdetError("OpenCV cannot encode the annotated picture", file=target)
        write_bytes(target, data.tobytes())

    def close(self) -> None:
        """Nothing to finish."""


def picture_targets(folder: Path, source: Source) -> dict[str, Path]:
    """Where the annotated picture of every picture goes, by ``Frame.source``: all different, sub-folders as they are.

    ``.jpg`` and ``.png`` keep their names, others become ``.jpg``; in the pictures' own folder they become
    ``NAME.annotated.jpg``. Where two would have one name, the second keeps its own suffix before the new one
    (``a.bmp.jpg``) or gets a number.
    """
    beside = folder.resolve() == source.root.resolve()
    names = {file: file.relative_to(source.root) for file in source.files}
    wished = {file: _new_suffix(name, beside) for file, name in names.items()}
    targets, taken = {}, set()
    # Names that stay as they are go first: no a.bmp takes the place of a.jpg.
    for file in sorted(source.files, key=lambda file: wished[file] != names[file]):
        name = names[file]
        others = (_new_suffix(name.with_name(f"{name.name}{number}.jpg"), beside) for number in _numbers())
        # Names that differ by case alone are one file on many disks.
        chosen = next(one for one in chain([wished[file]], others) if str(one).casefold() not in taken)
        taken.add(str(chosen).casefold())
        targets[str(file)] = folder / chosen
    return targets


def _numbers() -> Iterable[str]:
    return chain([""], (f".{number}" for number in count(2)))


def _new_suffix(name: Path, beside: bool) -> Path:
    if beside:
        return name.with_name(f"{name.stem}.annotated.jpg")
    return name if name.suffix.lower() in (".jpg", ".png") else name.with_suffix(".jpg")


def refuse_inputs(targets: Iterable[Path], source: Source, option: str) -> None:
    """Raises UsageError where a file to be written is one of those that are read, under whatever name."""
    read = {_identity(file) for file in source.read_files} - {None}
    for target in targets:
        if _identity(target) in read:
            raise UsageError(
                f"{option} would write over '{printable(target)}', which is read as well",
                hint="choose a place outside of what is read",
            )


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class AnnotatedVideo:
    """Writes one video; frames of another size than the first are letterboxed into it.

    Raises:
        UsageError: it is the video that is read, or OpenCV cannot take its name.
        WutdetError: its folder cannot be written.
    """

    def __init__(self, file: Path, source: Source, stride: int):
        self.file, self.fps = file, (source.fps or 10.0) / max(1, stride)
        self.part = file.with_name(f".{file.stem}.part{file.suffix}")
        self.writer: cv2.VideoWriter | None = None
        refuse_inputs([file], source, "--save")
        if not is_unicode(file):
            raise UsageError(f"OpenCV writes no video whose name is not UTF-8, received '{printable(file)}'")
        check_output_file(file)
        self.size_wh = (0, 0)

    def write(self, frame: Frame, image: np.ndarray) -> None:
        """Raises WutdetError where the video cannot be written."""
        from wutdet.boxes import Letterbox

        if self.writer is None:
            with writing_to(self.file):
                self.file.parent.mkdir(parents=True, exist_ok=True)
            self.size_wh = (image.shape[1], image.shape[0])
            codec = cv2.VideoWriter_fourcc(*("MJPG" if self.file.suffix.lower() == ".avi" else "mp4v"))
            self.writer = cv2.VideoWriter(str(self.part), codec, self.fps, self.size_wh)
            if not self.writer.isOpened():
                self.writer = None
                raise WutdetError("OpenCV cannot open this video for writing", file=self.file, hint="try .avi")
        size = (image.shape[1], image.shape[0])
        if size != self.size_wh:
            image = Letterbox.fit(size, self.size_wh).apply(image)
        self.writer.write(image)

    def close(self) -> None:
        """Finishes the file and puts it in its place."""
        if self.writer is not None:
            self.writer.release()
            with writing_to(self.file, self.part):
                self.part.replace(self.file)


def annotated_output(target: Path, source: Source, stride: int) -> AnnotatedPictures | AnnotatedVideo:
    """The writer that ``--save`` means: a video where it ends in .mp4, .avi or .mkv, else a folder.

    Raises:
        UsageError: the target is a picture file, a folder's name that is a file, or would write over what is read.
        WutdetError: the target cannot be written.
    """
    if target.suffix.lower() in VIDEO_SUFFIXES:
        return AnnotatedVideo(target, source, stride)
    if target.suffix.lower() in (".jpg", ".jpeg", ".png") or target.is_file():
        raise UsageError(f"--save takes a folder or a video file ({', '.join(VIDEO_SUFFIXES)}), received '{target}'")
    return AnnotatedPictures(target, source)
