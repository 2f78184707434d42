"""Native encoders and decoders against the oracles, bit for bit: codes, scales and values, on every path there is."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowbit_cases import CASES, INTEGERS, NAMES, any_bits, binades, bits, golden_inputs, tensors

from wutdet import _kernels
from wutdet.lowbit import FORMATS, backends
from wutdet.lowbit.codebooks import E4M3, E6M2
from wutdet.lowbit.layout import BITS, GROUP, channels_of, layout_of
from wutdet.lowbit.options import options_for
from wutdet.lowbit.oracle.blocks import Blocks, to_bfloat16
from wutdet.lowbit.tensor import QuantizedTensor

PATHS = ["auto", "portable"] if _kernels.lowbit_has_fast_path() else ["portable"]
SEED = 0xFEDC_BA98_7654_3210
case = pytest.mark.parametrize(("format", "chosen"), CASES, ids=NAMES)


def encoded(x: np.ndarray, format: str, chosen: dict, seed: int | None, path: str, threads: int = 0) -> Blocks:
    options = options_for(format, chosen)
    matrix = x.reshape(layout_of(format, x.shape, options).rows, -1 if x.size else x.shape[-1])
    codes, scales, tensor_scale = _kernels.lowbit_encode(
        format, matrix, asdict(options), channels_of(x.shape), seed, path, threads
    )
    return Blocks(codes, scales, np.float32(tensor_scale))


def decoded(tensor: QuantizedTensor, path: str, threads: int = 0, out: np.ndarray | None = None) -> np.ndarray:
    return _kernels.lowbit_decode(
        tensor.format,
        tensor.codes,
        tensor.scales,
        tensor.tensor_scale,
        tensor.layout.columns,
        asdict(tensor.options),
        path,
        threads,
        out,
    )


def check(x: np.ndarray, format: str, chosen: dict, seed: int | None = None, threads: int = 0) -> None:
    """Codes and scales of an array, and the values they stand for, on every path."""
    options = options_for(format, chosen)
    layout = layout_of(format, x.shape, options)
    want = backends.encode(x.reshape(layout.rows, layout.columns), format, options, x.shape, seed, "numpy")
    tensor = QuantizedTensor(format, x.shape, want.codes, want.scales, want.tensor_scale, options)
    values = backends.decode(tensor, "numpy")
    for path in PATHS:
        got = encoded(x, format, chosen, seed, path, threads)
        np.testing.assert_array_equal(got.scales, want.scales)
        np.testing.assert_array_equal(got.codes, want.codes)
        assert got.tensor_scale == want.tensor_scale
        np.testing.assert_array_equal(bits(decoded(tensor, path, threads)), bits(values))


@case
@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (2, 65), (3, 5, 130), (19, 257), (1, 4096), (300,), (2, 16, 31)])
def test_values_of_every_kind(rng, format, chosen, shape):
    for x in (
        any_bits(rng, shape, finite=format in INTEGERS),
        binades(rng, shape),
        rng.standard_normal(shape).astype(np.float32),
        (rng.integers(-48, 48, shape) / np.float32(16)).astype(np.float32),  # ties
        np.zeros(shape, dtype=np.float32),
        np.full(shape, -0.0, dtype=np.float32),
    ):
        check(x, format, chosen)


@case
@pytest.mark.parametrize("shape", [(0,), (0, 64), (4, 0), (0, 0), (3, 0, 5), (0, 3, 5), (2, 3, 0)])
def test_nothing(format, chosen, shape):
    check(np.empty(shape, dtype=np.float32), format, chosen)


@case
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_arbitrary_tensors(format, chosen, data):
    x = data.draw(tensors(finite=format in INTEGERS))
    check(x, format, chosen)


@case
@pytest.mark.parametrize("seed", [0, 1, SEED])
def test_stochastic(rng, format, chosen, seed):
    for x in (
        rng.standard_normal((7, 97)).astype(np.float32),
        any_bits(rng, (5, 128), finite=format in INTEGERS),
        binades(rng, (9, 64)),
        (rng.integers(-48, 48, (3, 67)) / np.float32(16)).astype(np.float32),
    ):
        check(x, format, chosen, seed)


@case
def test_golden_inputs(shared_dir, format, chosen):
    for _, x in golden_inputs(shared_dir):
        if format in INTEGERS:
            x = np.where(np.isfinite(x), x, np.float32(0))
        check(np.ascontiguousarray(x, dtype=np.float32), format, chosen)


@case
@pytest.mark.parametrize("columns", [64, 61])
def test_every_bfloat16(format, chosen, columns):
    """Beside neighbours of its own binade, and among values of all binades."""
    x = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    if format in INTEGERS:
        x = x[np.isfinite(x)]
    for ordered in (x, x.reshape(-1, 256).T.ravel() if format not in INTEGERS else x[::-1]):
        check(np.ascontiguousarray(np.resize(ordered, (-(-len(x) // columns), columns))), format, chosen)


@case
def test_beside_powers_of_two_and_ties(format, chosen):
    """Every power of two, 3/2, 5/4, ... of it and the peaks at which HiF4's scale changes, with the floats before and
    after: as the peak of a group, and below a peak."""
    with np.errstate(over="ignore", under="ignore"):
        points = (
            np.array([1, 1.125, 1.25, 1.5, 1.75, 1.875, 512 / 73 / 4, 1.0625]) * 2.0 ** np.arange(-150, 128)[:, None]
        )
        middle = points.astype(np.float32).ravel()
        near = np.concatenate([middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))])
    near = near[np.isfinite(near)]
    alone = np.zeros((len(near), 64), dtype=np.float32)
    alone[:, 5], alone[:, 40] = near, -near / 2
    check(alone, format, chosen)
    with np.errstate(over="ignore", under="ignore"):
        parts = np.array([1, 0.5, 0.25, 0.125, 0.375, 0.625, 3 / 28, 1 / 12, 0.0625, 5 / 28], dtype=np.float32)
        below = near[:, None] * np.resize(parts, 64)
        below[:, 1::2] = np.nextafter(below[:, 1::2], np.float32(0))
    check(np.ascontiguousarray(below), format, chosen)


@pytest.mark.parametrize("chosen", [c for f, c in CASES if f == "hif4"], ids=str)
def test_hif4_where_a_rounded_product_would_decide_otherwise(rng, chosen):
    """Values whose exact product with the reciprocal lies just below a tie or a doubling, while float32 rounds it to
    that very number; with peaks of all mantissas and exponents that scales have."""
    wanted = np.outer([1, 2, 4], np.arange(1, 16) / 8).ravel()  # ties, and what doubles
    peaks = np.ldexp(rng.uniform(4.5, 8, 2000), rng.integers(-47, 16, 2000)).astype(np.float32)
    scale = E6M2[encoded(peaks[:, None], "hif4", {}, None, "portable").scales[:, 0, 0]]
    reciprocal = to_bfloat16(1 / scale.astype(np.float64))[:, None]
    exact = rng.choice(wanted, (len(peaks), 64)) / reciprocal
    x = exact.astype(np.float32)
    x = np.where(rng.random(x.shape) < 0.3, np.nextafter(x, rng.choice(np.float32([-9e9, 9e9]), x.shape)), x)
    product = x.astype(np.float64) * reciprocal
    rounded = (x * reciprocal.astype(np.float32)).astype(np.float64)
    assert (np.isin(rounded, wanted) & (product < rounded)).sum() > 1000  # there are such values
    x[:, 17] = peaks
    x *= rng.choice(np.float32([-1, 1]), x.shape)
    check(x, "hif4", chosen)


NVFP4 = pytest.mark.parametrize("chosen", [c for f, c in CASES if f == "nvfp4"], ids=str)


@NVFP4
@pytest.mark.parametrize("exponent", [-149, -146, -142, -139, -135, -130, -128, -126, -122, -116, -110])
def test_nvfp4_tensors_so_small_that_their_scale_is_no_normal_number(rng, chosen, exponent):
    """Tensor scales that are subnormal or zero, with infinite factors, and groups of nothing but zeros beside them."""
    with np.errstate(under="ignore"):
        x = np.ldexp(rng.uniform(-2, 2, (18, 300)), exponent).astype(np.float32)
    x[2, 128:256] = 0
    x[3, :17] = -0.0
    x[5:8] *= rng.choice(np.float32([0, 1]), (3, 300))
    check(x, "nvfp4", chosen)
    check(x, "nvfp4", chosen, SEED)


@NVFP4
def test_nvfp4_where_the_order_of_operations_decides(rng, chosen):
    """Peaks within some floats of where the scale's code changes, so that one rounding more or less is seen."""
    middle = (E4M3[:0x7E].astype(np.float64) + E4M3[1:0x7F]) / 2
    for whole in np.ldexp(rng.uniform(1, 2, 40), rng.integers(-90, 100, 40)).astype(np.float32):
        scale = whole / np.float32(2688) if chosen["scaling"] == "two-level" else np.float32(1)
        peaks = (rng.choice(middle, 1600) * 6 * float(scale)).astype(np.float32)
        peaks = (peaks.view(np.int32) + rng.integers(-3, 4, peaks.shape, dtype=np.int32)).view(np.float32)
        x = np.zeros((16, 1600), dtype=np.float32)
        x[rng.integers(0, 16, 1600 // 16), np.arange(0, 1600, 16)] = peaks[:100]
        if chosen["tile"] == "1x16":
            x[:, ::16] = peaks.reshape(16, 100)
        x[:, 1:] += x[:, :-1] * rng.choice(np.float32([0, 0.5, 0.25, 0.75]), (16, 1599))
        x[0, 15] = whole
        check(x, "nvfp4", chosen)


@pytest.mark.parametrize("format", ["hif4", "mxfp4", "nvfp4"])
@pytest.mark.parametrize("place", [0, 7, 13, 63, 64, 100])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0x7F800001, 0xFFFFFFFF], ids=str)
def test_values_that_are_not_finite(rng, format, place, value):
    x = rng.standard_normal((17, 160)).astype(np.float32)
    bad = np.float32(value) if isinstance(value, float) else np.uint32(value).view(np.float32)
    x[3, place] = bad
    x.view(np.uint32)[16, ::9] = bad.view(np.uint32)
    for name, chosen in CASES:
        if name == format:
            check(x, format, chosen)
            check(x, format, chosen, SEED)


def test_hif8_of_every_nan_and_beside_every_boundary():
    """All floats whose lower 19 bits are none, one, all but one or all: what decides a code are the upper 13."""
    upper = np.arange(8192, dtype=np.uint32) << 19
    x = np.concatenate([upper, upper | 1, upper | 0x7FFFE, upper | 0x7FFFF]).view(np.float32)
    check(x, "hif8", {})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("format", "reference", "tensor_scale"),
    [("mxfp4", None, 1), ("hif4", None, 1), *product(["nvfp4"], ["te", "ao"], [1, 0.3, 1e-30, 3e38, 0, 1e-44])],
)
def test_every_scale_code_with_every_element_decodes(rng, format, reference, path, tensor_scale):
    """Also the codes that no encoder gives; where a tensor would be refused, the bare kernels are asked."""
    group = GROUP[format]
    scales = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(-1, 1, 1)
    if format == "hif4":
        scales = np.concatenate([scales, rng.integers(0, 256, (*scales.shape[:2], 3), dtype=np.uint8)], axis=2)
    codes = np.stack([rng.permutation(np.resize(np.arange(16, dtype=np.uint8), group)) for _ in range(len(scales))])
    options = options_for(format, {"reference": reference} if reference else {})
    with np.errstate(all="ignore"):
        want = backends._ORACLES[format].decode(Blocks(codes, scales, np.float32(tensor_scale)), options)
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    got = _kernels.lowbit_decode(format, packed, scales, tensor_scale, group, asdict(options), path)
    np.testing.assert_array_equal(bits(got), bits(want))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("format", "symmetric"), list(product(INTEGERS, (True, False))))
def test_every_integer_code_decodes(rng, format, symmetric, path):
    """With every zero point there is, and scales from subnormal to nearly the largest."""
    count = 2 ** BITS[format]
    zeros = np.arange(1 if symmetric else count, dtype=np.uint8)
    codes = np.tile(np.arange(count, dtype=np.uint8), (len(zeros), 1))
    for scale in np.float32([1, 1e-45, 3e-40, 0.1, 1e36, 3e38]):
        scales = np.tile(np.frombuffer(scale.tobytes(), dtype=np.uint8), (len(zeros), 1))[:, None]
        if not symmetric:
            scales = np.concatenate([scales, zeros[:, None, None]], axis=2)
        packed = codes if BITS[format] == 8 else codes[:, 0::2] | codes[:, 1::2] << 4
        options = options_for(format, {"symmetric": symmetric, "granularity": "channel"})
        tensor = QuantizedTensor(format, codes.shape, packed, scales, np.float32(1), options)
        with np.errstate(all="ignore"):
            want = backends.decode(tensor, "numpy")
        np.testing.assert_array_equal(bits(decoded(tensor, path)), bits(want))


@pytest.mark.parametrize("path", PATHS)
def test_every_hif8_code_decodes(path):
    codes = np.arange(256, dtype=np.uint8)[None].repeat(3, axis=0)
    tensor = QuantizedTensor(
        "hif8", codes.shape, codes, np.zeros((3, 0, 0), dtype=np.uint8), np.float32(1), options_for("hif8", {})
    )
    np.testing.assert_array_equal(bits(decoded(tensor, path)), bits(backends.decode(tensor, "numpy")))


@case
@pytest.mark.parametrize("shape", [(1, 1 << 20), (777, 1031), (1 << 14, 33)])
def test_large_arrays_among_threads(rng, format, chosen, shape):
    """Large enough for threads; rows begin and end where no vector does."""
    x = rng.standard_normal(shape, dtype=np.float32)
    one = encoded(x, format, chosen, None, "portable", threads=1)
    tensor = QuantizedTensor(format, shape, one.codes, one.scales, one.tensor_scale, options_for(format, chosen))
    values = bits(decoded(tensor, "portable", threads=1))
    for path, threads in product(PATHS, (1, 2, 5)):
        got = encoded(x, format, chosen, None, path, threads)
        np.testing.assert_array_equal(got.codes, one.codes)
        np.testing.assert_array_equal(got.scales, one.scales)
        assert got.tensor_scale == one.tensor_scale
        np.testing.assert_array_equal(bits(decoded(tensor, path, threads)), values)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(1, 5_000_001), (1033, 4100)])
def test_decoding_past_the_caches(rng, format, shape):
    """From 16 MiB on, into arrays that begin where such stores may go and where they may not."""
    x = rng.standard_normal(shape, dtype=np.float32)
    blocks = encoded(x, format, {}, None, "auto")
    tensor = QuantizedTensor(format, shape, blocks.codes, blocks.scales, blocks.tensor_scale, options_for(format, {}))
    values = bits(decoded(tensor, "portable"))
    for threads, start in ((2, 0), (1, 1), (3, 4)):
        room = np.full(x.size + 4, 9, dtype=np.float32)
        out = room[start : start + x.size].reshape(shape)
        assert decoded(tensor, "auto", threads, out).ctypes.data == out.ctypes.data
        np.testing.assert_array_equal(bits(out), values)
        np.testing.assert_array_equal(np.delete(room, slice(start, start + x.size)), 9)


def test_stochastic_among_threads(rng):
    x = rng.standard_normal((257, 2111), dtype=np.float32)
    for format, chosen in CASES:
        one = encoded(x, format, chosen, SEED, "auto", threads=1)
        more = encoded(x, format, chosen, SEED, "auto", threads=3)
        np.testing.assert_array_equal(one.codes, more.codes)
        np.testing.assert_array_equal(one.scales, more.scales)


@case
def test_the_default_is_native(monkeypatch, format, chosen):
    """``auto`` never comes to the oracles."""
    for oracle in (*backends._ORACLES.values(), backends.integer):
        monkeypatch.setattr(oracle, "encode", None)
        monkeypatch.setattr(oracle, "decode", None)
    options = options_for(format, chosen)
    x = np.linspace(-1, 1, 96, dtype=np.float32).reshape(2, 48)
    for backend, seed in product(("auto", "native"), (None, 3)):
        blocks = backends.encode(x, format, options, x.shape, seed, backend)
        tensor = QuantizedTensor(format, x.shape, blocks.codes, blocks.scales, blocks.tensor_scale, options)
        assert np.abs(backends.decode(tensor, backend) - x).max() < 0.5


def test_parts_that_do_not_fit_are_refused():
    hif4 = asdict(options_for("hif4", {}))
    codes, scales = np.zeros((2, 32), dtype=np.uint8), np.zeros((2, 1, 4), dtype=np.uint8)
    assert _kernels.lowbit_decode("hif4", codes, scales, 1.0, 64, hif4).shape == (2, 64)
    for bad in (
        lambda: _kernels.lowbit_decode("hif4", codes, scales, 1.0, 66, hif4),
        lambda: _kernels.lowbit_decode("hif4", codes[:, :31].copy(), scales, 1.0, 64, hif4),
        lambda: _kernels.lowbit_decode("hif4", codes, scales[:1], 1.0, 64, hif4),
        lambda: _kernels.lowbit_decode("hif4", codes, scales, 1.0, 64, hif4, out=np.zeros((2, 63), dtype=np.float32)),
        lambda: _kernels.lowbit_decode("hif5", codes, scales, 1.0, 64, hif4),
        lambda: _kernels.lowbit_decode("hif4", codes, scales, 1.0, 64, {**hif4, "ties": "up"}),
        lambda: _kernels.lowbit_decode("hif4", codes, scales, 1.0, 64, hif4, path="fast"),
        lambda: _kernels.lowbit_encode(
            "int8", np.zeros((5, 4), dtype=np.float32), asdict(options_for("int8", {})), channels=3
        ),
        lambda: _kernels.lowbit_encode(
            "int4", np.zeros((5, 4), dtype=np.float32), {**asdict(options_for("int4", {})), "group_size": 3}
        ),
    ):
        with pytest.raises(ValueError):
            bad()
