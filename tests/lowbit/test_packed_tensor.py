"""Packed tensors: their bytes, what is refused, and how many bytes they take."""

from __future__ import annotations

import json
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowbit_cases import CASES, FEW, INTEGERS, NAMES, UNTIMED, bits, tensors

from wutdet.errors import DataError
from wutdet.lowbit import QuantizedTensor, quantize
from wutdet.lowbit.packing import pack_nibbles, unpack_nibbles

every_case = pytest.mark.parametrize(("format", "options"), CASES, ids=NAMES)
HEAD = 16


def assert_same(a: QuantizedTensor, b: QuantizedTensor):
    assert (a.format, a.shape, a.options) == (b.format, b.shape, b.options)
    np.testing.assert_array_equal(a.codes, b.codes)
    np.testing.assert_array_equal(a.scales, b.scales)
    assert np.float32(a.tensor_scale).tobytes() == np.float32(b.tensor_scale).tobytes()


@every_case
@given(data=st.data())
@FEW
def test_bytes_come_back(format, options, data):
    x = data.draw(tensors(finite=format in INTEGERS))
    tensor = quantize(x, format, **options)
    stored = tensor.to_bytes()
    again = QuantizedTensor.from_bytes(stored)
    assert_same(tensor, again)
    assert again.to_bytes() == stored
    assert_same(tensor, QuantizedTensor.from_bytes(bytearray(stored)))
    np.testing.assert_array_equal(bits(tensor.dequantize()), bits(again.dequantize()))


@pytest.mark.parametrize("format", ["int8", "mxfp4", "nvfp4", "hif4", "hif8"])
def test_every_truncation_and_every_changed_byte_is_noticed(format, rng):
    stored = quantize(rng.standard_normal((2, 70)).astype(np.float32), format).to_bytes()
    for end in range(len(stored)):
        with pytest.raises(DataError):
            QuantizedTensor.from_bytes(stored[:end])
    with pytest.raises(DataError):
        QuantizedTensor.from_bytes(stored + b"\0")
    for place in range(len(stored)):
        for change in (1, 0x80, 0xFF, int(rng.integers(2, 255))):
            changed = bytearray(stored)
            changed[place] ^= change
            with pytest.raises(DataError):
                QuantizedTensor.from_bytes(changed)


def test_layout_byte_by_byte():
    """docs/formats.md by hand: three HiF4 values, the peak 7 with scale 1."""
    stored = quantize(np.array([7.0, -3.5, 0.25], dtype=np.float32), "hif4").to_bytes()
    magic, version, reserved, text_bytes, checksum, behind = struct.unpack("<4sBBHII", stored[:HEAD])
    assert (magic, version, reserved, behind) == (b"WLBT", 1, 0, len(stored) - HEAD)
    assert checksum == zlib.crc32(stored[HEAD:])
    text, rest = stored[HEAD : HEAD + text_bytes], stored[HEAD + text_bytes :]
    assert json.loads(text) == {
        "format": "hif4",
        "shape": [3],
        "options": {"ties": "away", "non_finite": "nan"},
        "tensor_scale": (1.0).hex(),
    }
    # Units of 4: 7 -> 1.75 (code 7), -3.5 -> -0.875, half way, away to -1 (code 12); 0.25 / 4 is a quarter of a step.
    assert rest == bytes([0xC7, 0x00, 0xC0, 0b1, 0b1, 0])


def with_description(stored: bytes, **changes) -> bytes:
    """The same tensor with another description, and a checksum that fits."""
    text_bytes = struct.unpack_from("<H", stored, 6)[0]
    described = json.loads(stored[HEAD : HEAD + text_bytes])
    described.update(changes)
    text = json.dumps({k: v for k, v in described.items() if v is not ...}).encode()
    behind = text + stored[HEAD + text_bytes :]
    return struct.pack("<4sBBHII", b"WLBT", 1, 0, len(text), zlib.crc32(behind), len(behind)) + behind


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "hif5"},
        {"format": ...},
        {"format": []},
        {"format": "hif8"},
        {"shape": [2, 65]},
        {"shape": [-2, 64]},
        {"shape": [-1, -64]},
        {"shape": [2.0, 64]},
        {"shape": "2x64"},
        {"shape": None},
        {"options": {"ties": "up"}},
        {"options": {"tie": "even"}},
        {"options": 3},
        {"tensor_scale": "one"},
        {"tensor_scale": 1.0},
        {"tensor_scale": "nan"},
        {"tensor_scale": "inf"},
        {"tensor_scale": "-0x1p0"},
        {"tensor_scale": "0x1p9999"},
    ],
    ids=str,
)
def test_descriptions_that_cannot_be_are_refused(changes, rng):
    stored = quantize(rng.standard_normal((2, 64)).astype(np.float32), "hif4").to_bytes()
    assert_same(QuantizedTensor.from_bytes(stored), QuantizedTensor.from_bytes(with_description(stored)))
    with pytest.raises(DataError):
        QuantizedTensor.from_bytes(with_description(stored, **changes))


def test_reserved_scale_codes_are_refused():
    def changed(format, place, value, **options):
        tensor = quantize(np.ones((2, 64), dtype=np.float32), format, **options)
        scales = tensor.scales.copy()
        scales[place] = value
        return QuantizedTensor(format, (2, 64), tensor.codes, scales, tensor.tensor_scale, tensor.options)

    for code in range(256):
        changed("mxfp4", (1, 1), code)
        changed("hif4", (1, 0, 0), code)
        if code < 0x80:
            changed("nvfp4", (1, 3), code)
        else:
            with pytest.raises(DataError, match=f"row 1, group 3 .*0x{code:02x}"):
                changed("nvfp4", (1, 3), code)
    for value in (0.0, -0.0, -1.0, np.nan, np.inf):
        for format, place in (("int8", (1, 0)), ("int4", (1, 0))):
            with pytest.raises(DataError, match="row 1, group 0"):
                changed(format, place, np.frombuffer(np.float32(value).tobytes(), dtype=np.uint8))
    changed("int4", (1, 0, 4), 15, symmetric=False)
    changed("int8", (1, 0, 4), 255, symmetric=False)
    with pytest.raises(DataError, match="reserved"):
        changed("int4", (1, 0, 4), 16, symmetric=False)


def test_parts_that_do_not_fit_are_refused():
    tensor = quantize(np.ones((2, 64), dtype=np.float32), "hif4")
    for codes, scales in (
        (tensor.codes[:1], tensor.scales),
        (tensor.codes, tensor.scales[:, :, :3]),
        (tensor.codes.astype(np.int8), tensor.scales),
        (tensor.codes, tensor.scales.astype(np.int32)),
    ):
        with pytest.raises(DataError, match="must be uint8"):
            QuantizedTensor("hif4", (2, 64), codes, scales, tensor.tensor_scale, tensor.options)


@pytest.mark.parametrize(
    ("format", "options", "bits_per_value"),
    [
        ("hif4", {}, 4.5),
        ("mxfp4", {}, 4.25),
        ("nvfp4", {"scaling": "block"}, 4.5),
        ("nvfp4", {}, 4.5 + 32 / 1280),
        ("hif8", {}, 8),
        ("int4", {}, 4.5),
        ("int8", {"granularity": "tensor"}, 8 + 32 / 1280),
        ("int8", {"symmetric": False}, 8 + 40 / 128),
    ],
)
def test_bits_per_value(format, options, bits_per_value):
    assert quantize(np.ones((10, 128), dtype=np.float32), format, **options).bits_per_value == bits_per_value


def test_an_empty_tensor_has_no_bits_per_value():
    assert math.isnan(quantize(np.ones((0, 64), dtype=np.float32), "hif4").bits_per_value)


@given(data=st.data(), rows=st.integers(0, 3), count=st.integers(0, 9))
@UNTIMED
def test_nibbles(data, rows, count):
    codes = np.array(
        data.draw(st.lists(st.integers(0, 15), min_size=rows * count, max_size=rows * count)), dtype=np.uint8
    ).reshape(rows, count)
    packed = pack_nibbles(codes)
    assert packed.shape == (rows, (count + 1) // 2)
    for row, column in np.ndindex(codes.shape):
        assert packed[row, column // 2] >> (4 * (column % 2)) & 15 == codes[row, column]
    np.testing.assert_array_equal(unpack_nibbles(packed, count), codes)


@pytest.mark.parametrize(("format", "options"), CASES, ids=NAMES)
def test_shown_in_a_line(format, options):
    tensor = quantize(np.ones((64, 256), dtype=np.float32), format, **options)
    shown = repr(tensor)
    assert len(shown) < 120 and "\n" not in shown
    assert format in shown and "(64, 256)" in shown and f"{tensor.nbytes:,} bytes" in shown
    assert f"{8 * tensor.nbytes / (64 * 256):.2f} bits" in shown
    assert "bits" not in repr(quantize(np.ones((0, 64), dtype=np.float32), format, **options))
