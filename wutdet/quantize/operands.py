"""Convolutions that compute with 8-bit operands and give floats: their input and weights are rounded, nothing else is.

A fully quantised layer with a SiLU is rounded three times more: its sum, the sigmoid and the product. Where a network
does not bear that (``Int8Settings``), an integer engine still runs the layer in its fastest way, and a runtime that
looks for integers in and out runs it in float.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from wutdet.errors import ExportError

#: One step of an 8-bit picture as it enters the network; with it, rounding the network's input changes nothing.
PICTURE_STEP = 1 / 255


def round_operands(
    model: onnx.ModelProto,
    convolutions: Collection[str],
    ranges: Mapping[str, tuple[float, float]],
    keep: Collection[str] = (),
    reduce_range: bool = False,
) -> onnx.ModelProto:
    """A copy of the graph in which the operands of some convolutions are rounded.

    Args:
        model: graph, perhaps with other layers quantised already; inputs that are decoded 8-bit values stay so.
        convolutions: names of nodes.
        ranges: lowest and highest value by tensor. The graph's input needs none: it is a picture in 0..1.
        keep: initialisers that stay as they are, weights of some of these convolutions.
        reduce_range: 7 bits for weights.

    Raises:
        ExportError: an input has no range, or a name is that of no convolution with constant weights.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph = out.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    picture = graph.input[0].name
    nodes: list[onnx.NodeProto] = []
    decoded: dict[str, str] = {}
    left = set(convolutions)
    for node in graph.node:
        if node.name in left and node.op_type == "Conv":
            left.discard(node.name)
            source, weight = node.input[0], node.input[1]
            before = producer.get(source)
            if before is None or before.op_type != "DequantizeLinear":
                if source not in decoded:
                    scale, zero = (PICTURE_STEP, 0) if source == picture else _grid(source, ranges)
                    nodes += _pair(graph, source, np.float32(scale), np.uint8(zero))
                    decoded[source] = nodes[-1].output[0]
                node.input[0] = decoded[source]
            if weight in weights and weight not in keep:
                nodes.append(_weight(graph, weights[weight], 64 if reduce_range else 127))
                node.input[1] = nodes[-1].output[0]
        nodes.append(node)
    if left:
        raise ExportError(f"{len(left)} convolutions are not in the graph, first '{min(left)}'")
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    return out


def _grid(name: str, ranges: Mapping[str, tuple[float, float]]) -> tuple[float, int]:
    """Scale and zero point of uint8 codes that reach from the lowest to the highest value, with an exact zero."""
    if name not in ranges:
        raise ExportError(f"activation '{name}' has no measured range")
    low, high = min(ranges[name][0], 0.0), max(ranges[name][1], 0.0)
    if high <= low:
        return 1.0, 0
    scale = (high - low) / 255
    return scale, round(-low / scale)


def _pair(graph: onnx.GraphProto, name: str, scale: np.float32, zero: np.uint8) -> list[onnx.NodeProto]:
    parameters = [f"{name}_operand_scale", f"{name}_operand_zero_point"]
    graph.initializer.append(numpy_helper.from_array(np.asarray(scale), parameters[0]))
    graph.initializer.append(numpy_helper.from_array(np.asarray(zero), parameters[1]))
    codes, values = f"{name}_operand_codes", f"{name}_operand"
    return [
        helper.make_node("QuantizeLinear", [name, *parameters], [codes], name=f"{name}_operand_QuantizeLinear"),
        helper.make_node("DequantizeLinear", [codes, *parameters], [values], name=f"{name}_operand_DequantizeLinear"),
    ]


def _weight(graph: onnx.GraphProto, tensor: onnx.TensorProto, largest_code: int) -> onnx.NodeProto:
    """Stores a weight [out, ...] as int8 with a scale for every output channel; gives the node that decodes it."""
    values = numpy_helper.to_array(tensor)
    largest = np.abs(values).reshape(len(values), -1).max(axis=1)
    scale = np.where(largest > 0, largest / np.float32(largest_code), 1).astype(np.float32)
    codes = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1)))
    codes = np.clip(codes, -largest_code, largest_code).astype(np.int8)
    name = tensor.name
    graph.initializer.append(numpy_helper.from_array(codes, f"{name}_operand_codes"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_operand_scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_operand_zero_point"))
    names = [f"{name}_operand_{part}" for part in ("codes", "scale", "zero_point")]
    return helper.make_node("DequantizeLinear", names, [f"{name}_operand"], name=f"{name}_DequantizeLinear", axis=0)
