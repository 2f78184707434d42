"""A graph with less text in it: beside low-bit weights, names and attributes that say nothing are a tenth of a file."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

import onnx

#: Attributes of operators that may be left out where they have these values (ONNX operators, sets 13 to 24).
_IMPLIED = {
    "Conv": {"auto_pad": b"NOTSET", "dilations": [1, 1], "group": 1, "strides": [1, 1], "pads": [0, 0, 0, 0]},
    "MaxPool": {"auto_pad": b"NOTSET", "ceil_mode": 0, "dilations": [1, 1], "storage_order": 0},
    "Resize": {"cubic_coeff_a": -0.75, "exclude_outside": 0, "extrapolation_value": 0.0},
}


def compact(model: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto:
    """The same graph, its nodes and inner tensors numbered, without inferred shapes and attributes that are implied.

    Args:
        model: not changed.
        keep: tensors and nodes that keep their names, beside the graph's inputs and outputs.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph = out.graph
    del graph.value_info[:]
    kept = {*keep, *(value.name for value in (*graph.input, *graph.output)), ""}
    free = (name for name in map(str, count()) if name not in kept)
    names: dict[str, str] = {}

    def renamed(name: str) -> str:
        if name in kept:
            return name
        if name not in names:
            names[name] = next(free)
        return names[name]

    for number, node in enumerate(graph.node):
        node.name = node.name if node.name in keep else str(number)
        node.ClearField("doc_string")
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        implied = _IMPLIED.get(node.op_type, {}) if node.domain == "" else {}
        said = [a for a in node.attribute if implied.get(a.name) != onnx.helper.get_attribute_value(a)]
        del node.attribute[:]
        node.attribute.extend(said)
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
        tensor.ClearField("doc_string")
    return out
