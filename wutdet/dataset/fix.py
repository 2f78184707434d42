"""``wutdet data audit --fix DIR``: a cleaned copy in COCO; the original is never touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wutdet.boxes import box_area
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.findings import REMEDIES, Finding
from wutdet.dataset.write_coco import write_coco
from wutdet.dataset.writing import place_image, relative_names, staged_folder, unique_stems

ANNOTATIONS = "annotations/all.json"


def cleaned(dataset: Dataset, findings: Sequence[Finding], repeats: np.ndarray) -> Dataset:
    """The data set after the remedies of the findings: boxes clipped or dropped, frames dropped.

    Args:
        repeats: bool [M], frames of an earlier split that repeat a frame of a later one; dropped as well.
    """
    keep_frame, keep_box = ~repeats, np.ones(dataset.box_count, dtype=bool)
    clip = np.zeros(dataset.box_count, dtype=bool)
    for finding in findings:
        if finding.remedy == "drop-frame":
            keep_frame[finding.frame] = False
        elif finding.remedy == "drop-box":
            keep_box[finding.box] = False
        elif finding.remedy == "clip-box":
            clip[finding.box] = True
    size = np.tile(np.asarray(dataset.size_wh, dtype=np.float64)[dataset.box_image], 2)
    xyxy = np.where(clip[:, None], np.clip(dataset.xyxy, 0, size), dataset.xyxy)
    before = np.maximum(box_area(np.asarray(dataset.xyxy)), 1e-9)
    # A mask's area shrinks about as its box does; a box's area exactly so.
    area = np.where(clip, dataset.area * box_area(xyxy) / before, dataset.area)
    return replace(dataset, xyxy=xyxy, area=area).select_boxes(keep_box).select(keep_frame)


def write_cleaned(dataset: Dataset, findings: Sequence[Finding], repeats: np.ndarray, folder: Path) -> list[str]:
    """Writes ``folder/annotations/all.json`` and ``folder/images/``; returns what was done, line by line.

    Images are hard-linked where the disk allows it, otherwise copied. The folder appears whole or not at all.

    Raises:
        UsageError: ``folder`` is there and not empty.
        WutdetError: it cannot be written.
    """
    result = cleaned(dataset, findings, repeats)
    names = unique_stems(relative_names(result), [""] * len(result))
    with staged_folder(folder, may_replace=lambda _: False) as staging:
        (staging / "images").mkdir()
        for row, name in enumerate(names):
            place_image(result.image_file(row), staging / "images" / name, "link")
        losses = write_coco(result, staging / ANNOTATIONS, file_names=names)
    done = Counter((finding.kind, finding.remedy) for finding in findings if finding.remedy)
    left = Counter(finding.kind for finding in findings if not finding.remedy and finding.severity != "info")
    lines = [f"fixed    {kind} ({count}): {REMEDIES[remedy]}" for (kind, remedy), count in done.items()]
    lines += [f"not fixed  {kind} ({count}): only a person can" for kind, count in left.items()]
    lines += [f"lost     {loss}" for loss in losses]
    lines.append(
        f"cleaned copy: {Path(folder) / ANNOTATIONS} ({len(result)} of {len(dataset)} frames, {result.box_count} of "
        f"{dataset.box_count} boxes)"
    )
    return lines
