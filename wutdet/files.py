"""Writing files so that a crash, a full disk or Ctrl-C leaves either the old content or the new."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wutdet.errors import WutdetError


def is_unicode(name: str | Path) -> bool:
    """Whether a file name can be written as text; on Linux names are bytes, and these need not be UTF-8."""
    return printable(name) == str(name)


def printable(name: str | Path) -> str:
    """A file name for people and JSON: bytes that are no UTF-8 (for Python lone surrogates) become U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", str(name))


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether both are there and are one file, under whatever names."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@contextmanager
def writing_to(path: Path, *temporary: Path) -> Iterator[None]:
    """Errors of the system about ``path``, its folders or the temporary files become one WutdetError."""
    try:
        yield
    except OSError as error:
        # Errors about some other file are not ours to translate.
        if error.filename not in (None, *map(str, (path, *path.parents, *temporary))):
            raise
        raise WutdetError(
            f"cannot write ({error.strerror or error}); what was there before is untouched",
            file=path,
            hint="free some space or choose another folder",
        ) from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it onto ``path`` if the block succeeds.

    Raises:
        WutdetError: the file cannot be written (full disk, no permission); ``path`` is then as it was before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        with writing_to(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # where its folder cannot be looked into, nothing was written
            temporary.unlink(missing_ok=True)


def check_output_file(path: str | Path | None) -> None:
    """Finds out before the work whether a file can be written after it. Leaves nothing behind; ``None`` is no file.

    Raises:
        WutdetError: it is a folder, or its folder cannot be made or written.
    """
    if path is None:
        return
    path = Path(path)
    if path.is_dir():
        raise WutdetError("a file was to be written here, and this is a folder", file=path, hint="name a file in it")
    _try_writing(path, path.parent)


def check_output_folder(path: str | Path | None) -> None:
    """As ``check_output_file``, for a folder that files will be written into.

    Raises:
        WutdetError: it is a file, or cannot be made or written.
    """
    if path is not None:
        _try_writing(Path(path), Path(path))


def _try_writing(path: Path, folder: Path) -> None:
    # Folders that are missing are not made: another process that asks the same would see them come and go.
    with writing_to(path):
        there = next(part for part in (folder, *folder.parents) if part.exists())
    probe = there / f".wutdet.{os.getpid()}.part"
    try:
        with writing_to(path, probe):
            probe.write_bytes(b"")
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes ``data`` atomically; see atomic_path."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically; see atomic_path."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value, indent: int | None = 1) -> None:
    """Writes JSON (no NaN) atomically; see atomic_path."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")
