"""The CVAT XML reader: images, tracks, attributes, shapes that are not boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError

META = """<meta><task><labels><label><name>ship</name></label><label><name>buoy</name></label></labels>
{more}</task></meta>"""


def document(body: str, more: str = "") -> str:
    return f"<annotations>\n<version>1.1</version>\n{META.format(more=more)}\n{body}\n</annotations>\n"


IMAGES = document("""<image id="0" name="a b.jpg" width="64" height="48" subset="Train">
<tag label="fog" source="manual"></tag>
<tag label="port"/>
<tag label="frame"><attribute name="camera">left</attribute><attribute name="condition">rain</attribute></tag>
<box label="ship" occluded="1" xtl="1.5" ytl="2" xbr="30" ybr="20" z_order="0"><attribute name="moored">true</attribute>
<attribute name="length_m">120.5</attribute></box>
<box label="buoy" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4"><attribute name="ignore">true</attribute></box>
<polygon label="ship" points="5,6;9,4;7,12"/>
<polyline label="horizon" points="0,9;64,9"/>
</image>
<image id="1" name="sub/c.jpg" width="64" height="48"></image>""")


@pytest.fixture
def cvat(tmp_path, write_picture):
    def write(text: str, pictures=("a b.jpg", "sub/c.jpg")):
        for name in pictures:
            write_picture(tmp_path / "images" / name)
        file = tmp_path / "annotations.xml"
        file.write_text(text, "utf-8")
        return file

    return write


def test_images(cvat, tmp_path, caplog):
    file = cvat(IMAGES)
    with caplog.at_level("INFO"):
        dataset = load_dataset(tmp_path)  # detected although VOC keeps XML files too
    assert (len(dataset), dataset.box_count) == (2, 3)
    assert dataset.xyxy.tolist() == [[1.5, 2, 30, 20], [1, 2, 3, 4], [5, 4, 9, 12]]
    assert dataset.category_names == ("ship", "buoy")
    assert dataset.ignore.tolist() == [False, True, False]
    assert dataset.conditions_of(0) == ("fog", "rain")
    assert {k: c[0] for k, c in dataset.labels.items() if c[0]} == {
        "scene": "port", "split": "train", "camera": "left", "frame": "true",
    }  # fmt: skip
    assert {k: c[0] for k, c in dataset.box_labels.items()} == {"moored": "true", "length_m": "120.5", "occluded": "1"}
    lines = file.read_text().splitlines()
    assert all(lines[line - 1].startswith(("<box", "<polygon")) for line in dataset.box_line)
    assert dataset.image_file(1).is_file()
    assert "1 shapes that are not boxes became" in caplog.text
    assert "1 shapes that are not boxes were left out" in caplog.text


def test_turned_box_ellipse_and_mask(cvat):
    shapes = """<box label="ship" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90.0"/>
<ellipse label="ship" cx="20" cy="20" rx="5" ry="3"/>
<mask label="ship" rle="1" left="4" top="5" width="6" height="7"/>"""
    dataset = load_dataset(cvat(document(f'<image name="a b.jpg" width="64" height="48">{shapes}</image>')))
    np.testing.assert_allclose(dataset.xyxy, [[15, 5, 25, 25], [15, 17, 25, 23], [4, 5, 10, 12]], atol=1e-9)


def track(*boxes: str) -> str:
    return f'<track id="4" label="ship">{"".join(boxes)}</track>'


def shape(frame: int, x: float, outside: int = 0) -> str:
    return f'<box frame="{frame}" outside="{outside}" keyframe="1" xtl="{x}" ytl="0" xbr="{x + 10}" ybr="5"/>'


def test_tracks(cvat, tmp_path):
    size = "<size>6</size><mode>interpolation</mode><original_size><width>64</width><height>48</height></original_size>"
    names = [f"frame_{n:06d}.jpg" for n in range(6)]
    file = cvat(
        document(track(shape(0, 0), shape(3, 6), shape(4, 6, outside=1)), size + "<source>v.mp4</source>"), names
    )
    dataset = load_dataset(file)
    assert list(dataset.path) == names
    assert dataset.frame_index.tolist() == list(range(6))
    assert dataset.sequence.counts() == {"v": 6}
    assert dataset.box_image.tolist() == [0, 1, 2, 3]  # gone from frame 4 on; frames without ships stay
    assert dataset.xyxy[:, 0].tolist() == [0, 2, 4, 6]
    assert dataset.box_labels["track_id"].counts() == {"4": 4}


def test_tracks_with_a_frame_step(cvat):
    more = ("<size>3</size><start_frame>10</start_frame><stop_frame>30</stop_frame><frame_filter>step=10</frame_filter>"
            "<original_size><width>64</width><height>48</height></original_size>")  # fmt: skip
    dataset = load_dataset(cvat(document(track(shape(10, 0), shape(30, 8)), more), []))
    assert dataset.frame_index.tolist() == [10, 20, 30]
    assert dataset.xyxy[:, 0].tolist() == [0, 4, 8]


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("missing-field", 'label="buoy" ', "", "without 'label'"),
        ("missing-field", 'xtl="1" ', "", "no 'xtl'"),
        ("bad-value", 'xtl="1" ', 'xtl="one" ', "not a number"),
        ("non-finite-box", 'xtl="1" ', 'xtl="nan" ', "not a finite number"),
        ("non-finite-box", "9,4", "nan,4", "not a finite number"),
        ("inverted-box", 'xtl="1" ', 'xtl="9" ', "inverted"),
        ("bad-value", 'width="64" height="48" subset', 'width="0" height="48" subset', "whole pixels above 0"),
        ("duplicate-image", "sub/c.jpg", "a b.jpg", "listed twice"),
    ],
)
def test_wrong_content_raises_or_is_listed(cvat, kind, old, new, message):
    assert old in IMAGES
    file = cvat(IMAGES.replace(old, new))
    with pytest.raises(DataError) as caught:
        load_dataset(file)
    assert message in caught.value.message
    assert caught.value.file == str(file)
    assert caught.value.line > 3
    problems = []
    load_dataset(file, problems=problems)
    assert [(p.kind, p.line) for p in problems] == [(kind, caught.value.line)]


def test_broken_files(cvat, tmp_path):
    with pytest.raises(DataError, match=r"annotations\.xml:\d+: not valid XML"):
        load_dataset(cvat(IMAGES[:-30]))
    with pytest.raises(DataError, match="root element is <annotation>"):
        load_dataset(cvat("<annotation/>"), format="cvat")


def test_math_of_a_box_turned_by_any_angle(cvat):
    angle = 30
    shape = f'<box label="ship" xtl="10" ytl="10" xbr="30" ybr="20" rotation="{angle}"/>'
    text = f'<image name="a b.jpg" width="64" height="48">{shape}</image>'
    [found] = load_dataset(cvat(document(text))).xyxy.tolist()
    turn = np.array([[math.cos(math.radians(angle)), -math.sin(math.radians(angle))],
                     [math.sin(math.radians(angle)), math.cos(math.radians(angle))]])  # fmt: skip
    corners = np.array([[-10, -5], [10, -5], [10, 5], [-10, 5]]) @ turn.T + [20, 15]
    np.testing.assert_allclose(found, [*corners.min(axis=0), *corners.max(axis=0)], atol=1e-9)
