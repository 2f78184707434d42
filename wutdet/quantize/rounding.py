"""Rounding the rows of a weight so that the layer's output changes least, not so that the weights do.

GPTQ (Frantar et al., arXiv 2210.17323): columns are rounded one after the other, and what each loses is made up for by
those still to come, by the second moments of the layer's inputs. The groups of a block format get their scales when
their turn comes, of the weights as they are by then. Scales are searched: a smaller one clips the group's peak and
rounds all else more finely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from wutdet.lowbit import QuantizedTensor, quantize
from wutdet.lowbit.layout import GROUP
from wutdet.lowbit.options import IntegerOptions
from wutdet.quantize.grid import grid_of, with_codes

#: Share of the mean diagonal added to the second moments, so that they can be inverted.
DAMPING = 0.01
#: Factors on a group's values before its scale is taken.
SCALE_FACTORS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 1.1, 1.25)


def round_rows(
    rows: np.ndarray, format: str, moments: np.ndarray | None, *, compensate: bool = True, **options
) -> QuantizedTensor:
    """Rounds the rows of a weight.

    Args:
        rows: float32 [O, K].
        format: a 4-bit format, and its options.
        moments: float64 [K, K], sum of the outer products of the layer's inputs; ``None`` takes them for white.
        compensate: spread each column's loss over the columns to come; else only scales are searched.
    """
    start = quantize(rows, format, **options)
    size = _group_size(start)
    if size is None:
        return start
    count = rows.shape[1]
    diagonal = np.ones(count) if moments is None else np.maximum(np.diag(moments), 0)
    factor = inverse_factor(moments) if compensate and moments is not None else None
    work = rows.astype(np.float64)
    codes, scales = np.zeros(rows.shape, dtype=np.uint8), start.scales.copy()
    for first in range(0, count, size):
        last = min(first + size, count)
        columns = slice(first, last)
        group = _best_scales(work[:, columns].astype(np.float32), diagonal[columns], start, format, options)
        scales[:, first // size] = group.scales[:, 0]
        grid = grid_of(group)
        if factor is None:
            codes[:, columns] = grid.codes(work[:, columns])
            continue

        def rounded(column: np.ndarray, k: int, first: int = first, grid=grid) -> np.ndarray:
            one = slice(k - first, k - first + 1)
            code = grid.codes(column[:, None], one)
            codes[:, k] = code[:, 0]
            return grid.values(code, one)[:, 0]

        round_columns(work, factor, columns, rounded)
    return with_codes(replace(start, scales=scales), codes)


def round_columns(
    work: np.ndarray, factor: np.ndarray, columns: slice, rounded: Callable[[np.ndarray, int], np.ndarray]
) -> None:
    """Rounds some columns of a weight, and changes all behind them to make up for what these lose.

    Args:
        work: float64 [O, K]; columns behind ``columns`` are changed, those before them count as done.
        factor: float64 [K, K], as ``inverse_factor`` gives it.
        columns: from start to stop.
        rounded: gives a column's rounded values, float [O], of what is to be rounded, float64 [O], and its index.
    """
    first, last = columns.start, columns.stop
    lost = np.zeros((len(work), last - first))
    for k in range(first, last):
        lost[:, k - first] = (work[:, k] - rounded(work[:, k], k)) / factor[k, k]
        work[:, k + 1 : last] -= lost[:, k - first, None] * factor[k, k + 1 : last]
    work[:, last:] -= lost @ factor[columns, last:]


def _group_size(tensor: QuantizedTensor) -> int | None:
    if isinstance(tensor.options, IntegerOptions):
        return tensor.options.group_size if tensor.options.granularity == "group" else None
    return GROUP.get(tensor.format)


def inverse_factor(moments: np.ndarray, damping: float = DAMPING) -> np.ndarray:
    """Upper Cholesky factor of the inverse of second moments, float64 [K, K], with a share of their mean diagonal."""
    damped = moments.astype(np.float64).copy()
    damped[np.diag_indices_from(damped)] += damping * max(float(np.mean(np.diag(damped))), 1e-12)
    inverse = np.linalg.inv(damped)
    return np.linalg.cholesky((inverse + inverse.T) / 2).T.copy()


def _best_scales(
    group: np.ndarray, diagonal: np.ndarray, like: QuantizedTensor, format: str, options: dict
) -> QuantizedTensor:
    """One group of every row, under the scales that lose least by the inputs' second moments."""
    best, least = None, None
    for factor in SCALE_FACTORS:
        candidate = _one_group(group * np.float32(factor), like, format, options)
        grid = grid_of(candidate)
        error = (np.square(grid.values(grid.codes(group)) - group) * diagonal).sum(axis=1)
        if best is None:
            best, least = candidate.scales.copy(), error
        else:
            better = error < least
            best[better], least = candidate.scales[better], np.minimum(error, least)
    return replace(candidate, scales=best)


def _one_group(group: np.ndarray, like: QuantizedTensor, format: str, options: dict) -> QuantizedTensor:
    if format != "nvfp4" or like.options.scaling != "two-level":
        return quantize(group, format, **options)
    # The tensor's scale is that of all groups: what is left are block scales of the values brought to it.
    inner = quantize(group / like.tensor_scale, format, **{**options, "scaling": "block"})
    return replace(inner, tensor_scale=like.tensor_scale, options=like.options)
