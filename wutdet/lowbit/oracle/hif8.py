"""HiFloat8: one byte a value, precision falling with the distance from 1, no scale (arXiv 2409.16626).

Rounding to nearest is away from zero at ties; 1.25 * 2^15 and above becomes infinite, as in the reference. Rounding
stochastically, values beyond 2^15 do as when rounding to nearest.
"""

from __future__ import annotations

import numpy as np

from wutdet.lowbit.codebooks import HIF8
from wutdet.lowbit.options import HiF8Options
from wutdet.lowbit.oracle.blocks import Blocks, round_to_table

NAN, INFINITY, LARGEST = 0x80, 0x6F, 0x6E
_TO_INFINITY = 1.25 * 2.0**15

# Codes are not in the order of their values: the codes of the finite magnitudes, rising.
_FINITE = np.array([code for code in range(128) if code != INFINITY], dtype=np.uint8)
_RISING = _FINITE[np.argsort(HIF8[_FINITE], kind="stable")]


def encode(x: np.ndarray, options: HiF8Options, threshold: np.ndarray | None) -> Blocks:
    """float32 [R, N] to codes [R, N]; there are no scales. ``threshold`` as in ``round_to_table``."""
    magnitude = np.abs(x.astype(np.float64))
    finite = np.where(np.isfinite(magnitude), magnitude, 0)
    code = _RISING[round_to_table(finite, HIF8[_RISING], "away", threshold)]
    code = np.where(magnitude >= _TO_INFINITY, INFINITY, code)
    code = np.where((x < 0) & (code != 0), code | 0x80, code)
    code = np.where(np.isnan(x), NAN, code).astype(np.uint8)
    return Blocks(code, np.zeros((len(x), 0, 0), dtype=np.uint8))


def decode(blocks: Blocks, options: HiF8Options) -> np.ndarray:
    """float32 [R, N]."""
    return HIF8[blocks.codes]
