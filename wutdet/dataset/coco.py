"""COCO JSON reader (writer: see write_coco).

Beyond plain COCO these keys are read where present: ``images[].attributes`` (``scene``, ``condition`` or ``conditions``,
any other), ``sequence_id`` / ``sequence`` / ``video_id``, ``frame_index`` / ``frame_no``, ``source``, ``split``, and
``annotations[].ignore`` / ``iscrowd``.
"""

from __future__ import annotations

import json
from pathlib import Path

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError


def image_folder_of(annotation_file: Path) -> Path:
    """The folder that ``file_name`` is relative to: the file's own, ``images/`` beside it, or ``../images/``."""
    for folder in (annotation_file.parent / "images", annotation_file.parent.parent / "images"):
        if folder.is_dir():
            return folder
    return annotation_file.parent


def read_coco(annotation_file: Path, class_map: ClassMap, images: Path | None = None) -> Dataset:
    """Reads one COCO annotation file."""
    annotation_file = Path(annotation_file)
    try:
        content = json.loads(annotation_file.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg}", file=annotation_file, line=error.lineno) from error
    builder = DatasetBuilder(images or image_folder_of(annotation_file), class_map, annotation_file.stem)
    categories = {c["id"]: c["name"] for c in content["categories"]}
    rows = {}
    for image in content["images"]:
        attributes = dict(image.get("attributes") or {})
        conditions = attributes.pop("conditions", None) or attributes.pop("condition", None) or ()
        if isinstance(conditions, str):
            conditions = [conditions]
        sequence = image.get("sequence_id", image.get("sequence", image.get("video_id")))
        source = image.get("source")
        rows[image["id"]] = builder.add_image(
            image["file_name"],
            (image["width"], image["height"]),
            image_id=image["id"],
            frame_index=image.get("frame_index", -1),
            conditions=[c for c in conditions if c != "clear"],
            annotation_file=str(annotation_file),
            labels={
                **attributes,
                "sequence": None if sequence is None else f"{source}/{sequence}" if source else str(sequence),
                "source": source if isinstance(source, str) else None,
                "split": image.get("split"),
            },
        )
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        crowd = bool(annotation.get("iscrowd", 0))
        builder.add_box(
            rows[annotation["image_id"]],
            (x, y, x + w, y + h),
            categories[annotation["category_id"]],
            area=annotation.get("area"),
            ignore=bool(annotation.get("ignore", 0)) or crowd,
            crowd=crowd,
        )
    return builder.build()
