"""Packed weights as ONNX's own 4-bit types: DequantizeLinear with blocks. Which runtimes read it: docs/artefacts.md."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator

from wutdet.errors import ExportError
from wutdet.lowbit.layout import GROUP
from wutdet.lowbit.options import IntegerOptions
from wutdet.quantize.onnx_functions import integer_group
from wutdet.quantize.packed_onnx import check_replaceable, opset_of, replace_initializers
from wutdet.quantize.weights import PackedWeight

#: First operator set in which DequantizeLinear takes the format's types.
OPSETS = {"int4": 21, "mxfp4": 24}


def standard_form(model: onnx.ModelProto, weights: Mapping[str, PackedWeight]) -> onnx.ModelProto:
    """The same graph with some of its weights as FLOAT4E2M1 with FLOAT8E8M0 scales, or as INT4 or UINT4.

    Rows are filled up to whole groups and cut after decoding: not every runtime takes a short last block.

    Args:
        model: float graph; not changed. It is converted to operator set 21 (int4) or 24 (mxfp4) where it is older.
        weights: by the initialiser that each takes the place of; all mxfp4 or int4.

    Raises:
        ExportError: a format without ONNX types, no such initialiser, or a graph that cannot be converted.
    """
    other = sorted({w.tensor.format for w in weights.values()} - set(OPSETS))
    if other:
        raise ExportError(
            f"ONNX has no types for {', '.join(other)} weights",
            hint=f"{' and '.join(OPSETS)} have; other formats are stored with pack_weights",
        )
    check_replaceable(model, weights)
    opset = max([opset_of(model), *(OPSETS[w.tensor.format] for w in weights.values())])
    out = _converted(model, opset)
    nodes, parts = [], []
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            added, stored = _decoding(tensor.name, weights[tensor.name])
            nodes += added
            parts += stored
    replace_initializers(out.graph, weights, nodes, parts)
    out.ir_version = max(out.ir_version, helper.find_min_ir_version_for(out.opset_import))
    return out


def check_standard_form(model: onnx.ModelProto, weights: Mapping[str, PackedWeight]) -> None:
    """Makes sure that ONNX's reference evaluator decodes a file's weights to the very values that were rounded to.

    Args:
        model: made by ``standard_form``.
        weights: by the tensor that each is decoded to.

    Raises:
        ExportError: a value differs.
    """
    needed, nodes = set(weights), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.insert(0, node)
            needed.update(node.input)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, weights[name].shape) for name in weights]
    parts = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    alone = helper.make_model(
        helper.make_graph(nodes, "weights", [], outputs, parts),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    for (name, weight), values in zip(weights.items(), ReferenceEvaluator(alone).run(None, {}), strict=True):
        expected = weight.dequantize()
        if not np.array_equal(values, expected, equal_nan=True):
            raise ExportError(
                f"the ONNX types decode {(values != expected).sum()} of {expected.size} values of '{name}' wrongly",
                hint="report this with the version of onnx; the file was not written",
            )


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    if opset_of(model) == opset:
        out = onnx.ModelProto()
        out.CopyFrom(model)
        return out
    try:
        return version_converter.convert_version(model, opset)
    except (RuntimeError, version_converter.ConvertError) as error:
        raise ExportError(f"onnx cannot convert this graph to operator set {opset}: {error}") from error


def _decoding(name: str, weight: PackedWeight) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    tensor = weight.tensor
    o, i, h, w = weight.shape
    columns, groups = h * w * i, tensor.scales.shape[1]
    if isinstance(tensor.options, IntegerOptions):
        block = integer_group(tensor.options, columns)
        block += block % 2  # a whole row may be odd; two codes share a byte, also across rows
    else:
        block = GROUP[tensor.format]
    filled = groups * block
    codes = np.zeros((o, filled // 2), dtype=np.uint8)
    codes[:, : tensor.codes.shape[1]] = tensor.codes
    kind, parts = _scales(name, weight)
    parts.insert(0, helper.make_tensor(f"{name}.codes", kind, (o, filled), codes.tobytes(), raw=True))
    inputs = [part.name for part in parts]
    decoded = f"{name}.decoded"
    nodes = [helper.make_node("DequantizeLinear", inputs, [decoded], name=decoded, axis=1, block_size=block)]
    if tensor.format == "mxfp4":
        nodes[0].attribute.append(helper.make_attribute("output_dtype", TensorProto.FLOAT))

    def then(operator: str, what: str, *constants: np.ndarray, **attributes) -> None:
        stored = [numpy_helper.from_array(value, f"{name}.{what}{n or ''}") for n, value in enumerate(constants)]
        parts.extend(stored)
        output = f"{name}.{what}.output"
        nodes.append(
            helper.make_node(
                operator, [nodes[-1].output[0], *(s.name for s in stored)], [output], name=output, **attributes
            )
        )

    if filled > columns:
        then("Slice", "cut", *(np.array([n], dtype=np.int64) for n in (0, columns, 1)))
    then("Reshape", "ohwi", np.array([o, h, w, i], dtype=np.int64))
    then("Transpose", "oihw", perm=[0, 3, 1, 2])
    if (weight.channel_scale != 1).any():
        then("Mul", "channel_scale", weight.channel_scale.astype(np.float32).reshape(o, 1, 1, 1))
    nodes[-1].output[0] = name
    return nodes, parts


def _scales(name: str, weight: PackedWeight) -> tuple[int, list[onnx.TensorProto]]:
    """Type of the codes; scales, and zero points where there are any, one row per output channel."""
    tensor = weight.tensor
    scales = np.repeat(tensor.scales, len(tensor.codes) // len(tensor.scales), axis=0)
    shape = scales.shape[:2]
    if not isinstance(tensor.options, IntegerOptions):
        stored = helper.make_tensor(f"{name}.scales", TensorProto.FLOAT8E8M0, shape, scales.tobytes(), raw=True)
        return TensorProto.FLOAT4E2M1, [stored]
    values = np.ascontiguousarray(scales[:, :, :4]).view("<f4")[:, :, 0].astype(np.float32)
    parts = [numpy_helper.from_array(values, f"{name}.scales")]
    if tensor.options.symmetric:
        return TensorProto.INT4, parts
    flat = np.append(scales[:, :, 4].ravel(), np.uint8(0))[: scales[:, :, 4].size + scales[:, :, 4].size % 2]
    packed = flat[0::2] | flat[1::2] << 4
    parts.append(helper.make_tensor(f"{name}.zero_points", TensorProto.UINT4, shape, packed.tobytes(), raw=True))
    return TensorProto.UINT4, parts
