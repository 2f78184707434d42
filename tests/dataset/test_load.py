"""load_dataset: detection of formats, class maps, splits, missing things."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from wutdet.bench.index import write_voc_tree
from wutdet.dataset.classes import ClassMap, apply_class_map
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.load import load_dataset
from wutdet.dataset.problems import KINDS, Problem, ProblemSink
from wutdet.errors import DataError, UsageError

CONTENT = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in (1, 2)],
    "annotations": [
        {"id": n, "image_id": 1, "category_id": n, "bbox": [n, 2, 10, 5], "iscrowd": 0} for n in (1, 2, 3)
    ],
    "categories": [{"id": 1, "name": "ferry"}, {"id": 2, "name": "tug"}, {"id": 3, "name": "buoy"}],
}  # fmt: skip


@pytest.fixture
def coco(tmp_path, write_picture):
    """A COCO data set in a folder whose name has a space and an umlaut."""
    root = tmp_path / "Häfen 2"
    for number in (1, 2):
        write_picture(root / "images" / f"{number}.jpg")
    (root / "annotations").mkdir()
    (root / "annotations" / "all.json").write_text(json.dumps(CONTENT))
    return root


def names(dataset) -> list[str]:
    return [dataset.category_names[c] for c in dataset.category]


def test_class_maps(coco):
    assert names(load_dataset(coco)) == ["ferry", "tug", "buoy"]
    assert load_dataset(coco).info["category_ids"] == [1, 2, 3]
    single = load_dataset(coco, classes="ship")
    assert (names(single), single.category_names) == (["ship"] * 3, ("ship",))
    assert [single.box_labels["orig_class"][r] for r in range(3)] == ["ferry", "tug", "buoy"]
    assert "category_ids" not in single.info
    mapped = load_dataset(coco, classes="ferry=ship,tug=ship,buoy=")
    assert (names(mapped), len(mapped)) == (["ship", "ship"], 2)
    only = load_dataset(coco, classes=ClassMap.only(["buoy", "tug", "ferry"]))
    assert (names(only), only.info["category_ids"]) == (["ferry", "tug", "buoy"], [3, 2, 1])
    fixed = load_dataset(coco, classes=ClassMap.keep(["tug"]))
    assert fixed.category_names == ("tug", "ferry", "buoy")
    assert names(fixed) == ["ferry", "tug", "buoy"]


def test_an_unknown_class_is_an_error_with_a_suggestion(coco):
    with pytest.raises(DataError, match=r"all\.json:1: unknown class 'buoy'.*Did you mean 'bouy'\?") as caught:
        load_dataset(coco, classes="ferry=ship,tug=ship,bouy=")
    assert "buoy=" in caught.value.hint
    problems = []
    dataset = load_dataset(coco, classes="ferry=ship,tug=ship,bouy=", problems=problems)
    assert ([p.kind for p in problems], names(dataset)) == (["unknown-class"], ["ship", "ship"])


def test_a_class_that_no_box_uses_need_not_be_mapped(coco):
    content = CONTENT | {"categories": [*CONTENT["categories"], {"id": 0, "name": "root"}]}
    (coco / "annotations" / "all.json").write_text(json.dumps(content))
    assert load_dataset(coco, classes="ferry=ship,tug=ship,buoy=ship").box_count == 3


def test_class_map_leaves_the_original_alone(coco):
    dataset = load_dataset(coco)
    before = dataset.category.copy()
    apply_class_map(dataset, ClassMap.single())
    np.testing.assert_array_equal(dataset.category, before)


def test_wrong_arguments(coco, tmp_path):
    with pytest.raises(UsageError, match=r"unknown format 'cocoo'\. Did you mean 'coco'\?"):
        load_dataset(coco, format="cocoo")
    with pytest.raises(UsageError, match="is not 'name=target'"):
        load_dataset(coco, classes="a,b")
    with pytest.raises(DataError, match="no such data set"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="split 'trian' has no frames"):
        load_dataset(coco, "trian")
    with pytest.raises(DataError, match="not a VOC data set"):
        load_dataset(coco, format="voc")


def test_nothing_to_read(tmp_path, write_picture):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="the folder is empty"):
        load_dataset(empty)
    write_picture(tmp_path / "pictures" / "a.jpg")
    with pytest.raises(DataError, match=r"there are pictures here \(1\), but no annotations"):
        load_dataset(tmp_path / "pictures")
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match="not a known annotation file"):
        load_dataset(tmp_path / "notes.docx")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(DataError, match="not a known annotation file"):
        load_dataset(tmp_path / "results.json")
    (tmp_path / "one.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match="a single VOC annotation is not a data set"):
        load_dataset(tmp_path / "one.xml")


def test_two_formats_side_by_side(coco):
    (coco / "data.yaml").write_text("train: images\nnames: [ship]\n")
    with pytest.raises(DataError, match="more than one format fits: coco, yolo"):
        load_dataset(coco)
    assert len(load_dataset(coco, format="coco")) == 2
    assert len(load_dataset(coco / "annotations" / "all.json")) == 2


def test_some_images_missing_and_all_missing(coco, caplog):
    (coco / "images" / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"all\.json: its image '2\.jpg' is missing") as caught:
        load_dataset(coco)
    assert str(coco / "images" / "2.jpg") in caught.value.hint
    problems = []
    assert list(load_dataset(coco, problems=problems).path) == ["1.jpg"]
    assert [p.kind for p in problems] == ["missing-image"]
    (coco / "images" / "1.jpg").unlink()
    assert len(load_dataset(coco)) == 2
    assert "none of the 2 images is there" in caplog.text


def test_problems_are_plain_tuples(coco):
    content = CONTENT | {"annotations": [CONTENT["annotations"][0] | {"bbox": [1, 2, -3, 4]}]}
    (coco / "annotations" / "all.json").write_text(json.dumps(content))
    problems = []
    load_dataset(coco, problems=problems)
    [(kind, file, line, message)] = problems
    assert (kind, file, line) == ("inverted-box", str(coco / "annotations" / "all.json"), 1)
    assert message.startswith("box of 'ferry' is inverted")
    assert isinstance(problems[0], Problem)
    assert kind in KINDS


def test_a_sink_without_a_list_raises_with_a_hint():
    with pytest.raises(DataError, match=r"a\.json:3: x\n  hint: 'wutdet data audit'"):
        ProblemSink().report("bad-value", "x", file="a.json", line=3)


def test_empty_folder_of_annotations_is_not_voc(tmp_path):
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(DataError, match="no annotations here"):
        load_dataset(tmp_path)


def test_opening_an_index_needs_no_opencv(tmp_path):
    modules = "wutdet.dataset.load, wutdet.dataset.formats, wutdet.dataset.describe, wutdet.dataset.index"
    code = f"import sys; import {modules}; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_data_set_is_shown_in_a_line(tmp_path):
    """A notebook that ends a cell with a data set, or a column of it, is not flooded."""
    write_voc_tree(tmp_path / "tree", 40, 90, seed=0, images=True)
    dataset = load_dataset(tmp_path / "tree").with_labels(split=LabelColumn.none(40))
    marked = dataset.with_labels(split=LabelColumn.of(["train"] * 30 + ["val"] * 10))
    for shown in map(repr, (dataset, marked, dataset.path, dataset.sequence, marked.split)):
        assert len(shown) < 200 + len(str(tmp_path)) and "\n" not in shown
    assert repr(marked).startswith("Dataset('tree': 40 frames, 90 boxes; classes: ship; splits: train 30, val 10; in '")
    assert "splits: none" in repr(dataset) and repr(marked.split) == "LabelColumn(40 rows: 'train' 30, 'val' 10)"
    assert repr(dataset.path).startswith("TextColumn(40 rows: 'JPEGImages/") and repr(dataset.path).endswith(", ...)")
