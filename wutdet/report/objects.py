"""Checking a table of objects (see wutdet.evaluation.objects) before pictures are cut out by it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wutdet.errors import DataError
from wutdet.evaluation.objects import KINDS

#: Columns that the gallery needs, and their types.
COLUMNS = {
    "kind": str, "image": int, "box": int, "detection": int, "score": float, "iou": float, "size_px": float,
    "x1": float, "y1": float, "x2": float, "y2": float, "category": str,
}  # fmt: skip


def check_objects(objects: Mapping[str, np.ndarray], frames: int | None = None, where: str | None = None) -> dict:
    """The columns as arrays of their types.

    Args:
        objects: of wutdet.evaluation.objects.objects_table; more columns are left out.
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
