"""The audit: every fault is found where it is, and the cleaned copy is clean while the original stays."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from wutdet.config import AuditConfig
from wutdet.dataset.audit import run
from wutdet.dataset.audit_boxes import duplicate_boxes
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError, UsageError

SIZE_WH = (170, 128)


def noise(seed: int, size_wh=SIZE_WH) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 17, 3), dtype=np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_NEAREST)


class Coco:
    """A COCO data set put together step by step, one image or annotation per line of the file."""

    def __init__(self, folder: Path):
        self.folder, self.images, self.annotations = folder, [], []
        self.file = folder / "annotations/all.json"
        (folder / "images").mkdir(parents=True)
        self.file.parent.mkdir()

    def image(self, name: str, pixels: np.ndarray | bytes | None = None, **fields) -> int:
        number = len(self.images) + 1
        if not isinstance(pixels, bytes):
            pixels = cv2.imencode(Path(name).suffix, noise(number) if pixels is None else pixels)[1].tobytes()
        (self.folder / "images" / name).write_bytes(pixels)
        self.images.append({"id": number, "file_name": name, "width": SIZE_WH[0], "height": SIZE_WH[1], **fields})
        return number

    def box(self, image_id: int, *bbox: float, category: int = 1, **fields) -> None:
        self.annotations.append({"id": len(self.annotations) + 1, "image_id": image_id, "category_id": category,
                                 "bbox": list(bbox), "area": bbox[2] * bbox[3], "iscrowd": 0, **fields})  # fmt: skip

    def write(self, classes=("ship",)) -> str:
        def lines(rows):
            return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]"

        categories = [{"id": number + 1, "name": name} for number, name in enumerate(classes)]
        self.file.write_text(
            f'{{"images": {lines(self.images)},\n"annotations": {lines(self.annotations)},\n'
            f'"categories": {json.dumps(categories)}}}\n'
        )
        return str(self.file)


def line_of(file: str, text: str) -> int:
    return next(number for number, line in enumerate(Path(file).read_text().splitlines(), 1) if text in line)


def kinds(result) -> Counter:
    return Counter((finding.severity, finding.kind) for finding in result.findings)


def test_a_clean_data_set_has_no_findings_and_exit_code_0(tmp_path):
    coco = Coco(tmp_path)
    for number in range(4):
        coco.box(
            coco.image(f"{number}.jpg", sequence_id=f"s{number}", split=("train", "val")[number % 2]), 5, 5, 40, 20
        )
    result = run(AuditConfig((coco.write(),)))
    assert result.findings == () and result.exit_code == 0
    assert result.leaks.rate == 0 and "4 frames, 4 boxes: 0 errors, 0 warnings, 0 info" in result.to_text()


def test_boxes(tmp_path):
    coco = Coco(tmp_path)
    image = coco.image("a b.jpg")
    coco.box(image, 10, 10, 50, 20)  # good
    coco.box(image, 10.2, 10, 50, 20)  # repeats it: IoU 0.992
    coco.box(image, 13, 10, 50, 20)  # IoU 0.887: another ship
    coco.box(image, 10, 10, 50, 20, category=2)  # another class
    coco.box(image, 30, 60, 0, 12)  # no area
    coco.box(image, 150, 60, 30, 12)  # 10 px beyond
    coco.box(image, 169.8, 90, 0.5, 12)  # 0.3 px beyond: rounding, but narrow
    coco.box(image, 400, 60, 30, 12)  # outside
    coco.box(image, 0, 110, 160, 3)  # 1 : 53
    coco.box(image, 0, 0, 170, 2.5, iscrowd=1)  # a crowd region may have any shape
    file = coco.write(("ship", "tug", "ghost"))
    result = run(AuditConfig((file,), pixels=False))
    assert kinds(result) == {
        ("error", "zero-area-box"): 1, ("error", "box-outside"): 1, ("warning", "box-beyond-frame"): 1,
        ("warning", "tiny-box"): 1, ("warning", "absurd-aspect"): 1, ("warning", "duplicate-box"): 1,
        ("warning", "class-without-boxes"): 1,
    }  # fmt: skip
    by_kind = {finding.kind: finding for finding in result.findings}
    assert by_kind["box-beyond-frame"].message.endswith("reaches 10.0 px beyond its frame of 170x128")
    assert "'ghost'" in by_kind["class-without-boxes"].message
    assert "'a b.jpg'" in by_kind["zero-area-box"].message
    for kind, text in {
        "zero-area-box": "[30, 60, 0, 12]",
        "duplicate-box": "[10.2, 10",
        "box-outside": "[400,",
    }.items():
        assert Path(by_kind[kind].file) == Path(file)
        assert by_kind[kind].line == line_of(file, text)
    assert result.exit_code == 3


def test_duplicate_boxes_against_all_pairs(rng, tmp_path):
    from wutdet.boxes import box_iou

    builder = DatasetBuilder(tmp_path, ClassMap.keep())
    for image in range(60):
        builder.add_image(f"{image}.jpg", (1000, 1000))
        corner = rng.uniform(0, 500, (3, 2))
        for _ in range(int(rng.integers(0, 9))):
            x, y = corner[rng.integers(3)] + rng.uniform(-1, 1, 2)
            builder.add_box(image, (x, y, x + 60, y + 60), str(rng.integers(2)))
    dataset = builder.build()
    second, first = duplicate_boxes(dataset, 0.95, np.ones(dataset.box_count, dtype=bool))
    twin = np.triu(box_iou(dataset.xyxy, dataset.xyxy) > 0.95, 1)
    twin &= (dataset.box_image[:, None] == dataset.box_image) & (dataset.category[:, None] == dataset.category)
    assert len(second) > 10
    assert second.tolist() == np.flatnonzero(twin.any(axis=0)).tolist()
    assert first.tolist() == twin.argmax(axis=0)[second].tolist()


def test_files(tmp_path):
    coco = Coco(tmp_path)
    whole = cv2.imencode(".jpg", noise(77))[1].tobytes()
    coco.image("whole.jpg", whole)
    coco.image("cut.jpg", whole[: len(whole) // 2])
    coco.image("text.jpg", b"this is no picture")
    coco.image("empty.png", b"")
    coco.image("small.jpg", noise(1, (100, 100)))
    coco.image("deep.png", noise(2).astype(np.uint16) * 257)
    coco.image("grey.png", noise(3)[..., 0])
    coco.image("alpha.png", np.dstack([noise(4), noise(4)[..., :1]]))
    from PIL import Image

    turned = Image.fromarray(noise(5, SIZE_WH[::-1]))
    exif = Image.Exif()
    exif[0x0112] = 6
    coco.image("turned.jpg", b"")
    turned.save(tmp_path / "images/turned.jpg", exif=exif)
    result = run(AuditConfig((coco.write(),)))
    found = kinds(result)
    assert found.pop(("info", "frames-without-boxes")) == 1
    assert found.pop(("warning", "class-without-boxes")) == 1
    assert found == {
        ("error", "truncated-image"): 1, ("error", "unreadable-image"): 2, ("error", "image-size"): 1,
        ("info", "image-16-bit"): 1, ("info", "image-grey"): 1, ("info", "image-alpha"): 1,
        ("info", "image-rotated"): 1,
    }  # fmt: skip
    size = next(finding for finding in result.findings if finding.kind == "image-size")
    assert size.file.endswith("small.jpg") and "100x100" in size.message and "170x128" in size.message
    assert next(f for f in result.findings if f.kind == "truncated-image").file.endswith("cut.jpg")


def test_missing_and_unlisted_pictures(tmp_path):
    coco = Coco(tmp_path)
    for number in range(3):
        coco.box(coco.image(f"{number}.jpg"), 5, 5, 40, 20)
    file = coco.write()
    (tmp_path / "images/1.jpg").rename(tmp_path / "images/other.jpg")
    result = run(AuditConfig((file,)))
    assert kinds(result) == {("error", "missing-image"): 1, ("error", "missing-annotation"): 1}
    assert "1.jpg" in result.findings[0].message + result.findings[1].message
    assert any(finding.file.endswith("other.jpg") for finding in result.findings)
    (tmp_path / "annotations/second.json").write_text("{}")  # may be the annotations of the other picture
    assert kinds(run(AuditConfig((file,)))) == {("error", "missing-image"): 1, ("info", "unlisted-images"): 1}


def test_what_the_reader_finds_is_reported_with_its_line(tmp_path):
    coco = Coco(tmp_path)
    image = coco.image("a.jpg")
    coco.box(image, 5, 5, 40, 20)
    coco.box(99, 5, 5, 40, 20)
    coco.box(image, 50, 5, float("nan"), 20, area=9)
    file = coco.write()
    result = run(AuditConfig((file,)))
    assert result.exit_code == 3 and kinds(result).total() == 2
    assert all(Path(finding.file) == Path(file) for finding in result.findings)
    assert {(finding.severity, finding.kind, finding.line) for finding in result.findings} == {
        ("error", "dangling-id", line_of(file, '"image_id": 99')), ("error", "non-finite-box", line_of(file, "NaN")),
    }  # fmt: skip


def leaking(folder: Path) -> str:
    coco = Coco(folder)
    for number in range(4):
        coco.box(
            coco.image(f"t{number}.png", split="train", sequence_id="cam" if number == 3 else f"t{number}"),
            5,
            5,
            40,
            20,
        )
    coco.box(coco.image("exact.png", noise(1), split="val", sequence_id="v0"), 5, 5, 40, 20)
    near = noise(2)
    near[60:63, 60:63] += 1
    coco.box(coco.image("near.png", near, split="val", sequence_id="v1"), 5, 5, 40, 20)
    coco.box(coco.image("own.png", split="val", sequence_id="cam"), 5, 5, 40, 20)
    coco.box(coco.image("again.png", noise(4), split="train", sequence_id="cam"), 5, 5, 40, 20)
    return coco.write()


def test_duplicates_and_leaks(tmp_path):
    result = run(AuditConfig((leaking(tmp_path),)))
    found = kinds(result)
    assert found[("info", "near-duplicates-inside")] == 1
    del found[("info", "near-duplicates-inside")]
    assert found == {
        ("error", "duplicate-across-splits"): 1, ("error", "near-duplicate-across-splits"): 1,
        ("error", "sequence-in-two-splits"): 1, ("warning", "duplicate-image"): 1,
    }  # fmt: skip
    by_kind = {finding.kind: finding for finding in result.findings}
    assert by_kind["duplicate-across-splits"].file.endswith("t0.png")  # the val frame is the one to keep
    assert "'exact.png' of split 'val'" in by_kind["duplicate-across-splits"].message
    assert by_kind["near-duplicate-across-splits"].file.endswith("near.png")
    assert "'t1.png' of split 'train'" in by_kind["near-duplicate-across-splits"].message
    assert "2 in 'train', 1 in 'val'" in by_kind["sequence-in-two-splits"].message
    leaks = result.to_json()["leak_rate"]
    assert (leaks["rate"], leaks["exact"], leaks["near"], leaks["sequence"]) == (1.0, 1 / 3, 2 / 3, 1 / 3)


def test_several_data_sets(tmp_path):
    one, two = Coco(tmp_path / "one"), Coco(tmp_path / "two")
    for number in range(3):
        one.box(one.image(f"{number}.png", noise(number)), 5, 5, 40, 20)
        two.box(two.image(f"{number}.png", noise(10 + number)), 5, 5, 40, 20)
    near = noise(0)
    near[60:63, 60:63] += 1
    two.box(two.image("near.png", near), 5, 5, 40, 20)
    two.box(two.image("same.png", noise(1)), 5, 5, 40, 20)
    files = (one.write(("boat",)), two.write(("vessel",)))  # classes need not be the same for an audit
    result = run(AuditConfig(files))
    assert kinds(result) == {("warning", "duplicate-across-sets"): 1, ("warning", "near-duplicate-across-sets"): 1}
    assert result.exit_code == 0 and run(AuditConfig(files, strict=True)).exit_code == 3
    # Files named train.json and val.json are splits, so the same twins are leaks.
    for coco, name in ((one, "train"), (two, "val")):
        coco.file = coco.file.with_name(f"{name}.json")
        coco.write()
        (coco.folder / "annotations/all.json").unlink()
    result = run(AuditConfig((str(one.file), str(two.file))))
    assert kinds(result) == {("error", "duplicate-across-splits"): 1, ("error", "near-duplicate-across-splits"): 1}
    assert result.leaks.rate == pytest.approx(2 / 5)


def test_json_has_the_promised_keys(tmp_path):
    content = run(AuditConfig((leaking(tmp_path),))).to_json()
    assert content["schema"] == "wutdet.audit/1"
    assert set(content["findings"][0]) == {"severity", "kind", "file", "line", "message"}
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["counts"] == {"error": 3, "warning": 1, "info": 1}


def test_text_groups_by_kind_and_shows_the_first_three(tmp_path):
    coco = Coco(tmp_path)
    image = coco.image("a.jpg")
    for number in range(7):
        coco.box(image, 10 * number, 5, 0, 20)
    text = run(AuditConfig((coco.write(),), pixels=False)).to_text()
    assert "zero-area-box (7)" in text and "... and 4 more" in text and text.count("has no area") == 3


def test_a_split_by_frame_of_numbered_frames_is_an_error(tmp_path):
    rng = np.random.default_rng(0)
    builder = {}
    for rule in ("frames", "blocks"):
        coco = Coco(tmp_path / rule)
        for number in range(100):
            by_frame, by_block = rng.random() < 0.2, number // 10 in (3, 7)
            val = by_frame if rule == "frames" else by_block
            coco.image(f"{20 * number:07d}.png", b"", frame_index=20 * number, split="val" if val else "train")
        builder[rule] = run(AuditConfig((coco.write(),), pixels=False))
    assert ("error", "split-by-frame") in kinds(builder["frames"])
    finding = next(f for f in builder["frames"].findings if f.kind == "split-by-frame")
    assert "frames of split 'val'" in finding.message and builder["frames"].exit_code == 3
    assert ("error", "split-by-frame") not in kinds(builder["blocks"])


# --- the cleaned copy ---------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict:
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and ".wutdet-index" not in p.parts}


def test_fix_writes_a_clean_copy_and_touches_nothing(tmp_path):
    from pycocotools.coco import COCO

    coco = Coco(tmp_path / "old data")
    good = coco.image("good.jpg", sequence_id="s", split="val")
    coco.box(good, 150, 60, 30, 12)  # to be clipped
    coco.box(good, 10, 60, 30, 12)
    coco.box(good, 10, 60.1, 30, 12)  # duplicate
    coco.box(good, 10, 60, 0, 12)  # no area
    coco.box(coco.image("cut.jpg", cv2.imencode(".jpg", noise(9))[1].tobytes()[:900]), 5, 5, 40, 20)
    coco.box(coco.image("small.png", noise(8, (90, 90))), 5, 5, 40, 20)
    coco.box(coco.image("twin.jpg", noise(1), split="train"), 5, 5, 40, 20)  # of good.jpg, in train
    near = noise(1)
    near[60:63, 60:63] += 1
    coco.box(coco.image("near.png", near, split="train"), 5, 5, 40, 20)
    coco.box(coco.image("ö 1.png", split="train"), 5, 5, 40, 20)
    coco.box(77, 5, 5, 40, 20)  # dangling
    file = coco.write()
    before = snapshot(coco.folder)
    new = tmp_path / "new data"
    result = run(AuditConfig((file,), fix=new))
    assert snapshot(coco.folder) == before
    assert result.exit_code == 0, "everything was put right"
    assert result.to_json()["findings"][0]["fixed"]
    text = result.to_text()
    assert "zero-area-box (1): box dropped" in text and "2 of 6 frames, 3 of 9 boxes" in text

    again = run(AuditConfig((str(new / "annotations/all.json"),)))
    assert again.findings == () and again.frames == 2
    reference = COCO(str(new / "annotations/all.json"))
    assert sorted(i["file_name"] for i in reference.dataset["images"]) == ["good.jpg", "ö 1.png"]
    boxes = sorted(a["bbox"] for a in reference.dataset["annotations"])
    assert boxes == [[5, 5, 40, 20], [10, 60, 30, 12], [150, 60, 20, 12]]
    assert sorted(a["area"] for a in reference.dataset["annotations"]) == [240, 360, 800]
    copy = load_dataset(new / "annotations/all.json")
    assert copy.split.counts() == {"val": 1, "train": 1} and copy.sequence[0] == "s"
    assert (copy.image_file(0).read_bytes()) == (coco.folder / "images/good.jpg").read_bytes()


def test_fix_refuses_a_folder_with_content_and_says_what_it_cannot_fix(tmp_path):
    file = leaking(tmp_path / "old")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious.txt").write_text("x")
    with pytest.raises(UsageError):
        run(AuditConfig((file,), fix=tmp_path / "full"))
    with pytest.raises(UsageError):
        run(AuditConfig((file,), fix=tmp_path / "old"))
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["precious.txt"]
    result = run(AuditConfig((file,), fix=tmp_path / "new"))
    assert result.exit_code == 3 and "sequence-in-two-splits (1): only a person can" in result.to_text()
    again = run(AuditConfig((str(tmp_path / "new/annotations/all.json"),)))
    assert kinds(again) == {("error", "sequence-in-two-splits"): 1}


def test_fix_of_two_sets_with_equal_names(tmp_path):
    one, two = Coco(tmp_path / "one"), Coco(tmp_path / "two")
    one.box(one.image("a.png", noise(20)), 5, 5, 40, 20)
    two.box(two.image("a.png", noise(30)), 6, 6, 40, 20)
    result = run(AuditConfig((one.write(), two.write()), fix=tmp_path / "new"))
    assert result.exit_code == 0
    copy = load_dataset(tmp_path / "new/annotations/all.json")
    assert len(copy) == 2 and copy.box_count == 2
    assert {copy.image_file(row).read_bytes() for row in range(2)} == {
        (tmp_path / name / "images/a.png").read_bytes() for name in ("one", "two")
    }


def test_missing_data_set(tmp_path):
    with pytest.raises(DataError, match="no such data set"):
        run(AuditConfig((str(tmp_path / "none"),)))


# --- real frames --------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_harborcams_and_splitport(shared_dir, tmp_path, monkeypatch):
    """Their README says: no identical files, no near copy across splits, every box inside its frame."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts = ("harborcams/annotations/train.json", "harborcams/annotations/val.json", "splitport/annotations/test.json")
    result = run(AuditConfig(tuple(str(shared_dir / "data" / part) for part in parts)))
    grave = [finding for finding in result.findings if finding.severity != "info"]
    # One name for all web photos is in both splits; the photos themselves are different.
    assert [finding.kind for finding in grave] == ["sequence-in-two-splits"]
    assert "mcoe_boat_photos/photo" in grave[0].message
    assert result.frames == 706 + 199 + 116 and result.boxes == 2418 + 512 + 883
    assert {kind: result.leaks.share(kind) for kind in ("exact", "near", "objects")} == dict.fromkeys(
        ("exact", "near", "objects"), 0.0
    )
    assert result.leaks.share("sequence") == pytest.approx(40 / 315)


@pytest.mark.real_data
def test_split_of_harborcams(shared_dir, tmp_path, monkeypatch):
    from wutdet.config import SplitConfig
    from wutdet.dataset.split import run as split

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = split(SplitConfig(str(shared_dir / "data/harborcams"), out=tmp_path / "splits.json"))
    assert sum(result.splits.values()) + result.left_out == 905 and result.left_out == 0
    assert result.leaks.rate == 0
    assert result.splits["train"] / 905 == pytest.approx(0.7, abs=0.05)
