"""QuantizedTensor: packed codes and scales, and the bytes they are stored as."""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import asdict, dataclass

import numpy as np

from wutdet.errors import DataError, WutdetError
from wutdet.lowbit.layout import BITS, Layout, layout_of
from wutdet.lowbit.options import IntegerOptions, options_for
from wutdet.lowbit.oracle.blocks import Blocks
from wutdet.lowbit.packing import unpack_nibbles

MAGIC = b"WLBT"
VERSION = 1
_HEAD = struct.Struct("<4sBBHII")  # magic, version, 0, bytes of the description, CRC-32 of all behind, bytes behind


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A tensor in a low-bit format; groups run along its last axis.

    Attributes:
        format: name of the number format.
        shape: of the tensor that was quantised.
        codes: uint8 [rows, bytes]; 4-bit codes two to a byte, the first in the low half; each row begins a byte.
        scales: uint8 [rows that have own scales, groups, bytes of a scale].
        tensor_scale: float32 over all values; 1 where the format has none.
        options: of the format.

    Raises:
        DataError: parts that do not fit together, or a reserved scale code.
    """

    format: str
    shape: tuple[int, ...]
    codes: np.ndarray
    scales: np.ndarray
    tensor_scale: np.float32
    options: object

    def __post_init__(self):
        layout = self.layout
        for name, wanted in (("codes", layout.codes), ("scales", layout.scales)):
            part = getattr(self, name)
            if part.dtype != np.uint8 or part.shape != wanted:
                raise DataError(
                    f"{name} of a {self.format} tensor of shape {self.shape} must be uint8 {wanted}, "
                    f"received {part.dtype} {part.shape}"
                )
        _check_scales(self)

    def __repr__(self) -> str:
        """One line: format, shape, size; no codes."""
        bits = "" if math.isnan(self.bits_per_value) else f" ({self.bits_per_value:.2f} bits a value)"
        return f"QuantizedTensor({self.format}, shape {self.shape}, {self.nbytes:,} bytes{bits})"

    @property
    def layout(self) -> Layout:
        return layout_of(self.format, self.shape, self.options)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales, and of the tensor scale where the format has one."""
        two_level = getattr(self.options, "scaling", "") == "two-level"
        return self.codes.nbytes + self.scales.nbytes + (4 if two_level else 0)

    @property
    def bits_per_value(self) -> float:
        """Stored bits per value; NaN for an empty tensor."""
        return 8 * self.nbytes / math.prod(self.shape) if math.prod(self.shape) else math.nan

    def unpacked(self) -> Blocks:
        """One code per byte, as the oracles take them."""
        codes = self.codes if BITS[self.format] == 8 else unpack_nibbles(self.codes, self.layout.columns)
        return Blocks(codes, self.scales, self.tensor_scale)

    def dequantize(self, backend: str = "auto") -> np.ndarray:
        """float32 of ``shape``.

        Args:
            backend: ``native``, ``numpy`` (the slow definition), or ``auto``; all give the same bits.
        """
        from wutdet.lowbit.backends import decode

        return decode(self, backend).reshape(self.shape)

    def to_bytes(self) -> bytes:
        """The tensor in the layout of docs/formats.md."""
        described = {
            "format": self.format,
            "shape": list(self.shape),
            "options": asdict(self.options),
            "tensor_scale": float(self.tensor_scale).hex(),
        }
        text = json.dumps(described, separators=(",", ":")).encode()
        behind = text + self.codes.tobytes() + self.scales.tobytes()
        return _HEAD.pack(MAGIC, VERSION, 0, len(text), zlib.crc32(behind), len(behind)) + behind

    @classmethod
    def from_bytes(cls, data: bytes) -> QuantizedTensor:
        """Reads what ``to_bytes`` wrote.

        Raises:
            DataError: not such a tensor, another version, cut off or changed.
        """
        data = bytes(data)
        if len(data) < _HEAD.size or data[:4] != MAGIC:
            raise DataError(f"this is not a packed low-bit tensor: {len(data)} bytes that begin with {data[:4]!r}")
        _, version, reserved, text_bytes, checksum, behind_bytes = _HEAD.unpack_from(data)
        behind = data[_HEAD.size :]
        if version != VERSION or reserved != 0:
            raise DataError(
                f"a packed tensor of layout version {version}.{reserved}; this wutdet reads version {VERSION}.0"
            )
        if len(behind) != behind_bytes:
            raise DataError(f"a packed tensor must have {behind_bytes} bytes behind its head, received {len(behind)}")
        if zlib.crc32(behind) != checksum:
            raise DataError("a packed tensor's bytes do not have the checksum in its head: the file is damaged")
        try:
            described = json.loads(behind[:text_bytes])
            shape = _shape(described["shape"])
            options = options_for(described["format"], described["options"])
            tensor_scale = np.float32(float.fromhex(described["tensor_scale"]))
            layout = layout_of(described["format"], shape, options)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, WutdetError) as error:
            raise DataError(f"a packed tensor's description cannot be read: {error}") from error
        parts = np.frombuffer(behind, dtype=np.uint8, offset=text_bytes)
        if len(parts) != layout.nbytes:
            raise DataError(
                f"a {described['format']} tensor of shape {shape} has {layout.nbytes} bytes of codes and scales, "
                f"received {len(parts)}"
            )
        middle = math.prod(layout.codes)
        codes, scales = parts[:middle].reshape(layout.codes), parts[middle:].reshape(layout.scales)
        return cls(described["format"], shape, codes, scales, tensor_scale, options)


def _shape(described) -> tuple[int, ...]:
    if not isinstance(described, list) or not all(type(n) is int and n >= 0 for n in described):
        raise ValueError(f"the shape must be a list of whole numbers, received {described!r}")
    return tuple(described)


def _check_scales(tensor: QuantizedTensor) -> None:
    scales = tensor.scales
    if not np.isfinite(tensor.tensor_scale) or tensor.tensor_scale < 0:
        raise DataError(f"the tensor scale must be finite and not negative, received {tensor.tensor_scale}")
    if tensor.format == "nvfp4":
        bad = scales[:, :, 0] > 0x7F
    elif isinstance(tensor.options, IntegerOptions):
        scale = np.ascontiguousarray(scales[:, :, :4]).view("<f4")[:, :, 0]
        bad = ~(np.isfinite(scale) & (scale > 0))
        if not tensor.options.symmetric:
            bad |= scales[:, :, 4] >= 2 ** BITS[tensor.format]
    else:
        return
    if bad.any():
        row, group = (int(i) for i in np.argwhere(bad)[0])
        received = scales[row, group].tobytes().hex()
        raise DataError(f"a reserved scale code in row {row}, group {group} of a {tensor.format} tensor: 0x{received}")
