"""Convolutions with 8-bit operands and float results: what is put into the graph, and what onnxruntime makes of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_graphs import float_graph

from wutdet.errors import ExportError
from wutdet.quantize.operands import round_operands

RANGES = {"h": (-0.5, 2.0)}


def two_convolutions(rng) -> onnx.ModelProto:
    """conv, clip to what ``RANGES`` says, conv."""
    tensors = {
        "w1": rng.normal(size=(4, 3, 3, 3)), "b1": rng.normal(size=4), "low": np.array(-0.5), "high": np.array(2.0),
        "w2": rng.normal(size=(5, 4, 1, 1)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c1", "low", "high"], ["h"], name="clip"),
        helper.make_node("Conv", ["h", "w2"], ["y"], name="two"),
    ]
    return float_graph(nodes, tensors, [1, 3, 8, 8], [1, 5, 8, 8])


def values(model: onnx.ModelProto, name: str, x: np.ndarray) -> np.ndarray:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()  # node by node: onnxruntime would round float weights between Q and DQ too
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([name], {"images": x})[0]


def picture(rng) -> np.ndarray:
    return rng.integers(0, 256, (1, 3, 8, 8)).astype(np.float32) / 255


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def test_operands_are_8_bit_and_the_result_stays_float(rng):
    model = two_convolutions(rng)
    out = round_operands(model, ["one", "two"], RANGES)
    onnx.checker.check_model(out, full_check=True)
    assert [n.op_type for n in out.graph.node if n.op_type in ("QuantizeLinear", "Conv", "Clip")] == [
        "QuantizeLinear", "Conv", "Clip", "QuantizeLinear", "Conv",
    ]  # fmt: skip
    constants, before = constants_of(out), constants_of(model)
    producer = {name: node for node in out.graph.node for name in node.output}
    for node in out.graph.node:
        if node.op_type == "Conv":
            data, weight = producer[node.input[0]], producer[node.input[1]]
            assert constants[data.input[2]].dtype == np.uint8 and constants[weight.input[0]].dtype == np.int8
            scale = constants[weight.input[1]]
            floats = before["w1" if node.name == "one" else "w2"]
            decoded = constants[weight.input[0]] * scale[:, None, None, None]
            assert np.abs(decoded - floats).max() <= scale.max() / 2 * 1.0001
            assert np.abs(constants[weight.input[0]]).max() == 127
    assert "w1" not in constants and "w2" not in constants


def test_a_picture_passes_unchanged_and_an_activation_within_half_a_step(rng):
    model, x = two_convolutions(rng), picture(rng)
    only_inputs = round_operands(model, ["one", "two"], RANGES, keep={"w1", "w2"})
    np.testing.assert_allclose(values(only_inputs, "images_operand", x), x, atol=1e-7)
    # The first convolution sees the same picture, so what is rounded afterwards is the float graph's activation.
    wanted, got = values(model, "h", x), values(only_inputs, "h_operand", x)
    step = 2.5 / 255
    assert 0 < np.abs(got - wanted).max() <= step / 2 * 1.001 + 1e-6
    kept = constants_of(only_inputs)
    np.testing.assert_array_equal(kept["w2"], constants_of(model)["w2"])


def test_one_input_is_rounded_once_for_all_its_readers(rng):
    model = two_convolutions(rng)
    model.graph.node.append(helper.make_node("Conv", ["h", "w2"], ["z"], name="three"))
    out = round_operands(model, ["two", "three"], RANGES, keep={"w2"})
    pairs = [n for n in out.graph.node if n.op_type == "QuantizeLinear"]
    assert [n.input[0] for n in pairs] == ["h"]
    again = round_operands(out, ["two"], {}, keep={"w2"})  # an input of decoded codes needs no range
    assert len(again.graph.node) == len(out.graph.node)


def test_seven_bits(rng):
    out = round_operands(two_convolutions(rng), ["one"], RANGES, reduce_range=True)
    assert max(np.abs(v).max() for v in constants_of(out).values() if v.dtype == np.int8) == 64


def test_what_cannot_be_rounded(rng):
    model = two_convolutions(rng)
    with pytest.raises(ExportError, match="'h' has no measured range"):
        round_operands(model, ["two"], {})
    with pytest.raises(ExportError, match="'stranger'"):
        round_operands(model, ["one", "stranger"], RANGES)
