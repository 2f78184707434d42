"""COCO writer: nothing is lost, other tools read it, a failed write changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_strategies import datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.coco import read_coco
from wutdet.dataset.write_coco import exact_width_height, write_coco
from wutdet.errors import DataError

ROOT = Path("/nowhere/set")


def small_dataset(root: Path = ROOT):
    builder = DatasetBuilder(root, name="small")
    labels = {"source": "cams", "sequence": "cams/a", "scene": "port", "split": "val", "camera": "north"}
    row = builder.add_image("a.jpg", (64, 48), image_id=5, frame_index=3, conditions=["fog", "rain"], labels=labels)
    builder.add_box(row, (682.67, 370.0, 708.67, 394.67), "ship", area=640.0, labels={"orig_class": "sea"})
    builder.add_box(row, (1, 2, 3, 4), "ship", crowd=True)
    builder.add_image("leer.jpg", (64, 48), image_id=9)
    return builder.build()


def test_keys_of_the_file(tmp_path):
    assert write_coco(small_dataset(), tmp_path / "all.json", file_names=["a.jpg", "leer.jpg"]) == []
    content = json.loads((tmp_path / "all.json").read_text("utf-8"))
    assert content["categories"][0]["id"] == 1 and content["categories"][0]["name"] == "ship"
    assert content["images"] == [
        {
            "id": 5, "file_name": "a.jpg", "width": 64, "height": 48, "sequence_id": "a", "frame_index": 3,
            "source": "cams", "split": "val",
            "attributes": {"scene": "port", "camera": "north", "conditions": ["fog", "rain"]},
        },
        {"id": 9, "file_name": "leer.jpg", "width": 64, "height": 48},
    ]  # fmt: skip
    assert content["annotations"][0] == {
        "id": 1, "image_id": 5, "category_id": 1, "bbox": [682.67, 370.0, 26.0, 24.67], "area": 640.0, "iscrowd": 0,
        "ignore": 0, "attributes": {"orig_class": "sea"},
    }  # fmt: skip
    assert (content["annotations"][1]["iscrowd"], content["annotations"][1]["ignore"]) == (1, 1)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip_loses_nothing_and_is_stable(tmp_path_factory, data):
    dataset = data.draw(datasets(ROOT))
    folder = tmp_path_factory.mktemp("coco")
    assert write_coco(dataset, folder / "all.json") == []
    back = read_coco(folder / "all.json", ClassMap.keep())
    for row in range(len(dataset)):
        assert back.image_file(row) == dataset.image_file(row)
        assert back.conditions_of(row) == dataset.conditions_of(row)
        for name in dataset.labels:
            expected = dataset.labels[name][row]
            assert (back.labels[name][row] if name in back.labels else None) == expected, name
    np.testing.assert_allclose(back.xyxy, dataset.xyxy, rtol=0, atol=1e-13)
    for column in ("size_wh", "image_id", "frame_index", "box_image", "category", "area", "ignore", "crowd"):
        np.testing.assert_array_equal(getattr(back, column), getattr(dataset, column), err_msg=column)
    if dataset.box_count:
        column = back.box_labels.get("orig_class")
        for box in range(dataset.box_count):
            assert (column[box] if column else None) == dataset.box_labels["orig_class"][box]
    assert back.category_names == dataset.category_names
    assert back.info["info"] == dataset.info["info"] and back.info["licenses"] == dataset.info["licenses"]
    write_coco(back, folder / "second.json")
    second = read_coco(folder / "second.json", ClassMap.keep())
    np.testing.assert_array_equal(second.xyxy, back.xyxy)
    write_coco(second, folder / "third.json")
    assert (folder / "third.json").read_bytes() == (folder / "second.json").read_bytes()


COORDINATES = hnp.arrays(np.float64, (8, 2), elements=st.floats(0, 3000))


@given(COORDINATES, COORDINATES)
def test_sizes_of_boxes_from_a_coco_file_give_the_corners_back_bit_for_bit(xy, size):
    xyxy = np.concatenate([xy, xy + size], axis=1)
    np.testing.assert_array_equal(xy + exact_width_height(xyxy), xyxy[:, 2:])


@given(COORDINATES, COORDINATES)
def test_sizes_of_any_boxes_give_the_corners_back_to_one_ulp(a, b):
    xyxy = np.concatenate([np.minimum(a, b), np.maximum(a, b)], axis=1)
    error = np.abs(xyxy[:, :2] + exact_width_height(xyxy) - xyxy[:, 2:])
    assert (error <= np.spacing(xyxy[:, 2:])).all(), error.max()


@given(st.integers(0, 300_000), st.integers(0, 300_000))
def test_sizes_with_two_decimals_come_back_as_they_were(x, w):
    x, w = x / 100, w / 100
    assert exact_width_height(np.array([[x, x, x + w, x + w]]))[0, 0] == w


def test_boxes_left_of_the_frame_are_one_ulp_away_at_most():
    xyxy = np.array([[-1000.1, -0.3, 0.3, 7.7]])
    np.testing.assert_allclose(xyxy[:, :2] + exact_width_height(xyxy), xyxy[:, 2:], rtol=0, atol=2.5e-13)


def test_pycocotools_reads_it(tmp_path, capsys):
    from pycocotools.coco import COCO

    dataset = small_dataset()
    write_coco(dataset, tmp_path / "all.json")
    coco = COCO(str(tmp_path / "all.json"))
    assert coco.getImgIds() == [5, 9] and coco.getAnnIds(iscrowd=True) == [2]
    assert coco.loadAnns([1])[0]["bbox"] == [682.67, 370.0, 26.0, 24.67]


def test_paths_are_relative_to_the_folder_the_reader_takes(tmp_path, write_picture):
    write_picture(tmp_path / "images" / "sub folder" / "a ä.jpg")
    builder = DatasetBuilder(tmp_path)
    builder.add_image("images/sub folder/a ä.jpg", (64, 48))
    write_coco(builder.build(), tmp_path / "annotations" / "all.json")
    content = json.loads((tmp_path / "annotations" / "all.json").read_text("utf-8"))
    assert content["images"][0]["file_name"] == "sub folder/a ä.jpg"
    back = read_coco(tmp_path / "annotations" / "all.json", ClassMap.keep())
    assert back.read_image(0).shape == (48, 64, 3)


@pytest.mark.parametrize("column", ["xyxy", "area"])
def test_nan_is_refused_and_the_earlier_file_kept(tmp_path, column):
    file = tmp_path / "all.json"
    file.write_text("earlier")
    dataset = small_dataset()
    broken = np.array(getattr(dataset, column))
    broken.flat[0] = np.nan
    with pytest.raises(DataError, match=r"a\.jpg.*not finite"):
        write_coco(replace(dataset, **{column: broken}), file)
    with pytest.raises(DataError, match="JSON cannot"):
        write_coco(replace(dataset, info={"info": {"x": float("nan")}}), file)
    assert file.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["all.json"]


def test_sequence_of_another_source_is_reported(tmp_path):
    builder = DatasetBuilder(ROOT)
    builder.add_image("a.jpg", (64, 48), labels={"source": "x", "sequence": "y/1", "condition": "odd"})
    found = write_coco(builder.build(), tmp_path / "all.json")
    assert [(loss.count, loss.of) for loss in found] == [(1, "images"), (1, "images")]
    assert "source/" in found[0].what and "condition" in found[1].what


def test_file_names_that_are_not_utf8_survive(tmp_path):
    builder = DatasetBuilder(ROOT)
    builder.add_image("a\udcff.jpg", (64, 48))
    write_coco(builder.build(), tmp_path / "all.json")
    assert read_coco(tmp_path / "all.json", ClassMap.keep()).path[0].endswith("/a\udcff.jpg")
