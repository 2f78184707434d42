"""The int8 graph: what is quantised, with what types, and what must stay float."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wutdet.errors import ExportError
from wutdet.quantize.graph import box_branches, check_boxes_and_scores_apart, head_parts, stem
from wutdet.quantize.ptq import Int8Settings, attention_nodes, operand_nodes, quantise_int8
from wutdet.quantize.ranges import SILU_FLOOR, activation_ranges, silu_inputs

HEADS = [("yolo26n", "nms"), ("yolo26n", "nms-free"), ("yolo11n", "nms")]


@pytest.mark.parametrize(("arch", "head"), HEADS)
def test_head_is_told_apart(artefact, arch, head):
    parts = head_parts(onnx.load(artefact(arch, head, "fp32")))
    assert len(parts.box_convs) == len(parts.score_convs) == 3  # one per stride
    assert all("cv2" in name for name in parts.box_convs)
    assert all("cv3" in name for name in parts.score_convs)
    assert len(parts.decode) > 10


def test_attention_stays_float(artefact):
    model = onnx.load(artefact("yolo11n", "nms", "fp32"))
    ops = {node.name: node.op_type for node in model.graph.node}
    names = attention_nodes(model)
    assert {n for n, op in ops.items() if op == "MatMul"} <= names
    assert not any(ops[n] == "Conv" for n in names)
    assert not any(n.endswith("act/Mul") for n in names)


@pytest.mark.parametrize(("arch", "head"), HEADS)
def test_types_of_the_quantised_graph(artefact, arch, head):
    model = onnx.load(artefact(arch, head, "int8"))
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    producer = {name: node for node in model.graph.node for name in node.output}
    quantised = 0
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] in producer:
            data, weight = producer.get(node.input[0]), producer.get(node.input[1])
            if weight is None:  # the fixed one of a DFL
                continue
            quantised += 1
            assert data.op_type == weight.op_type == "DequantizeLinear"
            assert constants[data.input[2]].dtype == np.uint8
            assert constants[data.input[1]].size == 1
            assert constants[weight.input[0]].dtype == np.int8
            assert constants[weight.input[1]].shape == (constants[weight.input[0]].shape[0],)
            assert not constants[weight.input[2]].any()  # symmetric
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert quantised >= convolutions - 1
    check_boxes_and_scores_apart(model)


def test_a_common_scale_for_boxes_and_scores_is_found(artefact):
    model = onnx.load(artefact("yolo26n", "nms", "int8"))
    output = model.graph.output[0].name
    last = next(node for node in model.graph.node if output in node.output)
    last.output[0] = "raw"
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(2.0), "s"), numpy_helper.from_array(np.uint8(0), "z")]
    )
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", ["raw", "s", "z"], ["q"], name="q"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], [output], name="dq"),
        ]
    )
    with pytest.raises(ExportError, match="carries boxes and scores"):
        check_boxes_and_scores_apart(model)


def test_quantised_score_logits_are_found(artefact):
    model = onnx.load(artefact("yolo26n", "nms", "int8"))
    conv = next(n for n in model.graph.node if n.name in head_parts(model).score_convs)
    name = conv.output[0]
    conv.output[0] = "raw"
    index = list(model.graph.node).index(conv)
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(2.0), "s"), numpy_helper.from_array(np.uint8(0), "z")]
    )
    model.graph.node.insert(index + 1, helper.make_node("QuantizeLinear", ["raw", "s", "z"], ["q"], name="q"))
    model.graph.node.insert(index + 2, helper.make_node("DequantizeLinear", ["q", "s", "z"], [name], name="dq"))
    with pytest.raises(ExportError, match="carries raw scores"):
        check_boxes_and_scores_apart(model)


def silu_graph():
    """y = silu(conv(x)) with a unit 1x1 convolution."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "w"], ["c"], name="conv"),
            helper.make_node("Sigmoid", ["c"], ["s"], name="sigmoid"),
            helper.make_node("Mul", ["c", "s"], ["y"], name="mul"),
        ],
        "silu",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 8, 8])],
        [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("method", ["minmax", "percentile", "l4"])
def test_ranges_cover_what_matters(rng, method):
    model = silu_graph()
    assert silu_inputs(model) == {"c"}
    inputs = [rng.normal(0, 3, (1, 1, 8, 8)).astype(np.float32) for _ in range(20)]
    inputs[7][0, 0, 0, 0] = -50
    ranges = activation_ranges(model, inputs, method)
    values = np.concatenate(inputs).ravel()
    assert ranges["c"][0] >= SILU_FLOOR
    assert ranges["images"][0] < -5
    assert ranges["c"][1] > np.quantile(values, 0.99)
    if method == "minmax":
        assert ranges["images"] == (-50, values.max())
        assert ranges["c"] == (SILU_FLOOR, values.max())


def test_no_frames_and_bad_activations_are_errors():
    with pytest.raises(ExportError, match="no calibration"):
        activation_ranges(silu_graph(), [], "minmax")
    with pytest.raises(ExportError, match="not finite"):
        activation_ranges(silu_graph(), [np.full((1, 1, 8, 8), np.nan, np.float32)], "minmax")


def test_activations_without_a_range_are_an_error(artefact):
    with pytest.raises(ExportError, match="no measured range"):
        quantise_int8(onnx.load(artefact("yolo26n", "nms", "fp32")), {})


def test_results_of_stem_box_branches_and_last_convolutions_stay_float_and_their_operands_do_not(artefact):
    float_model, int8_model = (
        onnx.load(artefact("yolo26n", "nms", number_format)) for number_format in ("fp32", "int8")
    )
    parts = head_parts(float_model)
    boxes, first = box_branches(float_model, parts), stem(float_model, 2)
    producer = {name: node for node in int8_model.graph.node for name in node.output}
    readers: dict[str, list[str]] = {}
    for node in int8_model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)

    convolutions = {node.name: node for node in int8_model.graph.node if node.op_type == "Conv"}
    for node in convolutions.values():
        assert producer[node.input[0]].op_type == producer[node.input[1]].op_type == "DequantizeLinear", node.name
    results_float = {name for name, node in convolutions.items() if "QuantizeLinear" not in readers[node.output[0]]}
    # Three convolutions in each of the three box branches, the last one of each score branch, and the stem's two.
    expected = (boxes | first | parts.score_convs) & convolutions.keys()
    assert len(expected) == 9 + 3 + 2 and parts.score_convs.isdisjoint(boxes)
    assert results_float >= expected
    assert len(results_float) < len(convolutions) / 3
    picture = producer[convolutions[min(first & convolutions.keys())].input[0]]
    constants = {t.name: numpy_helper.to_array(t) for t in int8_model.graph.initializer}
    assert constants[picture.input[1]] == np.float32(1 / 255) and constants[picture.input[2]] == 0


def test_without_rounded_operands_their_convolutions_stay_float(artefact):
    model = onnx.load(artefact("yolo26n", "nms", "fp32"))
    ranges = activation_ranges(model, [np.zeros((1, 3, 160, 160), np.float32)], "minmax")
    settings = Int8Settings(rounded_operands=False, rounded_last_operands=False)
    graph = quantise_int8(model, ranges, settings).graph
    made = {name for node in graph.node for name in node.output}
    floats = {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] not in made}
    assert floats == operand_nodes(model, Int8Settings()) and len(floats) == 14
