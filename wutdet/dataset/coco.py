"""COCO JSON reader (writer: see write_coco).

Beyond plain COCO these keys are read where present: ``images[].attributes`` (``scene``, ``condition`` or
``conditions``, any other), ``sequence_id`` / ``sequence`` / ``video_id``, ``frame_index`` / ``frame_no``, ``source``,
``split``, and ``annotations[].ignore`` / ``iscrowd`` / ``attributes``. Every other key of an image or annotation
becomes a label of its own name, as text; nested objects become ``outer.inner``. Masks (``segmentation``) are not kept.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap, apply_class_map
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.image_header import read_size_wh
from wutdet.dataset.json_lines import read_json_with_lines
from wutdet.dataset.problems import ProblemSink
from wutdet.dataset.split_file import is_split_file
from wutdet.errors import DataError

logger = logging.getLogger(__name__)

_IMAGE_KEYS = frozenset(("id", "file_name", "width", "height", "attributes", "conditions", "condition", "sequence_id",
                         "sequence", "video_id", "frame_index", "frame_no", "source", "split"))  # fmt: skip
_ANNOTATION_KEYS = frozenset(
    ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "segmentation", "attributes")
)
_SPLIT_OF_STEM = re.compile(r"(?:instances_)?(train|val|valid|validation|test)\d*")
_ROBOFLOW = "_annotations.coco"


def image_folder_of(annotation_file: Path) -> Path:
    """The folder that ``file_name`` is relative to: ``images/`` beside the file, ``../images/``, or the file's own."""
    for folder in (annotation_file.parent / "images", annotation_file.parent.parent / "images"):
        if folder.is_dir():
            return folder
    return annotation_file.parent


def split_of_file(annotation_file: Path) -> str | None:
    """The split that an annotation file's name stands for: ``val.json``, ``instances_val2017.json``,
    ``valid/_annotations.coco.json`` are ``val``; ``None`` where the name says nothing."""
    stem = annotation_file.stem
    match = _SPLIT_OF_STEM.fullmatch(annotation_file.parent.name if stem == _ROBOFLOW else stem)
    if match is None:
        return None
    return "val" if match[1] in ("valid", "validation") else match[1]


def find_coco_files(folder: Path) -> list[Path]:
    """The annotation files of a folder: ``annotations/*.json``, ``*.json``, or Roboflow's one per split folder."""
    for found in (
        sorted((folder / "annotations").glob("*.json")),
        sorted(folder.glob("*.json")),
        sorted(folder.glob(f"*/{_ROBOFLOW}.json")),
    ):
        if found := [file for file in found if not is_split_file(file)]:
            return found
    return []


def read_coco(annotation_file: Path, class_map: ClassMap, images: Path | None = None) -> Dataset:
    """Reads one COCO annotation file.

    Args:
        annotation_file: the JSON file.
        class_map: what becomes of each class.
        images: folder that ``file_name`` is relative to; found by image_folder_of by default.

    Raises:
        DataError: unreadable, an entry without a needed field, dangling or duplicate ids, wrong boxes.
    """
    return apply_class_map(read_coco_files([Path(annotation_file)], images=images), class_map)


def read_coco_files(
    files: Sequence[Path], *, images: Path | None = None, sink: ProblemSink | None = None, name: str = ""
) -> Dataset:
    """Reads one or several COCO annotation files as one data set; each frame is labelled with the split that its own
    ``split`` key, or else its file's name, says.

    Image ids are kept where they are unique over all files; else frames are numbered from 1.

    Raises:
        DataError: as read_coco, unless ``sink`` collects problems.
    """
    sink = ProblemSink() if sink is None else sink
    contents = []
    for file in files:
        try:
            contents.append((file, *_load(file)))
        except DataError as error:
            sink.report("unreadable-annotation", error.message, file=file, line=error.line, hint=error.hint)
    folders = [images or _existing_folder(file, content) for file, content, _ in contents]
    root = folders[0] if len(set(folders)) == 1 else Path(os.path.commonpath(folders)) if folders else files[0].parent
    builder = DatasetBuilder(root, name=name or (files[0].stem if len(files) == 1 else root.name), sink=sink)
    reader = _Reader(builder, sink)
    # Ids are kept only if no two files use the same one; a repetition inside one file is reported instead.
    ids = [_image_ids(content) for _, content, _ in contents]
    keep_ids = sum(map(len, ids)) == len(set().union(*ids))
    for (file, content, lines), folder in zip(contents, folders, strict=True):
        reader.read(file, content, lines, os.path.relpath(folder, root), keep_ids)
    reader.finish()
    return builder.build()


def _load(file: Path) -> tuple[dict, dict[str, list[int]]]:
    content, lines = read_json_with_lines(file)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            found = ", ".join(f"'{k}'" for k in list(content)[:8]) or "nothing"
            raise DataError(
                f"not a COCO annotation file: it has no list '{key}' (found {found})",
                file=file,
                hint="a COCO file has 'images', 'annotations' and 'categories'; name the format with --format",
            )
    return content, lines


def _existing_folder(file: Path, content: dict) -> Path:
    """image_folder_of, or another usual place if the first pictures are there instead."""
    usual = image_folder_of(file)
    first = (image.get("file_name") for image in content["images"][:3] if isinstance(image, dict))
    names = [name for name in first if isinstance(name, str)]
    parents = (file.parent, file.parent.parent)
    places = [usual, *parents]
    places += [
        place / stem
        for place in (*parents, *(p / "images" for p in parents))
        for stem in (file.stem, file.stem.removeprefix("instances_"))
    ]
    for place in places:
        if any((place / name).is_file() for name in names):
            return place
    return usual


def _image_ids(content: dict) -> set[int]:
    return {_integer(image.get("id")) for image in content["images"] if isinstance(image, dict)} - {None}


class _Reader:
    """Adds the content of COCO files to a builder, entry by entry."""

    def __init__(self, builder: DatasetBuilder, sink: ProblemSink):
        self.builder, self.sink = builder, sink
        self.seen_paths: dict[str, Path] = {}
        self.category_ids: dict[str, int | None] = {}
        self.masks = 0

    def read(self, file: Path, content: dict, lines: dict[str, list[int]], folder: str, keep_ids: bool) -> None:
        self.file = file
        self.annotation_file = os.path.relpath(file, self.builder.root).replace(os.sep, "/")
        self.file_split = split_of_file(file)
        self.folder = "" if folder == "." else folder.replace(os.sep, "/") + "/"
        for key in ("info", "licenses"):
            if content.get(key):
                self.builder.info.setdefault(key, content[key])
        categories = self._categories(content["categories"], lines["categories"])
        rows: dict[int, int] = {}
        for image, line in zip(content["images"], lines["images"], strict=True):
            self._image(image, line, rows, keep_ids)
        skipped = _image_ids(content) - set(rows)
        for annotation, line in zip(content["annotations"], lines["annotations"], strict=True):
            self._annotation(annotation, line, rows, skipped, categories)

    def finish(self) -> None:
        ids = [self.category_ids.get(name) for name in self.builder.class_map.names]
        if ids and None not in ids and len(set(ids)) == len(ids):
            self.builder.info["category_ids"] = ids
        if self.masks:
            logger.info("%d masks were not kept: wutdet reads boxes only", self.masks)

    def _report(self, kind: str, message: str, line: int, hint: str = "") -> None:
        self.sink.report(kind, message, file=self.file, line=line, hint=hint)

    def _categories(self, categories: list, lines: list[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        for category, line in zip(categories, lines, strict=True):
            number = _integer(category.get("id")) if isinstance(category, dict) else None
            name = category.get("name") if number is not None else None
            if not isinstance(name, str) or not name:
                self._report(
                    "missing-field", f"category without a whole number 'id' and a 'name': {_short(category)}", line
                )
            elif number in found:
                self._report("duplicate-id", f"category id {number} is used twice ('{found[number]}', '{name}')", line)
            else:
                found[number] = name
                self.builder.class_map.index(name)
                known = self.category_ids.setdefault(name, number)
                if known != number:  # another file numbers it differently
                    self.category_ids[name] = None
        return found

    def _image(self, image, line: int, rows: dict[int, int], keep_ids: bool) -> None:
        if not isinstance(image, dict):
            return self._report("bad-value", f"an image must be an object, received {_short(image)}", line)
        number, file_name = _integer(image.get("id")), image.get("file_name")
        if number is None:
            return self._report(
                "missing-field",
                f"image id must be a whole number, received {_short(image.get('id'))} for {_short(file_name)}",
                line,
            )
        if not isinstance(file_name, str) or not file_name:
            return self._report("missing-field", f"image {number} has no 'file_name'", line)
        if number in rows:
            message = f"image id {number} is used twice, the second time by '{file_name}'"
            return self._report("duplicate-id", message, line)
        file_name = file_name.replace("\\", "/")
        path = file_name if os.path.isabs(file_name) else self.folder + file_name
        if path in self.seen_paths:
            where = "" if self.seen_paths[path] == self.file else f" (first in {self.seen_paths[path].name})"
            return self._report(
                "duplicate-image",
                f"image '{file_name}' is listed twice{where}",
                line,
                "name one annotation file instead of the folder" if where else "",
            )
        size = self._size(image, path, line)
        if size is None:
            return None
        self.seen_paths[path] = self.file
        rows[number] = self.builder.add_image(
            path,
            size,
            image_id=number if keep_ids else None,
            annotation_file=self.annotation_file,
            **image_tags(image, self.file_split),
        )

    def _size(self, image: dict, path: str, line: int) -> tuple[int, int] | None:
        size = _integer(image.get("width")), _integer(image.get("height"))
        if image.get("width") is None and image.get("height") is None:
            file = self.builder.root / path
            if file.is_file():
                try:
                    return read_size_wh(file)
                except DataError as error:
                    return self._report("bad-value", f"image '{path}' has no size, and: {error.message}", line)
            return self._report("missing-field", f"image '{path}' has no 'width' and 'height'", line)
        if None in size or not all(0 < side < 1 << 30 for side in size):
            received = f"{_short(image.get('width'))} x {_short(image.get('height'))}"
            return self._report("bad-value", f"size of image '{path}' must be whole pixels above 0: {received}", line)
        return size

    def _annotation(self, annotation, line: int, rows: dict, skipped: set, categories: dict[int, str]) -> None:
        if not isinstance(annotation, dict):
            return self._report("bad-value", f"an annotation must be an object, received {_short(annotation)}", line)
        what = f"annotation {_short(annotation.get('id'))}"
        image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
        row = rows.get(_integer(image_id))
        if row is None:
            if _integer(image_id) in skipped:  # said already
                return None
            message = f"{what} refers to image id {_short(image_id)}, which is not in 'images'"
            return self._report("dangling-id", message, line)
        name = categories.get(_integer(category_id))
        if name is None:
            return self._report(
                "dangling-id", f"{what} refers to category id {_short(category_id)}, which is not in 'categories'", line
            )
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
            message = f"{what}: 'bbox' must be [x, y, width, height], received {_short(box)}"
            return self._report("missing-field" if box is None else "bad-value", message, line)
        x, y, width, height = box
        area = annotation.get("area")
        if area is not None and not (_is_number(area) and math.isfinite(area) and area >= 0):
            return self._report(
                "bad-value", f"{what}: 'area' must be a number of at least 0, received {_short(area)}", line
            )
        crowd = bool(annotation.get("iscrowd", 0))
        self.masks += bool(annotation.get("segmentation"))
        self.builder.add_box(
            row,
            (x, y, x + width, y + height),
            name,
            area=area,
            ignore=bool(annotation.get("ignore", 0)) or crowd,
            crowd=crowd,
            line=line,
            file=self.file,
            labels=_flat({k: v for k, v in annotation.items() if k not in _ANNOTATION_KEYS})
            | _flat(annotation.get("attributes") or {}),
        )
        return None


def image_tags(image: dict, file_split: str | None = None) -> dict:
    """``frame_index``, ``conditions`` and ``labels`` for DatasetBuilder.add_image out of a COCO image entry."""
    attributes = image.get("attributes")
    attributes = dict(attributes) if isinstance(attributes, dict) else {}
    conditions: list[str] = []
    for place in (attributes, image):
        for key in ("conditions", "condition"):
            value = place.get(key)
            conditions += [value] if isinstance(value, str) else [str(v) for v in value or ()]
    attributes = {k: v for k, v in attributes.items() if k not in ("conditions", "condition")}
    source = image.get("source")
    extra = {k: v for k, v in image.items() if k not in _IMAGE_KEYS}
    if isinstance(source, dict):  # SeaDronesSee: {drone, folder_name, video, frame_no}
        extra["source"], source = source, None
    numbers = (image.get("frame_index"), image.get("frame_no"), (extra.get("source") or {}).get("frame_no"))
    frame = next((n for n in map(_integer, numbers) if n is not None), -1)
    names = (image.get(key) for key in ("sequence_id", "sequence", "video_id"))
    sequence = next((str(n) for n in names if n is not None), None)
    if sequence is not None and source is not None:
        sequence = f"{source}/{sequence}"
    split = image.get("split")
    return {
        "frame_index": frame,
        "conditions": [c for c in dict.fromkeys(conditions) if c and c != "clear"],
        "labels": {
            **_flat(extra),
            **_flat(attributes),
            "sequence": sequence,
            "source": source,
            "split": file_split if split is None else split,
        },
    }


def _flat(values: dict, prefix: str = "") -> dict[str, str]:
    """Every value as text; nested objects as ``outer.inner``; empty values are left out."""
    out: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            out[prefix + key] = value
        elif value is not None and value != []:
            out[prefix + key] = json.dumps(value, ensure_ascii=False)
    return out


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _integer(value) -> int | None:
    if _is_number(value) and math.isfinite(value) and value == int(value) and abs(value) < 1 << 62:
        return int(value)
    return None


def _short(value) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
