"""Corrected biases, against the means that onnxruntime gives for the whole graphs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_graphs import float_graph
from tiny_detectors import smooth_picture

from wutdet.errors import ExportError
from wutdet.quantize.bias import correct_biases
from wutdet.quantize.ptq import quantise_int8
from wutdet.quantize.ranges import activation_ranges


def pictures(first: int, count: int, side: int = 160) -> list[np.ndarray]:
    found = [smooth_picture((side, side), seed)[..., ::-1].transpose(2, 0, 1) for seed in range(first, first + count)]
    return [np.ascontiguousarray(picture[None], dtype=np.float32) / 255 for picture in found]


def convolution_means(model: onnx.ModelProto, frames) -> dict[str, np.ndarray]:
    """By running the whole graph with all convolutions' outputs as outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = {node.name: node.output[0] for node in copy.graph.node if node.op_type == "Conv"}
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names.values())
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [session.run(list(names.values()), {copy.graph.input[0].name: frame}) for frame in frames]
    return {name: np.mean([f[i].mean((0, 2, 3)) for f in found], axis=0) for i, name in enumerate(names)}


def branching_graph(rng) -> onnx.ModelProto:
    """Three convolutions: the third sees the first one's output and the second one's, joined."""
    weights = {
        "w1": rng.normal(0, 0.3, (6, 3, 3, 3)), "b1": rng.normal(size=6),
        "w2": rng.normal(0, 0.3, (5, 6, 1, 1)), "b2": rng.normal(size=5),
        "w3": rng.normal(0, 0.3, (4, 11, 1, 1)), "b3": rng.normal(size=4),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="two"),
        helper.make_node("Concat", ["r1", "c2"], ["j"], name="join", axis=1),
        helper.make_node("Conv", ["j", "w3", "b3"], ["y"], name="three"),
    ]
    return float_graph(nodes, weights, [1, 3, 16, 16], [1, 4, 16, 16])


def test_all_means_come_back_also_behind_a_branch(rng):
    model, frames = branching_graph(rng), pictures(0, 3, 16)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    for tensor in rounded.graph.initializer:
        if tensor.name.startswith("w"):
            coarse = np.round(numpy_helper.to_array(tensor) * 4) / 4
            tensor.CopyFrom(numpy_helper.from_array(coarse.astype(np.float32), tensor.name))
    before = {t.name: numpy_helper.to_array(t).copy() for t in rounded.graph.initializer}
    corrected = correct_biases(model, rounded, frames)
    wanted, shifted, got = (convolution_means(m, frames) for m in (model, rounded, corrected))
    for name, mean in wanted.items():
        assert np.abs(shifted[name] - mean).max() > 0.01
        np.testing.assert_allclose(got[name], mean, atol=1e-5)
    for tensor in rounded.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), before[tensor.name])


def test_an_int8_detector_is_nearer_to_its_float_means(artefact):
    model, frames = onnx.load(artefact("yolo26n", "nms", "fp32")), pictures(0, 4)
    quantised = quantise_int8(model, activation_ranges(model, frames, "minmax"))
    corrected = correct_biases(model, quantised, frames)
    onnx.checker.check_model(corrected)
    changed = [
        tensor.name
        for tensor, other in zip(quantised.graph.initializer, corrected.graph.initializer, strict=True)
        if tensor != other
    ]
    types = {t.data_type for t in corrected.graph.initializer if t.name in changed}
    assert types == {TensorProto.INT32, TensorProto.FLOAT}  # quantised biases, and those of float layers

    wanted, *others = (convolution_means(m, frames) for m in (model, quantised, corrected))
    before, after = (np.mean([np.abs(other[name] - wanted[name]).mean() for name in wanted]) for other in others)
    assert after < 0.3 * before


def test_no_frames_and_a_strange_graph_are_errors(rng):
    model = branching_graph(rng)
    with pytest.raises(ExportError, match="without frames"):
        correct_biases(model, model, [])
    other = onnx.ModelProto()
    other.CopyFrom(model)
    other.graph.node[0].name = "strange"
    with pytest.raises(ExportError, match="'strange'"):
        correct_biases(model, other, pictures(0, 1, 16))
