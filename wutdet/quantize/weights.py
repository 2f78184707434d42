"""Convolution weights in a low-bit format: in which order they are grouped, and what is stored beside the codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet.errors import ExportError
from wutdet.lowbit import QuantizedTensor, quantize

#: Order of a row's values: the channels of one tap after the other, so that groups lie along the channels of a pixel.
ORDER = "tap, channel"


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """The weight of a convolution, ready to be stored.

    Attributes:
        tensor: codes of shape [O, H * W * I]: one row per output channel, values in the order (tap row, tap column,
            input channel).
        shape: (O, I, H, W), output channels, input channels per group of the convolution, kernel height and width.
        channel_scale: float32 [O], what the decoded values of an output channel are multiplied by.
    """

    tensor: QuantizedTensor
    shape: tuple[int, int, int, int]
    channel_scale: np.ndarray

    def dequantize(self) -> np.ndarray:
        """float32 [O, I, H, W]: decoded values times the channel's scale, one float32 product each."""
        return to_kernel(self.tensor.dequantize() * self.channel_scale[:, None], self.shape)

    @property
    def nbytes(self) -> int:
        return self.tensor.nbytes + self.channel_scale.nbytes


def pack_weight(weight: np.ndarray, format: str, **options) -> PackedWeight:
    """Rounds a weight to nearest.

    Args:
        weight: float32 [O, I, H, W].
        format: of numbers, and its options.

    Raises:
        ExportError: not the weight of a two-dimensional convolution, or not finite.
    """
    if weight.ndim != 4:
        raise ExportError(f"only weights of two-dimensional convolutions are packed, received shape {weight.shape}")
    if not np.isfinite(weight).all():
        raise ExportError(f"a weight of shape {weight.shape} has values that are not finite")
    ones = np.ones(len(weight), dtype=np.float32)
    return PackedWeight(quantize(to_rows(weight), format, **options), weight.shape, ones)


def to_rows(weight: np.ndarray) -> np.ndarray:
    """[O, I, H, W] to [O, H * W * I]."""
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(len(weight), -1)


def to_kernel(rows: np.ndarray, shape: tuple[int, int, int, int]) -> np.ndarray:
    """[O, H * W * I] back to [O, I, H, W]."""
    o, i, h, w = shape
    return np.ascontiguousarray(rows.reshape(o, h, w, i).transpose(0, 3, 1, 2))
