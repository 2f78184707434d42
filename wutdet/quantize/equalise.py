"""Channels of the stem's activations brought to like ranges, so that one 8-bit scale serves them all.

Behind its first SiLU a detector's channels differ in range twenty-fold (yolo26n: 3.8 to 92), and one uint8 scale leaves
the narrow ones a dozen levels. A constant per channel divides the activation and multiplies the weights of the
convolution that reads it (Nagel et al., arXiv 1906.04721, section 4.1, where a ReLU lets the constants pass into the
weights before; a SiLU does not, so a multiplication stays in the graph).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from wutdet.errors import ExportError
from wutdet.quantize.graph import is_silu
from wutdet.quantize.layerwise import Step, convolutions

#: Share of a channel's magnitudes that its range must hold.
INSIDE = 0.9999


def equalise_stem(model: onnx.ModelProto, frames: Sequence[np.ndarray], count: int = 2) -> onnx.ModelProto:
    """A graph that computes the same, with the activations behind the first convolutions brought to like ranges.

    Each channel is divided by ``sqrt(range / largest weight)``, which gives it and its weights like shares of their
    scales. A float32 Mul by a constant of shape [1, C, 1, 1] is put before the convolution that reads it.

    Args:
        model: float graph.
        frames: network inputs, float32 [1, 3, H, W], that ranges are taken of.
        count: how many convolutions. An activation that is no SiLU's output, or read elsewhere too, stays as it is.

    Raises:
        ExportError: no frames.
    """
    if not frames:
        raise ExportError("channels cannot be equalised without frames")
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph = out.graph
    for step in itertools.islice(convolutions(model, frames), 1, count + 1):
        source, weight = step.convolution.input[:2]
        if not _only_reader(model, step, source, weight):
            continue
        kernel = numpy_helper.to_array(step.constants[weight])
        magnitudes = np.concatenate([np.abs(value[source][0]).reshape(kernel.shape[1], -1) for value in step.values], 1)
        magnitude = np.maximum(np.quantile(magnitudes, INSIDE, axis=1), 1e-6)
        scale = np.sqrt(magnitude / np.maximum(np.abs(kernel).max(axis=(0, 2, 3)), 1e-6))
        scale = (scale / scale.max()).astype(np.float32).reshape(1, -1, 1, 1)
        constant, equal = f"{source}_equalising", f"{source}_equalised"
        graph.initializer.append(numpy_helper.from_array(1 / scale, constant))
        stored = next(tensor for tensor in graph.initializer if tensor.name == weight)
        stored.CopyFrom(numpy_helper.from_array(kernel * scale, weight))
        place = next(index for index, node in enumerate(graph.node) if node.name == step.convolution.name)
        graph.node[place].input[0] = equal
        graph.node.insert(place, helper.make_node("Mul", [source, constant], [equal], name=equal))
    return out


def _only_reader(model: onnx.ModelProto, step: Step, source: str, weight: str) -> bool:
    """Whether a convolution alone reads a SiLU's output and a weight for all its channels."""
    used = [name for node in model.graph.node for name in node.input]
    if weight not in step.constants or used.count(source) > 1 or used.count(weight) > 1:
        return False
    producer = {name: node for node in model.graph.node for name in node.output}
    maker = producer.get(source)
    grouped = any(a.name == "group" and a.i > 1 for a in step.convolution.attribute)
    return not grouped and maker is not None and is_silu(maker, producer)
