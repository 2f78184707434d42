"""YOLO writer, read back by our reader, by supervision and by ultralytics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_strategies import assert_same_frames, datasets, row_of, write_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.load import load_dataset
from wutdet.dataset.write_yolo import write_yolo
from wutdet.errors import DataError


def frames(root: Path, entries: list[tuple], **labels):
    """A Dataset of (path, split, boxes)."""
    builder = DatasetBuilder(root)
    for path, split, boxes in entries:
        row = builder.add_image(path, (64, 48), labels={"split": split, **labels})
        for xyxy in boxes:
            builder.add_box(row, xyxy, "ship")
    dataset = builder.build()
    write_images(dataset)
    return dataset


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_round_trip_keeps_frames_boxes_classes_and_splits(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("yolo ä")
    dataset = data.draw(datasets(folder / "source", split=st.sampled_from(["train", "val", "test"])))
    if not len(dataset):
        return
    write_images(dataset)
    write_yolo(dataset, folder / "out", images="link")
    back = load_dataset(folder / "out")
    assert back.category_names == dataset.category_names
    assert back.split.counts() == dataset.split.counts()
    assert_same_frames(back, dataset, ignored=False, atol=1e-8)


def test_label_files_and_data_yaml(tmp_path):
    dataset = frames(tmp_path / "in", [("a.jpg", "train", [(16, 12, 48, 36), (0, 0, 6.4, 4.8)]), ("b.jpg", "val", [])])
    found = write_yolo(dataset, tmp_path / "out")
    assert (tmp_path / "out/labels/train/a.txt").read_text() == "0 0.5 0.5 0.5 0.5\n0 0.05 0.05 0.1 0.1\n"
    assert (tmp_path / "out/labels/val/b.txt").read_text() == ""
    assert (tmp_path / "out/data.yaml").read_text() == "train: images/train\nval: images/val\nnames:\n  0: ship\n"
    assert found == []


def test_what_yolo_cannot_hold_is_counted(tmp_path):
    builder = DatasetBuilder(tmp_path)
    labels = {"source": "cams", "sequence": "cams/a", "scene": "port", "split": "train"}
    row = builder.add_image("a.jpg", (64, 48), frame_index=3, conditions=["fog"], labels=labels)
    builder.add_box(row, (1, 1, 9, 9), "ship", ignore=True)
    builder.add_box(row, (50, 40, 80, 60), "ship", labels={"motion": "moored"})
    builder.add_box(row, (70, 1, 80, 9), "ship")
    builder.add_box(row, (1, 1, 9, 9), "ship", area=40)
    builder.add_image("b.jpg", (64, 48))
    builder.info["licenses"] = [{"id": 1, "name": "CC-BY-4.0"}]
    found = {loss.what: (loss.count, loss.of) for loss in write_yolo(builder.build(), tmp_path / "out", images="none")}
    for start, expected in {
        "left out: ignored": (1, "boxes"),
        "left out: no area": (1, "boxes"),
        "clipped": (1, "boxes"),
        "area of the mask": (1, "boxes"),
        "label 'sequence'": (1, "images"),
        "label 'source'": (1, "images"),
        "label 'scene'": (1, "images"),
        "conditions": (1, "images"),
        "frame index": (1, "images"),
        "box label 'motion'": (1, "boxes"),
        "info and licences": (1, "data sets"),
        "not copied": (2, "images"),
        "no split: in images/unassigned": (1, "images"),
    }.items():
        assert [v for k, v in found.items() if k.startswith(start)] == [expected], start
    assert len(found) == 13
    lines = (tmp_path / "out/labels/train/a.txt").read_text().splitlines()
    assert lines == [
        "0 0.890625 0.916666666667 0.21875 0.166666666667",
        "0 0.078125 0.104166666667 0.125 0.166666666667",
    ]


def test_no_split_is_never_turned_into_a_validation_split(tmp_path):
    dataset = frames(tmp_path / "in", [("a.jpg", None, [])])
    found = write_yolo(dataset, tmp_path / "out")
    assert "val" not in (tmp_path / "out/data.yaml").read_text()
    assert "no 'val'" in found[0].what


def test_equal_stems_do_not_share_a_label_file(tmp_path):
    entries = [(path, "train", [(0, 0, i + 1, 1)]) for i, path in enumerate(("7.jpg", "7.png", "7_png.png", "b/7.jpg"))]
    found = write_yolo(frames(tmp_path / "in", entries), tmp_path / "out")
    assert [(loss.count, loss.what.split(",")[0]) for loss in found] == [(1, "renamed")]
    labels = tmp_path / "out/labels/train"
    names = sorted(p.relative_to(labels).as_posix() for p in labels.rglob("*.txt"))
    assert names == ["7.txt", "7_3.txt", "7_png.txt", "b/7.txt"]  # 7_png was taken
    back = load_dataset(tmp_path / "out")
    for row in range(4):  # each picture still has its own boxes
        assert back.xyxy[row, 2] == pytest.approx(row_of(back, row) + 1)


def test_layout_folders_are_not_stacked(tmp_path):
    dataset = frames(tmp_path / "in", [("images/train/a.jpg", "train", []), ("images/val/sub/a.jpg", "val", [])])
    write_yolo(dataset, tmp_path / "out")
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out/images").rglob("*.jpg")) == [
        "images/train/a.jpg",
        "images/val/sub/a.jpg",
    ]


def test_missing_image_and_missing_size(tmp_path):
    builder = DatasetBuilder(tmp_path)
    builder.add_image("weg.jpg", (64, 48))
    with pytest.raises(DataError, match=r"weg\.jpg: no such image"):
        write_yolo(builder.build(), tmp_path / "out")
    builder.add_image("null.jpg", (0, 0))
    with pytest.raises(DataError, match=r"null\.jpg.*size \[0, 0\]"):
        write_yolo(builder.build(), tmp_path / "out", images="none")


def test_supervision_reads_the_same_boxes(tmp_path):
    sv = pytest.importorskip("supervision")
    dataset = frames(tmp_path / "in", [("a.jpg", "val", [(1, 2, 30.5, 40), (5, 5, 6, 7)]), ("b c.jpg", "val", [])])
    write_yolo(dataset, tmp_path / "out")
    out = tmp_path / "out"
    read = sv.DetectionDataset.from_yolo(str(out / "images/val"), str(out / "labels/val"), str(out / "data.yaml"))
    boxes = {Path(path).name: detections.xyxy for path, _, detections in read}
    assert read.classes == ["ship"] and set(boxes) == {"a.jpg", "b c.jpg"}
    np.testing.assert_allclose(boxes["a.jpg"], dataset.xyxy, atol=1e-4)
    assert len(boxes["b c.jpg"]) == 0


def test_ultralytics_reads_the_same_boxes(tmp_path, monkeypatch):
    utils = pytest.importorskip("ultralytics.data.utils")
    monkeypatch.setattr(utils, "check_font", lambda _: None)  # it would be downloaded
    entries = [(f"cam {i}/ä{i}.png", "train", [(1, 2, 30.5, 40), (i, 5, 60, 47)][:i]) for i in range(3)]
    dataset = frames(tmp_path / "in", [*entries, ("v.png", "val", [])])
    write_yolo(dataset, tmp_path / "out")
    checked = utils.check_det_dataset(str(tmp_path / "out" / "data.yaml"), autodownload=False)
    assert checked["names"] == {0: "ship"}
    images = sorted(str(p) for p in Path(checked["train"]).rglob("*.png"))
    for row, (image, label) in enumerate(zip(images, utils.img2label_paths(images), strict=True)):
        found = utils.verify_image_label((image, label, "", False, 1, 0, 0, False))
        _, boxes, size_hw = found[0], found[1], found[2]
        centre, extent = boxes[:, 1:3] * [64, 48], boxes[:, 3:5] * [64, 48]
        expected = dataset.xyxy[dataset.box_image == row]
        order = np.lexsort(expected.T)
        got = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
        np.testing.assert_allclose(got[np.lexsort(got.T)], expected[order], atol=1e-4)
        assert tuple(size_hw) == (48, 64)
        assert tuple(found[5:9]) == (0, 1, int(row == 0), 0)  # missing, found, empty, corrupt
