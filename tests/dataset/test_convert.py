"""wutdet data convert: whole or not at all, nothing overwritten that is not ours, every loss printed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_strategies import assert_same_frames, row_of, write_images

from wutdet.cli import run as run_command
from wutdet.config import ConvertConfig
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.convert import convert, run
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.dataset.write_coco import write_coco
from wutdet.errors import DataError, UsageError, WutdetError

FORMATS = ("coco", "yolo", "voc")


@pytest.fixture
def source(tmp_path) -> Path:
    """A COCO data set in a folder with a space and an umlaut; returns its folder."""
    folder = tmp_path / "Häfen und See"
    builder = DatasetBuilder(folder / "images", name="source")
    for i, split in enumerate(("train", "train", "val")):
        row = builder.add_image(f"cam {i % 2}/船 {i}.png", (64, 48), labels={"split": split, "scene": "port"})
        for x in range(i):
            builder.add_box(row, (x, 1, x + 10.25, 20), "ship")
    dataset = builder.build()
    write_images(dataset)
    write_coco(dataset, folder / "annotations" / "all.json")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("to", FORMATS)
def test_command_converts_and_prints_the_losses(source, tmp_path, to, capsys):
    before = tree(source)
    assert run_command(["data", "convert", str(source), str(tmp_path / "a b"), "--to", to]) == 0
    printed = capsys.readouterr().out
    assert f"3 images and 3 boxes as {to.upper()}" in printed
    expected = {"coco": "nothing was lost", "yolo": "3 images: label 'scene'", "voc": "3 boxes: corners with decimals"}
    assert expected[to] in printed
    back = load_dataset(tmp_path / "a b")
    original = load_dataset(source)
    assert_same_frames(back, original, atol=1e-8)
    assert back.split.counts() == {"train": 2, "val": 1}
    for row in range(3):
        assert back.read_image(row).shape == (48, 64, 3)
    assert tree(source) == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("to", FORMATS)
def test_chain_of_conversions_keeps_frames_and_boxes(source, tmp_path, to):
    convert(load_dataset(source), tmp_path / "one", to)
    convert(load_dataset(tmp_path / "one"), tmp_path / "two", "coco")
    assert_same_frames(load_dataset(tmp_path / "two"), load_dataset(source), atol=1e-8)


@pytest.mark.parametrize("to", FORMATS)
def test_image_options(source, tmp_path, to):
    dataset = load_dataset(source)
    convert(dataset, tmp_path / "linked", to, "link")
    linked = load_dataset(tmp_path / "linked")
    assert all(linked.image_file(row).stat().st_nlink == 2 for row in range(3))
    result = convert(dataset, tmp_path / "left", to, "none")
    assert not list((tmp_path / "left").rglob("*.png"))
    if to == "coco":
        left = load_dataset(tmp_path / "left")
        assert [left.image_file(row) for row in range(3)] == [dataset.image_file(row).resolve() for row in range(3)]
    else:
        assert any(loss.what.startswith("not copied") and loss.count == 3 for loss in result.losses)


def test_a_failed_conversion_leaves_the_earlier_one(source, tmp_path):
    out = tmp_path / "out"
    run(ConvertConfig(str(source), out, "yolo"))
    before = tree(out)
    dataset = load_dataset(source)
    dataset.image_file(2).unlink()
    with pytest.raises(DataError, match="no such image"):
        convert(dataset, out, "voc")
    assert tree(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["out", source.name])


def test_a_full_disk_leaves_the_earlier_one(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(ConvertConfig(str(source), out, "yolo"))
    before = tree(out)

    def full(from_, to):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(from_))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(WutdetError, match=r"cannot write .*out.*No space left.*untouched") as caught:
        run(ConvertConfig(str(source), out, "yolo"))
    assert caught.value.exit_code == 1
    assert tree(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["out", source.name])


def test_a_link_across_disks_becomes_a_copy(source, tmp_path, monkeypatch):
    def other_disk(*_):
        raise OSError(errno.EXDEV, "other disk")

    monkeypatch.setattr(os, "link", other_disk)
    convert(load_dataset(source), tmp_path / "out", "yolo", "link")
    assert load_dataset(tmp_path / "out").image_file(0).stat().st_nlink == 1


def test_an_earlier_conversion_is_replaced_whole(source, tmp_path):
    run(ConvertConfig(str(source), tmp_path / "out", "yolo"))
    run(ConvertConfig(str(source), tmp_path / "out", "voc"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "Annotations", "ImageSets", "JPEGImages", "conversion.txt",
    ]  # fmt: skip
    assert "905" not in (tmp_path / "out/conversion.txt").read_text()
    assert (tmp_path / "out/conversion.txt").read_text().startswith("wutdet data convert\n3 images and 3 boxes as VOC")


@pytest.mark.parametrize("make", ["foreign folder", "foreign file in ours", "file"])
def test_other_peoples_files_are_never_replaced(source, tmp_path, make):
    out = tmp_path / "out"
    if make == "file":
        out.write_text("mine")
    else:
        if make == "foreign file in ours":
            run(ConvertConfig(str(source), out, "yolo"))
        out.mkdir(exist_ok=True)
        (out / "thesis.tex").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="there already"):
        run(ConvertConfig(str(source), out, "yolo"))
    assert tree(tmp_path) == before


def test_the_source_is_never_replaced(source, tmp_path):
    convert(load_dataset(source), tmp_path / "one", "yolo")
    for data, out in ((tmp_path / "one", tmp_path / "one"), (tmp_path / "one/data.yaml", tmp_path / "one")):
        with pytest.raises(UsageError, match="the data set that is read"):
            run(ConvertConfig(str(data), out, "coco"))
    both = Dataset.concatenate([load_dataset(tmp_path / "one"), load_dataset(source)])
    with pytest.raises(UsageError, match="the data set that is read"):
        convert(both, tmp_path / "one", "coco")


def test_data_sets_with_different_roots_become_one(source, tmp_path):
    convert(load_dataset(source), tmp_path / "copy", "coco")
    both = Dataset.concatenate([load_dataset(source), load_dataset(tmp_path / "copy")])
    for to in FORMATS:
        result = convert(both, tmp_path / f"both {to}", to)
        back = load_dataset(tmp_path / f"both {to}")
        assert len(back) == 6 and result.images == 6
        for row in range(6):  # the i-th picture has i boxes
            assert back.boxes_per_image()[row] == row_of(back, row)
        assert len({back.image_file(row) for row in range(6)}) == 6


def test_split_and_classes_are_applied(source, tmp_path):
    result = run(ConvertConfig(str(source), tmp_path / "out", "coco", split="val", classes="vessel"))
    assert (result.images, result.boxes) == (1, 2)
    assert load_dataset(tmp_path / "out").category_names == ("vessel",)
    json = result.to_json()
    assert json["schema"] == "wutdet.data.convert/1" and json["losses"] == []


@pytest.mark.real_data
@pytest.mark.parametrize("to", FORMATS)
def test_real_frames_survive(shared_dir, tmp_path, to):
    dataset = load_dataset(shared_dir / "data" / "harborcams", "val")
    result = convert(dataset, tmp_path / "out", to, "link")
    back = load_dataset(tmp_path / "out")
    assert (result.images, result.boxes) == (199, 512)
    names = {Path(dataset.path[row]).name: row for row in range(len(dataset))}
    for new in range(len(back)):
        row = names.pop(Path(back.path[new]).name)
        np.testing.assert_allclose(
            back.xyxy[back.box_rows(new)], dataset.xyxy[dataset.box_rows(row)], rtol=0, atol=1e-8
        )
    assert not names
    assert {back.split[row] for row in range(len(back))} == {"val"}
