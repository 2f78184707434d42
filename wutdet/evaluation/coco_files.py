"""COCO ground-truth and result files of any tool as float64 tables, or a clear word on what is wrong with them.

Unlike ``wutdet.dataset.coco`` this needs no images, keeps several categories apart and never rounds. pycocotools drops
boxes with unknown categories and mixes up repeated ids in silence; here both are errors.

Well-formed files take the native reader (coco_fast.py). What it declines is read here in full, with the same figures
or with a diagnosis.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from itertools import chain
from pathlib import Path

import numpy as np

from wutdet.errors import DataError
from wutdet.evaluation import coco_fast
from wutdet.evaluation.image_labels import with_labels
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

log = logging.getLogger(__name__)


_LONGEST_ID = 1000  # characters of an id that is a string; NumPy gives every one the room of the longest


def _read(path: Path) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the file ({error.strerror})", file=path) from error
    if len(text) < 1000 and not text.strip():
        raise DataError(f"the file is empty ({len(text)} bytes)", file=path, hint="no detections at all are written []")
    return text


def _parse(text: bytes, path: Path):
    # Half a million small lists at once: the cyclic collector would walk all of them again and again, for nothing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg}", file=path, line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not JSON text ({error.reason} at byte {error.start})", file=path) from error
    except RecursionError as error:
        raise DataError("not COCO: lists or objects are nested too deeply", file=path) from error
    except ValueError as error:  # whole numbers of thousands of digits
        raise DataError(f"not COCO: {error}", file=path) from error
    finally:
        if collecting:
            gc.enable()


class _Rows:
    """A list of JSON objects, read column by column; an error names the object by its index."""

    def __init__(self, rows, what: str, path: Path):
        self.rows, self.what, self.path = rows, what, path
        if not isinstance(rows, list):
            raise self.error(f"'{what}' must be a list, is {type(rows).__name__}")
        if not set(map(type, rows)) <= {dict}:
            index = next(i for i, row in enumerate(rows) if not isinstance(row, dict))
            raise self.error(f"must be an object, is {type(rows[index]).__name__}: {rows[index]!r:.60}", index)

    def error(self, message: str, index: int | None = None, hint: str = "") -> DataError:
        place = ""
        if index is not None:
            row = self.rows[index]
            image = f" (image_id {row['image_id']!r:.40})" if isinstance(row, dict) and "image_id" in row else ""
            place = f"{self.what}[{index}]{image}: "
        return DataError(place + message, file=self.path, hint=hint)

    def column(self, key: str, default=None) -> list:
        """The values of a key; without a default every object must have it."""
        if default is not None:
            return [row.get(key, default) for row in self.rows]
        try:
            return [row[key] for row in self.rows]
        except KeyError:
            index = next(i for i, row in enumerate(self.rows) if key not in row)
            raise self.error(f"key '{key}' is missing; there is {', '.join(self.rows[index]) or 'nothing'}",
                             index) from None  # fmt: skip

    def numbers(self, key: str, values: list, width: int = 0) -> np.ndarray:
        """float64 [N] or [N, width]; all finite numbers.

        NumPy would turn "1.0" and true into numbers without a word, so kinds are looked at first.
        """
        shape = (len(values), width) if width else (len(values),)
        try:
            array = np.array(values) if values else np.zeros(shape)
        except (ValueError, OverflowError):
            array = np.array(None)
        flat = values if not width else chain.from_iterable(v for v in values if isinstance(v, list))
        plain = set(map(type, flat)) <= {int, float}
        if plain and array.dtype.kind in "iuf" and array.shape == shape:
            array = array.astype(np.float64)
            if np.isfinite(array).all():
                return array
        expected = f"{width} finite numbers" if width else "a finite number"
        for index, value in enumerate(values):
            parts = value if width else [value]
            good = isinstance(parts, list) and len(parts) == (width or 1)
            good = good and all(type(part) in (int, float) and abs(part) <= 1.7e308 for part in parts)
            if not good:
                raise self.error(f"'{key}' must be {expected}, is {value!r:.80}", index)
        return np.array(values, dtype=np.float64).reshape(shape)

    def flags(self, key: str) -> np.ndarray:
        """bool [N]; 0 or false where the key is absent."""
        values = [int(value) if isinstance(value, bool) else value for value in self.column(key, default=0)]
        return self.numbers(key, values) != 0

    def ids(self, key: str) -> np.ndarray:
        """int64 or str [N]."""
        values = self.column(key)
        kinds = set(map(type, values))
        if kinds == {str}:
            if max(map(len, values)) > _LONGEST_ID:
                index = next(i for i, value in enumerate(values) if len(value) > _LONGEST_ID)
                raise self.error(f"'{key}' has {len(values[index])} characters, more than {_LONGEST_ID}", index)
            return np.array(values)
        if kinds <= {int}:
            try:
                return np.array(values, dtype=np.int64)
            except OverflowError:
                pass
        first = type(values[0])
        for index, value in enumerate(values):
            if type(value) not in (int, str) and not (type(value) is float and value.is_integer()):
                raise self.error(f"'{key}' must be a whole number or a string, is {value!r:.60}", index)
            if (type(value) is str) != (first is str):
                raise self.error(f"'{key}' is {value!r:.60}, but that of {self.what}[0] is {values[0]!r:.60}: "
                                 "numbers and strings are mixed", index)  # fmt: skip
            if type(value) is not str and abs(value) >= 2**63:
                raise self.error(f"'{key}' must be below 2^63, is {value!r:.60}", index)
        return np.array([int(value) for value in values], dtype=np.int64)

    def unique_ids(self, key: str) -> np.ndarray:
        """ids, each of them only once."""
        ids = self.ids(key)
        order = np.argsort(ids, kind="stable")
        again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
        if len(again):
            index = int(order[again + 1].min())
            first = int(np.argmax(ids == ids[index]))
            raise self.error(f"{key} {ids[index].item()!r} was given to {self.what}[{first}] already", index,
                             "ids must be unique, or boxes are counted wrongly in silence")  # fmt: skip
        return ids

    def rows_of(self, key: str, known: np.ndarray, kind: str) -> np.ndarray:
        """int64 [N]: places of this column's ids in ``known``."""
        ids = self.ids(key)
        if not len(ids):
            return np.zeros(0, dtype=np.int64)
        if len(known) and (ids.dtype.kind == "U") != (known.dtype.kind == "U"):
            words = {"U": "strings", "i": "numbers"}
            raise self.error(f"'{key}' is {ids[0].item()!r}: {kind} ids are {words[ids.dtype.kind]} here, but "
                             f"{words[known.dtype.kind]} in the ground truth", 0)  # fmt: skip
        order = np.argsort(known, kind="stable")
        place = np.searchsorted(known, ids, sorter=order)
        unknown = place == len(known)
        place[unknown] = 0
        rows = order[place] if len(known) else place
        if len(known):
            unknown |= known[rows] != ids
        if unknown.any():
            index = int(np.argmax(unknown))
            raise self.error(f"no {kind} with id {ids[index].item()!r} in the ground truth ({int(unknown.sum())} of "
                             f"{len(ids)} {self.what} have an unknown {key})", index)  # fmt: skip
        return rows.astype(np.int64)

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 [N, 4] xyxy and [N] width times height, both from ``bbox``."""
        xywh = self.numbers("bbox", self.column("bbox"), width=4)
        negative = (xywh[:, 2:] < 0).any(axis=1)
        if negative.any():
            index = int(np.argmax(negative))
            raise self.error(f"bbox {xywh[index].tolist()} has a negative width or height "
                             f"({int(negative.sum())} such boxes)", index,
                             "bbox is [left, top, width, height] in pixels, not corners")  # fmt: skip
        boxes = coco_fast.corners(xywh.copy())
        if boxes is None:
            index = next(i for i, box in enumerate(xywh) if coco_fast.corners(box[None].copy()) is None)
            raise self.error(f"bbox {xywh[index].tolist()} is too large", index)
        return boxes

    def sizes(self) -> np.ndarray | None:
        """float64 [N, 2] width and height; None where one is absent or not a number above 0."""
        size = [(row.get("width"), row.get("height")) for row in self.rows]
        known = all(type(side) in (int, float) and 0 < side <= sys.float_info.max for pair in size for side in pair)
        return np.array(size, dtype=np.float64).reshape(-1, 2) if known else None


def read_ground_truth(path: str | Path) -> tuple[GroundTruth, np.ndarray]:
    """Reads a COCO annotation file.

    Returns:
        The table, and the category ids by category index (rising, as pycocotools orders them).

    Raises:
        DataError: unreadable, not COCO, repeated or dangling ids, boxes that are not boxes.
    """
    path = Path(path)
    text = _read(path)
    table, category_ids, has_id_0 = coco_fast.ground_truth(text, path.stem) or _full_ground_truth(text, path)
    if has_id_0:
        log.info("an annotation has id 0: pycocotools takes hits of it for misses, so its figures may be lower")
    alone = int((table.ignore & ~table.crowd).sum())
    if alone:
        log.info("%d boxes have 'ignore' without 'iscrowd': ignored here, pycocotools would count them", alone)
    return with_labels(table, text), category_ids


def _full_ground_truth(text: bytes, path: Path) -> tuple[GroundTruth, np.ndarray, bool]:
    content = _parse(text, path)
    if not isinstance(content, dict):
        hint = "did you swap the two files?" if isinstance(content, list) else ""
        raise DataError(f"COCO ground truth must be an object, is {type(content).__name__}", file=path, hint=hint)
    missing = [key for key in ("images", "annotations", "categories") if key not in content]
    if missing:
        raise DataError(
            f"not COCO ground truth: no '{missing[0]}'; there is {', '.join(map(str, content)) or 'nothing'}",
            file=path,
        )
    images = _Rows(content["images"], "images", path)
    categories = _Rows(content["categories"], "categories", path)
    annotations = _Rows(content["annotations"], "annotations", path)
    image_ids = images.unique_ids("id")
    category_ids = categories.unique_ids("id")
    order = np.argsort(category_ids, kind="stable")
    names = [str(row.get("name", row["id"])) for row in categories.rows]
    with_ids = bool(annotations.rows) and "id" in annotations.rows[0]
    has_id_0 = with_ids and bool((annotations.unique_ids("id") == 0).any())
    xyxy, box_area = annotations.boxes()
    area = [row.get("area") for row in annotations.rows]
    area = [own if own is not None else box for own, box in zip(area, box_area.tolist(), strict=True)]
    crowd, ignore = annotations.flags("iscrowd"), annotations.flags("ignore")
    splits = {row["split"] if isinstance(row.get("split"), str) else None for row in images.rows}
    table = GroundTruth(
        image_id=image_ids,
        image=annotations.rows_of("image_id", image_ids, "image"),
        category=annotations.rows_of("category_id", category_ids[order], "category"),
        xyxy=xyxy,
        box_area=box_area,
        area=annotations.numbers("area", area),
        ignore=ignore | crowd,
        crowd=crowd,
        category_names=tuple(names[index] for index in order),
        name=path.stem,
        split=splits.pop() if len(splits) == 1 else None,
        size_wh=images.sizes(),
    )
    return table, category_ids[order], has_id_0


def read_results(path: str | Path, ground_truth: GroundTruth, category_ids: np.ndarray) -> FoundBoxes:
    """Reads a COCO result file: a list of ``{"image_id", "category_id", "bbox": [x, y, w, h], "score"}``.

    Args:
        path: of the file; an empty list is fine.
        ground_truth, category_ids: as ``read_ground_truth`` returned them.

    Raises:
        DataError: unreadable, not a list of detections, unknown ids, boxes or scores that are not numbers.
    """
    path = Path(path)
    text = _read(path)
    found = coco_fast.results(text, ground_truth, category_ids)
    found = _full_results(text, path, ground_truth, category_ids) if found is None else found
    outside = (found.score < 0) | (found.score > 1)
    if outside.any():
        index = int(np.argmax(outside))
        log.warning("%s: detections[%d] (image_id %r): score %g is outside 0..1 (%d such); only the order of scores "
                    "counts", path, index, ground_truth.image_id[found.image[index]].item(), found.score[index],
                    int(outside.sum()))  # fmt: skip
    return found


def _full_results(text: bytes, path: Path, ground_truth: GroundTruth, category_ids: np.ndarray) -> FoundBoxes:
    content = _parse(text, path)
    if isinstance(content, dict):
        hint = "did you swap the two files?" if "images" in content else "only the list itself belongs in the file"
        raise DataError("COCO results must be a list of detections, this is an object with "
                        f"{', '.join(map(str, content)) or 'nothing'}", file=path, hint=hint)  # fmt: skip
    results = _Rows(content, "detections", path)
    image = results.rows_of("image_id", ground_truth.image_id, "image")
    category = results.rows_of("category_id", category_ids, "category")
    xyxy, area = results.boxes()
    score = results.numbers("score", results.column("score"))
    return FoundBoxes(image, category, xyxy, area, score)
