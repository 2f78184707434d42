"""The YOLO reader, against ultralytics' own reading of the same files."""

from __future__ import annotations

import numpy as np
import pytest

from wutdet.dataset.load import load_dataset
from wutdet.dataset.yolo import label_file_of
from wutdet.errors import DataError

SIZE = (64, 48)
YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [ship, buoy]\n"


@pytest.fixture
def yolo(tmp_path, write_picture):
    """Writes ``data.yaml`` and one picture and label file per entry ``"train/a"``; ``None`` writes no label file."""

    def write(labels: dict[str, str | None], yaml=YAML):
        root = tmp_path / "set ä"
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "data.yaml").write_text(yaml, "utf-8")
        for name, text in labels.items():
            write_picture(root / "images" / f"{name}.jpg", SIZE)
            if text is not None:
                file = root / "labels" / f"{name}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, "utf-8")
        return root

    return write


def test_agrees_with_ultralytics(yolo, rng):
    utils = pytest.importorskip("ultralytics.data.utils")
    labels = {}
    for number in range(12):
        centre, size = rng.uniform(0.3, 0.7, (number % 4, 2)), rng.uniform(0.01, 0.5, (number % 4, 2))
        rows = np.hstack([rng.integers(0, 2, (number % 4, 1)), centre, size])
        labels[f"train/{number}"] = "".join(f"{int(r[0])} {r[1]:.6f} {r[2]:.6f} {r[3]:.6f} {r[4]:.6f}\n" for r in rows)
    root = yolo(labels | {"val/x": ""})
    train = load_dataset(root, "train")
    assert len(train) == 12
    for row in range(len(train)):
        image = str(train.image_file(row))
        label_file = utils.img2label_paths([image])[0]
        assert label_file_of(image) == label_file
        found = utils.verify_image_label((image, label_file, "", False, 2, 0, 0, False))
        rows, (height, width) = found[1], found[2]
        assert tuple(train.size_wh[row]) == (width, height)
        centre, size = rows[:, 1:3], rows[:, 3:5]
        expected = np.hstack([centre - size / 2, centre + size / 2]) * [width, height, width, height]
        boxes = train.box_rows(row)
        np.testing.assert_allclose(train.xyxy[boxes], expected, atol=1e-4)
        assert train.category[boxes].tolist() == rows[:, 0].astype(int).tolist()


def test_background_lines_and_split(yolo):
    root = yolo({"train/a": "\n1 0.5 0.5 0.5 0.5\n", "train/b": None, "val/c": ""})
    dataset = load_dataset(root)
    assert dataset.split.counts() == {"train": 2, "val": 1}
    assert dataset.xyxy.tolist() == [[16, 12, 48, 36]]
    assert dataset.box_line.tolist() == [2]
    assert dataset.category_names == ("ship", "buoy")
    assert list(dataset.annotation_file) == ["labels/train/a.txt", "", "labels/val/c.txt"]


def test_polygons_become_boxes_and_say_so(yolo, caplog):
    root = yolo({"train/a": "0 0.1 0.2 0.5 0.25 0.3 0.75\n", "val/b": ""})
    with caplog.at_level("INFO"):
        dataset = load_dataset(root)
    np.testing.assert_allclose(dataset.xyxy, [[6.4, 9.6, 32, 36]])
    assert "1 polygons" in caplog.text


def test_keypoints_after_the_box_are_left_out(yolo):
    root = yolo({"train/a": "0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.2 0.2 1\n", "val/b": ""}, YAML + "kpt_shape: [2, 3]\n")
    assert load_dataset(root).xyxy.tolist() == [[16, 12, 48, 36]]


def test_lists_dicts_validation_and_roboflow_paths(yolo, caplog):
    yaml = "train: lists/train.txt\nvalidation: [../images/val]\nnames: {0: ship}\nnc: 1\n"
    root = yolo({"train/a": "", "train/b": "0 0.5 0.5 0.5 0.5", "val/c": ""}, yaml)
    (root / "lists").mkdir()
    (root / "lists" / "train.txt").write_text("./../images/train/a.jpg\n")
    dataset = load_dataset(root)
    assert {dataset.path[r]: dataset.split[r] for r in range(2)} == {
        "images/train/a.jpg": "train",
        "images/val/c.jpg": "val",
    }
    assert "'validation' is taken for 'val'" in caplog.text


def test_download_is_never_run(yolo, caplog, tmp_path):
    trap = tmp_path / "ran"
    with caplog.at_level("INFO"):
        load_dataset(yolo({"train/a": "", "val/b": ""}, YAML + f"download: |\n  open({str(trap)!r}, 'w')\n"))
    assert not trap.exists()
    assert "'download' is ignored" in caplog.text
    root = yolo({}, "path: elsewhere\ntrain: images\nnames: [a]\ndownload: https://example.org/x.zip\n")
    with pytest.raises(DataError, match=r"data\.yaml:1: 'path' names a folder that is not there") as caught:
        load_dataset(root)
    assert "never run or fetched" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("bad-value", "0 0.5 0.5 0.5", "5 columns"),
        ("bad-value", "0 0.5 0.5 0.5 0.5 0.9", "5 columns"),
        ("bad-value", "ship 0.5 0.5 0.5 0.5", "not numbers"),
        ("bad-value", "0 32 24 10 10", "shares of the frame"),
        ("bad-value", "0 -0.5 0.5 0.1 0.1", "shares of the frame"),
        ("unknown-class", "2 0.5 0.5 0.5 0.5", "class 2 is not in 'names'"),
        ("unknown-class", "0.5 0.5 0.5 0.5 0.5", "class 0.5"),
        ("non-finite-box", "0 nan 0.5 0.5 0.5", "not a finite number"),
        ("inverted-box", "0 0.5 0.5 -0.2 0.5", "inverted"),
    ],
)
def test_wrong_lines_raise_or_are_listed(yolo, kind, line, message):
    root = yolo({"train/a": f"0 0.5 0.5 0.5 0.5\n{line}\n", "val/b": ""})
    file = str(root / "labels" / "train" / "a.txt")
    with pytest.raises(DataError) as caught:
        load_dataset(root)
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line) == (file, 2)
    problems = []
    dataset = load_dataset(root, problems=problems)
    assert [(p.kind, p.file, p.line) for p in problems] == [(kind, file, 2)]
    assert (len(dataset), dataset.box_count) == (2, 1)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images\n", "no data.yaml"),
        ("names: [a, b]\nnc: 3\ntrain: images\n", "'nc' is 3"),
        ("names: ship\ntrain: images\n", "'names' must list the classes"),
        ("names: [a]\ntrain: 5\n", "'train' must be a folder"),
        ("names: [a\ntrain: x\n", "not valid YAML"),
        ("names: [a]\ntrain: nowhere\n", "'train: nowhere' is not there"),
        ("names: [a]\ntrain: labels\n", "'train' has no pictures"),
        ("names: [a]\nnames: [b]\ntrain: images\n", "there twice"),
    ],
)
def test_wrong_data_yaml(yolo, yaml, message):
    root = yolo({"train/a": ""}, yaml)
    with pytest.raises(DataError) as caught:
        load_dataset(root, format="yolo")
    assert message in caught.value.message
    assert caught.value.line == 0 or str(caught.value).startswith(f"{root / 'data.yaml'}:")


def test_labels_without_images_and_the_reverse(yolo):
    root = yolo({"train/a": "", "train/b": "", "val/c": ""})
    (root / "images" / "train" / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"b\.txt: label file without image"):
        load_dataset(root)
    root = yolo({"train/a": None, "train/b": None, "val/c": None})
    for file in root.rglob("labels/*/*.txt"):
        file.unlink()
    with pytest.raises(DataError, match="none of the 3 images has a label file"):
        load_dataset(root)


def test_an_image_that_is_not_one(yolo):
    root = yolo({"train/a": "", "val/b": ""})
    (root / "images" / "train" / "a.jpg").write_text("hello")
    problems = []
    assert len(load_dataset(root, problems=problems)) == 1
    assert [p.kind for p in problems] == ["unreadable-image"]


def test_same_image_in_two_splits(yolo):
    root = yolo({"train/a": ""}, "train: images/train\nval: images\nnames: [a]\n")
    with pytest.raises(DataError, match=r"images/train/a.jpg' is in 'train' and in 'val'"):
        load_dataset(root)
