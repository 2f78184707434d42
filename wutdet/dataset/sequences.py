"""Sequences: which frames belong together, also where the data set does not say so.

A frame keeps the sequence id that its data set gives. Where there is none:

- a frame with a number (WUTDet's file names are frame numbers of the full set) belongs to the block
  ``number // block``, named ``block-000012``. The block depends on nothing but the frame's own number, so it is the
  same in WUTDet's Part A (every 20th frame) and in the full set, whose frames lie between. Where the same number
  occurs in several folders, the numbers are the folders' own and the folder becomes part of the name;
- a frame without a number is a sequence of its own, named after its file.

Names start with the frame's source where it has one, as sequence ids do.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.hashing import box_neighbours, hash_components
from wutdet.dataset.leaks import relative_boxes
from wutdet.dataset.pictures import READABLE

#: ``block_number`` of frames whose sequence is not a block.
NO_BLOCK = -1


def block_number(dataset: Dataset, block: int) -> np.ndarray:
    """int64 [M]: block of each frame without a sequence id but with a number; NO_BLOCK for all others."""
    numbers = np.asarray(dataset.frame_index, dtype=np.int64)
    return np.where((dataset.sequence.codes < 0) & (numbers >= 0), numbers // block, NO_BLOCK)


def with_sequences(dataset: Dataset, block: int) -> Dataset:
    """The data set with a sequence for every frame (see the module's text).

    Args:
        block: frame numbers per block.
    """
    unnamed = np.flatnonzero(dataset.sequence.codes < 0)
    if not len(unnamed):
        return dataset
    blocks = block_number(dataset, block)
    folders = [str(PurePosixPath(dataset.path[row]).parent) for row in unnamed]
    numbers = np.asarray(dataset.frame_index)[unnamed]
    used = {(number, folder) for number, folder in zip(numbers.tolist(), folders, strict=True) if number >= 0}
    folder_counts = len({number for number, _ in used}) < len(used)
    names = [dataset.sequence[row] for row in range(len(dataset))]
    for row, folder in zip(unnamed.tolist(), folders, strict=True):
        if blocks[row] == NO_BLOCK:
            name = str(PurePosixPath(dataset.path[row]).with_suffix(""))
        else:
            name = f"block-{blocks[row]:06d}"
            if folder_counts:
                name = f"{folder}/{name}"
        source = dataset.source[row]
        names[row] = f"{source}/{name}" if source else name
    return dataset.with_labels(sequence=LabelColumn.of(names))


def linked_sequences(dataset: Dataset, pictures: np.ndarray, link_distance: int) -> np.ndarray:
    """int64 [number of sequences]: group of each sequence; linked sequences share one (that of the lowest code).

    Two sequences are linked when a frame of one and a frame of the other have difference hashes at most
    ``link_distance`` bits apart, or show the same objects (wutdet.dataset.hashing); links of links count.

    Args:
        dataset: with a sequence for every frame.
        pictures: PICTURE [M].
    """
    sequences = np.asarray(dataset.sequence.codes, dtype=np.int64)
    parent = np.arange(len(dataset.sequence.names), dtype=np.int64)
    good = np.flatnonzero(pictures["status"] == READABLE)
    component = hash_components(pictures["hash"][good], link_distance)
    _unite(parent, sequences[good], sequences[good[component]])
    boxes = relative_boxes(dataset, np.arange(len(dataset)))
    while True:  # each round joins every group to one more group that shows the same objects, until none does
        groups = _roots(parent)[sequences]
        match = box_neighbours(boxes, query_group=groups)
        linked = np.flatnonzero(match >= 0)
        if not len(linked):
            return _roots(parent)
        _unite(parent, sequences[linked], sequences[match[linked]])


def _find(parent: np.ndarray, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return int(node)


def _unite(parent: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    for pair in np.unique(np.stack([a, b], axis=1)[a != b], axis=0).tolist():
        low, high = sorted(_find(parent, node) for node in pair)
        parent[high] = low


def _roots(parent: np.ndarray) -> np.ndarray:
    return np.array([_find(parent, node) for node in range(len(parent))], dtype=np.int64)
