"""4-bit files are as small as their bits: within 3 % of the codes and scales, as defined, and the float parts."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tiny_detectors import IMGSZ, smooth_picture

from wutdet.config import ExportConfig
from wutdet.export.anchors import generate_anchors
from wutdet.export.compact import compact
from wutdet.export.onnx_graph import trace
from wutdet.export.run import run
from wutdet.quantize.graph import packable_weights
from wutdet.runtime.torch_backend import load_checkpoint

#: Format -> values in a group, and bytes of the scales of a group and of the whole tensor.
SCALES = {"int4": (64, 4, 0), "mxfp4": (32, 1, 0), "nvfp4": (16, 1, 4), "hif4": (64, 4, 0)}
#: Bytes that calibration and gate add to the metadata; files are made without them here.
FIGURES = 1400


@pytest.fixture(scope="module")
def at_640(tmp_path_factory):
    """yolo26n for 640x640: its checkpoint, and the constants of its float graph."""
    from tiny_detectors import shared_checkpoints

    file = shared_checkpoints(tmp_path_factory.mktemp("tiny"))["yolo26n"]
    model = trace(load_checkpoint(file), (640, 640))
    return SimpleNamespace(
        file=file,
        packed=packable_weights(model),
        constants={t.name: numpy_helper.to_array(t) for t in model.graph.initializer},
    )


@pytest.mark.parametrize("number_format", list(SCALES))
def test_a_file_is_as_small_as_its_bits(at_640, number_format, tmp_path):
    group, group_bytes, tensor_bytes = SCALES[number_format]
    bits, channel_scales = 0, 0
    for name in at_640.packed:
        o, i, h, w = at_640.constants[name].shape
        bits += o * i * h * w * 4 + 8 * (o * math.ceil(i * h * w / group) * group_bytes + tensor_bytes)
        channel_scales += 4 * o
    floats = sum(value.nbytes for name, value in at_640.constants.items() if name not in at_640.packed)
    result = run(ExportConfig(str(at_640.file), number_format, out=tmp_path / "ship.onnx"))
    expected = bits / 8 + channel_scales + floats
    grid = 4 * 3 * sum((640 // stride) ** 2 for stride in (8, 16, 32))  # float parts that operators make
    assert expected - grid < result.size_bytes < 1.03 * expected - FIGURES


def test_constants_are_stored_once(at_640):
    large = [value.tobytes() for value in at_640.constants.values() if value.nbytes > 10_000 and value.ndim != 4]
    assert len(large) == len(set(large)) > 0
    biases = [name for name in at_640.constants if name.endswith(".bias")]
    assert len(biases) > 90


@pytest.mark.parametrize("size_hw", [(96, 96), (96, 160)])
@pytest.mark.parametrize("arch", ["yolo26n", "yolo11n"])
def test_anchors_made_by_operators_are_the_same_bits(checkpoints, arch, size_hw):
    model = trace(load_checkpoint(checkpoints[arch]), size_hw)
    small = generate_anchors(model)
    onnx.checker.check_model(small, full_check=True)
    cells = sum(size_hw[0] // stride * (size_hw[1] // stride) for stride in (8, 16, 32))
    assert not [t.name for t in small.graph.initializer if cells in t.dims]
    assert [t.name for t in model.graph.initializer if cells in t.dims]
    x = smooth_picture(size_hw[::-1], 5)[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(*[first_output(m, x) for m in (model, small)])
    again = generate_anchors(small)
    assert again == small


def test_other_grids_stay_constants(checkpoints):
    model = trace(load_checkpoint(checkpoints["yolo11n"]), (96, 96))
    for tensor in model.graph.initializer:
        if list(tensor.dims[:2]) == [1, 2]:
            values = numpy_helper.to_array(tensor).copy()
            values[0, 0, 7] += 0.25
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            moved = tensor.name
    small = generate_anchors(model)
    assert moved in {tensor.name for tensor in small.graph.initializer}
    x = smooth_picture((96, 96), 5)[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(*[first_output(m, x) for m in (model, small)])


def first_output(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": np.ascontiguousarray(x)})[0]


@pytest.mark.parametrize("arch", ["yolo26n", "yolo11n"])
def test_a_compact_graph_is_the_same_graph(artefact, arch):
    model = onnx.load(artefact(arch, "nms", "fp32"))
    keep = packable_weights(model)
    small = compact(model, keep)
    onnx.checker.check_model(small, full_check=True)
    assert small.ByteSize() < model.ByteSize() - 60_000
    assert packable_weights(small) == keep
    for field in ("input", "output"):
        assert list(getattr(small.graph, field)) == list(getattr(model.graph, field))
    assert [n.op_type for n in small.graph.node] == [n.op_type for n in model.graph.node]
    assert len({n.name for n in small.graph.node}) == len(small.graph.node)
    x = smooth_picture((IMGSZ, IMGSZ), 5)[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(*[first_output(m, x) for m in (model, small)])
