"""Which frames an epoch shows: each once, or so that rare sequences, conditions or sources count for more.

A group of n frames gets a share proportional to sqrt(n): between counting frames (a sequence of 3,000 frames drowns
one of 30) and counting groups (30 frames repeated until they are known by heart). An epoch keeps its length; what small
groups gain, large ones lose, and every epoch shows other frames of those.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wutdet.config import SplitConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.sequences import with_sequences

_log = logging.getLogger(__name__)


def groups_of(dataset: Dataset, by: str) -> np.ndarray:
    """int64 [M]: group of each frame.

    Args:
        dataset: frames.
        by: ``sequence`` (blocks of frame numbers where there are no ids, as 'data split' has them; a frame without
            either is a group of its own), ``condition`` (each combination is a group, no condition too) or ``source``
            (frames without one are a group).
    """
    if by == "sequence":
        codes = with_sequences(dataset, SplitConfig.block).sequence.codes
    elif by == "condition":
        codes = dataset.conditions
    else:
        codes = dataset.source.codes
    return np.unique(np.asarray(codes), return_inverse=True)[1].astype(np.int64)


class Balance:
    """Shares of frames in an epoch, and draws from them.

    Args:
        groups: int64 [M], group of each frame, 0 ... G - 1.
    """

    def __init__(self, groups: np.ndarray):
        self.groups = groups
        sizes = np.bincount(groups)
        of_group = np.sqrt(sizes) / np.sqrt(sizes).sum()
        #: float64 [M], sums to 1.
        self.shares = (of_group / sizes)[groups]
        self._edges = np.cumsum(self.shares)

    def deal(self, rng: np.random.Generator) -> np.ndarray:
        """int64 [M]: frames of one epoch, shuffled. A group's number is its share of M but for rounding, and inside
        a group no frame comes twice more often than another."""
        count = len(self.groups)
        order = np.lexsort((rng.random(count), self.groups))
        # Equal steps through the summed shares from a random start: each frame is met floor or ceil of M * share times.
        edges = np.cumsum(self.shares[order])
        steps = (np.arange(count) + rng.random()) / count
        met = np.searchsorted(edges / edges[-1], steps, side="right").clip(max=count - 1)
        return rng.permutation(order[met])

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """int64 [count]: independent draws, with replacement."""
        drawn = np.searchsorted(self._edges, rng.random(count) * self._edges[-1], side="right")
        return drawn.clip(max=len(self.shares) - 1)


def balance_of(dataset: Dataset, by: str) -> Balance | None:
    """The balance of a data set; None for ``none``, and with a warning where there is only one group."""
    if by == "none":
        return None
    groups = groups_of(dataset, by)
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        _log.warning("--balance %s changes nothing: the training frames are one group", by)
        return None
    made = Balance(groups)
    largest, smallest = int(np.argmax(sizes)), int(np.argmin(sizes))
    now = np.bincount(groups, weights=made.shares)
    _log.info(
        "balanced by %s: %d groups; share of the largest %.1f %%, was %.1f %%; of the smallest %.2f %%, was %.2f %%",
        by, len(sizes), 100 * now[largest], 100 * sizes[largest] / len(groups),
        100 * now[smallest], 100 * sizes[smallest] / len(groups),
    )  # fmt: skip
    return made


class Address(NamedTuple):
    """Which picture of a run is meant.

    Attributes:
        epoch: 0-based.
        row: of the frame in the data set.
        again: how many times the frame has come before in this epoch, so that it is cut and lit in another way.
        plain: never a mosaic.
    """

    epoch: int
    row: int
    again: int = 0
    plain: bool = False

    @property
    def seed(self) -> tuple[int, ...]:
        """What the random choices in the picture depend on."""
        return (self.epoch, self.row, self.again) if self.again else (self.epoch, self.row)


class TrainingSampler:
    """The frames of an epoch, by seed and epoch only: all frames once, or as ``balance`` deals them.

    Attributes:
        epoch: the epoch that is dealt next.
        plain: whether it runs without mosaics. In the addresses, this reaches worker processes too.
    """

    def __init__(self, count: int, seed: int, balance: Balance | None = None):
        self.count, self.seed, self.balance = count, seed, balance
        self.epoch, self.plain = 0, False

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Address]:
        rng = np.random.default_rng((self.seed, self.epoch))
        rows = rng.permutation(self.count) if self.balance is None else self.balance.deal(rng)
        seen = np.zeros(self.count, np.int64)
        addresses = []
        for row in rows.tolist():
            addresses.append(Address(self.epoch, row, int(seen[row]), self.plain))
            seen[row] += 1
        return iter(addresses)
