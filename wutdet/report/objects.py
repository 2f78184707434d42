"""The table of single objects: every ship and every detection, and what became of it; as columns and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wutdet.errors import DataError
from wutdet.files import write_text

#: Columns and their types. ``kind`` is one of KINDS; ``image`` is the row of the frame in the data set; ``box`` and
#: ``detection`` are rows in ground truth and detections, -1 where there is none; ``score`` is NaN for misses; ``iou``
#: is the best overlap; ``size_px`` the square root of the area; ``x1`` ... ``y2`` corners in pixels of the frame.
COLUMNS = {
    "kind": str, "image": int, "box": int, "detection": int, "score": float, "iou": float, "size_px": float,
    "x1": float, "y1": float, "x2": float, "y2": float, "category": str,
}  # fmt: skip

#: What an object can be.
KINDS = ("hit", "miss", "false_alarm", "duplicate", "localisation", "classification", "both", "ignored")


def check_objects(objects: Mapping[str, np.ndarray], frames: int | None = None, where: Path | None = None) -> dict:
    """The columns as arrays of their types.

    Args:
        objects: see COLUMNS; more columns are left out.
        frames: number of frames of the data set; rows of frames must lie below.
        where: file that they came from, for messages.

    Raises:
        DataError: a column is missing, of another length, or holds something else.
    """
    missing = [name for name in COLUMNS if name not in objects]
    if missing:
        raise DataError(f"the table of objects has no column {', '.join(missing)}", file=where)
    out = {}
    for name, kind in COLUMNS.items():
        values = np.asarray(objects[name])
        if len(values) != len(objects["kind"]):
            raise DataError(f"column '{name}' has {len(values)} rows, 'kind' has {len(objects['kind'])}", file=where)
        try:
            out[name] = values.astype(str if kind is str else np.float64 if kind is float else np.int64)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"column '{name}' holds something that is no {kind.__name__}: {error}", file=where
            ) from error
    unknown = ~np.isin(out["kind"], KINDS)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise DataError(f"row {row}: kind '{out['kind'][row]}' is none of {', '.join(KINDS)}", file=where)
    corners = np.stack([out[name] for name in ("x1", "y1", "x2", "y2")])
    if not np.isfinite(corners).all():
        row = int(np.argmax(~np.isfinite(corners).all(axis=0)))
        raise DataError(f"row {row}: the box {corners[:, row].tolist()} is not all numbers", file=where)
    outside = (out["image"] < 0) | (out["image"] >= (np.inf if frames is None else frames))
    if outside.any():
        row = int(np.argmax(outside))
        raise DataError(f"row {row}: there is no frame {out['image'][row]}; the data set has {frames}", file=where)
    return out


def write_objects(path: str | Path, objects: Mapping[str, np.ndarray]) -> None:
    """Writes the columns as CSV with a head line; NaN becomes an empty field.

    Raises:
        DataError: the columns are not what COLUMNS says.
        WutdetError: the file cannot be written.
    """
    columns = check_objects(objects)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    fields = [_fields(columns[name], kind) for name, kind in COLUMNS.items()]
    writer.writerows(zip(*fields, strict=True))
    write_text(path, text.getvalue())


def read_objects(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file with a head line; columns that COLUMNS does not name are left out.

    Raises:
        DataError: unreadable, not UTF-8, or a line that does not fit (it is named).
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", file=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text ({error.reason} at byte {error.start})", file=path) from error
    lines = csv.reader(io.StringIO(text))
    head = next(lines, [])
    missing = [name for name in COLUMNS if name not in head]
    if missing:
        raise DataError(f"the head line names no column {', '.join(missing)}", file=path, line=1)
    rows = []
    for row in lines:
        if len(row) != len(head):
            raise DataError(f"{len(head)} fields were expected, received {len(row)}", file=path, line=lines.line_num)
        rows.append(row)
    columns = dict(zip(head, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(head, ())
    out = {name: _parsed(columns[name], name, kind, path) for name, kind in COLUMNS.items()}
    return check_objects(out, where=path)


def _fields(values: np.ndarray, kind: type) -> list:
    if kind is not float:
        return values.tolist()
    return ["" if np.isnan(v) else f"{v:.6g}" for v in values.tolist()]


def _parsed(fields: tuple[str, ...], name: str, kind: type, path: Path) -> np.ndarray:
    if kind is str:
        return np.array(fields, dtype=str)
    try:
        return np.array([kind(field) if field else float("nan") for field in fields], dtype=kind)
    except ValueError as error:
        wrong = next(i for i, field in enumerate(fields) if not _is(field, kind))
        raise DataError(f"'{name}' must be a number, received '{fields[wrong]}'", file=path, line=wrong + 2) from error


def _is(field: str, kind: type) -> bool:
    try:
        kind(field) if field or kind is int else None
    except ValueError:
        return False
    return True
