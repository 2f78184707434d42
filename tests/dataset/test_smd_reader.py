"""The Singapore Maritime Dataset reader, on .mat files written by scipy in SMD's structure."""

from __future__ import annotations

import numpy as np
import pytest

from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError, MissingExtraError

scipy_io = pytest.importorskip("scipy.io")
FIELDS = ("Motion", "Object", "Distance", "MotionType", "ObjectType", "DistanceType", "BB")


def write_mat(file, frames):
    """``frames``: per frame a list of (left, top, width, height, class, motion, distance)."""
    table = np.zeros((1, len(frames)), dtype=[(name, object) for name in FIELDS])
    for index, objects in enumerate(frames):
        rows = np.array(objects, dtype=np.float64).reshape(-1, 7)
        entry = table[0, index]
        entry["BB"] = rows[:, :4] if len(rows) else np.zeros((1, 0))  # MATLAB's [[]]
        for name, column in (("Object", 4), ("Motion", 5), ("Distance", 6)):
            entry[name] = rows[:, column : column + 1].astype(np.uint8) if len(rows) else np.zeros((1, 0))
        for name in ("MotionType", "ObjectType", "DistanceType"):
            entry[name] = np.array(["x"] * len(rows), dtype=object)
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy_io.savemat(file, {"structXML": table})


FRAMES = [
    [(10.5, 20, 30, 5, 3, 1, 2), (0, 0, 4, 4, 2, 2, 1)],
    [],
    [(1, 1, 2, 2, 0, 1, 1), (5, 6, 7, 8, 10, 3, 3)],
]


def test_boxes_labels_and_sequence(tmp_path, write_picture):
    write_mat(tmp_path / "VIS_Onshore" / "ObjectGT" / "MVI_1_VIS_ObjectGT.mat", FRAMES)
    for frame in range(3):
        write_picture(tmp_path / "frames" / "MVI_1_VIS" / f"{frame:05d}.jpg")
    dataset = load_dataset(tmp_path)
    assert dataset.frame_index.tolist() == [0, 1, 2]
    assert dataset.path[1] == "frames/MVI_1_VIS/00001.jpg"
    assert dataset.sequence.counts() == {"smd/MVI_1_VIS": 3}
    assert dataset.labels["part"][0] == "VIS_Onshore"
    assert dataset.size_wh.tolist() == [[64, 48]] * 3
    assert dataset.box_image.tolist() == [0, 0, 2]  # the box of class 0 is left out
    assert dataset.xyxy.tolist() == [[10.5, 20, 40.5, 25], [0, 0, 4, 4], [5, 6, 12, 14]]
    assert [dataset.category_names[c] for c in dataset.category] == ["vessel/ship", "buoy", "other"]
    assert [dataset.box_labels["motion"][r] for r in range(3)] == ["moving", "stationary", "other"]
    assert [dataset.box_labels["distance"][r] for r in range(3)] == ["far", "near", "other"]


def test_only_extracted_frames_are_loaded(tmp_path, write_picture, caplog):
    write_mat(tmp_path / "MVI_1_VIS_ObjectGT.mat", FRAMES)
    write_picture(tmp_path / "MVI_1_VIS_frame2.jpg")
    with caplog.at_level("INFO"):
        dataset = load_dataset(tmp_path)
    assert dataset.frame_index.tolist() == [2]
    assert "2 annotated frames have no extracted picture" in caplog.text


def test_annotations_alone_and_a_single_file(tmp_path, caplog):
    file = tmp_path / "MVI_1_VIS_ObjectGT.mat"
    write_mat(file, FRAMES)
    dataset = load_dataset(file)
    assert (len(dataset), dataset.size_wh[0].tolist()) == (3, [1920, 1080])
    assert "none of the 3 images is there" in caplog.text


def test_class_zero_is_listed_and_others_are_refused(tmp_path):
    file = tmp_path / "MVI_1_VIS_ObjectGT.mat"
    write_mat(file, FRAMES)
    problems = []
    load_dataset(file, problems=problems)
    assert [p.kind for p in problems] == ["unknown-class", "missing-image"]
    write_mat(file, [[(1, 1, 2, 2, 11, 1, 1)]])
    with pytest.raises(DataError, match="class 11; SMD has 1 to 10"):
        load_dataset(file)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file, cut", b"\x00" * 200])
def test_not_a_mat_file(tmp_path, content):
    file = tmp_path / "a.mat"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mat: not a readable MATLAB file"):
        load_dataset(file)


def test_mat_file_of_another_kind(tmp_path):
    scipy_io.savemat(tmp_path / "a.mat", {"x": np.zeros(3)})
    with pytest.raises(DataError, match="no 'structXML'"):
        load_dataset(tmp_path / "a.mat")


def test_without_scipy_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy.io", None)
    (tmp_path / "a.mat").write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"wutdet\[smd\]"):
        load_dataset(tmp_path / "a.mat")
