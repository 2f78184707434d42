"""ReLUs in int8: where codes cannot be negative, they go, and the codes stay what they were."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from wutdet.quantize.relu import drop_relus


def graph(zero_point: int, second_reader: str | None = None) -> onnx.ModelProto:
    """x -> Relu -> QuantizeLinear -> codes, and perhaps a second reader of what the Relu gives."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["codes"]),
    ]
    outputs = [helper.make_tensor_value_info("codes", TensorProto.UINT8, [1, 64])]
    if second_reader:
        nodes.append(helper.make_node(second_reader, ["r"], ["other"]))
        outputs.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 64]))
    constants = [numpy_helper.from_array(np.float32(0.05), "scale"),
                 numpy_helper.from_array(np.uint8(zero_point), "zero")]  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])
    return helper.make_model(helper.make_graph(nodes, "g", [x], outputs, constants), ir_version=8,
                             opset_imports=[helper.make_opsetid("", 17)])  # fmt: skip


def codes(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["codes"], {"x": x})[0]


def test_a_relu_before_codes_from_zero_on_goes(rng):
    model, x = graph(0), rng.normal(0, 6, (1, 64)).astype(np.float32)
    wanted = codes(model, x)
    drop_relus(model)
    assert [node.op_type for node in model.graph.node] == ["QuantizeLinear"]
    np.testing.assert_array_equal(codes(model, x), wanted)
    assert (wanted == 0).any() and (wanted == 255).any()


@pytest.mark.parametrize(("zero_point", "second_reader"), [(3, None), (0, "Exp")])
def test_a_relu_that_something_else_depends_on_stays(zero_point, second_reader):
    model = graph(zero_point, second_reader)
    drop_relus(model)
    assert "Relu" in [node.op_type for node in model.graph.node]


def test_a_relu_whose_output_is_the_graphs_stays():
    model = graph(0)
    model.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 64]))
    drop_relus(model)
    assert "Relu" in [node.op_type for node in model.graph.node]
