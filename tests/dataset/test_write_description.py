"""What 'data split' writes can be named in the data's place, from the next command on."""

from __future__ import annotations

import json

import pytest

from wutdet.cli import run
from wutdet.config import SplitConfig, TrainConfig
from wutdet.dataset.describe import read_description
from wutdet.dataset.load import load_dataset
from wutdet.dataset.split import run as split
from wutdet.errors import DataError, UsageError
from wutdet.train.run import training_frames, validation_frames


def coco(folder, kind="ship"):
    """12 frames of 4 sequences, no pictures."""
    images = [
        {"id": n, "file_name": f"{n:02d}.png", "width": 640, "height": 480, "sequence_id": f"s{n % 4}"}
        for n in range(12)
    ]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [9, 9, 30, 20], "area": 600} for n in range(12)]
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations/all.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": kind}]})
    )
    return folder


def by_split(dataset) -> dict:
    return {name: {dataset.path[r] for r in dataset.split.is_(name).nonzero()[0]} for name in dataset.split.counts()}


def test_the_next_command_finds_the_splits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    coco(tmp_path / "my frames")
    with pytest.raises(DataError) as before:
        validation_frames(TrainConfig("my frames"))
    with pytest.raises(DataError) as slicing:
        load_dataset("my frames", "val")
    assert "wutdet data split" in before.value.hint and "splits.yaml" in before.value.hint
    assert "wutdet data split" in slicing.value.hint and "splits.yaml" in slicing.value.hint

    assert run(["data", "split", "my frames", "--no-links", "--out", "sets/mine.json", "--json", "s.json"]) == 0
    assert capsys.readouterr().out.endswith("next: wutdet train sets/mine.yaml\n")
    assert json.loads((tmp_path / "s.json").read_text())["description"] == "sets/mine.yaml"
    written = json.loads((tmp_path / "sets/mine.json").read_text())["splits"]
    for place in (tmp_path, tmp_path.parent):  # relative to the description, not to where one stands
        monkeypatch.chdir(place)
        file = str(tmp_path / "sets/mine.yaml")
        assert by_split(load_dataset(file)) == {name: set(paths) for name, paths in written.items()}
    assert set(training_frames(TrainConfig(file)).path) == set(written["train"])
    assert set(validation_frames(TrainConfig(file)).path) == set(written["val"])
    assert load_dataset(file).name == "my frames"


def test_what_the_description_says_is_kept(tmp_path):
    coco(tmp_path / "far" / "set", "tug")
    source = tmp_path / "tugs.yaml"
    source.write_text(
        "name: tugs\nformat: coco\npath: far/set\nlicence: |\n  None stated.\n  Ask.\nclasses: {tug: ship}\nimages: .\n"
    )
    result = split(SplitConfig(str(source), out=tmp_path / "out" / "s.json", links=False, classes="vessel"))
    old, new = read_description(source), read_description(result.description)
    for field in ("name", "format", "licence", "images"):
        assert getattr(new, field) == getattr(old, field)
    assert load_dataset(result.description).category_names == ("ship",)  # the table wins over --classes
    assert "licence: |\n" in result.description.read_text()
    plain = split(SplitConfig(str(tmp_path / "far/set"), out=tmp_path / "p.json", links=False, classes="vessel"))
    assert load_dataset(plain.description).category_names == ("vessel",)


def test_a_description_that_names_the_split_file_stays(tmp_path):
    coco(tmp_path / "set")
    text = "# by hand\npath: set\nsplits: s.json\n"
    own = tmp_path / "own.yaml"
    own.write_text(text)
    assert split(SplitConfig(str(own), out=tmp_path / "s.json", links=False)).description == own
    beside = tmp_path / "s.yaml"
    assert not beside.exists() and own.read_text() == text
    beside.write_text(text)
    assert split(SplitConfig(str(tmp_path / "set"), out=tmp_path / "s.json", links=False)).description == beside
    assert beside.read_text() == text and load_dataset(beside, "train").box_count > 0


def test_a_set_is_split_again_from_its_description(tmp_path):
    """Old splits are not looked at, so a set that has grown can be split by the name it got."""
    coco(tmp_path / "set")
    first = split(SplitConfig(str(tmp_path / "set"), out=tmp_path / "s.json", links=False))
    file = tmp_path / "set/annotations/all.json"
    content = json.loads(file.read_text())
    content["images"].append({"id": 12, "file_name": "12.png", "width": 640, "height": 480, "sequence_id": "s1"})
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"1 of 13 frames.*not in the split file") as grown:
        load_dataset(first.description)
    assert f"--base {tmp_path / 's.json'}" in grown.value.hint
    again = split(
        SplitConfig(str(first.description), out=tmp_path / "t.json", links=False, base=tmp_path / "s.json", seed=7)
    )
    assert sum(again.splits.values()) == 13
    old, new = (json.loads((tmp_path / name).read_text())["sequences"] for name in ("s.json", "t.json"))
    assert old == new


@pytest.mark.parametrize("text", ["names: [ship]\ntrain: a\nval: b\n", "path: set\nsplits: other.json\n", "no: [yaml"])
def test_no_other_file_is_written_over(tmp_path, text):
    coco(tmp_path / "set")
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"s\.yaml.*another file"):
        split(SplitConfig(str(tmp_path / "set"), out=tmp_path / "s.json", links=False))
    assert (tmp_path / "s.yaml").read_text() == text and not (tmp_path / "s.json").exists()


def test_the_split_file_itself_is_json(tmp_path):
    coco(tmp_path / "set")
    with pytest.raises(UsageError, match="JSON") as caught:
        split(SplitConfig(str(tmp_path / "set"), out=tmp_path / "s.yaml", links=False))
    assert "s.json" in caught.value.hint


def roboflow(folder, write_picture):
    for split_name in ("train", "valid"):
        coco(folder / split_name)
        (folder / split_name / "annotations/all.json").rename(folder / split_name / "_annotations.coco.json")
    return 24


def labelme(folder, write_picture):
    for n in range(6):
        write_picture(folder / "frames" / f"{n}.png")
        shape = {"label": "ship", "points": [[4, 4], [30, 20]], "shape_type": "rectangle"}
        (folder / "frames" / f"{n}.json").write_text(
            json.dumps({"shapes": [shape], "imagePath": f"{n}.png", "imageWidth": 64, "imageHeight": 48})
        )
    return 6


@pytest.mark.parametrize("layout", [roboflow, labelme])
def test_a_split_file_inside_the_folder_is_no_annotation(layout, tmp_path, write_picture, monkeypatch):
    """'data split .', typed inside the folder: its JSON file lies among the data's own."""
    frames = layout(tmp_path, write_picture)
    monkeypatch.chdir(tmp_path)
    result = split(SplitConfig(".", links=False))
    assert len(load_dataset(".")) == frames == sum(result.splits.values())
    assert len(load_dataset("splits.yaml", "val")) == result.splits["val"]
