"""Boxes on frames, and where annotated frames go: a folder of pictures or one video file."""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np

from wutdet.detections import Detections
from wutdet.errors import UsageError, WutdetError
from wutdet.files import write_bytes
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
    """Writes one picture per frame, under the frame's own name."""

    def __init__(self, folder: Path, source: Source):
        self.folder, self.source = folder, source

    def write(self, frame: Frame, image: np.ndarray) -> None:
        """Raises WutdetError where the file cannot be written."""
        if self.source.kind == "pictures":
            path = Path(frame.source)
            name = path.relative_to(self.source.root)
            target = self.folder / name.with_name(f"{name.stem}.annotated.jpg" if self._is_input(path) else name.name)
            target = target.with_suffix(".jpg") if target.suffix.lower() not in (".jpg", ".png") else target
        else:
            target = self.folder / f"frame{frame.index:06d}.jpg"
        ok, data = cv2.imencode(target.suffix, image)
        if not ok:
            raise WutdetError("OpenCV cannot encode the annotated picture", file=target)
        write_bytes(target, data.tobytes())

    def _is_input(self, path: Path) -> bool:
        return self.folder.resolve() == self.source.root.resolve()

    def close(self) -> None:
        """Nothing to finish."""


class AnnotatedVideo:
    """Writes one video; frames of another size than the first are letterboxed into it."""

    def __init__(self, file: Path, source: Source, stride: int):
        self.file, self.fps = file, (source.fps or 10.0) / max(1, stride)
        self.part = file.with_name(f".{file.stem}.part{file.suffix}")
        self.writer: cv2.VideoWriter | None = None
        self.size_wh = (0, 0)

    def write(self, frame: Frame, image: np.ndarray) -> None:
        """Raises WutdetError where the video cannot be written."""
        from wutdet.boxes import Letterbox

        if self.writer is None:
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
            self.part.replace(self.file)


def annotated_output(target: Path, source: Source, stride: int) -> AnnotatedPictures | AnnotatedVideo:
    """The writer that ``--save`` means: a video where it ends in .mp4, .avi or .mkv, else a folder.

    Raises:
        UsageError: the target is a picture file, or a folder's name that is a file.
    """
    if target.suffix.lower() in VIDEO_SUFFIXES:
        return AnnotatedVideo(target, source, stride)
    if target.suffix.lower() in (".jpg", ".jpeg", ".png") or target.is_file():
        raise UsageError(f"--save takes a folder or a video file ({', '.join(VIDEO_SUFFIXES)}), received '{target}'")
    return AnnotatedPictures(target, source)
