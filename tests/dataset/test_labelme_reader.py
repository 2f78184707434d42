"""The LabelMe reader."""

from __future__ import annotations

import json

import pytest

from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError


def shape(points, label="ship", kind="rectangle", **more) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def labelme(shapes, image="a b.jpg", **more) -> dict:
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None}
    return content | {"imageHeight": 48, "imageWidth": 64} | more


@pytest.fixture
def write(tmp_path, write_picture):
    def write(content, name="a b.json", picture="a b.jpg"):
        if picture:
            write_picture(tmp_path / picture)
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1))
        return file

    return write


def test_shapes(write, tmp_path, caplog):
    shapes = [
        shape([[30, 20], [1.5, 2]]),  # drawn from the lower right corner
        shape(
            [[5, 6], [9, 4], [7, 12]], kind="polygon", group_id=3, flags={"moored": True, "ignore": True, "x": False}
        ),
        shape([[20, 20], [23, 24]], kind="circle"),
        shape([[0, 9], [64, 9]], "horizon", "line"),
    ]
    file = write(labelme(shapes, flags={"fog": True, "port": True, "mine": True, "rain": False}))
    with caplog.at_level("INFO"):
        dataset = load_dataset(tmp_path)
    assert dataset.xyxy.tolist() == [[1.5, 2, 30, 20], [5, 4, 9, 12], [15, 15, 25, 25]]
    assert dataset.ignore.tolist() == [False, True, False]
    assert dataset.conditions_of(0) == ("fog",)
    assert (dataset.scene[0], dataset.labels["mine"][0]) == ("port", "true")
    assert {k: c[1] for k, c in dataset.box_labels.items()} == {"moored": "true", "group_id": "3"}
    lines = file.read_text().splitlines()
    assert all(lines[line - 1] == "  {" for line in dataset.box_line)
    assert "2 polygons, masks and circles became" in caplog.text
    assert "1 points and lines were left out" in caplog.text


def test_frames_without_ships_folders_and_windows_paths(write, tmp_path):
    write(labelme([], "..\\images\\c.jpg"), "labels/c.json", "images/c.jpg")
    dataset = load_dataset(tmp_path)
    assert (dataset.path[0], dataset.annotation_file[0], dataset.box_count) == ("images/c.jpg", "labels/c.json", 0)


def test_size_from_the_picture(write, tmp_path):
    write(labelme([], imageHeight=None))
    assert load_dataset(tmp_path).size_wh.tolist() == [[64, 48]]


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        ("missing-field", {"points": [[1, 2], [3, 4]]}, "without 'label'"),
        ("bad-value", shape([[1, 2]]), "at least two"),
        ("bad-value", shape([[1, 2], ["x", 4]]), "at least two"),
        ("non-finite-box", shape([[1, 2], [float("nan"), 4]]), "not a finite number"),
    ],
)
def test_wrong_shapes_raise_or_are_listed(write, kind, bad, message):
    file = write(labelme([shape([[1, 2], [3, 4]]), bad]))
    with pytest.raises(DataError) as caught:
        load_dataset(file)
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line > 4) == (str(file), True)
    problems = []
    dataset = load_dataset(file, problems=problems)
    assert ([p.kind for p in problems], dataset.box_count) == ([kind], 1)


def test_image_without_annotation_and_the_reverse(write, tmp_path, write_picture):
    write(labelme([]))
    write_picture(tmp_path / "b.jpg")
    with pytest.raises(DataError, match=r"b\.jpg: image without LabelMe file"):
        load_dataset(tmp_path)
    (tmp_path / "b.jpg").unlink()
    write(labelme([], "gone.jpg"), "c.json", None)
    with pytest.raises(DataError, match=r"c\.json: its image 'gone.jpg' is missing"):
        load_dataset(tmp_path)
