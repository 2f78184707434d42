"""What holds of the formats beyond their definitions: idempotence, scaling, special values, kinds of input."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lowbit_cases import CASES, FEW, INTEGERS, NAMES, UNTIMED, binades, bits, quantize, tensors

from wutdet.errors import DataError, UsageError
from wutdet.lowbit import FORMATS
from wutdet.lowbit.options import OPTIONS

every_case = pytest.mark.parametrize(("format", "options"), CASES, ids=NAMES)
#: Zeros, and magnitudes that no format's scale range cuts off, also after scaling by 2^-4..2^7.
moderate = st.one_of(
    st.just(0.0),
    st.floats(2.0**-20, 2.0**10, width=32),
    st.floats(-(2.0**10), -(2.0**-20), width=32),
    st.integers(-64, 64).map(lambda n: n / 8),
)
matrices = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 70)), elements=moderate, fill=moderate)


def trip(x, format, **options):
    return quantize(x, format, **options).dequantize()


def idempotent(format, options) -> bool:
    """See docs/formats.md, 'A second trip'."""
    if format == "nvfp4":
        return options["scaling"] == "block" and options["reference"] == "ao"
    return format in ("mxfp4", "hif8") or options.get("symmetric", False)


@pytest.mark.parametrize(
    ("format", "options"),
    [case for case in CASES if idempotent(*case)],
    ids=[name for name, case in zip(NAMES, CASES, strict=True) if idempotent(*case)],
)
@given(x=matrices)
@UNTIMED
def test_a_second_trip_changes_no_value(format, options, x):
    once = trip(x, format, **options)
    np.testing.assert_array_equal(bits(trip(once, format, **options)), bits(once))


@pytest.mark.parametrize(("format", "options"), [("mxfp4", {}), ("mxfp4", {"scale_rule": "ceil"}), ("hif8", {})])
@given(x=tensors())
@UNTIMED
def test_a_second_trip_changes_no_value_of_any_binade(format, options, x):
    once = trip(x, format, **options)
    assume(format == "hif8" or np.isfinite(once).all())
    np.testing.assert_array_equal(bits(trip(once, format, **options)), bits(once))


@pytest.mark.parametrize("tile", ["1x16", "16x16"])
@pytest.mark.parametrize("scaling", ["two-level", "block"])
@given(x=matrices)
@UNTIMED
def test_a_second_trip_of_nvfp4_changes_no_value_under_normal_or_zero_scales(scaling, tile, x):
    options = {"scaling": scaling, "tile": tile}
    first = quantize(x, "nvfp4", **options)
    code = np.repeat(first.scales[:, :, 0], 16, axis=1)[:, : x.shape[1]]
    steady = (code == 0) | (code >= 8)
    once = first.dequantize()
    np.testing.assert_array_equal(trip(once, "nvfp4", **options)[steady], once[steady])


@given(x=matrices)
@UNTIMED
def test_a_second_trip_of_nvfp4_as_torchao_has_it_rounds_float32_alone(x):
    once = trip(x, "nvfp4", reference="ao")
    twice = trip(once, "nvfp4", reference="ao")
    np.testing.assert_allclose(twice, once, rtol=0, atol=2.0**-21 * np.abs(x).max())


@pytest.mark.parametrize("format", INTEGERS)
@given(x=matrices)
@UNTIMED
def test_a_second_trip_of_integers_with_a_zero_point_moves_at_most_a_step(format, x):
    first = quantize(x, format, granularity="tensor", symmetric=False)
    step = first.scales[0, 0, :4].copy().view("<f4")[0]
    once = first.dequantize()
    twice = trip(once, format, granularity="tensor", symmetric=False)
    np.testing.assert_allclose(twice, once, rtol=0, atol=1.01 * step)


def test_where_a_second_trip_changes_values():
    """The counterexamples of docs/formats.md."""
    ones = np.ones(64, dtype=np.float32)
    values = []
    for _ in range(4):
        ones = trip(ones, "hif4")
        values.append(float(ones[0]))
    assert values == [0.9375, 0.875, 0.875, 0.875]
    # A subnormal block scale: 3.1 units of 2^-9 become 3 of them, and half of the smallest scale is rounded to zero.
    x = np.zeros(32, dtype=np.float32)
    x[0], x[16] = 2688, 3.1 * 2.0**-9
    once = trip(x, "nvfp4")
    assert once[16] == 3 * 2.0**-9
    assert trip(once, "nvfp4")[16] == 0
    # The zero point lies half way between two codes and goes to the even one; the next trip's scale is another.
    once = trip(np.array([-1024, 1024], dtype=np.float32), "int8", symmetric=False)
    assert once == pytest.approx([-1019.984, 1019.984], abs=0.001)
    assert trip(once, "int8", symmetric=False) == pytest.approx([-1023.984, 1015.984], abs=0.001)
    # Peaks that are rounded up to 2^128.
    x[0], x[16] = 3.4e38, 0
    assert np.isposinf(trip(x, "mxfp4", scale_rule="ceil")[0])
    assert np.isfinite(trip(x, "mxfp4")).all()


def hif4_states() -> np.ndarray:
    """Groups [N, 64] that hold every value a quantised group of scale 1, 1.25, 1.5, 1.75 can, under both peaks a first
    trip can leave, in an eight and a four whose peaks are any such value."""
    grid = np.unique([quarters / 4 * factor for quarters in range(8) for factor in (1, 2, 4)])
    rows = []
    for scale in (1, 1.25, 1.5, 1.75):
        for peak in (6, 7):
            for eight in grid:
                for four in grid[grid <= eight]:
                    for start in range(0, len(grid), 3):
                        beside, within = grid[grid <= eight][start : start + 3], grid[grid <= four][start : start + 3]
                        row = np.zeros(64)
                        row[0], row[8], row[12] = peak, eight, four
                        row[9 : 9 + len(beside)] = beside
                        row[13 : 13 + len(within)] = within
                        rows.append(row * scale)
    return np.unique(np.array(rows, dtype=np.float32), axis=0)


@pytest.mark.parametrize("ties", ["away", "even"])
def test_a_third_trip_of_hif4_changes_no_state(ties):
    first = hif4_states()
    second = trip(first, "hif4", ties=ties)
    assert (second != first).any()
    np.testing.assert_array_equal(trip(second, "hif4", ties=ties), second)


@pytest.mark.parametrize("ties", ["away", "even"])
@given(x=matrices)
@UNTIMED
def test_a_third_trip_of_hif4_changes_no_value(ties, x):
    first = trip(x, "hif4", ties=ties)
    second = trip(first, "hif4", ties=ties)
    np.testing.assert_array_equal(bits(trip(second, "hif4", ties=ties)), bits(second))


def scales_freely(format, options) -> bool:
    return format not in ("hif8",) and options.get("scaling") != "block"


@pytest.mark.parametrize(
    ("format", "options"),
    [case for case in CASES if scales_freely(*case)],
    ids=[name for name, case in zip(NAMES, CASES, strict=True) if scales_freely(*case)],
)
@given(x=matrices, power=st.integers(-4, 7))
@FEW
def test_scaling_by_powers_of_two_scales_the_result(format, options, x, power):
    factor = np.float32(2.0**power)
    np.testing.assert_array_equal(bits(trip(x * factor, format, **options)), bits(trip(x, format, **options) * factor))


@every_case
@given(x=matrices)
@FEW
def test_negation_negates_the_result(format, options, x):
    if options.get("symmetric", True):
        np.testing.assert_array_equal(trip(-x, format, **options), -trip(x, format, **options))


@every_case
@given(x=matrices)
@FEW
def test_results_are_monotone_within_a_group(format, options, x):
    """Nothing shared depends on the order, so a sorted group comes out sorted, but for HiF4, whose fours have scales of
    their own."""
    if format != "hif4":
        once = trip(np.sort(x[:, :6], axis=1), format, **options)
        assert (np.diff(once, axis=1) >= 0).all()


def test_hif4_need_not_keep_the_order():
    x = np.zeros(64, dtype=np.float32)
    x[0], x[1], x[16] = 7, 1.45, 1.4  # steps of 1, 1 and 0.25
    assert trip(x, "hif4")[[1, 16]].tolist() == [1, 1.5]


GROUP = {"hif4": 64, "mxfp4": 32, "nvfp4": 16}


@pytest.mark.parametrize("format", GROUP)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_value_makes_its_group_nan_and_no_other(format, value, rng):
    size = GROUP[format]
    x = rng.standard_normal((3, 4 * size)).astype(np.float32)
    group = (1, slice(2 * size, 3 * size))
    x[group] = 0  # so that NVFP4's tensor scale, which is of the other groups, is the same
    want = trip(x, format)
    want[group] = np.nan
    x[1, 2 * size + 5] = value
    np.testing.assert_array_equal(trip(x, format), want)


def test_hif4_infinities_saturate_if_wanted():
    x = np.zeros((2, 64), dtype=np.float32)
    x[0, :4] = np.inf, -np.inf, 1, 3e38
    x[1, :2] = np.inf, np.nan
    got = trip(x, "hif4", non_finite="saturate")
    np.testing.assert_array_equal(got[0], [344064, -344064, 0, 344064] + [0] * 60)
    assert np.isnan(got[1]).all()


def test_hif8_special_values():
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e9, -40960, 40959, 1e-45], dtype=np.float32)
    assert quantize(x, "hif8").codes.ravel().tolist() == [0x80, 0x80, 0x6F, 0xEF, 0, 0x6F, 0xEF, 0x6E, 0]


@pytest.mark.parametrize("format", INTEGERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_integers_refuse_non_finite_values(format, value):
    x = np.zeros((3, 4), dtype=np.float32)
    x[1, 2] = value
    with pytest.raises(DataError, match=rf"1 of 12 values are, the first at \(1, 2\): {value}"):
        quantize(x, format)


@every_case
def test_zeros(format, options):
    x = np.zeros((3, 130), dtype=np.float32)
    tensor = quantize(x, format, **options)
    np.testing.assert_array_equal(bits(tensor.dequantize()), bits(x))
    if format == "hif4":
        assert not tensor.scales.any()
    # Only MXFP4, and NVFP4 as torchao has it, keep the sign of -0.
    keeps = format == "mxfp4" or options.get("reference") == "ao"
    assert np.signbit(trip(-x, format, **options)).all() == keeps


@pytest.mark.parametrize(("format", "sign"), [("hif4", True), ("mxfp4", True), ("nvfp4", True), ("hif8", False)])
def test_negative_values_rounded_to_zero_keep_their_sign(format, sign):
    got = trip(np.array([1, -1e-4 if format != "hif8" else -1e-8], dtype=np.float32), format)
    assert got[1] == 0 and np.signbit(got[1]) == sign


@every_case
def test_subnormal_values_are_no_error(format, options, rng):
    x = rng.integers(0, 1 << 23, (4, 70), dtype=np.uint32).view(np.float32)
    got = trip(x, format, **options)
    step = {"mxfp4": 2.0**-128, "hif4": 2.0**-50, "hif8": 2.0**-22}.get(format)
    if step is not None:
        np.testing.assert_array_equal(np.mod(got, np.float32(step)), 0)
    assert np.isfinite(got).all()


@every_case
@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 64), (3, 0), (2, 0, 5), (2, 3, 5, 65)])
def test_shapes(format, options, shape, rng):
    x = rng.standard_normal(shape).astype(np.float32)
    tensor = quantize(x, format, **options)
    assert tensor.shape == shape and tensor.dequantize().shape == shape
    assert tensor.dequantize().dtype == np.float32


@every_case
def test_strides_do_not_matter(format, options, rng):
    x = rng.standard_normal((70, 6, 8)).astype(np.float32)
    view = x.transpose(2, 1, 0)[::2, ::-1]
    np.testing.assert_array_equal(trip(view, format, **options), trip(np.ascontiguousarray(view), format, **options))
    np.testing.assert_array_equal(trip(np.asfortranarray(x), format, **options), trip(x, format, **options))


@every_case
@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.float64, ">f4"])
def test_other_floats_are_converted_first(format, options, kind, rng):
    with np.errstate(over="ignore", under="ignore"):
        x = (binades(rng, (300, 70))[:, :66] * 1.1).clip(-5e4, 5e4).astype(kind)
        want = trip(x.astype(np.float32), format, **options)
    np.testing.assert_array_equal(bits(trip(x, format, **options)), bits(want))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_torch_tensors(dtype, rng):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(rng.standard_normal((70, 6))).to(getattr(torch, dtype)).requires_grad_().t()
    want = trip(x.detach().float().numpy(), "hif4")
    np.testing.assert_array_equal(trip(x, "hif4"), want)


@pytest.mark.parametrize("x", [np.ones(3, int), np.ones(3, bool), np.ones(3, complex), np.array(["a"]), None])
def test_only_floating_point_is_quantised(x):
    with pytest.raises(DataError, match="floating-point"):
        quantize(x, "hif4")


def test_torch_integers_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(DataError, match=r"torch\.int64"):
        quantize(torch.ones(3, dtype=torch.int64), "hif4")


def test_the_input_is_left_alone(rng):
    x = rng.standard_normal((2, 70)).astype(np.float32)
    x[0, 3] = 1e9
    for format in FORMATS:
        before = x.copy()
        trip(x, format)
        np.testing.assert_array_equal(x, before)


def test_wrong_options_are_refused():
    x = np.ones(4, dtype=np.float32)
    for format, options, message in (
        ("hif", {}, "hif4"),
        ("hif4", {"tie": "even"}, "ties"),
        ("hif4", {"ties": "odd"}, "even, away"),
        ("hif8", {"ties": "even"}, "it has none"),
        ("int8", {"symmetric": 1}, "true or false"),
        ("int4", {"group_size": 3}, "even number"),
        ("int4", {"group_size": 0}, "even number"),
        ("mxfp4", {"backend": "gpu"}, "backend"),
        ("mxfp4", {"rounding": "up"}, "rounding"),
    ):
        with pytest.raises(UsageError, match=message):
            quantize(x, format, **options)
    assert set(OPTIONS) == set(FORMATS)
