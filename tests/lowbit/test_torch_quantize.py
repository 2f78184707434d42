"""Fake quantisation in torch against the NumPy definitions, bit for bit, and its gradients."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowbit_cases import CASES, INTEGERS, NAMES, UNTIMED, any_bits, binades, bits, golden_inputs, tensors

from wutdet.errors import DataError, UsageError
from wutdet.lowbit import RandomHadamard, quantize
from wutdet.lowbit.hadamard import SIZES, TE_SIGNS
from wutdet.lowbit.philox import thresholds

torch = pytest.importorskip("torch")

from wutdet.lowbit.torch_philox import thresholds as torch_thresholds  # noqa: E402
from wutdet.lowbit.torch_quantize import fake_quantize, hadamard  # noqa: E402

every_case = pytest.mark.parametrize(("format", "options"), CASES, ids=NAMES)


def oracle(x, format, options, seed=None):
    rounding = "nearest" if seed is None else "stochastic"
    with np.errstate(all="ignore"):  # overflow to infinity is part of some definitions
        return quantize(x, format, rounding=rounding, rng=seed, backend="numpy", **options).dequantize("numpy")


def ours(x, format, options, seed=None, device="cpu", native=False):
    rounding = "nearest" if seed is None else "stochastic"
    given = torch.from_numpy(np.array(x)).to(device)
    out = fake_quantize(given, format, rounding=rounding, seed=seed, native=native, **options)
    assert out.device.type == device
    return out.cpu().numpy()


def assert_equal(x, format, options, device="cpu"):
    for seed in (None, 0, 2**64 - 1):
        want = oracle(x, format, options, seed)
        for native in (False, True):
            got = ours(x, format, options, seed, device, native)
            np.testing.assert_array_equal(bits(got), bits(want), err_msg=f"{format} {options}, seed {seed}, {native=}")


@every_case
def test_equals_the_definition_on_golden_inputs(format, options, shared_dir):
    for _, x in golden_inputs(shared_dir):
        if format not in INTEGERS or np.isfinite(x).all():
            assert_equal(x, format, options)


@every_case
def test_equals_the_definition_on_all_binades(format, options, rng):
    assert_equal(any_bits(rng, (37, 150), finite=True), format, options)
    assert_equal(binades(rng, (4, 40, 70)), format, options)
    if format not in INTEGERS:
        assert_equal(any_bits(rng, (37, 150), finite=False), format, options)


@every_case
@given(data=st.data(), seed=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
@UNTIMED
def test_equals_the_definition(format, options, data, seed):
    x = data.draw(tensors(finite=format in INTEGERS))
    np.testing.assert_array_equal(bits(ours(x, format, options, seed)), bits(oracle(x, format, options, seed)))


@every_case
@pytest.mark.parametrize("peak", [0.0, 1e-45, 1e-42, 1e-38, 8e-36, 1e20, 3.4e38])
def test_equals_the_definition_where_one_value_is_alone(format, options, peak):
    x = np.zeros((17, 70), dtype=np.float32)
    x[3, 5], x[3, 6], x[4, 20], x[16, 66] = peak, -peak, peak / 2, -peak / 7
    assert_equal(x, format, options)
    assert_equal(-x, format, options)


@every_case
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 64), (1,), (2, 3, 5, 65)])
def test_shapes(format, options, shape, rng):
    x = rng.standard_normal(shape).astype(np.float32)
    assert_equal(x, format, options)


@every_case
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_equals_the_definition_on_cuda(format, options, rng):
    assert_equal(any_bits(rng, (37, 150), finite=format in INTEGERS), format, options, "cuda")
    assert_equal(binades(rng, (4, 40, 70)), format, options, "cuda")


@every_case
def test_strides(format, options, rng):
    x = rng.standard_normal((6, 70, 4)).astype(np.float32)
    given = torch.from_numpy(x).permute(2, 0, 1)[:, ::2]
    want = oracle(np.ascontiguousarray(x.transpose(2, 0, 1)[:, ::2]), format, options)
    np.testing.assert_array_equal(bits(fake_quantize(given, format, **options).numpy()), bits(want))
    x = rng.standard_normal((128, 192)).astype(np.float32)  # whole groups: nothing is copied to fill them up
    for given in (torch.from_numpy(x).t(), torch.from_numpy(x)[:, ::3], torch.from_numpy(x)[::2, 64:]):
        want = oracle(np.ascontiguousarray(given.numpy()), format, options)
        np.testing.assert_array_equal(bits(fake_quantize(given, format, **options).numpy()), bits(want))


@every_case
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_are_computed_in_float32(format, options, dtype, rng):
    x = torch.from_numpy(binades(rng, (300, 70)).astype(np.float64) * 1.1).to(getattr(torch, dtype))
    if format in INTEGERS:
        x = torch.where(x.float().isfinite(), x, 0)
    got = fake_quantize(x, format, **options)
    exact_in = {"bfloat16": ("hif4", "mxfp4", "hif8"), "float16": ("hif8",), "float64": ()}[dtype]
    one_level = options.get("scaling") == "block" and dtype != "float64"
    assert got.dtype == (x.dtype if format in exact_in or one_level else torch.float32)
    np.testing.assert_array_equal(bits(got.float().numpy()), bits(oracle(x.float().numpy(), format, options)))


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("symmetric", [True, False])
def test_integers_make_what_shares_a_scale_with_a_non_finite_value_nan(name, value, symmetric, rng):
    x = rng.standard_normal((5, 8)).astype(np.float32)
    want = oracle(x, name, {"granularity": "channel", "symmetric": symmetric})
    want[2] = np.nan
    x[2, 3] = value
    np.testing.assert_array_equal(ours(x, name, {"granularity": "channel", "symmetric": symmetric}), want)


@every_case
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_gradient_passes_straight_through(format, options, dtype, rng):
    values = torch.from_numpy(rng.standard_normal((6, 70)) * 100).to(getattr(torch, dtype))
    x, gradient = values.requires_grad_(), torch.from_numpy(rng.standard_normal((6, 70)))
    out = fake_quantize(x, format, rounding="stochastic", seed=3, **options)
    out.backward(gradient.to(out.dtype))
    assert x.grad.dtype == x.dtype
    assert torch.equal(x.grad, gradient.to(out.dtype).to(x.dtype))


@pytest.mark.parametrize(
    ("format", "options", "x", "clipped"),
    [
        # 7.8 / 7 is rounded to the scale 1, whose largest is 7.
        ("hif4", {}, [7.8, 0.5, -7.8, 7.0], [True, False, True, False]),
        ("mxfp4", {}, [7.0, 6.0, -7.9, 1.0], [True, False, True, False]),
        ("mxfp4", {"scale_rule": "ceil"}, [7.0, 6.0, -7.9, 1.0], [False, False, False, False]),
        ("nvfp4", {"scaling": "block"}, [6.3 * 448, -6.0 * 448, 5.0, 0.0], [True, False, False, False]),
        ("hif8", {}, [2.0**15, 33000.0, -1e9, 0.0], [False, True, True, False]),
        ("int8", {}, [2.0, -2.0, 1.0, 0.0], [False, False, False, False]),
    ],
)
def test_clipped_values_get_no_gradient_if_wanted(format, options, x, clipped):
    x = torch.tensor(x, requires_grad=True)
    fake_quantize(x, format, clip_gradient=True, **options).nan_to_num().sum().backward()
    assert (x.grad == 0).tolist() == clipped
    assert (x.grad[x.grad != 0] == 1).all()


@every_case
def test_only_values_that_shrank_are_clipped(format, options, rng):
    x = torch.from_numpy(rng.standard_normal((64, 256)).astype(np.float32)).requires_grad_()
    out = fake_quantize(x, format, clip_gradient=True, **options)
    out.sum().backward()
    zero = x.grad == 0
    assert (out[zero].abs() < x[zero].abs()).all()
    if format in ("hif4", "nvfp4") or options.get("scale_rule") == "floor":
        assert zero.any()  # scales are rounded to nearest or down
    else:
        assert not zero.any()


@given(seed=st.integers(0, 2**64 - 1), count=st.integers(0, 100))
@UNTIMED
def test_random_bits_are_those_of_numpy(seed, count):
    got = torch_thresholds(seed, count, torch.device("cpu"))
    np.testing.assert_array_equal(got.numpy(), thresholds(seed, count))


def test_random_bits_do_not_depend_on_chunks():
    np.testing.assert_array_equal(
        torch_thresholds(7, 200_001, torch.device("cpu")).numpy(), thresholds(7, 200_001).astype(np.float32)
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_hadamard_and_its_gradient_equal_the_definition(size, dtype, rng):
    transform = RandomHadamard(size, seed=5)
    x = torch.from_numpy(rng.standard_normal((3, 5, 2 * size))).to(getattr(torch, dtype)).requires_grad_()
    out = hadamard(x, transform)
    assert out.dtype == torch.float32
    np.testing.assert_array_equal(out.detach().numpy(), transform(x.detach().float().numpy()))
    gradient = rng.standard_normal(out.shape).astype(np.float32)
    out.backward(torch.from_numpy(gradient))
    want = torch.from_numpy(transform.inverse(gradient)).to(x.dtype)
    assert torch.equal(x.grad, want)


def test_hadamard_with_given_signs_and_second_derivative(rng):
    transform = RandomHadamard(16, signs=TE_SIGNS)
    x = torch.from_numpy(rng.standard_normal((2, 16)).astype(np.float32)).requires_grad_()
    (gradient,) = torch.autograd.grad(hadamard(x, transform).square().sum() / 2, x, create_graph=True)
    # The transform is orthonormal: the gradient of half the squared length is the tensor itself.
    torch.testing.assert_close(gradient, x)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(second, torch.ones_like(x))


def test_wrong_arguments_are_refused():
    x = torch.zeros(2, 64)
    with pytest.raises(UsageError, match="hif5"):
        fake_quantize(x, "hif5")
    with pytest.raises(UsageError, match="tiles"):
        fake_quantize(x, "nvfp4", tiles="16x16")
    with pytest.raises(UsageError, match="rounding"):
        fake_quantize(x, "hif4", rounding="up")
    for seed in (None, -1, 2**64, 1.0, True):
        with pytest.raises(UsageError, match="seed"):
            fake_quantize(x, "hif4", rounding="stochastic", seed=seed)
    with pytest.raises(DataError, match="int32"):
        fake_quantize(x.int(), "hif4")
    for shape in ((), (3, 15)):
        with pytest.raises(UsageError, match="multiple of 16"):
            hadamard(torch.zeros(shape), RandomHadamard(16))


def test_the_package_does_not_import_torch():
    code = "import sys, wutdet.lowbit; wutdet.lowbit.quantize; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
