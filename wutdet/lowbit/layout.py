"""How many bytes a quantised tensor has where: the shapes of its packed codes and scales. See docs/formats.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wutdet.lowbit.options import IntegerOptions

#: Values that share a scale, and bytes of a scale, of the formats with fixed groups.
GROUP = {"mxfp4": 32, "nvfp4": 16, "hif4": 64}
SCALE_BYTES = {"mxfp4": 1, "nvfp4": 1, "hif4": 4}
BITS = {"int8": 8, "int4": 4, "mxfp4": 4, "nvfp4": 4, "hif4": 4, "hif8": 8}


@dataclass(frozen=True)
class Layout:
    """Shapes of the parts of a quantised tensor.

    Attributes:
        rows: product of all axes but the last.
        columns: length of the last axis.
        codes: shape of the packed codes, uint8 [rows, bytes].
        scales: shape of the scales, uint8 [rows that have own scales, groups, bytes of a scale].
    """

    rows: int
    columns: int
    codes: tuple[int, int]
    scales: tuple[int, int, int]

    @property
    def nbytes(self) -> int:
        return math.prod(self.codes) + math.prod(self.scales)


def layout_of(format: str, shape: tuple[int, ...], options) -> Layout:
    """The layout of a tensor of this shape. A tensor without axes counts as one row of one value."""
    columns = shape[-1] if shape else 1
    rows = math.prod(shape[:-1])
    codes = (rows, columns if BITS[format] == 8 else -(-columns // 2))
    if isinstance(options, IntegerOptions):
        scale_bytes = 4 if options.symmetric else 5
        if options.granularity == "group":
            scales = (rows, -(-columns // options.group_size), scale_bytes)
        else:
            scales = (channels_of(shape) if options.granularity == "channel" else 1, 1, scale_bytes)
    elif format in GROUP:
        scales = (rows, -(-columns // GROUP[format]), SCALE_BYTES[format])
    else:
        scales = (rows, 0, 0)
    return Layout(rows, columns, codes, scales)


def channels_of(shape: tuple[int, ...]) -> int:
    """How many channels a tensor has: the length of its first axis; a tensor of one axis is one channel."""
    return shape[0] if len(shape) > 1 else 1
