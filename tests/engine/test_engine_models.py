"""Whole detectors on the native engine against onnxruntime on the same file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from engine_models import (
    IMGSZ_HW,
    PACKED_FORMATS,
    cut_at_codes,
    model_bytes,
    network_input,
    onnxruntime_session,
    quantised,
    share_of_other_codes,
)
from wutdet._kernels import Engine, box_iou

from wutdet.boxes import Letterbox
from wutdet.errors import ModelError, UsageError
from wutdet.images import to_network_input
from wutdet.runtime.decode import decode_output
from wutdet.runtime.detector import Detector
from wutdet.runtime.native_backend import NativeBackend
from wutdet.scenes.direct import SequenceSpec
from wutdet.scenes.film import render_frame

SEQUENCE = SequenceSpec(seed=5, index=0, scene="port", conditions=(), size_wh=(960, 576), stride_s=2.0)

slow = pytest.mark.slow
DETECTORS = [
    ("yolo26n", "nms"),
    ("yolo26n", "nms-free"),
    ("yolo11n", "auto"),
    pytest.param("yolov8n", "auto", marks=slow),
    pytest.param("yolo12n", "auto", marks=slow),
    pytest.param("yolo26n-p2", "nms", marks=slow),
]


def matched(found: tuple, wanted: tuple, pixels: float, score: float) -> None:
    """Boxes (xyxy, score, category) one to one: each has a counterpart of its own."""
    assert len(found[1]) >= len(wanted[1]) > 0
    free = np.ones(len(found[1]), bool)
    for box, value, category in zip(*wanted, strict=True):
        distance = np.abs(found[0] - box).max(axis=1) / pixels + np.abs(found[1] - value) / score
        distance[~free | (found[2] != category)] = np.inf
        best = int(distance.argmin())
        assert np.abs(found[0][best] - box).max() <= pixels
        assert abs(found[1][best] - value) <= score
        free[best] = False


@pytest.mark.parametrize("number_format", ["fp32", *PACKED_FORMATS])
@pytest.mark.parametrize(("arch", "head"), DETECTORS)
def test_float_activations(arch, head, number_format):
    data = model_bytes(arch, head, number_format)
    x = network_input(9)
    engine, session = Engine(data, program="generic"), onnxruntime_session(data)
    (found,), (wanted,) = engine.run([x]), session.run(None, {engine.inputs[0][0]: x})
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    # Rounded random weights make deep networks that enlarge any difference: what onnxruntime's optimisations of float
    # sums change in its own output is the measure there.
    (plain,) = onnxruntime_session(data, optimise=False).run(None, {engine.inputs[0][0]: x})
    if head != "nms-free":
        width = IMGSZ_HW[1]
        assert np.abs(found - wanted).max() <= max(1e-4 * width, 4 * np.abs(plain - wanted).max())
        return
    # Rows come by falling score, and equal scores in any order.
    np.testing.assert_allclose(found[0, :, 4], wanted[0, :, 4], atol=1e-4)
    best = decode_output(wanted, conf=wanted[0, 30, 4], iou=1.0, max_det=300)
    matched(decode_output(found, conf=0.0, iou=1.0, max_det=300), best, pixels=0.05, score=1e-4)


@pytest.mark.parametrize(("arch", "head"), DETECTORS)
def test_int8_layers_within_one_code(arch, head):
    shown, cut, names = cut_at_codes(model_bytes(arch, head, "int8"))
    x = network_input(9)
    codes = onnxruntime_session(shown).run(None, {"images": x})[1:]
    engine = Engine(cut, program="generic")
    assert [name for name, _, _ in engine.inputs] == ["images", *names]
    assert share_of_other_codes(engine, names, x, codes) < 0.005


@pytest.fixture(scope="module")
def trained_int8(tmp_path_factory, repository_dir):
    """The released detector, int8, and frames that it finds ships in."""
    from wutdet.export.metadata import describe
    from wutdet.export.onnx_graph import set_metadata, trace
    from wutdet.runtime.torch_backend import load_checkpoint

    checkpoint = load_checkpoint(repository_dir / "wutdet" / "released" / "ship-n-rendered.pt", head="nms")
    height, width = 192, 320
    model = trace(checkpoint, (height, width))
    set_metadata(model, describe(checkpoint, checkpoint.names, (height, width), "int8").to_props())
    frames = [render_frame(SEQUENCE, index).image for index in (0, 3)]
    fit = Letterbox.fit(SEQUENCE.size_wh, (width, height))
    file = tmp_path_factory.mktemp("released") / "ship.int8.onnx"
    onnx.save(quantised(model, [to_network_input(fit.apply(frame)) for frame in frames]), file)
    return file, frames


@pytest.mark.parametrize("program", ["generic", "auto"])
def test_int8_boxes_of_a_trained_detector(trained_int8, program, monkeypatch):
    """One to one where the score is clear: edges of faint boxes move by pixels between onnxruntime's own settings."""
    monkeypatch.setenv("WUTDET_ENGINE", program)
    file, frames = trained_int8
    native = Detector(file, backend="native", threads=1, conf=0.2)
    other = Detector(file, backend="onnxruntime", threads=1, conf=0.65)
    for frame in frames:
        found, wanted = native(frame), other(frame)
        assert len(wanted) > 2
        overlap = box_iou(wanted.xyxy, found.xyxy)
        pairs = overlap.argmax(axis=1)
        assert len(set(pairs)) == len(wanted)
        assert overlap.max(axis=1).min() > 0.85
        np.testing.assert_allclose(found.score[pairs], wanted.score, atol=0.08)


def test_detector_and_its_errors(tmp_path, monkeypatch):
    file = tmp_path / "model.onnx"
    file.write_bytes(model_bytes("yolo11n", "auto", "hif4"))
    detector = Detector(file, backend="native", threads=1)
    assert (detector.backend.name, detector.backend.fixed_input_wh) == ("native", IMGSZ_HW[::-1])
    assert detector.metadata == Detector(file).metadata
    with pytest.raises(ModelError, match="--imgsz 640"):
        Detector(file, backend="native", imgsz=640)
    with pytest.raises(UsageError, match="Did you mean 'native'"):
        Detector(file, backend="nativ")
    monkeypatch.setenv("WUTDET_ENGINE", "quick")
    with pytest.raises(UsageError, match="quick"):
        NativeBackend(file)
    monkeypatch.delenv("WUTDET_ENGINE")
    with pytest.raises(ModelError, match="cannot be read"):
        NativeBackend(tmp_path / "gone.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ModelError, match="cannot run this file: not a valid ONNX file"):
        NativeBackend(broken)
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, broken)
    with pytest.raises(ModelError, match="no 'names'"):
        NativeBackend(broken)


def test_threads_share_an_engine():
    engine = Engine(model_bytes("yolo11n", "auto", "fp32"), 1)
    inputs = [network_input(seed) for seed in range(3)]
    alone = [engine.run([x])[0] for x in inputs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda x: engine.run([x])[0], inputs * 2))
    for found, wanted in zip(together, alone * 2, strict=True):
        np.testing.assert_array_equal(found, wanted)
