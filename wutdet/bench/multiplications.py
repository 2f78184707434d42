"""Multiply-adds of one frame, counted on the graph."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import onnx.inliner


def multiplications(file: Path) -> int:
    """Multiply-adds of all convolutions and matrix products of an ONNX file of fixed shape.

    Padding counts as if it were multiplied, as everyone counts.
    """
    model = onnx.load(file)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total
