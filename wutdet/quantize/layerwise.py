"""Running an ONNX graph from convolution to convolution, so that each can be changed before what follows it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from wutdet.quantize.session import quiet_session


@dataclass(frozen=True, eq=False)
class Step:
    """A graph that has been run up to one convolution.

    Attributes:
        model: the graph.
        convolution: the node.
        values: by tensor name, for every frame: what is still needed, the convolution's input and output included.
        constants: the graph's initialisers by name. What is changed in them acts on all that follows.
        decoding: by the name of its output, the DequantizeLinear of each constant.
    """

    model: onnx.ModelProto
    convolution: onnx.NodeProto
    values: list[dict[str, np.ndarray]]
    constants: dict[str, TensorProto]
    decoding: dict[str, onnx.NodeProto]

    def mean(self) -> np.ndarray:
        """float64 [O], of the output channels over frames and positions."""
        name = self.convolution.output[0]
        return np.mean([value[name].mean(axis=(0, 2, 3), dtype=np.float64) for value in self.values], axis=0)

    def shift(self, by: np.ndarray) -> None:
        """Adds float64 [O] to the bias, as exactly as its type can hold it, and so to the outputs."""
        if len(self.convolution.input) < 3:
            return
        name = self.convolution.input[2]
        if name in self.constants:
            before = numpy_helper.to_array(self.constants[name])
            after = (before + by).astype(np.float32)
            added = after - before
        else:
            name, scale_name = self.decoding[name].input[:2]
            before, scale = (numpy_helper.to_array(self.constants[n]) for n in (name, scale_name))
            after = np.clip(before + np.round(by / scale), -(2**31), 2**31 - 1).astype(np.int32)
            added = (after.astype(np.int64) - before) * scale
        self.constants[name].CopyFrom(numpy_helper.from_array(after, name))
        for value in self.values:
            value[self.convolution.output[0]] += added.astype(np.float32)[:, None, None]

    def rerun(self) -> None:
        """Computes the convolution's output again, after its weight was changed."""
        output = list(self.convolution.output)
        session, needed = _session(
            self.model, [self.convolution], self.decoding, self.constants, self.values[0], output
        )
        for value in self.values:
            value[output[0]] = session.run(output, {name: value[name] for name in needed})[0]

    def patches(self, kernel_hw: tuple[int, int], positions: int, rng: np.random.Generator) -> np.ndarray:
        """float32 [P, I, H * W]: what the kernel sees at ``positions`` random places of each frame's output, or all.

        Args:
            kernel_hw: its size.
        """
        attributes = {a.name: helper.get_attribute_value(a) for a in self.convolution.attribute}
        (sh, sw), (dh, dw) = attributes.get("strides", (1, 1)), attributes.get("dilations", (1, 1))
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        found = []
        for value in self.values:
            x = np.pad(value[self.convolution.input[0]][0], ((0, 0), (top, bottom), (left, right)))
            height, width = value[self.convolution.output[0]].shape[2:]
            places = rng.choice(height * width, min(positions, height * width), replace=False)
            rows, columns = places // width * sh, places % width * sw
            taps = [x[:, rows + i * dh, columns + j * dw] for i in range(kernel_hw[0]) for j in range(kernel_hw[1])]
            found.append(np.stack(taps, axis=1).transpose(2, 0, 1))
        return np.concatenate(found)


def convolutions(model: onnx.ModelProto, frames: Sequence[np.ndarray]) -> Iterator[Step]:
    """Runs a graph from convolution to convolution; what is changed on the way acts on all that follows.

    Args:
        model: float graph or one of QuantizeLinear and DequantizeLinear; its initialisers are those of the steps.
        frames: network inputs, float32 [1, 3, H, W].
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes, decoding = [], {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            decoding[node.output[0]] = node
        else:
            nodes.append(node)
    last_use = {name: index for index, node in enumerate(nodes) for name in node.input}
    values = [{graph.input[0].name: frame} for frame in frames]
    start = 0
    for index, node in enumerate(nodes):
        if node.op_type != "Conv":
            continue
        part = nodes[start : index + 1]
        start = index + 1
        made = [n for p in part for n in p.output]
        wanted = [n for n in made if last_use.get(n, -1) > index or n in (node.input[0], node.output[0])]
        session, needed = _session(model, part, decoding, constants, values[0], wanted)
        for value in values:
            given = session.run(wanted, {name: value[name] for name in needed})
            value.update(zip(wanted, given, strict=True))
            for name in [n for n in value if last_use.get(n, -1) <= index and n not in (node.input[0], node.output[0])]:
                del value[name]
        yield Step(model, node, values, constants, decoding)


def _session(model, part, decoding, constants, value, wanted) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """A session of some of a graph's nodes, and the names of the activations that it takes."""
    made = {name for node in part for name in node.output}
    read = list(dict.fromkeys(name for node in part for name in node.input if name and name not in made))
    before = [decoding[name] for name in read if name in decoding]
    needed = [name for name in read if name not in decoding and name not in constants]
    stored = dict.fromkeys(name for node in (*before, *part) for name in node.input if name in constants)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value[name].dtype), value[name].shape)
        for name in needed
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    graph = helper.make_graph([*before, *part], "part", inputs, outputs, [constants[name] for name in stored])
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = quiet_session(alone)
    return session, needed
