"""wutdet data merge: planted duplicates inside and across parts and against training sets, counted exactly."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from wutdet.cli import run as run_command
from wutdet.config import MergeConfig
from wutdet.dataset.describe import read_description
from wutdet.dataset.hashing import difference_hash
from wutdet.dataset.load import load_dataset
from wutdet.dataset.merge import run
from wutdet.dataset.several import unique_names
from wutdet.errors import DataError, UsageError

SIZE_WH = (136, 128)
THREE = [(10, 10, 30, 20), (50, 10, 70, 20), (90, 60, 120, 90)]


def scenery(seed: int) -> np.ndarray:
    """A coarse picture that is a stranger to that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 17), dtype=np.uint8)
    return cv2.resize(coarse, SIZE_WH, interpolation=cv2.INTER_NEAREST)


def nearly(picture: np.ndarray, cells: int = 1) -> np.ndarray:
    """The picture with some of its 16 x 17 cells turned around: at most two hash bits change per cell."""
    out = picture.copy()
    for cell in range(cells):
        top, left = 8 * (2 + 2 * (cell // 8)), 8 * (1 + 2 * (cell % 8))
        out[top : top + 8, left : left + 8] = 255 - out[top : top + 8, left : left + 8]
    return out


def make(folder: Path, frames: list[dict], categories=("ship",)) -> Path:
    """A COCO folder of frames ``{"picture": array or file to copy, "boxes": [...], any COCO image key}``."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for number, frame in enumerate(frames):
        frame = dict(frame)
        picture, boxes = frame.pop("picture"), frame.pop("boxes", [])
        name = f"{number}.png"
        if isinstance(picture, Path):
            shutil.copy(picture, folder / "images" / name)
        else:
            cv2.imwrite(str(folder / "images" / name), picture)
        image = {"id": number + 1, "file_name": name, "width": SIZE_WH[0], "height": SIZE_WH[1], **frame}
        images.append(image)
        for x1, y1, x2, y2 in boxes:
            size = [x2 - x1, y2 - y1]
            annotation = {"id": len(annotations) + 1, "image_id": number + 1, "category_id": number % len(categories)}
            annotations.append({**annotation, "bbox": [x1, y1, *size], "area": size[0] * size[1], "iscrowd": 0})
    content = {"images": images, "annotations": annotations,
               "categories": [{"id": i, "name": name} for i, name in enumerate(categories)]}  # fmt: skip
    (folder / "annotations/all.json").write_text(json.dumps(content))
    return folder


def picture_of(folder: Path, number: int) -> Path:
    return folder / "images" / f"{number}.png"


@pytest.fixture
def three_sets(tmp_path) -> dict[str, Path]:
    """``a`` and ``b`` to merge, ``seen`` to keep clear of; the planted twins are in the comments."""
    a = make(tmp_path / "a", [
        {"picture": scenery(0), "boxes": THREE[:2], "sequence_id": "s1"},
        {"picture": nearly(scenery(0))},                       # near a/0
        {"picture": scenery(1), "boxes": [], "sequence_id": "s2"},
        {"picture": scenery(2), "boxes": THREE[:1]},
    ], ("ferry", "tug"))  # fmt: skip
    seen = make(tmp_path / "seen", [
        {"picture": scenery(10), "boxes": THREE},
        {"picture": scenery(11)},
    ])  # fmt: skip
    b = make(tmp_path / "b", [
        {"picture": picture_of(a, 0), "boxes": [*THREE[:2], (5, 60, 25, 70)]},  # exactly a/0
        {"picture": nearly(scenery(2)), "boxes": THREE[:2]},   # near a/3
        {"picture": scenery(20)},
        {"picture": scenery(20)},                              # exactly b/2
        {"picture": nearly(scenery(20))},                      # near b/2
        {"picture": scenery(21), "boxes": [(x + 1, y, x2 + 1, y2) for x, y, x2, y2 in THREE]},  # the objects of seen/0
        {"picture": picture_of(seen, 1)},                      # exactly seen/1
        {"picture": nearly(scenery(11))},                      # near seen/1
        {"picture": scenery(22), "boxes": THREE[:1]},
    ])  # fmt: skip
    return {"a": a, "b": b, "seen": seen}


def removed(result) -> dict[tuple, int]:
    return {
        (row["kind"], row["part"], row["twin_in"], row["training"]): row["frames"]
        for row in result.to_json()["removed"]
    }


def kept_pictures(folder: Path) -> list[str]:
    dataset = load_dataset(folder)
    return [f"{Path(path).parent.name}/{Path(path).stem}" for path in dataset.path]


def test_planted_twins_are_removed_and_counted_by_kind_and_pair(three_sets, tmp_path):
    out = tmp_path / "out"
    result = run(MergeConfig(
        (str(three_sets["a"]), str(three_sets["b"])), out, without=(str(three_sets["seen"]),)
    ))  # fmt: skip
    assert removed(result) == {
        ("near", "a", "a", False): 1,
        ("exact", "b", "a", False): 1,
        ("near", "b", "a", False): 1,
        ("exact", "b", "b", False): 1,
        ("near", "b", "b", False): 1,
        ("objects", "b", "seen", True): 1,
        ("exact", "b", "seen", True): 1,
        ("near", "b", "seen", True): 1,
    }
    assert result.removed_by_kind() == {"exact": 3, "near": 4, "objects": 1} and result.removed_frames == 8
    assert kept_pictures(out) == ["a/0", "a/2", "a/3", "b/2", "b/8"]
    assert result.frames == 5 and result.empty_frames == 2 and result.boxes == 2 + 0 + 1 + 0 + 1
    assert [(p["frames"], p["frames_kept"], p["boxes"], p["boxes_kept"]) for p in result.parts] == [
        (4, 3, 3, 3), (9, 2, 3 + 2 + 3 + 1, 1),
    ]  # fmt: skip
    # The boxes of the part named first are kept, those of the twin go.
    dataset = load_dataset(out)
    assert dataset.boxes_per_image().tolist() == [2, 0, 1, 0, 1] and dataset.category_names == ("ship",)
    text = result.to_text()
    assert "8 frames removed: 3 exact, 4 near, 1 objects" in text and "twin in training set seen" in text


def test_the_part_named_first_wins(three_sets, tmp_path):
    result = run(MergeConfig((str(three_sets["b"]), str(three_sets["a"])), tmp_path / "out"))
    assert removed(result) == {
        ("exact", "b", "b", False): 1,
        ("near", "b", "b", False): 2,  # b/4 is near b/2; b/7 is near b/6, and nothing forbids b/6 now
        ("exact", "a", "b", False): 1,  # a/0
        ("near", "a", "b", False): 2,  # a/1 near b/0, a/3 near b/1
    }
    assert kept_pictures(tmp_path / "out") == ["b/0", "b/1", "b/2", "b/5", "b/6", "b/8", "a/2"]
    assert load_dataset(tmp_path / "out").boxes_per_image().tolist() == [3, 2, 0, 3, 0, 1, 0]


@pytest.mark.parametrize(("inside", "kept"), [("near", 5), ("exact", 7), ("none", 8)])
def test_duplicates_inside_a_part_may_stay(three_sets, tmp_path, inside, kept):
    config = MergeConfig(
        (str(three_sets["a"]), str(three_sets["b"])),
        tmp_path / "out",
        without=(str(three_sets["seen"]),),
        inside=inside,
    )
    result = run(config)
    # a/1 and b/4 come back with "exact", b/3 as well with "none"; twins across parts never do.
    assert result.frames == kept
    assert not {"b/0", "b/1"} & set(kept_pictures(tmp_path / "out"))


def test_what_is_left_has_no_twins_and_all_that_went_has_one(tmp_path):
    """Against brute force over all pairs, on chains of frames that resemble their neighbours only."""
    rng = np.random.default_rng(5)
    frames = []
    for chain in range(12):
        base = scenery(100 + chain)
        for step in range(6):
            frames.append({"picture": nearly(base, cells=3 * step)})
    for part, share in (("a", frames[::2]), ("b", frames[1::2])):
        make(tmp_path / part, [share[i] for i in rng.permutation(len(share))])
    result = run(MergeConfig((str(tmp_path / "a"), str(tmp_path / "b")), tmp_path / "out"))

    def bits(file: Path) -> np.ndarray:
        return np.unpackbits(difference_hash(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)).view(np.uint8))

    out = load_dataset(tmp_path / "out")
    kept = [bits(out.image_file(row)) for row in range(len(out))]
    assert all((x != y).sum() > 10 for x, y in combinations(kept, 2))
    for part in "ab":
        for number in range(len(frames) // 2):
            assert any((bits(picture_of(tmp_path / part, number)) != one).sum() <= 10 for one in kept)
    assert 12 < result.frames < 72 and result.frames + result.removed_frames == 72


def test_source_sequence_and_part_of_every_frame(tmp_path):
    make(tmp_path / "cams", [
        {"picture": scenery(0), "source": "north", "sequence_id": "s1"},
        {"picture": scenery(1), "sequence_id": "s1", "split": "train"},
        {"picture": scenery(2), "split": "val"},
        {"picture": scenery(3), "frame_index": 2500},
    ])  # fmt: skip
    make(tmp_path / "drone", [{"picture": scenery(4), "sequence_id": "s1"}])
    config = MergeConfig((str(tmp_path / "cams"), str(tmp_path / "drone")), tmp_path / "out")
    run(config)
    back = load_dataset(tmp_path / "out")
    assert [back.source[row] for row in range(5)] == ["north", "cams", "cams", "cams", "drone"]
    assert [back.sequence[row] for row in range(5)] == [
        "north/s1", "cams/s1", "cams/2", "cams/block-000002", "drone/s1",
    ]  # fmt: skip
    assert [back.labels["part"][row] for row in range(5)] == ["cams"] * 4 + ["drone"]
    assert [back.split[row] for row in range(5)] == [None, "train", "val", None, None]
    written = json.loads((tmp_path / "out/annotations/all.json").read_text())["images"]
    assert all(image["source"] and image["sequence_id"] for image in written)
    assert [image["id"] for image in written] == [1, 2, 3, 4, 5]


def test_splits_are_chosen_and_given(tmp_path):
    make(tmp_path / "cams", [{"picture": scenery(i), "split": s} for i, s in enumerate(("train", "val", "val"))])
    make(tmp_path / "port", [{"picture": scenery(3), "split": "test"}])
    make(tmp_path / "bare", [{"picture": scenery(4)}])
    parts = tuple(str(tmp_path / name) for name in ("cams", "port", "bare"))
    run(MergeConfig(parts, tmp_path / "out", split="val", as_split="test"))
    assert kept_pictures(tmp_path / "out") == ["cams/1", "cams/2", "port/0", "bare/0"]
    assert load_dataset(tmp_path / "out").split.counts() == {"test": 4}
    with pytest.raises(DataError, match="split 'tset' has no frames"):
        run(MergeConfig(parts, tmp_path / "other", split="tset"))


def test_provenance_is_kept_and_the_digest_does_not_depend_on_place_or_order(three_sets, tmp_path):
    parts = (str(three_sets["a"]), str(three_sets["b"]))
    first = run(MergeConfig(parts, tmp_path / "out", without=(str(three_sets["seen"]),)))
    info = load_dataset(tmp_path / "out").info["info"]
    assert info["merge"] == json.loads(json.dumps(first.provenance()))
    assert info["merge"]["options"]["near_distance"] == 10 and info["wutdet_version"]
    assert [part["name"] for part in info["merge"]["parts"]] == ["a", "b"]

    # Another place, another order of the frames in the file, other file names: the same pictures and boxes.
    moved = tmp_path / "elsewhere" / "a"
    shutil.copytree(three_sets["a"], moved)
    file = moved / "annotations/all.json"
    content = json.loads(file.read_text())
    content["images"].reverse()
    content["annotations"].reverse()
    file.write_text(json.dumps(content))
    again = run(MergeConfig((str(moved), parts[1]), tmp_path / "again", inside="none"))
    assert again.parts[0]["digest"] == first.parts[0]["digest"]
    content["annotations"][0]["bbox"][2] += 1
    file.write_text(json.dumps(content))
    assert run(MergeConfig((str(moved),), tmp_path / "again")).parts[0]["digest"] != first.parts[0]["digest"]


def test_command_writes_a_set_that_the_audit_finds_clean(three_sets, tmp_path, capsys):
    out = tmp_path / "merged set"
    report = tmp_path / "merge.json"
    arguments = ["data", "merge", str(three_sets["a"]), str(three_sets["b"]), "--out", str(out), "--images", "link",
                 "--without", str(three_sets["seen"]), "--json", str(report)]  # fmt: skip
    assert run_command(arguments) == 0
    assert "5 frames (2 without ships), 4 boxes" in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert content["schema"] == "wutdet.data.merge/1" and content["removed_frames"] == 8
    dataset = load_dataset(out)
    assert all(dataset.image_file(row).stat().st_nlink >= 2 for row in range(5))
    assert run_command(["data", "audit", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "duplicate" not in printed
    assert run_command(arguments) == 0  # an earlier result is replaced


def test_pictures_may_stay_where_they_are(three_sets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # relative names of several roots
    run(MergeConfig(("a", "b"), Path("out"), images="none"))
    back = load_dataset(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))
    assert back.image_file(0) == three_sets["a"].resolve() / "images/0.png" and back.read_image(0).shape == (
        128,
        136,
        3,
    )


def test_unreadable_frames_are_left_out_and_counted(three_sets, tmp_path, caplog):
    picture_of(three_sets["a"], 2).write_bytes(b"no picture")
    result = run(MergeConfig((str(three_sets["a"]),), tmp_path / "out"))
    assert result.parts[0]["unreadable"] == 1 and result.frames == 2 and result.removed_frames == 1
    assert "1 of 4 pictures" in caplog.text and "1 unreadable, left out" in result.to_text()


def test_bad_input_is_refused_and_nothing_is_written(three_sets, tmp_path):
    a = str(three_sets["a"])
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no data sets"):
        run(MergeConfig((), out))
    with pytest.raises(UsageError, match="named twice"):
        run(MergeConfig((a, a + "/"), out))
    with pytest.raises(UsageError, match="0 to 127 bits, received 128"):
        run(MergeConfig((a,), out, near_distance=128))
    with pytest.raises(DataError, match="no such data set"):
        run(MergeConfig((a, str(tmp_path / "gone")), out))
    with pytest.raises(DataError, match="all 4 frames are duplicates"):
        run(MergeConfig((a,), out, without=(str(three_sets["a"] / "annotations/all.json"),)))
    for target in (three_sets["a"], tmp_path, three_sets["seen"]):
        with pytest.raises(UsageError, match="would be replaced"):
            run(MergeConfig((a,), target, without=(str(three_sets["seen"]),)))
    assert not out.exists() and picture_of(three_sets["a"], 0).is_file()


def test_short_names_tell_sets_apart(tmp_path):
    for name in ("x/annotations/val.json", "x/annotations/train.json", "y/annotations/all.json", "z/cam/all.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "z/y").mkdir()
    (tmp_path / "d.yaml").write_text("name: harbour\npath: x\n")
    files = ("x/annotations/val.json", "x/annotations/train.json", "y/annotations/all.json", "z/cam/all.json")
    given = [str(tmp_path / name) for name in (*files, "z/y", "d.yaml")]
    names = list(unique_names(given).values())
    assert names[:2] == ["x-val", "x-train"] and names[3] == "cam" and names[5] == "harbour"
    assert names[4] == "z-y" and names[2].endswith("-y") and len(set(names)) == 6


def test_the_description_of_ship_gen_names_a_command_that_exists(repository_dir):
    description = read_description(repository_dir / "data/ship-gen.yaml")
    words = " ".join(description.get.split())
    start = words.index("wutdet data merge") + len("wutdet ")
    arguments = words[start : words.index("data/ship-gen ", start) + len("data/ship-gen")].split()
    from wutdet.cli import parse

    config = parse(MergeConfig, "data merge", arguments[2:])
    assert config.data == ("data/smd.yaml", "data/seaships.yaml") and config.without == ("data/wutdet.yaml",)
    assert config.as_split == "test" and config.out == Path("data/ship-gen")
    assert all((repository_dir / name).is_file() for name in (*config.data, *config.without))
    assert "not comparable" in " ".join(description.about.split())


@pytest.mark.real_data
def test_real_sets_merge(shared_dir, tmp_path):
    data = shared_dir / "data"
    result = run(MergeConfig(
        (str(data / "harborcams/annotations/val.json"), str(data / "splitport")), tmp_path / "out", images="none",
        without=(str(data / "harborcams/annotations/train.json"),),
    ))  # fmt: skip
    # By the sets' own README no picture is in two of these files; inside one, fixed cameras repeat themselves.
    assert {(row["part"], row["twin_in"]) for row in result.removed} == {
        ("harborcams-val", "harborcams-val"), ("splitport", "splitport"),
    }  # fmt: skip
    assert sum(part["frames"] for part in result.parts) == 315 == result.frames + result.removed_frames
    assert result.empty_frames == 6
