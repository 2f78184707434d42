"""Two 4-bit codes in a byte: the first in the low half."""

from __future__ import annotations

import numpy as np


def pack_nibbles(codes: np.ndarray) -> np.ndarray:
    """uint8 [R, N] below 16 to uint8 [R, ceil(N / 2)]; the last high half of an odd row is 0."""
    rows, count = codes.shape
    even = np.zeros((rows, count + count % 2), dtype=np.uint8)
    even[:, :count] = codes
    return even[:, 0::2] | even[:, 1::2] << 4


def unpack_nibbles(packed: np.ndarray, count: int) -> np.ndarray:
    """uint8 [R, ceil(count / 2)] back to uint8 [R, count]."""
    out = np.empty((packed.shape[0], packed.shape[1] * 2), dtype=np.uint8)
    out[:, 0::2], out[:, 1::2] = packed & 15, packed >> 4
    return out[:, :count]
