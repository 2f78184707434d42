"""Detector: models it takes and refuses, frames it takes and refuses, and that artefacts need no torch."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from tiny_detectors import IMGSZ, constant_model, make_checkpoint, smooth_picture

from wutdet.errors import DataError, ModelError, UsageError
from wutdet.runtime.detector import Detector
from wutdet.runtime.metadata import ArtefactMetadata


def test_wide_and_tall_frames_map_back_exactly(tmp_path):
    detector = Detector(constant_model(tmp_path / "m.onnx", [[10, 80, 110, 160, 0.9, 0]], size=(320, 320)))
    wide = detector(np.zeros((360, 640, 3), np.uint8))  # scale 0.5, 70 px of padding above
    np.testing.assert_allclose(wide.xyxy, [[20, 20, 220, 180]])
    tall = detector(np.zeros((640, 360, 3), np.uint8))  # 70 px of padding on the left; the box starts outside
    np.testing.assert_allclose(tall.xyxy, [[0, 160, 80, 320]])
    assert wide.category_names == ("ship",)
    assert wide.image.tolist() == [0]


@pytest.mark.parametrize("backend", ["onnxruntime", "native"])
def test_boxes_that_lie_in_the_padding_alone_are_left_out(tmp_path, backend):
    rows = [[10, 5, 110, 60, 0.9, 0], [10, 60, 110, 90, 0.8, 0], [10, 250, 110, 300, 0.7, 0], [10, 40, 110, 70, 0.6, 0]]
    detector = Detector(constant_model(tmp_path / "m.onnx", rows, size=(320, 320)), backend=backend, threads=1)
    found = detector(np.zeros((360, 640, 3), np.uint8))  # scale 0.5, 70 px of padding above and below
    np.testing.assert_allclose(found.xyxy, [[20, 0, 220, 40]])
    assert found.score.tolist() == [np.float32(0.8)] and len(found.category) == len(found.image) == 1


def test_a_frame_of_one_row_is_looked_at(tmp_path):
    detector = Detector(constant_model(tmp_path / "m.onnx", [[10, 0, 110, 32, 0.9, 0]]), imgsz=320)
    np.testing.assert_allclose(detector(np.zeros((1, 3000, 3), np.uint8)).xyxy, [[93.75, 0, 1031.25, 1]])


@pytest.mark.parametrize("backend", ["onnxruntime", "native"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": -1}, r"threads must be in 0\.\..*received -1"),
        ({"threads": 10**10}, "threads must be in"),
        ({"max_det": -1}, r"at least one box .*received -1"),
        ({"max_det": 0}, r"at least one box .*received 0"),
        ({"iou": 3.0}, r"NMS must be in 0\.\.1, received 3"),
        ({"iou": float("nan")}, r"NMS must be in 0\.\.1, received nan"),
    ],
)
def test_numbers_out_of_range_are_usage_errors(tmp_path, backend, options, message):
    file = constant_model(tmp_path / "m.onnx", [[0, 0, 9, 9, 0.9, 0]], size=(320, 320))
    with pytest.raises(UsageError, match=message):
        Detector(file, backend=backend, **options)


def test_any_number_of_boxes_may_be_allowed(artefact):
    picture = smooth_picture((160, 160), 3)
    few, many = (Detector(artefact("yolo26n", "nms", "fp32"), conf=0.1, max_det=most) for most in (300, 10**12))
    assert len(many(picture)) == len(few(picture)) > 0


def test_dynamic_artefact_takes_the_smallest_rectangle(tmp_path):
    detector = Detector(constant_model(tmp_path / "m.onnx", [[0, 0, 64, 64, 0.9, 0]]), imgsz=640)
    blob, letterbox = detector.preprocess(np.zeros((1080, 1920, 3), np.uint8))
    assert blob.shape == (1, 3, 384, 640)
    assert letterbox.pad_lt == (0, 12)


def test_small_frames_are_enlarged_as_far_as_the_artefact_says(tmp_path):
    props = ArtefactMetadata(("ship",), (320, 320), end2end=True, max_scale=2.0).to_props()
    file = constant_model(tmp_path / "m.onnx", [[110, 110, 210, 210, 0.9, 0]], size=(320, 320), props=props)
    frame = np.full((100, 100, 3), 255, np.uint8)
    blob, letterbox = Detector(file).preprocess(frame)
    assert (letterbox.scale, letterbox.pad_lt) == (2.0, (60, 60))
    assert (blob[0, :, 60:260, 60:260] == 1).all() and blob.sum() < 3 * 320 * 320
    np.testing.assert_allclose(Detector(file)(frame).xyxy, [[25, 25, 75, 75]])
    assert Detector(file, max_scale=1.5).preprocess(frame)[1].scale == 1.5
    assert Detector(constant_model(tmp_path / "n.onnx", [], size=(320, 320))).preprocess(frame)[1].scale == 3.2
    with pytest.raises(UsageError, match="max_scale"):
        Detector(file, max_scale=0)
    for wrong in ("0", "-1", '"large"', "[2]"):
        broken = constant_model(tmp_path / "o.onnx", [], size=(320, 320), props={**props, "max_scale": wrong})
        with pytest.raises(ModelError, match="'max_scale' must be a number above 0"):
            Detector(broken)


def test_threshold_is_the_artefacts_own(tmp_path):
    rows = [[0, 0, 9, 9, 0.5, 0], [20, 20, 40, 40, 0.2, 0]]
    props = ArtefactMetadata(("ship",), (320, 320), end2end=True, threshold=0.1).to_props()
    file = constant_model(tmp_path / "m.onnx", rows, size=(320, 320), props=props)
    frame = np.zeros((320, 320, 3), np.uint8)
    assert len(Detector(file)(frame)) == 2
    assert len(Detector(file, conf=0.3)(frame)) == 1
    assert Detector(constant_model(tmp_path / "n.onnx", rows, size=(320, 320))).threshold == 0.25
    with pytest.raises(UsageError, match="conf"):
        Detector(file, conf=1.5)


def test_category_of_an_artefact(tmp_path):
    props = ArtefactMetadata(("person", "boat"), (320, 320), end2end=True).to_props()
    rows = [[0, 0, 9, 9, 0.9, 0], [20, 20, 40, 40, 0.8, 1]]
    file = constant_model(tmp_path / "m.onnx", rows, size=(320, 320), props=props)
    found = Detector(file, category="boat")(np.zeros((320, 320, 3), np.uint8))
    assert found.category_names == ("boat",)
    np.testing.assert_allclose(found.xyxy, [[20, 20, 40, 40]])
    with pytest.raises(ModelError, match="Did you mean 'boat'"):
        Detector(file, category="boot")


def test_frames_of_every_kind(artefact):
    detector = Detector(artefact("yolo26n", "nms", "fp32"), conf=0.02)
    grey = cv2.cvtColor(smooth_picture((200, 120), 1), cv2.COLOR_BGR2GRAY)
    bgr = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    wanted = detector(bgr)
    assert len(wanted) > 0
    for frame in (grey, grey[:, :, None], np.dstack([bgr, grey]), grey.astype(np.uint16) * 257):
        np.testing.assert_array_equal(detector(frame).xyxy, wanted.xyxy)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "NumPy array"),
        ("a.jpg", "NumPy array"),
        (np.zeros((0, 0, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float32), "uint8"),
        (np.zeros((4, 4, 3), np.int64), "uint8"),
    ],
)
def test_what_is_no_frame(tmp_path, frame, message):
    detector = Detector(constant_model(tmp_path / "m.onnx", [[0, 0, 9, 9, 0.9, 0]], size=(320, 320)))
    with pytest.raises(DataError, match=message):
        detector(frame)


def test_predict_batch_is_one_after_the_other(artefact):
    detector = Detector(artefact("yolo26n", "nms", "fp32"), conf=0.2)
    frames = [smooth_picture(size, seed) for seed, size in enumerate([(160, 160), (160, 160), (200, 120)])]
    batch = detector.predict_batch(frames)
    assert len(batch) == 3
    for one, frame in zip(batch, frames, strict=True):
        np.testing.assert_array_equal(one.xyxy, detector(frame).xyxy)
    assert detector.predict_batch([]) == []


def test_files_that_are_no_models(tmp_path):
    cases = {"text.onnx": b"not a model", "empty.onnx": b"", "text.pt": b"not a model", "x.safetensors": b"\x00" * 20}
    for name, content in cases.items():
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(ModelError) as error:
            Detector(file, arch="yolo26n")
        assert name in str(error.value)
        assert error.value.exit_code == 4
    with pytest.raises(ModelError, match="no such model"):
        Detector(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match="folder"):
        Detector(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match="no model format"):
        Detector(tmp_path / "notes.txt")


def test_truncated_artefact_is_an_error(tmp_path, artefact):
    file = tmp_path / "cut.onnx"
    file.write_bytes(artefact("yolo26n", "nms", "fp32").read_bytes()[:100_000])
    with pytest.raises(ModelError, match="cannot load"):
        Detector(file)


def test_artefact_without_metadata_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="names") as error:
        Detector(constant_model(tmp_path / "m.onnx", [[0, 0, 9, 9, 0.9, 0]], size=(320, 320), props={}))
    assert "export" in error.value.hint


def test_auto_takes_the_native_engine_for_8_bit_activations_only(tmp_path, artefact):
    """Float networks are faster on onnxruntime; so is nothing that the engine has no plan for, or does not know."""
    assert Detector(artefact("yolo26n", "nms", "fp32")).backend.name == "onnxruntime"
    assert Detector(artefact("yolo26n", "nms", "int8")).backend.name == "native"
    assert Detector(artefact("yolo26n", "nms", "int8"), backend="onnxruntime").backend.name == "onnxruntime"
    unknown = constant_model(tmp_path / "any.onnx", [[0, 0, 9, 9, 0.9, 0]])  # of any size: not for the engine
    with pytest.raises(ModelError, match="native engine"):
        Detector(unknown, backend="native")
    assert Detector(unknown).backend.name == "onnxruntime"


def test_fixed_size_and_backend_are_respected(tmp_path):
    file = constant_model(tmp_path / "m.onnx", [[0, 0, 9, 9, 0.9, 0]], size=(320, 320))
    with pytest.raises(ModelError, match="fixed at 320x320"):
        Detector(file, imgsz=640)
    with pytest.raises(ModelError, match="does not run"):
        Detector(file, backend="torch")
    with pytest.raises(UsageError, match="Did you mean 'onnxruntime'"):
        Detector(file, backend="onnxruntme")


def test_default_artefact_missing_says_how_to_make_one(monkeypatch):
    monkeypatch.setattr("wutdet.runtime.model_files.released_artefacts", dict)
    with pytest.raises(ModelError, match="no default artefact") as error:
        Detector()
    assert "wutdet export" in error.value.hint


@pytest.mark.parametrize("arch", ["yolo26n", "yolo11n"])
def test_checkpoint_gives_the_boxes_of_ultralytics(checkpoints, arch):
    from ultralytics import YOLO

    model = YOLO(str(checkpoints[arch]))
    for size in ((200, 120), (120, 200)):
        picture = smooth_picture(size, 5)
        theirs = model.predict(picture, imgsz=IMGSZ, conf=0.2, iou=0.7, verbose=False, device="cpu")[0].boxes
        ours = Detector(checkpoints[arch], conf=0.2, device="cpu")(picture)
        assert len(ours) == len(theirs) > 0
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy.numpy(), atol=0.05)
        np.testing.assert_allclose(ours.score, theirs.conf.numpy(), atol=1e-4)


def test_checkpoint_cut_to_one_category_ranks_only_that_one(tmp_path):
    file = make_checkpoint(tmp_path / "two.pt", "yolo26n", ("buoy", "ship"))
    picture = smooth_picture((160, 160), 2)
    alone = Detector(file, conf=0.05, category="ship", device="cpu")
    assert alone.category_names == ("ship",)
    output = alone.backend.infer(alone.preprocess(picture)[0])
    both = Detector(file, conf=0.05, device="cpu")
    wide = both.backend.infer(both.preprocess(picture)[0])
    assert output.shape[1] == 5
    np.testing.assert_allclose(output[0, 4], wide[0, 5], atol=1e-5)
    np.testing.assert_allclose(output[0, :4], wide[0, :4], atol=1e-3)


def test_state_dict_needs_the_right_architecture(tmp_path, checkpoints):
    import torch
    from safetensors.torch import save_file

    state = torch.load(checkpoints["yolo26n"], weights_only=False)["model"].state_dict()
    file = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous().clone() for key, value in state.items()}, file)
    picture = smooth_picture((160, 160), 4)
    ours = Detector(file, arch="yolo26n", conf=0.2, imgsz=IMGSZ, device="cpu")(picture)
    np.testing.assert_allclose(ours.xyxy, Detector(checkpoints["yolo26n"], conf=0.2, device="cpu")(picture).xyxy)
    with pytest.raises(ModelError, match="--arch"):
        Detector(file)
    with pytest.raises(ModelError, match="does not fit"):
        Detector(file, arch="yolo11n")
    with pytest.raises(ModelError, match="no architecture"):
        Detector(file, arch="yolo99n")


def test_pickle_that_would_run_code_is_refused(tmp_path):
    import torch

    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    file = tmp_path / "evil.pt"
    torch.save({"model": Evil()}, file)
    with pytest.raises(ModelError):
        Detector(file)
    assert not marker.exists()


def test_artefact_runs_without_torch(artefact):
    file = artefact("yolo26n", "nms", "int8")
    code = f"""
import sys, numpy as np
from wutdet.runtime.detector import Detector
found = Detector({str(file)!r}, conf=0.01)(np.full((120, 200, 3), 90, np.uint8))
heavy = [name for name in ("torch", "ultralytics", "albumentations", "pandas", "matplotlib") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
