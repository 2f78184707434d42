"""Common scales: which tensors share one, and how many bits that costs them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wutdet.quantize.error import graph_error
from wutdet.quantize.ptq import Int8Settings, float_nodes, groups_to_tie, quantise_int8
from wutdet.quantize.ranges import activation_ranges
from wutdet.quantize.ties import tie_cost, tie_ranges, tied_groups


def graph(*nodes) -> onnx.ModelProto:
    shape = [1, 2, 4, 4]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "abcd"]
    constant = numpy_helper.from_array(np.ones((1, 2, 1, 1), np.float32), "k")
    made = [
        helper.make_node(op, inputs_, outputs, name=f"n{i}", **({"axis": 1} if op in ("Concat", "Split") else {}))
        for i, (op, inputs_, outputs) in enumerate(nodes)
    ]
    return helper.make_model(helper.make_graph(made, "g", inputs, [], [constant]))


def groups_of(model, joins, skip=()) -> set[frozenset[str]]:
    return {frozenset(group) for group in tied_groups(model, skip, joins)}


def test_groups_are_joined_through_nodes_and_movers():
    model = graph(
        ("Concat", ["a", "b"], ["ab"]),
        ("MaxPool", ["ab"], ["p"]),
        ("Sigmoid", ["p"], ["s"]),
        ("Concat", ["s", "c"], ["sc"]),
        ("Add", ["c", "d"], ["cd"]),
        ("Add", ["d", "k"], ["dk"]),
    )
    joined, behind = frozenset({"a", "b", "ab", "p"}), frozenset({"s", "c", "sc"})
    assert groups_of(model, ["Concat"]) == {joined, behind}
    # An addition ties its group to that of the concatenation; a constant is no activation.
    assert groups_of(model, ["Concat", "Add"]) == {joined, behind | {"d", "cd", "dk"}}
    assert groups_of(model, ["Add"]) == {frozenset({"ab", "p"}), frozenset({"c", "d", "cd", "dk"})}
    assert groups_of(model, ["Concat"], skip={"n3"}) == {joined}


def test_bits_lost():
    ranges = {"a": (-1.0, 1.0), "b": (0.5, 4.0), "ab": (-4.0, 4.0), "z": (0.0, 0.0), "lone": (0.0, 9.0)}
    groups = [["a", "b", "ab"], ["z", "not measured"]]
    tied = tie_ranges(ranges, groups)
    assert tied["a"] == tied["b"] == (-4.0, 4.0) and tied["lone"] == (0.0, 9.0)
    cost = tie_cost(ranges, groups)
    assert cost.tensors == ("a", "b", "ab", "z")
    # b begins at zero, which codes must hold: [0, 4] in [-4, 4].
    np.testing.assert_allclose(cost.bits_lost, [2, 1, 0, 0])
    assert cost.worst == 2 and cost.mean == 0.75
    assert "4 tensors share 2 scales: 2.00 bits" in cost.to_text() and "[-1, 1] in [-4, 4]  a" in cost.to_text()
    nothing = tie_cost(ranges, [])
    assert nothing.worst == nothing.mean == 0


@pytest.mark.parametrize("settings", [Int8Settings(tie_add=True), Int8Settings(tie_concat=False)])
def test_scales_in_the_graph_are_those_that_settings_ask_for(settings, artefact):
    model = onnx.load(artefact("yolo26n", "nms", "fp32"))
    frame = np.random.default_rng(0).random((1, 3, 160, 160), dtype=np.float32)
    ranges = activation_ranges(model, [frame], "minmax")
    quantised = quantise_int8(model, ranges, settings)
    constants = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    scale = {n.output[0]: constants[n.input[1]] for n in quantised.graph.node if n.op_type == "DequantizeLinear"}
    equal = {"Concat": [], "Add": []}
    keep_float = float_nodes(model, settings)
    for node in quantised.graph.node:
        if node.op_type in equal and node.name not in keep_float:
            scales = [float(scale[name]) for name in node.input if name in scale]
            if len(scales) > 1:
                equal[node.op_type].append(len(set(scales)) == 1)
    assert len(equal["Concat"]) > 5 and len(equal["Add"]) > 5
    assert all(equal["Concat"]) == settings.tie_concat
    assert all(equal["Add"]) == settings.tie_add
    cost = tie_cost(ranges, groups_to_tie(model, settings))
    assert (cost.worst > 0) == settings.tie_concat
    assert graph_error(model, [quantised], [frame])[0].mean > 0
    assert graph_error(model, [model], [frame])[0].mean == 0
