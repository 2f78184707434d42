"""Anchors as a few operators instead of constants: a twentieth of an int8 file for large frames says only "a grid"."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def generate_anchors(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the grid points and strides of its decoding made by operators, which runtimes fold at load.

    Args:
        model: graph of a fixed input [1, 3, H, W]; not changed. Where it holds no such constants, nothing happens.

    Returns:
        A graph whose values are the same bits.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph = out.graph
    dims = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    constants = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    strides = _strides(constants, dims[2:])
    if strides is None:
        return out
    name, levels = strides
    sizes = [(dims[2] // stride, dims[3] // stride) for stride in levels]
    grid = np.concatenate([_grid(*size) for size in sizes], axis=2)
    prefix = "anchors"
    while any(t.startswith(prefix) for node in graph.node for t in node.output):
        prefix += "_"
    small: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(label: str, value: np.ndarray) -> str:
        small.append(numpy_helper.from_array(value, f"{prefix}/{label}"))
        return small[-1].name

    def node(op: str, inputs: list[str], label: str, **attributes) -> str:
        nodes.append(helper.make_node(op, inputs, [f"{prefix}/{label}"], f"{prefix}/{label}", **attributes))
        return nodes[-1].output[0]

    points, steps = [], []
    for number, (stride, (rows, columns)) in enumerate(zip(levels, sizes, strict=True)):
        size = constant(f"{number}/size", np.array([1, 1, rows, columns]))
        x = constant(f"{number}/columns", np.arange(columns, dtype=np.float32).reshape(1, 1, 1, -1) + np.float32(0.5))
        y = constant(f"{number}/rows", np.arange(rows, dtype=np.float32).reshape(1, 1, -1, 1) + np.float32(0.5))
        both = [node("Expand", [x, size], f"{number}/x"), node("Expand", [y, size], f"{number}/y")]
        both = node("Concat", both, f"{number}/xy", axis=1)
        flat = constant(f"{number}/flat", np.array([1, 2, rows * columns]))
        points.append(node("Reshape", [both, flat], f"{number}/points"))
        count = constant(f"{number}/count", np.array([1, rows * columns]))
        stride = constant(f"{number}/stride", np.array([[stride]], dtype=np.float32))
        steps.append(node("Expand", [stride, count], f"{number}/strides"))
    made = {name: node("Concat", steps, "strides", axis=1)}
    grids = [other for other, tensor in constants.items() if _equals(tensor, grid)]
    if grids:
        made |= dict.fromkeys(grids, node("Concat", points, "points", axis=2))
    for one in graph.node:
        one.input[:] = [made.get(value, value) for value in one.input]
    before = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *before])
    used = {value for one in graph.node for value in one.input}
    kept = [t for t in (*graph.initializer, *small) if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return out


def _grid(rows: int, columns: int) -> np.ndarray:
    """float32 [1, 2, rows * columns]: x and y of the cells' middles."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32) + np.float32(0.5)
    return np.stack([x.ravel(), y.ravel()])[None]


def _equals(tensor: onnx.TensorProto, values: np.ndarray) -> bool:
    return tuple(tensor.dims) == values.shape and np.array_equal(numpy_helper.to_array(tensor), values)


def _strides(constants: dict, input_hw: list[int]) -> tuple[str, list[int]] | None:
    """Name of the constant [1, N] with every anchor's stride, and the strides in its order; None without one."""
    for name, tensor in constants.items():
        if len(tensor.dims) != 2 or tensor.dims[0] != 1:
            continue
        values = numpy_helper.to_array(tensor)[0]
        starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
        levels = values[starts]
        if not len(levels) or (levels < 1).any() or (levels != np.rint(levels)).any():
            continue
        levels = [int(level) for level in levels]
        counts = [(input_hw[0] // level) * (input_hw[1] // level) for level in levels]
        if counts == np.diff(starts, append=len(values)).tolist():
            return name, levels
    return None
