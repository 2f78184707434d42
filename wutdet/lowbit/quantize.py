"""quantize: a tensor into a low-bit format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wutdet.errors import DataError, UsageError
from wutdet.lowbit.backends import encode
from wutdet.lowbit.layout import layout_of
from wutdet.lowbit.options import IntegerOptions, Rounding, options_for
from wutdet.lowbit.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch


def quantize(
    x: np.ndarray | torch.Tensor,
    format: str,
    *,
    rounding: Rounding = "nearest",
    rng: int | np.random.Generator | None = None,
    backend: str = "auto",
    **options,
) -> QuantizedTensor:
    """A tensor in a low-bit format, with groups along its last axis.

    Args:
        x: floating point, any shape and strides; what is not float32 is converted first (float64 is rounded).
        format: ``int8``, ``int4``, ``mxfp4``, ``nvfp4``, ``hif4`` or ``hif8``.
        rounding: of elements: ``nearest`` as the format defines it, or ``stochastic``: up or down with the probability
            that makes the mean right. Scales are always rounded to nearest.
        rng: of stochastic rounding: a seed of 64 bits, or a generator that gives one. The bit of each element depends
            on the seed and the element's index alone.
        backend: ``native``, ``numpy`` (the slow definition), or ``auto``; all give the same bits.
        **options: of the format, see ``wutdet.lowbit.options``: ``scale_rule="ceil"`` for truncation-free MXFP4, ...

    Returns:
        Packed codes and scales; ``dequantize()`` gives float32 back. A NaN or an infinity makes its group NaN (hif4,
        mxfp4, nvfp4) or keeps its own code (hif8).

    Raises:
        UsageError: an unknown format, option or rounding, or stochastic rounding without ``rng``.
        DataError: not floating point, or values that are not finite where integers cannot say so.

    Example:
        >>> import numpy as np
        >>> q = quantize(np.ones(64, dtype=np.float32), "hif4")
        >>> float(q.dequantize()[0]), q.bits_per_value
        (0.9375, 4.5)
    """
    chosen = options_for(format, options)
    values = as_float32(x)
    if isinstance(chosen, IntegerOptions):
        _refuse_non_finite(values, format)
    layout = layout_of(format, values.shape, chosen)
    matrix = values.reshape(layout.rows, layout.columns)
    blocks = encode(matrix, format, chosen, values.shape, _seed(rounding, rng), backend)
    return QuantizedTensor(format, values.shape, blocks.codes, blocks.scales, blocks.tensor_scale, chosen)


def as_float32(x) -> np.ndarray:
    """A contiguous float32 array of a NumPy array or torch tensor.

    Raises:
        DataError: not an array of floating point numbers.
    """
    if type(x).__module__.partition(".")[0] == "torch":
        if not x.is_floating_point():
            raise DataError(f"only floating-point tensors can be quantised, received {x.dtype}")
        x = x.detach().float().cpu().numpy()
    x = np.asarray(x)
    # ml_dtypes' bfloat16 and float8 are of kind V, but can be cast.
    if x.dtype.kind != "f" and not (x.dtype.kind == "V" and np.can_cast(x.dtype, np.float32)):
        raise DataError(
            f"only floating-point arrays can be quantised, received {x.dtype}", hint="convert with x.astype(np.float32)"
        )
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(x, dtype=np.float32, order="C")


def _seed(rounding: str, rng) -> int | None:
    if rounding not in ("nearest", "stochastic"):
        raise UsageError(f"rounding must be 'nearest' or 'stochastic', received {rounding!r}")
    if rounding == "nearest":
        return None
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**64, dtype=np.uint64))
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool) and 0 <= rng < 2**64:
        return int(rng)
    raise UsageError(
        f"stochastic rounding needs rng: a seed in 0..2^64-1 or a NumPy generator, received {rng!r}",
        hint="rng=np.random.default_rng(0), one generator for all calls",
    )


def _refuse_non_finite(values: np.ndarray, format: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{format} has no code for NaN and infinity, and {int(bad.sum())} of {bad.size} values are, the first at "
            f"{where}: {values[where]}"
        )
