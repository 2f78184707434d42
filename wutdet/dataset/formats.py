"""Which annotation format a file or folder is in, and the reader for each."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from wutdet.dataset.dataset import Dataset
from wutdet.dataset.image_header import is_picture_name
from wutdet.dataset.problems import ProblemSink
from wutdet.errors import DataError, UsageError, suggest

FORMATS = ("voc", "coco", "yolo", "smd", "cvat", "labelme")
_PEEK_BYTES = 1 << 16


@dataclass(frozen=True)
class ReadOptions:
    """What a data description can say about how to read (see describe.py).

    Attributes:
        images: folder that COCO's ``file_name``, CVAT's ``name`` or SMD's frames are relative to.
        voc_one_based: VOC corners count pixels from 1.
        frames: SMD and CVAT: path of frame ``{frame}`` of ``{video}``, relative to ``images``.
        size_wh: SMD: frame size where there is no picture to tell.
    """

    images: Path | None = None
    voc_one_based: bool = False
    frames: str | None = None
    size_wh: tuple[int, int] | None = None


def read(source: Path, format: str, options: ReadOptions, sink: ProblemSink, name: str = "") -> Dataset:
    """Reads ``source`` in a format by name; classes stay as they are in the file.

    Raises:
        DataError: not in that format, or wrong content (see the reader).
    """
    # Readers make millions of small objects and no cycles; looking for cycles costs a quarter of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _READERS[format](source, options, sink, name)
    finally:
        if collecting:
            gc.enable()


def check_format(format: str) -> str:
    """``format``, if it is a known name or ``auto``.

    Raises:
        UsageError: it is not.
    """
    if format != "auto" and format not in FORMATS:
        raise UsageError(
            f"unknown format '{format}'.{suggest(format, FORMATS)}", hint=f"formats: auto, {', '.join(FORMATS)}"
        )
    return format


def detect(source: Path) -> str:
    """The format of a file or folder.

    Raises:
        DataError: none or several formats fit; the message says what was found.
    """
    found = _detect_folder(source) if source.is_dir() else _detect_file(source)
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"more than one format fits: {', '.join(found)}", file=source, hint="name one with --format, or the file"
        )
    raise DataError(_nothing_found(source), file=source, hint=f"formats read: {', '.join(FORMATS)}")


def _nothing_found(source: Path) -> str:
    if not source.is_dir():
        return "not a known annotation file"
    pictures = sum(1 for _ in islice((p for p in source.rglob("*") if is_picture_name(p.name)), 1000))
    if pictures:
        return f"there are pictures here ({pictures}{'+' if pictures == 1000 else ''}), but no annotations"
    return "no annotations here" if any(source.iterdir()) else "the folder is empty"


def _detect_file(file: Path) -> list[str]:
    suffix = file.suffix.lower()
    if suffix == ".mat":
        return ["smd"]
    if suffix in (".yaml", ".yml"):
        return ["yolo"]
    if suffix == ".xml":
        return [kind] if (kind := _xml_kind(file)) else []
    if suffix == ".json":
        return [kind] if (kind := _json_kind(file)) else []
    return []


def _detect_folder(folder: Path) -> list[str]:
    from wutdet.dataset.coco import find_coco_files
    from wutdet.dataset.smd import find_mat_files
    from wutdet.dataset.voc import VocLayout
    from wutdet.dataset.yolo import find_data_yaml

    found = []
    layout = VocLayout.find(folder)
    if layout is not None:
        found.append(_xml_kind(layout.first_annotation()) or "voc")
    found += sorted({_json_kind(file) for file in islice(find_coco_files(folder), 8)} - {None})
    if find_data_yaml(folder):
        found.append("yolo")
    if find_mat_files(folder):
        found.append("smd")
    if not found:  # LabelMe files may lie in sub-folders; looking there takes long in a large data set of another kind
        found += sorted({_json_kind(file) for file in islice(folder.glob("*/*.json"), 1)} & {"labelme"})
    return found


def _peek(file: Path) -> str:
    try:
        with open(file, "rb") as opened:
            return opened.read(_PEEK_BYTES).decode("utf-8", "replace").lstrip("\ufeff")
    except OSError as error:
        raise DataError(f"cannot read the file ({error.strerror})", file=file) from error


def _xml_kind(file: Path) -> str | None:
    head = _peek(file)
    if "<annotations" in head:
        return "cvat"
    return "voc" if "<annotation" in head else None


def _json_kind(file: Path) -> str | None:
    """``coco`` or ``labelme`` by the top-level keys; ``coco`` for JSON that is broken or has none of either, so that
    its reader says what is wrong; ``None`` for a JSON list (a result file)."""
    head = _peek(file)
    if head.lstrip().startswith("["):
        return None
    if '"shapes"' in head and '"images"' not in head:
        return "labelme"
    if '"images"' in head or '"annotations"' in head or '"categories"' in head:
        return "coco"
    # Neither key in the first bytes: a LabelMe file may begin with its picture in base64.
    try:
        content = json.loads(file.read_bytes())
    except ValueError:
        return "coco"
    keys = set(content) if isinstance(content, dict) else set()
    if keys & {"shapes"}:
        return "labelme"
    return "coco" if keys & {"images", "annotations", "categories"} else None


# --- the readers behind one signature --------------------------------------------------------------------------


def _read_voc(source: Path, options: ReadOptions, sink: ProblemSink, name: str) -> Dataset:
    from wutdet.dataset.progress import progress_bar
    from wutdet.dataset.voc import VocLayout, read_voc

    if not source.is_dir():
        raise DataError(
            "a single VOC annotation is not a data set", file=source, hint="name the folder that holds Annotations/"
        )
    layout = VocLayout.find(source)
    if layout is None:
        raise DataError("not a VOC data set: no Annotations/*.xml here", file=source)
    with progress_bar(f"reading {layout.annotations}") as progress:
        return read_voc(layout, one_based=options.voc_one_based, sink=sink, name=name, progress=progress)


def _read_coco(source: Path, options: ReadOptions, sink: ProblemSink, name: str) -> Dataset:
    from wutdet.dataset.coco import find_coco_files, read_coco_files

    files = [source]
    if source.is_dir():
        files = [file for file in find_coco_files(source) if _json_kind(file) == "coco"]
        if not files:
            raise DataError("not a COCO data set: no annotations/*.json or *.json here", file=source)
    name = name or (source.resolve().name if source.is_dir() else source.stem)
    return read_coco_files(files, images=options.images, sink=sink, name=name)


def _read_yolo(source: Path, options: ReadOptions, sink: ProblemSink, name: str) -> Dataset:
    from wutdet.dataset.progress import progress_bar
    from wutdet.dataset.yolo import find_data_yaml, read_yolo

    data_yaml = find_data_yaml(source) if source.is_dir() else source
    if data_yaml is None:
        raise DataError("not a YOLO data set: no data.yaml with 'names' here", file=source)
    with progress_bar(f"reading {data_yaml}") as progress:
        return read_yolo(data_yaml, sink=sink, name=name, progress=progress)


def _read_smd(source: Path, options: ReadOptions, sink: ProblemSink, name: str) -> Dataset:
    from wutdet.dataset.smd import read_smd

    return read_smd(source, images=options.images, frames=options.frames, size_wh=options.size_wh, sink=sink, name=name)


def _read_cvat(source: Path, options: ReadOptions, sink: ProblemSink, name: str) -> Dataset:
    from wutdet.dataset.cvat import read_cvat

    return read_cvat(source, images=options.images, frames=options.frames, sink=sink, name=name)


def _read_labelme(source: Path, options: ReadOptions, sink: ProblemSink, name: str) -> Dataset:
    from wutdet.dataset.labelme import read_labelme

    return read_labelme(source, sink=sink, name=name)


_READERS: dict[str, Callable[[Path, ReadOptions, ProblemSink, str], Dataset]] = {
    "voc": _read_voc,
    "coco": _read_coco,
    "yolo": _read_yolo,
    "smd": _read_smd,
    "cvat": _read_cvat,
    "labelme": _read_labelme,
}
