"""The memory-mapped index: same data set, notices changes, never trusts a broken file."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from wutdet import _kernels
from wutdet.bench.index import write_voc_tree
from wutdet.dataset import index
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset

HOUR_AGO = time.time() - 3600


def age(root: Path) -> None:
    """Makes all files an hour old: the index is not written for files that change while it is made."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), (HOUR_AGO, HOUR_AGO))
        os.utime(folder, (HOUR_AGO, HOUR_AGO))


@pytest.fixture
def tree(tmp_path, monkeypatch, caplog) -> Path:
    """A small VOC tree that is large enough for an index here."""
    monkeypatch.setattr(index, "MIN_ROWS", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    caplog.set_level("INFO")
    root = tmp_path / "tree"
    write_voc_tree(root, frames=30, boxes=70, seed=1, images=True)
    (root / "Annotations" / "unlisted.xml").write_text(
        "<annotation><size><width>9</width><height>9</height></size></annotation>"
    )
    (root / "JPEGImages" / "unlisted.jpg").write_bytes(b"")
    age(root)
    return root


def same(a: Dataset, b: Dataset) -> bool:
    arrays = ("size_wh", "image_id", "frame_index", "conditions", "box_image", "xyxy", "category", "area", "ignore",
              "crowd", "box_line")  # fmt: skip
    return (
        all(np.array_equal(getattr(a, n), getattr(b, n)) and getattr(a, n).dtype == getattr(b, n).dtype for n in arrays)
        and list(a.path) == list(b.path)
        and list(a.annotation_file) == list(b.annotation_file)
        and (a.root, a.name, a.category_names, a.condition_names)
        == (b.root, b.name, b.category_names, b.condition_names)
        and all(
            [getattr(a, group)[n][r] for n in getattr(a, group) for r in range(count)]
            == [getattr(b, group)[n][r] for n in getattr(b, group) for r in range(count)]
            for group, count in (("labels", len(a)), ("box_labels", a.box_count))
        )
        and dict(a.info) == dict(b.info)
    )


def is_mapped(dataset: Dataset) -> bool:
    return not dataset.xyxy.flags.writeable


def test_reopened_data_set_is_the_same(tree):
    first, second = load_dataset(tree), load_dataset(tree)
    assert (is_mapped(first), is_mapped(second)) == (False, True)
    assert (len(second), second.box_count) == (31, 70)
    assert same(first, second)
    assert [file.parent.name for file in tree.rglob("*.idx")] == [index.FOLDER]


def test_class_maps_and_splits_work_on_it(tree):
    load_dataset(tree)
    assert load_dataset(tree, classes="boat").category_names == ("boat",)
    dropped = load_dataset(tree, classes="ship=")
    assert (len(dropped), dropped.box_count) == (31, 0)
    train = load_dataset(tree, "train")
    assert 0 < len(train) < 31


def edit(tree: Path) -> None:
    file = sorted((tree / "Annotations").iterdir())[3]
    text = file.read_text().replace("<xmin>", "<xmin> ")
    file.write_text(text)


def edit_keeping_the_size(tree: Path) -> None:
    file = sorted((tree / "Annotations").iterdir())[3]
    file.write_text(file.read_text().replace("<depth>3", "<depth>1"))


def add(tree: Path) -> None:
    (tree / "Annotations" / "9999999.xml").write_bytes(sorted((tree / "Annotations").iterdir())[0].read_bytes())
    (tree / "JPEGImages" / "9999999.jpg").write_bytes(b"")


def remove(tree: Path) -> None:
    (tree / "Annotations" / "unlisted.xml").unlink()
    (tree / "JPEGImages" / "unlisted.jpg").unlink()


def change_a_list(tree: Path) -> None:
    with open(tree / "ImageSets" / "Main" / "train.txt", "a") as file:
        file.write("\n")


def swap_two_files(tree: Path) -> None:
    a, b, *_ = sorted((tree / "Annotations").iterdir())
    a.rename(tree / "x")
    b.rename(a)
    (tree / "x").rename(b)


@pytest.mark.parametrize("change", [edit, edit_keeping_the_size, add, remove, change_a_list])
def test_changes_are_noticed(tree, change):
    load_dataset(tree)
    change(tree)
    changed = load_dataset(tree)
    assert not is_mapped(changed)
    age(tree)
    load_dataset(tree)
    again = load_dataset(tree)
    assert is_mapped(again)
    assert same(changed, again)


def test_files_that_swap_their_names_are_noticed(tree):
    files = sorted((tree / "Annotations").iterdir())[:2]
    os.utime(files[1], (HOUR_AGO - 9, HOUR_AGO - 9))
    load_dataset(tree)
    swap_two_files(tree)
    assert not is_mapped(load_dataset(tree))


def test_a_removed_image_is_noticed(tree):
    load_dataset(tree)
    next((tree / "JPEGImages").iterdir()).unlink()
    problems = []
    load_dataset(tree, problems=problems)
    assert [p.kind for p in problems] == ["missing-image"]
    from wutdet.errors import DataError

    with pytest.raises(DataError, match="is missing"):
        load_dataset(tree)


def test_no_index_of_files_that_change_just_now(tree, caplog):
    edit(tree)
    future = time.time() + 5
    os.utime(next((tree / "Annotations").iterdir()), (future, future))
    load_dataset(tree)
    assert not list(tree.rglob("*.idx"))
    assert "being changed just now" in caplog.text


def damage_a_byte(data: bytearray) -> bytearray:
    data[len(data) // 2] ^= 1
    return data


def of_another_version(data: bytearray) -> bytearray:
    import zlib

    at = data.index(b'"version": ') + len(b'"version": ')
    data[at : at + 1] = b"0"
    struct.pack_into("<I", data, 8, zlib.crc32(bytes(data[12:])))
    return data


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (damage_a_byte, "damaged"),
        (lambda data: data[:-70], "damaged"),
        (lambda data: data[:9], "cut off"),
        (lambda data: bytearray(), "cannot be read"),
        (lambda data: bytearray(b"x" * len(data)), "not an index"),
        (of_another_version, "of another version"),
    ],
)
def test_a_broken_index_is_made_again(tree, caplog, broken, reason):
    good = load_dataset(tree)
    [file] = tree.rglob("*.idx")
    file.write_bytes(bytes(broken(bytearray(file.read_bytes()))))
    caplog.clear()
    assert same(load_dataset(tree), good)
    assert reason in caplog.text
    assert is_mapped(load_dataset(tree))


def test_a_data_set_can_be_moved_with_its_index(tree, tmp_path):
    load_dataset(tree)
    tree.rename(tmp_path / "moved here")
    moved = load_dataset(tmp_path / "moved here")
    assert is_mapped(moved)
    assert moved.image_file(0).is_file()


def test_index_in_the_cache_where_the_data_cannot_be_written(tree, tmp_path, monkeypatch):
    from wutdet import files
    from wutdet.errors import WutdetError

    real = files.atomic_path

    def read_only(path):
        if index.FOLDER in str(path):
            raise WutdetError("cannot write (Permission denied)")
        return real(path)

    monkeypatch.setattr(files, "atomic_path", read_only)
    load_dataset(tree)
    assert list((tmp_path / "cache" / "wutdet").glob("*.idx"))
    assert is_mapped(load_dataset(tree))


def test_small_data_sets_and_audits_leave_no_index(tree, monkeypatch):
    load_dataset(tree, problems=[])
    assert not list(tree.rglob("*.idx"))
    monkeypatch.setattr(index, "MIN_ROWS", 1000)
    load_dataset(tree)
    assert not list(tree.rglob("*.idx"))


def test_options_have_their_own_index(tree, tmp_path):
    description = tmp_path / "d.yaml"
    description.write_text("format: voc\npath: tree\nvoc_one_based: true\n")
    load_dataset(tree)
    shifted = load_dataset(description)
    assert not is_mapped(shifted)
    assert is_mapped(load_dataset(description))
    np.testing.assert_array_equal(load_dataset(description).xyxy[:, 0], load_dataset(tree).xyxy[:, 0] - 1)


@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_other_formats(tree, tmp_path, monkeypatch, format, write_picture):
    from wutdet.dataset.write_coco import write_coco

    other = tmp_path / "other"
    if format == "coco":
        for name in (tree / "JPEGImages").iterdir():
            write_picture(other / "images" / name.name)
        write_coco(load_dataset(tree, problems=[]), other / "annotations" / "all.json",
                   file_names=[Path(p).name for p in load_dataset(tree).path])  # fmt: skip
    else:
        for number in range(12):
            write_picture(other / "images" / f"{number}.jpg")
            label = other / "labels" / f"{number}.txt"
            label.parent.mkdir(exist_ok=True)
            label.write_text("0 0.5 0.5 0.2 0.2\n")
        (other / "data.yaml").write_text("train: images\nnames: [ship]\n")
    age(other)
    first, second = load_dataset(other), load_dataset(other)
    assert (is_mapped(first), is_mapped(second), same(first, second)) == (False, True, True)
    file = next((other / ("annotations" if format == "coco" else "labels")).iterdir())
    file.write_text(file.read_text() + "\n")
    assert not is_mapped(load_dataset(other))


def test_yolo_notices_a_picture_of_another_size(tmp_path, monkeypatch, write_picture):
    monkeypatch.setattr(index, "MIN_ROWS", 1)
    root = tmp_path / "y"
    write_picture(root / "images" / "a.jpg")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("train: images\nnames: [ship]\n")
    age(root)
    load_dataset(root)
    assert is_mapped(load_dataset(root))
    write_picture(root / "images" / "a.jpg", (100, 50))
    assert load_dataset(root).size_wh.tolist() == [[100, 50]]


# --- the native digest, against plain Python -------------------------------------------------------------------

_MASK = (1 << 64) - 1


def _mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & _MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31


def python_digest(folder: Path, suffix: str) -> tuple[int, int, int, int]:
    low = high = files = newest = 0
    for file in folder.iterdir():
        if not file.is_file() or not file.name.lower().endswith(suffix.lower()):
            continue
        status, name = file.stat(), 0xCBF29CE484222325
        for byte in os.fsencode(file.name):
            name = (name ^ byte) * 0x100000001B3 & _MASK
        size, mtime = status.st_size, status.st_mtime_ns & _MASK
        low += _mix(name ^ _mix(size + 0x9E3779B97F4A7C15 & _MASK) ^ _mix(mtime + 0x632BE59BD9B4E019 & _MASK))
        high += _mix(_mix(name + 0x9E3779B97F4A7C15 & _MASK) + _mix(size) * 3 + _mix(mtime) * 5 & _MASK)
        files += 1
        newest = max(newest, status.st_mtime_ns)
    return low & _MASK, high & _MASK, files, newest


@pytest.mark.parametrize("count", [0, 1, 50, 8200])  # the last one on several threads
def test_folder_digest_equals_plain_python(tmp_path, count):
    for number in range(count):
        (tmp_path / f"{number} ü{'.xml' if number % 2 else '.XML'}").write_bytes(b"x" * (number % 7))
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "other.txt").write_text("x")
    (tmp_path / "broken.xml").symlink_to(tmp_path / "nowhere")
    assert _kernels.folder_digest(os.fsencode(tmp_path), ".xml") == python_digest(tmp_path, ".xml")
    assert _kernels.folder_digest(os.fsencode(tmp_path))[2] == count + 1


def test_folder_digest_of_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        _kernels.folder_digest(os.fsencode(tmp_path / "no"))


@pytest.mark.slow
def test_benchmark_runs_and_reports(tmp_path):
    from wutdet.bench.index import run_index_benchmark

    result = run_index_benchmark(tmp_path, frames=6000, boxes=15_000)
    content = result.to_json()
    assert (content["frames"], content["boxes"], len(content["warm_s"])) == (6000, 15_000, 5)
    assert content["index_mb"] > 0.5
    assert "opened again (median)" in result.to_text()
