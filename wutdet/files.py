"""Writing files so that a crash, a full disk or Ctrl-C leaves either the old content or the new."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wutdet.errors import WutdetError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it onto ``path`` if the block succeeds.

    Raises:
        WutdetError: the file cannot be written (full disk, no permission); ``path`` is then as it was before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # Errors about some other file are not ours to translate.
        if error.filename not in (None, str(temporary), str(path), str(path.parent)):
            raise
        raise WutdetError(
            f"cannot write ({error.strerror or error}); what was there before is untouched",
            file=path,
            hint="free some space or choose another folder",
        ) from error
    finally:
        with suppress(NotADirectoryError):  # the folder is a file: there is nothing to remove
            temporary.unlink(missing_ok=True)


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
