"""Data descriptions: the shipped ones, and every way to get one wrong."""

from __future__ import annotations

import pytest

from wutdet.bench.index import write_voc_tree
from wutdet.dataset.describe import KEYS, read_description
from wutdet.dataset.formats import FORMATS
from wutdet.dataset.load import load_dataset
from wutdet.dataset.smd import CLASSES
from wutdet.errors import DataError


@pytest.fixture
def describe(tmp_path):
    def write(text: str):
        file = tmp_path / "set.yaml"
        file.write_text(text, "utf-8")
        return file

    return write


@pytest.mark.parametrize("name", ["wutdet", "seaships", "smd", "ship-gen", "rendered"])
def test_shipped_descriptions_are_complete(repository_dir, name):
    description = read_description(repository_dir / "data" / f"{name}.yaml")
    assert description.name == name
    for field in ("title", "about", "licence", "get", "layout"):
        assert len(getattr(description, field)) > 10
    assert description.format in FORMATS


def test_smd_description_maps_every_class(repository_dir):
    table = read_description(repository_dir / "data" / "smd.yaml").class_map
    assert {name: table.index(name) for name in CLASSES} == {
        name: None if name in ("buoy", "swimming person", "flying bird/plane", "other") else 0 for name in CLASSES
    }


def test_data_that_is_not_there_says_how_to_get_it(describe, monkeypatch):
    monkeypatch.delenv("WUTDET_DATA", raising=False)
    file = describe("name: far\nformat: voc\npath: far away\nget: ask the harbour master\n")
    with pytest.raises(DataError, match=r"set\.yaml:3: the data of 'far' is not here.*WUTDET_DATA") as caught:
        load_dataset(file)
    assert caught.value.hint == "ask the harbour master"


def test_where_data_is_looked_for(describe, tmp_path, monkeypatch):
    file = describe("format: voc\npath: tree\n")
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("WUTDET_DATA", str(home))
    for place in (home, work, tmp_path):
        write_voc_tree(place / "tree", 2, 3, seed=0, images=True)
        assert load_dataset(file).root.resolve() == (place / "tree").resolve()


def test_class_map_of_the_description_comes_first(describe, tmp_path):
    write_voc_tree(tmp_path / "tree", 3, 5, seed=0, images=True)
    file = describe("format: voc\npath: tree\nclasses: {ship: vessel}\n")
    assert load_dataset(file).category_names == ("vessel",)
    assert load_dataset(file, classes="vessel=boat").category_names == ("boat",)
    dropped = load_dataset(describe("path: tree\nclasses: {ship: null}\n"), classes="ship")
    assert (len(dropped), dropped.box_count) == (3, 0)  # what the description drops stays dropped


def test_split_file(describe, tmp_path):
    from wutdet.dataset.split_file import SplitFile, write_split_file

    write_voc_tree(tmp_path / "tree", 4, 5, seed=0, images=True)
    paths = [f"JPEGImages/{n:07d}.jpg" for n in range(4)]
    content = SplitFile({"train": paths[:3], "val": paths[3:]}, {}, [], {"block": 1}, "tree")
    write_split_file(tmp_path / "my splits.json", content)
    file = describe("format: voc\npath: tree\nsplits: my splits.json\n")
    assert list(load_dataset(file, "train").path) == paths[:3]
    (tmp_path / "my splits.json").unlink()
    with pytest.raises(DataError, match=r"set\.yaml:3: the split file is not there"):
        load_dataset(file)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("path: x\nlisence: MIT\n", 2, "unknown key 'lisence'. Did you mean 'licence'?"),
        ("path: x\n\nformat: vox\n", 3, "unknown format 'vox'. Did you mean 'voc'?"),
        ("name: x\n", 0, "'path' is missing"),
        ("path: x\nname: 5\n", 2, "'name' must be text"),
        ("path: x\nclasses: [a]\n", 2, "'classes' must be"),
        ("path: x\nclasses: {a: 5}\n", 2, "'classes' must be"),
        ("path: x\nvoc_one_based: 1\n", 2, "must be true or false"),
        ("path: x\nframe_size: [1920]\n", 2, "[width, height]"),
        ("path: x\nframe_size: [1920, 0]\n", 2, "[width, height]"),
        ("path: x\nname: [\n", 3, "not valid YAML"),
        ("- a\n", 0, "must be a YAML mapping"),
        ("", 0, "must be a YAML mapping"),
        ("path: !!python/object/apply:os.system [ls]\n", 1, "not valid YAML"),
        ("path: x\npath: y\n", 2, "there twice"),
    ],
)
def test_wrong_descriptions(describe, text, line, message):
    with pytest.raises(DataError) as caught:
        load_dataset(describe(text))
    assert message in caught.value.message
    assert caught.value.line == line


def test_documented_keys_are_the_known_ones():
    import re

    from wutdet.dataset import describe as module

    assert set(re.findall(r"^(\w+):", module.__doc__, re.MULTILINE)) == set(KEYS)


def test_wrong_frames_pattern(describe, tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    from test_smd_reader import write_mat

    assert scipy_io
    write_mat(tmp_path / "smd" / "MVI_1_VIS_ObjectGT.mat", [[]])
    file = describe('format: smd\npath: smd\nframes: "{movie}.jpg"\n')
    with pytest.raises(DataError, match="'frames' pattern"):
        load_dataset(file)
