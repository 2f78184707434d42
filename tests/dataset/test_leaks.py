"""The leak rate, above all in the case that other tools miss: a fixed camera cut frame by frame."""

from __future__ import annotations

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from wutdet.config import AuditConfig
from wutdet.dataset import pictures as pictures_module
from wutdet.dataset.audit import run as audit
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.leaks import leak_rate
from wutdet.dataset.pictures import MISSING, READABLE, TRUNCATED, UNREADABLE, scan_pictures


def moored_camera(folder, train: int, val: int, val_first: bool = False):
    """A COCO file of a fixed camera's frames: sky, sea, and a small boat that moves. The split is by frame."""
    (folder / "images").mkdir(parents=True)
    background = np.repeat(np.linspace(230, 90, 180).astype(np.uint8)[:, None], 320, axis=1)
    background = np.dstack([background, background - 10, background - 20])
    images, annotations = [], []
    for number in range(train + val):
        x = 5 + number * 290 // (train + val)
        pixels = background.copy()
        pixels[100:106, x : x + 14] = (40, 40, 60)
        name = f"{number:04d}.jpg"
        cv2.imwrite(str(folder / "images" / name), pixels)
        split = "val" if number % 5 == 4 else "train"
        images.append({"id": number + 1, "file_name": name, "width": 320, "height": 180, "split": split})
        annotations.append({"id": number + 1, "image_id": number + 1, "category_id": 1, "bbox": [x, 100, 14, 6],
                            "area": 84, "iscrowd": 0})  # fmt: skip
    images.sort(key=lambda image: image["split"], reverse=val_first)
    (folder / "annotations").mkdir()
    file = folder / "annotations/all.json"
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]}
    file.write_text(json.dumps(content))
    return file


def test_moored_camera_leaks_completely_and_is_an_error(tmp_path):
    file = moored_camera(tmp_path, 400, 100)
    result = audit(AuditConfig((str(file),)))
    assert result.exit_code == 3
    assert result.leaks.rate == 1.0 and result.leaks.share("near") == 1.0
    near = [f for f in result.findings if f.kind in ("near-duplicate-across-splits", "duplicate-across-splits")]
    assert len(near) >= 100 and all(finding.severity == "error" for finding in near)
    leaks = result.to_json()["leak_rate"]
    assert leaks["splits"]["val"]["any"] == leaks["frames"] == 100 and leaks["train_frames"] == 400
    assert "leak rate: 100.0% of 100 frames" in result.to_text()
    # All 400 x 100 pairs are counted, not the first 200 of a bucket.
    assert result.leaks.splits["val"].found.tolist() == [400] * 100


def labelled(tmp_path, rows):
    """Frames from (name, split, sequence, boxes), pictures of independent noise written for each name once."""
    builder = DatasetBuilder(tmp_path, ClassMap.single())
    for number, (name, split, sequence, boxes) in enumerate(rows):
        file = tmp_path / name
        if not file.exists():
            coarse = np.random.default_rng(number).integers(0, 255, (16, 17), dtype=np.uint8)
            cv2.imwrite(str(file), cv2.resize(coarse, (136, 128), interpolation=cv2.INTER_NEAREST))
        row = builder.add_image(name, (136, 128), labels={"split": split, "sequence": sequence})
        for box in boxes:
            builder.add_box(row, box, "ship")
    return builder.build()


THREE = [(10, 10, 30, 20), (50, 10, 70, 20), (90, 60, 120, 90)]


def test_each_way_of_leaking_is_told_apart(tmp_path):
    dataset = labelled(tmp_path, [
        ("t0.png", "train", "a", []),
        ("t1.png", "train", None, THREE),
        ("t2.png", "train", None, []),
        ("v0.png", "val", "a", []),  # same sequence
        ("v1.png", "val", None, [(x + 1, y, x2 + 1, y2) for x, y, x2, y2 in THREE]),  # same objects
        ("v2.png", "val", None, []),  # exact
        ("v3.png", "val", "b", THREE[:2]),  # two boxes are too few
        ("e0.png", "test", None, []),  # near
        ("u0.png", None, "a", []),  # in no split
    ])  # fmt: skip
    shutil.copy(tmp_path / "t2.png", tmp_path / "v2.png")
    pixels = cv2.imread(str(tmp_path / "t1.png"))
    pixels[60:64, 60:64] += 1
    cv2.imwrite(str(tmp_path / "e0.png"), pixels)
    leaks = leak_rate(dataset)
    val = leaks.splits["val"]
    assert val.partner["sequence"].tolist() == [0, -1, -1, -1]
    assert val.partner["objects"].tolist() == [-1, 1, -1, -1]
    assert val.partner["exact"].tolist() == [-1, -1, 2, -1]
    assert val.partner["near"].tolist() == [-1, -1, 2, -1]
    assert val.leaked().tolist() == [True, True, True, False]
    assert leaks.splits["test"].partner["near"].tolist() == [1]
    assert leaks.splits["test"].partner["exact"].tolist() == [-1]
    assert leaks.frames == 5 and leaks.rate == pytest.approx(4 / 5)
    assert leak_rate(dataset, splits=["val"]).rate == pytest.approx(3 / 4)
    assert leak_rate(dataset, pixels=False).share("near") is None
    assert leak_rate(dataset, pixels=False).rate == pytest.approx(2 / 5)
    assert json.loads(json.dumps(leaks.to_json(), allow_nan=False))["splits"]["val"] == {
        "frames": 4, "exact": 1, "near": 1, "objects": 1, "sequence": 1, "any": 3,
    }  # fmt: skip


def test_no_training_split_means_no_rate_and_no_zero(tmp_path):
    dataset = labelled(tmp_path, [("v.png", "val", "a", [])])
    leaks = leak_rate(dataset)
    assert leaks.rate is None and leaks.to_json()["rate"] is None
    assert "unknown" in leaks.to_text()
    only_train = leak_rate(labelled(tmp_path, [("v.png", "train", "a", [])]))
    assert only_train.rate is None and "unknown" in only_train.to_text()


def test_ignore_regions_are_no_objects(tmp_path):
    dataset = labelled(tmp_path, [("a.png", "train", None, THREE), ("b.png", "val", None, THREE)])
    assert leak_rate(dataset).share("objects") == 1
    from dataclasses import replace

    assert leak_rate(replace(dataset, ignore=np.ones(6, dtype=bool))).share("objects") == 0


# --- the scan and its cache ---------------------------------------------------------------------------------------


def test_scan_tells_what_is_wrong_with_a_file(tmp_path):
    dataset = labelled(
        tmp_path, [(name, None, None, []) for name in ("ok.jpg", "cut.jpg", "text.jpg", "gone.jpg", "empty.png")]
    )
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "gone.jpg").unlink()
    (tmp_path / "empty.png").write_bytes(b"")
    for decode in (False, True):
        status = scan_pictures(dataset, decode=decode, cache=False)["status"]
        assert status.tolist() == [READABLE, TRUNCATED, UNREADABLE, MISSING, UNREADABLE]


def test_scan_tells_depth_channels_and_orientation(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "deep.png"), pixels.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([pixels, pixels[..., :1]]))
    cv2.imwrite(str(tmp_path / "grey.png"), pixels[..., 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    names = ["deep.png", "alpha.png", "grey.png", "turned.jpg"]
    facts = scan_pictures(labelled(tmp_path, [(name, None, None, []) for name in names]), decode=True, cache=False)
    assert facts["bits"].tolist() == [16, 8, 8, 8]
    assert facts["channels"].tolist() == [3, 4, 1, 3]
    assert facts["orientation"].tolist() == [1, 1, 1, 6]
    assert facts[["width", "height"]].tolist() == [(60, 40)] * 4


@pytest.fixture
def count_reads(monkeypatch):
    """List that grows by the name of every picture that is really read."""
    read = []
    original = pictures_module._look_at

    def counting(file, decode):
        read.append(os.path.basename(file))
        return original(file, decode)

    monkeypatch.setattr(pictures_module, "_look_at", counting)
    return read


def test_scans_are_remembered_until_a_file_changes(tmp_path, count_reads):
    rows = [("a 1.png", None, None, []), ("ö.png", None, None, [])]
    dataset = labelled(tmp_path, rows)
    first = scan_pictures(dataset)
    assert (tmp_path / ".wutdet-index/pictures-2.npz").is_file() and len(count_reads) == 2
    assert scan_pictures(dataset).tobytes() == first.tobytes() and len(count_reads) == 2
    decoded = scan_pictures(dataset, decode=True)  # asks for more than is known
    assert len(count_reads) == 4 and (decoded["hash"] == first["hash"]).all()
    scan_pictures(dataset)
    assert len(count_reads) == 4
    cv2.imwrite(str(tmp_path / "ö.png"), np.zeros((50, 50), np.uint8))
    changed = scan_pictures(dataset)
    assert count_reads[4:] == ["ö.png"]
    assert (changed["digest"][1] != first["digest"][1]).any()


def test_a_damaged_cache_is_made_again(tmp_path, count_reads, caplog):
    dataset = labelled(tmp_path, [("a.png", None, None, [])])
    first = scan_pictures(dataset)
    cache = tmp_path / ".wutdet-index/pictures-2.npz"
    for damage in (b"", b"nonsense", cache.read_bytes()[:200]):
        cache.write_bytes(damage)
        assert scan_pictures(dataset).tobytes() == first.tobytes()
    assert len(count_reads) == 4 and caplog.text.count("read again") == 3


def test_a_folder_that_may_not_be_written_is_left_alone(tmp_path, monkeypatch, count_reads):
    data = tmp_path / "data"
    data.mkdir()
    dataset = labelled(data, [("a.png", None, None, [])])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data.chmod(0o555)
    try:
        scan_pictures(dataset)
        scan_pictures(dataset)
    finally:
        data.chmod(0o755)
    assert count_reads == ["a.png"] and not (data / ".wutdet-index").exists()
    assert len(list((tmp_path / "cache/wutdet").rglob("*.npz"))) == 1
