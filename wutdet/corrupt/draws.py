"""Random numbers that depend only on what they are for: never on threads, order, machine or a global generator."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np


def derived_seed(*keys: int | str) -> int:
    """A 63-bit seed from integers and strings, the same in every process (Python's own ``hash`` is not)."""
    text = "\0".join(f"{type(key).__name__}:{key}" for key in keys)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Draws:
    """The random numbers of one corruption of one frame.

    Only the raw stream of a counter-based generator is used: NumPy does not promise the values of its other
    distributions from version to version.
    """

    def __init__(self, seed: int, name: str):
        self._generator = np.random.Generator(np.random.Philox(key=derived_seed(int(seed), name)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def array(self, *shape: int) -> np.ndarray:
        """float64 [shape] in [0, 1)."""
        return self._generator.random(shape)

    def octets(self, *shape: int) -> np.ndarray:
        """uint8 [shape], uniform."""
        return np.frombuffer(self._generator.bytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)

    def clouds(self, rows: int, columns: int, cells: tuple[int, int], octaves: int = 3) -> np.ndarray:
        """float32 [rows, columns] of smooth noise about 0, mostly in -1..1; ``cells`` (down, across) of the coarsest.

        Small frames see the same clouds as large ones, only coarser.
        """
        total = np.zeros((rows, columns), np.float32)
        for octave in range(octaves):
            down, across = (count << octave for count in cells)
            lattice = self.octets(down + 1, across + 1).astype(np.float32) / 127.5 - 1
            total += cv2.resize(lattice, (columns, rows), interpolation=cv2.INTER_CUBIC) * 0.5**octave
        return total
