"""load_dataset: whatever the user has, as one Dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from wutdet.dataset import formats, index
from wutdet.dataset.classes import ClassMap, apply_class_map
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.formats import ReadOptions
from wutdet.dataset.presence import drop_missing_images
from wutdet.dataset.problems import ProblemSink
from wutdet.errors import DataError


def load_dataset(
    source: str | Path,
    split: str | None = None,
    *,
    format: str = "auto",
    classes: str | ClassMap = "keep",
    problems: list | None = None,
    splits: bool = True,
) -> Dataset:
    """Loads a data description (.yaml), an annotation file or a folder.

    Large data sets are opened from a memory-mapped index (see index.py); their columns are then read-only.

    Args:
        source: what to load. A description's own class map is applied before ``classes``.
        split: only this split.
        format: of ``source``; detected by default.
        classes: a ClassMap, or its command-line form ("ship", "keep", "ferry=ship,buoy=").
        problems: list that takes a Problem (kind, file, line, message) for everything that is wrong, which is then
            skipped (the index is left aside); without it, the first one raises.
        splits: apply the split file that a description names.

    Raises:
        DataError: nothing there, unreadable, of an unknown format, or wrong content.
        UsageError: ``format`` or ``classes`` is no such thing.
        MissingExtraError: the format needs a package that is not installed (SMD: scipy).
    """
    from wutdet.dataset.describe import find_description
    from wutdet.dataset.split_file import apply_split

    formats.check_format(format)
    class_map = ClassMap.parse(classes) if isinstance(classes, str) else classes
    sink = ProblemSink(problems)
    source = Path(source)
    description = find_description(source, format)
    if description is None:
        if not source.exists():
            raise DataError("no such data set", file=source, hint="name a folder, an annotation file or a .yaml file")
        dataset = _read(source, format, ReadOptions(), sink)
    else:
        dataset = _read(description.find_data(), description.format, description.options(), sink, description.name)
        dataset = apply_class_map(dataset, description.class_map, sink)
        if splits and description.splits is not None:
            dataset = apply_split(dataset, description.splits)
    dataset = apply_class_map(dataset, class_map, sink)
    return dataset if split is None else dataset.in_split(split)


def _read(source: Path, format: str, options: ReadOptions, sink: ProblemSink, name: str = "") -> Dataset:
    """The data set with the classes of its files."""
    if format == "auto":
        format = formats.detect(source)

    def read() -> Dataset:
        return drop_missing_images(formats.read(source, format, options, sink), sink)

    dataset = read() if sink.lenient else index.open_or_read(source, format, repr(options), read)
    return dataclasses.replace(dataset, name=name) if name else dataset
