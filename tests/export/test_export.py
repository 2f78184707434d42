"""Artefacts give the same boxes in ultralytics, supervision, plain onnxruntime and wutdet; the gate holds."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny_detectors import IMGSZ, smooth_picture

from wutdet.boxes import Letterbox
from wutdet.config import ExportConfig
from wutdet.errors import DataError, ExportError, ModelError, UsageError, WutdetError
from wutdet.export.run import parse_size, run
from wutdet.runtime.detector import Detector

HEADS = [("yolo26n", "nms"), ("yolo26n", "nms-free"), ("yolo11n", "nms")]
FRAMES = {"wide": (200, 120), "tall": (120, 200)}


def same_boxes(ours, xyxy, score):
    """Every box of one list has one of the other within 1 px and 0.001 of score; order among near ties is free.

    Others keep boxes that lie in the padding around the frame and have no area within it.
    """
    xyxy, score = np.asarray(xyxy), np.asarray(score)
    inside = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    xyxy, score = xyxy[inside], score[inside]
    assert len(ours) == len(xyxy) > 0
    pixels = np.abs(ours.xyxy[:, None] - xyxy[None]).max(axis=2)
    same = (pixels < 1.0) & (np.abs(ours.score[:, None] - score[None]) < 1e-3)
    assert same.any(axis=0).all()
    assert same.any(axis=1).all()


@pytest.mark.parametrize("number_format", ["fp32", "int8"])
@pytest.mark.parametrize(("arch", "head"), HEADS)
def test_same_boxes_everywhere(artefact, arch, head, number_format):
    import supervision
    from ultralytics import YOLO

    file = artefact(arch, head, number_format)
    detector = Detector(file, backend="onnxruntime", conf=0.2)
    model = YOLO(str(file), task="detect")
    for size in FRAMES.values():
        picture = smooth_picture(size, 11)
        ours = detector(picture)
        theirs = model.predict(picture, conf=0.2, iou=0.7, verbose=False)[0]
        assert theirs.names == {0: "ship"}
        same_boxes(ours, theirs.boxes.xyxy.numpy(), theirs.boxes.conf.numpy())
        table = supervision.Detections.from_ultralytics(theirs)
        same_boxes(ours, table.xyxy, table.confidence)
        same_boxes(ours, ours.to_supervision().xyxy, ours.to_supervision().confidence)


@pytest.mark.parametrize("number_format", ["fp32", "int8"])
def test_same_boxes_in_plain_onnxruntime_and_supervision_nms(artefact, number_format):
    import supervision

    file = artefact("yolo11n", "nms", number_format)
    picture = smooth_picture((200, 120), 12)
    letterbox = Letterbox.fit((200, 120), (IMGSZ, IMGSZ))
    value = letterbox.apply(picture)[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["images"]
    assert [o.name for o in session.get_outputs()] == ["output0"]
    columns = session.run(["output0"], {"images": value})[0][0]
    keep = columns[4] > 0.2
    half = columns[2:4, keep] / 2
    xyxy = np.concatenate([columns[:2, keep] - half, columns[:2, keep] + half]).T
    table = supervision.Detections(xyxy=xyxy, confidence=columns[4, keep], class_id=np.zeros(keep.sum(), int)).with_nms(
        0.7
    )
    same_boxes(
        Detector(file, backend="onnxruntime", conf=0.2)(picture), letterbox.to_frame(table.xyxy), table.confidence
    )


@pytest.mark.parametrize(("arch", "head"), HEADS)
def test_float_artefact_equals_the_checkpoint(artefact, checkpoints, arch, head):
    picture = smooth_picture((IMGSZ, IMGSZ), 13)
    ours = Detector(artefact(arch, head, "fp32"), conf=0.2)(picture)
    torch_boxes = Detector(checkpoints[arch], conf=0.2, head=head, device="cpu")(picture)
    np.testing.assert_allclose(ours.xyxy, torch_boxes.xyxy, atol=0.01)
    np.testing.assert_allclose(ours.score, torch_boxes.score, atol=1e-4)
    assert len(ours) > 0


def test_metadata_of_an_int8_artefact(artefact, checkpoints):
    import hashlib

    file = artefact("yolo26n", "nms", "int8")
    props = {p.key: p.value for p in onnx.load(file).metadata_props}
    metadata = Detector(file).metadata
    assert json.loads(props["names"]) == {"0": "ship"}
    assert metadata.imgsz_hw == (IMGSZ, IMGSZ)
    assert (metadata.weight_format, metadata.license, metadata.stride) == ("int8", "AGPL-3.0", 32)
    assert metadata.source_digest == hashlib.sha256(checkpoints["yolo26n"].read_bytes()).hexdigest()
    assert metadata.calibration["split"] == "train"
    assert metadata.calibration["images"] == 6
    assert len(metadata.calibration["digest"]) == 64
    assert metadata.gate["passed"] == 1
    assert metadata.gate["images"] == 4
    assert metadata.gate["AP_float"] > 0.9  # the annotations are what the float network finds
    assert metadata.accuracy["AP"] == metadata.gate["AP"]
    assert 0 < metadata.threshold < 1
    assert Detector(file).threshold == metadata.threshold
    assert file.stat().st_size < 0.4 * artefact("yolo26n", "nms", "fp32").stat().st_size


@pytest.mark.parametrize("number_format", ["int8", "mxfp4"])
def test_the_gate_reports_what_eval_reports(artefact, checkpoints, dataset_file, tmp_path, number_format):
    from wutdet.config import EvalConfig
    from wutdet.scorecard import run_eval

    out = tmp_path / "ship.onnx"
    calib = str(dataset_file)
    result = export(
        checkpoints["yolo26n"], out, format=number_format, calib=calib, imgsz=str(IMGSZ), max_drop=1.0, head="nms"
    )
    gate = json.loads(json.dumps(result.to_json(), allow_nan=False))["gate"]
    assert dict(Detector(out).metadata.gate) == gate
    for file, ending in ((artefact("yolo26n", "nms", "fp32"), "_float"), (out, "")):
        config = EvalConfig(
            (str(file), calib), split="val", backend="onnxruntime", max_det=100, full=False, resamples=0, leaks=False
        )
        expected = run_eval(config).to_json()
        for name in ("AP", "AP50", "AP75"):
            assert gate[name + ending] == pytest.approx(expected["stats"][name], abs=1e-5)
        bins = {row["name"]: row for row in expected["size_bins"] if row["boxes"]}
        assert 1 < len(bins) < len(expected["size_bins"])  # those without ships are left out
        assert gate[f"AP_by_size{ending}"] == pytest.approx({k: row["AP"] for k, row in bins.items()}, abs=1e-5)
        assert gate["ships_by_size"] == {k: row["boxes"] for k, row in bins.items()}
        assert gate[f"threshold{ending}"] == pytest.approx(expected["threshold"]["score"], abs=1e-4)
    assert result.metadata.threshold == gate["threshold"]
    lines = [line.split() for line in result.to_text().splitlines()]
    assert ["float", number_format, "change"] in lines
    for name in ("AP", "AP50", "AP75"):
        before, after = gate[f"{name}_float"], gate[name]
        assert [name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"] in lines
    assert sum("ship" in line or "ships" in line for line in lines) == len(gate["ships_by_size"])


def test_a_gate_without_ships_or_hits_says_so():
    from wutdet.export.gate import Figures, GateResult, gate_table

    nothing = Figures(dict.fromkeys(("AP", "AP50", "AP75")), {}, None)
    facts = GateResult(nothing, nothing, 0.01).facts()
    assert facts == {"AP_float": 0.0, "AP": 0.0, "drop": 0.0, "max_drop": 0.01, "passed": 1}
    some = Figures({"AP": 0.5, "AP50": 0.75, "AP75": 0.25}, {"small": (1, 0.125)}, 0.3)
    lost = Figures({"AP": 0.0, "AP50": 0.0, "AP75": 0.0}, {"small": (1, 0.0)}, None)
    result = GateResult(some, lost, 0.01)
    assert not result.passed
    assert gate_table(result.facts(), "hif4") == [
        "                      float    hif4  change",
        "AP                   0.5000  0.0000  -0.5000",
        "AP50                 0.7500  0.0000  -0.7500",
        "AP75                 0.2500  0.0000  -0.2500",
        "AP small, 1 ship     0.1250  0.0000  -0.1250",
        "threshold (best F1)  0.3000    none",
    ]
    assert gate_table(GateResult(some, some, 0.01).facts(), "fp32")[-1] == "threshold (best F1)  0.3000"


def export(model, out, **changes):
    settings = {"model": str(model), "format": "int8", "out": out, "imgsz": "96", "calib_images": 2, **changes}
    return run(ExportConfig(**settings))


def test_failed_gate_leaves_the_old_file(checkpoints, dataset_file, tmp_path):
    out = tmp_path / "ship.onnx"
    out.write_bytes(b"earlier")
    with pytest.raises(ExportError, match="acceptance gate") as error:
        export(checkpoints["yolo26n"], out, calib=str(dataset_file), max_drop=-2.0)
    assert error.value.exit_code == 5
    assert out.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [out]
    result = export(checkpoints["yolo26n"], out, calib=str(dataset_file), max_drop=-2.0, force=True)
    assert result.metadata.gate["forced"] == 1
    assert result.metadata.gate["passed"] == 0
    assert Detector(out).metadata.gate == result.metadata.gate
    assert "FAILED" in result.to_text()
    assert result.to_json()["schema"] == "wutdet.export/1"


def test_what_export_refuses(checkpoints, dataset_file, artefact, tmp_path):
    file = checkpoints["yolo26n"]
    out = tmp_path / "x.onnx"
    with pytest.raises(UsageError, match="--calib"):
        export(file, out)
    with pytest.raises(UsageError, match="refused"):
        export(file, out, calib=str(dataset_file), calib_split="val")
    with pytest.raises(DataError, match="no such"):
        export(file, out, calib=str(tmp_path / "gone"))
    with pytest.raises(ExportError, match="multiple of the network's stride"):
        export(file, out, format="fp32", imgsz="100")
    with pytest.raises(UsageError, match="imgsz"):
        export(file, out, format="fp32", imgsz="big")
    with pytest.raises(UsageError, match=r"\.onnx"):
        export(file, tmp_path / "x.engine", format="fp32")
    with pytest.raises(ModelError, match="artefact already"):
        export(artefact("yolo26n", "nms", "fp32"), out, format="fp32")
    with pytest.raises(ModelError, match="NMS-free"):
        export(checkpoints["yolo11n"], out, format="fp32", head="nms-free")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told_before_the_work(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr("wutdet.runtime.torch_backend.load_checkpoint", lambda *_, **__: pytest.fail("work was done"))
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WutdetError, match="cannot write"):
        run(ExportConfig(model=str(checkpoints["yolo26n"]), out=tmp_path / "file" / "x.onnx", imgsz=str(IMGSZ)))


def test_gate_needs_held_out_frames(checkpoints, dataset_file, tmp_path):
    content = json.loads(dataset_file.read_text())
    for image in content["images"]:
        del image["split"]
        image["file_name"] = str(dataset_file.parent / "images" / image["file_name"])
    file = tmp_path / "frames.json"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="held out"):
        export(checkpoints["yolo26n"], tmp_path / "x.onnx", calib=str(file))


def test_rectangular_input(checkpoints, tmp_path):
    result = export(checkpoints["yolo26n"], tmp_path / "r.onnx", format="fp32", imgsz="96x160")
    session = onnxruntime.InferenceSession(str(result.file), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 96, 160]
    assert result.metadata.parity["compared"] == 100


def test_parse_size():
    assert parse_size("640") == (640, 640)
    assert parse_size("384x640") == (384, 640)
    for text in ("", "0", "640x", "-3", "640.5"):
        with pytest.raises(UsageError):
            parse_size(text)


def test_the_licence_is_the_checkpoints_unless_told_otherwise(checkpoints, tmp_path):
    for told, wanted in ((None, "AGPL-3.0"), ("Apache-2.0", "Apache-2.0")):
        out = tmp_path / f"{told}.onnx"
        result = run(ExportConfig(str(checkpoints["yolo11n"]), imgsz=str(IMGSZ), out=out, licence=told))
        assert f"licence {wanted}" in result.to_text() and Detector(out).metadata.license == wanted
