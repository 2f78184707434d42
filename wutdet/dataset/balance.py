"""Dealing groups of frames out to splits: by block number alone, or balanced over tags and box sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from wutdet.dataset.dataset import Dataset

#: Upper edges of the size classes in pixels (side of the square of equal area): AI-TOD's 16, COCO's 32 and 96.
SIZE_EDGES_PX = (16.0, 32.0, 96.0)
#: The share of frames counts this many times as much as a tag does.
_FRAMES_WEIGHT = 4.0
_MAX_PASSES = 50


def split_of_block(number: int, shares: Mapping[str, float], seed: int) -> str:
    """Split of a block of frame numbers, from its number and the seed alone.

    Blocks are taken in cycles of consecutive numbers, as long as the smallest share needs to get one block per cycle. A
    cycle gives each split its share (what rounding leaves over goes to a later cycle), in an order that the seed and
    the cycle's number decide. So the split never changes when frames or blocks are added, and every cycle has every
    split in it.
    """
    length = cycle_length(shares)
    cycle, place = divmod(number, length)
    return _cycle(cycle, tuple(shares.items()), length, seed)[place]


def cycle_length(shares: Mapping[str, float]) -> int:
    """Blocks per cycle of split_of_block: one block for the smallest share, and enough for the largest to spare what
    the others take by rounding up."""
    return int(np.ceil(max(1 / min(shares.values()), len(shares) / max(shares.values())) - 1e-9))


def _cycle(cycle: int, shares: tuple[tuple[str, float], ...], length: int, seed: int) -> list[str]:
    names = [name for name, _ in shares]
    largest = max(range(len(shares)), key=lambda k: (shares[k][1], -k))
    quotas = np.zeros(len(shares), dtype=int)
    for k, (_, share) in enumerate(shares):
        # Every share but the largest is at least one block per cycle, so its count grows in each. The phases differ so
        # that two shares do not take their extra block from the same cycle.
        phase = (k + 0.5) / len(shares) + 1e-9
        step = share * length
        quotas[k] = np.floor(step * (cycle + 1) + phase) - np.floor(step * cycle + phase)
    quotas[largest] = 0
    quotas[largest] = length - quotas.sum()
    assert (quotas > 0).all()
    order = [name for name, quota in zip(names, quotas, strict=True) for _ in range(quota)]
    keys = [hashlib.blake2b(f"{seed}/{cycle}/{place}".encode(), digest_size=8).digest() for place in range(length)]
    return [name for _, name in sorted(zip(keys, order, strict=True))]


def group_features(dataset: Dataset, group: np.ndarray, stratify: bool) -> tuple[np.ndarray, np.ndarray]:
    """What is to be balanced: amounts float64 [G, F] per group, and weights float64 [F].

    The first feature is the number of frames; with ``stratify`` follow frames per scene and condition, and boxes per
    size class. A feature that at most one group has cannot be balanced and is left out.

    Args:
        group: int64 [M], 0..G-1.
    """
    count = int(group.max()) + 1 if len(group) else 0

    def per_group(rows: np.ndarray) -> np.ndarray:
        return np.bincount(group[rows], minlength=count).astype(np.float64)

    columns, weights = [per_group(np.arange(len(dataset)))], [_FRAMES_WEIGHT]
    if stratify:
        side = np.sqrt(np.maximum(dataset.area, 0))
        size_class = np.searchsorted(SIZE_EDGES_PX, side, side="right")
        families = [
            [per_group(dataset.scene.is_(name)) for name in dataset.scene.names],
            [per_group(dataset.has_condition(name)) for name in dataset.condition_names],
            [per_group(dataset.box_image[size_class == k]) for k in range(len(SIZE_EDGES_PX) + 1)],
        ]
        for family in families:
            useful = [column for column in family if (column > 0).sum() > 1]
            columns += useful
            weights += [1.0 / max(len(useful), 1)] * len(useful)
    return np.stack(columns, axis=1), np.array(weights)


def balance(
    features: np.ndarray, weights: np.ndarray, shares: Sequence[float], seed: int, fixed: np.ndarray | None = None
) -> np.ndarray:
    """int64 [G]: split of each group, so that every split has its share of every feature as nearly as may be.

    Greedy: groups in falling size (ties in an order drawn from the seed), each to the split where the summed squared
    deviation from the shares falls most; then moves and swaps of groups as long as they improve it. No split
    is left empty while there are as many groups as splits.

    Args:
        features: float64 [G, F]; the first is the number of frames.
        weights: float64 [F].
        shares: of each split, summing to 1.
        fixed: int64 [G], a split that is given, or -1.
    """
    rng = np.random.default_rng(seed)
    share = np.asarray(shares, dtype=np.float64)
    amount = features / np.maximum(features.sum(axis=0), 1e-12)  # [G, F], each feature sums to 1
    out = np.full(len(features), -1, dtype=np.int64) if fixed is None else np.array(fixed, dtype=np.int64)
    free = np.flatnonzero(out < 0)
    have = np.stack([amount[out == part].sum(axis=0) for part in range(len(share))])  # [parts, F]

    def gain(missing: np.ndarray, given: np.ndarray) -> np.ndarray:
        """How much the deviation falls when ``given`` is added where ``missing`` was lacking."""
        return (weights * (missing**2 - (missing - given) ** 2)).sum(axis=-1)

    order = rng.permutation(free)
    for row in order[np.argsort(-features[order, 0], kind="stable")]:
        part = int(np.argmax(gain(share[:, None] - have, amount[row])))
        out[row] = part
        have[part] += amount[row]
    _fill_empty(out, free, features, have, amount)
    _improve(out, free, amount, have, share, weights, rng)
    return out


def _fill_empty(out, free, features, have, amount) -> None:
    """Gives every empty split the smallest free group of a split that has another group left."""
    for part in range(len(have)):
        if (out == part).any():
            continue
        sizes = np.bincount(out, minlength=len(have))
        donors = free[sizes[out[free]] > 1]
        if len(donors):
            row = donors[np.argmin(features[donors, 0])]
            have[out[row]] -= amount[row]
            have[part] += amount[row]
            out[row] = part


def _improve(out, free, amount, have, share, weights, rng) -> None:
    """Moves and swaps free groups while the deviation falls."""

    def deviation(part: int, change: np.ndarray) -> np.ndarray:
        return (weights * (share[part] - have[part] - change) ** 2).sum(axis=-1)

    for _ in range(_MAX_PASSES):
        improved = False
        for row in rng.permutation(free):
            old = out[row]
            best, best_gain = None, 1e-12
            leaving = deviation(old, np.zeros(1)) - deviation(old, -amount[row])
            for new in range(len(share)):
                if new == old:
                    continue
                if (out == old).sum() > 1:
                    moved = leaving + deviation(new, np.zeros(1)) - deviation(new, amount[row])
                    if moved > best_gain:
                        best, best_gain = (new, None), moved
                partners = free[out[free] == new]
                if len(partners) > 200:  # enough to choose from
                    partners = rng.choice(partners, 200, replace=False)
                if len(partners):
                    change = amount[partners] - amount[row]
                    swapped = (
                        deviation(old, np.zeros(1)) - deviation(old, change)
                        + deviation(new, np.zeros(1)) - deviation(new, -change)
                    )  # fmt: skip
                    if swapped.max() > best_gain:
                        best, best_gain = (new, int(partners[np.argmax(swapped)])), swapped.max()
            if best is not None:
                new, partner = best
                have[old] -= amount[row]
                have[new] += amount[row]
                out[row] = new
                if partner is not None:
                    have[new] -= amount[partner]
                    have[old] += amount[partner]
                    out[partner] = old
                improved = True
        if not improved:
            return
