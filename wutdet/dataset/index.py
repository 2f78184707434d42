"""The memory-mapped index: a large data set that was read once opens again without reading its annotations.

One file, ``.wutdet-index/<key>.idx`` beside the data, or below ``$XDG_CACHE_HOME/wutdet`` (``~/.cache/wutdet``) where
that folder cannot be written. Layout: ``MAGIC``, uint32 CRC of all that follows, uint32 length of the header, the
header (JSON), then the columns, each at a multiple of 64 bytes. It holds the classes as they are in the annotation
files; class maps are applied on opening.

Opening compares a digest over name, size and modification time of every annotation file, and the modification time of
every folder with images, with what was there when the index was made. So it notices each annotation file that was
edited, added or removed, and each image that was added, removed or renamed. It does not notice an edit that leaves both
size and time (to the nanosecond) of a file as they were, nor an image overwritten in place (its pixels are not in the
index; for YOLO, where sizes come from the pictures, images are in the digest too). An index that is damaged, of another
version or out of date is never used: the data is read again and the index written anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wutdet import _kernels
from wutdet.dataset.columns import LabelColumn, TextColumn
from wutdet.dataset.dataset import Dataset
from wutdet.errors import WutdetError

logger = logging.getLogger(__name__)

MAGIC = b"WUTDETI1"
#: Raised whenever a reader starts to read something differently, or the layout changes.
VERSION = 1
#: Data sets with fewer frames and boxes together are read in about a second and get no index.
MIN_ROWS = 20_000
FOLDER = ".wutdet-index"
_ALIGN = 64
_PREFIX = struct.Struct("<8sII")
# Time stamps of some file systems are this coarse: a file changed so shortly before reading may change again unnoticed.
_RACY_NS = 20_000_000

_FRAME_ARRAYS = ("size_wh", "image_id", "frame_index", "conditions")
_BOX_ARRAYS = ("box_image", "xyxy", "category", "area", "ignore", "crowd", "box_line")
_TEXTS = ("path", "annotation_file")


def open_or_read(source: Path, format: str, options: str, read: Callable[[], Dataset]) -> Dataset:
    """The data set from its index where there is a good one; else from ``read()``, and large ones get an index.

    Args:
        source: file or folder that the user named.
        format: format that ``read`` reads.
        options: text that differs where ``read`` would read differently.
        read: reads the annotations.
    """
    for file in index_files(source, format, options):
        try:
            return _open(file, source)
        except FileNotFoundError:
            continue
        except _Unusable as reason:
            logger.info("index %s is not used (%s); reading the annotations again", file, reason)
    started_ns = time.time_ns()
    dataset = read()
    if len(dataset) + dataset.box_count >= MIN_ROWS:
        _write(dataset, source, format, options, started_ns)
    return dataset


def index_files(source: Path, format: str, options: str) -> list[Path]:
    """Where the index of a data set may lie: beside the data, else in the user's cache."""
    beside = source if source.is_dir() else source.parent
    own = "" if source.is_dir() else source.name

    def key(place: str) -> str:
        return hashlib.sha256(json.dumps([VERSION, format, options, place]).encode()).hexdigest()[:16] + ".idx"

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wutdet"
    return [beside / FOLDER / key(own), cache / key(os.fspath(source.resolve()))]


class _Unusable(Exception):
    """Why an index cannot be used."""


# --- what the index depends on ---------------------------------------------------------------------------------


def _folders(source: Path, format: str, dataset: Dataset) -> tuple[dict[str, str], list[str]]:
    """Folders whose files are in the digest (with the suffix that counts), and folders whose own time counts.

    Paths are relative to the source folder where they lie inside it, so that a data set can be moved with its index.
    """
    base = os.path.abspath(source if source.is_dir() else source.parent)
    root = os.path.abspath(dataset.root)

    def place(folder: str) -> str:
        path = os.path.normpath(os.path.join(root, folder))
        return os.path.relpath(path, base) if path == base or path.startswith(os.path.join(base, "")) else path

    def folders_of(column: TextColumn) -> set[str]:
        return {place(folder) for folder in {os.path.dirname(text) for text in column}}

    suffix = {"voc": ".xml", "yolo": ".txt", "labelme": ".json", "coco": ".json", "cvat": ".xml", "smd": ".mat"}[format]
    annotations, images = folders_of(dataset.annotation_file), folders_of(dataset.path)
    swept = dict.fromkeys(sorted(annotations), suffix)
    if format == "yolo":
        swept |= dict.fromkeys(sorted(images | {"."}), "")
    if format == "voc":
        lists = os.path.join(root, "ImageSets", "Main")
        if os.path.isdir(lists):
            swept[place(lists)] = ".txt"
    # A new folder changes the time of the one that it lies in.
    listed = annotations | images
    for folder in list(listed):
        while folder and not os.path.isabs(folder):
            listed.add(folder)
            folder = os.path.dirname(folder)
    # The index itself lies in "."; files that come and go there are seen by the digest where they matter.
    return swept, sorted(listed - {"."})


def _fingerprint(base: str, swept: dict[str, str], listed: list[str]) -> tuple[dict, int]:
    """What opening compares, and the newest modification time in it."""
    newest = 0
    digests, times = {}, {}
    for folder, suffix in swept.items():
        low, high, files, mtime = _kernels.folder_digest(os.fsencode(os.path.join(base, folder)), suffix)
        digests[folder] = [suffix, f"{low:016x}{high:016x}", files]
        newest = max(newest, mtime)
    for folder in listed:
        try:
            times[folder] = os.stat(os.path.join(base, folder)).st_mtime_ns
        except FileNotFoundError:  # annotations without images; noticed when the images arrive
            times[folder] = -1
        newest = max(newest, times[folder])
    return {"digests": digests, "times": times}, newest


# --- reading ---------------------------------------------------------------------------------------------------


def _open(file: Path, source: Path) -> Dataset:
    header, mapped, start = _map(file)
    base = os.path.abspath(source if source.is_dir() else source.parent)
    expected = header["fingerprint"]
    try:
        swept = {folder: entry[0] for folder, entry in expected["digests"].items()}
        found, _ = _fingerprint(base, swept, list(expected["times"]))
    except OSError as error:
        raise _Unusable(f"{error.filename or 'a folder'} is not there any more") from error
    if found != expected:
        changed = [f for kind in found for f in found[kind] if found[kind][f] != expected[kind][f]]
        raise _Unusable(f"changed since: {', '.join(changed[:3])}")
    columns = {
        name: mapped[start + at : start + at + size].view(dtype).reshape(shape)
        for name, (dtype, shape, at, size) in header["arrays"].items()
    }

    def labels(group: str) -> dict[str, LabelColumn]:
        return {
            name: LabelColumn(columns[f"{group}/{name}"], tuple(vocabulary))
            for name, vocabulary in header[group].items()
        }

    root = header["root"]
    if root is None:
        root_path = source if source.is_dir() else source.parent
    else:
        root_path = Path(root) if os.path.isabs(root) else (source if source.is_dir() else source.parent) / root
    return Dataset(
        root=root_path,
        **{name: columns[name] for name in (*_FRAME_ARRAYS, *_BOX_ARRAYS)},
        **{name: TextColumn(columns[f"{name}.offsets"], columns[f"{name}.blob"]) for name in _TEXTS},
        labels=labels("labels"),
        box_labels=labels("box_labels"),
        category_names=tuple(header["category_names"]),
        condition_names=tuple(header["condition_names"]),
        name=header["name"],
        info=header["info"],
    )


def _map(file: Path) -> tuple[dict, np.ndarray, int]:
    """Header, the mapped file as bytes, and where its columns begin; checked against the checksum."""
    try:
        mapped = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(file)) from error
    except (OSError, ValueError) as error:
        raise _Unusable(f"cannot be read: {error}") from error
    if len(mapped) < _PREFIX.size:
        raise _Unusable("cut off")
    magic, checksum, length = _PREFIX.unpack(mapped[: _PREFIX.size].tobytes())
    if magic != MAGIC:
        raise _Unusable("not an index")
    if zlib.crc32(memoryview(mapped)[_PREFIX.size - 4 :]) != checksum:
        raise _Unusable("damaged: its checksum does not fit")
    header = json.loads(mapped[_PREFIX.size : _PREFIX.size + length].tobytes())
    if header["version"] != VERSION or header["byteorder"] != sys.byteorder:
        raise _Unusable("of another version")
    return header, mapped, _aligned(_PREFIX.size + length)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


# --- writing ---------------------------------------------------------------------------------------------------


def _write(dataset: Dataset, source: Path, format: str, options: str, started_ns: int) -> None:
    from wutdet.files import atomic_path

    base = os.path.abspath(source if source.is_dir() else source.parent)
    swept, listed = _folders(source, format, dataset)
    try:
        fingerprint, newest_ns = _fingerprint(base, swept, listed)
    except OSError as error:
        logger.info("no index for %s: %s", source, error)
        return
    if newest_ns > started_ns - _RACY_NS:
        logger.info("no index for %s: files there were being changed just now", source)
        return
    arrays = _arrays(dataset)
    table, at = {}, 0
    for name, array in arrays.items():
        table[name] = [array.dtype.str, list(array.shape), at, array.nbytes]
        at = _aligned(at + array.nbytes)
    root = os.path.abspath(dataset.root)
    inside = root == base or root.startswith(os.path.join(base, ""))
    header = {
        "version": VERSION,
        "byteorder": sys.byteorder,
        "fingerprint": fingerprint,
        "arrays": table,
        "root": None if root == base else os.path.relpath(root, base) if inside else root,
        "labels": {name: column.names for name, column in dataset.labels.items()},
        "box_labels": {name: column.names for name, column in dataset.box_labels.items()},
        "category_names": dataset.category_names,
        "condition_names": dataset.condition_names,
        "name": dataset.name,
        "info": dict(dataset.info),
    }
    content = json.dumps(header, ensure_ascii=True).encode("ascii")
    start = _aligned(_PREFIX.size + len(content))
    body = bytearray(start + at)
    body[_PREFIX.size : _PREFIX.size + len(content)] = content
    for name, array in arrays.items():
        _, _, offset, size = table[name]
        body[start + offset : start + offset + size] = array.tobytes()
    struct.pack_into("<I", body, _PREFIX.size - 4, len(content))
    checksum = zlib.crc32(memoryview(body)[_PREFIX.size - 4 :])
    _PREFIX.pack_into(body, 0, MAGIC, checksum, len(content))
    for file in index_files(source, format, options):
        try:
            with atomic_path(file) as temporary:
                temporary.write_bytes(body)
        except (WutdetError, OSError) as error:
            logger.info("index not written: %s", str(error).splitlines()[0])
        else:
            logger.info("index of %d frames and %d boxes: %s", len(dataset), dataset.box_count, file)
            return


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    arrays = {name: getattr(dataset, name) for name in (*_FRAME_ARRAYS, *_BOX_ARRAYS)}
    for name in _TEXTS:
        column = getattr(dataset, name)
        arrays |= {f"{name}.offsets": column.offsets, f"{name}.blob": column.blob}
    for group in ("labels", "box_labels"):
        arrays |= {f"{group}/{name}": column.codes for name, column in getattr(dataset, group).items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
