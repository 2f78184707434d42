"""Finding the extracted frames of a video, for formats that annotate videos (SMD, CVAT tracks)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from wutdet.errors import DataError

#: Tried in this order where a data description has no ``frames``: ``{frame}`` counts from 0, ``{number}`` from 1.
DEFAULT_PATTERNS = (
    "{video}/{frame:05d}.jpg",
    "{video}/frame_{frame:06d}.jpg",
    "{video}/frame_{frame:06d}.PNG",
    "{video}_frame{frame}.jpg",
    "{video}_{frame:05d}.jpg",
)


def frame_path(pattern: str, video: str, frame: int) -> str:
    """Path of one frame, relative to the image folder.

    Raises:
        DataError: the pattern has a placeholder other than ``{video}``, ``{frame}`` and ``{number}``.
    """
    try:
        return pattern.format(video=video, frame=frame, number=frame + 1)
    except (KeyError, IndexError, ValueError) as error:
        raise DataError(
            f"'frames' pattern '{pattern}' cannot be used ({type(error).__name__}: {error})",
            hint="placeholders: {video}, {frame} (from 0), {number} (from 1), with a format such as {frame:05d}",
        ) from error


def find_pattern(
    folders: Sequence[Path], patterns: Sequence[str], video: str, frames: Sequence[int]
) -> tuple[Path, str] | None:
    """The first folder and pattern under which any of ``frames`` is a file; ``None`` where there is none."""
    for folder in folders:
        for pattern in patterns:
            if present_frames(folder, pattern, video, frames):
                return folder, pattern
    return None


def present_frames(folder: Path, pattern: str, video: str, frames: Sequence[int]) -> list[int]:
    """Those of ``frames`` that are files, with one listing per folder."""
    listings: dict[str, frozenset[str]] = {}
    present = []
    for frame in frames:
        place, name = os.path.split(os.path.join(folder, frame_path(pattern, video, frame)))
        if place not in listings:
            try:
                listings[place] = frozenset(os.listdir(place or "."))
            except OSError:
                listings[place] = frozenset()
        if name in listings[place]:
            present.append(frame)
    return present
