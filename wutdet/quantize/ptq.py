"""Post-training quantisation to int8: QDQ, unsigned activations, signed weights with one scale per output channel.

What stays float, and why:

- everything behind the last convolutions: boxes are in pixels and scores in logits, so a common scale would ruin one
  of them, and 256 levels of logit put many boxes on the same score;
- the two matrix products and the softmax of attention blocks (``attention_nodes``);
- the results, through their SiLU, of the last convolutions, the box branches of the head and the first two
  convolutions: rounding boxes' sums moves every box a little, which costs AP at high IoU, and 8 bits of a picture are
  all the contrast that a ship in the haze has. Their operands do take 8 bits (wutdet.quantize.operands), which is what
  makes them fast: of box branches and last convolutions that costs next to nothing, of the stem little once its
  channels have like ranges (wutdet.quantize.equalise) and its weights are rounded by what they see
  (wutdet.quantize.int8_rounding).

Speed on CPUs without VNNI (before Cascade Lake, Zen 4) and what ``reduce_range`` is for: their 8-bit multiply-add
instruction (vpmaddubsw) adds pairs of products in 16 bits with saturation, so large activations times large weights are
clipped. With ``reduce_range`` the weights take 7 bits (-64..64), which cannot overflow, at some loss of accuracy.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from wutdet.errors import ExportError
from wutdet.quantize.graph import box_branches, check_boxes_and_scores_apart, head_parts, is_silu, stem
from wutdet.quantize.operands import round_operands
from wutdet.quantize.relu import drop_relus
from wutdet.quantize.ties import MOVERS, tie_ranges, tied_groups

#: Operators that are quantised outside of decoding.
QUANTISED_OPS = ("Conv", "Sigmoid", "Relu", "LeakyRelu", "Mul", "Add", "Concat", *MOVERS)


@dataclass(frozen=True)
class Int8Settings:
    """How to quantise; the defaults are what measured best (docs/log.md).

    Attributes:
        op_types: operators that are quantised.
        reduce_range: 7 bits for weights.
        tie_concat, tie_add: one scale for what a concatenation or an addition joins.
        float_last_convs, float_attention, float_box_branches: parts whose results stay float.
        float_stem_convs: so many first convolutions, with their SiLU, give floats.
        rounded_operands: convolutions of the stem and the box branches have 8-bit operands all the same.
        rounded_last_operands: the head's last convolutions have.
        equalised_stem: the graph is to be one of ``equalise_stem``; not with packed weights, which stay as they are.
    """

    op_types: tuple[str, ...] = QUANTISED_OPS
    reduce_range: bool = False
    tie_concat: bool = True
    tie_add: bool = False
    float_last_convs: bool = True
    float_attention: bool = True
    float_box_branches: bool = True
    float_stem_convs: int = 2
    rounded_operands: bool = True
    rounded_last_operands: bool = True
    equalised_stem: bool = True


def quantise_int8(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    settings: Int8Settings | None = None,
    keep: Collection[str] = (),
) -> onnx.ModelProto:
    """The int8 graph of a float graph.

    Args:
        model: float detector graph of fixed shape with constants folded.
        ranges: lowest and highest value of every activation; see wutdet.quantize.ranges.activation_ranges.
        settings: what to quantise.
        keep: initialisers that stay as they are where only operands are rounded; see ``quantise_activations``.

    Raises:
        ExportError: boxes and scores would meet in a quantised tensor, or an activation has no range.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    settings = settings or Int8Settings()
    keep_float = float_nodes(model, settings)
    ranges = tie_ranges(ranges, groups_to_tie(model, settings))
    overrides = {name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()}
    quantised = [n for n in model.graph.node if n.op_type in settings.op_types and n.name not in keep_float]
    weights = {tensor.name for tensor in model.graph.initializer}
    bare = {
        name for n in quantised for name in (*n.input, *n.output) if name and name not in weights and name not in ranges
    }
    if bare:  # onnxruntime would take the range of a black picture for them and say nothing
        raise ExportError(f"{len(bare)} activations have no measured range, first '{min(bare)}'")
    with tempfile.TemporaryDirectory(prefix="wutdet-quantise-") as folder, _quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _BlackPicture(model.graph.input[0]),  # the ranges below take the place of what it would find
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(settings.op_types),
            nodes_to_quantize=[n.name for n in quantised],
            per_channel=True,
            reduce_range=settings.reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides},
        )
        out = onnx.load(target)
    out = round_operands(out, operand_nodes(model, settings), ranges, keep, settings.reduce_range)
    drop_relus(out)
    check_boxes_and_scores_apart(out)
    return out


def operand_nodes(model: onnx.ModelProto, settings: Int8Settings) -> set[str]:
    """Names of the convolutions whose results stay float and whose input and weights are rounded all the same."""
    parts = head_parts(model)
    found: set[str] = set()
    if settings.rounded_operands:
        found |= float_nodes(model, settings) - parts.decode - parts.box_convs - parts.score_convs
    if settings.rounded_last_operands:
        found |= parts.box_convs | parts.score_convs
    return found & {node.name for node in model.graph.node if node.op_type == "Conv"}


def float_nodes(model: onnx.ModelProto, settings: Int8Settings) -> set[str]:
    """Names of the nodes that stay float.

    Raises:
        ExportError: the graph has no head of box and score branches.
    """
    parts = head_parts(model)
    keep_float = set(parts.decode)
    if settings.float_last_convs:
        keep_float |= parts.box_convs | parts.score_convs
    if settings.float_attention:
        keep_float |= attention_nodes(model)
    if settings.float_box_branches:
        keep_float |= box_branches(model, parts)
    return keep_float | stem(model, settings.float_stem_convs)


def groups_to_tie(model: onnx.ModelProto, settings: Int8Settings) -> list[list[str]]:
    """Groups of activations that share a scale; none where nothing is to be tied."""
    joins = [op for op, tie in (("Concat", settings.tie_concat), ("Add", settings.tie_add)) if tie]
    return tied_groups(model, float_nodes(model, settings), joins) if joins else []


def quantise_activations(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    keep: Collection[str],
    settings: Int8Settings | None = None,
) -> onnx.ModelProto:
    """The int8 graph of a float graph, but for some weights that stay as they are, and the biases of their layers.

    Args:
        model, ranges, settings: as for ``quantise_int8``; the activations are quantised in the same places.
        keep: initialisers, weights of convolutions.

    Raises:
        ExportError: as ``quantise_int8``.
    """
    out = quantise_int8(model, ranges, settings, keep)
    graph = out.graph
    before = {node.name: node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in keep}
    restored = set()
    for node in graph.node:
        if node.name in before:
            node.input[1:] = before[node.name].input[1:]
            restored.update(node.input[1:])
    # What decoded their 8-bit values goes; onnxruntime gives the output of a bias's node the bias's own name.
    constants = {tensor.name for tensor in graph.initializer}
    used = {name for node in graph.node for name in node.input} - restored
    nodes = [
        node
        for node in graph.node
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants or node.output[0] in used
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(t for t in model.graph.initializer if t.name in restored - constants)
    used = {name for node in graph.node for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    check_boxes_and_scores_apart(out)
    return out


class _BlackPicture:
    """The one frame that onnxruntime's quantiser insists on."""

    def __init__(self, graph_input: onnx.ValueInfoProto):
        shape = [d.dim_value for d in graph_input.type.tensor_type.shape.dim]
        self._feed: dict | None = {graph_input.name: np.zeros(shape, dtype=np.float32)}

    def get_next(self):
        feed, self._feed = self._feed, None
        return feed


@contextlib.contextmanager
def _quiet():
    """onnxruntime's quantiser logs hints through the root logger; they do not apply here (pre-processing is done)."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)


def attention_nodes(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes between the convolutions of an attention block: products, softmax, scaling and reshapes."""
    graph = model.graph
    producer = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    found: dict[str, onnx.NodeProto] = {n.name: n for n in graph.node if n.op_type in ("MatMul", "Softmax")}
    stack = list(found.values())
    passable = ("Reshape", "Transpose", "Split", "Mul", "Slice")
    while stack:
        node = stack.pop()
        near = [producer[i] for i in node.input if i in producer]
        near += [c for o in node.output for c in consumers.get(o, [])]
        for other in near:
            if other.op_type in passable and other.name not in found and not is_silu(other, producer):
                found[other.name] = other
                stack.append(other)
    return set(found)
