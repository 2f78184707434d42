"""Pieces of networks that the planned program runs in ways of its own, against onnxruntime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from engine_models import model_bytes, network_input, onnxruntime_session
from onnx import helper
from operator_cases import Case, graph_of
from piece_cases import STEP, area_attention, attention, head_end, picture_conv, residual_block, upsampled_join
from wutdet._kernels import Engine, FramePlan

from wutdet.boxes import Letterbox


def run_both(case: Case) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Output of the engine and of onnxruntime, and the kinds of the engine's steps."""
    data = case.model.SerializeToString()
    feeds = {value.name: feed for value, feed in zip(case.model.graph.input, case.feeds, strict=True)}
    (wanted,) = onnxruntime_session(data).run(None, feeds)
    engine = Engine(data, threads=2, program="fused")
    (found,) = engine.run(case.feeds)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    return found, wanted, [kind for _, kind, *_ in engine.layers(case.feeds)]


@pytest.mark.parametrize("pixels_hw", [(1, 1), (5, 7), (4, 12), (20, 20), (27, 31)])
@pytest.mark.parametrize("channels", [(1, 2, 16), (2, 32, 64), (3, 6, 48)])
def test_attention_of_bytes(rng, pixels_hw, channels):
    found, wanted, kinds = run_both(attention(rng, *channels, *pixels_hw))
    assert "pack heads" in kinds and "Softmax" not in kinds
    # Weights are whole 16383rds of the largest one. The result is rounded to steps like those of the bytes, `STEP`.
    error = np.abs(found - wanted) / STEP
    assert error.max() < 0.35 and error.mean() < 0.02


# Areas of whole rows, of parts of rows, of an odd number of pixels.
@pytest.mark.parametrize(
    ("areas", "pixels_hw"), [(1, (3, 4)), (1, (5, 7)), (4, (8, 5)), (4, (6, 8)), (4, (6, 6)), (3, (5, 9))]
)
@pytest.mark.parametrize(("with_values", "rounds"), [(True, True), (False, True), (True, False)])
def test_area_attention(rng, areas, pixels_hw, with_values, rounds):
    found, wanted, kinds = run_both(area_attention(rng, areas, 2, 32, *pixels_hw, with_values, rounds))
    assert "attention" in kinds and not {"Softmax", "MatMul", "Transpose", "Split"} & set(kinds), kinds
    if rounds:
        error = np.abs(found - wanted) / STEP
        assert error.max() < 0.35 and error.mean() < 0.02
    else:
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_area_attention_beside_other_channels(rng):
    """Results that lie in a wider image with a border: rows do not follow each other."""
    case = area_attention(rng, 4, 2, 16, 6, 6, with_values=False)
    nodes = [*case.model.graph.node, helper.make_node("Conv", ["y", "filter"], ["z"], pads=[1, 1, 1, 1])]
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in case.model.graph.initializer}
    constants["filter"] = rng.normal(0, 0.1, (8, 32, 3, 3)).astype(np.float32)
    found, wanted, kinds = run_both(graph_of(nodes, {"x": case.feeds[0]}, constants, {"z": np.float32}))
    assert "attention" in kinds and "Softmax" not in kinds
    assert np.abs(found - wanted).max() < 0.35 * STEP


def test_attention_with_one_score_far_above_all_others(rng):
    case = attention(rng, 1, 8, 16, 6, 6)
    case.feeds[0][:] *= 40  # codes at both ends: the softmax picks single pixels
    found, wanted, _ = run_both(case)
    np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max(), rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6])
def test_channels_that_fill_no_whole_step(rng, channels):
    found, wanted, kinds = run_both(picture_conv(rng, 1 / 255, channels))
    assert kinds[:2] == ["to image", "conv"]
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frame_wh", [(20, 12), (64, 36), (33, 50)])
@pytest.mark.parametrize("threads", [1, 2])
def test_frames_as_bytes_are_frames_as_floats(rng, frame_wh, threads):
    engine = Engine(picture_conv(rng, 1 / 255).model.SerializeToString(), threads=threads)
    assert engine.takes_frames
    large = rng.integers(0, 256, (frame_wh[1], frame_wh[0] + 5, 3)).astype(np.uint8)
    frame = large[:, 3 : 3 + frame_wh[0]]
    box = Letterbox.fit(frame_wh, (20, 12))
    plan = FramePlan(frame_wh, box.input_wh, box.scaled_wh, box.pad_lt, Letterbox.PAD_VALUE)
    x = box.apply(frame)[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(engine.run_frame(frame, plan)[0], engine.run([np.ascontiguousarray(x)])[0])


def test_frames_that_cannot_be_taken(rng):
    other = Engine(picture_conv(rng, 1 / 128).model.SerializeToString())
    plan = FramePlan((20, 12), (20, 12), (20, 12), (0, 0), 114)
    frame = np.zeros((12, 20, 3), np.uint8)
    assert not other.takes_frames
    with pytest.raises(ValueError, match="does not begin with rounding"):
        other.run_frame(frame, plan)
    engine = Engine(picture_conv(rng, 1 / 255).model.SerializeToString())
    with pytest.raises(ValueError, match="another frame size"):
        engine.run_frame(frame[:11], plan)
    with pytest.raises(ValueError, match="another input size"):
        engine.run_frame(frame, FramePlan((20, 12), (32, 32), (20, 12), (0, 0), 114))
    with pytest.raises(TypeError):
        engine.run_frame(frame.astype(np.float32), plan)
    with pytest.raises(ValueError, match="side by side"):
        engine.run_frame(np.zeros((12, 40, 3), np.uint8)[:, ::2], plan)


@pytest.mark.parametrize(("roundings", "equalised"), [(1, False), (1, True), (3, False)])
@pytest.mark.parametrize("size", [(4, 5, 3), (16, 9, 17), (32, 6, 11), (48, 3, 20), (72, 7, 7)])
def test_residual_blocks_within_one_code(rng, size, roundings, equalised):
    channels, *size_hw = size
    found, wanted, kinds = run_both(residual_block(rng, channels, tuple(size_hw), roundings, equalised))
    assert kinds.count("conv") == 1 and not {"Add", "Mul", "add"} & set(kinds)
    steps = np.rint(np.abs(found - wanted) / STEP)
    assert steps.max() <= 1 and (steps > 0).mean() < 0.01


@pytest.mark.parametrize(("last", "rows"), [(False, 2), (True, 2), (False, 1)])
@pytest.mark.parametrize("roundings", [1, 3])
@pytest.mark.parametrize("size", [(8, 4, 3, 1), (20, 16, 4, 5), (48, 32, 3, 9), (72, 40, 5, 7), (128, 8, 2, 10)])
def test_sums_before_upsampling_are_those_after(rng, size, roundings, last, rows):
    case = upsampled_join(rng, size[:2], size[2:], roundings, last, rows)
    found, wanted, kinds = run_both(case)
    assert kinds.count("conv") == 2 and not {"upsample", "Resize", "Concat"} & set(kinds)
    steps = np.rint(np.abs(found - wanted) / STEP)
    assert steps.max() <= 1 and (steps > 0).mean() < 0.01
    # The joined image as an output must exist, and then the convolution is one.
    case.model.graph.output.append(helper.make_tensor_value_info("join", onnx.TensorProto.FLOAT, None))
    engine = Engine(case.model.SerializeToString(), threads=1, program="fused")
    kinds = [kind for _, kind, *_ in engine.layers(case.feeds)]
    assert kinds.count("conv") == 1 and "upsample" in kinds
    np.testing.assert_array_equal(engine.run(case.feeds)[0], found)


@pytest.mark.parametrize("channels", [(6, 8), (8, 6)])
def test_parts_that_fill_no_whole_step_are_joined(rng, channels):
    found, wanted, kinds = run_both(upsampled_join(rng, channels, (3, 4), 1))
    assert kinds.count("conv") == 1 and "upsample" in kinds
    assert np.abs(found - wanted).max() < 1.5 * STEP


@pytest.mark.parametrize("categories", [1, 3, 16, 80])
def test_results_are_written_where_they_end_up(rng, categories):
    found, wanted, kinds = run_both(head_end(rng, [(16, 20), (8, 10), (3, 5)], categories))
    assert "Concat" not in kinds and "sigmoid" in kinds
    np.testing.assert_allclose(found, wanted, rtol=3e-7, atol=2e-7)  # what onnxruntime's sigmoid is off


def test_values_that_are_joined_twice(rng):
    found, wanted, kinds = run_both(head_end(rng, [(16, 20), (8, 10)], 3, used_twice=True))
    assert "Concat" in kinds
    np.testing.assert_allclose(found, wanted, rtol=3e-7, atol=2e-7)  # what onnxruntime's sigmoid is off


def test_sigmoid_at_its_ends():
    x = np.array([[np.nan, np.inf, -np.inf, 0, -0.0, 88, -88, 1e30, -1e30, 1e-30, 17, -17, 40, -40, 3]], np.float32)
    case = graph_of([helper.make_node("Sigmoid", ["x"], ["y"])], {"x": x}, {}, {"y": np.float32})
    found, _, kinds = run_both(case)
    with np.errstate(over="ignore"):
        true = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert kinds == ["sigmoid"]
    np.testing.assert_allclose(found, true, rtol=3e-7, atol=1e-37)


def test_results_stay_as_they_are_in_later_runs(rng):
    data = head_end(rng, [(16, 20)], 3).model.SerializeToString()
    engine = Engine(data, threads=1, program="fused")
    feeds = [[rng.normal(0, 3, dims).astype(np.float32) for _, _, dims in engine.inputs] for _ in range(8)]
    results = [engine.run(feed)[0] for feed in feeds]
    for feed, result in zip(feeds, results, strict=True):
        np.testing.assert_array_equal(engine.run(feed)[0], result)
    del engine
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize(
    ("arch", "number_format"),
    [
        ("yolo26n", "int8"),
        ("yolo11n", "int8"),
        ("yolo11n", "fp32"),
        pytest.param("yolo12n", "int8", marks=pytest.mark.slow),
    ],
)
def test_every_instruction_set_gives_the_same_bits(arch, number_format, tmp_path: Path):
    from wutdet._kernels import _conv_isas

    file, picture = tmp_path / "model.onnx", tmp_path / "x.npy"
    file.write_bytes(model_bytes(arch, "nms" if arch == "yolo26n" else "auto", number_format))
    np.save(picture, network_input(3))
    code = (
        "import sys, hashlib, numpy as np; from wutdet._kernels import Engine; "
        "e = Engine(open(sys.argv[1], 'rb').read(), threads=1, program='fused'); "
        "y = e.run([np.load(sys.argv[2])])[0]; print(e.isa, hashlib.sha256(y.tobytes()).hexdigest())"
    )
    digests = {}
    for isa in _conv_isas():
        run = subprocess.run(
            [sys.executable, "-c", code, str(file), str(picture)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "WUTDET_ISA": isa},
        )
        name, digest = run.stdout.split()
        assert name == isa
        digests[isa] = digest
    assert len(set(digests.values())) == 1, digests
