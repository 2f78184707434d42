"""Tiles with real detectors, by every backend, and in ``wutdet detect``."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from tiny_detectors import IMGSZ, smooth_picture

from wutdet.config import DetectConfig
from wutdet.errors import DataError, UsageError
from wutdet.runtime.detect import run
from wutdet.runtime.detector import Detector
from wutdet.runtime.tiling import TiledDetector


def test_artefact_of_fixed_size_on_tiles(artefact):
    model = artefact("yolo26n", "nms", "fp32")
    plain = Detector(model, conf=0.2, threads=1, max_det=5000)
    frame = smooth_picture((2 * IMGSZ, 2 * IMGSZ), 4)
    tiled = TiledDetector(plain, tile=IMGSZ, overlap=0, full_frame=False, iou=1)
    wanted = []
    for y in (0, IMGSZ):
        for x in (0, IMGSZ):
            tile = plain(frame[y : y + IMGSZ, x : x + IMGSZ].copy())
            wanted += [(*(box + np.float32([x, y, x, y])), s) for box, s in zip(tile.xyxy, tile.score, strict=True)]
    assert 10 < len(wanted) < plain.max_det
    found = tiled(frame)
    assert sorted((*box, s) for box, s in zip(found.xyxy, found.score, strict=True)) == sorted(wanted)
    assert (tiled.imgsz, tiled.threshold, tiled.category_names) == (plain.imgsz, plain.threshold, plain.category_names)
    assert tiled.metadata is plain.metadata
    assert tiled.path == plain.path
    small = smooth_picture((IMGSZ, 100), 5)
    assert tiled(small).to_records() == plain(small).to_records()


@pytest.mark.parametrize("text", ["3x2", "horizon", "160"])
def test_the_native_engine_and_onnxruntime_see_the_same_tiles(artefact, text):
    # Floats: in int8 this network of random weights tells runtimes apart by itself.
    model = artefact("yolo26n", "nms", "fp32")
    frame = smooth_picture((3 * IMGSZ, 2 * IMGSZ), 8)
    found = [TiledDetector(Detector(model, conf=0.2, threads=1, backend=backend), text)(frame)
             for backend in ("native", "onnxruntime")]  # fmt: skip
    assert len(found[0]) == len(found[1]) > 10
    np.testing.assert_allclose(found[0].score, found[1].score, atol=2e-3)
    # Neighbours in the order may have changed places.
    np.testing.assert_allclose(*(np.sort(part.xyxy, axis=0) for part in found), atol=0.5)


class OnCopies(Detector):
    """A detector that looks at pixels that lie together, however the frame it is given lies."""

    def __call__(self, image):
        return super().__call__(np.ascontiguousarray(image))


@pytest.mark.parametrize("text", ["3x2", "horizon", "160"])
def test_the_native_engine_looks_at_tiles_within_the_frame(artefact, text):
    model = artefact("yolo26n", "nms", "int8")
    frame = smooth_picture((3 * IMGSZ, 2 * IMGSZ), 8)
    within, copied = (
        TiledDetector(kind(model, conf=0.2, threads=1, backend="native"), text)(frame) for kind in (Detector, OnCopies)
    )
    assert len(within) > 10 and within.to_records() == copied.to_records()


def test_checkpoint_twice_the_same_and_grey_frames(checkpoints):
    detector = Detector(checkpoints["yolo26n"], conf=0.05, imgsz=IMGSZ, threads=1)
    tiled = TiledDetector(detector, tile=IMGSZ, overlap=0.25)
    grey = cv2.cvtColor(smooth_picture((400, 300), 6), cv2.COLOR_BGR2GRAY)
    first = tiled(grey)
    assert len(first) > 0
    assert first.to_records() == tiled(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)).to_records()
    assert (first.xyxy >= 0).all()
    assert (first.xyxy <= [400, 300, 400, 300]).all()
    assert first.to_records() == tiled.predict_batch([grey])[0].to_records()


def test_not_a_picture(artefact):
    tiled = TiledDetector(Detector(artefact("yolo26n", "nms", "fp32")), tile=64)
    for frame in ("frame.jpg", np.zeros(5, np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((200, 200, 2), np.uint8)):
        with pytest.raises(DataError, match="a frame must"):
            tiled(frame)


def test_detect_with_tiles(artefact, tmp_path, capsys, caplog):
    model = artefact("yolo26n", "nms", "fp32")
    frame = smooth_picture((400, 300), 7)
    cv2.imwrite(str(tmp_path / "a.png"), frame)
    caplog.set_level("INFO")
    run(DetectConfig(str(tmp_path / "a.png"), model=str(model), conf=0.05, tile=IMGSZ, tile_overlap=0.25))
    line = json.loads(capsys.readouterr().out)
    wanted = TiledDetector(Detector(model, conf=0.05), tile=IMGSZ, overlap=0.25)(frame).to_records()
    assert len(wanted) > 0
    assert line["detections"] == wanted
    assert "tiles: 160, and the whole" in caplog.text
    with pytest.raises(UsageError, match="at least 32 pixels"):
        run(DetectConfig(str(tmp_path / "a.png"), model=str(model), tile=5))
