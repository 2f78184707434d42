"""Singapore Maritime Dataset reader: one MATLAB file per video (needs scipy).

``structXML`` holds one entry per frame with ``BB`` (N x 4: left, top, width, height), ``Object`` (class 1 to 10),
``Motion`` and ``Distance`` (1 to 3). Frames without objects hold ``[[]]``. Class 0 occurs (MVI_1613_VIS, frame 0) and
means nothing: such boxes are left out. Pixels are taken as they stand.

SMD comes as videos; frames are looked for as extracted pictures, named by ``frames`` of the data description or one of
``frames.DEFAULT_PATTERNS``. Only frames that were extracted are loaded; where there are none at all, the annotations
alone are. Source: Prasad et al., "Video Processing from Electro-optical Sensors for Object Detection and Tracking in
Maritime Environment: A Survey", IEEE T-ITS 18(8), 2017.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.frames import DEFAULT_PATTERNS, find_pattern, frame_path, present_frames
from wutdet.dataset.image_header import read_size_wh
from wutdet.dataset.problems import ProblemSink
from wutdet.errors import DataError, require

logger = logging.getLogger(__name__)

CLASSES = (
    "ferry",
    "buoy",
    "vessel/ship",
    "speed boat",
    "boat",
    "kayak",
    "sail boat",
    "swimming person",
    "flying bird/plane",
    "other",
)
MOTIONS = ("moving", "stationary", "other")
DISTANCES = ("near", "far", "other")
#: Size of every published video.
FRAME_SIZE_WH = (1920, 1080)


def find_mat_files(folder: Path) -> list[Path]:
    """The object annotations of a folder: ``*_ObjectGT.mat`` in it, in ``ObjectGT/`` or in ``*/ObjectGT/``."""
    for pattern in ("*_ObjectGT.mat", "ObjectGT/*.mat", "*/ObjectGT/*.mat"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    return sorted(file for file in folder.glob("*.mat") if "HorizonGT" not in file.name)


def read_smd(
    source: Path,
    *,
    images: Path | None = None,
    frames: str | None = None,
    size_wh: tuple[int, int] | None = None,
    sink: ProblemSink | None = None,
    name: str = "",
) -> Dataset:
    """Reads one ``.mat`` file or all of a folder.

    Args:
        source: file or folder.
        images: folder that frames are relative to; by default the source folder, its ``frames/`` or ``images/``.
        frames: pattern of frame paths, with ``{video}``, ``{frame}`` (from 0) or ``{number}`` (from 1).
        size_wh: frame size where no picture tells; by default 1920 x 1080.
        sink: collects problems.
        name: of the data set.

    Raises:
        MissingExtraError: scipy is not installed.
        DataError: not an SMD file, arrays of different length, a class above 10, wrong boxes.
    """
    sink = ProblemSink() if sink is None else sink
    scipy_io = require("scipy.io", "smd")
    root = source if source.is_dir() else source.parent
    files = find_mat_files(source) if source.is_dir() else [source]
    if not files:
        raise DataError("no SMD annotations (*_ObjectGT.mat) here", file=source)
    builder = DatasetBuilder(root, name=name or source.resolve().stem, sink=sink)
    for class_name in CLASSES:
        builder.class_map.index(class_name)
    annotated = {}
    for file in files:
        try:
            annotated[file] = _frames_of(scipy_io, file)
        except DataError as error:
            sink.report("unreadable-annotation", error.message, file=file)
    folders = [images] if images else [root, root / "frames", root / "images"]
    patterns = [frames] if frames else DEFAULT_PATTERNS
    places = {file: find_pattern(folders, patterns, _video_of(file), range(len(f))) for file, f in annotated.items()}
    any_picture = any(places.values())
    bad_class = left_out = 0
    for file, entries in annotated.items():
        video, place = _video_of(file), places[file]
        if place is None and any_picture:
            left_out += len(entries)
            continue
        folder, pattern = place or (folders[0], patterns[0])
        numbers = present_frames(folder, pattern, video, range(len(entries))) if place else range(len(entries))
        left_out += len(entries) - len(numbers)
        size = size_wh or FRAME_SIZE_WH
        if place:
            size = read_size_wh(folder / frame_path(pattern, video, numbers[0]))
        for number in numbers:
            path = os.path.relpath(folder / frame_path(pattern, video, number), root).replace(os.sep, "/")
            row = builder.add_image(
                path,
                size,
                frame_index=number,
                annotation_file=file.relative_to(root).as_posix(),
                labels={"sequence": f"smd/{video}", "source": "smd", "part": _part_of(file, root)},
            )
            bad_class += _add_objects(builder, row, entries[number], file, number, sink)
    if bad_class:
        logger.warning("%s: %d boxes of class 0, a known fault of SMD, were left out", source, bad_class)
    if left_out:
        logger.info("%s: %d annotated frames have no extracted picture and were left out", source, left_out)
    return builder.build()


def _video_of(file: Path) -> str:
    return file.stem.removesuffix("_ObjectGT")


def _part_of(file: Path, root: Path) -> str | None:
    """``VIS_Onshore``, ``VIS_Onboard`` or ``NIR``, where the folders say so."""
    folder = file.parent.parent if file.parent.name == "ObjectGT" else file.parent
    return folder.name if folder != root and folder.name else None


def _frames_of(scipy_io, file: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Per frame: float64 [N, 4] left, top, width, height; and [N] class, motion, distance."""
    try:
        content = scipy_io.loadmat(file)
    except (scipy_io.matlab.MatReadError, OSError, ValueError, NotImplementedError, TypeError, LookupError, EOFError,
            zlib.error, struct.error) as error:  # fmt: skip
        reason = (str(error) or repr(error)).splitlines()[0]
        raise DataError(f"not a readable MATLAB file ({reason})", file=file) from error
    table = content.get("structXML")
    needed = ("BB", "Object", "Motion", "Distance")
    if table is None or table.dtype.names is None or not set(needed) <= set(table.dtype.names):
        raise DataError("not an SMD annotation file: no 'structXML' with BB, Object, Motion and Distance", file=file)
    out = []
    for entry in table.reshape(-1):
        boxes = np.asarray(entry["BB"], dtype=np.float64)
        boxes = boxes.reshape(-1, 4) if boxes.size % 4 == 0 else boxes.reshape(-1, 1)
        out.append((boxes, *(np.asarray(entry[key]).reshape(-1) for key in needed[1:])))
    return out


def _add_objects(builder: DatasetBuilder, row: int, entry: tuple, file: Path, frame: int, sink: ProblemSink) -> int:
    boxes, classes, motions, distances = entry
    if boxes.shape[1] != 4 or len(classes) != len(boxes):
        sink.report("bad-value", f"frame {frame}: {boxes.size} box numbers for {len(classes)} objects", file=file)
        return 0
    zeros = 0
    for index, (left, top, width, height) in enumerate(boxes.tolist()):
        number = classes[index]
        if number == 0:
            zeros += 1
            if sink.lenient:
                sink.report("unknown-class", f"frame {frame}: class 0, a known fault of SMD", file=file)
            continue
        if number not in range(1, len(CLASSES) + 1):
            sink.report("unknown-class", f"frame {frame}: class {number}; SMD has 1 to {len(CLASSES)}", file=file)
            continue
        labels = {"motion": _name(MOTIONS, motions, index), "distance": _name(DISTANCES, distances, index)}
        box = (left, top, left + width, top + height)
        builder.add_box(row, box, CLASSES[int(number) - 1], file=file, labels=labels)
    return zeros


def _name(names: tuple[str, ...], numbers: np.ndarray, index: int) -> str | None:
    number = numbers[index] if index < len(numbers) else 0
    return names[int(number) - 1] if number in range(1, len(names) + 1) else None
