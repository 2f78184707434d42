"""int8 and int4: codes against onnxruntime's QuantizeLinear, scales and zero points by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lowbit_cases import UNTIMED, quantize
from onnx import TensorProto, helper

matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 20)),
    elements=st.one_of(st.floats(-(2.0**60), 2.0**60, width=32), st.integers(-300, 300).map(lambda n: n / 2)),
)


def onnx_session(symmetric: bool, axis: int) -> onnxruntime.InferenceSession:
    kind = TensorProto.INT8 if symmetric else TensorProto.UINT8
    shape = ["s"] if axis == 0 else []
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["code"], axis=0),
            helper.make_node("DequantizeLinear", ["code", "scale", "zero"], ["value"], axis=0),
        ],
        "integers",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["r", "n"]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("zero", kind, shape),
        ],
        [
            helper.make_tensor_value_info("code", kind, ["r", "n"]),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["r", "n"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    one_thread = onnxruntime.SessionOptions()
    one_thread.intra_op_num_threads = one_thread.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), one_thread, providers=["CPUExecutionProvider"])


SESSIONS = {(s, a): onnx_session(s, a) for s in (True, False) for a in (0, -1)}


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@given(x=matrices)
@UNTIMED
def test_int8_equals_onnxruntime_under_the_same_scales(symmetric, granularity, x):
    tensor = quantize(x, "int8", granularity=granularity, symmetric=symmetric)
    scale = tensor.scales[:, 0, :4].copy().view("<f4")[:, 0]
    zero = np.zeros(len(scale), np.int8) if symmetric else tensor.scales[:, 0, 4].copy()
    axis = 0 if granularity == "channel" else -1
    if axis < 0:
        scale, zero = scale.reshape(()), zero.reshape(())
    code, value = SESSIONS[symmetric, axis].run(None, {"x": x, "scale": scale, "zero": zero})
    np.testing.assert_array_equal(tensor.unpacked().codes, code.view(np.uint8))
    np.testing.assert_array_equal(tensor.dequantize(), value)


def nearest_even(x: Fraction) -> int:
    return round(x)


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize(("format", "top"), [("int8", 127), ("int4", 7)])
def test_symmetric_scales_and_codes(format, top, granularity, rng):
    x = np.round(rng.standard_normal((3, 2, 12)) * 40).astype(np.float32)
    x[1] = 0
    tensor = quantize(x, format, granularity=granularity, group_size=8)
    shares = {
        "tensor": [x],
        "channel": list(x),
        "group": [row[start : start + 8] for row in x.reshape(6, 12) for start in (0, 8)],
    }[granularity]
    scale = [np.abs(share).max() / np.float32(top) or np.float32(1) for share in shares]
    np.testing.assert_array_equal(tensor.scales.reshape(-1, 4).copy().view("<f4")[:, 0], scale)
    codes, bits = tensor.unpacked().codes.astype(int), 8 if format == "int8" else 4
    codes = np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes).reshape(-1)
    of_value = np.concatenate([np.full(share.size, s) for share, s in zip(shares, scale, strict=True)])
    want = [nearest_even(Fraction(float(v / s))) for v, s in zip(x.reshape(-1), of_value, strict=True)]
    np.testing.assert_array_equal(codes, np.clip(want, -top, top))


@pytest.mark.parametrize(
    ("format", "values", "scale", "zero", "codes"),
    [
        ("int8", [-2.5, 252.5, 0, 0.5, 1.5], 1, 2, [0, 254, 2, 2, 4]),  # ties to even, zero point too
        ("int8", [-3.5, 251.5], 1, 4, [0, 255]),  # -3.5 -> -4, 251.5 -> 252, and 256 is cut off
        ("int8", [10, 510], 2, 0, [5, 255]),  # the range is widened to 0
        ("int8", [-510, -10], 2, 255, [0, 250]),
        ("int4", [-1, 14, 6.4], 1, 1, [0, 15, 7]),
        ("int4", [0, 0], 1, 0, [0, 0]),
    ],
)
def test_zero_points_by_hand(format, values, scale, zero, codes):
    tensor = quantize(np.array(values, dtype=np.float32), format, granularity="tensor", symmetric=False)
    assert tensor.scales.tobytes() == np.float32(scale).tobytes() + bytes([zero])
    assert tensor.unpacked().codes[0].tolist() == codes
    assert tensor.dequantize().tolist() == [(code - zero) * scale for code in codes]


def test_ends_of_the_range_of_float32():
    """A width beyond float32, whose scale is not; and scales below float32, which become 1."""
    largest = np.float32(0.9) * np.finfo(np.float32).max
    wide = quantize(np.array([-largest, largest]), "int8", symmetric=False)
    assert np.isfinite(wide.dequantize()).all()
    assert wide.dequantize()[1] == pytest.approx(largest, rel=0.01)
    tiny = quantize(np.array([1e-45, -1e-45], dtype=np.float32), "int8")
    assert tiny.scales.tobytes() == np.float32(1).tobytes()
    assert not tiny.dequantize().any()
