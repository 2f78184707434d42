"""The table of objects as a file: CSV, or Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError, UsageError, require
from wutdet.files import atomic_path, write_text

_WHOLE = ("image", "box", "detection")
_NUMBERS = ("score", "iou", "size_px", "x1", "y1", "x2", "y2")
#: Columns that every file has, beside those that a Dataset adds.
REQUIRED = ("kind", "image", "category", "score", "iou", "size_px", "x1", "y1", "x2", "y2", "box", "detection")


def with_frame_columns(table: Mapping[str, np.ndarray], dataset: Dataset) -> dict[str, np.ndarray]:
    """The table with "image_id" (int64), "file_name", "sequence", "source", "scene" and "conditions" (str) added.

    Labels that a frame does not have are empty; several conditions are joined by ``+``.

    Raises:
        UsageError: the table is of other frames.
    """
    image = table["image"]
    if len(image) and image.max() >= len(dataset):
        raise UsageError(
            f"the table speaks of image row {int(image.max())}, the data set '{dataset.name or dataset.root}' has "
            f"{len(dataset)} frames",
            hint="give the data set (and split) that was evaluated",
        )
    used, place = np.unique(image, return_inverse=True)

    def text(values) -> np.ndarray:
        column = np.empty(len(used), dtype=object)
        column[:] = list(values)
        return column[place]

    out = dict(table)
    out["image_id"] = np.asarray(dataset.image_id)[image]
    out["file_name"] = text(dataset.path[row] for row in used.tolist())
    for name in ("sequence", "source", "scene"):
        column = dataset.labels[name].take(used)
        out[name] = text(column[row] or "" for row in range(len(used)))
    out["conditions"] = text("+".join(dataset.conditions_of(row)) for row in used.tolist())
    return out


def write_objects(path: str | Path, table: Mapping[str, np.ndarray], dataset: Dataset | None = None) -> None:
    """Writes a table of objects.

    Args:
        path: ends in .csv or .parquet. In CSV, NaN is an empty field.
        table: of ``objects_table``; columns may have been added.
        dataset: the evaluated frames; adds the columns of ``with_frame_columns``.

    Raises:
        UsageError: another file ending, or a table of other frames.
        MissingExtraError: .parquet without pyarrow.
        WutdetError: the file cannot be written; one that was there before is then as it was.
    """
    path = Path(path)
    is_parquet = check_ending(path)
    if dataset is not None:
        table = with_frame_columns(table, dataset)
    first = [name for name in ("kind", "file_name", "image_id") if name in table]
    columns = {name: table[name] for name in (*first, *(name for name in table if name not in first))}
    if is_parquet:
        pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
        arrow = pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()})
        with atomic_path(path) as temporary:
            parquet.write_table(arrow, temporary)
        return
    # NaN is the only value that differs from itself.
    lists = [
        ["" if value != value else value for value in column.tolist()] if column.dtype.kind == "f" else column.tolist()
        for column in columns.values()
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*lists, strict=True))
    write_text(path, text.getvalue())


def read_objects(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of a file of ``write_objects``: int64, float64 and str (object) as in ``objects_table``.

    Raises:
        UsageError: another file ending.
        DataError: the file cannot be read, columns are missing, or a field is not a number.
        MissingExtraError: .parquet without pyarrow.
    """
    path = Path(path)
    columns = _read_parquet(path) if check_ending(path) else _read_csv(path)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DataError(
            f"no table of objects: the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing",
            file=path,
            hint="such files are written by 'wutdet eval --objects'",
        )
    out = {}
    for name, values in columns.items():
        if name in _WHOLE or name in _NUMBERS:
            out[name] = _as_numbers(path, name, values)
        else:
            column = np.empty(len(values), dtype=object)
            column[:] = values
            out[name] = column
    ids = columns.get("image_id")
    if ids is not None and all(isinstance(value, int) or str(value).lstrip("-").isdigit() for value in ids):
        out["image_id"] = np.array([int(value) for value in ids], dtype=np.int64)
    return out


def check_ending(path: str | Path) -> bool:
    """Whether the file is to be Parquet, not CSV.

    Raises:
        UsageError: neither.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise UsageError(f"a table of objects is a .csv or .parquet file, received '{path}'")
    return ending == ".parquet"


def _read_csv(path: Path) -> dict[str, list]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the table of objects ({error})", file=path) from error
    if not rows:
        raise DataError("no table of objects: the file is empty", file=path)
    header, *body = rows
    for line, row in enumerate(body, 2):
        if len(row) != len(header):
            raise DataError(f"{len(row)} fields under {len(header)} column names", file=path, line=line)
    return dict(zip(header, zip(*body, strict=True), strict=True)) if body else dict.fromkeys(header, ())


def _read_parquet(path: Path) -> dict[str, list]:
    parquet, pyarrow = require("pyarrow.parquet", "parquet"), require("pyarrow", "parquet")
    try:
        return parquet.read_table(path).to_pydict()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read the table of objects ({error})", file=path) from error


def _as_numbers(path: Path, name: str, values) -> np.ndarray:
    kind, dtype = (int, np.int64) if name in _WHOLE else (float, np.float64)
    if kind is float:
        values = ["nan" if value in ("", None) else value for value in values]
    try:
        return np.array(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError):
        for row, value in enumerate(values):  # which one was it?
            try:
                kind(value)
            except (ValueError, TypeError) as error:
                raise DataError(f"column '{name}': {value!r} is not a number", file=path, line=row + 2) from error
        raise DataError(f"column '{name}' holds numbers that are too large", file=path) from None
