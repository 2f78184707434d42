"""What ``wutdet detect`` writes: never over what it reads, never two pictures into one, and kept if a run is ended."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import cv2
import pytest
from tiny_detectors import constant_model, smooth_picture

from wutdet.config import DetectConfig
from wutdet.errors import DataError, UsageError, WutdetError
from wutdet.runtime import detect
from wutdet.runtime.detector import Detector
from wutdet.runtime.draw import picture_targets
from wutdet.runtime.sources import open_source


@pytest.fixture
def model(tmp_path_factory) -> str:
    """Finds the same two boxes in every frame."""
    rows = [[40, 120, 140, 200, 0.9, 0], [150, 130, 220, 190, 0.6, 0]]
    return str(constant_model(tmp_path_factory.mktemp("model") / "two.onnx", rows, size=(320, 320)))


@pytest.fixture
def pictures(tmp_path):
    """``pictures("a.jpg", "sub/a.bmp")``: a folder with these; every picture has another size."""

    def make(*names: str):
        for number, name in enumerate(names):
            file = tmp_path / "pics" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = smooth_picture((64 + 2 * number, 48), number)
            file.write_bytes(cv2.imencode(file.suffix, picture)[1].tobytes())
        return tmp_path / "pics"

    return make


@pytest.fixture
def film(tmp_path):
    """Twenty frames of motion JPEG, ten a second."""
    file = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for seed in range(20):
        writer.write(smooth_picture((64, 48), seed))
    writer.release()
    return file


def contents(folder) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_pictures_that_are_read_are_never_written_over(pictures, model, tmp_path):
    folder = pictures("a.jpg", "sub/a.jpg")
    before = contents(tmp_path)
    (tmp_path / "other name").symlink_to(folder / "sub", target_is_directory=True)
    for save in (folder / "sub", tmp_path / "other name"):
        with pytest.raises(UsageError, match=r"--save would write over .*a\.jpg"):
            detect.run(DetectConfig(str(folder), model=model, save=save))
    with pytest.raises(UsageError, match="--coco would write over"):
        detect.run(DetectConfig(str(folder), model=model, coco=folder / "a.jpg"))
    assert contents(tmp_path) == before


def test_a_video_that_is_read_is_never_written_over(film, model):
    before = film.read_bytes()
    with pytest.raises(UsageError, match=r"--save would write over .*film\.avi"):
        detect.run(DetectConfig(str(film), model=model, save=film))
    assert film.read_bytes() == before


def test_every_picture_has_an_output_of_its_own(pictures, model, tmp_path):
    folder = pictures("a.bmp", "a.jpg", "sub/a.jpg", "a.tif", "b.webp")
    before = contents(folder)
    detect.run(DetectConfig(str(folder), model=model, save=tmp_path / "shown", quiet=True))
    sizes = {name: cv2.imread(str(tmp_path / "shown" / name)).shape[1] for name in contents(tmp_path / "shown")}
    assert sizes == {"a.bmp.jpg": 64, "a.jpg": 66, "sub/a.jpg": 68, "a.tif.jpg": 70, "b.jpg": 72}
    detect.run(DetectConfig(str(folder), model=model, save=folder, quiet=True))
    after = contents(folder)
    assert {name: after.pop(name) for name in before} == before
    assert sorted(after) == sorted(
        ["a.annotated.jpg", "a.jpg.annotated.jpg", "a.tif.annotated.jpg", "b.annotated.jpg", "sub/a.annotated.jpg"]
    )


def test_targets_differ_whatever_the_names(pictures, tmp_path):
    names = ("a.jpg", "A.JPG", "a.bmp", "a.bmp.jpg", "a.bmp.2.jpg", "a.jpeg", "a.png", "sub/a.bmp")
    folder = pictures(*names)
    for out in (tmp_path / "shown", folder, folder / "new"):
        targets = picture_targets(out, open_source(str(folder)))
        assert set(targets) == {str(folder / name) for name in names}
        assert len({str(target).casefold() for target in targets.values()}) == len(names)
        assert all(target.suffix.lower() in (".jpg", ".png") for target in targets.values())
    kept = picture_targets(tmp_path / "shown", open_source(str(folder)))
    for name in ("a.bmp.jpg", "a.bmp.2.jpg", "a.png"):
        assert kept[str(folder / name)] == tmp_path / "shown" / name


def test_ctrl_c_and_errors_keep_what_was_found(film, model, tmp_path, monkeypatch):
    coco, shown = tmp_path / "c.json", tmp_path / "shown"
    draw = detect.draw_boxes
    for stop in (KeyboardInterrupt, RuntimeError):
        seen = []

        def stopped(image, found, stop=stop, seen=seen):
            seen.append(len(found))
            if len(seen) == 3:
                raise stop
            return draw(image, found)

        monkeypatch.setattr(detect, "draw_boxes", stopped)
        config = DetectConfig(str(film), model=model, quiet=True, coco=coco, save=shown)
        with pytest.raises(stop):
            detect.run(config)
        results = json.loads(coco.read_text())
        assert seen == [2, 2, 2]
        assert [r["image_id"] for r in results] == [1, 1, 2, 2, 3, 3]
        coco.unlink()


def test_a_run_that_fails_at_once_leaves_earlier_results(tmp_path, model):
    (tmp_path / "a.jpg").write_bytes(b"not a picture")
    (tmp_path / "c.json").write_text("earlier")
    with pytest.raises(DataError, match="not a readable image"):
        detect.run(DetectConfig(str(tmp_path / "a.jpg"), model=model, coco=tmp_path / "c.json"))
    assert (tmp_path / "c.json").read_text() == "earlier"


def test_outputs_that_cannot_be_written_are_told_before_the_first_frame(pictures, model, tmp_path, monkeypatch):
    folder = pictures("a.jpg")
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(Detector, "__call__", lambda *_: pytest.fail("a frame was looked at"))
    for option in ({"coco": "file/x.json"}, {"save": "file/x"}, {"save": "file/x.mp4"}, {"coco": "."}):
        paths = {name: tmp_path / value for name, value in option.items()}
        with pytest.raises(WutdetError, match=r"cannot write|this is a folder"):
            detect.run(DetectConfig(str(folder), model=model, **paths))


def test_half_a_video_is_told_and_what_was_found_is_kept(film, model, tmp_path, caplog):
    data = film.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: len(data) // 2])
    result = detect.run(
        DetectConfig(str(cut), model=model, quiet=True, coco=tmp_path / "c.json", save=tmp_path / "out")
    )
    assert 5 <= result.frames < 15
    assert result.exit_code == 3 and result.unreadable == (str(cut),)
    assert f"{result.frames} frames can be decoded, and the file states 20" in caplog.text
    assert (tmp_path / "c.json").exists() and len(list((tmp_path / "out").iterdir())) == result.frames
    caplog.clear()
    assert detect.run(DetectConfig(str(film), model=model, quiet=True, stride=3)).exit_code == 0
    assert "ends early" not in caplog.text


def test_a_count_that_is_off_by_little_or_guessed_from_the_duration_is_no_damage(film):
    source = open_source(str(film))
    assert (source.count, source.fps) == (20, 10.0)

    def lacks(**facts) -> bool:
        return list(replace(source, **facts).frames())[-1].image is None

    assert not lacks() and not lacks(count=None)
    assert not lacks(count=22)
    assert lacks(count=23)
    # Frames at uneven intervals: twice as many by the nominal rate, but the time reaches the end.
    assert not lacks(count=40, fps=20.0)
    assert lacks(count=60, fps=20.0)


@pytest.mark.skipif(os.name != "posix", reason="file names are text on this system")
def test_names_that_are_no_text_are_shown_with_replacement_characters(pictures, film, model, tmp_path, capsys):
    folder = pictures("a.jpg", "b.jpg")
    odd = os.fsdecode(b"b \xff.jpg")
    try:
        os.rename(folder / "b.jpg", folder / odd)
    except OSError:
        pytest.skip("this disk takes no such names")
    (folder / os.fsdecode(b"cut \xfe.jpg")).write_bytes(b"not a picture")
    result = detect.run(DetectConfig(str(folder), model=model, save=tmp_path / "shown"))
    text = capsys.readouterr().out
    text.encode("utf-8")
    assert [json.loads(line)["source"] for line in text.splitlines()] == [
        str(folder / name) for name in ("a.jpg", "b \ufffd.jpg")
    ]
    json.dumps(result.to_json(), ensure_ascii=False).encode("utf-8")
    assert result.to_json()["unreadable"] == [str(folder / "cut \ufffd.jpg")]
    assert (tmp_path / "shown" / odd).exists()
    # OpenCV itself crashes on videos with such names.
    video = tmp_path / os.fsdecode(b"film \xff.avi")
    with pytest.raises(UsageError, match="UTF-8"):
        detect.run(DetectConfig(str(folder), model=model, save=video))
    film.rename(video)
    with pytest.raises(DataError, match="UTF-8"):
        detect.run(DetectConfig(str(video), model=model))
