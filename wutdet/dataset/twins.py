"""Frames that are in a collection twice, or that a detector has in effect seen in training.

Two questions, asked of pictures that were scanned already (wutdet.dataset.pictures):

- ``seen_in_training``: which frames of a test set have a twin among training frames of any data set;
- ``repeated_frames``: of frames that repeat one another, which are to go so that one of each is left.

The kinds are those of wutdet.dataset.leaks, strictest first: ``exact`` (same bytes), ``near`` (difference hashes at
most ``near_distance`` bits apart), ``objects`` (three boxes or more in the same places: a fixed camera at another
hour).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.hashing import HASH_BITS, hamming_distance, hash_neighbours
from wutdet.dataset.leaks import leak_rate
from wutdet.errors import UsageError

#: Kinds of twins, strictest first; ``Twins.kind`` holds places in this list.
TWIN_KINDS = ("exact", "near", "objects")
EXACT, NEAR, OBJECTS = range(3)

_BLOCK = 512  # frames compared with one another at once: 512 x 512 x 32 bytes fit into the cache of a small machine


@dataclass(frozen=True, eq=False)
class Twins:
    """Per frame the strictest way in which it has a twin, and that twin.

    Attributes:
        kind: int8 [M], place in TWIN_KINDS, -1 for a frame without a twin.
        partner: int64 [M], row of the twin (in the collection that was searched), -1 where there is none.
    """

    kind: np.ndarray
    partner: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """bool [M]: frames with a twin."""
        return self.kind >= 0

    def counts(self) -> dict[str, int]:
        """Frames by kind; every frame is counted once, under its strictest kind."""
        return {name: int((self.kind == code).sum()) for code, name in enumerate(TWIN_KINDS)}


def check_near_distance(bits: int) -> None:
    """Refuses distances at which unrelated pictures would count as near duplicates.

    Raises:
        UsageError: below 0 or from half the bits of the hash on.
    """
    if not 0 <= bits < HASH_BITS // 2:
        raise UsageError(f"--near-distance must be 0 to {HASH_BITS // 2 - 1} bits, received {bits}")


def seen_in_training(
    test: Dataset, pictures: np.ndarray, training: Dataset, training_pictures: np.ndarray, *, near_distance: int
) -> Twins:
    """Which frames of a test set have a twin among the training frames; ``partner`` is the row in ``training``.

    Args:
        test: M frames.
        pictures: PICTURE [M].
        training: N frames, of the same or another data set.
        training_pictures: PICTURE [N].
        near_distance: in bits of 256.
    """
    both = Dataset.concatenate([_boxes_alone(training, "train"), _boxes_alone(test, "test")])
    leaks = leak_rate(
        both, splits=("test",), near_distance=near_distance, pictures=np.concatenate([training_pictures, pictures])
    )
    kind, partner = np.full(len(test), -1, dtype=np.int8), np.full(len(test), -1, dtype=np.int64)
    for code in reversed(range(len(TWIN_KINDS))):
        found = leaks.splits["test"].partner[TWIN_KINDS[code]]
        kind[found >= 0], partner[found >= 0] = code, found[found >= 0]
    return Twins(kind, partner)


def _boxes_alone(part: Dataset, split: str) -> Dataset:
    """The frames without what differs in meaning from set to set: categories, sequences, conditions, other labels."""
    return replace(
        part,
        labels={"split": LabelColumn.constant(len(part), split), "sequence": LabelColumn.none(len(part))},
        conditions=np.zeros(len(part), dtype=np.uint32),
        condition_names=(),
        box_labels={},
        category=np.zeros(part.box_count, dtype=np.int32),
        category_names=("object",),
        info={},
    )


def repeated_frames(
    pictures: np.ndarray,
    origin: np.ndarray,
    *,
    near_distance: int,
    inside: str = "near",
    among: np.ndarray | None = None,
) -> Twins:
    """Frames to be left out so that no two of the remaining ones are twins; ``partner`` is a frame that stays.

    Frames are taken in order, and each one stays unless it has a twin among those that stay already. So the first part
    named wins over the later ones, and inside a part its first frame does. A frame is never dropped on account of
    one that is dropped itself: in a slow pan, where every frame resembles its neighbours only, every n-th one stays.

    Args:
        pictures: PICTURE [M], all readable where ``among`` is set.
        origin: int64 [M], part that each frame is of; rises.
        near_distance: in bits of 256.
        inside: what counts inside one part: "near" (exact too), "exact" or "none". Across parts both kinds count.
        among: bool [M], the frames that take part; all by default.
    """
    kind, partner = np.full(len(pictures), -1, dtype=np.int8), np.full(len(pictures), -1, dtype=np.int64)
    rows = np.arange(len(pictures)) if among is None else np.flatnonzero(among)
    digests = [digest.tobytes() for digest in pictures["digest"]]
    stays: dict[bytes, int] = {}  # by content hash, of earlier parts
    earlier = np.zeros(0, dtype=np.int64)
    for part in np.unique(origin[rows]).tolist():
        mine = rows[origin[rows] == part]
        across, _, _ = hash_neighbours(pictures["hash"][mine], pictures["hash"][earlier], limit=near_distance)
        left = []
        for row, near in zip(mine.tolist(), across.tolist(), strict=True):
            same = stays.get(digests[row], -1)
            if same >= 0:
                kind[row], partner[row] = EXACT, same
            elif near >= 0:
                kind[row], partner[row] = NEAR, earlier[near]
            else:
                left.append(row)
        if inside != "none":
            _thin_out(np.array(left, dtype=np.int64), pictures["hash"], digests, kind, partner,
                      near_distance if inside == "near" else -1)  # fmt: skip
        kept = [row for row in left if kind[row] < 0]
        for row in kept:
            stays.setdefault(digests[row], row)
        earlier = np.concatenate([earlier, np.array(kept, dtype=np.int64)])
    return Twins(kind, partner)


def _thin_out(
    rows: np.ndarray, hashes: np.ndarray, digests: list[bytes], kind: np.ndarray, partner: np.ndarray, limit: int
) -> None:
    """Fills ``kind`` and ``partner`` of the rows that repeat an earlier one that stays; ``limit`` -1: only exactly."""
    stays: dict[bytes, int] = {}
    kept = np.zeros(0, dtype=np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        new: list[int] = []  # places in the block
        if limit >= 0:
            before, _, _ = hash_neighbours(hashes[block], hashes[kept], limit=limit)
            close = hamming_distance(hashes[block][:, None], hashes[block][None]) <= limit
        for place, row in enumerate(block.tolist()):
            same = stays.get(digests[row], -1)
            if same >= 0:
                kind[row], partner[row] = EXACT, same
                continue
            if limit >= 0:
                near = [other for other in new if close[place, other]]
                if before[place] >= 0 or near:
                    kind[row], partner[row] = NEAR, kept[before[place]] if before[place] >= 0 else block[near[0]]
                    continue
            new.append(place)
            stays[digests[row]] = row
        kept = np.concatenate([kept, block[new]])
