"""Random numbers that depend only on a seed and a list of keys, never on threads, order or machine."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np


class Dice:
    """A counter-based generator (Philox) for one purpose, named by integers and strings.

    Only the raw uniform stream is used: its values are fixed for all NumPy versions, which is not promised for the
    other distributions.
    """

    def __init__(self, *keys: int | str):
        words = [zlib.crc32(k.encode()) if isinstance(k, str) else int(k) & 0xFFFFFFFF for k in keys]
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def log_uniform(self, low: float, high: float) -> float:
        """A number in [low, high) with a uniform logarithm."""
        return float(low * (high / low) ** self.uniform())

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return min(high, low + int(self.uniform() * (high - low + 1)))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def bell(self, spread: float = 1.0) -> float:
        """About normal with standard deviation ``spread``, never beyond 3 of them (sum of uniforms)."""
        return spread * 2.0 * (self.uniform() + self.uniform() + self.uniform() - 1.5)

    def pick(self, items: Sequence, weights: Sequence[float] | None = None):
        """One of ``items``."""
        if weights is None:
            return items[self.integer(0, len(items) - 1)]
        point, total = self.uniform() * sum(weights), 0.0
        for item, weight in zip(items, weights, strict=True):
            total += weight
            if point < total:
                return item
        return items[-1]

    def colour(self, bgr: Sequence[float], spread: float = 12.0) -> tuple[float, float, float]:
        """A colour near ``bgr``: brightness varies by ``spread`` levels, each channel by a third of it."""
        shift = self.uniform(-spread, spread)
        b, g, r = (min(255.0, max(0.0, c + shift + self.uniform(-spread, spread) / 3)) for c in bgr)
        return (b, g, r)

    def array(self, *shape: int) -> np.ndarray:
        """float32 uniform numbers in [0, 1)."""
        return self._generator.random(shape, dtype=np.float32)

    def octets(self, *shape: int) -> np.ndarray:
        """uint8 uniform numbers."""
        return np.frombuffer(self._generator.bytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)
