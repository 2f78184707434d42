"""The stem with channels of like ranges: the same outputs in onnxruntime, and the nodes an engine looks for."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tiny_detectors import smooth_picture

from wutdet.errors import ExportError
from wutdet.quantize.equalise import equalise_stem
from wutdet.quantize.ptq import quantise_int8
from wutdet.quantize.ranges import activation_ranges


def pictures(count: int, side: int = 160) -> list[np.ndarray]:
    found = [smooth_picture((side, side), seed).transpose(2, 0, 1) for seed in range(count)]
    return [np.ascontiguousarray(picture[None], dtype=np.float32) / 255 for picture in found]


@pytest.fixture(scope="module")
def frames():
    return pictures(2)


def outputs(model: onnx.ModelProto, frame: np.ndarray, name: str) -> np.ndarray:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([name], {copy.graph.input[0].name: frame})[0]


def test_it_computes_the_same(artefact, frames):
    model = onnx.load(artefact("yolo26n", "nms", "fp32"))
    equal = equalise_stem(model, frames)
    onnx.checker.check_model(equal, full_check=True)
    added = [n for n in equal.graph.node if n.name.endswith("_equalised")]
    assert len(added) == 2 == len(equal.graph.node) - len(model.graph.node)
    third = [n for n in model.graph.node if n.op_type == "Conv"][2].output[0]
    wanted = outputs(model, frames[0], third)
    np.testing.assert_allclose(outputs(equal, frames[0], third), wanted, atol=1e-5 * np.abs(wanted).max())
    again = equalise_stem(model, frames)
    assert again == equal


def test_each_channel_and_its_weights_take_like_shares_of_their_scales(artefact, frames):
    model = onnx.load(artefact("yolo26n", "nms", "fp32"))
    convolution = [n for n in model.graph.node if n.op_type == "Conv"][1]
    equal = equalise_stem(model, frames)
    name = f"{convolution.input[0]}_equalised"
    weight = next(numpy_helper.to_array(t) for t in equal.graph.initializer if t.name == convolution.input[1])
    ranges = np.quantile(
        np.abs(np.concatenate([outputs(equal, frame, name) for frame in frames])), 0.9999, axis=(0, 2, 3)
    )
    ratio = ranges / np.abs(weight).max(axis=(0, 2, 3))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_the_int8_graph_has_the_nodes_that_an_engine_folds(artefact, frames):
    model = equalise_stem(onnx.load(artefact("yolo26n", "nms", "fp32")), frames)
    graph = quantise_int8(model, activation_ranges(model, frames, "minmax")).graph
    producer = {name: node for node in graph.node for name in node.output}
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for number in (1, 2):
        node = [n for n in graph.node if n.op_type == "Conv"][number]
        chain = []
        while len(chain) < 5:
            node = producer[node.input[0]]
            chain.append(node)
        assert [n.op_type for n in chain] == ["DequantizeLinear", "QuantizeLinear", "Mul", "Mul", "Conv"]
        assert constants[chain[1].input[2]].dtype == np.uint8
        constant = constants[chain[2].input[1]]
        channels = constants[producer[chain[4].input[1]].input[0]].shape[0]
        assert constant.dtype == np.float32 and constant.shape == (1, channels, 1, 1)
        readers = [n.op_type for n in graph.node if chain[2].output[0] in n.input]
        assert readers == ["QuantizeLinear"]
        sigmoid = producer[next(name for name in chain[3].input if name != chain[4].output[0])]
        assert sigmoid.op_type == "Sigmoid" and list(sigmoid.input) == list(chain[4].output)


def test_activations_that_others_read_too_stay_as_they_are(artefact, frames):
    model = onnx.load(artefact("yolo26n", "nms", "fp32"))
    source = [n for n in model.graph.node if n.op_type == "Conv"][1].input[0]
    model.graph.node.append(onnx.helper.make_node("Relu", [source], ["more"], name="more"))
    assert len(equalise_stem(model, frames, 1).graph.node) == len(model.graph.node)
    with pytest.raises(ExportError, match="without frames"):
        equalise_stem(model, [])
