"""The random Hadamard transform: spreads outliers over a group before it is quantised."""

from __future__ import annotations

import numpy as np

from wutdet.errors import UsageError
from wutdet.lowbit.philox import words

SIZES = (16, 32, 64, 128, 256)
#: Signs that Transformer Engine fixes for its transform of size 16.
TE_SIGNS = (1, 1, 1, -1, 1, -1, -1, -1, -1, -1, -1, 1, -1, 1, -1, -1)


class RandomHadamard:
    """x' = x S H / sqrt(d) on every d neighbours of the last axis, with random signs S and Sylvester's H.

    Orthonormal, so that a product of two transformed operands along the transformed axis is the product of the
    operands (arXiv 2509.25149, appendix C).

    Args:
        size: d; one of 16, 32, 64, 128, 256.
        seed: of the signs.
        signs: +1 and -1 [size] instead of the seed's, such as ``TE_SIGNS``.

    Attributes:
        matrix: float32 [size, size], S H / sqrt(d).

    Raises:
        UsageError: another size, or signs that are none.
    """

    def __init__(self, size: int = 16, seed: int = 0, signs=None):
        if size not in SIZES:
            raise UsageError(f"the transform's size must be one of {', '.join(map(str, SIZES))}, received {size}")
        drawn = np.where(words(seed, size) & 1, -1, 1) if signs is None else np.asarray(signs)
        if drawn.shape != (size,) or not np.isin(drawn, (-1, 1)).all():
            raise UsageError(f"signs must be {size} times +1 or -1, received {drawn.tolist()}")
        self.size, self.signs = size, drawn.astype(np.int8)
        self._signed = (drawn[:, None] * sylvester(size)).astype(np.float32)
        self._scale = np.float32(1 / np.sqrt(size))
        self.matrix = self._signed * self._scale
        self.matrix.flags.writeable = False

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 of the same shape: sums in float32 and in the order of the elements, then the factor 1 / sqrt(d).

        Raises:
            UsageError: the last axis is no multiple of the size.
        """
        return self._apply(x, self._signed)

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Undoes the transform, up to float32's rounding."""
        return self._apply(x, self._signed.T)

    def _apply(self, x: np.ndarray, signed: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=np.float32)
        if x.ndim == 0 or x.shape[-1] % self.size:
            raise UsageError(
                f"the last axis must be a multiple of {self.size}, received shape {x.shape}", hint="pad it with zeros"
            )
        blocks = x.reshape(-1, self.size)
        total = np.zeros_like(blocks)
        for k in range(self.size):
            total += blocks[:, k : k + 1] * signed[k]
        return (total * self._scale).reshape(x.shape)


def sylvester(size: int) -> np.ndarray:
    """int64 [size, size] of +1 and -1: Sylvester's Hadamard matrix."""
    matrix = np.ones((1, 1), dtype=np.int64)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix
