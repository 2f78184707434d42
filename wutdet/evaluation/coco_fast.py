"""The fast path of coco_files.py: well-formed COCO files as tables, without a Python object per box.

It either gives what the full reading would give, to the last bit, or None. It never says what is wrong: whatever is
unusual is left to the full reading, which has the words for it.
"""

from __future__ import annotations

import numpy as np

from wutdet import _kernels
from wutdet.evaluation.matching import thread_count
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

_BYTES_PER_THREAD = 2**20
_WIDEST_TABLE = 2**22  # entries of the table from ids to rows: 32 MB


def ground_truth(text: bytes, name: str) -> tuple[GroundTruth, np.ndarray, bool] | None:
    """A ground-truth file.

    Args:
        text: content of the file.
        name: of the table.

    Returns:
        The table, the category ids (int64, rising), and whether an annotation has id 0; None where the full reading
        is needed.
    """
    columns = _kernels.read_coco_truth(text, threads=thread_count(len(text) // _BYTES_PER_THREAD))
    if columns is None:
        return None
    order = np.argsort(columns["category_id"], kind="stable")
    category_ids = columns["category_id"][order]
    image_id, box_id = columns["image_id"], columns["box_id"]
    image = _rows_of(columns["box_image_id"], image_id)
    category = _rows_of(columns["box_category_id"], category_ids)
    boxes = corners(columns["bbox"])
    unique = _all_differ(image_id) and _all_differ(category_ids) and _all_differ(box_id)
    if image is None or category is None or boxes is None or not unique:
        return None
    xyxy, box_area = boxes
    crowd = columns["crowd"].view(bool)
    table = GroundTruth(
        image_id=image_id,
        image=image,
        category=category,
        xyxy=xyxy,
        box_area=box_area,
        area=np.where(np.isnan(columns["area"]), box_area, columns["area"]),
        ignore=columns["ignore"].view(bool) | crowd,
        crowd=crowd,
        category_names=tuple(columns["category_name"][index] for index in order),
        name=name,
        split=columns["split"],
        size_wh=known_sizes(columns["size_wh"]),
    )
    return table, category_ids, bool((box_id == 0).any())


def results(text: bytes, truth: GroundTruth, category_ids: np.ndarray) -> FoundBoxes | None:
    """A result file; None where the full reading is needed.

    Args:
        text: content of the file.
        truth, category_ids: what ``ground_truth`` or the full reading gave.
    """
    if truth.image_id.dtype.kind != "i" or category_ids.dtype.kind != "i":
        return None
    columns = _kernels.read_coco_results(text, threads=thread_count(len(text) // _BYTES_PER_THREAD))
    if columns is None:
        return None
    image_id, category_id, bbox, score = columns
    image, category = _rows_of(image_id, truth.image_id), _rows_of(category_id, category_ids)
    boxes = corners(bbox)
    if image is None or category is None or boxes is None:
        return None
    return FoundBoxes(image, category, *boxes, score)


def corners(xywh: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """float64 [N, 4] xyxy and [N] width times height.

    Args:
        xywh: float64 [N, 4], finite; becomes xyxy in place.

    Returns:
        None where a side is negative, or where corners or area are too large for a float64.
    """
    width, height = xywh[:, 2], xywh[:, 3]
    if len(xywh) and (width.min() < 0 or height.min() < 0):
        return None
    with np.errstate(over="ignore"):
        area = width * height
        xywh[:, 2:] += xywh[:, :2]
    return (xywh, area) if np.isfinite(area).all() and np.isfinite(xywh).all() else None


def known_sizes(size_wh: np.ndarray) -> np.ndarray | None:
    """The sizes of all images, or None where not all are known (above 0)."""
    return size_wh if (size_wh > 0).all() else None


def _all_differ(ids: np.ndarray) -> bool:
    rising = ids[1:] > ids[:-1]
    if rising.all():  # as most tools write them
        return True
    ids = np.sort(ids)
    return bool((ids[1:] != ids[:-1]).all())


def _rows_of(ids: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """int64 [N]: places of ids in ``known`` (int64, all different); None where one is not there."""
    if not len(ids):
        return np.zeros(0, dtype=np.int64)
    if not len(known):
        return None
    low, high = int(known.min()), int(known.max())
    if int(ids.min()) < low or int(ids.max()) > high:
        return None
    if high - low < _WIDEST_TABLE:
        table = np.full(high - low + 1, -1, dtype=np.int64)
        table[known - low] = np.arange(len(known))
        rows = table[ids - low]
        return rows if rows.min() >= 0 else None
    order = np.argsort(known, kind="stable")
    rows = order[np.searchsorted(known, ids, sorter=order)]
    return rows if (known[rows] == ids).all() else None
