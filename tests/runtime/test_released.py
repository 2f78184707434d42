"""The detector that is installed with the package: found by default, small, and it finds ships."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import wutdet
from wutdet.boxes import box_iou
from wutdet.config import DetectConfig
from wutdet.runtime.detect import run as run_detect
from wutdet.runtime.detector import Detector
from wutdet.runtime.model_files import find_model, released_artefacts
from wutdet.runtime.saved_policy import choice_for
from wutdet.scenes.direct import SequenceSpec
from wutdet.scenes.film import render_frame

LARGEST_MB = {"ship-n.int8": 3.0, "ship-n.hif4": 2.0, "ship-n-scratch.int8": 3.0}
LICENCES = {"ship-n-scratch.int8": "Apache-2.0"}


def test_the_default_is_the_int8_file():
    assert find_model("default") == released_artefacts()["ship-n.int8"]


@pytest.mark.parametrize("name", LARGEST_MB)
def test_a_released_file_says_what_it_is(name):
    file = find_model(name)
    assert file.stat().st_size < LARGEST_MB[name] * 1e6
    metadata = Detector(name).metadata
    assert (metadata.names, metadata.license, metadata.max_scale) == (("ship",), LICENCES.get(name, "AGPL-3.0"), 1.0)
    assert metadata.gate["passed"] == 1 and metadata.calibration["split"] == "train"
    assert choice_for("saved", 0.2, Detector(name)).policy.kind == "horizon"


@pytest.mark.parametrize("name", LARGEST_MB)
@pytest.mark.parametrize("backend", ["onnxruntime", "native"])
def test_large_ships_of_a_rendered_frame_are_found(name, backend):
    spec = SequenceSpec(seed=5, index=0, scene="port", conditions=(), size_wh=(960, 576), stride_s=2.0)
    detector = Detector(name, backend=backend, threads=1)
    found = wanted = 0
    for index in (0, 3):
        frame = render_frame(spec, index)
        xyxy = np.array([ship.xyxy for ship in frame.boxes if not ship.ignore], dtype=float).reshape(-1, 4)
        large = xyxy[np.sqrt(np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)) > 48]
        boxes = detector(frame.image).xyxy
        wanted += len(large)
        found += int((box_iou(large, boxes).max(axis=1, initial=0) > 0.5).sum())
    assert wanted >= 2 and found >= 0.5 * wanted


def test_a_detector_is_loaded_as_the_command_line_runs_it(tmp_path, monkeypatch):
    """The tiles and the threshold of the file, on the native engine, with the boxes that ``wutdet detect`` prints."""
    spec = SequenceSpec(seed=5, index=0, scene="port", conditions=(), size_wh=(960, 576), stride_s=2.0)
    picture = tmp_path / "port.png"
    cv2.imwrite(str(picture), render_frame(spec, 0).image)
    detector = wutdet.load_detector(threads=1)
    assert (str(detector.policy), detector.backend.name) == ("horizon@1+2", "native")
    printed = tmp_path / "boxes.json"
    run_detect(DetectConfig(source=str(picture), threads=1, coco=printed, quiet=True))
    found = detector(cv2.imread(str(picture)))
    rows = [[*row["bbox"], row["score"]] for row in json.loads(printed.read_text())]
    assert len(rows) > 0
    assert sorted(rows) == sorted([*row["bbox"], row["score"]] for row in found.to_coco(np.array([1])))
    assert type(wutdet.load_detector(tile="none")) is Detector
    monkeypatch.setenv("WUTDET_ENGINE", "generic")  # no plan: the interpreter is no match for onnxruntime
    assert Detector(threads=1).backend.name == "onnxruntime"
