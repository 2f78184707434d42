"""The Pascal VOC reader, against xml.etree."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from wutdet.dataset.load import load_dataset
from wutdet.dataset.voc import VocLayout, read_voc
from wutdet.errors import DataError


def annotation(name="0000020", objects=((1, 2, 30, 20),), size="<width>64</width><height>48</height>", extra="") -> str:
    boxes = "\n".join(
        f"""  <object>
    <name>ship</name>
    <bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>
  </object>"""
        for x1, y1, x2, y2 in objects
    )
    return f"""<annotation>
  <filename>{name}.jpg</filename>
  <size>{size}<depth>3</depth></size>
  {extra}
{boxes}
</annotation>
"""


@pytest.fixture
def voc(tmp_path, write_picture):
    """Writes annotations by stem (and pictures) in WUTDet's layout; returns the folder."""
    root = tmp_path / "Set ü 1"

    def write(annotations: dict[str, str], lists: dict[str, str] | None = None, pictures=True):
        (root / "Annotations").mkdir(parents=True, exist_ok=True)
        for stem, text in annotations.items():
            (root / "Annotations" / f"{stem}.xml").write_text(text, "utf-8")
            if pictures:
                write_picture(root / "JPEGImages" / f"{stem}.jpg")
        for name, text in (lists or {}).items():
            (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text, "utf-8")
        return root

    return write


def test_agrees_with_elementtree(voc, rng):
    texts = {}
    for number in range(30):
        boxes = rng.integers(0, 40, (int(rng.integers(0, 5)), 4))
        boxes[:, 2:] += boxes[:, :2]
        texts[f"{number * 20:07d}"] = annotation(f"{number * 20:07d}", boxes.tolist())
    root = voc(texts)
    dataset = load_dataset(root)
    assert dataset.frame_index.tolist() == [n * 20 for n in range(30)]
    for row in range(len(dataset)):
        file = root / dataset.annotation_file[row]
        tree = ElementTree.parse(file)
        expected = [[float(o.find("bndbox").find(k).text) for k in ("xmin", "ymin", "xmax", "ymax")]
                    for o in tree.iter("object")]  # fmt: skip
        boxes = dataset.box_rows(row)
        assert dataset.xyxy[boxes].tolist() == expected
        lines = file.read_text("utf-8").splitlines()
        assert all("<bndbox>" in lines[line - 1] for line in dataset.box_line[boxes])
        assert (root / dataset.path[row]).is_file()


def test_object_fields(voc):
    text = annotation().replace(
        "<name>ship</name>",
        "<name>ship</name><pose>Unspecified</pose><truncated>1</truncated><difficult>1</difficult><motion>slow</motion>",
    )
    dataset = load_dataset(voc({"a": text}))
    assert dataset.ignore.tolist() == [True]
    assert {name: column[0] for name, column in dataset.box_labels.items()} == {"truncated": "1", "motion": "slow"}
    assert dataset.frame_index.tolist() == [-1]  # the name is no number


def test_frame_fields(voc):
    extra = (
        "<source><database>WUTDet</database></source><scene>port</scene><sequence>s1</sequence>"
        "<frame_index>5</frame_index><condition>fog</condition><condition>rain</condition><camera>left</camera>"
    )
    dataset = load_dataset(voc({"0000020": annotation(extra=extra)}))
    tags = {name: column[0] for name, column in dataset.labels.items()}
    assert tags == {"sequence": "s1", "source": "WUTDet", "scene": "port", "split": None, "camera": "left"}
    assert dataset.conditions_of(0) == ("fog", "rain")
    assert dataset.frame_index.tolist() == [5]


def test_one_based_corners(voc):
    root = voc({"a": annotation(objects=[(1, 1, 64, 48)])})
    layout = VocLayout.find(root)
    assert read_voc(layout).xyxy.tolist() == [[1, 1, 64, 48]]
    assert read_voc(layout, one_based=True).xyxy.tolist() == [[0, 0, 64, 48]]  # the whole frame


def test_split_lists(voc):
    texts = {stem: annotation() for stem in ("1", "2", "3", "x y")}
    dataset = load_dataset(voc(texts, {"train": "1\n2  1\n", "val": "x y\n", "ship_train": "1 1\n"}))
    assert {dataset.path[r]: dataset.split[r] for r in range(4)} == {
        "JPEGImages/1.jpg": "train", "JPEGImages/2.jpg": "train", "JPEGImages/3.jpg": None,
        "JPEGImages/x y.jpg": "val",
    }  # fmt: skip


def test_nested_and_flat_layouts(voc, tmp_path, write_picture):
    voc({"1": annotation()})
    assert load_dataset(tmp_path).root == tmp_path / "Set ü 1"
    flat = tmp_path / "flat"
    write_picture(flat / "1.png")
    (flat / "1.xml").write_text(annotation("1"))
    dataset = load_dataset(flat)
    assert (dataset.path[0], dataset.annotation_file[0]) == ("1.png", "1.xml")


def test_size_zero_is_read_from_the_picture(voc):
    dataset = load_dataset(voc({"a": annotation(size="<width>0</width><height>0</height>")}))
    assert dataset.size_wh.tolist() == [[64, 48]]


def test_filename_names_the_picture_where_the_stem_does_not(voc, write_picture):
    root = voc({"label_1": annotation("photo 1")}, pictures=False)
    write_picture(root / "JPEGImages" / "photo 1.jpg")
    assert load_dataset(root).path[0] == "JPEGImages/photo 1.jpg"


GOOD = annotation("good")


@pytest.mark.parametrize(
    ("kind", "text", "message", "line"),
    [
        ("unreadable-annotation", "", "the file is empty", 0),
        ("unreadable-annotation", GOOD[:150], "not valid XML", 7),
        ("unreadable-annotation", "<svg/>", "root element is <svg>", 1),
        ("unreadable-annotation", "\x01\x02", "not valid XML", 1),
        ("unreadable-annotation", '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "entities", 0),
        ("missing-field", GOOD.replace("<name>ship</name>", ""), "without <name>", 5),
        ("missing-field", GOOD.replace("<xmax>30</xmax>", ""), "has no <xmax>", 7),
        ("bad-value", GOOD.replace("<xmax>30<", "<xmax>wide<"), "not a number", 7),
        ("bad-value", GOOD.replace("<width>64<", "<width>-5<"), "whole pixels above 0", 3),
        ("non-finite-box", GOOD.replace("<xmax>30<", "<xmax>nan<"), "not a finite number", 7),
        ("inverted-box", GOOD.replace("<xmax>30<", "<xmax>0<"), "inverted", 7),
    ],
)
def test_wrong_content_raises_or_is_listed(voc, kind, text, message, line):
    root = voc({"a good one": GOOD, "bad": text})
    file = str(root / "Annotations" / "bad.xml")
    with pytest.raises(DataError) as caught:
        load_dataset(root)
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line) == (file, line)
    problems = []
    dataset = load_dataset(root, problems=problems)
    assert [(p.kind, p.file, p.line) for p in problems if p.kind != "missing-annotation"] == [(kind, file, line)]
    assert dataset.path[0] == "JPEGImages/a good one.jpg"


def test_image_without_annotation_and_the_reverse(voc, write_picture):
    root = voc({"1": annotation(), "2": annotation()})
    (root / "JPEGImages" / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"2\.xml: its image 'JPEGImages/2.jpg' is missing"):
        load_dataset(root)
    write_picture(root / "JPEGImages" / "3.jpg")
    with pytest.raises(DataError, match=r"3\.jpg: image without annotation file"):
        load_dataset(root)
    problems = []
    assert len(load_dataset(root, problems=problems)) == 1
    assert sorted(p.kind for p in problems) == ["missing-annotation", "missing-image"]


def test_split_list_that_does_not_fit(voc):
    root = voc({"1": annotation(), "2": annotation()}, {"train": "1\n9\n", "val": "1\n"})
    problems = []
    load_dataset(root, problems=problems)
    assert [(p.kind, p.line, "9" in p.message or "train.txt" in p.message) for p in problems] == [
        ("dangling-id", 2, True), ("duplicate-id", 1, True),
    ]  # fmt: skip


def test_unknown_class_names_file_and_line(voc):
    root = voc({"1": annotation()})
    with pytest.raises(DataError, match=r"1\.xml:7: unknown class 'ship'"):
        load_dataset(root, classes="shp=ship")
    problems = []
    dataset = load_dataset(root, classes="shp=ship", problems=problems)
    assert ([p.kind for p in problems], len(dataset), dataset.box_count) == (["unknown-class"], 1, 0)
