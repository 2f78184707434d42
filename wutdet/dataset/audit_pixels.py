"""Audit of the picture files: damage, true size, unusual kinds, and duplicates inside and across splits and sets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.findings import Finding
from wutdet.dataset.hashing import box_neighbours, hash_neighbours
from wutdet.dataset.leaks import relative_boxes
from wutdet.dataset.pictures import MISSING, READABLE, TRUNCATED
from wutdet.errors import DataError
from wutdet.exif import SWAPPING
from wutdet.images import read_image

#: From the first to the last: of two twins in different splits, the one in the later split is kept.
SPLIT_ORDER = ("train", "trainval", "val", "valid", "validation", "dev", "test")


def check_files(dataset: Dataset, pictures: np.ndarray) -> Iterator[Finding]:
    """Missing, damaged and mis-sized pictures; 16-bit, grey, transparent and EXIF-rotated ones.

    Args:
        pictures: PICTURE [M], decoded.
    """
    for row in np.flatnonzero(pictures["status"] != READABLE).tolist():
        kind = {MISSING: "missing-image", TRUNCATED: "truncated-image"}.get(pictures["status"][row], "unreadable-image")
        file = dataset.image_file(row)
        try:
            read_image(file)
            message = "could not be read before, and can be now"
        except DataError as error:
            message = error.message
        yield Finding("error", kind, str(file), 0, message, "drop-frame", row)
    good = pictures["status"] == READABLE
    stored = np.stack([pictures["width"], pictures["height"]], axis=1)
    annotated = np.asarray(dataset.size_wh)
    fits = (stored == annotated).all(axis=1)
    fits |= np.isin(pictures["orientation"], SWAPPING) & (stored[:, ::-1] == annotated).all(axis=1)
    for row in np.flatnonzero(good & ~fits).tolist():
        yield Finding(
            "error", "image-size", str(dataset.image_file(row)), 0,
            f"the picture is {stored[row, 0]}x{stored[row, 1]}, its annotation says "
            f"{annotated[row, 0]}x{annotated[row, 1]}", "drop-frame", row,
        )  # fmt: skip
    unusual = {
        "image-16-bit": (pictures["bits"] > 8, "has more than 8 bits per channel; it is read as 8-bit"),
        "image-grey": (pictures["channels"] == 1, "is grey; it is read as three equal channels"),
        "image-alpha": (pictures["channels"] == 4, "has an alpha channel, which is dropped"),
        "image-rotated": (pictures["orientation"] > 1, "has an EXIF rotation, which is applied"),
    }
    for kind, (rows, text) in unusual.items():
        for row in np.flatnonzero(good & rows).tolist():
            yield Finding("info", kind, str(dataset.image_file(row)), 0, f"the picture {text}", frame=row)


class Duplicates:
    """Exact and near duplicates over all frames of an audit.

    Args:
        dataset: all data sets, one after the other.
        pictures: PICTURE [M].
        part: the split of each frame.
        origin: int64 [M], which of the data sets each frame is of.
        near_distance: hash distance up to which frames are near duplicates.
    """

    def __init__(self, dataset: Dataset, pictures: np.ndarray, part: LabelColumn, origin: np.ndarray,
                 near_distance: int):  # fmt: skip
        self.dataset, self.pictures, self.part, self.origin = dataset, pictures, part, origin
        self.near_distance = near_distance
        order = [name for name in SPLIT_ORDER if name in part.names]
        order += sorted(set(part.names) - set(order))
        rank = np.array([order.index(name) for name in part.names] + [-1], dtype=np.int64)
        #: int64 [M], place of the frame's split in the order, -1 without a split.
        self.rank = rank[part.codes]
        self.readable = np.flatnonzero(pictures["status"] == READABLE)
        #: bool [M], frames of an earlier split that repeat a frame of a later one.
        self.repeats_later_split = np.zeros(len(dataset), dtype=bool)
        self._exact = np.zeros(len(dataset), dtype=bool)

    def check(self) -> Iterator[Finding]:
        """All findings on duplicates."""
        yield from self._exact_duplicates()
        yield from self._across_splits()
        yield from self._across_sets()
        yield from self._inside()

    def _place(self, row: int) -> str:
        split = self.part[row]
        return f"'{self.dataset.path[row]}'" + (f" of split '{split}'" if split else "")

    def _exact_duplicates(self) -> Iterator[Finding]:
        groups: dict[bytes, list[int]] = {}
        for row in self.readable.tolist():
            groups.setdefault(self.pictures["digest"][row].tobytes(), []).append(row)
        for rows in groups.values():
            if len(rows) < 2:
                continue
            keep = max(rows, key=lambda row: (self.rank[row], -row))
            self._exact[rows] = True
            for row in rows:
                if row == keep:
                    continue
                if self.rank[row] != self.rank[keep] and self.rank[row] >= 0:
                    severity, kind = "error", "duplicate-across-splits"
                elif self.origin[row] != self.origin[keep]:
                    severity, kind = "warning", "duplicate-across-sets"
                else:
                    severity, kind = "warning", "duplicate-image"
                message = f"the same content as {self._place(keep)}"
                yield Finding(severity, kind, str(self.dataset.image_file(row)), 0, message, "drop-frame", row)

    def _across_splits(self) -> Iterator[Finding]:
        rank, hashes = self.rank, self.pictures["hash"]
        for later in range(1, int(rank.max(initial=0)) + 1):
            query = self.readable[rank[self.readable] == later]
            base = self.readable[(rank[self.readable] < later) & (rank[self.readable] >= 0)]
            if not len(query) or not len(base):
                continue
            nearest, distance, found = hash_neighbours(hashes[query], hashes[base], limit=self.near_distance)
            if (nearest >= 0).any():  # otherwise no frame of base can have a twin either
                back, _, _ = hash_neighbours(hashes[base], hashes[query], limit=self.near_distance)
                self.repeats_later_split[base[back >= 0]] = True
            boxes, base_boxes = relative_boxes(self.dataset, query), relative_boxes(self.dataset, base)
            same = box_neighbours(boxes, base_boxes)
            if (same >= 0).any():
                self.repeats_later_split[base[box_neighbours(base_boxes, boxes) >= 0]] = True
            for index, row in enumerate(query.tolist()):
                if self._exact[row] and self._has_exact_twin(row, base):
                    continue
                file = str(self.dataset.image_file(row))
                if nearest[index] >= 0:
                    others = f", and {found[index] - 1} more" if found[index] > 1 else ""
                    yield Finding(
                        "error", "near-duplicate-across-splits", file, 0,
                        f"near duplicate of {self._place(int(base[nearest[index]]))} "
                        f"(distance {distance[index]} of 256{others})", "drop-twins", row,
                    )  # fmt: skip
                elif same[index] >= 0:
                    yield Finding(
                        "error", "same-objects-across-splits", file, 0,
                        f"has its boxes in the same places as {self._place(int(base[same[index]]))}",
                        "drop-twins", row,
                    )  # fmt: skip

    def _has_exact_twin(self, row: int, base: np.ndarray) -> bool:
        return bool((self.pictures["digest"][base] == self.pictures["digest"][row]).all(axis=1).any())

    def _across_sets(self) -> Iterator[Finding]:
        """Frames whose nearest twin in an earlier data set is in the same split, or where no split is known."""
        hashes = self.pictures["hash"]
        for later in range(1, int(self.origin.max(initial=0)) + 1):
            query = self.readable[self.origin[self.readable] == later]
            base = self.readable[self.origin[self.readable] < later]
            if not len(query) or not len(base):
                continue
            nearest, distance, _ = hash_neighbours(hashes[query], hashes[base], limit=self.near_distance)
            for index in np.flatnonzero(nearest >= 0).tolist():
                row, twin = int(query[index]), int(base[nearest[index]])
                split_leak = self.rank[row] != self.rank[twin] and min(self.rank[row], self.rank[twin]) >= 0
                if split_leak or (self.pictures["digest"][row] == self.pictures["digest"][twin]).all():
                    continue
                yield Finding(
                    "warning", "near-duplicate-across-sets", str(self.dataset.image_file(row)), 0,
                    f"near duplicate of '{self.dataset.image_file(twin)}' "
                    f"(distance {distance[index]} of 256)", frame=row,
                )  # fmt: skip

    def _inside(self) -> Iterator[Finding]:
        """One line per split and data set on near duplicates inside it: video is like that, so it is no fault."""
        keys = np.stack([self.origin, self.rank], axis=1)[self.readable]
        for origin, rank in np.unique(keys, axis=0).tolist():
            rows = self.readable[(keys == (origin, rank)).all(axis=1)]
            _, _, found = hash_neighbours(self.pictures["hash"][rows], limit=self.near_distance)
            count, pairs = int((found > 0).sum()), int(found.sum()) // 2
            if count:
                split = self.part[int(rows[0])]
                where = f"split '{split}'" if split else "the data set"
                first = int(rows[np.argmax(found > 0)])
                message = f"{count} of {len(rows)} frames of {where} have a near duplicate in it ({pairs} pairs)"
                file = str(self.dataset.image_file(first))
                yield Finding("info", "near-duplicates-inside", file, 0, message, frame=first)
