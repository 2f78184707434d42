"""VOC writer, read back by our reader and by supervision."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from dataset_strategies import assert_same_frames, datasets, row_of, write_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.load import load_dataset
from wutdet.dataset.write_voc import write_voc


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_round_trip_keeps_boxes_flags_and_tags(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("voc ä")
    dataset = data.draw(datasets(folder / "source"))
    if not len(dataset):
        return
    write_images(dataset)
    losses = write_voc(dataset, folder / "out", images="link")
    back = load_dataset(folder / "out")
    for row, new in assert_same_frames(back, dataset).items():
        for name in ("scene", "sequence", "source", "camera", "split"):
            assert (back.labels[name][new] if name in back.labels else None) == dataset.labels[name][row], name
        assert back.frame_index[new] == dataset.frame_index[row]
        assert back.conditions_of(new) == dataset.conditions_of(row)
        np.testing.assert_array_equal(back.ignore[back.box_rows(new)], dataset.ignore[dataset.box_rows(row)])
        column = back.box_labels.get("orig_class")
        for old_box, box in zip(
            range(*dataset.box_rows(row).indices(dataset.box_count)),
            range(*back.box_rows(new).indices(back.box_count)),
            strict=True,
        ):
            assert (column[box] if column else None) == dataset.box_labels["orig_class"][old_box]
    assert not [loss for loss in losses if loss.what.startswith(("label", "box label", "conditions"))]


def test_layout_and_content(tmp_path):
    builder = DatasetBuilder(tmp_path / "in")
    row = builder.add_image("0000020.jpg", (64, 48), frame_index=20, labels={"split": "train", "source": "A & B"})
    builder.add_box(row, (1, 2.5, 30, 40), "ship", ignore=True)
    builder.add_image("0000040.jpg", (64, 48), frame_index=40, labels={"split": "val"})
    dataset = builder.build()
    write_images(dataset)
    found = write_voc(dataset, tmp_path / "out")
    out = tmp_path / "out"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == [
        "Annotations/0000020.xml", "Annotations/0000040.xml", "ImageSets/Main/train.txt", "ImageSets/Main/val.txt",
        "JPEGImages/0000020.jpg", "JPEGImages/0000040.jpg",
    ]  # fmt: skip
    assert (out / "ImageSets/Main/train.txt").read_text() == "0000020\n"
    root = ElementTree.parse(out / "Annotations/0000020.xml").getroot()
    assert [root.findtext(k) for k in ("filename", "size/width", "size/height", "source/database")] == [
        "0000020.jpg", "64", "48", "A & B",
    ]  # fmt: skip
    box = root.find("object")
    assert [box.findtext(k) for k in ("name", "difficult", "truncated", "pose")] == ["ship", "1", "0", "Unspecified"]
    assert [box.findtext(f"bndbox/{k}") for k in ("xmin", "ymin", "xmax", "ymax")] == ["1", "2.5", "30", "40"]
    assert ElementTree.parse(out / "Annotations/0000040.xml").getroot().find("object") is None
    assert [(loss.count, loss.what.split(";")[0]) for loss in found] == [(1, "corners with decimals are kept")]


def test_names_from_folders_are_flat_and_differ(tmp_path):
    builder = DatasetBuilder(tmp_path / "in")
    for path in ("cam1/7.jpg", "cam2/7.jpg", "cam2/8.jpg", "8.png", " 9 .jpg", "line\nend.jpg"):
        builder.add_image(path, (64, 48))
    dataset = builder.build()
    write_images(dataset)
    found = write_voc(dataset, tmp_path / "out")
    names = [p.name for p in sorted((tmp_path / "out/JPEGImages").iterdir())]
    assert len(names) == 6 and {"cam1__7.jpg", "cam2__7.jpg", "_9.jpg", "line_end.jpg", "8.png"} < set(names)
    assert sum(loss.count for loss in found if loss.what.startswith("renamed")) == 5
    back = load_dataset(tmp_path / "out")
    assert sorted(row_of(back, row) for row in range(6)) == [0, 1, 2, 3, 4, 5]


def test_what_voc_cannot_hold_is_counted(tmp_path):
    builder = DatasetBuilder(tmp_path)
    labels = {"split": "night", "bad name": "x", "scene": "Unknown", "camera": "a\x01"}
    row = builder.add_image("a.jpg", (64, 48), image_id=7, conditions=["fog,rain"], labels=labels)
    builder.class_map.index("buoy")
    builder.add_box(row, (1, 1, 9, 9), "ship", crowd=True, area=30)
    builder.info["info"] = {"year": 2026}
    found = write_voc(builder.build(), tmp_path / "out", images="none")
    starts = (
        "not copied", "split is not", "crowd", "without boxes", "label 'scene'", "label 'bad name'", "label 'camera'",
        "conditions", "area", "image id", "info",
    )  # fmt: skip
    assert [loss.what[: len(start)] for loss, start in zip(found, starts, strict=True)] == list(starts)
    assert all(loss.count == 1 for loss in found)
    text = (tmp_path / "out/Annotations/a.xml").read_text("utf-8")
    assert f"<path>{tmp_path / 'a.jpg'}</path>" in text


def test_supervision_reads_the_same_boxes(tmp_path):
    sv = pytest.importorskip("supervision")
    builder = DatasetBuilder(tmp_path / "in")
    for path, boxes in (("a.jpg", [(1, 2, 30, 40), (5, 5, 6, 7)]), ("b c.jpg", [])):
        row = builder.add_image(path, (64, 48), labels={"scene": "port", "camera": "x"})
        for box in boxes:
            builder.add_box(row, box, "ship", labels={"motion": "moored"})
    dataset = builder.build()
    write_images(dataset)
    write_voc(dataset, tmp_path / "out")
    read = sv.DetectionDataset.from_pascal_voc(str(tmp_path / "out/JPEGImages"), str(tmp_path / "out/Annotations"))
    found = {Path(path).name: detections.xyxy for path, _, detections in read}
    assert set(found) == {"a.jpg", "b c.jpg"} and read.classes == ["ship"]
    # supervision reads VOC as the challenge's own files: counted from 1, second corner inside the box.
    np.testing.assert_allclose(found["a.jpg"] + [1, 1, 0, 0], dataset.xyxy)
