"""load_dataset: whatever the user has, as one Dataset."""

from __future__ import annotations

from pathlib import Path

from wutdet.dataset.classes import ClassMap
from wutdet.dataset.coco import read_coco
from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError


def load_dataset(
    source: str | Path, split: str | None = None, *, format: str = "auto", classes: str | ClassMap = "keep"
) -> Dataset:
    """Loads a data description (.yaml), an annotation file or a folder.

    Args:
        source: what to load.
        split: only this split.
        format: of ``source``; detected by default.
        classes: a ClassMap, or its command-line form ("ship", "keep", "ferry=ship,buoy=").

    Raises:
        DataError: nothing there, unreadable, or of an unknown format.
    """
    class_map = ClassMap.parse(classes) if isinstance(classes, str) else classes
    source = Path(source)
    if not source.exists():
        raise DataError("no such data set", file=source)
    dataset = read_coco(source, class_map)
    return dataset if split is None else dataset.in_split(split)
