"""Every format with every option, tensors that are hard to round, and what equal means."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wutdet import lowbit
from wutdet.lowbit import QuantizedTensor

#: For tests that run for each of many options; and no test is timed, as the machine may be busy.
FEW = settings(max_examples=30, deadline=None)
UNTIMED = settings(deadline=None)
#: (format, options), all combinations.
CASES = [
    *(("hif4", {"ties": t, "non_finite": n}) for t, n in product(("away", "even"), ("nan", "saturate"))),
    *(("mxfp4", {"scale_rule": s, "ties": t}) for s, t in product(("floor", "ceil"), ("even", "away"))),
    *(
        ("nvfp4", {"scaling": s, "reference": r, "tile": t})
        for s, r, t in product(("two-level", "block"), ("te", "ao"), ("1x16", "16x16"))
    ),
    ("hif8", {}),
    *(
        (f, {"granularity": g, "symmetric": s, **({"group_size": 6} if g == "group" else {})})
        for f, g, s in product(("int8", "int4"), ("tensor", "channel", "group"), (True, False))
    ),
]
NAMES = [" ".join([f, *(str(v) for v in o.values())]) for f, o in CASES]
INTEGERS = ("int8", "int4")


def bits(x: np.ndarray) -> np.ndarray:
    """uint32: the bits of float32 values, one pattern for every NaN; so -0 is not 0."""
    assert x.dtype == np.float32
    return np.where(np.isnan(x), np.float32(np.nan), x).view(np.uint32)


def golden_inputs(shared_dir) -> list[tuple[str, np.ndarray]]:
    """Name and float32 input of every golden file."""
    files = sorted((shared_dir / "golden").glob("*.npz"))
    assert files
    return [(f.stem, np.load(f)["x"]) for f in files if f.stem != "hif8_table"]


def any_bits(rng: np.random.Generator, shape: tuple[int, ...], finite: bool) -> np.ndarray:
    """float32 values of all binades, by random bits."""
    x = rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    return np.where(np.isfinite(x), x, np.float32(0)) if finite else x


def binades(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """float32 of a normal distribution, every row in a binade of its own, from below the smallest subnormal up."""
    scale = rng.integers(-149, 125, (*shape[:-1], 1))
    with np.errstate(under="ignore"):
        return np.ldexp(rng.standard_normal(shape), scale).astype(np.float32)


def quantize(x, format: str, **chosen) -> QuantizedTensor:
    """``wutdet.lowbit.quantize`` by the definition, after asserting that the native code gives and reads the same.

    One call alone where a backend is chosen, or where ``rng`` is a generator, which would give each another seed.
    """
    if "backend" in chosen or isinstance(chosen.get("rng"), np.random.Generator):
        return lowbit.quantize(x, format, **chosen)
    definition, native = (lowbit.quantize(x, format, backend=backend, **chosen) for backend in ("numpy", "native"))
    np.testing.assert_array_equal(native.codes, definition.codes)
    np.testing.assert_array_equal(native.scales, definition.scales)
    assert native.tensor_scale == definition.tensor_scale
    np.testing.assert_array_equal(bits(definition.dequantize("native")), bits(definition.dequantize("numpy")))
    return definition


@st.composite
def tensors(draw, finite: bool = True):
    """float32 tensors of few values: arbitrary ones, multiples of a power of two (ties), and neighbours of these."""
    shape = (*draw(st.lists(st.integers(0, 3), max_size=2)), draw(st.integers(0, 70)))
    ties = st.builds(lambda n, e: float(np.float32(n * 2.0**e)), st.integers(-64, 64), st.integers(-12, 3))
    values = st.one_of(
        st.floats(width=32, allow_nan=not finite, allow_infinity=not finite),
        ties,
        st.builds(lambda v, up: float(np.nextafter(np.float32(v), np.float32(up))), ties, st.sampled_from((-9e9, 9e9))),
    )
    return draw(hnp.arrays(np.float32, shape, elements=values, fill=st.sampled_from((0.0, 1.0, -0.75))))
