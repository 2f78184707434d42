"""int8 weights rounded by what their layers see: against a search over all roundings, and onnxruntime's outputs."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_graphs import float_graph
from tiny_detectors import smooth_picture

from wutdet.errors import ExportError
from wutdet.quantize.int8_rounding import int8_codes, round_weights, second_moments
from wutdet.quantize.layerwise import convolutions
from wutdet.quantize.operands import round_operands


def pictures(first: int, count: int, side: int = 48) -> list[np.ndarray]:
    found = [smooth_picture((side, side), seed).transpose(2, 0, 1) for seed in range(first, first + count)]
    return [np.ascontiguousarray(picture[None], dtype=np.float32) / 255 for picture in found]


def three_convolutions(rng) -> onnx.ModelProto:
    """Dense with a stride, depthwise with dilation, and grouped; ReLU between."""
    tensors = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)), "b1": rng.normal(0, 0.3, 8),
        "w2": rng.normal(0, 0.3, (8, 1, 3, 3)), "b2": rng.normal(0, 0.3, 8),
        "w3": rng.normal(0, 0.3, (6, 4, 1, 3)), "b3": rng.normal(0, 0.3, 6),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], name="one", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="two", pads=[2] * 4, dilations=[2, 2], group=8),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["y"], name="three", pads=[0, 1, 0, 1], group=2),
    ]
    return float_graph(nodes, tensors, [1, 3, 48, 48], [1, 6, 24, 24])


def coarse(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rounded operands, but for inputs of many codes and weights of -15..15, so that weights are what matters."""
    out = round_operands(model, ["one", "two", "three"], {"r1": (0, 4), "r2": (0, 4)})
    tensors = {t.name: t for t in out.graph.initializer}
    floats = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name in ("w1", "w2", "w3"):
        codes, scale = tensors[f"{name}_operand_codes"], tensors[f"{name}_operand_scale"]
        wide = (numpy_helper.to_array(scale) * 127 / 15).astype(np.float32)
        rounded = np.rint(floats[name] / wide[:, None, None, None]).astype(np.int8)
        scale.CopyFrom(numpy_helper.from_array(wide, scale.name))
        codes.CopyFrom(numpy_helper.from_array(rounded, codes.name))
    return out


def run(model: onnx.ModelProto, frames, name: str) -> np.ndarray:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if name != copy.graph.output[0].name:
        copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([name], {"images": frame})[0] for frame in frames])


def lost(rows, codes, scale, moments) -> np.ndarray:
    difference = rows - codes * scale[:, None]
    return np.einsum("ok,kl,ol->o", difference, moments, difference)


def test_rounding_is_near_the_best_there_is_and_better_than_nearest(rng):
    shared = rng.normal(size=(500, 1))
    moments = second_moments((shared + 0.3 * rng.normal(size=(500, 6))).astype(np.float32))
    rows = rng.normal(size=(40, 6)).astype(np.float32)
    scale = np.full(40, 0.4, np.float32)
    codes = int8_codes(rows, scale, moments)
    got, nearest = lost(rows, codes, scale, moments), lost(rows, np.rint(rows / scale[:, None]), scale, moments)
    floor = np.floor(rows / scale[:, None])
    every = [lost(rows, floor + np.array(up), scale, moments) for up in itertools.product((-1, 0, 1, 2), repeat=6)]
    best = np.min(every, axis=0)
    assert got.mean() < 0.4 * nearest.mean()
    assert best.mean() <= got.mean() < 2 * best.mean()


def test_white_inputs_are_rounded_to_nearest_and_codes_keep_to_their_bits(rng):
    rows = rng.normal(size=(5, 70)).astype(np.float32)
    scale = (np.abs(rows).max(axis=1) / 64).astype(np.float32)
    nearest = np.rint(rows / scale[:, None])
    np.testing.assert_array_equal(int8_codes(rows, scale, np.eye(70)), nearest)
    clipped = np.clip(np.rint(rows / (scale / 2)[:, None]), -64, 64)
    assert np.abs(clipped).max() == 64 < 2 * np.abs(nearest).max()
    np.testing.assert_array_equal(int8_codes(rows, scale / 2, np.eye(70), largest=64), clipped)


def test_patches_times_weights_are_the_convolutions_outputs(rng):
    model, frames = three_convolutions(rng), pictures(0, 2)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    seen = 0
    for step in convolutions(model, frames):
        kernel, bias = (weights[name] for name in step.convolution.input[1:])
        patches = step.patches(kernel.shape[2:], 10**6, np.random.default_rng(0))
        groups = patches.shape[1] // kernel.shape[1]
        columns = patches.reshape(len(patches), groups, -1)
        got = np.concatenate(
            [columns[:, g] @ part.reshape(len(part), -1).T for g, part in enumerate(np.split(kernel, groups))], axis=1
        )
        output = [value[step.convolution.output[0]] for value in step.values]
        wanted = np.concatenate(output).transpose(0, 2, 3, 1).reshape(-1, len(kernel))
        # Places come in random order: all of them together are compared.
        np.testing.assert_allclose(np.sort(got + bias, axis=0), np.sort(wanted, axis=0), atol=2e-5)
        seen += 1
    assert seen == 3


@pytest.mark.parametrize("correct_biases", [True, False])
def test_outputs_on_other_frames_are_nearer_to_the_float_graphs(rng, correct_biases):
    model, frames, others = three_convolutions(rng), pictures(0, 4), pictures(10, 2)
    quantised = coarse(model)
    rounded = round_weights(model, quantised, frames, correct_biases=correct_biases)
    onnx.checker.check_model(rounded, full_check=True)
    for name in ("c1", "c2", "y"):
        wanted, before, after = (run(m, others, name) for m in (model, quantised, rounded))
        if correct_biases:
            # A float result of 8-bit operands, which onnxruntime's kernels round a little otherwise in the whole graph.
            np.testing.assert_allclose(
                run(rounded, frames, name).mean((0, 2, 3)), run(model, frames, name).mean((0, 2, 3)), atol=1e-3
            )
        assert np.square(after - wanted).mean() < 0.5 * np.square(before - wanted).mean()
    changed = {a.name for a, b in zip(quantised.graph.initializer, rounded.graph.initializer, strict=True) if a != b}
    codes = {"w1_operand_codes", "w2_operand_codes", "w3_operand_codes"}
    assert changed == codes | ({"b1", "b2", "b3"} if correct_biases else set())


def test_weights_that_two_layers_share_stay_as_they_are(rng):
    model = three_convolutions(rng)
    model.graph.node.append(helper.make_node("Conv", ["c1", "w2", "b2"], ["z"], name="twin", group=8))
    quantised = round_operands(model, ["one", "two", "three", "twin"], {"r1": (0, 4), "r2": (0, 4), "c1": (-4, 4)})
    # One decoder for both readers of the weight.
    decoders = [n for n in quantised.graph.node if n.output[0] == "w2_operand"]
    for extra in decoders[1:]:
        quantised.graph.node.remove(extra)
    rounded = round_weights(model, quantised, pictures(0, 2))
    before, after = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (quantised, rounded))
    np.testing.assert_array_equal(after["w2_operand_codes"], before["w2_operand_codes"])
    assert (after["w1_operand_codes"] != before["w1_operand_codes"]).any()


def test_no_frames_and_a_strange_graph_are_errors(rng):
    model = three_convolutions(rng)
    with pytest.raises(ExportError, match="without frames"):
        round_weights(model, coarse(model), [])
    strange = coarse(model)
    next(n for n in strange.graph.node if n.name == "one").name = "strange"
    with pytest.raises(ExportError, match="'strange'"):
        round_weights(model, strange, pictures(0, 1))
