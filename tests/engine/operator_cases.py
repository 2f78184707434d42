"""Random small graphs of one operator each, with inputs: for tests against onnxruntime, and as seeds for fuzzing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Case:
    """A model and what to feed it, in the order of its inputs."""

    model: onnx.ModelProto
    feeds: list[np.ndarray]


def graph_of(
    nodes: list[onnx.NodeProto],
    feeds: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    outputs: dict[str, type],
    opset: int = 17,
) -> Case:
    """A model of nodes; output shapes are left open."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    results = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), None)
        for name, kind in outputs.items()
    ]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, results, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return Case(model, list(feeds.values()))


def one(op, feeds, constants=None, outputs=None, opset=17, operands=None, **attributes) -> Case:
    """A model of one node whose inputs are the feeds and then the constants, in this order unless ``operands`` says."""
    constants, outputs = constants or {}, outputs or {"y": np.float32}
    node = helper.make_node(op, operands or [*feeds, *constants], list(outputs), name="node", **attributes)
    return graph_of([node], feeds, constants, outputs, opset)


def _shape(rng, axes=None, most=5) -> tuple[int, ...]:
    axes = int(rng.integers(1, 5)) if axes is None else axes
    return tuple(int(size) for size in rng.integers(1, most + 1, axes))


def _floats(rng, shape) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape) * 3, np.float32)


def _broadcast_pair(rng) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = _shape(rng)
    a = [size if rng.random() < 0.7 else 1 for size in shape]
    b = [
        size if size == a[i] and rng.random() < 0.7 else (shape[i] if a[i] == 1 else 1) for i, size in enumerate(shape)
    ]
    return tuple(a), tuple(b[int(rng.integers(0, len(b) + 1)) :])


def _numbers(rng, shape, kind) -> np.ndarray:
    return _floats(rng, shape) if kind == np.float32 else np.asarray(rng.integers(-9, 10, shape), kind)


def _arithmetic(op):
    def make(rng) -> Case:
        a, b = _broadcast_pair(rng)
        kind = [np.float32, np.int32, np.int64][int(rng.integers(3))]
        first, second = _numbers(rng, a, kind), _numbers(rng, b, kind)
        if op in ("Div", "Mod"):
            second = np.asarray(np.where(second == 0, 1, second), kind)
        attributes = {"fmod": int(kind == np.float32 or rng.random() < 0.5)} if op == "Mod" else {}
        return one(op, {"a": first, "b": second}, outputs={"y": kind}, **attributes)

    return make


def _sigmoid(rng) -> Case:
    return one("Sigmoid", {"x": _floats(rng, _shape(rng)) * 5})


def _relu(rng) -> Case:
    return one("Relu", {"x": _floats(rng, _shape(rng))})


def _leaky_relu(rng) -> Case:
    slope = {} if rng.random() < 0.3 else {"alpha": float(rng.choice([0.1, 0.3, 1.5, -0.5]))}
    return one("LeakyRelu", {"x": _floats(rng, _shape(rng))}, **slope)


def _cast(rng) -> Case:
    kinds = [np.float32, np.uint8, np.int8, np.int32, np.int64, np.bool_]
    source, target = kinds[int(rng.integers(6))], kinds[int(rng.integers(6))]
    x = rng.integers(0, 100, _shape(rng)).astype(source)
    return one("Cast", {"x": x}, outputs={"y": target}, to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))


def _concat(rng) -> Case:
    shape = _shape(rng)
    axis = int(rng.integers(len(shape)))
    feeds = {}
    for index in range(int(rng.integers(1, 4))):
        part = list(shape)
        part[axis] = int(rng.integers(1, 5))
        feeds[f"x{index}"] = _floats(rng, part)
    return one("Concat", feeds, axis=axis - len(shape) * int(rng.integers(2)))


def _constant(rng) -> Case:
    value = numpy_helper.from_array(rng.integers(-5, 5, _shape(rng)).astype(np.int64))
    nodes = [helper.make_node("Constant", [], ["c"], value=value), helper.make_node("Add", ["x", "c"], ["y"])]
    return graph_of(nodes, {"x": np.ones(1, np.int64)}, {}, {"y": np.int64})


def _constant_of_shape(rng) -> Case:
    value = numpy_helper.from_array(np.array([rng.integers(9)], np.int32))
    shape = _shape(rng)
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["c"], value=value),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    return graph_of(nodes, {"x": rng.integers(0, 5, shape).astype(np.int32)}, {}, {"y": np.int32})


def _conv(rng) -> Case:
    groups = int(rng.integers(1, 4))
    channels, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 6))
    kernel = rng.integers(1, 4, 2)
    dilations, strides, pads = rng.integers(1, 3, 2), rng.integers(1, 4, 2), rng.integers(0, 3, 4)
    size = (kernel - 1) * dilations + 1 + rng.integers(0, 9, 2)
    weight = _floats(rng, (outputs, channels // groups, *kernel))
    constants = {"w": weight} | ({"b": _floats(rng, outputs)} if rng.random() < 0.7 else {})
    return one(
        "Conv",
        {"x": _floats(rng, (int(rng.integers(1, 3)), channels, *size))},
        constants,
        group=groups,
        strides=strides.tolist(),
        pads=pads.tolist(),
        dilations=dilations.tolist(),
    )


def _deep_conv(rng) -> Case:
    """More values per sum than are worked on at once, more positions than fit into a panel."""
    channels, outputs = int(rng.integers(57, 130)), int(rng.integers(5, 12))
    constants = {"w": _floats(rng, (outputs, channels, 3, 3)) / 30, "b": _floats(rng, outputs)}
    return one("Conv", {"x": _floats(rng, (1, channels, 9, 13))}, constants, pads=[1, 1, 1, 1])


def _dequantize(rng) -> Case:
    shape = _shape(rng)
    kind = [np.uint8, np.int8, np.int32][int(rng.integers(3))]
    codes = rng.integers(0, 120, shape).astype(kind)
    axis = int(rng.integers(len(shape)))
    count = () if rng.random() < 0.5 else (shape[axis],)
    zero = np.zeros(count, np.int32) if kind == np.int32 else rng.integers(0, 100, count).astype(kind)
    constants = {"s": rng.uniform(0.01, 2, count).astype(np.float32), "z": zero}
    return one("DequantizeLinear", {"x": codes}, constants, axis=axis)


def _quantize(rng) -> Case:
    shape = _shape(rng)
    kind = [np.uint8, np.int8][int(rng.integers(2))]
    axis = int(rng.integers(len(shape)))
    count = () if rng.random() < 0.5 else (shape[axis],)
    scale = rng.uniform(0.01, 0.1, count).astype(np.float32)
    constants = {"s": scale, "z": rng.integers(0, 100, count).astype(kind)}
    return one("QuantizeLinear", {"x": _floats(rng, shape)}, constants, {"y": kind}, axis=axis)


def _quantised_conv(rng) -> Case:
    """A convolution between QuantizeLinear and DequantizeLinear, as int8 artefacts have it."""
    constants = {
        "xs": np.float32(0.05),
        "xz": np.uint8(120),
        "w": rng.integers(-128, 128, (6, 4, 3, 3)).astype(np.int8),
        "ws": rng.uniform(0.001, 0.01, 6).astype(np.float32),
        "wz": np.zeros(6, np.int8),
        "b": rng.integers(-500, 500, 6).astype(np.int32),
        "bs": np.full(6, 0.0003, np.float32),
        "bz": np.zeros(6, np.int32),
        "ys": np.float32(0.04),
        "yz": np.uint8(30),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bf"], axis=0),
        helper.make_node("Conv", ["xf", "wf", "bf"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "ys", "yz"], ["y"]),
    ]
    return graph_of(nodes, {"x": _floats(rng, (1, 4, 5, 5))}, constants, {"y": np.float32})


def _expand(rng) -> Case:
    a, b = _broadcast_pair(rng)
    return one("Expand", {"x": _floats(rng, a)}, {"shape": np.array(b, np.int64)})


def _flatten(rng) -> Case:
    shape = _shape(rng)
    return one("Flatten", {"x": _floats(rng, shape)}, axis=int(rng.integers(-len(shape), len(shape) + 1)))


def _gather(rng) -> Case:
    shape = _shape(rng)
    axis = int(rng.integers(len(shape)))
    kind = [np.int32, np.int64][int(rng.integers(2))]
    indices = rng.integers(-shape[axis], shape[axis], _shape(rng, int(rng.integers(0, 3)))).astype(kind)
    return one("Gather", {"x": _floats(rng, shape), "i": np.asarray(indices)}, axis=axis)


def _gather_elements(rng) -> Case:
    shape = _shape(rng)
    axis = int(rng.integers(len(shape)))
    where = [int(rng.integers(1, size + 1)) for size in shape]
    where[axis] = int(rng.integers(1, 7))
    indices = rng.integers(-shape[axis], shape[axis], where)
    return one("GatherElements", {"x": _floats(rng, shape), "i": indices}, axis=axis)


def _identity(rng) -> Case:
    nodes = [helper.make_node("Identity", ["x"], ["i"]), helper.make_node("Sigmoid", ["i"], ["y"])]
    return graph_of(nodes, {"x": _floats(rng, _shape(rng))}, {}, {"y": np.float32})


def _matmul(rng) -> Case:
    rows, depth, columns = rng.integers(1, 20, 3)
    batch = _broadcast_pair(rng)
    a, b = _floats(rng, (*batch[0], rows, depth)), _floats(rng, (*batch[1], depth, columns))
    return one("MatMul", {"a": a, "b": b})


def _max_pool(rng) -> Case:
    kernel = rng.integers(1, 6, 2)
    pads = [int(rng.integers(0, size)) for size in [*kernel, *kernel]]
    x = _floats(rng, (1, 2, *(kernel + rng.integers(0, 6, 2))))
    return one("MaxPool", {"x": x}, kernel_shape=kernel.tolist(), pads=pads, strides=rng.integers(1, 3, 2).tolist())


def _range(rng) -> Case:
    start, delta = int(rng.integers(-5, 5)), int(rng.choice([-3, -1, 1, 2]))
    limits = np.array(start + delta * int(rng.integers(1, 9)), np.int64)
    nodes = [helper.make_node("Range", ["s", "l", "d"], ["r"]), helper.make_node("Add", ["r", "x"], ["y"])]
    constants = {"s": np.int64(start), "l": limits, "d": np.int64(delta)}
    return graph_of(nodes, {"x": np.ones(1, np.int64)}, constants, {"y": np.int64})


def _reduce_max(rng) -> Case:
    shape = _shape(rng)
    axes = np.flatnonzero(rng.random(len(shape)) < 0.5)
    kind = [np.float32, np.int32, np.int64][int(rng.integers(3))]
    x, keep = {"x": _numbers(rng, shape, kind)}, int(rng.integers(2))
    if rng.random() < 0.5 and len(axes):
        return one("ReduceMax", x, {"axes": axes.astype(np.int64)}, {"y": kind}, opset=18, keepdims=keep)
    attributes = {"axes": axes.tolist()} if len(axes) else {}
    return one("ReduceMax", x, outputs={"y": kind}, keepdims=keep, **attributes)


def _reshape(rng) -> Case:
    shape = _shape(rng)
    order = rng.permutation(shape).tolist()
    if rng.random() < 0.5:
        order[int(rng.integers(len(order)))] = -1
    order += [1] * int(rng.integers(2))
    return one("Reshape", {"x": _floats(rng, shape)}, {"shape": np.array(order, np.int64)})


def _resize(rng) -> Case:
    shape = (1, 2, *_shape(rng, 2))
    mode = {
        "mode": "nearest",
        "coordinate_transformation_mode": str(rng.choice(["asymmetric", "half_pixel"])),
        "nearest_mode": str(rng.choice(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])),
    }
    x = {"x": _floats(rng, shape)}
    if rng.random() < 0.5:
        scales = np.array([1, 1, *rng.choice([1, 2, 3], 2)], np.float32)
        return one("Resize", x, {"s": scales}, operands=["x", "", "s"], **mode)
    sizes = np.array([1, 2, *(np.array(shape[2:]) * rng.integers(1, 4, 2))], np.int64)
    return one("Resize", x, {"s": sizes}, operands=["x", "", "", "s"], **mode)


def _slice(rng) -> Case:
    shape = _shape(rng)
    axes = np.flatnonzero(rng.random(len(shape)) < 0.7)
    starts, ends, steps = [], [], []
    for axis in axes:
        size = shape[axis]
        begin, count = int(rng.integers(size)), int(rng.integers(1, 3))
        step = int(rng.choice([-2, -1, 1, 2]))
        end = begin + step * count
        ends.append(max(end, -(2**40) if end < 0 else end) if step > 0 or end >= 0 else -(2**40))
        starts.append(begin - size if rng.random() < 0.5 else begin)
        steps.append(step)
    names = {"s": starts, "e": ends, "a": axes, "t": steps}
    constants = {name: np.array(value, np.int64) for name, value in names.items()}
    return one("Slice", {"x": _floats(rng, shape)}, constants)


def _softmax(rng) -> Case:
    shape = _shape(rng)
    return one("Softmax", {"x": _floats(rng, shape)}, axis=int(rng.integers(-len(shape), len(shape))))


def _split(rng) -> Case:
    shape = list(_shape(rng))
    axis = int(rng.integers(len(shape)))
    outputs = {f"y{i}": np.float32 for i in range(int(rng.integers(1, 4)))}
    lengths = rng.integers(1, 4, len(outputs))
    if rng.random() < 0.3:
        shape[axis] = len(outputs) * int(rng.integers(2, 4)) - 1
        return one("Split", {"x": _floats(rng, shape)}, outputs=outputs, opset=18, axis=axis, num_outputs=len(outputs))
    shape[axis] = int(lengths.sum())
    return one("Split", {"x": _floats(rng, shape)}, {"l": lengths.astype(np.int64)}, outputs, axis=axis)


def _squeeze(rng) -> Case:
    shape = [1 if rng.random() < 0.5 else size for size in _shape(rng)]
    axes = [i for i, size in enumerate(shape) if size == 1 and rng.random() < 0.7]
    return one("Squeeze", {"x": _floats(rng, shape)}, {"a": np.array(axes, np.int64)} if axes else {})


def _tile(rng) -> Case:
    shape = _shape(rng)
    return one("Tile", {"x": _floats(rng, shape)}, {"r": rng.integers(1, 4, len(shape)).astype(np.int64)})


def _top_k(rng) -> Case:
    shape = _shape(rng)
    axis = int(rng.integers(len(shape)))
    k = np.array([rng.integers(1, shape[axis] + 1)], np.int64)
    x = rng.integers(0, 4, shape).astype(np.float32)  # with ties
    outputs = {"y": np.float32, "i": np.int64}
    return one("TopK", {"x": x}, {"k": k}, outputs, axis=axis, largest=int(rng.integers(2)))


def _transpose(rng) -> Case:
    shape = _shape(rng)
    attributes = {"perm": rng.permutation(len(shape)).tolist()} if rng.random() < 0.8 else {}
    return one("Transpose", {"x": _floats(rng, shape)}, **attributes)


def _unsqueeze(rng) -> Case:
    shape = _shape(rng, int(rng.integers(1, 4)))
    count = int(rng.integers(1, 3))
    axes = rng.permutation(len(shape) + count)[:count] - (len(shape) + count) * int(rng.integers(2))
    return one("Unsqueeze", {"x": _floats(rng, shape)}, {"a": axes.astype(np.int64)})


#: Operator (or chain) to what makes a random case of it.
OPERATORS: dict[str, Callable[[np.random.Generator], Case]] = {
    **{op: _arithmetic(op) for op in ("Add", "Sub", "Mul", "Div", "Mod")},
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Conv deep": _deep_conv,
    "Conv QDQ": _quantised_conv,
    "DequantizeLinear": _dequantize,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Identity": _identity,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "QuantizeLinear": _quantize,
    "Range": _range,
    "ReduceMax": _reduce_max,
    "LeakyRelu": _leaky_relu,
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
