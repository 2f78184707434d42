"""What an encoder gives and a decoder takes, one code per byte; and rounding to a table of magnitudes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NO_TENSOR_SCALE = np.float32(1)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Codes and scales of a matrix, unpacked.

    Attributes:
        codes: uint8 [R, N], one code per value.
        scales: uint8 [S, G, B], the B bytes of each scale; S is R, or smaller where rows share scales (integers).
        tensor_scale: float32 over all of it; 1 where there is none.
    """

    codes: np.ndarray
    scales: np.ndarray
    tensor_scale: np.float32 = NO_TENSOR_SCALE


def grouped(x: np.ndarray, size: int) -> np.ndarray:
    """[R, N] to [R, G, size], the last group filled up with zeros."""
    rows, count = x.shape
    groups = -(-count // size)
    out = np.zeros((rows, groups * size), dtype=x.dtype)
    out[:, :count] = x
    return out.reshape(rows, groups, size)


def ungrouped(x: np.ndarray, count: int) -> np.ndarray:
    """[R, G, size] back to [R, count]."""
    return np.ascontiguousarray(x.reshape(x.shape[0], x.shape[1] * x.shape[2])[:, :count])


def round_to_table(magnitude: np.ndarray, table: np.ndarray, ties: str, threshold: np.ndarray | None) -> np.ndarray:
    """uint8: index of the table's entry that a magnitude is rounded to; what is beyond the last becomes the last.

    Args:
        magnitude: float64, at least 0, exact.
        table: rising magnitudes, even entries at even indices.
        ties: ``even`` or ``away``, for rounding to nearest.
        threshold: 24-bit numbers for stochastic rounding, else ``None``. The larger neighbour is taken where
            ``threshold < floor(share of the way * 2^24)``, which is unbiased to 2^-24 of a step.
    """
    table = table.astype(np.float64)
    low = np.clip(np.searchsorted(table, magnitude, side="right") - 1, 0, len(table) - 2)
    way = (magnitude - table[low]) / (table[low + 1] - table[low])
    if threshold is not None:
        up = threshold < np.floor(np.clip(way, 0, 1) * 2.0**24)
    elif ties == "even":
        up = (way > 0.5) | ((way == 0.5) & (low % 2 == 1))
    else:
        up = way >= 0.5
    return (low + up).astype(np.uint8)


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """float64 values rounded once to bfloat16, ties to even; float64 out. For finite values of bfloat16's normal range
    and what falls below it."""
    mantissa, exponent = np.frexp(x)
    # 8 significant bits; below the normal range, multiples of 2^-133.
    unit = np.maximum(exponent - 8, -133)
    return np.ldexp(np.round(np.ldexp(mantissa, exponent - unit)), unit)
