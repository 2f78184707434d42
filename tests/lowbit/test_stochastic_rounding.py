"""Counter-based random bits, and what stochastic rounding does with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowbit_cases import CASES, FEW, INTEGERS, NAMES, UNTIMED, quantize, tensors

from wutdet.errors import UsageError
from wutdet.lowbit.codebooks import E2M1
from wutdet.lowbit.oracle.blocks import round_to_table
from wutdet.lowbit.philox import philox4x32, thresholds, words

every_case = pytest.mark.parametrize(("format", "options"), CASES, ids=NAMES)


def stochastic(x, format, seed, **options):
    return quantize(x, format, rounding="stochastic", rng=seed, **options).dequantize()


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    """The known answers of Random123 for philox4x32 with 10 rounds."""
    got = philox4x32(np.array([counter], dtype=np.uint32), key)
    assert got.dtype == np.uint32
    assert got[0].tolist() == expected


def test_words_are_those_of_counter_and_seed():
    """Element i takes word i % 4 of counter i // 4; the seed's low half is the first word of the key."""
    seed = 0x0123456789ABCDEF
    got = words(seed, 11)
    for i in range(11):
        want = philox4x32(np.array([[i // 4, 0, 0, 0]], dtype=np.uint32), (0x89ABCDEF, 0x01234567))[0, i % 4]
        assert got[i] == want
    np.testing.assert_array_equal(thresholds(seed, 11), got >> 8)


@given(seed=st.integers(0, 2**64 - 1), count=st.integers(0, 40), more=st.integers(0, 40))
@UNTIMED
def test_words_do_not_depend_on_how_many_are_drawn(seed, count, more):
    np.testing.assert_array_equal(words(seed, count + more)[:count], words(seed, count))


@pytest.mark.parametrize(
    ("value", "threshold", "up"),
    [
        (1.0, 0, False),
        (1.125, 2**22 - 1, True),
        (1.125, 2**22, False),
        (3.5, 2**23 - 1, True),
        (3.5, 2**23, False),
        (1.0 + 2.0**-25, 0, True),  # a share of 2^-24
        (1.0 + 2.0**-26, 0, False),  # less
        (6.0, 2**24 - 1, True),  # to 6 itself
        (7.0, 2**24 - 1, True),  # cut off
    ],
)
def test_a_share_of_the_way_goes_up_below_it(value, threshold, up):
    magnitude, noise = np.array([value]), np.array([threshold], dtype=np.uint32)
    below = max(i for i in range(7) if E2M1[i] <= value)
    assert round_to_table(magnitude, E2M1[:8], "even", noise)[0] == below + up


@every_case
@given(data=st.data(), seed=st.integers(0, 2**64 - 1))
@FEW
def test_rounds_to_one_of_the_two_neighbours_under_the_same_scales(format, options, data, seed):
    x = data.draw(tensors(finite=format in INTEGERS))
    near = quantize(x, format, **options)
    random = quantize(x, format, rounding="stochastic", rng=seed, **options)
    np.testing.assert_array_equal(random.scales, near.scales)
    assert random.tensor_scale == near.tensor_scale
    again = quantize(x, format, rounding="stochastic", rng=seed, **options)
    np.testing.assert_array_equal(again.codes, random.codes)
    if format in ("mxfp4", "hif4", "nvfp4"):  # sign and magnitude, magnitudes in the order of their codes
        a, b = near.unpacked().codes & 7, random.unpacked().codes & 7
    elif format in INTEGERS:
        bits = 8 if format == "int8" else 4
        a, b = near.unpacked().codes.astype(int), random.unpacked().codes.astype(int)
        if options["symmetric"]:
            a, b = ((v ^ 1 << bits - 1) for v in (a, b))
    else:
        return
    assert (np.abs(a.astype(int) - b.astype(int)) <= 1).all()


@pytest.mark.parametrize(
    ("format", "options", "values"),
    [
        ("hif4", {}, [7, 4, -3, 0, 0.5, -1.5, 0, 3.5]),  # fours of steps 1 and 0.5
        ("hif4", {"ties": "even"}, [7, 4, -3, 0, 0.5, -1.5, 0, 3.5]),
        ("mxfp4", {}, [6, -0.5, 3, 0, 1.5, 4, 1, -2]),
        ("mxfp4", {"scale_rule": "ceil"}, [6, -0.5, 3, 0, 1.5, 4, 1, -2]),
        ("nvfp4", {"scaling": "block"}, [6, -0.5, 3, 0, 1.5, 4, 1, -2]),
        ("nvfp4", {}, [2688, -224, 1344, 0, 672, 1792, 448, -896]),
        ("hif8", {}, [1, -1.125, 2.5, 0, 32768, 2.0**-22, np.inf, -224]),
        ("int8", {}, [127, -127, 0, 1, -1, 64, 63, -2]),
        ("int4", {}, [7, -7, 0, 1, -1, 4, 3, -2]),
        ("int4", {"symmetric": False}, [0, 15, 3, 1, 2, 14, 8, 7]),
    ],
)
def test_values_of_the_format_stay(format, options, values):
    """What needs no rounding is not rounded, whatever the bits."""
    x = np.tile(np.array(values, dtype=np.float32), (50, 8))
    for seed in range(5):
        np.testing.assert_array_equal(stochastic(x, format, seed, **options), x)


@pytest.mark.parametrize(
    ("format", "options", "beside", "value", "low", "high"),
    [
        ("hif4", {}, 7, 0.3, 0.25, 0.5),
        ("hif4", {}, 7, -0.0123, -0.25, 0),
        ("mxfp4", {}, 6, 3.3, 3, 4),
        ("mxfp4", {"scale_rule": "ceil"}, 6, 0.1, 0, 0.5),
        ("nvfp4", {"scaling": "block"}, 6, -4.1, -6, -4),
        ("nvfp4", {}, 6, 0.7, 0.5, 1),
        ("hif8", {}, 0, 1.03, 1, 1.125),
        ("hif8", {}, 0, 1.2e-7, 0, 2.0**-22),
        ("int8", {"granularity": "tensor"}, 127, 11.37, 11, 12),
        ("int4", {"granularity": "tensor"}, 7, -2.71, -3, -2),
        ("int4", {"granularity": "tensor", "symmetric": False}, 15, 2.71, 2, 3),
    ],
)
def test_the_mean_is_right(format, options, beside, value, low, high):
    """A z-test of the share that goes up, at four standard errors, with one fixed seed."""
    group = {"hif4": 64, "mxfp4": 32, "nvfp4": 16}.get(format, 64)
    x = np.full((4000, group), value, dtype=np.float32)
    x[:, 0] = beside
    # HiF4: the peak stays in the first eight, where scales are doubled.
    got = stochastic(x, format, 20260711, **options)[:, 8:].astype(np.float64)
    assert sorted(np.unique(got)) == pytest.approx([low, high], rel=1e-6)
    share = (float(np.float32(value)) - low) / (high - low)
    deviation = (got > (low + high) / 2).mean() - share
    assert abs(deviation) < 4 * math.sqrt(share * (1 - share) / got.size)


def test_neighbours_are_rounded_independently():
    """Correlation of neighbours, and of the same elements under neighbouring seeds."""
    x = np.full((1, 200_000), 0.3, dtype=np.float32)
    up = [stochastic(x, "hif8", seed)[0] > 0.3 for seed in (0, 1, 1 << 32)]
    series = [u - u.mean() for u in up]
    pairs = [(series[0][lag:], series[0][: x.size - lag]) for lag in (1, 2, 3, 4, 8)]
    pairs += [(series[0], series[1]), (series[0], series[2])]
    for a, b in pairs:
        assert abs((a * b).mean() / (a.std() * b.std())) < 4 / math.sqrt(len(a))


@every_case
def test_rows_are_rounded_as_if_alone_in_front(format, options, rng):
    """An element's bit depends on its index, so that the first rows of a tensor are those of a shorter one."""
    if options.get("scaling") == "two-level" or options.get("granularity") == "tensor":
        return  # share a scale with the rest
    x = rng.standard_normal((32, 70)).astype(np.float32)
    np.testing.assert_array_equal(stochastic(x, format, 9, **options)[:16], stochastic(x[:16], format, 9, **options))


def test_seeds_and_generators(rng):
    x = rng.standard_normal((4, 64)).astype(np.float32)
    once, again = (stochastic(x, "hif4", np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    generator = np.random.default_rng(1)
    assert (stochastic(x, "hif4", generator) != stochastic(x, "hif4", generator)).any()
    drawn = int(np.random.default_rng(1).integers(0, 2**64, dtype=np.uint64))
    np.testing.assert_array_equal(once, stochastic(x, "hif4", drawn))
    np.testing.assert_array_equal(stochastic(x, "hif4", np.int64(5)), stochastic(x, "hif4", 5))
    for wrong in (None, -1, 2**64, 1.5, True, "1"):
        with pytest.raises(UsageError, match="rng"):
            stochastic(x, "hif4", wrong)
