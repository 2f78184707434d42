"""``wutdet eval --tile``: ships too small for the whole frame, on stand-in and real detectors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_detectors import IMGSZ

from wutdet import scorecard
from wutdet.boxes import Letterbox
from wutdet.config import DetectConfig, EvalConfig
from wutdet.dataset.load import load_dataset
from wutdet.detections import Detections
from wutdet.errors import UsageError
from wutdet.evaluation.model import evaluate_model
from wutdet.evaluation.network_input import NetworkInput
from wutdet.runtime.tiling import TiledDetector

#: Frames: one of 5 x 3 tiles of 64 px that share a fifth, one that is a single tile.
SIZES_WH = ((256, 128), (64, 48))
SHIPS = ([(10, 10, 16, 16), (100, 70, 106, 76), (40, 30, 80, 60)], [(20, 20, 26, 26)])


class NearSighted:
    """Sees white rectangles of at least 4 px in its input of 64 px; stands in for wutdet.Detector."""

    imgsz, stride, max_det = 64, 32, 100
    metadata = SimpleNamespace(end2end=False)
    path = None
    seen: list[tuple[int, int]]

    def __init__(self, model=None, *, conf=0.001, **options):
        self.threshold, self.category_names = conf, ("ship",)

    def __call__(self, picture: np.ndarray) -> Detections:
        self.seen.append(picture.shape[1::-1])
        scale = self.imgsz / max(picture.shape[:2])
        _, _, boxes, _ = cv2.connectedComponentsWithStats((picture.min(axis=2) > 250).astype(np.uint8))
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in boxes[1:] if min(w, h) * scale >= 4]
        zeros = np.zeros(len(boxes))
        return Detections(np.array(boxes, float).reshape(-1, 4), zeros + 0.9, zeros, zeros, self.category_names)


@pytest.fixture
def harbour(tmp_path, monkeypatch) -> Path:
    """Two black frames with white ships; ``wutdet.Detector`` is near-sighted."""
    (tmp_path / "images").mkdir()
    truth = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "ship"}]}
    for row, ((width, height), ships) in enumerate(zip(SIZES_WH, SHIPS, strict=True)):
        frame = np.zeros((height, width, 3), np.uint8)
        keys = {"id": row + 1, "file_name": f"{row}.png", "width": width, "height": height, "sequence_id": f"s{row}"}
        truth["images"].append(keys)
        for x1, y1, x2, y2 in ships:
            frame[y1:y2, x1:x2] = 255
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            annotations = truth["annotations"]
            annotations.append({"id": len(annotations) + 1, "image_id": row + 1, "category_id": 1, **box})
        cv2.imwrite(str(tmp_path / "images" / f"{row}.png"), frame)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    monkeypatch.setattr(NearSighted, "seen", [], raising=False)
    monkeypatch.setattr("wutdet.runtime.load.Detector", NearSighted)
    return tmp_path / "truth.json"


def test_small_ships_are_found_on_tiles_only_and_the_protocol_says_so(harbour, tmp_path):
    plain = scorecard.run_eval(EvalConfig(("m.onnx", str(harbour)), resamples=0))
    assert plain.protocol["true_positives_50"] == 2 and plain.stats["AP50"] < 0.6
    assert "tile" not in plain.protocol and "tiles" not in plain.to_text()
    report = tmp_path / "report"
    tiled = scorecard.run_eval(EvalConfig(("m.onnx", str(harbour)), resamples=0, tile=64, report=report))
    assert tiled.stats["AP"] == pytest.approx(1.0)
    # 15 tiles and the frame, and the small frame once.
    facts = {"tile": 64, "tile_overlap": 0.2, "tile_full_frame": True, "tile_merge_iou": 0.5, "tiles_per_frame": 8.5}
    assert {key: tiled.protocol[key] for key in facts} == facts
    assert tiled.protocol["input_size"] == 64 and tiled.protocol["detector_max_det"] == 100
    words = "tiles of 64 px, overlap 0.2, beside the whole frame, merged at IoU 0.5 (8.5 passes a frame)"
    assert words in tiled.to_text()
    content = json.loads((report / "eval.json").read_text("utf-8"))
    assert {key: content["protocol"][key] for key in facts} == facts
    for file in ("report.html", "report.md"):
        text = (report / file).read_text("utf-8")
        for said in ("long side, for tiles of 64 px", "overlap of tiles", "whole frame beside the tiles"):
            assert said in text, (file, said)


def test_two_models_are_compared_on_tiles(harbour):
    result = scorecard.run_eval(EvalConfig(("a.onnx", "b.onnx", str(harbour)), resamples=20, tile=64))
    assert result.comparison["stats"]["AP"]["a"] == result.comparison["stats"]["AP"]["b"] == pytest.approx(1.0)
    assert NearSighted.seen.count((64, 64)) == 2 * 15


def test_the_library_functions_tell_of_tiles_too(harbour):
    dataset = load_dataset(harbour)
    _, result = evaluate_model(TiledDetector(NearSighted(), 64, 0.0), dataset)
    assert result.stats["AP"] == pytest.approx(1.0)
    assert (result.protocol["tile_overlap"], result.protocol["tiles_per_frame"]) == (0.0, 5.0)  # 4 x 2 + 1, and 1


def test_corrupted_frames_are_looked_at_tile_by_tile(harbour):
    result = scorecard.run_eval(
        EvalConfig(("m.onnx", str(harbour)), resamples=0, full=False, tile=64, corrupt=True, corrupt_frames=1)
    )
    assert result.robustness["frames"] == 1 and len(result.robustness["corruptions"]) == 12
    assert result.robustness["clean"]["AP"] == pytest.approx(1.0)
    # One of the frames, clean and 60 times corrupted, after the clean pass over both.
    sizes = {size: NearSighted.seen.count(size) for size in set(NearSighted.seen)}
    assert sizes in ({(64, 64): 15 * 62, (256, 128): 62, (64, 48): 1}, {(64, 64): 15, (256, 128): 1, (64, 48): 62})


def test_a_matrix_on_tiles(harbour, tmp_path):
    result = scorecard.run_eval(EvalConfig(("m.onnx=", f"={harbour}"), resamples=0, tile=64, matrix=True))
    assert [cell["AP"] for cell in result.cells] == [pytest.approx(1.0)]
    assert (result.protocol["tile"], result.protocol["tile_overlap"]) == (64, 0.2)
    assert "tiles of 64 px, overlap 0.2, beside the whole frame, merged at IoU 0.5, scored on" in result.to_text()
    whole = scorecard.run_eval(EvalConfig(("m.onnx=", f"={harbour}"), resamples=0, matrix=True))
    assert whole.cells[0]["AP"] < 0.6 and "tile" not in whole.protocol and "tiles" not in whole.to_text()


@pytest.mark.parametrize(
    ("tile", "boxes"),
    [
        (0, [3, 1, 0]),  # at scales 1/4 and 1: 1.5, 1.5, 8.7 and 6 px
        (64, [3, 0, 1]),  # all at scale 1: 6, 6, 34.6 and 6 px
        (32, [0, 3, 1]),  # at scale 2
        (128, [2, 1, 1]),  # at scales 1/2 and 1, the small frame being smaller than a tile: 3, 3, 17.3 and 6 px
    ],
)
def test_bins_in_input_pixels_are_those_of_the_tiles(harbour, tile, boxes):
    bins = {0: "8,16@input", 64: "8,16@input", 32: "8,16@input", 128: "4,16@input"}[tile]
    options = {"resamples": 0, "full": False, "bins": bins, "tile": tile}
    result = scorecard.run_eval(EvalConfig(("m.onnx", str(harbour)), **options))
    assert [row["boxes"] for row in result.size_bins] == boxes


sides = st.integers(32, 2000)


@given(
    frame_wh=st.tuples(sides, sides),
    tile=st.sampled_from([0, 64, 640, "96x64", "3x2", "2x1", "horizon", "auto"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    fixed=st.booleans(),
    stride=st.sampled_from([8, 32, 64]),
    max_scale=st.sampled_from([None, 0.7, 1.0, 1.5]),
)
# The short side of 192.3 px is rounded to 192, a multiple of the stride, and so takes 0.2 % of the scale.
@example(frame_wh=(79, 92), tile=0, width=7, height=1, fixed=False, stride=32, max_scale=None)
@settings(max_examples=200, deadline=None)
def test_the_scale_is_that_at_which_the_letterbox_shows_a_tile(frame_wh, tile, width, height, fixed, stride, max_scale):
    input_wh = (32 * width, 32 * height)
    backend = SimpleNamespace(fixed_input_wh=input_wh if fixed else None)
    imgsz = max(input_wh) if fixed else input_wh[0]
    detector = SimpleNamespace(imgsz=imgsz, stride=stride, backend=backend, max_det=100,
                               category_names=("ship",), threshold=0.1, max_scale=max_scale)  # fmt: skip
    if tile:
        detector = TiledDetector(detector, tile)
        x1, y1, x2, y2 = detector.windows(frame_wh)[0].tolist()
        shown_wh = (x2 - x1, y2 - y1)
    else:
        shown_wh = frame_wh
    if fixed:
        letterbox = Letterbox.fit(shown_wh, input_wh, max_scale)
    else:
        letterbox = Letterbox.fit_long_side(shown_wh, imgsz, stride, max_scale)
    assert NetworkInput.of(detector).scale(np.array([frame_wh])) == pytest.approx([letterbox.scale], rel=1e-12)


@pytest.mark.parametrize("tile", ["4x2", "horizon", "auto"])  # a black frame has no horizon: rows cover it
def test_policies_are_scored_and_named(harbour, tmp_path, tile):
    report = tmp_path / "report"
    options = {"resamples": 0, "full": False, "tile": tile, "report": report}
    result = scorecard.run_eval(EvalConfig(("m.onnx", str(harbour)), **options))
    assert result.protocol["tile"] == tile and result.protocol["tiles_per_frame"] == (8 + 1 + 1) / 2
    assert f"tiles {tile}, overlap 0.2, beside the whole frame" in result.to_text()
    assert f"long side, for tiles {tile}" in (report / "report.md").read_text("utf-8")
    whole = scorecard.run_eval(EvalConfig(("m.onnx", str(harbour)), resamples=0, full=False, tile="none"))
    assert result.stats["AP"] > whole.stats["AP"] and "tile" not in whole.protocol


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        (["r.json"], {"tile": 64}, r"r\.json' is a result file: tiles need a model"),
        (["m.onnx", "r.json"], {"tile": 64}, r"r\.json' is a result file: tiles need a model"),
        (["r.json"], {"tile": "auto"}, r"r\.json' is a result file: tiles need a model"),
        (["m.onnx"], {"tile": "3by2"}, "'3by2' is no way to cut frames"),
        (["m.onnx"], {"tile": -64}, "at least 32 pixels a side, received -64"),
        (["m.onnx"], {"tile": 64, "tile_overlap": 1.0}, "overlap of tiles is a share"),
    ],
)
def test_tiles_that_cannot_be_are_refused_before_a_frame_is_seen(harbour, models, options, words):
    with pytest.raises(UsageError, match=words):
        scorecard.run_eval(EvalConfig((*models, str(harbour)), **options))
    if "r.json" not in models:
        with pytest.raises(UsageError, match=words):
            scorecard.run_eval(EvalConfig(("m.onnx=", f"={harbour}"), matrix=True, **options))
    assert NearSighted.seen == []


@pytest.mark.parametrize("kind", ["artefact", "checkpoint"])
def test_checkpoints_and_artefacts_on_tiles(kind, artefact, checkpoints, dataset_file, tmp_path):
    from wutdet.runtime.detect import run
    from wutdet.runtime.detector import Detector

    model = artefact("yolo26n", "nms", "fp32") if kind == "artefact" else checkpoints["yolo26n"]
    out, tile = tmp_path / "eval.json", 96
    config = EvalConfig((str(model), str(dataset_file)), split="val", full=False, resamples=0, conf=0.2, max_det=300,
                        tile=tile, tile_overlap=0.25, detections=out, threads=1, leaks=False,
                        imgsz=IMGSZ)  # fmt: skip
    result = scorecard.run_eval(config)
    assert result.protocol["tiles_per_frame"] == 5.0  # 2 x 2 and the whole
    found = json.loads(out.read_text())
    assert len(found) > 10
    if kind == "artefact":  # 'wutdet detect' takes these only; it numbers the ten frames like the annotation file
        run(DetectConfig(str(dataset_file.parent / "images"), model=str(model), conf=0.2, tile=tile, tile_overlap=0.25,
                         threads=1, coco=tmp_path / "detect.json", quiet=True))  # fmt: skip
        ids = set(load_dataset(dataset_file).in_split("val").image_id.tolist())
        expected = [row for row in json.loads((tmp_path / "detect.json").read_text()) if row["image_id"] in ids]
    else:
        dataset = load_dataset(dataset_file).in_split("val")
        detector = TiledDetector(Detector(model, conf=0.2, imgsz=IMGSZ, threads=1), tile, 0.25)
        expected = [row for i in range(len(dataset))
                    for row in detector(dataset.read_image(i)).to_coco(dataset.image_id[i : i + 1])]  # fmt: skip
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert (row["image_id"], row["score"]) == (wanted["image_id"], pytest.approx(wanted["score"]))
        assert row["bbox"] == pytest.approx(wanted["bbox"], abs=1e-3)
