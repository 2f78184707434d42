"""Convolutions of the native engine, on every instruction set of this processor, against NumPy bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from conv_oracle import Case, finish, fma, run_native, saturate, silu, silu_for_bytes, sums, taps_of
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from wutdet import _kernels

ISAS = _kernels._conv_isas()
every_isa = pytest.mark.parametrize("isa", ISAS)


def draw_case(draw, kind: str) -> Case:
    """A random layer of a kind: int8, grouped, depthwise, real (float of float), widened (float of uint8)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    real = kind in ("real", "widened", "depthwise-real")
    depthwise = kind.startswith("depthwise")
    f: dict = {"input": "f32" if kind in ("real", "depthwise-real") else "u8", "depthwise": depthwise}
    f["output"] = draw(st.sampled_from(["u8", "u8", "f32"]))
    f["kernel_h"] = draw(st.sampled_from([1, 1, 3, 3, 2, 5]))
    f["kernel_w"] = draw(st.sampled_from([f["kernel_h"], f["kernel_h"], 1, 4]))
    f["stride_h"], f["stride_w"] = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)]))
    f["dilation_h"], f["dilation_w"] = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 1), (1, 2)]))
    f["pad_top"] = draw(st.integers(0, f["kernel_h"] - 1))
    f["pad_left"] = draw(st.integers(0, f["kernel_w"] - 1))
    f["out_channels"] = draw(st.sampled_from([16, 32, 48, 64, 80]) | st.integers(1, 140))
    if depthwise:
        f["in_channels"] = f["out_channels"]
    elif f["input"] == "u8":
        f["in_channels"] = 4 * draw(st.sampled_from([1, 2, 4, 8]) | st.integers(1, 6 if real else 20))
    else:
        f["in_channels"] = draw(st.integers(1, 24))
    size = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    height = (size[0] - 1) * f["stride_h"] + (f["kernel_h"] - 1) * f["dilation_h"] + 1
    width = (size[1] - 1) * f["stride_w"] + (f["kernel_w"] - 1) * f["dilation_w"] + 1
    # The last output's origin lies within the input, so it bounds the border below and right.
    bottom = draw(st.integers(0, max(0, (f["kernel_h"] - 1) * f["dilation_h"] - f["pad_top"])))
    right = draw(st.integers(0, max(0, (f["kernel_w"] - 1) * f["dilation_w"] - f["pad_left"])))
    bottom, right = (
        min(bottom, max(0, height - f["pad_top"] - 1)),
        min(right, max(0, width - f["pad_left"] - 1)),
    )
    extra_top = max(0, f["pad_top"] + bottom + 1 - height)
    extra_left = max(0, f["pad_left"] + right + 1 - width)
    height, width = height + extra_top, width + extra_left
    channels, inner = f["out_channels"], 1 if depthwise else f["in_channels"]
    shape = (channels, f["kernel_h"], f["kernel_w"], inner)
    per = f["kernel_h"] * f["kernel_w"] * inner
    f["input_zero"] = draw(st.sampled_from([0, 128, 255, 37])) if f["input"] == "u8" else 0
    if real:
        f["float_weights"] = rng.uniform(-1, 1, shape).astype(np.float32)
        f["input_scale"] = 0.0173
    else:
        most = draw(st.sampled_from([127, 127, 28, 12]))
        least = -128 if most == 127 else -most
        weights = rng.integers(least, most + 1, shape)
        if draw(st.booleans()):
            weights = np.where(rng.random(shape) < 0.5, least, most)  # what would saturate does
        f["weights"] = weights.astype(np.int8)
        f["scale"] = (rng.uniform(0.2, 2, channels) / (most * per**0.5)).astype(np.float32)
        if kind == "grouped":
            f["group"] = draw(st.sampled_from([16, 32, 64, 4, 12]))
            f["group_scale"] = rng.uniform(-1, 2, (channels, -(-per // f["group"]))).astype(np.float32)
        elif draw(st.booleans()):
            f["initial"] = rng.integers(-99999, 99999, channels).astype(np.int32)
    if draw(st.integers(0, 4)):
        f["bias"] = rng.uniform(-3, 200, channels).astype(np.float32)
    f["inverse_scale"] = float(np.float32(rng.uniform(1, 9)))
    f["output_zero"] = float(rng.integers(0, 256))
    if f["output"] == "u8" and f.get("float_weights") is not None and draw(st.booleans()):
        f["factor"] = rng.uniform(0.5, 2, channels).astype(np.float32)
    f["mix_own"], f["mix_residual"] = (float(np.float32(x)) for x in rng.uniform(0.2, 1.5, 2))
    f["mix_offset"] = float(np.float32(rng.uniform(-60, 10)))
    if f["output"] == "u8" and draw(st.booleans()):
        f["table"] = rng.integers(0, 256, 256).astype(np.uint8)

    def numbers(kind: str, shape) -> np.ndarray:
        if kind == "f32":
            return rng.uniform(-2, 2, shape).astype(np.float32)
        values = rng.integers(0, 256, shape).astype(np.uint8)
        return np.where(rng.random(shape) < 0.2, 255, values).astype(np.uint8)

    return Case(
        f,
        numbers(f["input"], (height, width, f["in_channels"])),
        (f["pad_top"], f["pad_left"], bottom, right),
        size,
        numbers(f["output"], (*size, channels)) if draw(st.booleans()) else None,
        draw(st.sampled_from([0, 0, 1, 7])),
        draw(st.sampled_from([0, 0, 1, 7])),
        sorted(draw(st.lists(st.integers(0, size[0]), max_size=2))),
    )


def cases(count: int):
    """Settings of a search through `count` cases; shrinking would take minutes, and the case prints whole."""
    return settings(max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate])


KINDS = ["int8", "grouped", "depthwise", "depthwise-real", "real", "widened"]


@pytest.mark.parametrize("kind", KINDS)
def test_equals_numpy_bit_for_bit(kind):
    @cases(20 if kind in ("real", "widened") else 50)
    @given(st.data())
    def check(data):
        case = draw_case(data.draw, kind)
        expected = finish(case, sums(case))
        for isa in ISAS:
            received = run_native(_kernels, isa, case, at_end=data.draw(st.booleans()))
            np.testing.assert_array_equal(received, expected, err_msg=isa)

    check()


@pytest.mark.parametrize("kind", ["int8", "grouped", "real", "depthwise"])
def test_silu_is_close_to_the_true_one_and_equal_everywhere(kind):
    @cases(15)
    @given(st.data())
    def check(data):
        case = draw_case(data.draw, kind)
        case.fields.update(silu=True, output="f32", table=None, factor=None)
        case.residual = None
        before = sums(case)
        results = [run_native(_kernels, isa, case) for isa in ISAS]
        np.testing.assert_allclose(results[0], silu(before), rtol=2e-6, atol=1e-32)
        for isa, result in zip(ISAS, results, strict=True):
            np.testing.assert_array_equal(result, results[0], err_msg=isa)
        case.fields["output"] = "u8"
        if data.draw(st.booleans()):
            case.fields["factor"] = np.linspace(0.5, 2, before.shape[-1], dtype=np.float32)
        for isa in ISAS:
            received = run_native(_kernels, isa, case)
            np.testing.assert_array_equal(received, finish(case, silu_for_bytes(before)), err_msg=isa)

    check()


@pytest.mark.parametrize("output", ["f32", "u8"])
def test_float_weights_as_two_planes_of_bytes(output):
    @cases(10)
    @given(st.data())
    def check(data):
        case = draw_case(data.draw, "grouped")
        f = case.fields
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        values = f["kernel_h"] * f["kernel_w"] * f["in_channels"]
        weights = rng.standard_normal((f["out_channels"], values)).astype(np.float32)
        codes, scales = _kernels._conv_split(weights)
        assert np.abs(codes[:, 1].astype(int)).max() <= 64 and np.abs(codes[:, 0].astype(int)).max() <= 127
        back = (codes.astype(np.float64) * scales[:, :, None]).sum(1)
        assert (np.abs(back - weights) < np.abs(weights).max(1, keepdims=True) / 16319 * 0.51).all()
        f.update(weights=codes, group_scale=scales, group=values, planes=2, output=output, table=None)
        f["scale"] = np.full(f["out_channels"], 0.01, np.float32)
        case.residual = None
        expected = finish(case, sums(case))
        for isa in ISAS:
            np.testing.assert_array_equal(run_native(_kernels, isa, case), expected, err_msg=isa)
        if output == "f32":
            exact = taps_of(case).astype(np.float64).reshape(*case.out_size, -1) - f["input_zero"]
            exact = exact @ weights.T.astype(np.float64) * 0.01 + np.float64(f.get("bias", 0))
            # A 20,000th of what the products add up to: far below a step of 8 bits.
            spread = np.abs(weights).max() * 255 * 0.01 * values**0.5
            np.testing.assert_allclose(expected, exact, rtol=0, atol=spread / 20000)

    check()


@pytest.mark.parametrize(("kernel", "depthwise"), [(3, False), (9, True)])
def test_long_rows_and_many_taps(kernel, depthwise):
    """Rows whose bytes are collected in several parts, and more taps than are unpacked beforehand."""
    rng = np.random.default_rng(kernel)
    channels, width = 24, 150
    weights = rng.integers(-128, 128, (channels, kernel, kernel, 1 if depthwise else channels)).astype(np.int8)
    fields = {
        "input": "u8", "output": "u8", "depthwise": depthwise, "in_channels": channels, "out_channels": channels,
        "kernel_h": kernel, "kernel_w": kernel, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1,
        "pad_top": 0, "pad_left": 0, "inverse_scale": 1.0, "output_zero": 0.0, "mix_offset": 0.0,
        "input_zero": 100, "weights": weights,
        "scale": np.full(channels, 0.004, np.float32), "bias": np.full(channels, 120, np.float32),
        "table": rng.integers(0, 256, 256).astype(np.uint8), "mix_own": 0.7, "mix_residual": 0.4,
    }  # fmt: skip
    values = rng.integers(0, 256, (kernel + 1, width + kernel - 1, channels)).astype(np.uint8)
    residual = rng.integers(0, 256, (2, width, channels)).astype(np.uint8)
    case = Case(fields, values, (0, 0, 0, 0), (2, width), residual)
    expected = finish(case, sums(case))
    assert len(np.unique(expected)) > 100
    for isa in ISAS:
        np.testing.assert_array_equal(run_native(_kernels, isa, case), expected, err_msg=isa)


def float_case(values: np.ndarray, **fields) -> Case:
    """A 1x1 layer of one channel and weight 1 over a row of values."""
    one = np.ones((1, 1, 1, 1), np.float32)
    plain = {"kernel_h": 1, "kernel_w": 1, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1}
    plain |= {"in_channels": 1, "out_channels": 1, "input": "f32", "output": "f32", "float_weights": one}
    return Case(plain | fields, values.reshape(1, -1, 1).astype(np.float32), (0, 0, 0, 0), (1, values.size))


@every_isa
def test_silu_over_its_range(isa):
    x = np.concatenate([np.linspace(-86.9, 100, 20001), np.logspace(-30, 3, 500), -np.logspace(-30, 1.9, 500)])
    x = x.astype(np.float32)
    received = run_native(_kernels, isa, float_case(x, silu=True)).reshape(-1)
    usual = np.abs(x) <= 20
    np.testing.assert_allclose(received[usual], silu(x[usual]), rtol=1e-6)
    np.testing.assert_allclose(received, silu(x), rtol=2e-6)


@every_isa
def test_silu_before_rounding_to_bytes(isa):
    x = np.concatenate([np.linspace(-12, 300, 40001), np.linspace(-8, 10, 20001), np.arange(-7.5, 9.5, 0.5)])
    x = np.append(x, [np.nan, -np.inf, -1e30]).astype(np.float32)
    for largest in (4, 20, 200):
        scale, zero = np.float32(255 / largest), np.float32(9)
        fields = {"silu": True, "output": "u8", "inverse_scale": scale, "output_zero": zero}
        received = run_native(_kernels, isa, float_case(x, **fields)).reshape(-1)
        expected = saturate(fma(silu_for_bytes(x), scale, zero))
        np.testing.assert_array_equal(received, expected)
        finite, received = x[:-3], received[:-3].astype(int)
        error = np.abs(silu_for_bytes(finite).astype(np.float64) - silu(finite))
        assert error[(finite >= -7) & (finite <= 9)].max() < 5e-5
        assert (error[finite > 9] / finite[finite > 9]).max() < 1.3e-4
        assert np.abs(received - saturate(silu(finite) * 255 / largest + 9)).max() <= 1


@every_isa
def test_bytes_saturate_and_round_half_to_even(isa):
    x = np.array([-1e30, -np.inf, -0.5, 0.5, 1.5, 2.5, 254.5, 255.5, 300, 1e30, np.inf, np.nan], np.float32)
    case = float_case(x, output="u8", inverse_scale=1.0, output_zero=0.0)
    expected = [0, 0, 0, 0, 2, 2, 254, 255, 255, 255, 255, 0]
    np.testing.assert_array_equal(run_native(_kernels, isa, case).reshape(-1), expected)


@every_isa
def test_refuses_what_it_cannot_compute_exactly(isa):
    weights = np.full((1, 1, 1, 4), 127, np.int8)
    good = float_case(np.zeros(3)).fields | {"input": "u8", "in_channels": 4, "float_weights": None}
    good |= {"weights": weights, "scale": np.ones(1, np.float32)}
    x = np.zeros((1, 3, 4), np.uint8)

    def refused(match: str, **changes) -> None:
        with pytest.raises(ValueError, match=match):
            run_native(_kernels, isa, Case(good | changes, x, (0, 0, 0, 0), (1, 3)))

    refused("multiple of 4", in_channels=3, weights=weights[..., :3].copy())
    refused("leave int32", scale=np.full(1, 1e6, np.float32), output="u8")
    refused("leave int32", initial=np.full(1, 2**31 - 100, np.int32))
    refused("finite", scale=np.full(1, np.nan, np.float32))
    refused("finite", bias=np.full(1, np.inf, np.float32))
    refused("channels", in_channels=8, weights=np.zeros((1, 1, 1, 8), np.int8))
    refused("int8 weights or float32", float_weights=weights.astype(np.float32))
    refused("group", group=6, group_scale=np.ones((1, 1), np.float32))


def chosen(value: str) -> subprocess.CompletedProcess:
    code = "from wutdet import _kernels; print(_kernels._conv_chosen())"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "WUTDET_ISA": value}
    )


def test_environment_chooses_the_kernels():
    assert chosen("scalar").stdout.strip() == "scalar"
    assert chosen("").stdout.strip() == ISAS[0]
    wrong = chosen("avx9")
    assert wrong.returncode != 0 and "avx9" in wrong.stderr and "scalar" in wrong.stderr


def test_the_oracles_fma_rounds_once():
    rng = np.random.default_rng(5)
    from fractions import Fraction

    a, b, c = (rng.integers(0, 2**32, 3000).astype(np.uint32).view(np.float32) for _ in range(3))
    b = np.where(rng.random(3000) < 0.5, (b.view(np.uint32) & 0xFFFFF000 | 1).view(np.float32), b)
    with np.errstate(all="ignore"):
        c = np.where(rng.random(3000) < 0.5, np.float32(-1) * a * b, c).astype(np.float32)
        received = fma(a, b, c)
    checked = 0
    for x, y, z, r in zip(a, b, c, received, strict=True):
        if not all(np.isfinite(v) for v in (x, y, z, r)) or abs(r) < 1e-30:
            continue
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(exact - Fraction(float(r)))
        for neighbour in (np.nextafter(r, np.float32(np.inf)), np.nextafter(r, np.float32(-np.inf))):
            if np.isfinite(neighbour):
                assert error <= abs(exact - Fraction(float(neighbour)))
        checked += 1
    assert checked > 500
