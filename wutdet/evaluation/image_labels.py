"""What a COCO file says of its images beyond their size: sequence, scene, source, conditions and any other attribute.

``wutdet score`` needs no images and no Dataset, but slices and resampling by sequence need these labels.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np

from wutdet.dataset.coco import image_tags
from wutdet.dataset.columns import LabelColumn
from wutdet.evaluation.tables import GroundTruth

# Keys that every COCO file has and that say nothing of a scene.
_PLAIN_KEYS = frozenset(
    ("id", "file_name", "width", "height", "split", "license", "coco_url", "flickr_url", "date_captured")
)
_IMAGES = re.compile(r'"images"\s*:\s*(?=\[)')


def with_labels(truth: GroundTruth, text: bytes) -> GroundTruth:
    """The table with the labels and conditions of its images, where the file has any.

    Args:
        truth: as read from the file.
        text: of the file, valid COCO.
    """
    images = _image_rows(truth, text)
    if images is None or all(row.keys() <= _PLAIN_KEYS for row in images):
        return truth
    tags = [image_tags(row) for row in images]
    names = dict.fromkeys(name for tag in tags for name in tag["labels"])
    labels = {name: LabelColumn.of(tag["labels"].get(name) for tag in tags) for name in names}
    conditions = {
        name: np.array([name in tag["conditions"] for tag in tags])
        for name in dict.fromkeys(name for tag in tags for name in tag["conditions"])
    }
    if conditions:
        conditions["clear"] = ~np.any(list(conditions.values()), axis=0)
    return replace(truth, labels=labels, conditions=conditions)


def _image_rows(truth: GroundTruth, text: bytes) -> list[dict] | None:
    """The images list alone, parsed without the (much longer) annotations; None where it cannot be told apart."""
    content = text.decode("utf-8")
    for place in _IMAGES.finditer(content):
        try:
            rows, _ = json.JSONDecoder().raw_decode(content, place.end())
        except json.JSONDecodeError:  # the word stood inside a string
            continue
        found = isinstance(rows, list) and len(rows) == truth.image_count and all(isinstance(r, dict) for r in rows)
        if found and [row.get("id") for row in rows] == truth.image_id.tolist():
            return rows
    return None
