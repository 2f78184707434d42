"""Fake quantisation in torch: the values a low-bit format would give back, with a straight-through gradient.

For quantisation-aware training and for training in low-bit formats. Values equal ``quantize(x, ...).dequantize()`` bit
for bit, on the CPU and on CUDA devices. This module needs torch; the package ``wutdet.lowbit`` does not import it.
"""

from __future__ import annotations

import numpy as np
import torch

from wutdet.errors import DataError, UsageError
from wutdet.lowbit.backends import encode
from wutdet.lowbit.hadamard import RandomHadamard
from wutdet.lowbit.options import IntegerOptions, Rounding, options_for
from wutdet.lowbit.tensor import QuantizedTensor
from wutdet.lowbit.torch_formats import VALUES
from wutdet.lowbit.torch_integers import integer_values
from wutdet.lowbit.torch_philox import thresholds


def fake_quantize(
    x: torch.Tensor,
    format: str,
    *,
    rounding: Rounding = "nearest",
    seed: int | None = None,
    clip_gradient: bool = False,
    native: bool = True,
    **options,
) -> torch.Tensor:
    """Values of ``x`` after a trip through a low-bit format, groups along the last axis.

    The gradient passes as if nothing had happened (straight-through).

    Args:
        x: floating point, any shape and strides, on any device; computed in float32 (float64 is rounded first).
        format: ``int8``, ``int4``, ``mxfp4``, ``nvfp4``, ``hif4`` or ``hif8``.
        rounding: of elements, ``nearest`` or ``stochastic``, as in ``wutdet.lowbit.quantize``.
        seed: of stochastic rounding, 64 bits; the same seed rounds ``quantize(x, rng=seed)`` alike.
        clip_gradient: no gradient for values beyond the largest that their group can hold.
        native: take the native encoder where it has what is asked (CPU, block formats, no ``clip_gradient``): the same
            bits, up to 50 times faster than torch's operators.
        **options: of the format, see ``wutdet.lowbit.options``.

    Returns:
        The same shape and device. The dtype of ``x`` where it holds every value of the format exactly: bfloat16 for
        hif4, mxfp4, hif8 and nvfp4 with ``scaling="block"``, float16 for hif8 and nvfp4 with ``scaling="block"``; else
        float32. A NaN or an infinity makes everything that shares its scale NaN; integers too, which
        ``wutdet.lowbit.quantize`` refuses, because finding out would make the device wait.

    Raises:
        UsageError: an unknown format, option or rounding, or stochastic rounding without ``seed``.
        DataError: not floating point.

    Example:
        >>> w = torch.ones(64, requires_grad=True)
        >>> fake_quantize(w, "hif4").sum().item()
        60.0
    """
    chosen = options_for(format, options)
    _check_rounding(rounding, seed)
    if not x.is_floating_point():
        raise DataError(f"only floating-point tensors can be quantised, received {x.dtype}", hint="use x.float()")
    seed = seed if rounding == "stochastic" else None
    return _StraightThrough.apply(x, format, chosen, seed, clip_gradient, native)


def hadamard(x: torch.Tensor, transform: RandomHadamard) -> torch.Tensor:
    """``transform(x)`` in torch, equal bit for bit, with its gradient, which is ``transform.inverse``.

    Args:
        x: floating point [..., N], N a multiple of ``transform.size``, on any device.
        transform: size and signs.

    Returns:
        float32 of the same shape and device.

    Raises:
        UsageError: the last axis is no multiple of the transform's size.
    """
    if x.ndim == 0 or x.shape[-1] % transform.size:
        raise UsageError(
            f"the last axis must be a multiple of {transform.size}, received shape {tuple(x.shape)}",
            hint="pad it with zeros",
        )
    signed = torch.from_numpy(np.sign(transform.matrix)).to(x.device)
    return _Hadamard.apply(x, signed)


class _Hadamard(torch.autograd.Function):
    """Sums of ``x`` with the signs [size, size], in the order of the elements, by 1 / sqrt(size)."""

    @staticmethod
    def forward(ctx, x, signed):
        ctx.dtype = x.dtype
        ctx.save_for_backward(signed)
        blocks = x.detach().to(torch.float32).reshape(-1, len(signed))
        total = torch.zeros_like(blocks)
        for k in range(len(signed)):
            # Products by +-1 are exact, so that a fused multiplication and addition gives the same.
            total.addcmul_(blocks[:, k : k + 1], signed[k])
        return total.mul_(float(np.float32(1 / np.sqrt(len(signed))))).reshape(x.shape)

    @staticmethod
    def backward(ctx, gradient):
        (signed,) = ctx.saved_tensors
        return _Hadamard.apply(gradient, signed.t()).to(ctx.dtype), None


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, format, options, seed, clip_gradient, native):
        ctx.dtype = x.dtype
        columns = x.shape[-1] if x.ndim else 1
        values, clipped = torch.empty_like(x, dtype=torch.float32), None
        if x.numel():
            matrix = x.detach().to(torch.float32).contiguous().view(-1, columns)
            if native and x.device.type == "cpu" and not clip_gradient and not isinstance(options, IntegerOptions):
                values = _native_values(matrix, format, options, seed)
            else:
                noise = None if seed is None else thresholds(seed, x.numel(), x.device).view(matrix.shape)
                if isinstance(options, IntegerOptions):
                    channels = x.shape[0] if x.ndim > 1 else 1
                    values, clipped = integer_values(matrix, format, options, channels, noise, clip_gradient)
                else:
                    values, clipped = VALUES[format](matrix, options, noise, clip_gradient)
            values = values.reshape(x.shape)
        if clipped is not None:
            ctx.save_for_backward(clipped.reshape(x.shape))
        return values.to(x.dtype if _holds(x.dtype, format, options) else torch.float32)

    @staticmethod
    def backward(ctx, gradient):
        for clipped in ctx.saved_tensors:
            gradient = gradient.masked_fill(clipped, 0)
        return gradient.to(ctx.dtype), None, None, None, None, None


def _native_values(x: torch.Tensor, format: str, options, seed: int | None) -> torch.Tensor:
    """float32 [R, N]: what the native encoder and decoder make of a contiguous float32 matrix [R, N]."""
    shape = tuple(x.shape)
    blocks = encode(x.numpy(), format, options, shape, seed, "native")
    packed = QuantizedTensor(format, shape, blocks.codes, blocks.scales, blocks.tensor_scale, options)
    return torch.from_numpy(packed.dequantize("native"))


def _holds(dtype: torch.dtype, format: str, options) -> bool:
    """Whether a dtype holds every value of a format."""
    one_level = format == "nvfp4" and options.scaling == "block"
    if dtype == torch.bfloat16:
        return one_level or format in ("hif4", "mxfp4", "hif8")
    return dtype == torch.float16 and (one_level or format == "hif8")


def _check_rounding(rounding: str, seed: int | None) -> None:
    if rounding not in ("nearest", "stochastic"):
        raise UsageError(f"rounding must be 'nearest' or 'stochastic', received {rounding!r}")
    whole = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**64
    if rounding == "stochastic" and not whole:
        raise UsageError(
            f"stochastic rounding needs a seed in 0..2^64-1, received {seed!r}", hint="another one for every call"
        )
