"""Relus that rounding makes needless: codes from a zero point of 0 on cannot be negative anyway."""

from __future__ import annotations

import onnx
from onnx import numpy_helper


def drop_relus(model: onnx.ModelProto) -> None:
    """Takes out, in place, every Relu that only QuantizeLinear nodes of zero point 0 read. The codes stay the same.

    onnxruntime's quantiser does this where it rounds a Relu's output as a result; these are the ones whose output is
    rounded as an operand.
    """
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    outputs = {value.name for value in graph.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def from_zero_on(node: onnx.NodeProto, name: str) -> bool:
        if node.op_type != "QuantizeLinear" or node.input[0] != name or len(node.input) < 3:
            return False
        zero = constants.get(node.input[2])
        return zero is not None and zero.data_type == onnx.TensorProto.UINT8 and not numpy_helper.to_array(zero).any()

    needless = [
        node
        for node in graph.node
        if node.op_type == "Relu"
        and node.output[0] not in outputs
        and readers.get(node.output[0])
        and all(from_zero_on(reader, node.output[0]) for reader in readers[node.output[0]])
    ]
    for node in needless:
        for reader in readers[node.output[0]]:
            reader.input[0] = node.input[0]
        graph.node.remove(node)
