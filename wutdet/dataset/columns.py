"""The two column types of a Dataset that are not plain NumPy arrays: text and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class TextColumn:
    """N strings as one UTF-8 blob and N + 1 offsets, so that it can be memory-mapped.

    Attributes:
        offsets: int64 [N + 1]; string i is ``blob[offsets[i]:offsets[i + 1]]``.
        blob: uint8 [total bytes].
    """

    offsets: np.ndarray
    blob: np.ndarray

    @classmethod
    def of(cls, strings: Iterable[str]) -> TextColumn:
        encoded = [s.encode("utf-8", "surrogateescape") for s in strings]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(e) for e in encoded], out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join(encoded), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        if row < 0:
            row += len(self)
        if not 0 <= row < len(self):
            raise IndexError(row)
        return bytes(self.blob[self.offsets[row] : self.offsets[row + 1]]).decode("utf-8", "surrogateescape")

    def __iter__(self):
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        first = ", ".join(repr(self[row]) for row in range(min(len(self), 3)))
        return f"TextColumn({len(self):,} rows: {first}{', ...' if len(self) > 3 else ''})"

    def take(self, rows: np.ndarray) -> TextColumn:
        """The strings at ``rows`` (index array), copied."""
        rows = np.asarray(rows)
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        lengths = stops - starts
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return TextColumn(offsets, self.blob[source])


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """N labels out of a small vocabulary; code -1 means "no label".

    Attributes:
        codes: int32 [N], index into ``names`` or -1.
        names: the vocabulary.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, labels: Iterable[str | None]) -> LabelColumn:
        """Vocabulary in order of first appearance; ``None`` and ``""`` become "no label"."""
        codes, index = [], {}
        for label in labels:
            codes.append(index.setdefault(label, len(index)) if label not in (None, "") else -1)
        return cls(np.asarray(codes, dtype=np.int32), tuple(index))

    @classmethod
    def none(cls, count: int) -> LabelColumn:
        """``count`` rows without a label."""
        return cls(np.full(count, -1, dtype=np.int32), ())

    @classmethod
    def constant(cls, count: int, name: str) -> LabelColumn:
        """``count`` rows with the same label."""
        return cls(np.zeros(count, dtype=np.int32), (name,))

    @classmethod
    def concatenate(cls, parts: Sequence[LabelColumn]) -> LabelColumn:
        """Parts with different vocabularies, one after the other."""
        index: dict[str, int] = {}
        codes = []
        for part in parts:
            mapping = np.array([index.setdefault(n, len(index)) for n in part.names] + [-1], dtype=np.int32)
            codes.append(mapping[part.codes])
        return cls(np.concatenate(codes) if codes else np.zeros(0, np.int32), tuple(index))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code < 0 else self.names[code]

    def __repr__(self) -> str:
        counts = list(self.counts().items())
        first = ", ".join(f"{name!r} {count:,}" for name, count in counts[:6])
        return f"LabelColumn({len(self):,} rows: {first or 'no labels'}{', ...' if len(counts) > 6 else ''})"

    def take(self, rows) -> LabelColumn:
        """The labels at ``rows``; the vocabulary is kept."""
        return LabelColumn(np.asarray(self.codes[rows], dtype=np.int32), self.names)

    def is_(self, name: str) -> np.ndarray:
        """bool [N]: where the label is ``name``."""
        return self.codes == self.names.index(name) if name in self.names else np.zeros(len(self), bool)

    def counts(self) -> dict[str, int]:
        """Rows per label that occurs, largest first."""
        found = np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))
        pairs = [(name, int(n)) for name, n in zip(self.names, found, strict=True) if n]
        return dict(sorted(pairs, key=lambda pair: -pair[1]))
