"""Image sizes from headers equal those of the decoded picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from wutdet.dataset.image_header import read_size_wh
from wutdet.errors import DataError
from wutdet.images import read_image


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("a.jpg", {"progressive": True}),
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("lossy.webp", {}),
        ("exact.webp", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("size", [(7, 5), (301, 40)])
def test_size_equals_decoded_size(tmp_path, name, options, size):
    file = tmp_path / name
    Image.new("RGB", size, (9, 99, 200)).save(file, **options)
    assert read_size_wh(file) == size
    assert read_image(file).shape[1::-1] == size


def test_webp_with_alpha_has_an_extended_header(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (31, 50, 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.webp")
    assert read_size_wh(tmp_path / "a.webp") == (50, 31)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("padding", [0, 5000])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_rotation_as_read_image_applies_it(tmp_path, orientation, padding, suffix):
    exif = Image.Exif()
    exif[0x010E] = "x" * (padding + 1)  # a long description before the orientation
    exif[0x0112] = orientation
    file = tmp_path / f"a.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    picture = read_image(file)
    with Image.open(file) as stored:
        shown = np.asarray(ImageOps.exif_transpose(stored))[..., ::-1]
    np.testing.assert_array_equal(picture, shown)
    height, width = picture.shape[:2]
    assert read_size_wh(file) == (width, height) == ((48, 64) if orientation > 4 else (64, 48))


def test_where_the_rotation_stands_in_the_file(tmp_path):
    """Behind another segment of a JPEG file, and behind the pixels of a PNG file."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG", exif=exif)
    whole = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(whole[:2] + b"\xff\xfe\x01\x00" + bytes(254) + whole[2:])
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "PNG", exif=exif)
    whole = buffer.getvalue()
    start = whole.index(b"eXIf") - 4
    chunk = whole[start : start + 12 + int.from_bytes(whole[start : start + 4], "big")]
    (tmp_path / "a.png").write_bytes(whole.replace(chunk, b"")[:-12] + chunk + whole[-12:])
    damaged = chunk[:-1] + bytes([chunk[-1] ^ 1])  # not a chunk, as its checksum says
    (tmp_path / "b.png").write_bytes(whole.replace(chunk, b"")[:-12] + damaged + whole[-12:])
    for name, size in (("a.jpg", (48, 64)), ("a.png", (48, 64)), ("b.png", (64, 48))):
        assert read_size_wh(tmp_path / name) == read_image(tmp_path / name).shape[1::-1] == size


def test_not_a_picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"hello")
    with pytest.raises(DataError, match="not a readable image"):
        read_size_wh(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="cannot read the image"):
        read_size_wh(tmp_path / "none.jpg")


def test_header_of_a_truncated_picture_is_enough(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480)).save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:700])
    assert read_size_wh(tmp_path / "a.jpg") == (640, 480)
