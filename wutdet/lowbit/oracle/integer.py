"""int8 and int4: rounded quotients by a float32 scale, with or without a zero point.

A scale is four bytes, little-endian float32, and one more for the zero point where there is one. Codes are two's
complement (symmetric) or unsigned. A quotient is one float32 division, then rounded; ties to even, as in ONNX
QuantizeLinear.
"""

from __future__ import annotations

import numpy as np

from wutdet.lowbit.options import IntegerOptions
from wutdet.lowbit.oracle.blocks import Blocks, grouped


def encode(x: np.ndarray, bits: int, options: IntegerOptions, channels: int, threshold: np.ndarray | None) -> Blocks:
    """float32 [R, N] to codes [R, N] and scales [S, G, 4 or 5]; all values must be finite.

    Args:
        x: the values.
        bits: 8 or 4.
        options: of the format.
        channels: length of the first axis that the rows were made of; R is a multiple of it.
        threshold: uint32 [R, N] as in ``round_to_table``.
    """
    sharing = _sharing(x, options, channels)  # [S, G, values that share a scale]
    with np.errstate(over="ignore", under="ignore"):
        if options.symmetric:
            limit = np.float32(2 ** (bits - 1) - 1)
            scale = np.abs(sharing).max(axis=2, initial=0) / limit
            zero = np.zeros_like(scale)
            low, high = -limit, limit
        else:
            low, high = np.float32(0), np.float32(2**bits - 1)
            bottom, top = sharing.min(axis=2, initial=0), sharing.max(axis=2, initial=0)
            scale = top / high - bottom / high
            zero = np.zeros_like(scale)
        scale = np.where(scale == 0, np.float32(1), scale)  # nothing but zeros, or nearly
        if not options.symmetric:
            zero = np.clip(np.round(-bottom / scale), low, high)
        quotient = x / _spread(scale, x, options)
    magnitude = np.abs(quotient).astype(np.float64)
    if threshold is None:
        magnitude = np.round(magnitude)
    else:
        below = np.floor(magnitude)
        magnitude = below + (threshold < np.floor((magnitude - below) * 2.0**24))
    code = np.clip(np.copysign(magnitude, quotient) + _spread(zero, x, options), low, high)
    codes = code.astype(np.int64).astype(np.uint8) & (2**bits - 1)
    scales = scale.astype("<f4")[:, :, None].view(np.uint8)
    if not options.symmetric:
        scales = np.concatenate([scales, zero.astype(np.uint8)[:, :, None]], axis=2)
    return Blocks(codes, scales)


def decode(blocks: Blocks, bits: int, options: IntegerOptions) -> np.ndarray:
    """float32 [R, N]: code minus zero point, which is exact, times scale."""
    code = blocks.codes.astype(np.int64)
    if options.symmetric:
        code = np.where(code >= 2 ** (bits - 1), code - 2**bits, code)
    else:
        code = code - _spread(blocks.scales[:, :, 4].astype(np.int64), blocks.codes, options)
    scale = np.ascontiguousarray(blocks.scales[:, :, :4]).view("<f4")[:, :, 0].astype(np.float32)
    return code.astype(np.float32) * _spread(scale, blocks.codes, options)


def _sharing(x: np.ndarray, options: IntegerOptions, channels: int) -> np.ndarray:
    if options.granularity == "group":
        return grouped(x, options.group_size)
    if options.granularity == "channel":
        return x.reshape(channels, 1, -1) if x.size else np.zeros((channels, 1, 0), dtype=x.dtype)
    return x.reshape(1, 1, -1)


def _spread(of_scale: np.ndarray, like: np.ndarray, options: IntegerOptions) -> np.ndarray:
    """[S, G] to what every value of ``like`` [R, N] has."""
    rows, count = like.shape
    if options.granularity == "group":
        return np.repeat(of_scale, options.group_size, axis=1)[:, :count]
    return np.repeat(of_scale, rows // max(1, len(of_scale)), axis=0)
