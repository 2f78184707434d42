"""MXFP4: groups of 32 E2M1 elements under a power of two (OCP Microscaling Formats 1.0, section 6.3).

A scale is one byte, E8M0. A NaN or an infinity makes its group NaN.
"""

from __future__ import annotations

import numpy as np

from wutdet.lowbit.codebooks import E2M1, E8M0
from wutdet.lowbit.options import MXFP4Options
from wutdet.lowbit.oracle.blocks import Blocks, grouped, round_to_table, ungrouped

GROUP = 32
NAN_SCALE = 0xFF


def encode(x: np.ndarray, options: MXFP4Options, threshold: np.ndarray | None) -> Blocks:
    """float32 [R, N] to codes [R, N] and scales [R, G, 1]. ``threshold`` as in ``round_to_table``, [R, N]."""
    values = grouped(x.astype(np.float64), GROUP)
    broken = ~np.isfinite(values).all(axis=2)
    magnitude = np.abs(values)
    magnitude[broken] = 0
    mantissa, exponent = np.frexp(magnitude.max(axis=2))  # 0.5 <= mantissa < 1, or 0 for an empty group
    power = exponent - 3  # the largest element, 6 = 0.75 * 2^3, lies in the binade of 4
    if options.scale_rule == "ceil":
        power = power + (mantissa > 0.75)
    power = np.where(mantissa == 0, -127, np.maximum(power, -127))
    noise = None if threshold is None else grouped(threshold, GROUP)
    element = round_to_table(np.ldexp(magnitude, -power[:, :, None]), E2M1[:8], options.ties, noise)
    element |= np.where(np.signbit(values), 8, 0).astype(np.uint8)
    element[broken] = 0
    code = np.where(broken, NAN_SCALE, power + 127).astype(np.uint8)
    return Blocks(ungrouped(element, x.shape[1]), code[:, :, None])


def decode(blocks: Blocks, options: MXFP4Options) -> np.ndarray:
    """float32 [R, N]. Groups of a NaN scale are NaN; products below float32's subnormals round to even."""
    values = E8M0[blocks.scales] * E2M1[grouped(blocks.codes, GROUP)]
    return ungrouped(values, blocks.codes.shape[1])
