"""What the quantiser must know of a detector's graph: where decoding begins, and what may never share a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from wutdet.errors import ExportError


@dataclass(frozen=True)
class HeadParts:
    """The end of a detector's graph.

    Attributes:
        box_convs: names of the last convolutions of the box branches.
        score_convs: names of the last convolutions of the score branches.
        decode: names of the nodes behind them (reshape, concat, DFL, sigmoid, top-k, ...).
    """

    box_convs: frozenset[str]
    score_convs: frozenset[str]
    decode: frozenset[str]


def head_parts(model: onnx.ModelProto) -> HeadParts:
    """Finds the last convolutions and the decoding behind them.

    Decoding is every node from which no convolution can be reached any more, where the convolution of a distribution
    focal loss (1x1, fixed weights 0, 1, 2, ...) counts as decoding. A last convolution belongs to the scores if a
    sigmoid follows it in the decoding, else to the boxes.

    Raises:
        ExportError: the graph has no such parts.
    """
    graph = model.graph
    consumers = _consumers(graph)
    weights = {i.name: i for i in graph.initializer}
    leads_to_conv: dict[int, bool] = {}
    sigmoid_follows: dict[int, bool] = {}
    for index in range(len(graph.node) - 1, -1, -1):  # ONNX graphs are sorted: consumers come later
        behind = [c for output in graph.node[index].output for c in consumers[output]]
        leads_to_conv[index] = any(_is_conv(graph.node[c], weights) or leads_to_conv[c] for c in behind)
        sigmoid_follows[index] = any(graph.node[c].op_type == "Sigmoid" or sigmoid_follows[c] for c in behind)
    last = [i for i, node in enumerate(graph.node) if _is_conv(node, weights) and not leads_to_conv[i]]
    scores = {graph.node[i].name for i in last if sigmoid_follows[i]}
    boxes = {graph.node[i].name for i in last if not sigmoid_follows[i]}
    decode = {node.name for i, node in enumerate(graph.node) if not leads_to_conv[i] and not _is_conv(node, weights)}
    if not scores or not boxes:
        raise ExportError(
            f"cannot tell box from score branches in this graph: {len(boxes)} box, {len(scores)} score convolutions",
            hint="only YOLO-style heads with separate branches are quantised",
        )
    return HeadParts(frozenset(boxes), frozenset(scores), frozenset(decode))


def box_branches(model: onnx.ModelProto, parts: HeadParts) -> set[str]:
    """Names of the nodes that only the boxes depend on: the box branches of the head, from the neck's features on."""
    boxes, scores = _ancestors(model.graph, parts.box_convs), _ancestors(model.graph, parts.score_convs)
    return boxes - scores


def stem(model: onnx.ModelProto, convolutions: int) -> set[str]:
    """Names of the first convolutions and of all that lies between and directly behind them, up to the next one."""
    names: set[str] = set()
    for node in model.graph.node:  # ONNX graphs are sorted
        convolutions -= node.op_type == "Conv"
        if convolutions < 0:
            break
        names.add(node.name)
    return names


def packable_weights(model: onnx.ModelProto) -> list[str]:
    """Names of the initialisers that are stored in a low-bit format, in the order of the graph's convolutions.

    These are the weights of ungrouped two-dimensional convolutions. Left out are the first convolution, the last ones
    of the head, the fixed one of a distribution focal loss, and what is used in another place as well.

    Raises:
        ExportError: the graph has no head of box and score branches.
    """
    parts = head_parts(model)
    weights = {i.name: i for i in model.graph.initializer}
    left_out = parts.box_convs | parts.score_convs | parts.decode | stem(model, 1)
    found: dict[str, None] = {}
    elsewhere: set[str] = {value.name for value in model.graph.input}
    for node in model.graph.node:
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        dense = _is_conv(node, weights) and group == 1 and node.name not in left_out
        weight = node.input[1] if dense else ""
        if weight in weights and len(weights[weight].dims) == 4:
            found[weight] = None
        elsewhere.update(name for i, name in enumerate(node.input) if i != 1 or name != weight)
    return [name for name in found if name not in elsewhere]


def is_silu(node: onnx.NodeProto, producer: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a node is the product of x * sigmoid(x); ``producer`` has the graph's nodes by output."""
    return node.op_type == "Mul" and any(i in producer and producer[i].op_type == "Sigmoid" for i in node.input)


def check_boxes_and_scores_apart(model: onnx.ModelProto) -> None:
    """Makes sure that no quantised tensor holds boxes and scores, and that none lies behind the last convolutions.

    A tensor counts as quantised if it enters a QuantizeLinear or leaves a DequantizeLinear and is no weight.

    Raises:
        ExportError: one does; names it.
    """
    parts = head_parts(model)
    carries: dict[str, set[str]] = defaultdict(set)
    for node in model.graph.node:
        found = set().union(*(carries[name] for name in node.input)) if node.input else set()
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and found:
            what = "boxes and scores" if len(found) == 2 else f"raw {next(iter(found))}"
            raise ExportError(
                f"quantised tensor '{node.input[0]}' carries {what}",
                hint="this is a fault of the quantiser: decoding must stay in float",
            )
        if node.name in parts.box_convs:
            found = {"boxes"}
        elif node.name in parts.score_convs:
            found = {"scores"}
        for name in node.output:
            carries[name] |= found


def _consumers(graph: onnx.GraphProto) -> dict[str, list[int]]:
    consumers: dict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(graph.node):
        for name in node.input:
            consumers[name].append(index)
    return consumers


def _ancestors(graph: onnx.GraphProto, names: frozenset[str]) -> set[str]:
    """Names of the given nodes and of all nodes that they depend on."""
    wanted: set[str] = set()
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.name in names or wanted.intersection(node.output):
            found.add(node.name)
            wanted.update(node.input)
    return found


def _is_conv(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """A learned convolution: not the fixed expectation of a distribution focal loss."""
    if node.op_type != "Conv":
        return False
    weight = weights.get(node.input[1])
    if weight is None or weight.dims[0] != 1 or list(weight.dims[2:]) != [1, 1]:
        return True
    values = numpy_helper.to_array(weight).ravel()
    return len(values) < 2 or not np.array_equal(values, np.arange(len(values)))
