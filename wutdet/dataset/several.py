"""Several data sets in one command: a short name for each, and which of their frames train and which test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wutdet.dataset.coco import split_of_file
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.describe import find_description
from wutdet.errors import UsageError

TRAINING_SPLITS = ("train", "trainval")

# Names of files and folders that say nothing about whose data it is.
_LAYOUT = frozenset({"annotations", "images", "labels"})
_UNTELLING = frozenset({"all", "data", "_annotations.coco"})


def unique_names(given: Sequence[str], format: str = "auto") -> dict[str, str]:
    """A short name for every data set: its description's, or that of its folder or file with as many folders in front
    as it takes to tell it from the others (``harborcams-val`` for ``harborcams/annotations/val.json``).

    Raises:
        UsageError: the same data set is named twice.
    """
    places = Counter(Path(text).resolve() for text in given)
    if twice := [text for text in given if places[Path(text).resolve()] > 1]:
        raise UsageError(f"the data set '{twice[0]}' is named twice", hint="name each data set once")
    chains = {text: _chain(Path(text), format) for text in given}
    names = {text: chain[0] for text, chain in chains.items()}
    for length in range(2, 1 + max((len(chain) for chain in chains.values()), default=0)):
        count = Counter(names.values())
        names = {
            text: name if count[name] == 1 else "-".join(reversed(chains[text][:length]))
            for text, name in names.items()
        }
    count = Counter(names.values())
    return {text: name if count[name] == 1 else Path(text).as_posix() for text, name in names.items()}


def _chain(path: Path, format: str) -> list[str]:
    """Names to choose from: the shortest good name first, then the folders above it, nearest first."""
    description = find_description(path, format)
    place = path.resolve()
    folders = [name for name in reversed(place.parent.parts[1:]) if name not in _LAYOUT]
    if description is not None:
        return [description.name, *folders]
    stem = place.stem if place.suffix.lower() in (".json", ".yaml", ".yml", ".xml") else place.name
    if folders and stem in _UNTELLING:
        return folders
    if folders and split_of_file(place) is not None:
        return [f"{folders[0]}-{stem}", *folders[1:]]
    return [stem, *folders]


def evaluation_frames(dataset: Dataset, split: str | None) -> Dataset:
    """The frames of a split to test on; all frames of a set that has neither this split nor a training split.

    Raises:
        DataError: the set has a training split, but not this one.
    """
    splits = dataset.split.counts()
    if split is None or (split not in splits and not any(name in splits for name in TRAINING_SPLITS)):
        return dataset
    return dataset.in_split(split)


def training_frames(dataset: Dataset) -> Dataset:
    """The training split; all frames of a set without one."""
    splits = dataset.split.counts()
    present = [name for name in TRAINING_SPLITS if name in splits]
    return dataset.select(np.any([dataset.split.is_(name) for name in present], axis=0)) if present else dataset
