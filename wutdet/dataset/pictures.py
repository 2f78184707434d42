"""What the audit, the split and the leak rate need to know of the picture files, read once and remembered."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.dataset.hashing import content_hash, hash_of_file
from wutdet.dataset.progress import progress_bar
from wutdet.errors import WutdetError
from wutdet.exif import orientation
from wutdet.files import atomic_path

log = logging.getLogger(__name__)

#: Values of the field ``status``.
READABLE, MISSING, UNREADABLE, TRUNCATED = range(4)

#: One picture file. ``width`` to ``orientation`` are of the picture as stored and known only where ``decoded``.
PICTURE = np.dtype(
    [
        ("mtime_ns", "<i8"),
        ("bytes", "<i8"),
        ("digest", "u1", 16),
        ("hash", "<u8", 4),
        ("width", "<i4"),
        ("height", "<i4"),
        ("channels", "u1"),
        ("bits", "u1"),
        ("orientation", "u1"),
        ("status", "u1"),
        ("decoded", "?"),
    ]
)

_CACHE_FOLDER, _CACHE_FILE = ".wutdet-index", "pictures-2.npz"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def scan_pictures(dataset: Dataset, *, decode: bool = False, workers: int = 2, cache: bool = True) -> np.ndarray:
    """PICTURE [M]: one record per frame of the data set.

    Args:
        dataset: whose frames to look at.
        decode: decode each picture fully, so that damage is found and size and depth are known; otherwise only the
            hashes are made, from a reduced decode.
        workers: threads; file reading, hashing and decoding run outside the interpreter lock.
        cache: remember the records in ``.wutdet-index/`` below the data set's root, or in the user's cache folder
            where that cannot be written. A record counts as long as the file's size and time stay the same.
    """
    files = [os.path.join(dataset.root, path) for path in dataset.path]
    known = _read_cache(dataset.root) if cache else {}
    records = np.zeros(len(files), dtype=PICTURE)
    todo = []
    for row, file in enumerate(files):
        try:
            stat = os.stat(file)
        except OSError:
            records[row]["status"] = MISSING
            continue
        record = known.get(file)
        fresh = record is not None and (record["mtime_ns"], record["bytes"]) == (stat.st_mtime_ns, stat.st_size)
        if fresh and (record["decoded"] or not decode):
            records[row] = record
        else:
            todo.append(row)
    if todo:
        fresh_rows = []
        try:
            with (
                ThreadPoolExecutor(workers) as pool,
                progress_bar("reading pictures", min_steps=200, steps_per_update=16) as progress,
            ):
                results = pool.map(lambda row: _look_at(files[row], decode), todo)
                for row, record in progress(zip(todo, results, strict=True), len(todo)):
                    records[row] = record
                    fresh_rows.append(row)
        finally:  # what was read before Ctrl-C is kept
            if cache:
                _write_cache(dataset.root, known, {files[row]: records[row] for row in fresh_rows})
    return records


def _look_at(file: str, decode: bool) -> np.ndarray:
    """The PICTURE record of one file."""
    record = np.zeros((), dtype=PICTURE)
    try:
        stat = os.stat(file)
        data = Path(file).read_bytes()
    except OSError:
        record["status"] = MISSING
        return record
    record["mtime_ns"], record["bytes"] = stat.st_mtime_ns, stat.st_size
    record["digest"] = np.frombuffer(content_hash(data), dtype=np.uint8)
    is_jpeg = data[:2] == _JPEG_START
    if is_jpeg and _JPEG_END not in data[-4096:]:  # the rule of wutdet.images.read_image
        record["status"], record["decoded"] = TRUNCATED, True
        return record
    bits = hash_of_file(data)
    if bits is None:
        record["status"], record["decoded"] = UNREADABLE, True
        return record
    record["hash"] = bits
    if decode:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_UNCHANGED)
        if pixels is None:
            record["status"] = UNREADABLE
        else:
            record["height"], record["width"] = pixels.shape[:2]
            record["channels"] = 1 if pixels.ndim == 2 else pixels.shape[2]
            record["bits"] = 8 * pixels.dtype.itemsize
            record["orientation"] = orientation(io.BytesIO(data))
        record["decoded"] = True
    return record


# --- the cache -------------------------------------------------------------------------------------------------


def _cache_files(root: str | Path) -> list[Path]:
    """Where the records of a root may lie, best place first."""
    root = Path(os.path.abspath(root))
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.blake2b(os.fsencode(root), digest_size=8).hexdigest()
    places = [user / "wutdet" / name / _CACHE_FILE]
    # Data sets put together from several roots have "/" as theirs. And the administrator may write anywhere, yet a
    # folder marked read-only is meant to stay as it is.
    if root != root.parent and root.is_dir() and os.stat(root).st_mode & 0o222:
        places.insert(0, root / _CACHE_FOLDER / _CACHE_FILE)
    return places


def _read_cache(root: str | Path) -> dict[str, np.ndarray]:
    for file in _cache_files(root):
        if not file.is_file():
            continue
        try:
            with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as content:
                records = content["records"]
                names = content["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            if records.dtype != PICTURE or len(names) != len(records):
                raise ValueError("of another layout")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("%s: not usable (%s); the pictures are read again", file, error)
            continue
        return {os.path.join(root, name): record for name, record in zip(names, records, strict=True)}
    return {}


def _write_cache(root: str | Path, known: dict, fresh: dict) -> None:
    records = {**known, **fresh}
    if not fresh:
        return
    names = "\0".join(os.path.relpath(file, root) for file in records).encode("utf-8", "surrogateescape")
    columns = {"records": np.array(list(records.values()), dtype=PICTURE), "names": np.frombuffer(names, np.uint8)}
    reason: object = "no folder to write to"
    for file in _cache_files(root):
        try:
            with atomic_path(file) as temporary:
                np.savez(temporary, **columns)
            return
        except (WutdetError, OSError) as error:
            reason = error
    log.warning("the picture hashes could not be kept (%s); the next run reads the pictures again", reason)
