"""Codebooks and element rounding over every input there is, against ml_dtypes, en_dtypes and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from exact_hif4 import hif4_group
from lowbit_cases import bits, quantize

from wutdet.lowbit import QuantizedTensor
from wutdet.lowbit.codebooks import E2M1, E4M3, E6M2, E8M0, HIF8, S1P2
from wutdet.lowbit.options import options_for
from wutdet.lowbit.oracle.nvfp4 import e4m3_code

BYTES = np.arange(256, dtype=np.uint8)
BFLOAT16 = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
FINITE = BFLOAT16[np.isfinite(BFLOAT16)]


def near_powers_of_two() -> np.ndarray:
    """Every power of two of float32, its neighbours, and 1.25, 1.5, 1.75 of it with theirs; both signs."""
    with np.errstate(under="ignore", over="ignore"):
        middle = (np.array([1, 1.25, 1.5, 1.75]) * 2.0 ** np.arange(-149, 128)[:, None]).astype(np.float32).ravel()
        near = np.concatenate([middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))])
    near = np.unique(near[np.isfinite(near)])
    return np.concatenate([near, -near])


def alone(values: np.ndarray, group: int) -> np.ndarray:
    """[N] to [N, group]: every value in a group of its own, zeros beside it."""
    x = np.zeros((len(values), group), dtype=np.float32)
    x[:, 0] = values
    return x


def with_codes(format: str, codes: np.ndarray, scales: np.ndarray, **options) -> np.ndarray:
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    made = QuantizedTensor(
        format, codes.shape, packed.astype(np.uint8), scales, np.float32(1), options_for(format, options)
    )
    return made.dequantize()


def test_element_codebooks():
    np.testing.assert_array_equal(bits(E2M1), bits(BYTES[:16].view(ml_dtypes.float4_e2m1fn).astype(np.float32)))
    quarters = np.arange(8, dtype=np.float32) / 4
    np.testing.assert_array_equal(bits(S1P2), bits(np.concatenate([quarters, -quarters])))


def test_scale_codebooks():
    np.testing.assert_array_equal(bits(E8M0), bits(BYTES.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)))
    np.testing.assert_array_equal(bits(E4M3), bits(BYTES.view(ml_dtypes.float8_e4m3fn).astype(np.float32)))
    fields = [Fraction(4 + code % 4, 4) * Fraction(2) ** (code // 4 - 48) for code in range(255)]
    np.testing.assert_array_equal(E6M2[:255], [float(v) for v in fields])
    assert np.isnan(E6M2[255])
    assert (E6M2[0], E6M2[0xC0], E6M2[0xFE]) == (2.0**-48, 1, 49152)  # as Table I of the paper says


def test_hif8_codebook():
    en_dtypes = pytest.importorskip("en_dtypes")
    np.testing.assert_array_equal(bits(HIF8), bits(BYTES.view(en_dtypes.hifloat8).astype(np.float32)))


def test_every_scale_code_of_mxfp4_decodes():
    codes = np.tile(np.arange(32, dtype=np.uint8) % 16, (256, 1))
    got = with_codes("mxfp4", codes, BYTES[:, None, None].copy())
    with np.errstate(under="ignore", over="ignore"):
        want = BYTES.view(ml_dtypes.float8_e8m0fnu).astype(np.float64)[:, None] * E2M1[codes]
        want = want.astype(np.float32)
    np.testing.assert_array_equal(bits(got), bits(want))
    assert np.isnan(got[255]).all() and np.isfinite(got[:253]).all()
    assert np.isinf(got[253]).any()  # 2^126 * 4 is beyond float32


def test_every_scale_code_of_nvfp4_decodes():
    scales = BYTES[:128]
    codes = np.tile(np.arange(16, dtype=np.uint8), (128, 1))
    got = with_codes("nvfp4", codes, scales[:, None, None].copy(), scaling="block")
    want = scales.view(ml_dtypes.float8_e4m3fn).astype(np.float64)[:, None] * E2M1[codes]
    np.testing.assert_array_equal(bits(got), bits(want.astype(np.float32)))
    assert np.isnan(got[127]).all() and np.isfinite(got[:127]).all()


def test_every_scale_code_of_hif4_decodes_under_all_doublings(rng):
    """arXiv 2602.11287 eq. 2, value by value."""
    scales = np.concatenate([BYTES[:, None], rng.integers(0, 256, (256, 3), dtype=np.uint8)], axis=1)
    scales[:4, 1:] = [[0, 0, 0], [255, 255, 255], [1, 1, 0], [128, 0, 128]]
    codes = rng.integers(0, 16, (256, 64), dtype=np.uint8)
    got = with_codes("hif4", codes, scales[:, None])
    assert np.isnan(got[255]).all()
    for row in range(255):
        eight, four = int(scales[row, 1]), int(scales[row, 2]) | int(scales[row, 3]) << 8
        want = [
            float(E6M2[row]) * 2 ** ((eight >> i // 8 & 1) + (four >> i // 4 & 1)) * float(S1P2[codes[row, i]])
            for i in range(64)
        ]
        np.testing.assert_array_equal(bits(got[row]), bits(np.array(want, dtype=np.float32)))


@pytest.mark.parametrize("values", [BFLOAT16, near_powers_of_two()], ids=["bfloat16", "powers of two"])
def test_hif8(values):
    en_dtypes = pytest.importorskip("en_dtypes")
    with np.errstate(over="ignore", invalid="ignore"):
        want = values.astype(en_dtypes.hifloat8).view(np.uint8)
    np.testing.assert_array_equal(quantize(values, "hif8").codes.ravel(), want)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_hif8_of_narrow_floats(kind):
    en_dtypes = pytest.importorskip("en_dtypes")
    values = np.arange(65536, dtype=np.uint16).view(kind)
    with np.errstate(over="ignore", invalid="ignore"):
        want = values.astype(np.float32).astype(en_dtypes.hifloat8).view(np.uint8)
        np.testing.assert_array_equal(quantize(values, "hif8").codes.ravel(), want)


@pytest.mark.parametrize("rule", ["floor", "ceil"])
@pytest.mark.parametrize("values", [FINITE, near_powers_of_two()], ids=["bfloat16", "powers of two"])
def test_mxfp4_peaks(values, rule):
    """Scales from exact exponents, elements from ml_dtypes' cast."""
    blocks = quantize(alone(values, 32), "mxfp4", scale_rule=rule).unpacked()
    exact = np.abs(values.astype(np.float64))
    exponent = np.frexp(exact)[1] - 1
    power = exponent - 2
    if rule == "ceil":
        power += exact > 1.5 * 2.0**exponent
    power = np.where(exact == 0, -127, np.maximum(power, -127))
    np.testing.assert_array_equal(blocks.scales[:, 0, 0], power + 127)
    want = (values * 2.0 ** -power.astype(np.float64)).astype(ml_dtypes.float4_e2m1fn).view(np.uint8)
    np.testing.assert_array_equal(blocks.codes[:, 0], want)
    assert not blocks.codes[:, 1:].any()


@pytest.mark.parametrize("format", ["mxfp4", "nvfp4"])
def test_e2m1_elements(format):
    """All bfloat16 values below 8 beside a value that makes the scale 1 (6, of both formats)."""
    values = BFLOAT16[np.abs(BFLOAT16) < 8] if format == "mxfp4" else BFLOAT16[np.abs(BFLOAT16) <= 6]
    x = alone(np.full(len(values), 6), 32 if format == "mxfp4" else 16)
    x[:, 5] = values
    blocks = quantize(x, format, **({"scaling": "block"} if format == "nvfp4" else {})).unpacked()
    scale = E8M0 if format == "mxfp4" else E4M3
    assert (scale[blocks.scales] == 1).all() and (blocks.codes[:, 0] == 7).all()
    want = values.astype(ml_dtypes.float4_e2m1fn).view(np.uint8)
    if format == "nvfp4":
        want[(values == 0) & np.signbit(values)] = 0  # Transformer Engine gives -0 no sign
    np.testing.assert_array_equal(blocks.codes[:, 5], want)


def test_e2m1_ties_away():
    ties = (E2M1[:7] + E2M1[1:8]) / 2
    for values, step in ((ties, 1), (np.nextafter(ties, np.float32(0)), 0), (-ties, 1)):
        x = alone(np.full(len(values), 6), 32)
        x[:, 5] = values
        codes = quantize(x, "mxfp4", ties="away").unpacked().codes[:, 5]
        np.testing.assert_array_equal(codes & 7, np.arange(7) + step)
        np.testing.assert_array_equal(codes >> 3, values < 0)


def test_e4m3_scales():
    values = np.concatenate([FINITE, near_powers_of_two()])
    values = values[~np.signbit(values) & (values <= 448)]
    want = values.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    np.testing.assert_array_equal(e4m3_code(values), want)


@pytest.mark.parametrize("two_level", [True, False])
def test_nvfp4_peaks(two_level):
    """Transformer Engine's arithmetic with ml_dtypes' casts, on single values."""
    values = np.concatenate([FINITE, near_powers_of_two()])
    whole = np.float32(3e38)
    x = alone(values, 16)[np.abs(values) <= whole]
    values = x[:, 0].copy()
    if two_level:
        x = np.concatenate([x, alone(np.array([whole]), 16)])
    tensor = quantize(x, "nvfp4", scaling="two-level" if two_level else "block")
    blocks = tensor.unpacked()
    to_peak = np.float32(2688) / whole if two_level else np.float32(1)
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        wanted = np.abs(values) * (to_peak * (np.float32(1) / np.float32(6)))
        scale = np.minimum(wanted, np.float32(448)).astype(ml_dtypes.float8_e4m3fn)
        factor = np.float32(1) / (scale.astype(np.float32) * (np.float32(1) / to_peak))
        scaled = np.clip(values * np.minimum(factor, np.finfo(np.float32).max), -6, 6)
    count = len(values)
    np.testing.assert_array_equal(blocks.scales[:count, 0, 0], scale.view(np.uint8))
    want = scaled.astype(ml_dtypes.float4_e2m1fn).view(np.uint8)
    want[scaled == 0] = 0
    np.testing.assert_array_equal(blocks.codes[:count, 0], want)


@pytest.mark.parametrize("ties", ["away", "even"])
def test_hif4_peaks(ties):
    """All positive bfloat16 values and every third one near a power of two, alone in a group, by exact fractions."""
    values = np.concatenate([FINITE[FINITE > 0], near_powers_of_two()[::3]])
    got = quantize(alone(values, 64), "hif4", ties=ties).dequantize()
    assert not got[:, 1:].any()
    want = np.array([hif4_group([float(v), 0, 0, 0], ties)[0] for v in values], dtype=np.float32)
    np.testing.assert_array_equal(bits(got[:, 0].copy()), bits(want))


@pytest.mark.parametrize("ties", ["away", "even"])
def test_hif4_elements(ties):
    """All bfloat16 values below 2 beside a peak of 7, whose scale is 1."""
    values = BFLOAT16[np.abs(BFLOAT16) < 2]
    x = alone(np.full(len(values), 7), 64)
    x[:, 40] = values
    tensor = quantize(x, "hif4", ties=ties)
    blocks = tensor.unpacked()
    np.testing.assert_array_equal(blocks.scales[:, 0], np.tile([0xC0, 1, 1, 0], (len(values), 1)))
    quarters = [Fraction(abs(float(v))) * 4 for v in values]
    whole = [int(q + Fraction(1, 2)) if ties == "away" else round(q) for q in quarters]
    np.testing.assert_array_equal(blocks.codes[:, 40], np.minimum(whole, 7) + 8 * (values < 0))


@pytest.mark.parametrize("ties", ["away", "even"])
def test_hif4_groups(ties, rng):
    """Whole groups: quarters, values of all magnitudes, and groups in which every eight has a magnitude of its own."""
    x = np.concatenate(
        [
            np.round(rng.standard_normal((40, 64)) * 8) / 4,
            rng.standard_normal((40, 64)) * np.exp2(rng.integers(-60, 20, (40, 1))),
            rng.standard_normal((40, 64)) * np.repeat(np.exp2(rng.integers(-4, 3, (40, 16))), 4, axis=1),
        ]
    ).astype(np.float32)
    want = np.array([hif4_group([float(v) for v in row], ties) for row in x], dtype=np.float32)
    np.testing.assert_array_equal(bits(quantize(x, "hif4", ties=ties).dequantize()), bits(want))
