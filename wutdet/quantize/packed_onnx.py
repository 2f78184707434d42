"""Weights in low-bit formats inside an ONNX file: packed initialisers, and calls of the functions that decode them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wutdet.errors import DataError, ExportError, ModelError, UsageError
from wutdet.lowbit import QuantizedTensor
from wutdet.lowbit.options import OPTIONS, IntegerOptions, options_for
from wutdet.quantize.onnx_functions import (
    DOMAIN,
    FUNCTIONS,
    LOWEST_OPSET,
    VERSION,
    attribute_names,
    function,
    function_name,
    input_names,
    integer_group,
)
from wutdet.quantize.weights import PackedWeight

#: Version of ONNX files that first had functions.
_FUNCTIONS_SINCE_IR = 8


def pack_weights(model: onnx.ModelProto, weights: Mapping[str, PackedWeight]) -> onnx.ModelProto:
    """The same graph with some of its weights stored packed.

    Each initialiser becomes the output of a function of the domain ``wutdet.lowbit``, which keeps the initialiser's
    name (``wutdet.quantize.onnx_functions``); the parts are initialisers ``NAME.codes``, ``NAME.scales`` and so on. The
    channel scales are always stored, also where all are 1.

    Args:
        model: graph of operator set 13 or later; not changed.
        weights: by the initialiser that each takes the place of.

    Raises:
        ExportError: no such float32 initialiser, another shape, a part's name that is taken, or an older operator set.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    opset = opset_of(out)
    if opset < LOWEST_OPSET:
        raise ExportError(f"packed weights need operator set {LOWEST_OPSET} or later, this graph has {opset}")
    check_replaceable(out, weights)
    graph = out.graph
    calls, parts = [], []
    for tensor in graph.initializer:
        if tensor.name in weights:
            call, stored = _call(tensor.name, weights[tensor.name])
            calls.append(call)
            parts += stored
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {t.name for t in graph.initializer}
    clash = sorted(taken & {part.name for part in parts})
    if clash:
        raise ExportError(f"the name '{clash[0]}' is taken in this graph", hint="its weights may be packed already")
    replace_initializers(graph, weights, calls, parts)
    present = {f.name for f in out.functions if f.domain == DOMAIN}
    for name in sorted({call.op_type for call in calls} - present):
        out.functions.append(function(name, opset))
    if DOMAIN not in {entry.domain for entry in out.opset_import}:
        out.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    out.ir_version = max(out.ir_version, _FUNCTIONS_SINCE_IR)
    return out


def unpack_weights(model: onnx.ModelProto) -> dict[str, PackedWeight]:
    """The packed weights of a graph, by the name of the tensor that each decodes to; empty where there are none.

    Raises:
        ModelError: a newer version of the functions, an unknown one, or parts that are missing, of a wrong type or
            length, or hold a reserved code; names the weight.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    calls = [node for node in model.graph.node if node.domain == DOMAIN]
    if calls and versions.get(DOMAIN) != VERSION:
        raise ModelError(
            f"packed weights of version {versions.get(DOMAIN)}; this wutdet reads version {VERSION}",
            hint="use the wutdet that wrote the file, or a newer one",
        )
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    return {node.output[0]: _read(node, stored) for node in calls}


def replace_values(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The same graph with other values of some float32 initialisers.

    Raises:
        ExportError: no such initialiser, or another shape.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    found = {tensor.name: tensor for tensor in out.graph.initializer}
    for name, value in values.items():
        if name not in found or tuple(found[name].dims) != value.shape:
            has = tuple(found[name].dims) if name in found else "none"
            raise ExportError(f"the graph has no constant '{name}' of shape {value.shape}; it has {has}")
        found[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return out


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operators in a model."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def check_replaceable(model: onnx.ModelProto, weights: Mapping[str, PackedWeight]) -> None:
    """Makes sure that there is a float32 initialiser of the right shape for each weight.

    Raises:
        ExportError: there is none.
    """
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input}
    for name, weight in weights.items():
        tensor = found.get(name)
        if tensor is None or name in inputs:
            raise ExportError(f"the graph has no constant '{name}' to store packed")
        if tensor.data_type != TensorProto.FLOAT or tuple(tensor.dims) != tuple(weight.shape):
            kind = TensorProto.DataType.Name(tensor.data_type)
            raise ExportError(
                f"'{name}' is {kind} {tuple(tensor.dims)} in the graph, and the packed weight FLOAT {weight.shape}"
            )


def replace_initializers(graph: onnx.GraphProto, names, nodes, parts) -> None:
    """Removes initialisers and puts nodes that compute them in front of the graph's, in place."""
    kept = [tensor for tensor in graph.initializer if tensor.name not in names]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *parts])
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def _call(name: str, weight: PackedWeight) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    tensor = weight.tensor
    o, i, h, w = weight.shape
    columns = h * w * i
    if tensor.shape != (o, columns) or weight.channel_scale.shape != (o,):
        raise ExportError(
            f"'{name}' of shape {weight.shape} needs rows of shape {(o, columns)} and {o} channel scales, received "
            f"{tensor.shape} and {weight.channel_scale.shape}"
        )
    kind = function_name(tensor.format, tensor.options)
    values = {
        "codes": tensor.codes,
        "tensor_scale": np.asarray(tensor.tensor_scale, dtype=np.float32),
        "channel_scale": np.asarray(weight.channel_scale, dtype=np.float32),
    }
    attributes = {"columns": columns, "ohwi": [o, h, w, i], "options": _options_text(tensor)}
    if isinstance(tensor.options, IntegerOptions):
        attributes["group"] = integer_group(tensor.options, columns)
        values["scales"] = np.ascontiguousarray(tensor.scales[:, :, :4]).view("<f4")[:, :, 0].astype(np.float32)
        if not tensor.options.symmetric:
            values["zero_points"] = np.ascontiguousarray(tensor.scales[:, :, 4])
    else:
        values["scales"] = tensor.scales
    parts = [numpy_helper.from_array(values[part], f"{name}.{part}") for part in input_names(kind)]
    inputs = [part.name for part in parts]
    return helper.make_node(kind, inputs, [name], name=f"{name}.{kind}", domain=DOMAIN, **attributes), parts


def _options_text(tensor: QuantizedTensor) -> str:
    usual = asdict(OPTIONS[tensor.format]())
    return json.dumps({k: v for k, v in asdict(tensor.options).items() if v != usual[k]}, separators=(",", ":"))


def _read(node: onnx.NodeProto, stored: Mapping[str, TensorProto]) -> PackedWeight:
    name = node.output[0] if node.output else node.name
    try:
        return _weight(node, stored)
    except (DataError, UsageError, ValueError, TypeError, KeyError) as error:
        text = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"the packed weight '{name}' ({node.op_type}) cannot be read: {text}",
            hint="the file is damaged, or was not written by 'wutdet export'; export it again",
        ) from error


def _weight(node: onnx.NodeProto, stored: Mapping[str, TensorProto]) -> PackedWeight:
    if node.op_type not in FUNCTIONS:
        raise ValueError(f"no such function; there are {', '.join(FUNCTIONS)}")
    format, stands_for = FUNCTIONS[node.op_type]
    wanted = input_names(node.op_type)
    if len(node.input) != len(wanted) or len(node.output) != 1:
        raise ValueError(f"its inputs must be {', '.join(wanted)}, received {', '.join(node.input) or 'none'}")
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    missing = [name for name in attribute_names(node.op_type) if name not in given]
    if missing:
        raise ValueError(f"no attribute '{missing[0]}'")
    integers = format in ("int4", "int8")
    floats = {"tensor_scale", "channel_scale", *(["scales"] if integers else [])}
    axes = {"codes": 2, "scales": 2 if integers else 3, "zero_points": 2, "tensor_scale": 0, "channel_scale": 1}
    parts = {
        part: _part(part, name, stored, np.float32 if part in floats else np.uint8, axes[part])
        for part, name in zip(wanted, node.input, strict=True)
    }
    options = options_for(format, dict(json.loads(given["options"])))
    if any(getattr(options, key) != value for key, value in stands_for.items()):
        raise ValueError(f"its options {given['options']!r} are those of another function")
    ohwi = [int(size) for size in given["ohwi"]]
    if len(ohwi) != 4 or min(ohwi) < 1:
        raise ValueError(f"ohwi must be four sizes, received {ohwi}")
    o, h, w, i = ohwi
    columns = math.prod(ohwi[1:])
    if given["columns"] != columns:
        raise ValueError(f"{given['columns']} columns do not fit ohwi {ohwi}")
    scales = parts.get("scales", np.zeros((o, 0, 0), dtype=np.uint8))
    if isinstance(options, IntegerOptions):
        if given["group"] != integer_group(options, columns):
            raise ValueError(f"group {given['group']} does not fit {options} and {columns} columns")
        scales = np.ascontiguousarray(scales, dtype="<f4")[:, :, None].view(np.uint8)
        if "zero_points" in parts:
            scales = np.concatenate([scales, parts["zero_points"].reshape(*scales.shape[:2], 1)], axis=2)
    channel_scale = parts["channel_scale"]
    if channel_scale.shape != (o,) or not np.isfinite(channel_scale).all():
        raise ValueError(f"channel_scale must be {o} finite numbers, received shape {channel_scale.shape}")
    tensor_scale = parts.get("tensor_scale", np.ones((), dtype=np.float32))
    tensor = QuantizedTensor(format, (o, columns), parts["codes"], scales, tensor_scale[()], options)
    return PackedWeight(tensor, (o, i, h, w), channel_scale)


def _part(part: str, name: str, stored: Mapping[str, TensorProto], dtype: type, axes: int) -> np.ndarray:
    if name not in stored:
        raise ValueError(f"{part} must be a constant of the graph, and there is no '{name}'")
    if stored[name].data_location == TensorProto.EXTERNAL:
        raise ValueError(f"{part} lies in another file")
    values = numpy_helper.to_array(stored[name])  # ValueError where the bytes do not fit the shape
    if values.dtype != dtype or values.ndim != axes:
        raise ValueError(f"{part} must be {np.dtype(dtype)} of {axes} axes, received {values.dtype} {values.shape}")
    return values
