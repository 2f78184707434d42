"""Cameras and streams: the newest frame instead of a growing delay, and streams that break off."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from wutdet.errors import DataError

_log = logging.getLogger(__name__)

#: How long the thread that reads a stream is waited for at the end. A read that hangs cannot be ended from outside.
_JOIN_S = 2.0


@dataclass(frozen=True)
class LiveFrame:
    """A frame of a camera or stream.

    Attributes:
        index: 0-based number among all frames that came, those that were not looked at included.
        time_s: when it came off the stream, in seconds since 1970.
        image: uint8 [H, W, 3] BGR.
    """

    index: int
    time_s: float
    image: np.ndarray


def live_frames(
    capture: cv2.VideoCapture,
    reopen: Callable[[], cv2.VideoCapture],
    *,
    stride: int = 1,
    latest: bool = True,
    reconnect_s: float | None = None,
) -> Iterator[LiveFrame]:
    """Frames of a stream until it ends, or without end where it is opened again.

    Args:
        capture: the open stream; it is released here.
        reopen: opens it again, or raises DataError.
        stride: frames from one that is given to the next, at least.
        latest: give the newest frame each time; those that came while the last one was looked at are left out. Else
            frames come in order, and whoever is slower than the camera sees them ever later.
        reconnect_s: seconds to wait before a stream that broke off is opened again; ``None``: never.

    Raises:
        DataError: the stream ended before its first frame, and is not opened again.
    """
    first = 0
    while True:
        reader = _newest if latest else _in_order
        count = first
        for frame in reader(capture, first, stride):
            count = frame.index + 1
            yield frame
        if reconnect_s is None:
            if count == 0:
                raise DataError("the stream was opened and ended before its first frame")
            _log.warning("the stream ended after %d frames", count)
            return
        first = count
        capture = _opened_again(reopen, count, reconnect_s)


def _opened_again(reopen: Callable[[], cv2.VideoCapture], count: int, wait_s: float) -> cv2.VideoCapture:
    reason = f"the stream ended after {count} frames"
    while True:
        _log.warning("%s; opening it again in %g s", reason, wait_s)
        time.sleep(wait_s)
        try:
            return reopen()
        except DataError as error:
            reason = str(error)


def _in_order(capture: cv2.VideoCapture, first: int, stride: int) -> Iterator[LiveFrame]:
    index = first
    try:
        while capture.grab():
            time_s = time.time()
            if (index - first) % stride == 0:
                ok, image = capture.retrieve()
                if not ok:
                    break
                yield LiveFrame(index, time_s, image)
            index += 1
    finally:
        capture.release()


def _newest(capture: cv2.VideoCapture, first: int, stride: int) -> Iterator[LiveFrame]:
    reader = _Reader(capture, first)
    try:
        wanted = first
        while (frame := reader.newest(wanted)) is not None:
            yield frame
            wanted = frame.index + stride
    finally:
        reader.stop()


class _Reader:
    """A thread that takes frames off a stream as fast as they come and keeps the newest."""

    def __init__(self, capture: cv2.VideoCapture, first: int):
        self._capture, self._next = capture, first
        self._frame: LiveFrame | None = None
        self._ended = self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="stream reader", daemon=True)
        self._thread.start()

    def newest(self, least: int) -> LiveFrame | None:
        """The newest frame as soon as its number is at least this; None once the stream has ended without it."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (self._frame is not None and self._frame.index >= least))
            return self._frame if self._frame is not None and self._frame.index >= least else None

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(_JOIN_S)

    def _read(self) -> None:
        try:
            while not self._stopped and self._capture.grab():
                time_s = time.time()
                ok, image = self._capture.retrieve()
                if not ok:
                    break
                with self._changed:
                    self._frame = LiveFrame(self._next, time_s, image)
                    self._next += 1
                    self._changed.notify()
        finally:
            self._capture.release()
            with self._changed:
                self._ended = True
                self._changed.notify()
