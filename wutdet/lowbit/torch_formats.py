"""Values of HiF4, MXFP4, NVFP4 and HiF8 in torch, equal to the oracles bit for bit.

Every function takes float32 [R, N] with at least one value, the format's options, thresholds [R, N] of stochastic
rounding (``None`` rounds to nearest) and whether to say which values were clipped. It gives float32 [R, N] and bool
[R, N] or ``None``. Powers of two come from the bits of floats, never from a logarithm. Quotients by a Python number are
not used: CUDA multiplies by its reciprocal.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from wutdet.lowbit.options import HiF4Options, HiF8Options, MXFP4Options, NVFP4Options
from wutdet.lowbit.oracle.hif4 import HIGHEST, LOWEST, ONE_SEVENTH

#: float32 next below one half: floor(p + this) is p rounded half up for 0 <= p < 2^22, where p + 0.5 may round up.
BELOW_HALF = 0.5 - 2.0**-25
_EXPONENT = 0x7F800000
Result = tuple[torch.Tensor, torch.Tensor | None]


def hif4(x: torch.Tensor, options: HiF4Options, noise: torch.Tensor | None, clipping: bool) -> Result:
    groups = grouped(x, 64)
    of_four = groups.abs().view(*groups.shape[:2], 16, 4).amax(dim=3)
    of_eight = of_four.view(*groups.shape[:2], 8, 2).amax(dim=3)
    peak = of_eight.amax(dim=2, keepdim=True)
    broken = ~torch.isfinite(peak) if options.non_finite == "nan" else torch.isnan(peak)

    # A float64's bits from 52 - k on are its exponent and k bits of mantissa: 7 make a bfloat16, 2 an E6M2.
    wanted = (peak.double() * ONE_SEVENTH).nan_to_num(nan=0).clamp_(LOWEST, HIGHEST)
    bits = _round_bits(_round_bits(wanted.view(torch.int64), 45), 50)
    scale = bits.view(torch.float64)
    reciprocal = _round_bits((1 / scale).view(torch.int64), 45).view(torch.float64)

    doubled_eight = of_eight * reciprocal >= 4
    eight = doubled_eight.double().repeat_interleave(2, dim=2).add_(1)
    doubled_four = of_four * reciprocal / eight >= 2
    factor = eight.mul_(doubled_four.double().add_(1))  # 1, 2 or 4
    elements = groups.abs().double().view(*groups.shape[:2], 16, 4)
    quarters = elements.mul_((4 * reciprocal / factor)[..., None])
    noise = None if noise is None else grouped(noise, 64).view(quarters.shape)
    whole = round_steps(quarters, options.ties, noise).clamp_(max=7)
    scale = scale.masked_fill(broken, torch.nan)
    step = (scale * factor * 0.25)[..., None]
    values = whole.mul_(step).float().view(groups.shape)
    # Not quarters > 7: the reciprocal is rounded.
    clipped = groups.abs().view(quarters.shape) > (7 * step).float() if clipping else None
    # 0 has no sign, but what was rounded to it has.
    values = values.mul_(torch.sign(groups))
    return ungrouped(values, x), None if clipped is None else ungrouped(clipped.view(groups.shape), x)


def mxfp4(x: torch.Tensor, options: MXFP4Options, noise: torch.Tensor | None, clipping: bool) -> Result:
    groups = grouped(x, 32)
    magnitude = groups.abs()
    peak = magnitude.amax(dim=2, keepdim=True)
    mantissa, exponent = torch.frexp(peak)
    power = exponent - 3
    if options.scale_rule == "ceil":
        power = power + (mantissa > 0.75)
    power = power.clamp_(-127, 126).masked_fill_(peak == 0, -127)
    # Below 2^-126 the mantissa's first bit stands for the power.
    scale = ((power + 127) << 23).masked_fill_(power == -127, 1 << 22).view(torch.float32)
    magnitude.mul_(((127 - power) << 23).view(torch.float32))
    clipped = ungrouped(magnitude > 6, x) if clipping else None
    values = _to_e2m1(magnitude, options.ties, None if noise is None else grouped(noise, 32))
    values.mul_(scale.masked_fill(~torch.isfinite(peak), torch.nan))
    return ungrouped(values.copysign_(groups), x), clipped


def nvfp4(x: torch.Tensor, options: NVFP4Options, noise: torch.Tensor | None, clipping: bool) -> Result:
    groups = grouped(x, 16)
    peak = groups.abs().amax(dim=2, keepdim=True)
    broken = ~torch.isfinite(peak)
    peak = peak.masked_fill(broken, 0)
    if options.tile == "16x16":
        rows, count, _ = peak.shape
        tiles = pad(peak, (0, 0, 0, 0, 0, -rows % 16)).view(-1, 16, count, 1).amax(dim=1, keepdim=True)
        peak = tiles.expand(-1, 16, -1, -1).reshape(-1, count, 1)[:rows]
    one, six, all_peak = (torch.full((), n, device=x.device) for n in (1.0, 6.0, 6.0 * 448))
    largest = torch.finfo(torch.float32).max
    tensor_scale = to_peak = one
    if options.scaling == "two-level":
        whole = peak.amax()
        tensor_scale = torch.where(whole == 0, one, whole / all_peak)
        to_peak = torch.where(whole == 0, one, (all_peak / whole).clamp(max=largest))
    if options.reference == "te":
        scale = _to_e4m3((peak * (to_peak * (one / six))).clamp(max=448))
        factor = (one / (scale * (one / to_peak))).clamp(max=largest)
    else:
        # Where the tensor scale underflows to 0, all becomes 0, and any scale but NaN will do for empty groups' 0 / 0.
        scale = _to_e4m3((peak / six / tensor_scale).nan_to_num(nan=1).clamp(2.0**-6, 448))
        factor = (one / tensor_scale) / scale
    scaled = groups * factor
    magnitude = scaled.abs()
    if options.reference == "ao":
        magnitude.masked_fill_(groups == 0, 0)  # the factor can be infinite
    # Rounded factors bring peaks that fit a little above 6.
    clipped = ungrouped(magnitude > 6 * (1 + 2.0**-20), x) if clipping else None
    values = _to_e2m1(magnitude, "even", None if noise is None else grouped(noise, 16))
    # Transformer Engine compares, so that neither -0 nor a product that underflows to it has a sign.
    values = values.mul_(torch.sign(scaled)) if options.reference == "te" else values.copysign_(groups)
    scale = scale.masked_fill(broken, torch.nan)
    values = values * scale * tensor_scale if options.reference == "te" else values * (scale * tensor_scale)
    return ungrouped(values, x), clipped


def hif8(x: torch.Tensor, options: HiF8Options, noise: torch.Tensor | None, clipping: bool) -> Result:
    magnitude = x.abs()
    infinite = magnitude >= 1.25 * 2.0**15
    clipped = magnitude > 2.0**15 if clipping else None
    magnitude.clamp_(max=2.0**15)
    exponent = (magnitude.view(torch.int32) >> 23) - 127
    distance = exponent.abs()
    mantissa_bits = 3 - (distance > 3).int() - (distance > 7).int() - (exponent < -15).int()
    step = ((exponent + 127 - mantissa_bits) << 23).view(torch.float32).clamp_(min=2.0**-22)
    values = round_steps(magnitude.div_(step), "away", noise).mul_(step)
    values = values.masked_fill(infinite, torch.inf).mul_(torch.sign(x))  # there is no negative zero: see below
    return values.add_(0.0).masked_fill_(torch.isnan(x), torch.nan), clipped


VALUES = {"hif4": hif4, "mxfp4": mxfp4, "nvfp4": nvfp4, "hif8": hif8}


def round_steps(steps: torch.Tensor, ties: str, noise: torch.Tensor | None) -> torch.Tensor:
    """Magnitudes in units of a step rounded to whole ones, in place."""
    if noise is not None:
        below = torch.floor(steps)
        share = steps.sub_(below).mul_(2.0**24).floor_()
        return below.add_(noise < share)
    if ties == "even":
        return steps.round_()
    return steps.add_(0.5 if steps.dtype == torch.float64 else BELOW_HALF).floor_()


def _to_e2m1(magnitude: torch.Tensor, ties: str, noise: torch.Tensor | None) -> torch.Tensor:
    """float32 magnitudes rounded to 0, 0.5, 1, 1.5, 2, 3, 4, 6, in place; what is beyond becomes 6."""
    magnitude.clamp_(max=6)
    # Steps are half of the binade from 1 on, and 0.5 below.
    step = (magnitude.view(torch.int32) & _EXPONENT).view(torch.float32).clamp_(min=1).mul_(0.5)
    return round_steps(magnitude.div_(step), ties, noise).mul_(step)


def _to_e4m3(x: torch.Tensor) -> torch.Tensor:
    """float32 values from 0 to 448 rounded to E4M3, ties to even."""
    return x.to(torch.float8_e4m3fn).to(torch.float32)


def _round_bits(bits: torch.Tensor, dropped: int) -> torch.Tensor:
    """int64 bits of positive float64 values without their last ``dropped`` bits, rounded to nearest, ties to even."""
    half = (1 << (dropped - 1)) - 1
    return bits.add((bits >> dropped & 1) + half) >> dropped << dropped


def grouped(x: torch.Tensor, size: int) -> torch.Tensor:
    """[R, N] to [R, G, size], the last group filled up with zeros."""
    missing = -x.shape[1] % size
    return (pad(x, (0, missing)) if missing else x).reshape(len(x), -1, size)


def ungrouped(groups: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """[R, G, size] back to the shape of ``like`` [R, N]."""
    return groups.reshape(len(like), -1)[:, : like.shape[1]]
