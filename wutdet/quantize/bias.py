"""Bias correction: giving the outputs of an int8 graph's convolutions back the means that rounding shifted.

After Nagel et al., arXiv 1906.04721, section 4.2, with means measured on frames. Layers are corrected one after the
other, each behind layers that are corrected already: corrected all at once, every layer would make good its
predecessors' shift again (the output then gets worse, docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from wutdet.errors import ExportError


def correct_biases(model: onnx.ModelProto, quantised: onnx.ModelProto, frames: Sequence[np.ndarray]) -> onnx.ModelProto:
    """The quantised graph with biases under which every convolution's output channels have the float graph's means.

    Every node runs once per frame; the activations that are still needed are held for all frames together.

    Args:
        model: float graph.
        quantised: made of it by ``quantise_int8``; not changed.
        frames: network inputs, float32 [1, 3, H, W].

    Raises:
        ExportError: no frames, or a convolution that the float graph has not.
    """
    if not frames:
        raise ExportError("biases cannot be corrected without frames")
    out = onnx.ModelProto()
    out.CopyFrom(quantised)
    wanted = {step.convolution.name: step.mean() for step in _convolutions(model, frames)}
    for step in _convolutions(out, frames):
        if step.convolution.name not in wanted:
            raise ExportError(f"the float graph has no convolution '{step.convolution.name}'")
        step.shift(wanted[step.convolution.name] - step.mean())
    return out


@dataclass(frozen=True, eq=False)
class _Step:
    """A graph that has been run up to one convolution.

    Attributes:
        convolution: the node.
        values: by tensor name, for every frame: what is still needed, the convolution's output included.
        constants: the graph's initialisers by name.
        decoding: by the name of its output, the DequantizeLinear of each constant.
    """

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


def _convolutions(model: onnx.ModelProto, frames: Sequence[np.ndarray]) -> Iterator[_Step]:
    """Runs a graph from convolution to convolution; what is changed on the way acts on all that follows."""
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
        wanted = [n for p in part for n in p.output if last_use.get(n, -1) > index]
        if node.output[0] not in wanted:
            wanted.append(node.output[0])
        session, needed = _session(model, part, decoding, constants, values[0], wanted)
        for value in values:
            given = session.run(wanted, {name: value[name] for name in needed})
            value.update(zip(wanted, given, strict=True))
            for name in [name for name in value if last_use.get(name, -1) <= index and name != node.output[0]]:
                del value[name]
        yield _Step(node, values, constants, decoding)


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
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(alone.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, needed
