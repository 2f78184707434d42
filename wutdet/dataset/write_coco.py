"""COCO JSON writer: the format that holds everything a Dataset knows (reader: see coco.py)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wutdet.dataset.coco import image_folder_of
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.writing import Loss, check_finite, losses
from wutdet.errors import DataError
from wutdet.files import write_bytes

#: Image labels that have a key of their own; all others are ``attributes``.
OWN_KEYS = ("sequence", "source", "split")
#: Attributes that readers take for the conditions, so no other label can have these names.
CONDITION_KEYS = ("condition", "conditions")


def write_coco(dataset: Dataset, file: str | Path, *, file_names: Sequence[str] | None = None) -> list[Loss]:
    """Writes one COCO annotation file, atomically, one image or annotation per line.

    Keys beyond plain COCO: ``images[].attributes`` (``scene``, ``conditions`` as a list, any other label),
    ``sequence_id``, ``frame_index``, ``source``, ``split``; ``annotations[].ignore``, ``attributes``.
    ``sequence_id`` has no ``source/`` in front where ``source`` is known: the reader puts it there.

    Args:
        dataset: what to write.
        file: the annotation file.
        file_names: ``file_name`` per frame. By default the image's path relative to the folder where the reader
            will look for it (``images/`` beside ``file``, ``../images/``, or the file's own folder), and its
            absolute path where it lies elsewhere.

    Returns:
        What could not be held; empty for a Dataset that keeps to its own rules.

    Raises:
        DataError: a coordinate, an area or a value in ``dataset.info`` is NaN or infinite.
        WutdetError: the file cannot be written.
    """
    file = Path(file)
    check_finite(dataset)
    if file_names is None:
        file_names = _file_names(dataset, image_folder_of(file))
    try:
        parts = {
            "info": [_line(dataset.info.get("info") or {"description": dataset.name})],
            "licenses": [_line(dataset.info.get("licenses") or [])],
            "categories": [_line(category) for category in categories_of(dataset)],
            "images": [_line(image) for image in _images(dataset, file_names)],
            "annotations": [_line(annotation) for annotation in _annotations(dataset)],
        }
    except (ValueError, TypeError) as error:
        raise DataError(f"'{dataset.name}' holds a value that JSON cannot: {error}", file=file) from error
    chunks = []
    for key, lines in parts.items():
        if key in ("info", "licenses"):
            chunks.append(b'"%s": %s' % (key.encode(), lines[0]))
        else:
            chunks.append(b'"%s": [\n%s\n]' % (key.encode(), b",\n".join(lines)))
    write_bytes(file, b"{\n" + b",\n".join(chunks) + b"\n}\n")
    return _losses(dataset)


def category_ids(dataset: Dataset) -> list[int]:
    """The ids of ``dataset.category_names`` in COCO files: the original ones where known, else 1, 2, ..."""
    ids = dataset.info.get("category_ids")
    if ids is not None and len(ids) == len(dataset.category_names) == len(set(ids)):
        return [int(i) for i in ids]
    return list(range(1, len(dataset.category_names) + 1))


def categories_of(dataset: Dataset) -> list[dict]:
    """The ``categories`` list of a COCO file."""
    # Some readers fail without "supercategory"; "none" would make others skip the class.
    return [
        {"id": number, "name": name, "supercategory": "object"}
        for number, name in zip(category_ids(dataset), dataset.category_names, strict=True)
    ]


def exact_width_height(xyxy: np.ndarray) -> np.ndarray:
    """float64 [N, 2] sizes such that ``xy + size`` gives the second corner back, bit for bit.

    ``x2 - x1`` alone is up to one unit in the last place off, and turns a width of 26.0 into 25.999999999999886.
    Of the sizes that give the corner back, the one with the fewest decimals is taken. Boxes that came from a COCO file
    always have one. Others may have none, where every sum falls on a tie; then they move by one unit in the last
    place (2e-13 px), once.
    """
    low, high = xyxy[:, :2], xyxy[:, 2:]
    size = high - low
    for neighbour in (np.nextafter(size, np.inf), np.nextafter(size, -np.inf)):
        size = np.where((low + size != high) & (low + neighbour == high), neighbour, size)
    for decimals in (9, 6, 5, 4, 3, 2, 1, 0):
        rounded = np.round(size, decimals)
        size = np.where(low + rounded == high, rounded, size)
    return size


def _file_names(dataset: Dataset, folder: Path) -> list[str]:
    root, folder = os.path.abspath(dataset.root), os.path.abspath(folder)
    names = []
    for text in dataset.path:
        path = os.path.normpath(os.path.join(root, text))
        inside = path.startswith(os.path.join(folder, ""))
        names.append((path[len(os.path.join(folder, "")) :] if inside else path).replace(os.sep, "/"))
    return names


def _images(dataset: Dataset, file_names: Sequence[str]) -> Iterator[dict]:
    sizes, ids, frames = dataset.size_wh.tolist(), dataset.image_id.tolist(), dataset.frame_index.tolist()
    others = {key: column for key, column in dataset.labels.items() if key not in (*OWN_KEYS, *CONDITION_KEYS)}
    for row, (name, (width, height)) in enumerate(zip(file_names, sizes, strict=True)):
        image = {"id": ids[row], "file_name": name, "width": width, "height": height}
        source, sequence = dataset.source[row], dataset.sequence[row]
        if sequence is not None:
            image["sequence_id"] = sequence.removeprefix(f"{source}/") if source else sequence
        if frames[row] >= 0:
            image["frame_index"] = frames[row]
        if source is not None:
            image["source"] = source
        if (split := dataset.split[row]) is not None:
            image["split"] = split
        attributes: dict = {key: column[row] for key, column in others.items() if column[row] is not None}
        if conditions := dataset.conditions_of(row):
            attributes["conditions"] = list(conditions)
        if attributes:
            image["attributes"] = attributes
        yield image


def _annotations(dataset: Dataset) -> Iterator[dict]:
    xyxy = np.asarray(dataset.xyxy, dtype=np.float64)
    bbox = np.concatenate([xyxy[:, :2], exact_width_height(xyxy)], axis=1).tolist()
    image_ids = np.asarray(dataset.image_id)[dataset.box_image].tolist()
    categories = np.array(category_ids(dataset), dtype=np.int64)[dataset.category].tolist()
    area, crowd, ignore = dataset.area.tolist(), dataset.crowd.tolist(), dataset.ignore.tolist()
    columns = {
        key: [None if code < 0 else column.names[code] for code in np.asarray(column.codes).tolist()]
        for key, column in dataset.box_labels.items()
    }
    for row, box in enumerate(bbox):
        annotation = {
            "id": row + 1,
            "image_id": image_ids[row],
            "category_id": categories[row],
            "bbox": box,
            "area": area[row],
            "iscrowd": int(crowd[row]),
            "ignore": int(ignore[row]),
        }
        labels = {key: values[row] for key, values in columns.items() if values[row] is not None}
        if labels:
            annotation["attributes"] = labels
        yield annotation


def _losses(dataset: Dataset) -> list[Loss]:
    foreign = sum(
        1
        for row in np.flatnonzero((dataset.source.codes >= 0) & (dataset.sequence.codes >= 0)).tolist()
        if not dataset.sequence[row].startswith(f"{dataset.source[row]}/")
    )
    return losses(
        ("sequence is read back with 'source/' in front of it", foreign, "images"),
        *(
            (f"label '{key}', whose name stands for the conditions", (dataset.labels[key].codes >= 0).sum(), "images")
            for key in CONDITION_KEYS
            if key in dataset.labels
        ),
    )


def _line(value) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is not UTF-8 on disk: JSON escapes can hold it
        return json.dumps(value, allow_nan=False).encode("ascii")
