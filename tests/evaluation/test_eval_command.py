"""``wutdet eval``: from frames to figures, with a stand-in detector that knows the answers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from wutdet import scorecard
from wutdet.cli import run as run_command_line
from wutdet.config import EvalConfig, ScoreConfig
from wutdet.dataset.load import load_dataset
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError, WutdetError
from wutdet.evaluation import model
from wutdet.evaluation.categories import align_categories

SIZE_WH = (64, 48)


class Oracle:
    """Answers with the boxes painted into a frame's first row of pixels; stands in for wutdet.Detector."""

    imgsz, stride, threshold, max_det = 640, 32, 0.001, 100
    metadata = SimpleNamespace(end2end=False)

    def __init__(self, model=None, *, category=None, names=("boat",), **options):
        self.category_names = (category,) if category else names
        self.options = options

    def __call__(self, frame: np.ndarray) -> Detections:
        assert frame.shape == (*SIZE_WH[::-1], 3)
        count = int(frame[0, 0, 0])
        boxes = frame[0, 1 : 1 + count].astype(float)  # left, top, size
        xyxy = np.c_[boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]
        zeros = np.zeros(count)
        return Detections(xyxy, 0.9 - 0.1 * np.arange(count), zeros, zeros, self.category_names)


@pytest.fixture
def harbour(tmp_path) -> Path:
    """Six frames with a split and 0, 1, 2, ... boxes; the frames hold the answers, lossless."""
    import cv2

    (tmp_path / "images").mkdir()
    truth = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "ship"}]}
    for i in range(6):
        frame = np.zeros((*SIZE_WH[::-1], 3), dtype=np.uint8)
        frame[0, 0] = i
        name = f"hafen {i} ü.png"
        truth["images"].append(
            {
                "id": 60 - i,
                "file_name": name,
                "width": SIZE_WH[0],
                "height": SIZE_WH[1],
                "split": "train" if i == 5 else "val",
                "sequence_id": f"s{i}",
            }
        )
        for k in range(i):
            left, top, size = 3 + 9 * k, 2 + 7 * k, 8 + i
            frame[0, 1 + k] = left, top, size
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": 60 - i,
                    "category_id": 7,
                    "bbox": [left, top, size, size],
                    "area": size * size,
                    "iscrowd": 0,
                }
            )
        ok, data = cv2.imencode(".png", frame)
        assert ok
        (tmp_path / "images" / name).write_bytes(data.tobytes())
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return tmp_path / "truth.json"


def test_evaluate_model_gives_detections_and_figures(harbour):
    dataset = load_dataset(harbour)
    detections, result = model.evaluate_model(Oracle(), dataset)
    assert detections.category_names == ("ship",)
    assert np.bincount(detections.image, minlength=6).tolist() == [0, 1, 2, 3, 4, 5]
    assert result.stats["AP"] == pytest.approx(1.0)
    assert result.schema == "wutdet.eval/2"
    assert result.protocol["input_size"] == 640 and result.protocol["conf"] == 0.001
    assert "input size 640" in result.to_text()


def test_command_writes_detections_that_score_the_same(harbour, tmp_path, monkeypatch):
    monkeypatch.setattr("wutdet.runtime.load.Detector", Oracle)
    out = tmp_path / "out" / "detections.json"
    result = scorecard.run_eval(EvalConfig(("oracle.onnx", str(harbour)), detections=out))
    assert result.protocol["model"] == "oracle.onnx" and result.protocol["nms_iou"] == 0.7
    assert result.leak_rate is None
    again = scorecard.run_score(ScoreConfig(harbour, (out,)))
    assert again.stats == result.stats
    assert json.loads(out.read_text())[0]["category_id"] == 7


@pytest.mark.parametrize("option", ["detections", "objects", "report", "crops"])
def test_outputs_that_cannot_be_written_are_told_before_any_frame_is_read(harbour, tmp_path, monkeypatch, option):
    monkeypatch.setattr("wutdet.scorecard.load_detector", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / "file").write_text("not a folder")
    target = tmp_path / "file" / ("x.csv" if option == "objects" else "x")
    with pytest.raises(WutdetError, match="cannot write"):
        scorecard.run_eval(EvalConfig(("oracle.onnx", str(harbour)), **{option: target}))


def test_detections_never_replace_the_annotations(harbour, monkeypatch):
    before = harbour.read_bytes()
    monkeypatch.setattr("wutdet.runtime.load.Detector", Oracle)
    with pytest.raises(UsageError, match="--detections would write over"):
        scorecard.run_eval(EvalConfig(("oracle.onnx", str(harbour)), detections=harbour))
    assert harbour.read_bytes() == before


def test_figures_survive_a_disk_that_is_full_at_the_end(harbour, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wutdet.runtime.load.Detector", Oracle)

    def full(*_, **__):
        raise WutdetError("cannot write (No space left on device)")

    monkeypatch.setattr(scorecard, "write_json", full)
    with pytest.raises(WutdetError, match="No space left"):
        run_command_line(["eval", "oracle.onnx", str(harbour), "--detections", str(tmp_path / "d.json"), "--no-full"])
    assert "AP50" in capsys.readouterr().out


def test_command_prints_the_leak_rate_of_a_split(harbour, monkeypatch):
    monkeypatch.setattr("wutdet.runtime.load.Detector", Oracle)
    result = scorecard.run_eval(EvalConfig(("oracle.onnx", str(harbour)), split="val"))
    assert result.protocol["images"] == 5 and result.protocol["split"] == "val"
    content = json.loads(json.dumps(result.to_json()))
    assert content["leak_rate"]["train_frames"] == 1
    assert "leak rate" in result.to_text()
    silent = scorecard.run_eval(EvalConfig(("oracle.onnx", str(harbour)), split="val", leaks=False))
    assert silent.leak_rate is None and "leak rate" not in silent.to_text()


def test_an_unreadable_frame_stops_the_evaluation_by_name(harbour):
    dataset = load_dataset(harbour)
    dataset.image_file(3).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"hafen 3 ü\.png"):
        model.evaluate_model(Oracle(), dataset)
    dataset.image_file(3).unlink()
    with pytest.raises(DataError, match=r"hafen 3 ü\.png"):
        model.evaluate_model(Oracle(), dataset)


def test_no_frames_are_an_error(harbour):
    dataset = load_dataset(harbour)
    with pytest.raises(DataError, match="no frames"):
        model.evaluate_model(Oracle(), dataset.select(np.zeros(6, dtype=bool)))


def test_frames_come_in_order_and_are_read_ahead(harbour):
    dataset = load_dataset(harbour)
    assert [int(frame[0, 0, 0]) for frame in model.frames_ahead(dataset)] == list(range(6))


def test_the_progress_bar_passes_every_frame_on():
    assert list(model._with_bar(iter("abc"), 3)) == ["a", "b", "c"]


def test_categories_that_do_not_fit_are_told_before_any_frame_is_read(harbour):
    dataset = load_dataset(harbour)

    class Blind(Oracle):
        def __call__(self, frame):
            raise AssertionError("no frame should be read")

    with pytest.raises(DataError, match=r"does not know: ship\. Model: car, boat\. Data: ship") as caught:
        model.evaluate_model(Blind(names=("car", "boat")), dataset)
    assert "--category" in caught.value.hint


def boxes_of(categories: list[int], names: tuple[str, ...]) -> Detections:
    n = len(categories)
    return Detections(np.tile([0, 0, 5, 5], (n, 1)), np.linspace(0.9, 0.1, n), categories, np.zeros(n), names)


def test_categories_are_matched_by_name():
    aligned = align_categories(boxes_of([0, 1, 2, 1], ("car", "tug", "ferry")), ("ferry", "tug"))
    assert aligned.category.tolist() == [1, 0, 1]
    assert aligned.category_names == ("ferry", "tug")
    same = boxes_of([0, 1], ("ferry", "tug"))
    assert align_categories(same, ("ferry", "tug")) is same


def test_one_category_on_each_side_needs_no_name():
    assert align_categories(boxes_of([0], ("boat",)), ("ship",)).category_names == ("ship",)


@pytest.mark.parametrize(
    ("options", "models", "words"),
    [
        ({"resamples": -5}, 1, "--resamples must be 0"),
        ({"resamples": 0}, 2, "a comparison needs resamples"),
        ({"objects": Path("o.txt")}, 1, r"\.csv or \.parquet"),
        ({"corrupt": True}, 1, "need a model"),
        ({}, 0, "expected MODEL DATA"),
        ({}, 3, "expected MODEL DATA"),
    ],
)
def test_options_that_cannot_be_are_refused(harbour, tmp_path, options, models, words):
    results = tmp_path / "results.json"
    results.write_text("[]")
    with pytest.raises(UsageError, match=words):
        scorecard.run_eval(EvalConfig((*[str(results)] * models, str(harbour)), **options))


def test_without_a_word_it_says_what_is_wanted():
    with pytest.raises(UsageError, match=r"expected MODEL DATA.*received 0"):
        scorecard.run_eval(EvalConfig(()))
