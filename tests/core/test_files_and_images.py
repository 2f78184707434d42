"""The ground floor: atomic files, reading pictures of every kind, letterboxes."""

from __future__ import annotations

import errno
import os

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wutdet import boxes, files, images
from wutdet.errors import DataError, WutdetError


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "a.json"
    files.write_json(target, {"old": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WutdetError, match="No space left"):
        files.write_json(target, {"new": 2})
    assert target.read_text().strip() == '{\n "old": 1\n}'
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WutdetError, match="Not a directory"):
        files.write_text(tmp_path / "file" / "a" / "b" / "x.json", "{}")

    def refused(path, mode=0o777):
        missing = errno.EACCES if os.path.isdir(os.path.dirname(path)) else errno.ENOENT
        raise OSError(missing, os.strerror(missing), str(path))

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(WutdetError, match=r"x\.json: cannot write \(Permission denied\)"):
        files.write_text(tmp_path / "two" / "missing" / "levels" / "x.json", "{}")


def test_outputs_are_tried_before_the_work_and_nothing_is_left_behind(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    good = [tmp_path / "new.json", tmp_path / "a" / "b" / "new.json", tmp_path / "file"]
    for path in good:
        files.check_output_file(path)
    files.check_output_folder(tmp_path / "a" / "b")
    files.check_output_folder(tmp_path)
    files.check_output_file(None)
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "not a folder"
    for path in (tmp_path / "file" / "x.json", tmp_path / "file" / "a" / "x.json"):
        with pytest.raises(WutdetError, match="cannot write"):
            files.check_output_file(path)
        with pytest.raises(WutdetError, match="cannot write"):
            files.check_output_folder(path)
    with pytest.raises(WutdetError, match="cannot write"):
        files.check_output_folder(tmp_path / "file")
    with pytest.raises(WutdetError, match="this is a folder"):
        files.check_output_file(tmp_path)


def test_bytes_that_are_no_text_are_replaced_in_file_names():
    name = os.fsdecode(b"hafen \xff.jpg")
    assert files.printable(name) == "hafen \ufffd.jpg"
    assert not files.is_unicode(name) and files.is_unicode("größe 港.jpg")


def test_nan_never_reaches_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((4, 6), 7, np.uint8), 7),
        (np.full((4, 6), 7 * 256, np.uint16), 7),
        (np.full((4, 6, 4), 7, np.uint8), 7),
        (np.full((4, 6, 3), 7 * 256 + 255, np.uint16), 7),
    ],
    ids=["grey", "grey16", "rgba", "rgb16"],
)
def test_every_kind_of_png_becomes_bgr_u8(tmp_path, pixels, expected):
    path = tmp_path / "größe 1.png"
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    image = images.read_image(path)
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    assert (image == expected).all()


def test_truncated_jpeg_and_text_are_refused(tmp_path, write_picture):
    whole = write_picture(tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg: truncated JPEG"):
        images.read_image(tmp_path / "cut.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(DataError, match="not a readable image"):
        images.read_image(tmp_path / "text.jpg")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes"):
        images.read_image(tmp_path / "empty.png")
    with pytest.raises(DataError, match="cannot read the image"):
        images.read_image(tmp_path / "absent.jpg")


def test_exif_rotation_follows_the_annotated_size(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    stored = pil.fromarray(np.zeros((20, 40, 3), np.uint8))
    exif = pil.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    stored.save(tmp_path / "turned.jpg", exif=exif)
    assert images.read_image(tmp_path / "turned.jpg").shape[:2] == (40, 20)
    assert images.read_image(tmp_path / "turned.jpg", (20, 40)).shape[:2] == (40, 20)
    assert images.read_image(tmp_path / "turned.jpg", (40, 20)).shape[:2] == (20, 40)
    with pytest.raises(DataError, match="annotation says 41x20"):
        images.read_image(tmp_path / "turned.jpg", (41, 20))


sides = st.integers(min_value=8, max_value=2600)


@given(sides, sides, sides, sides)
def test_letterbox_maps_back_exactly(width, height, input_width, input_height):
    box = boxes.Letterbox.fit((width, height), (input_width, input_height))
    assert all(pad >= 0 for pad in box.pad_lt)
    assert all(p + s <= i for p, s, i in zip(box.pad_lt, box.scaled_wh, box.input_wh, strict=True))
    corners = np.array([[0, 0, width, height], [1, 2, width / 2, height / 2]], dtype=np.float64)
    back = box.to_frame(box.to_input(corners))
    np.testing.assert_allclose(back, corners, atol=2e-3 / min(box.scale, 1))


def test_letterbox_enlarges_no_further_than_allowed():
    small = boxes.Letterbox.fit((720, 480), (1920, 1088), 1.0)
    assert (small.scale, small.scaled_wh, small.pad_lt) == (1.0, (720, 480), (600, 304))
    by_side = boxes.Letterbox.fit_long_side((720, 480), 1920, 32, 1.5)
    assert (by_side.scale, by_side.scaled_wh, by_side.input_wh) == (1.5, (1080, 720), (1088, 736))
    large = (1920, 1080)
    assert boxes.Letterbox.fit_long_side(large, 1280, 32, 1.0) == boxes.Letterbox.fit_long_side(large, 1280)
    assert boxes.Letterbox.fit(large, (640, 640), 1.0) == boxes.Letterbox.fit(large, (640, 640))


def test_letterbox_of_a_very_thin_frame_keeps_one_pixel():
    thin = boxes.Letterbox.fit_long_side((3000, 1), 320)
    assert (thin.scaled_wh, thin.input_wh) == ((320, 1), (320, 32))
    assert thin.apply(np.full((1, 3000, 3), 9, np.uint8)).shape == (32, 320, 3)


def test_letterbox_by_long_side_is_padded_to_the_stride():
    box = boxes.Letterbox.fit_long_side((1920, 1080), 1280)
    assert (box.scaled_wh, box.input_wh, box.pad_lt) == ((1280, 720), (1280, 736), (0, 8))
    frame = np.full((1080, 1920, 3), 9, np.uint8)
    shown = box.apply(frame)
    assert shown.shape == (736, 1280, 3)
    assert (shown[:8] == boxes.Letterbox.PAD_VALUE).all() and (shown[8:728] == 9).all()
