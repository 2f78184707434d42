"""Which code encodes and decodes: the native kernels or the oracles that define them. Both give the same bits."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from wutdet import _kernels
from wutdet.errors import UsageError
from wutdet.lowbit.layout import BITS, channels_of
from wutdet.lowbit.options import IntegerOptions
from wutdet.lowbit.oracle import hif4, hif8, integer, mxfp4, nvfp4
from wutdet.lowbit.oracle.blocks import Blocks
from wutdet.lowbit.packing import pack_nibbles
from wutdet.lowbit.philox import thresholds

BACKENDS = ("auto", "native", "numpy")
_ORACLES = {"hif4": hif4, "mxfp4": mxfp4, "nvfp4": nvfp4, "hif8": hif8}


@np.errstate(all="ignore")  # infinities and NaN are part of the definitions: nobody is warned of them
def encode(x: np.ndarray, format: str, options, shape: tuple[int, ...], seed: int | None, backend: str) -> Blocks:
    """Packed codes and scales of a float32 matrix [R, N].

    Args:
        x: the values of a tensor of ``shape``, its last axis as columns.
        format: of numbers.
        options: of the format.
        shape: of the tensor.
        seed: of stochastic rounding; ``None`` rounds to nearest.
        backend: one of ``BACKENDS``; ``auto`` is ``native``, which has every format with every option.
    """
    check_backend(backend)
    if backend != "numpy":
        codes, scales, tensor_scale = _kernels.lowbit_encode(format, x, asdict(options), channels_of(shape), seed)
        return Blocks(codes, scales, np.float32(tensor_scale))
    threshold = None if seed is None else thresholds(seed, x.size).reshape(x.shape)
    if isinstance(options, IntegerOptions):
        blocks = integer.encode(x, BITS[format], options, channels_of(shape), threshold)
    else:
        blocks = _ORACLES[format].encode(x, options, threshold)
    codes = blocks.codes if BITS[format] == 8 else pack_nibbles(blocks.codes)
    return Blocks(codes, blocks.scales, blocks.tensor_scale)


@np.errstate(all="ignore")
def decode(tensor, backend: str) -> np.ndarray:
    """float32 [R, N] of a QuantizedTensor."""
    check_backend(backend)
    if backend != "numpy":
        return _kernels.lowbit_decode(
            tensor.format,
            np.ascontiguousarray(tensor.codes),
            np.ascontiguousarray(tensor.scales),
            tensor.tensor_scale,
            tensor.layout.columns,
            asdict(tensor.options),
        )
    if isinstance(tensor.options, IntegerOptions):
        return integer.decode(tensor.unpacked(), BITS[tensor.format], tensor.options)
    return _ORACLES[tensor.format].decode(tensor.unpacked(), tensor.options)


def check_backend(backend: str) -> None:
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, received {backend!r}")
