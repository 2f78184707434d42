"""Convolutions of the native engine in NumPy, from the words of `kernels/core/engine/conv.h`, and random cases.

Dots are exact (int64); a fused multiply-add of float32 is taken from float64 (`fma`).
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


def fma(a, b, c) -> np.ndarray:
    """float32(a * b + c), rounded once: the product is exact in float64; the sum is rounded to odd there."""
    a, b, c = (np.asarray(x, np.float32).astype(np.float64) for x in (a, b, c))
    product = a * b
    total = product + c
    # The error of the sum (Knuth); where there is one, an even last bit would be rounded twice: make it odd.
    t = total - product
    error = (product - (total - t)) + (c - t)
    bits = total.view(np.int64)
    inexact = (error != 0) & (bits & 1 == 0)
    towards = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(inexact, bits + towards, bits).view(np.float64).astype(np.float32)


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x) in float64."""
    x = np.asarray(x, np.float64)
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))


def silu_for_bytes(x: np.ndarray) -> np.ndarray:
    """What `kernels/core/engine/silu.h` says of SiLU before rounding to bytes, float32 step by step."""
    text = (Path(__file__).parents[2] / "kernels" / "core" / "engine" / "silu.h").read_text(encoding="utf-8")
    numbers = text.split("kSigmoidCubics[4][16] = {", 1)[1].split("};", 1)[0]
    cubics = np.array(re.findall(r"[-\d.e]+(?=f)", numbers), np.float64).astype(np.float32).reshape(4, 16)
    x = np.asarray(x, np.float32)
    c = np.where(x > -7, x, np.float32(-7))
    u = np.minimum(c, np.float32(8.999)) + np.float32(6.5)
    n = np.rint(u)
    d, i = u - n, n.astype(int)
    y = cubics[3][i]
    for k in (2, 1, 0):
        y = fma(y, d, cubics[k][i])
    return c * y


def saturate(y: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(y), 0, 255).astype(np.uint8)


@dataclass
class Case:
    """One layer with its input: `x` [H, W, C] with its border of `border` (top, left, bottom, right) pixels."""

    fields: dict[str, Any]
    x: np.ndarray
    border: tuple[int, int, int, int]
    out_size: tuple[int, int]
    residual: np.ndarray | None = None
    in_extra: int = 0
    out_extra: int = 0
    rows: list[int] = field(default_factory=list)


def taps_of(case: Case) -> np.ndarray:
    """Input values [OH, OW, taps, C] that every output pixel sees."""
    f = case.fields
    height, width = case.out_size
    y = np.arange(height)[:, None] * f["stride_h"] + np.arange(f["kernel_h"]) * f["dilation_h"]
    x = np.arange(width)[:, None] * f["stride_w"] + np.arange(f["kernel_w"]) * f["dilation_w"]
    seen = case.x[y[:, None, :, None], x[None, :, None, :]]
    return seen.reshape(height, width, -1, case.x.shape[2])


def sums(case: Case) -> np.ndarray:
    """float32 [OH, OW, O] before anything non-linear."""
    f = case.fields
    seen = taps_of(case)
    channels = f["out_channels"]
    bias = f.get("bias")
    bias = np.zeros(channels, np.float32) if bias is None else bias
    depthwise = f.get("depthwise", False)
    if f.get("float_weights") is not None:
        if f["input"] == "u8":
            seen = (seen.astype(np.float32) - np.float32(f["input_zero"])) * np.float32(f["input_scale"])
        y = np.broadcast_to(bias, (*case.out_size, channels)).astype(np.float32)
        weights = f["float_weights"].reshape(channels, -1)
        flat = seen.reshape(*case.out_size, -1)
        for k in range(weights.shape[1]):
            y = fma(seen[:, :, k] if depthwise else flat[:, :, k, None], weights[:, k], y)
        return y
    centred = seen.astype(np.int64) - f["input_zero"]
    weights = f["weights"].reshape(channels, -1).astype(np.int64)
    if f.get("group"):
        total = np.zeros((*case.out_size, channels), np.float32)
        flat = np.tile(centred.reshape(*case.out_size, -1), f.get("planes", 1))
        group = f["group"]
        scales = f["group_scale"].reshape(channels, -1)
        for g in range(scales.shape[1]):
            part = slice(g * group, (g + 1) * group)
            total = fma(scales[:, g], (flat[..., part] @ weights[:, part].T).astype(np.float32), total)
        return fma(total, f["scale"], bias)
    if depthwise:
        total = np.einsum("hwtc,ct->hwc", centred, weights)
    else:
        total = centred.reshape(*case.out_size, -1) @ weights.T
    if f.get("initial") is not None:
        total = total + f["initial"]
    assert np.abs(total).max() < 2**31
    return fma(total.astype(np.int32).astype(np.float32), f["scale"], bias)


def finish(case: Case, y: np.ndarray) -> np.ndarray:
    """uint8 or float32 [OH, OW, O] from the sums, or what SiLU made of them."""
    f = case.fields
    if f["output"] == "f32":
        return y if case.residual is None else y + case.residual
    if f.get("float_weights") is not None or f.get("silu"):
        factor = f.get("factor")
        inverse = np.float32(f["inverse_scale"])
        y = fma(y, inverse if factor is None else inverse * factor, f["output_zero"])
    q = saturate(y)
    if f.get("table") is not None:
        q = f["table"][q]
    if case.residual is not None:
        q = saturate(fma(f["mix_own"], q, fma(f["mix_residual"], case.residual, f["mix_offset"])))
    return q


class Pages:
    """`size` bytes that end at a page that cannot be touched (`at_end`) or begin behind one."""

    def __init__(self, size: int, at_end: bool) -> None:
        import ctypes

        page = mmap.PAGESIZE
        whole = -(-size // page) * page
        self.area = mmap.mmap(-1, whole + 2 * page)
        everything = np.frombuffer(self.area, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        for start in (0, page + whole):
            if libc.mprotect(ctypes.c_void_p(everything.ctypes.data + start), ctypes.c_size_t(page), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        begin = page + whole - size if at_end else page
        self.bytes = everything[begin : begin + size]


def run_native(kernels, isa: str, case: Case, *, at_end: bool = True) -> np.ndarray:
    """The native result, on buffers at forbidden pages; checks that channels beside a slice stay untouched."""
    f = case.fields
    top, left, bottom, right = case.border
    in_size, out_size = (1 if f[name] == "u8" else 4 for name in ("input", "output"))
    height, width = case.x.shape[:2]
    in_pixel = (case.x.shape[2] + case.in_extra) * in_size
    source = Pages(height * width * in_pixel - case.in_extra * in_size, at_end)
    wide = np.full((height, width, case.x.shape[2] + case.in_extra), 77, case.x.dtype)
    wide[..., : case.x.shape[2]] = case.x
    source.bytes[:] = wide.reshape(-1).view(np.uint8)[: source.bytes.size]
    channels = f["out_channels"]
    out_pixel = (channels + case.out_extra) * out_size
    out_height, out_width = case.out_size
    size = out_height * out_width * out_pixel - case.out_extra * out_size
    target, other = Pages(size, at_end), Pages(size, at_end)
    target.bytes[:] = 0xA5
    dtype = np.uint8 if f["output"] == "u8" else np.float32

    def channels_of(pages: Pages) -> np.ndarray:
        padded = np.concatenate([pages.bytes, np.full(case.out_extra * out_size, 0xA5, np.uint8)])
        return padded.view(dtype).reshape(out_height, out_width, channels + case.out_extra)

    if case.residual is not None:
        wide = np.zeros((out_height, out_width, channels + case.out_extra), dtype)
        wide[..., :channels] = case.residual
        other.bytes[:] = wide.reshape(-1).view(np.uint8)[:size]
    out_layout = (0, out_pixel * out_width, out_pixel, out_height, out_width, channels)
    kernels._conv_run(
        isa,
        f,
        source.bytes,
        (
            top * width * in_pixel + left * in_pixel,
            width * in_pixel,
            in_pixel,
            height - top - bottom,
            width - left - right,
            case.x.shape[2],
        ),
        target.bytes,
        out_layout,
        other.bytes if case.residual is not None else None,
        out_layout,
        case.rows,
        [],
    )
    result = channels_of(target)
    untouched = np.ascontiguousarray(result[..., channels:]).view(np.uint8)
    assert (untouched == 0xA5).all(), "channels beside the slice were written"
    return result[..., :channels]
