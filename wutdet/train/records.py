"""The run folder: its number, and the records that make a run repeatable and its course visible."""

from __future__ import annotations

import json
import os
from pathlib import Path

from wutdet.environment import environment
from wutdet.errors import DataError, UsageError
from wutdet.files import write_json, write_text


def new_run_folder(wanted: Path) -> Path:
    """Creates ``wanted``, or ``wanted2``, ``wanted3`` ... where it is there already and not empty."""
    number, folder = 1, Path(wanted)
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if folder.is_dir() and not any(folder.iterdir()):
                return folder
        except OSError as error:
            raise UsageError(
                f"cannot make the run folder {folder} ({error.strerror})", hint="choose another --out"
            ) from error
        number += 1
        folder = wanted.with_name(f"{wanted.name}{number}")


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
