"""A number format for every layer: more bits where rounding costs the output most, under a budget.

Losses of single layers are added up, as if layers did not know of one another. The sum is a guide for choosing and not
the loss of the whole network, which has to be measured.
"""

from __future__ import annotations

import numpy as np

from wutdet.errors import ExportError, UsageError
from wutdet.quantize.sensitivity import Sensitivity


def most_sensitive(sensitivity: Sensitivity, base: str, better: str, count: int) -> dict[str, str]:
    """The ``better`` format for the layers that lose most in ``base``, and ``base`` for all others.

    Raises:
        UsageError: a negative count, or more than there are layers.
    """
    names = sensitivity.names
    if not 0 <= count <= len(names):
        raise UsageError(f"the number of layers must lie in 0..{len(names)}, received {count}")
    chosen = {names[row] for row in sensitivity.order(base)[:count]}
    return {name: better if name in chosen else base for name in names}


def choose_formats(
    sensitivity: Sensitivity, *, most_bytes: int | None = None, largest_loss: float | None = None
) -> dict[str, str]:
    """One of the measured formats for every layer.

    All layers begin with their smallest format. Then, again and again, the one step to a larger format is taken that
    lowers the loss most per byte: under ``most_bytes`` as long as any step fits, under ``largest_loss`` until the sum
    of losses is low enough. Of equal steps the earlier layer's, then the earlier format's, is taken.

    Args:
        sensitivity: losses and bytes of every layer in every format.
        most_bytes: of all weights together.
        largest_loss: sum over layers.

    Returns:
        Format by layer, in the order of the layers.

    Raises:
        UsageError: not exactly one budget.
        ExportError: no choice of formats keeps the budget.
    """
    if (most_bytes is None) == (largest_loss is None):
        raise UsageError("exactly one of a size budget and a largest loss must be given")
    loss, nbytes = sensitivity.loss, sensitivity.nbytes
    rows = np.arange(len(loss))
    # Of formats of equal size, the one that loses less.
    at = np.array([np.lexsort((loss[row], nbytes[row]))[0] for row in rows], dtype=np.int64)
    if most_bytes is not None and nbytes[rows, at].sum() > most_bytes:
        raise ExportError(
            f"the weights take {int(nbytes[rows, at].sum())} bytes at least, {most_bytes} are allowed",
            hint="raise the size budget, or choose a smaller format",
        )
    while largest_loss is None or loss[rows, at].sum() > largest_loss:
        saved = loss[rows, at][:, None] - loss
        added = nbytes - nbytes[rows, at][:, None]
        allowed = (saved > 0) & (added > 0)
        if most_bytes is not None:
            allowed &= added <= most_bytes - nbytes[rows, at].sum()
        if not allowed.any():
            break
        gain = np.where(allowed, saved / np.where(allowed, added, 1), -1)
        row, column = np.unravel_index(int(np.argmax(gain)), gain.shape)
        at[row] = column
    if largest_loss is not None and loss[rows, at].sum() > largest_loss:
        raise ExportError(
            f"the losses add up to {loss[rows, at].sum():.3g} at least, {largest_loss:.3g} are allowed",
            hint="raise the largest loss, or offer a better format",
        )
    return {name: sensitivity.formats[column] for name, column in zip(sensitivity.names, at, strict=True)}
