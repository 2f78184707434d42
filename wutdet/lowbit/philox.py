"""Counter-based random bits: which bit an element gets depends on the seed and its index, on nothing else.

Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): the key is the seed, the counter
is the index divided by four, and the element takes one of the four words. So any part of a tensor can be rounded on any
machine, in any order, and gives the same codes.
"""

from __future__ import annotations

import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
ROUNDS = 10


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """uint32 [N, 4]: the four random words of each counter.

    Args:
        counter: uint32 [N, 4].
        key: two 32-bit words.
    """
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = (int(word) & 0xFFFFFFFF for word in key)
    for _ in range(ROUNDS):
        first, second = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (second >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            second & _MASK,
            (first >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            first & _MASK,
        )
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def words(seed: int, count: int) -> np.ndarray:
    """uint32 [count]: the random word of the elements 0 .. count - 1.

    Args:
        seed: 64 bits.
        count: number of elements.
    """
    block = np.arange(-(-count // 4), dtype=np.uint64)
    counter = np.zeros((len(block), 4), dtype=np.uint32)
    counter[:, 0], counter[:, 1] = block & _MASK, block >> np.uint64(32)
    return philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32)).ravel()[:count]


def thresholds(seed: int, count: int) -> np.ndarray:
    """uint32 [count], 24 bits each: an element between two codes goes to the larger one if its share of the way, in
    units of 2^-24 and cut off, is above this."""
    return words(seed, count) >> np.uint32(8)
