"""NVFP4: groups of 16 E2M1 elements under E4M3 scales under one float32 scale (arXiv 2509.25149, appendix B).

A scale is one byte, E4M3. The order of float32 operations is that of the chosen reference. A NaN or an infinity makes
its group NaN and does not take part in the tensor's scale.
"""

from __future__ import annotations

import numpy as np

from wutdet.lowbit.codebooks import E2M1, E4M3
from wutdet.lowbit.options import NVFP4Options
from wutdet.lowbit.oracle.blocks import Blocks, grouped, round_to_table, ungrouped

GROUP = 16
PEAK = np.float32(6 * 448)
LARGEST_SCALE, SMALLEST_NORMAL_SCALE = np.float32(448), np.float32(2**-6)
NAN_SCALE = 0x7F
_FLOAT32_MAX = np.finfo(np.float32).max
_ONE = np.float32(1)


def encode(x: np.ndarray, options: NVFP4Options, threshold: np.ndarray | None) -> Blocks:
    """float32 [R, N] to codes [R, N], scales [R, G, 1] and the tensor scale. ``threshold`` [R, N] as in
    ``round_to_table``."""
    values = grouped(x, GROUP)
    broken = ~np.isfinite(values).all(axis=2)
    magnitude = np.abs(values)
    magnitude[broken] = 0
    peak = magnitude.max(axis=2)
    if options.tile == "16x16":
        peak = _of_sixteen_rows(peak)
    whole = peak.max(initial=np.float32(0)) if options.scaling == "two-level" else None
    with np.errstate(over="ignore", divide="ignore"):
        tensor_scale, code, factor = (_te if options.reference == "te" else _ao)(peak, whole)
        scaled = np.where(magnitude == 0, np.float32(0), magnitude * factor[:, :, None])
    noise = None if threshold is None else grouped(threshold, GROUP)
    element = round_to_table(scaled.astype(np.float64), E2M1[:8], "even", noise)
    # Transformer Engine compares: a product that underflows to -0.0, and -0.0 itself, has no sign.
    negative = (values < 0) & (scaled > 0) if options.reference == "te" else np.signbit(values)
    element |= np.where(negative, 8, 0).astype(np.uint8)
    element[broken] = 0
    code[broken] = NAN_SCALE
    return Blocks(ungrouped(element, x.shape[1]), code[:, :, None], tensor_scale)


def _te(peak: np.ndarray, whole: np.float32 | None) -> tuple[np.float32, np.ndarray, np.ndarray]:
    """Tensor scale, scale codes [R, G], and what elements are multiplied by [R, G]."""
    if whole is None or whole == 0:
        tensor_scale, to_peak = _ONE, _ONE
    else:
        tensor_scale = whole / PEAK
        to_peak = np.minimum(PEAK / whole, _FLOAT32_MAX)
    code = e4m3_code(np.minimum(peak * (to_peak * (_ONE / np.float32(6))), LARGEST_SCALE))
    factor = np.minimum(_ONE / (E4M3[code] * (_ONE / to_peak)), _FLOAT32_MAX)
    return tensor_scale, code, factor


def _ao(peak: np.ndarray, whole: np.float32 | None) -> tuple[np.float32, np.ndarray, np.ndarray]:
    wanted = peak / np.float32(6)
    if whole is None or whole == 0:
        tensor_scale, from_peak = _ONE, _ONE
    else:
        tensor_scale = whole / PEAK
        wanted, from_peak = wanted / tensor_scale, _ONE / tensor_scale
    code = e4m3_code(np.clip(wanted, SMALLEST_NORMAL_SCALE, LARGEST_SCALE))
    return tensor_scale, code, from_peak / E4M3[code]


def e4m3_code(x: np.ndarray) -> np.ndarray:
    """uint8 codes of non-negative float32 values up to 448, ties to even."""
    return round_to_table(x.astype(np.float64), E4M3[:0x7F], "even", None)


def _of_sixteen_rows(peak: np.ndarray) -> np.ndarray:
    """Each row's peaks replaced by the largest of its 16 rows; the last tile may be lower."""
    tops = [
        np.repeat(peak[i : i + 16].max(axis=0)[None], len(peak[i : i + 16]), axis=0) for i in range(0, len(peak), 16)
    ]
    return np.concatenate(tops) if tops else peak


def decode(blocks: Blocks, options: NVFP4Options) -> np.ndarray:
    """float32 [R, N]. Groups of a NaN scale are NaN.

    Transformer Engine multiplies element and scale, which is exact, by the tensor scale; torchao the element by the
    rounded product of both scales.
    """
    element, scale = E2M1[grouped(blocks.codes, GROUP)], E4M3[blocks.scales]
    if options.reference == "te":
        values = element * scale * blocks.tensor_scale
    else:
        values = element * (scale * blocks.tensor_scale)
    return ungrouped(values, blocks.codes.shape[1])
