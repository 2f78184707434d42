"""Small graphs of pieces that the planned program runs in ways of its own: for tests, and as seeds for fuzzing."""

from __future__ import annotations

import numpy as np
from onnx import helper
from operator_cases import Case, graph_of


def rounded(name: str, scale: str, zero: str) -> list:
    """A QuantizeLinear and DequantizeLinear: from ``name`` to ``name/bytes``."""
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}/codes"]),
        helper.make_node("DequantizeLinear", [f"{name}/codes", scale, zero], [f"{name}/bytes"]),
    ]


#: Of the bytes that attention is computed on.
STEP = 0.043


def attention(rng, heads: int, key_channels: int, value_channels: int, height: int, width: int) -> Case:
    channels, pixels = 2 * key_channels + value_channels, height * width
    x = rng.normal(0, 1.5, (1, heads * channels, height, width)).astype(np.float32)
    perm = {"perm": [0, 1, 3, 2]}
    nodes = [
        *rounded("x", "scale", "zero"),
        helper.make_node("Reshape", ["x/bytes", "per_head"], ["qkv"]),
        helper.make_node("Split", ["qkv", "parts"], ["q", "k", "v"], axis=2),
        helper.make_node("Transpose", ["q"], ["q_t"], **perm),
        helper.make_node("MatMul", ["q_t", "k"], ["products"]),
        helper.make_node("Mul", ["products", "factor"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("Transpose", ["weights"], ["weights_t"], **perm),
        helper.make_node("MatMul", ["v", "weights_t"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "image"], ["y"]),
    ]
    constants = {
        "scale": np.float32(STEP),
        "zero": np.uint8(121),
        "per_head": np.array([1, heads, channels, pixels]),
        "parts": np.array([key_channels, key_channels, value_channels]),
        "factor": np.float32(key_channels**-0.5),
        "image": np.array([1, heads * value_channels, height, width]),
    }
    return graph_of(nodes, {"x": x}, constants, {"y": np.float32})


def area_attention(
    rng, areas: int, heads: int, channels: int, height: int, width: int, with_values: bool = True, rounds: bool = True
) -> Case:
    """Attention within `areas` parts of the pixels, as yolo12 is exported: pixels come first, and go last again.

    Args:
        with_values: the values are an output as well, as an image.
        rounds: on bytes; else on floats.
    """
    x = rng.normal(0, 1.5, (1, heads * 3 * channels, height, width)).astype(np.float32)
    pixels = height * width
    first = "x/bytes"
    nodes = [*rounded("x", "scale", "zero")]
    if not rounds:
        nodes, first = [helper.make_node("Conv", ["x", "eye"], ["x/image"])], "x/image"
    if areas == 1:
        nodes += [
            helper.make_node("Reshape", [first, "per_head"], ["qkv"]),
            helper.make_node("Split", ["qkv", "parts"], ["q", "k", "v"], axis=2),
            helper.make_node("Mul", ["q", "factor"], ["q_scaled"]),
            helper.make_node("Transpose", ["q_scaled"], ["q_t"], perm=[0, 1, 3, 2]),
            helper.make_node("Transpose", ["v"], ["v_first"], perm=[0, 3, 1, 2]),
        ]
        k, v, v_first = "k", "v", "v_first"
    else:
        nodes += [
            helper.make_node("Reshape", [first, "flat"], ["pixels_last"]),
            helper.make_node("Transpose", ["pixels_last"], ["pixels_first"], perm=[0, 2, 1]),
            helper.make_node("Reshape", ["pixels_first", "per_area"], ["qkv"]),
            helper.make_node("Split", ["qkv", "parts"], ["q", "k", "v"], axis=3),
            helper.make_node("Mul", ["q", "factor"], ["q_scaled"]),
            helper.make_node("Transpose", ["q_scaled"], ["q_t"], perm=[0, 2, 1, 3]),
            helper.make_node("Transpose", ["k"], ["k_t"], perm=[0, 2, 3, 1]),
            helper.make_node("Transpose", ["v"], ["v_t"], perm=[0, 2, 3, 1]),
        ]
        k, v, v_first = "k_t", "v_t", "v"
    nodes += [
        helper.make_node("MatMul", ["q_t", k], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("Transpose", ["weights"], ["weights_t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", [v, "weights_t"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["mixed_t"], perm=[0, 3, 1, 2]),
        helper.make_node("Reshape", ["mixed_t", "image"], ["mixed_image"]),
        helper.make_node("Transpose", ["mixed_image"], ["y"], perm=[0, 3, 1, 2]),
    ]
    if with_values:
        nodes += [
            helper.make_node("Reshape", [v_first, "image"], ["v_image"]),
            helper.make_node("Transpose", ["v_image"], ["values"], perm=[0, 3, 1, 2]),
            helper.make_node("Concat", ["y", "values"], ["both"], axis=1),
        ]
    elif areas == 1:
        nodes = [node for node in nodes if "v_first" not in node.output]
    constants = {
        "scale": np.float32(STEP),
        "zero": np.uint8(121),
        "eye": np.eye(heads * 3 * channels, dtype=np.float32)[..., None, None],
        "per_head": np.array([1, heads, 3 * channels, pixels]),
        "flat": np.array([1, heads * 3 * channels, -1]),
        "per_area": np.array([areas, pixels // areas, heads, 3 * channels]),
        "parts": np.array([channels] * 3),
        "factor": np.float32(channels**-0.5),
        "image": np.array([1, height, width, heads * channels]),
    }
    used = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in constants.items() if name in used}
    return graph_of(nodes, {"x": x}, constants, {"both" if with_values else "y": np.float32})


def picture_conv(rng, scale: float, channels: int = 3, height: int = 12, width: int = 20) -> Case:
    """A 3x3 convolution with stride 2 of a rounded picture."""
    x = rng.integers(0, 256, (1, channels, height, width)).astype(np.float32) / np.float32(255)
    nodes = [
        *rounded("x", "scale", "zero"),
        helper.make_node("DequantizeLinear", ["codes", "steps", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["x/bytes", "w", "bias"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    constants = {
        "scale": np.float32(scale),
        "zero": np.uint8(0),
        "codes": rng.integers(-127, 128, (8, channels, 3, 3)).astype(np.int8),
        "steps": rng.uniform(0.001, 0.02, 8).astype(np.float32),
        "zeros": np.zeros(8, np.int8),
        "bias": rng.normal(0, 1, 8).astype(np.float32),
    }
    return graph_of(nodes, {"x": x}, constants, {"y": np.float32})


def head_end(rng, sizes: list[tuple[int, int]], categories: int, used_twice: bool = False) -> Case:
    """Maps of boxes and scores, reshaped, joined by pixels, scores through a sigmoid, and joined by channels."""
    feeds = {}
    nodes = []
    constants: dict = {"none": np.float32(0)}
    for branch, channels in (("box", 4), ("score", categories)):
        rows = []
        for level, (height, width) in enumerate(sizes):
            name = f"{branch}{level}"
            feeds[name] = rng.normal(0, 4, (1, channels, height, width)).astype(np.float32)
            constants[f"{name}/w"] = np.eye(channels, dtype=np.float32)[..., None, None]
            nodes.append(helper.make_node("Conv", [name, f"{name}/w"], [f"{name}/map"]))
            constants[f"{name}/shape"] = np.array([1, channels, height * width])
            nodes.append(helper.make_node("Reshape", [f"{name}/map", f"{name}/shape"], [f"{name}/rows"]))
            rows.append(f"{name}/rows")
        if used_twice and branch == "score":
            rows.append(rows[0])
        nodes.append(helper.make_node("Concat", rows, [branch], axis=2))
    nodes.append(helper.make_node("Sigmoid", ["score"], ["probability"]))
    if used_twice:
        nodes.append(helper.make_node("Concat", ["probability", "probability"], ["y"], axis=1))
    else:
        nodes.append(helper.make_node("Concat", ["box", "probability"], ["y"], axis=1))
    return graph_of(nodes, feeds, constants, {"y": np.float32})


def residual_block(rng, channels: int, size_hw: tuple[int, int], roundings: int, equalised: bool = False) -> Case:
    """A rounded 3x3 convolution with SiLU and a residual sum, all in bytes.

    Args:
        roundings: 3 as files have it where all is rounded (sum, sigmoid, product); 1: the product only.
        equalised: multiply the product by a factor per channel before it is rounded.
    """
    x = rng.normal(0, 1.5, (1, channels, *size_hw)).astype(np.float32)
    sums, sigmoid = ("sum/bytes", "sigmoid/bytes") if roundings == 3 else ("sum", "sigmoid")
    nodes = [
        *rounded("x", "scale", "zero"),
        helper.make_node("DequantizeLinear", ["codes", "steps", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["x/bytes", "w", "bias"], ["sum"], pads=[1, 1, 1, 1]),
        *(rounded("sum", "scale", "zero") if roundings == 3 else ()),
        helper.make_node("Sigmoid", [sums], ["sigmoid"]),
        *(rounded("sigmoid", "fine", "none") if roundings == 3 else ()),
        helper.make_node("Mul", [sums, sigmoid], ["silu"]),
        *([helper.make_node("Mul", ["silu", "factor"], ["equal"])] if equalised else []),
        *rounded("equal" if equalised else "silu", "scale", "zero"),
        helper.make_node("Add", ["x/bytes", "equal/bytes" if equalised else "silu/bytes"], ["y"]),
        *rounded("y", "scale", "zero"),
    ]
    constants = {
        "scale": np.float32(STEP),
        "zero": np.uint8(121),
        "fine": np.float32(1 / 255),
        "none": np.uint8(0),
        "codes": rng.integers(-127, 128, (channels, channels, 3, 3)).astype(np.int8),
        "steps": rng.uniform(0.0005, 0.004, channels).astype(np.float32),
        "zeros": np.zeros(channels, np.int8),
        "bias": rng.normal(0, 1, channels).astype(np.float32),
        "factor": rng.uniform(0.3, 2, (1, channels, 1, 1)).astype(np.float32),
    }
    return graph_of(nodes, {"x": x}, constants, {"y/bytes": np.float32})


def upsampled_join(
    rng, channels: tuple[int, int], size_hw: tuple[int, int], roundings: int, last: bool = False, rows: int = 2
) -> Case:
    """A rounded 1x1 convolution with SiLU of an upsampled image beside another one, as in the necks of detectors.

    Args:
        channels: of the upsampled part and of the other.
        size_hw: before upsampling.
        roundings: as for `residual_block`.
        last: the upsampled part is the last, not the first.
        rows: what every row becomes; every column becomes two.
    """
    height, width = size_hw
    feeds = {
        "x": rng.normal(0, 1.5, (1, channels[0], height, width)).astype(np.float32),
        "other": rng.normal(0, 1.5, (1, channels[1], rows * height, 2 * width)).astype(np.float32),
    }
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    sums, sigmoid = ("sum/bytes", "sigmoid/bytes") if roundings == 3 else ("sum", "sigmoid")
    parts = ["large/bytes", "other/bytes"]
    nodes = [
        *rounded("x", "scale", "zero"),
        *rounded("other", "scale", "zero"),
        helper.make_node("Resize", ["x/bytes", "", "factors"], ["large"], **nearest),
        *rounded("large", "scale", "zero"),
        helper.make_node("Concat", parts[::-1] if last else parts, ["join"], axis=1),
        helper.make_node("DequantizeLinear", ["codes", "steps", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["join", "w", "bias"], ["sum"]),
        *(rounded("sum", "scale", "zero") if roundings == 3 else ()),
        helper.make_node("Sigmoid", [sums], ["sigmoid"]),
        *(rounded("sigmoid", "fine", "none") if roundings == 3 else ()),
        helper.make_node("Mul", [sums, sigmoid], ["silu"]),
        *rounded("silu", "scale", "zero"),
    ]
    out = channels[0]
    constants = {
        "scale": np.float32(STEP),
        "zero": np.uint8(121),
        "fine": np.float32(1 / 255),
        "none": np.uint8(0),
        "factors": np.array([1, 1, rows, 2], np.float32),
        "codes": rng.integers(-127, 128, (out, sum(channels), 1, 1)).astype(np.int8),
        "steps": rng.uniform(0.0005, 0.004, out).astype(np.float32),
        "zeros": np.zeros(out, np.int8),
        "bias": rng.normal(0, 1, out).astype(np.float32),
    }
    return graph_of(nodes, feeds, constants, {"silu/bytes": np.float32})
