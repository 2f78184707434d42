"""A checkpoint's network as a float32 ONNX graph: fixed shape, constants folded, standard operators only."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import onnx
import onnxruntime

from wutdet.errors import ExportError
from wutdet.runtime.torch_backend import Checkpoint

log = logging.getLogger(__name__)

#: Lowest operator set that has everything these networks need; old runtimes on devices read it.
OPSET = 17
INPUT, OUTPUT = "images", "output0"


def trace(checkpoint: Checkpoint, imgsz_hw: tuple[int, int], max_det: int = 300) -> onnx.ModelProto:
    """The network for one frame of a fixed size.

    Args:
        checkpoint: the network; its batch norm is folded already.
        imgsz_hw: height and width of the input in pixels, multiples of the network's stride.
        max_det: rows of the output of an NMS-free head.

    Raises:
        ExportError: the size does not fit the stride, or torch cannot trace the network.
    """
    import torch

    height, width = imgsz_hw
    if height % checkpoint.stride or width % checkpoint.stride or min(imgsz_hw) < checkpoint.stride:
        raise ExportError(
            f"input size {height}x{width} is not a multiple of the network's stride {checkpoint.stride}",
            hint=f"use --imgsz {_round_up(height, checkpoint.stride)}x{_round_up(width, checkpoint.stride)}",
        )
    model = checkpoint.model.cpu()
    head = model.model[-1]
    head.export, head.format, head.dynamic, head.max_det = True, "onnx", False, max_det
    head.shape = None  # forget the anchors of another input size
    images = torch.zeros(1, 3, height, width)
    with tempfile.TemporaryDirectory(prefix="wutdet-export-") as folder:
        raw = Path(folder) / "raw.onnx"
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracer warnings on constants, and the notice that this exporter is old
            model(images)  # makes the anchors of this size
            try:
                torch.onnx.export(
                    model,
                    (images,),
                    str(raw),
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    opset_version=OPSET,
                    do_constant_folding=True,
                    dynamo=False,  # the other exporter needs onnxscript and gives the same graph
                )
            except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
                raise ExportError(f"torch cannot trace this network: {str(error).strip().splitlines()[0]}") from error
        return fold_constants(onnx.load(raw))


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph after onnxruntime's basic optimisations (constant folding, dead and double nodes), checked.

    Raises:
        ExportError: the result is not a valid graph of standard operators.
    """
    with tempfile.TemporaryDirectory(prefix="wutdet-export-") as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(after)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(before), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(after)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    foreign = {node.domain for node in folded.graph.node} - {"", "ai.onnx"}
    if foreign:
        raise ExportError(f"onnxruntime {onnxruntime.__version__} put operators of {sorted(foreign)} into the graph")
    del folded.opset_import[:]
    folded.opset_import.append(onnx.helper.make_opsetid("", opset))
    folded.ir_version = model.ir_version
    share_constants(folded.graph)
    folded = onnx.shape_inference.infer_shapes(folded)
    onnx.checker.check_model(folded)
    return folded


def share_constants(graph: onnx.GraphProto) -> None:
    """Stores constants of decoding once that folding gave twice (anchors, for a sum and for a difference), in place.

    Weights and biases stay apart, whatever their values: each is quantised by itself.
    """
    layers = {name for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul") for name in node.input}
    first: dict[tuple, str] = {}
    same: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.name not in layers:
            key = (tensor.data_type, tuple(tensor.dims), onnx.numpy_helper.to_array(tensor).tobytes())
            same[tensor.name] = first.setdefault(key, tensor.name)
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
    kept = [tensor for tensor in graph.initializer if same.get(tensor.name, tensor.name) == tensor.name]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def set_metadata(model: onnx.ModelProto, props: dict[str, str]) -> None:
    """Replaces the metadata of a graph, in place."""
    del model.metadata_props[:]
    for key, value in props.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.producer_name = "wutdet"
    model.graph.name = "wutdet"


def _round_up(value: int, step: int) -> int:
    return max(step, -(-value // step) * step)
