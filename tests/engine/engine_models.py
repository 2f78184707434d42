"""Whole detectors with seeded random weights in every number format, for tests of the native engine."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from tiny_detectors import make_checkpoint, smooth_picture

#: Height and width: not square, few pixels.
IMGSZ_HW = (96, 128)
PACKED_FORMATS = ("int4", "mxfp4", "nvfp4", "hif4")


def network_input(seed: int, imgsz_hw: tuple[int, int] = IMGSZ_HW) -> np.ndarray:
    """float32 [1, 3, H, W] of a picture of blobs."""
    picture = smooth_picture(imgsz_hw[::-1], seed)
    return np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)


@functools.cache
def _checkpoint(arch: str) -> Path:
    return make_checkpoint(Path(tempfile.mkdtemp(prefix="wutdet-engine-")) / f"{arch}.pt", arch)


@functools.cache
def _float_model(arch: str, head: str) -> bytes:
    from wutdet.export.metadata import describe
    from wutdet.export.onnx_graph import set_metadata, trace
    from wutdet.runtime.torch_backend import load_checkpoint

    checkpoint = load_checkpoint(_checkpoint(arch), head=head)
    model = trace(checkpoint, IMGSZ_HW)
    set_metadata(model, describe(checkpoint, checkpoint.names, IMGSZ_HW, "fp32").to_props())
    return model.SerializeToString()


@functools.cache
def model_bytes(arch: str, head: str, number_format: str) -> bytes:
    """An artefact without calibration frames: int8 sees four pictures, 4-bit weights are rounded to nearest."""
    model = onnx.load_from_string(_float_model(arch, head))
    if number_format == "fp32":
        return model.SerializeToString()
    if number_format == "int8":
        return quantised(model, [network_input(seed) for seed in range(4)]).SerializeToString()
    from wutdet.quantize.graph import packable_weights
    from wutdet.quantize.packed_onnx import pack_weights
    from wutdet.quantize.weights import pack_weight

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {name: pack_weight(stored[name], number_format) for name in packable_weights(model)}
    return pack_weights(model, weights).SerializeToString()


def quantised(model: onnx.ModelProto, inputs: list[np.ndarray]) -> onnx.ModelProto:
    """The int8 graph of a float graph, its metadata kept."""
    from wutdet.quantize.ptq import quantise_int8
    from wutdet.quantize.ranges import activation_ranges

    out = quantise_int8(model, activation_ranges(model, iter(inputs), "minmax"))
    del out.metadata_props[:]
    out.metadata_props.extend(model.metadata_props)
    return out


def onnxruntime_session(data: bytes, optimise: bool = True) -> onnxruntime.InferenceSession:
    """One thread, no messages."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])


def cut_at_codes(data: bytes) -> tuple[bytes, bytes, list[str]]:
    """An int8 graph in two forms that show every quantised activation.

    Rounding makes two correct runtimes drift apart layer by layer: one value in a thousand lies so close to the middle
    between two codes that the order of a float sum decides, and the next layers carry that on. So layers are compared
    one by one, each fed with the same codes.

    Returns:
        The graph with all codes as further outputs; the graph in which all codes are inputs and computed anew from
        each other, in outputs of the same order; the names of the codes.
    """
    shown = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    names = [node.output[0] for node in shown.graph.node if node.op_type == "QuantizeLinear"]
    known = {value.name: value for value in shown.graph.value_info}
    shown.graph.output.extend(known[name] for name in names)
    cut = onnx.ModelProto()
    cut.CopyFrom(shown)
    for node in cut.graph.node:
        if node.op_type == "QuantizeLinear":
            node.output[0] += "/again"
    for output in cut.graph.output:
        if output.name in known and output.name in names:
            output.name += "/again"
    cut.graph.input.extend(known[name] for name in names)
    return shown.SerializeToString(), cut.SerializeToString(), names


def share_of_other_codes(engine, cut_names: list[str], x: np.ndarray, codes: list[np.ndarray]) -> float:
    """Feeds every layer of a cut graph with onnxruntime's codes; the share of codes that come out otherwise.

    No code may be off by more than two: a flip before the activation can move what comes behind it by two codes, and
    onnxruntime's own sigmoid and product of codes are rounded twice.
    """
    found = engine.run([x, *codes])[1:]
    values = unequal = 0
    for name, ours, theirs in zip(cut_names, found, codes, strict=True):
        difference = np.abs(ours.astype(int) - theirs)
        assert difference.max() <= 2, name
        values += difference.size
        unequal += int((difference > 0).sum())
    return unequal / values
