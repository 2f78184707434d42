"""Values of int8 and int4 in torch, equal to ``wutdet.lowbit.oracle.integer`` bit for bit."""

from __future__ import annotations

import torch

from wutdet.lowbit.layout import BITS
from wutdet.lowbit.options import IntegerOptions
from wutdet.lowbit.torch_formats import Result, grouped, round_steps, ungrouped


def integer_values(
    x: torch.Tensor, format: str, options: IntegerOptions, channels: int, noise: torch.Tensor | None, clipping: bool
) -> Result:
    """float32 [R, N], and bool [R, N] of clipped values where asked for.

    A NaN or an infinity makes everything that shares its scale NaN, by 0 * inf and inf / inf.

    Args:
        x: float32 [R, N].
        format: ``int8`` or ``int4``.
        options: of the format.
        channels: length of the first axis that the rows were made of; R is a multiple of it.
        noise: thresholds of stochastic rounding, [R, N]; ``None`` rounds to nearest.
        clipping: whether to say which values were clipped.
    """
    bits = BITS[format]
    shared = _sharing(x, options, channels)
    if options.symmetric:
        high = torch.full((), 2.0 ** (bits - 1) - 1, device=x.device)
        low = -high
        scale = shared.abs().amax(dim=2, keepdim=True) / high
        zero = None
    else:
        high = torch.full((), 2.0**bits - 1, device=x.device)
        low = torch.zeros_like(high)
        bottom = shared.amin(dim=2, keepdim=True).clamp_(max=0)
        scale = shared.amax(dim=2, keepdim=True).clamp_(min=0) / high - bottom / high
    scale = scale.masked_fill(scale == 0, 1)
    if not options.symmetric:
        zero = (-bottom / scale).round_().clamp_(low, high)
    quotient = shared / scale
    noise = None if noise is None else _sharing(noise, options, channels)
    code = quotient.round() if noise is None else round_steps(quotient.abs(), "even", noise).copysign_(quotient)
    code = code + (0.0 if zero is None else zero)  # makes 0 of -0
    clipped = (code < low) | (code > high) if clipping else None
    code = code.clamp_(low, high)
    values = (code if zero is None else code.sub_(zero)).mul_(scale)
    return _unshared(values, x), None if clipped is None else _unshared(clipped, x)


def _sharing(x: torch.Tensor, options: IntegerOptions, channels: int) -> torch.Tensor:
    """[S, G, values that share a scale]."""
    if options.granularity == "group":
        return grouped(x, options.group_size)
    return x.reshape(channels if options.granularity == "channel" else 1, 1, -1)


def _unshared(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if values.numel() == like.numel():
        return values.reshape(like.shape)
    return ungrouped(values, like)
