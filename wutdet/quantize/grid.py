"""The grid that a tensor's scales span: which values its elements could take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from wutdet.lowbit import QuantizedTensor
from wutdet.lowbit.codebooks import E2M1, E4M3, E6M2, E8M0, S1P2
from wutdet.lowbit.options import IntegerOptions
from wutdet.lowbit.packing import pack_nibbles

_INT4 = np.array([*range(8), 0, *range(-7, 0)], dtype=np.float32)  # code 8, -8, is not used


@dataclass(frozen=True, eq=False)
class Grid:
    """What the elements of rows may become while their scales stay as they are.

    Attributes:
        step: float32 [R, N], the value of an element whose table entry is 1.
        table: float32 [16], table entry by code; symmetric around zero.
    """

    step: np.ndarray
    table: np.ndarray

    def codes(self, values: np.ndarray, columns: slice = slice(None)) -> np.ndarray:
        """uint8 [R, n]: codes nearest to values [R, n] of some columns. Beyond the last entry is the last entry."""
        middles, positive, negative = self._nearest
        step = self.step[:, columns]
        index = np.searchsorted(middles, np.abs(values) / np.where(step == 0, 1, step))
        return np.where((values < 0) & (index > 0), negative[index], positive[index])

    @cached_property
    def _nearest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Borders between magnitudes of the table, and the code of each magnitude with either sign."""
        magnitudes = np.unique(np.abs(self.table))
        positive = np.array([np.flatnonzero(self.table == m)[0] for m in magnitudes], dtype=np.uint8)
        negative = np.array([np.flatnonzero(self.table == -m)[-1] for m in magnitudes], dtype=np.uint8)
        return (magnitudes[1:] + magnitudes[:-1]) / 2, positive, negative

    def values(self, codes: np.ndarray, columns: slice = slice(None)) -> np.ndarray:
        """float32 [R, n]: what codes of some columns stand for."""
        return self.table[codes] * self.step[:, columns]


def grid_of(tensor: QuantizedTensor) -> Grid:
    """The grid of a 4-bit tensor.

    Raises:
        ValueError: a format whose elements do not lie on a grid of one table (int8, hif8, integers with zero points).
    """
    scales, columns = tensor.scales, tensor.layout.columns
    if tensor.format == "hif4":
        eight = np.repeat(np.unpackbits(scales[:, :, 1:2], axis=2, bitorder="little"), 8, axis=2)
        four = np.repeat(np.unpackbits(scales[:, :, 2:4], axis=2, bitorder="little"), 4, axis=2)
        step = E6M2[scales[:, :, :1]] * np.float32(2) ** (eight + four)
        return Grid(step.reshape(len(step), -1)[:, :columns], S1P2)
    if tensor.format == "mxfp4":
        return Grid(np.repeat(E8M0[scales[:, :, 0]], 32, axis=1)[:, :columns], E2M1)
    if tensor.format == "nvfp4":
        return Grid(np.repeat(E4M3[scales[:, :, 0]] * tensor.tensor_scale, 16, axis=1)[:, :columns], E2M1)
    if tensor.format == "int4" and isinstance(tensor.options, IntegerOptions) and tensor.options.symmetric:
        scale = np.ascontiguousarray(scales[:, :, :4]).view("<f4")[:, :, 0].astype(np.float32)
        if tensor.options.granularity == "group":
            step = np.repeat(scale, tensor.options.group_size, axis=1)[:, :columns]
        else:
            step = np.broadcast_to(scale, (tensor.layout.rows, columns))
        return Grid(step, _INT4)
    raise ValueError(f"{tensor.format} has no grid of one table")


def with_codes(tensor: QuantizedTensor, codes: np.ndarray) -> QuantizedTensor:
    """The tensor with other elements, uint8 [R, N], under the same scales."""
    return replace(tensor, codes=pack_nibbles(codes))
