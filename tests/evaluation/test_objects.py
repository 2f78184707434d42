"""The table of objects by hand, its files read back, and crops of the worst."""

from __future__ import annotations

import importlib.util
import sys

import cv2
import numpy as np
import pytest
from small_tables import contested, found_table, matched, truth_table

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.detections import Detections
from wutdet.errors import DataError, MissingExtraError, UsageError, WutdetError
from wutdet.evaluation.coco import box_tables
from wutdet.evaluation.crops import crop, worst_first, write_crops
from wutdet.evaluation.error_types import ERROR_TYPES, error_breakdown
from wutdet.evaluation.objects import KINDS, count_kinds, objects_table
from wutdet.evaluation.objects_file import read_objects, with_frame_columns, write_objects

HAVE_PYARROW = importlib.util.find_spec("pyarrow") is not None


def rows_of(table) -> list[dict]:
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def test_one_of_each_kind():
    truth = truth_table([
        (0, 0, 0, 0, 40, 40, 0), (0, 1, 100, 0, 140, 40, 0), (0, 0, 200, 0, 240, 40, 0), (1, 0, 300, 0, 340, 40, 0),
        (1, 0, 400, 0, 440, 40, 1),
    ], 2, 2)  # fmt: skip
    found = found_table([
        (0, 0, 2, 0, 42, 40, 0.9), (0, 0, 1, 0, 41, 40, 0.8), (0, 0, 100, 0, 140, 40, 0.7),
        (0, 0, 220, 0, 260, 40, 0.6), (1, 1, 500, 400, 530, 430, 0.5), (1, 0, 405, 5, 435, 35, 0.55),
        (1, 0, 300, 0, 340, 40, 0.1),
    ])  # fmt: skip
    table = objects_table(matched(truth, found), truth, found, score=0.5)
    assert {len(column) for column in table.values()} == {10}
    got = [(r["kind"], r["image"], r["box"], r["detection"]) for r in rows_of(table)]
    assert got[:4] == [("hit", 0, 0, 0), ("duplicate", 0, 0, 1), ("classification", 0, 1, 2), ("localisation", 0, 2, 3)]
    assert set(got[4:6]) == {("miss", 0, 1, -1), ("miss", 0, 2, -1)}
    # The ship in the second frame is found at 0.1 only, so it is missed.
    assert got[6:8] == [("ignored", 1, -1, 5), ("false_alarm", 1, -1, 4)]
    assert set(got[8:]) == {("miss", 1, 3, -1), ("ignored", 1, 4, -1)}
    assert count_kinds(table) == dict.fromkeys(KINDS, 1) | {"miss": 3, "ignored": 2}
    by = {(r["kind"], r["box"]): r for r in rows_of(table)}
    hit = by["hit", 0]
    assert (hit["x1"], hit["y1"], hit["x2"], hit["y2"]) == (0, 0, 40, 40) and hit["size_px"] == 40
    assert hit["iou"] == pytest.approx(38 / 42) and hit["score"] == 0.9 and hit["category"] == "kind0"
    missed = by["miss", 1]
    assert np.isnan(missed["score"]) and missed["iou"] == 1.0 and missed["category"] == "kind1"
    assert by["miss", 2]["iou"] == pytest.approx(1 / 3) and by["miss", 3]["iou"] == 0
    alarm = by["false_alarm", -1]
    assert alarm["size_px"] == 30 and alarm["x1"] == 500 and alarm["iou"] == 0 and alarm["category"] == "kind1"
    # The best F1 (1 of 4 ships, no false alarm) lies above 0.8; without a hit no detection is listed.
    default = objects_table(matched(truth, found), truth, found)
    assert default["detection"][default["detection"] >= 0].tolist() == [0]
    no_hit = found_table([(1, 0, 0, 0, 9, 9, 0.9)])
    table = objects_table(matched(truth, no_hit), truth, no_hit)
    assert count_kinds(table) == dict.fromkeys(KINDS, 0) | {"miss": 4, "ignored": 1}


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_every_ship_and_detection_is_listed_once(seed):
    rows = contested(seed, images=12, crowd=0.15)
    truth, found = truth_table(rows[0], 12, 3), found_table(rows[1])
    matches = matched(truth, found)
    table = objects_table(matches, truth, found, score=0.0)
    listed = table["detection"][table["detection"] >= 0]
    np.testing.assert_array_equal(np.sort(listed), np.arange(len(found)))
    own = np.isin(table["kind"], ["hit", "miss"]) | ((table["kind"] == "ignored") & (table["box"] >= 0))
    np.testing.assert_array_equal(np.sort(table["box"][own]), np.arange(len(truth)))
    counts, errors = count_kinds(table), error_breakdown(matches, truth, found)["counts"]
    assert counts["duplicate"] == errors["duplicate"] and counts["localisation"] == errors["localisation"]
    assert counts["classification"] == errors["classification"]
    assert counts["false_alarm"] == errors["background"] + errors["both"]
    assert counts["hit"] + counts["miss"] == int((~truth.ignore).sum())
    assert set(errors) == set(ERROR_TYPES)
    # A duplicate's ship is one that it overlaps and that has a hit.
    duplicates = table["kind"] == "duplicate"
    assert duplicates.any()
    assert np.isin(table["box"][duplicates], table["box"][table["kind"] == "hit"]).all()


@pytest.fixture
def harbour(tmp_path, write_picture):
    """Two frames with ships and detections: (dataset, truth, found)."""
    builder = DatasetBuilder(tmp_path / "images", ClassMap.only(["ship"]), "harbour")
    for name, labels in (("a ü/one.png", {"sequence": "s1", "scene": "port"}), ("two, three.png", {})):
        write_picture(tmp_path / "images" / name, (320, 240))
        builder.add_image(name, (320, 240), conditions=("fog", "rain") if labels else (), labels=labels)
    for image, box in ((0, (10, 10, 18, 16)), (0, (100, 100, 200, 150)), (1, (0, 200, 30, 239))):
        builder.add_box(image, box, "ship")
    dataset = builder.build()
    rows = [(0, 100, 100, 200, 150, 0.9), (0, 250, 20, 260, 25, 0.8), (1, 310, 0, 319, 8, 0.95), (1, 0, 0, 9, 9, 0.85)]
    columns = np.array(rows)
    found = Detections(columns[:, 1:5], columns[:, 5], np.zeros(4), columns[:, 0])
    return dataset, *box_tables(dataset, found)


def same(a, b) -> bool:
    return a.dtype == b.dtype and (np.array_equal(a, b, equal_nan=True) if a.dtype.kind == "f" else list(a) == list(b))


@pytest.mark.parametrize("ending", [".csv", pytest.param(".parquet", marks=pytest.mark.skipif(
    not HAVE_PYARROW, reason="pyarrow is not installed"))])  # fmt: skip
def test_files_are_read_back_as_written(tmp_path, harbour, ending):
    dataset, truth, found = harbour
    table = objects_table(matched(truth, found), truth, found, score=0.5)
    path = tmp_path / f"objects{ending}"
    write_objects(path, table, dataset)
    again = read_objects(path)
    expected = with_frame_columns(table, dataset)
    assert set(again) == set(expected)
    for name, column in expected.items():
        assert same(again[name], column), name
    first = rows_of(again)[0]
    assert first["file_name"] == "a ü/one.png" and first["conditions"] == "fog+rain" and first["scene"] == "port"
    assert rows_of(again)[-1]["sequence"] == "" and rows_of(again)[-1]["file_name"] == "two, three.png"
    assert first["image_id"] == dataset.image_id[0]
    # Without a data set, and without rows.
    empty = {name: column[:0] for name, column in table.items()}
    write_objects(path, empty)
    assert all(same(read_objects(path)[name], column) for name, column in empty.items())


def test_bad_files_are_refused(tmp_path, harbour, monkeypatch):
    dataset, truth, found = harbour
    table = objects_table(matched(truth, found), truth, found, score=0.5)
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        write_objects(tmp_path / "objects.xlsx", table)
    with pytest.raises(UsageError, match="1 frames"):
        write_objects(tmp_path / "objects.csv", table, dataset.select(np.array([0])))
    path = tmp_path / "objects.csv"
    write_objects(path, table)
    whole = path.read_text("utf-8").splitlines()
    for text, message in (
        ("", "empty"),
        ("kind,image\nhit,0\n", "columns category"),
        ("\n".join([whole[0], whole[1] + ",1"]), r":2: 13 fields"),
        ("\n".join([whole[0], whole[1], whole[2].replace("0.8", "much")]), r":3: column 'score': 'much"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(DataError, match=message):
            read_objects(path)
    with pytest.raises(DataError, match="cannot read"):
        read_objects(tmp_path / "absent.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for call in (lambda: write_objects(tmp_path / "o.parquet", table), lambda: read_objects(tmp_path / "o.parquet")):
        with pytest.raises(MissingExtraError, match=r"wutdet\[parquet\]"):
            call()


def test_a_failed_write_leaves_the_old_file(tmp_path, harbour, monkeypatch):
    _, truth, found = harbour
    table = objects_table(matched(truth, found), truth, found, score=0.5)
    path = tmp_path / "objects.csv"
    write_objects(path, table)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WutdetError, match="No space left"):
        write_objects(path, {name: column[:1] for name, column in table.items()})
    assert path.read_bytes() == before and [p.name for p in tmp_path.glob("*objects*")] == ["objects.csv"]


def test_crops_of_the_worst(tmp_path, harbour):
    dataset, truth, found = harbour
    table = objects_table(matched(truth, found), truth, found, score=0.5)
    files = write_crops(tmp_path / "crops", table, dataset, most=2)
    names = sorted(path.name for path in files.values())
    assert names == ["false_alarm_0001_two_three.jpg", "false_alarm_0002_two_three.jpg",
                     "miss_0001_two_three.jpg", "miss_0002_one.jpg"]  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "crops").iterdir()) == names
    for row, path in files.items():
        assert path.name.startswith(table["kind"][row])
        picture = cv2.imread(str(path))
        assert max(picture.shape[:2]) == 256
    assert table["score"][worst_first(table, "false_alarm")].tolist() == pytest.approx([0.95, 0.85, 0.8])
    assert table["size_px"][worst_first(table, "miss")].tolist() == pytest.approx([(30 * 39) ** 0.5, 48**0.5])
    one_each = write_crops(tmp_path / "few", table, dataset, kinds=("false_alarm",), per_frame=1)
    assert table["score"][list(one_each)].tolist() == pytest.approx([0.8, 0.95])
    with pytest.raises(UsageError, match="unknown kind of object 'misses'"):
        write_crops(tmp_path / "crops", table, dataset, kinds=("misses",))
    dataset.image_file(1).unlink()
    with pytest.raises(DataError, match="two, three"):
        write_crops(tmp_path / "crops", table, dataset)


def test_a_crop_keeps_the_ship_clear_of_its_line():
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[50:54, 40:46] = 255
    part = crop(frame, np.array([40, 50, 46, 54]), (0, 0, 255))
    assert part.shape == (256, 256, 3)
    white = (part > 200).all(axis=2)
    red = (part[:, :, 2] > 200) & (part[:, :, 0] < 60) & (part[:, :, 1] < 60)
    assert white.sum() == pytest.approx(6 * 4 * (256 / 96) ** 2, rel=0.25)
    rows, columns = np.nonzero(red)
    inside_rows, inside_columns = np.nonzero(white)
    assert rows.min() < inside_rows.min() and rows.max() > inside_rows.max()
    assert columns.min() < inside_columns.min() and columns.max() > inside_columns.max()
    large = crop(frame, np.array([0, 0, 300, 200]))
    assert large.shape == (200, 300, 3)
    outside = crop(frame, np.array([-50.0, -50.0, -10.0, -10.0]))
    assert outside.shape == (256, 256, 3)
