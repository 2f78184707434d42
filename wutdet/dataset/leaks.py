"""The leak rate: how many evaluation frames a detector has, in effect, already seen in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wutdet.config import AuditConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.hashing import box_neighbours, hash_neighbours
from wutdet.dataset.pictures import PICTURE, READABLE, scan_pictures

#: The ways in which a frame can leak, strictest first.
LEAK_KINDS = ("exact", "near", "objects", "sequence")


@dataclass(frozen=True, eq=False)
class SplitLeaks:
    """Which frames of one split have a partner in the training split.

    Attributes:
        rows: int64 [K], rows of the split's frames in the data set.
        partner: by kind, int64 [K]: row of a training frame, -1 where there is none. For ``near`` it is the nearest.
        distance: int32 [K], hash distance to the nearest training frame within the limit, -1 where there is none.
        found: int64 [K], number of training frames within the limit.
    """

    rows: np.ndarray
    partner: Mapping[str, np.ndarray]
    distance: np.ndarray
    found: np.ndarray

    def leaked(self, kind: str = "any") -> np.ndarray:
        """bool [K]: frames that leak in this way, or in any."""
        if kind == "any":
            return np.any([self.partner[kind] >= 0 for kind in LEAK_KINDS], axis=0)
        return self.partner[kind] >= 0


@dataclass(frozen=True, eq=False)
class LeakRate:
    """Share of evaluation frames with a twin, a near twin, the same objects or the same sequence in training.

    Attributes:
        against: name of the training split.
        near_distance: hash distance (of 256 bits) up to which two frames count as near duplicates.
        splits: per evaluation split.
        frames: number of evaluation frames.
        train_frames: number of training frames; where it is 0 there is nothing to leak from, and no rate.
        pixels: whether the pictures were compared; otherwise only sequences and boxes were.
        unread: frames whose picture could not be read and compared.
    """

    against: str
    near_distance: int
    splits: Mapping[str, SplitLeaks] = field(default_factory=dict)
    frames: int = 0
    train_frames: int = 0
    pixels: bool = True
    unread: int = 0

    @property
    def rate(self) -> float | None:
        """Share (0..1) of evaluation frames that leak in any way; ``None`` without training or evaluation frames."""
        return self.share("any")

    def share(self, kind: str) -> float | None:
        """Share (0..1) of evaluation frames that leak in one way (LEAK_KINDS) or in any."""
        if not self.frames or not self.train_frames:
            return None
        if kind in ("exact", "near") and not self.pixels:
            return None
        return sum(int(split.leaked(kind).sum()) for split in self.splits.values()) / self.frames

    def to_json(self) -> dict:
        """``{"rate", "exact", "near", "objects", "sequence", "against", "near_distance", "frames", ..., "splits"}``."""

        def of_split(leaks: SplitLeaks) -> dict:
            counts = {kind: int(leaks.leaked(kind).sum()) for kind in LEAK_KINDS}
            return {"frames": len(leaks.rows), **counts, "any": int(leaks.leaked().sum())}

        return {
            "rate": self.rate,
            **{kind: self.share(kind) for kind in LEAK_KINDS},
            "against": self.against,
            "near_distance": self.near_distance,
            "frames": self.frames,
            "train_frames": self.train_frames,
            "unread": self.unread,
            "splits": {name: of_split(leaks) for name, leaks in self.splits.items()},
        }

    def to_text(self) -> str:
        """One line, for printing beside a figure."""
        if not self.train_frames:
            return f"leak rate: unknown (no frames of split '{self.against}' to compare with)"
        if not self.frames:
            return "leak rate: unknown (no evaluation frames)"
        kinds = [f"{kind} {share:.1%}" for kind in LEAK_KINDS if (share := self.share(kind)) is not None]
        text = f"leak rate: {self.rate:.1%} of {self.frames} frames ({', '.join(kinds)})"
        if not self.pixels:
            text += "; pictures not compared"
        return text + (f"; {self.unread} pictures could not be read" if self.unread else "")


def leak_rate(
    dataset: Dataset,
    *,
    against: str = "train",
    splits: Sequence[str] | None = None,
    near_distance: int = AuditConfig.near_distance,
    pixels: bool = True,
    pictures: np.ndarray | None = None,
) -> LeakRate:
    """Compares every frame of the evaluation splits with every training frame.

    A frame leaks when training has a frame with the same bytes (``exact``), with a difference hash at most
    ``near_distance`` bits away (``near``; exact twins included), with the same boxes in the same places (``objects``,
    see wutdet.dataset.hashing), or of the same sequence (``sequence``; frames without a sequence never do).

    Args:
        dataset: with split labels.
        against: the training split.
        splits: evaluation splits; by default all others.
        near_distance: in bits of 256.
        pixels: read the pictures; without, only sequences and boxes are compared.
        pictures: PICTURE [M] where they were scanned already.
    """
    if splits is None:
        splits = [name for name in dataset.split.counts() if name != against]
    train = np.flatnonzero(dataset.split.is_(against))
    evaluation = {name: np.flatnonzero(dataset.split.is_(name)) for name in splits}
    involved = np.concatenate([train, *evaluation.values()])
    unread = 0
    if pixels and pictures is None and len(train):
        pictures = np.zeros(len(dataset), dtype=PICTURE)
        pictures[involved] = scan_pictures(dataset.select(involved))
    if pixels and pictures is not None:
        unread = int((pictures["status"][involved] != READABLE).sum())
    found = {
        name: _compare(dataset, rows, train, pictures if pixels else None, near_distance)
        for name, rows in evaluation.items()
    }
    total = sum(len(rows) for rows in evaluation.values())
    return LeakRate(against, near_distance, found, total, len(train), pixels, unread)


def _compare(dataset: Dataset, rows: np.ndarray, train: np.ndarray, pictures, near_distance: int) -> SplitLeaks:
    none = np.full(len(rows), -1, dtype=np.int64)
    partner = {kind: none.copy() for kind in LEAK_KINDS}
    distance, found = none.astype(np.int32), np.zeros(len(rows), dtype=np.int64)
    if len(train) and len(rows):
        if pictures is not None:
            readable = pictures["status"] == READABLE
            good, base = np.flatnonzero(readable[rows]), train[readable[train]]
            twin = first_equal(pictures["digest"][rows[good]], pictures["digest"][base])
            partner["exact"][good] = _rows_of(base, twin)
            nearest, distance[good], found[good] = hash_neighbours(
                pictures["hash"][rows[good]], pictures["hash"][base], limit=near_distance
            )
            partner["near"][good] = _rows_of(base, nearest)
        partner["objects"] = _rows_of(
            train, box_neighbours(relative_boxes(dataset, rows), relative_boxes(dataset, train))
        )
        codes = np.asarray(dataset.sequence.codes)
        first_of_sequence = np.full(len(dataset.sequence.names) + 1, -1, dtype=np.int64)  # the last is for "none"
        first_of_sequence[codes[train[::-1]]] = train[::-1]
        first_of_sequence[-1] = -1
        partner["sequence"] = first_of_sequence[codes[rows]]
    return SplitLeaks(rows, partner, distance, found)


def relative_boxes(dataset: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float64 [B, 4] as shares of the frame's width and height, and offsets int64 [K + 1], of some frames.

    Ignore regions are left out: they mark water and quays, not ships.
    """
    part = dataset.select(rows)
    part = part.select_boxes(~np.asarray(part.ignore))
    size = np.maximum(np.asarray(part.size_wh, dtype=np.float64), 1)
    boxes = np.asarray(part.xyxy) / np.tile(size, 2)[part.box_image]
    return boxes, np.concatenate([[0], np.cumsum(part.boxes_per_image())]).astype(np.int64)


def first_equal(digests: np.ndarray, base: np.ndarray) -> np.ndarray:
    """int64 [N]: per content hash uint8 [N, 16] the first equal row of base uint8 [M, 16], -1 where there is none."""
    index: dict[bytes, int] = {}
    for row, digest in enumerate(base):
        index.setdefault(digest.tobytes(), row)
    return np.array([index.get(digest.tobytes(), -1) for digest in digests], dtype=np.int64)


def _rows_of(base: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """Rows in the data set of rows in ``base``; -1 stays -1."""
    out = np.full(len(picked), -1, dtype=np.int64)
    out[picked >= 0] = base[picked[picked >= 0]]
    return out
