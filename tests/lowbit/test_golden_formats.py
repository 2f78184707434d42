"""Every format against what public reference implementations gave (``../shared/golden``, see its README).

GCC is the HiF4 authors' simulator, AO torchao, TE Transformer Engine, MXC microxcaling, and en_dtypes has HiF8.
"""

from __future__ import annotations

import numpy as np
import pytest

from wutdet.lowbit import RandomHadamard, quantize
from wutdet.lowbit.codebooks import E6M2, HIF8
from wutdet.lowbit.hadamard import TE_SIGNS

HIF4 = ("gauss_bf16", "gauss_f32", "heavy_bf16", "tiny_f32", "ties_bf16", "wide_f32", "blocky_bf16")
MXFP4 = ("gauss", "heavy", "wide", "tiny", "ties", "blocky", "pow2edge")
NVFP4 = ("gauss", "heavy", "wide", "tiny", "ties", "blocky")
HIF8_CASES = ("gauss", "heavy", "wide", "ties")


@pytest.fixture
def golden(shared_dir):
    """Reads a golden file by name; skips where there is none."""

    def read(name: str) -> dict[str, np.ndarray]:
        file = shared_dir / "golden" / f"{name}.npz"
        if not file.is_file():
            pytest.skip(f"{file} is absent: golden vectors are not part of the repository")
        with np.load(file) as arrays:
            return dict(arrays)

    return read


@pytest.fixture(params=["auto", "numpy"])
def backend(request) -> str:
    """What encodes and decodes; both must give the reference's bits."""
    return request.param


def test_every_file_is_used(shared_dir):
    used = {
        "hif4_special_f32",
        "hif8_table",
        "nvfp4_rht16_f32",
        "nvfp4_weight2d_f32",
        *(f"hif4_{c}" for c in HIF4),
        *(f"mxfp4_{c}_f32" for c in MXFP4),
        *(f"nvfp4_{c}_f32" for c in NVFP4),
        *(f"hif8_{c}_f32" for c in HIF8_CASES),
    }
    assert {file.stem for file in (shared_dir / "golden").glob("*.npz")} == used


@pytest.mark.parametrize("case", HIF4)
def test_hif4(golden, backend, case):
    want = golden(f"hif4_{case}")
    tensor = quantize(want["x"], "hif4", backend=backend)
    blocks = tensor.unpacked()
    np.testing.assert_array_equal(tensor.dequantize(backend), want["dq"])
    np.testing.assert_array_equal(E6M2[blocks.scales[:, :, 0]], want["e6m2"])
    micro = np.unpackbits(blocks.scales[:, :, 1:], axis=2, bitorder="little")
    np.testing.assert_array_equal(micro[:, :, :8], want["e1_8"])
    np.testing.assert_array_equal(micro[:, :, 8:], want["e1_16"])
    np.testing.assert_array_equal((blocks.codes & 7) / 4, want["s1p2_mag"])
    np.testing.assert_array_equal(blocks.codes >> 3 == 1, want["sign"] < 0)


def test_hif4_non_finite(golden, backend):
    """The authors' NumPy and torch versions disagree on infinities: our two policies. Where their CUDA source lets NaN
    through, which depends on the NaN's position, is not followed."""
    want = golden("hif4_special_f32")
    nan, saturate = (quantize(want["x"], "hif4", non_finite=policy, backend=backend) for policy in ("nan", "saturate"))
    np.testing.assert_array_equal(nan.dequantize(backend), want["dq_numpy"])
    np.testing.assert_array_equal(saturate.dequantize(backend), want["dq_torch"])
    has_nan = np.isnan(want["x"]).any(axis=1)
    np.testing.assert_array_equal(saturate.dequantize(backend)[~has_nan], want["dq_cudasrc"][~has_nan])


@pytest.mark.parametrize("case", MXFP4)
@pytest.mark.parametrize(("rule", "prefix"), [("floor", "floor"), ("ceil", "rceil")])
def test_mxfp4(golden, backend, case, rule, prefix):
    want = golden(f"mxfp4_{case}_f32")
    tensor = quantize(want["x"], "mxfp4", scale_rule=rule, backend=backend)
    blocks = tensor.unpacked()
    np.testing.assert_array_equal(blocks.codes, want[f"{prefix}_codes"])
    np.testing.assert_array_equal(blocks.scales[:, :, 0], want[f"{prefix}_scale"])
    np.testing.assert_array_equal(tensor.dequantize(backend), want[f"{prefix}_dq"])


@pytest.mark.parametrize("case", MXFP4)
@pytest.mark.parametrize(("ties", "array"), [("even", "mxc_even_dq"), ("away", "mxc_nearest_dq")])
def test_mxfp4_against_microxcaling(golden, backend, case, ties, array):
    want = golden(f"mxfp4_{case}_f32")
    ours = quantize(want["x"], "mxfp4", ties=ties, backend=backend).dequantize(backend)
    agrees = (ours == want[array]).reshape(len(ours), -1, 32).all(axis=2)
    # MXC takes log2 in float32: a peak just below a power of two counts as that power, and the scale is twice too
    # large. The file pow2edge is made of such peaks; floor_* is right there.
    mantissa, _ = np.frexp(np.abs(want["x"]).reshape(len(ours), -1, 32).max(axis=2))
    assert agrees[mantissa < 1 - 2.0**-20].all()
    assert agrees.all() == (case != "pow2edge")


def check_nvfp4(want, backend, x, prefix, suffix="", **options):
    tensor = quantize(x, "nvfp4", backend=backend, **options)
    blocks = tensor.unpacked()
    np.testing.assert_array_equal(blocks.codes, want[f"{prefix}_codes{suffix}"])
    np.testing.assert_array_equal(blocks.scales[:, :, 0], want[f"{prefix}_scale{suffix}"])
    np.testing.assert_array_equal(tensor.dequantize(backend), want[f"{prefix}_dq{suffix}"])
    return tensor


@pytest.mark.parametrize("case", NVFP4)
def test_nvfp4(golden, backend, case):
    want = golden(f"nvfp4_{case}_f32")
    te = check_nvfp4(want, backend, want["x"], "te")
    ao = check_nvfp4(want, backend, want["x"], "ao2", reference="ao")
    one = check_nvfp4(want, backend, want["x"], "ao1", reference="ao", scaling="block")
    assert te.tensor_scale == np.float32(want["te_amax"].item()) / np.float32(2688)
    assert ao.tensor_scale == want["ao2_pts"].item()
    assert one.tensor_scale == 1


def test_nvfp4_weights_and_their_transposes(golden, backend):
    want = golden("nvfp4_weight2d_f32")
    check_nvfp4(want, backend, want["x"], "te", tile="16x16")
    check_nvfp4(want, backend, want["x"].T, "te", "_t", tile="16x16")
    np.testing.assert_array_equal(want["te_dq"].T, want["te_dq_t"])


def test_nvfp4_after_a_hadamard_transform(golden, backend):
    want = golden("nvfp4_rht16_f32")
    transform = RandomHadamard(16, signs=TE_SIGNS)
    np.testing.assert_array_equal(transform.matrix, want["H"])
    transformed = transform(want["x"].T)
    np.testing.assert_array_equal(transformed, want["x_t_rht"])
    check_nvfp4(want, backend, transformed, "te", "_t")


@pytest.mark.parametrize("case", HIF8_CASES)
def test_hif8(golden, backend, case):
    want = golden(f"hif8_{case}_f32")
    tensor = quantize(want["x"], "hif8", backend=backend)
    np.testing.assert_array_equal(tensor.codes.reshape(want["codes"].shape), want["codes"])
    np.testing.assert_array_equal(tensor.dequantize(backend), want["dq"])


def test_hif8_table(golden):
    np.testing.assert_array_equal(HIF8, golden("hif8_table")["values"])
