"""Where frames come from: pictures, folders, video files, cameras, network streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from wutdet.errors import DataError, UsageError
from wutdet.files import is_unicode, printable
from wutdet.images import IMAGE_SUFFIXES, list_images, read_image
from wutdet.runtime.live import live_frames

#: A video may end so many frames, or this share of its frames, before the number that its container states: some count
#: a frame or two too many, others state only a duration, which sound may draw out.
TOLERATED_FRAMES, TOLERATED_SHARE = 2, 0.05


@dataclass(frozen=True)
class Frame:
    """One frame, or the reason why there is none.

    Attributes:
        source: the file, camera or address.
        index: 0-based number of the frame in its source; 0 for pictures.
        image: uint8 [H, W, 3] BGR; ``None`` where it could not be read.
        error: why not.
        position: how many frames were begun before this one in this run.
        time_s: when it came off the stream, in seconds since 1970; ``None`` for what is not live.
    """

    source: str
    index: int
    image: np.ndarray | None
    error: DataError | None = None
    position: int = 0
    time_s: float | None = None


@dataclass(frozen=True)
class Source:
    """Frames to go through.

    Attributes:
        kind: ``pictures``, ``video`` or ``live``.
        count: number of frames, ``None`` where unknown.
        fps: frames per second of a video, 0 where unknown.
        root: folder that pictures are named relative to; ``None`` for videos.
        files: the pictures.
        address: of the video or camera.
        capture: a camera or stream, open from here on: some can be opened once only.
    """

    kind: str
    count: int | None
    fps: float
    root: Path | None
    files: tuple[Path, ...] = ()
    address: str | int = ""
    capture: cv2.VideoCapture | None = field(default=None, compare=False, repr=False)

    def frames(self, stride: int = 1, latest: bool = True, reconnect_s: float | None = None) -> Iterator[Frame]:
        """All frames; of a video every ``stride``-th; of a live source as ``live_frames`` takes them.

        A picture that cannot be read comes as a Frame with ``error``; the rest follow. A video that ends well before
        the number of frames that its container states (``TOLERATED_FRAMES``) has such a Frame as its last.

        Raises:
            DataError: no frame of a video can be decoded, or a stream ends before its first.
        """
        if self.kind == "pictures":
            return self._pictures()
        return self._video(stride) if self.kind == "video" else self._live(stride, latest, reconnect_s)

    def _pictures(self) -> Iterator[Frame]:
        for position, file in enumerate(self.files):
            try:
                yield Frame(str(file), 0, read_image(file), position=position)
            except DataError as error:
                yield Frame(str(file), 0, None, error, position)

    def _live(self, stride: int, latest: bool, reconnect_s: float | None) -> Iterator[Frame]:
        def reopen() -> cv2.VideoCapture:
            return _open(self.address)

        frames = live_frames(self.capture or reopen(), reopen, stride=stride, latest=latest, reconnect_s=reconnect_s)
        for position, frame in enumerate(frames):
            yield Frame(str(self.address), frame.index, frame.image, position=position, time_s=frame.time_s)

    def _video(self, stride: int) -> Iterator[Frame]:
        capture = _open(self.address)
        try:
            index = position = 0
            reached_ms = 0.0
            while capture.grab():
                reached_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
                if index % stride == 0:
                    ok, image = capture.retrieve()
                    if not ok:
                        break
                    yield Frame(str(self.address), index, image, position=position)
                    position += 1
                index += 1
            if index == 0:
                raise DataError("no frame of this video can be decoded", file=str(self.address))
            if self._ends_early(index, reached_ms):
                error = DataError(
                    f"the video ends early: {index} frames can be decoded, and the file states {self.count}",
                    file=str(self.address),
                    hint="it is damaged or incomplete; copy the file again",
                )
                yield Frame(str(self.address), index, None, error, position)
        finally:
            capture.release()

    def _ends_early(self, frames: int, reached_ms: float) -> bool:
        """Whether a video is cut short that had so many frames, the last of which began at this time.

        Where the number of frames is a guess from duration and frame rate, and frames come at uneven intervals, there
        are fewer frames than stated, but the time reaches the end: such a video is whole.
        """
        if self.count is None:
            return False
        reached = max(frames, reached_ms / 1000 * self.fps + 1)
        return self.count - reached > max(TOLERATED_FRAMES, TOLERATED_SHARE * self.count)

    @property
    def read_files(self) -> tuple[Path, ...]:
        """The files that frames come from; none for cameras and streams."""
        return (Path(str(self.address)),) if self.kind == "video" else self.files


def open_source(source: str) -> Source:
    """What SOURCE on the command line means.

    Raises:
        DataError: nothing there, a folder without pictures, or a video or camera that cannot be opened.
        UsageError: an empty text, as of a shell variable that is not set.
    """
    if not source.strip():
        raise UsageError("no source to look at: an empty text was given", hint="for this folder, write '.'")
    path = Path(source)
    if path.is_dir():
        files = tuple(list_images(path))
        if not files:
            raise DataError(
                f"no pictures in this folder ({', '.join(s[1:] for s in IMAGE_SUFFIXES)} are looked for)", file=path
            )
        return Source("pictures", len(files), 0.0, path, files)
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return Source("pictures", 1, 0.0, path.parent, (path,))
    address: str | int = int(source) if source.isdigit() else source
    if address == source and "://" not in source and not path.is_file():
        raise DataError(
            f"no such picture, folder or video: '{source}'",
            hint="SOURCE is a picture, a folder, a video file, a camera number (0) or an rtsp:// address",
        )
    capture = _open(address)
    frames, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    fps = float(fps) if 0 < fps < 1000 else 0.0
    if address != source or ("://" in source and not frames > 0):  # a file on a server states its frames
        return Source("live", None, fps, None, (), address, capture)
    capture.release()
    return Source("video", int(frames) if frames > 0 else None, fps, None, (), address)


def _open(address: str | int) -> cv2.VideoCapture:
    if isinstance(address, str) and not is_unicode(address):
        # OpenCV crashes on it.
        raise DataError(
            "OpenCV opens no video whose name is not UTF-8", file=printable(address), hint="give the file another name"
        )
    capture = cv2.VideoCapture(address)
    if not capture.isOpened():
        kind = f"camera {address}" if isinstance(address, int) else f"'{address}'"
        raise DataError(
            f"cannot open {kind} as a picture or video",
            hint="check that it plays elsewhere; OpenCV's build decides which codecs and protocols are known",
        )
    return capture
