"""The run folder: its number, and the records that make a run repeatable and its course visible."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path

from wutdet.environment import environment
from wutdet.errors import DataError, UsageError
from wutdet.files import write_json, write_text


def new_run_folder(wanted: Path) -> Path:
    """Creates ``wanted``, or ``wanted2``, ``wanted3`` ... where it is there already and not empty.

    Processes that ask at the same time get different folders: a folder belongs to the one that made ``weights/`` in it.

    Raises:
        UsageError: it cannot be made, or see check_run_folder.
    """
    wanted = Path(wanted)
    for number in count(1):
        folder = wanted if number == 1 else _numbered(wanted, number)
        try:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                if not folder.is_dir() or any(folder.iterdir()):
                    continue
            (folder / "weights").mkdir()
            return folder
        except FileExistsError:  # another process was faster
            continue
        except OSError as error:
            raise UsageError(
                f"cannot make the run folder {folder} ({error.strerror})", hint="choose another --out"
            ) from error


def check_run_folder(wanted: Path) -> None:
    """Refuses early what new_run_folder would refuse.

    Raises:
        UsageError: the folder is not empty and has no name that a number can be added to (``.``, ``..``, ``/``).
    """
    if wanted.is_dir() and any(wanted.iterdir()):
        _numbered(wanted, 2)


def _numbered(wanted: Path, number: int) -> Path:
    if wanted.name in ("", ".."):
        raise UsageError(
            f"--out {wanted} is not empty, and has no name that a number could be added to",
            hint=f"name a folder in it, for example --out {wanted / 'train'}",
        )
    return wanted.with_name(f"{wanted.name}{number}")


def record_environment(file: Path, seed: int) -> None:
    """Writes environment.json; a resumed run adds its own under ``"resumed"`` and leaves the first one alone."""
    now = environment(seed)
    if file.exists():
        try:
            first = json.loads(file.read_text("utf-8"))
        except json.JSONDecodeError as error:
            raise DataError(f"not valid JSON: {error.msg}", file=file, line=error.lineno) from error
        now = {**first, "resumed": [*first.get("resumed", []), now]}
    write_json(file, now)


class MetricsLog:
    """``metrics.jsonl``: one JSON object per epoch, written when the epoch ends."""

    def __init__(self, file: Path):
        self.file = file

    def append(self, row: dict) -> None:
        with open(self.file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")

    def rows(self) -> list[dict]:
        """All epochs so far. A last line that a kill has cut short is left out.

        Raises:
            DataError: another line is not JSON.
        """
        if not self.file.exists():
            return []
        rows, lines = [], self.file.read_text("utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number < len(lines):
                    raise DataError(f"not valid JSON: {error.msg}", file=self.file, line=number) from error
        return rows

    def keep_until(self, epoch: int) -> None:
        """Drops the rows after ``epoch`` (1-based): those that no checkpoint was written for."""
        rows = [row for row in self.rows() if row["epoch"] <= epoch]
        write_text(self.file, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
