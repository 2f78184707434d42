"""HiFloat4: groups of 64 under three levels of scales (arXiv 2602.11287, Algorithm 1, as the authors' simulator).

A scale is four bytes: the E6M2 code of the group, eight bits that double 8 values each, sixteen that double 4 values
each, bit 0 for the first values. Products are exact where their result decides something.
"""

from __future__ import annotations

import numpy as np

from wutdet.lowbit.codebooks import E6M2, S1P2
from wutdet.lowbit.options import HiF4Options
from wutdet.lowbit.oracle.blocks import Blocks, grouped, round_to_table, to_bfloat16, ungrouped

GROUP = 64
#: bfloat16(1/7): a group's peak comes to lie at about 7 = 2 * 2 * 1.75 times its first scale.
ONE_SEVENTH = 0.142578125
LOWEST, HIGHEST = 2.0**-48, 49152.0
NAN_SCALE = 0xFF


def encode(x: np.ndarray, options: HiF4Options, threshold: np.ndarray | None) -> Blocks:
    """float32 [R, N] to codes [R, N] and scales [R, G, 4]. ``threshold`` as in ``round_to_table``, [R, N]."""
    values = grouped(x.astype(np.float64), GROUP)
    magnitude = np.abs(values)
    broken = np.isnan(values).any(axis=2)
    if options.non_finite == "nan":
        broken |= np.isinf(values).any(axis=2)
    magnitude[broken] = 0
    magnitude = np.minimum(magnitude, 2.0**128)  # stands for infinity; far beyond the largest value

    of_four = magnitude.reshape(*magnitude.shape[:2], 16, 4).max(axis=3)
    of_eight = of_four.reshape(*of_four.shape[:2], 8, 2).max(axis=3)
    peak = of_eight.max(axis=2)

    code = _e6m2_code(to_bfloat16(peak * ONE_SEVENTH))
    scale = E6M2[code].astype(np.float64)
    reciprocal = to_bfloat16(1 / scale)[:, :, None]
    doubled_eight = of_eight * reciprocal >= 4
    eight = np.repeat(doubled_eight, 2, axis=2)
    doubled_four = of_four * reciprocal * np.where(eight, 0.5, 1) >= 2
    doublings = np.repeat(eight.astype(int) + doubled_four, 4, axis=2)

    noise = None if threshold is None else grouped(threshold, GROUP)
    element = round_to_table(magnitude * reciprocal * 0.5**doublings, S1P2[:8], options.ties, noise)
    element |= np.where(values < 0, 8, 0).astype(np.uint8)
    element[broken] = 0
    code[broken] = NAN_SCALE
    scales = np.concatenate(
        [
            code[:, :, None],
            np.packbits(doubled_eight, axis=2, bitorder="little"),
            np.packbits(doubled_four, axis=2, bitorder="little"),
        ],
        axis=2,
    )
    return Blocks(ungrouped(element, x.shape[1]), scales)


def _e6m2_code(scale: np.ndarray) -> np.ndarray:
    """uint8 codes of float64 values, ties to even, clamped to the finite range."""
    mantissa, exponent = np.frexp(np.clip(scale, LOWEST, HIGHEST))
    quarters = np.round(mantissa * 8).astype(int)  # 4..8; 8 carries into the next binade
    return ((exponent - 1 + 48) * 4 + quarters - 4).astype(np.uint8)


def decode(blocks: Blocks, options: HiF4Options) -> np.ndarray:
    """float32 [R, N]; every value is exact. Groups of a NaN scale are NaN."""
    codes = grouped(blocks.codes, GROUP)
    eight = np.unpackbits(blocks.scales[:, :, 1:2], axis=2, bitorder="little")
    four = np.unpackbits(blocks.scales[:, :, 2:4], axis=2, bitorder="little")
    doublings = np.repeat(eight, 8, axis=2) + np.repeat(four, 4, axis=2)
    values = E6M2[blocks.scales[:, :, 0]][:, :, None] * np.float32(2) ** doublings * S1P2[codes]
    return ungrouped(values, blocks.codes.shape[1])
