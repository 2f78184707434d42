"""``wutdet detect``: folders, videos, broken pictures, and what goes to stdout."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from tiny_detectors import smooth_picture

from wutdet.config import DetectConfig
from wutdet.errors import DataError, UsageError
from wutdet.runtime.detect import run
from wutdet.runtime.detector import Detector


@pytest.fixture
def folder(tmp_path):
    """Pictures of every kind in a folder whose name has spaces and non-ASCII letters."""
    folder = tmp_path / "Häfen und Schiffe 港"
    (folder / "nested").mkdir(parents=True)
    grey = cv2.cvtColor(smooth_picture((200, 120), 1), cv2.COLOR_BGR2GRAY)
    bgr = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    pictures = {
        "bgr.png": bgr,
        "grey.png": grey,
        "nested/schiff ü.png": np.dstack([bgr, grey]),
        "sixteen.png": grey.astype(np.uint16) * 257,
    }
    for name, pixels in pictures.items():
        cv2.imencode(".png", pixels)[1].tofile(folder / name)
    return folder


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_folder_with_pictures_of_every_kind(folder, artefact, capsys, tmp_path):
    model = artefact("yolo26n", "nms", "fp32")
    result = run(
        DetectConfig(str(folder), model=str(model), conf=0.02, save=tmp_path / "out", coco=tmp_path / "c.json")
    )
    frames = lines(capsys)
    assert [f["source"] for f in frames] == [
        str(folder / name) for name in ("bgr.png", "grey.png", "nested/schiff ü.png", "sixteen.png")
    ]
    wanted = Detector(model, conf=0.02)(cv2.cvtColor(smooth_picture((200, 120), 1), cv2.COLOR_BGR2GRAY)).to_records()
    assert len(wanted) > 0
    for frame in frames:
        assert set(frame) == {"source", "frame", "width", "height", "detections"}
        assert (frame["frame"], frame["width"], frame["height"]) == (0, 200, 120)
        assert frame["detections"] == wanted
    assert result.to_text() == ""
    assert result.exit_code == 0
    summary = result.to_json()
    assert summary["schema"] == "wutdet.detect/1"
    assert (summary["frames"], summary["boxes"]) == (4, 4 * len(wanted))
    assert cv2.imread(str(tmp_path / "out" / "bgr.png")).shape == (120, 200, 3)
    assert (tmp_path / "out" / "nested" / "schiff ü.png").exists()
    coco = json.loads((tmp_path / "c.json").read_text())
    assert sorted({r["image_id"] for r in coco}) == [1, 2, 3, 4]
    assert len(coco) == summary["boxes"]


def test_truncated_picture_is_told_and_the_others_go_on(folder, artefact, capsys, caplog):
    data = cv2.imencode(".jpg", smooth_picture((200, 120), 1))[1].tobytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_bytes(b"not a picture")
    result = run(DetectConfig(str(folder), model=str(artefact("yolo26n", "nms", "fp32"))))
    assert len(lines(capsys)) == 4
    assert result.exit_code == 3
    assert result.unreadable == (str(folder / "cut.jpg"), str(folder / "text.jpg"))
    assert "cut.jpg: truncated JPEG" in caplog.text


def test_the_only_picture_broken_is_an_error(tmp_path, artefact):
    (tmp_path / "a.jpg").write_bytes(b"not a picture")
    with pytest.raises(DataError, match="not a readable image"):
        run(DetectConfig(str(tmp_path / "a.jpg"), model=str(artefact("yolo26n", "nms", "fp32"))))


def test_video_in_and_out(tmp_path, artefact, capsys):
    video = tmp_path / "film ö.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    assert writer.isOpened()
    for seed in range(5):
        writer.write(smooth_picture((160, 120), seed))
    writer.release()
    out = tmp_path / "out" / "boxes.avi"
    model = str(artefact("yolo26n", "nms", "fp32"))
    result = run(DetectConfig(str(video), model=model, stride=2, save=out))
    assert [f["frame"] for f in lines(capsys)] == [0, 2, 4]
    assert result.frames == 3
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 160
    capture.release()
    assert list(out.parent.iterdir()) == [out]


def test_quiet_prints_nothing_and_numbers_become_coco_ids(tmp_path, artefact, capsys):
    for name in ("000120.png", "000140.png"):
        cv2.imwrite(str(tmp_path / name), smooth_picture((160, 160), int(name[3:6])))
    config = DetectConfig(
        str(tmp_path), model=str(artefact("yolo26n", "nms", "fp32")), conf=0.05, quiet=True, coco=tmp_path / "c.json"
    )
    run(config)
    assert capsys.readouterr().out == ""
    assert {r["image_id"] for r in json.loads((tmp_path / "c.json").read_text())} == {120, 140}


def test_impossible_sources_and_options(tmp_path, artefact):
    model = str(artefact("yolo26n", "nms", "fp32"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "film.mp4").write_bytes(b"no video")
    for source, message in (("empty", "no pictures"), ("gone.mp4", "no such"), ("film.mp4", "cannot open")):
        with pytest.raises(DataError, match=message):
            run(DetectConfig(str(tmp_path / source), model=model))
    cv2.imwrite(str(tmp_path / "a.png"), smooth_picture((64, 64), 0))
    with pytest.raises(UsageError, match="an empty text was given"):  # not every picture below this folder
        run(DetectConfig("", model=model))
    with pytest.raises(UsageError, match="--stride"):
        run(DetectConfig(str(tmp_path / "a.png"), model=model, stride=0))
    with pytest.raises(UsageError, match="--save"):
        run(DetectConfig(str(tmp_path / "a.png"), model=model, save=tmp_path / "b.jpg"))
