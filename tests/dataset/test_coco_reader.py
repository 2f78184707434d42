"""The COCO reader, against pycocotools."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest

from wutdet.dataset.classes import ClassMap
from wutdet.dataset.coco import read_coco, split_of_file
from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError


def coco(images=None, annotations=None, categories=None) -> dict:
    return {
        "images": images if images is not None else [{"id": 7, "file_name": "a b.jpg", "width": 64, "height": 48}],
        "annotations": annotations if annotations is not None else [box(1, 7)],
        "categories": categories if categories is not None else [{"id": 3, "name": "ferry"}, {"id": 1, "name": "tug"}],
    }


def box(number, image_id, bbox=(1, 2, 10, 5), category_id=3, **more) -> dict:
    return {"id": number, "image_id": image_id, "category_id": category_id, "bbox": list(bbox), **more}


@pytest.fixture
def write(tmp_path, write_picture):
    """Writes a COCO file (and its pictures) and returns its path."""

    def write(content, name="annotations/all.json", pictures=True):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lists = ",\n".join(
            f'"{key}": [\n' + ",\n".join(json.dumps(item) for item in items) + "\n]" for key, items in content.items()
        )
        file.write_text("{" + lists + "}", "utf-8")
        for image in content["images"] if pictures else ():
            write_picture(tmp_path / "images" / image["file_name"])
        return file

    return write


def test_agrees_with_pycocotools(write, rng):
    from pycocotools.coco import COCO

    images = [{"id": int(i), "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in rng.permutation(40)[:20]]
    annotations = []
    for number in range(100):
        bbox = [round(float(v), 2) for v in rng.uniform(0, 40, 4)]
        image_id = images[int(rng.integers(0, 17))]["id"]  # some images have no box
        area = round(float(rng.uniform(1, 99)), 1)
        crowd = int(rng.random() < 0.1)
        annotations.append(box(number + 1, image_id, bbox, int(rng.choice([1, 3])), area=area, iscrowd=crowd))
    file = write(coco(images, annotations))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(file))
    dataset = read_coco(file, ClassMap.keep())
    assert sorted(dataset.image_id.tolist()) == sorted(reference.getImgIds())
    ids = dataset.info["category_ids"]
    for row, image_id in enumerate(dataset.image_id.tolist()):
        assert dataset.path[row] == reference.loadImgs(image_id)[0]["file_name"]
        expected = reference.loadAnns(reference.getAnnIds(imgIds=[image_id]))
        boxes = dataset.box_rows(row)
        np.testing.assert_allclose(
            dataset.xyxy[boxes],
            np.array([[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in expected)]).reshape(-1, 4),
            rtol=0,
            atol=0,
        )
        assert dataset.area[boxes].tolist() == [a["area"] for a in expected]
        assert dataset.crowd[boxes].tolist() == [bool(a["iscrowd"]) for a in expected]
        assert [ids[c] for c in dataset.category[boxes]] == [a["category_id"] for a in expected]


def test_tags_of_frames_and_boxes(write):
    image = {
        "id": 7, "file_name": "a b.jpg", "width": 64, "height": 48, "source": "cam", "sequence_id": "s1",
        "frame_index": 12, "split": "val", "meta": {"altitude": 8.5},
        "attributes": {"scene": "port", "conditions": ["fog", "night"], "camera": "left", "moving": True},
    }  # fmt: skip
    dataset = read_coco(
        write(coco([image], [box(1, 7, ignore=1, attributes={"kind": "x"}, track_id=4)])), ClassMap.keep()
    )
    tags = {name: column[0] for name, column in dataset.labels.items()}
    assert tags == {
        "sequence": "cam/s1", "source": "cam", "scene": "port", "split": "val", "camera": "left", "moving": "true",
        "meta.altitude": "8.5",
    }  # fmt: skip
    assert dataset.conditions_of(0) == ("fog", "night")
    assert dataset.frame_index[0] == 12
    assert dataset.ignore.tolist() == [True]
    assert dataset.crowd.tolist() == [False]
    assert {name: column[0] for name, column in dataset.box_labels.items()} == {"kind": "x", "track_id": "4"}
    assert dataset.box_line.tolist() == [5]


def test_seadronessee_style_source(write):
    source = {"drone": "mavic", "video": "DJI_1.mp4", "frame_no": 90}
    image = {"id": 1, "file_name": "1.png", "width": 64, "height": 48, "source": source, "video_id": 4}
    dataset = read_coco(write(coco([image], [])), ClassMap.keep())
    assert (dataset.sequence[0], dataset.source[0], dataset.frame_index[0]) == ("4", None, 90)
    assert dataset.labels["source.drone"][0] == "mavic"


def test_frames_without_ships_and_unused_classes_are_kept(write):
    dataset = read_coco(write(coco(annotations=[])), ClassMap.keep())
    assert (len(dataset), dataset.box_count, dataset.category_names) == (1, 0, ("ferry", "tug"))


def test_folder_with_one_file_per_split(write, tmp_path):
    write(coco(), "annotations/train.json")
    other = [{"id": 7, "file_name": "z.jpg", "width": 64, "height": 48}]
    write(coco(other, [box(1, 7, category_id=1)]), "annotations/instances_val2017.json")
    dataset = load_dataset(tmp_path)
    assert dataset.split.counts() == {"val": 1, "train": 1}
    assert sorted(dataset.image_id) == [1, 2]  # both files use id 7
    val = load_dataset(tmp_path, "val")
    assert (val.path[0], val.image_file(0).is_file()) == ("z.jpg", True)
    assert [val.category_names[c] for c in val.category] == ["tug"]


def test_roboflow_folders(write, tmp_path, write_picture):
    for split, name in (("train", "a.jpg"), ("valid", "b.jpg")):
        write_picture(tmp_path / split / name)
        images = [{"id": 0, "file_name": name, "width": 64, "height": 48}]
        write(coco(images, []), f"{split}/_annotations.coco.json", pictures=False)
    dataset = load_dataset(tmp_path)
    assert dataset.split.counts() == {"train": 1, "val": 1}
    assert all(dataset.image_file(row).is_file() for row in range(2))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("val.json", "val"), ("valid.json", "val"), ("instances_train2017.json", "train"), ("test.json", "test"),
        ("all.json", None), ("trainer.json", None), ("test/_annotations.coco.json", "test"),
    ],
)  # fmt: skip
def test_split_of_file(tmp_path, name, split):
    assert split_of_file(tmp_path / name) == split


def test_size_comes_from_the_picture_where_the_file_has_none(write):
    dataset = read_coco(write(coco([{"id": 7, "file_name": "a b.jpg"}])), ClassMap.keep())
    assert dataset.size_wh.tolist() == [[64, 48]]


IMAGE = {"id": 7, "file_name": "a b.jpg", "width": 64, "height": 48}


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("dangling-id", coco(annotations=[box(5, 8)]), "annotation 5 refers to image id 8"),
        ("dangling-id", coco(annotations=[box(5, 7, category_id=2)]), "category id 2"),
        ("duplicate-id", coco([IMAGE, IMAGE | {"file_name": "b.jpg"}]), "image id 7 is used twice"),
        ("duplicate-image", coco([IMAGE, IMAGE | {"id": 8}]), "'a b.jpg' is listed twice"),
        ("duplicate-id", coco(categories=[{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]), "category id 3"),
        ("missing-field", coco(categories=[{"id": 3, "name": "a"}, {"id": 4}]), "'name'"),
        ("missing-field", coco([IMAGE, {"id": 9}]), "image 9 has no 'file_name'"),
        ("missing-field", coco([IMAGE, IMAGE | {"id": "x"}]), "whole number"),
        ("bad-value", coco([IMAGE, IMAGE | {"id": 9, "file_name": "c.jpg", "width": 0}]), "whole pixels above 0"),
        ("non-finite-box", coco(annotations=[box(1, 7, [1, 2, float("nan"), 4])]), "not a finite number"),
        ("inverted-box", coco(annotations=[box(1, 7, [1, 2, -3, 4])]), "inverted"),
        ("bad-value", coco(annotations=[box(1, 7, [1, 2, 3])]), "must be [x, y, width, height]"),
        ("bad-value", coco(annotations=[box(1, 7, ["1", 2, 3, 4])]), "must be [x, y, width, height]"),
        ("bad-value", coco(annotations=[box(1, 7, area=float("inf"))]), "'area'"),
        ("missing-field", coco(annotations=[{"id": 1, "image_id": 7, "category_id": 3}]), "received null"),
        ("bad-value", coco(annotations=[5]), "must be an object"),
    ],
)
def test_wrong_content_raises_or_is_listed(write, kind, content, message):
    file = write(content, pictures=False)
    with pytest.raises(DataError) as caught:
        load_dataset(file)
    assert message in caught.value.message
    assert caught.value.file == str(file)
    assert caught.value.line > 1
    problems = []
    dataset = load_dataset(file, problems=problems)
    [problem] = [p for p in problems if p.kind != "missing-image"]
    assert (problem.kind, problem.file, problem.line) == (kind, str(file), caught.value.line)
    assert problem.message == caught.value.message
    assert dataset.path[0] == "a b.jpg"


def test_a_folder_whose_files_share_an_image(write, tmp_path):
    write(coco(), "annotations/all.json")
    write(coco(), "annotations/train.json")
    with pytest.raises(DataError, match=r"listed twice \(first in all.json\)"):
        load_dataset(tmp_path)


@pytest.mark.real_data
def test_real_frames_agree_with_pycocotools(shared_dir):
    from pycocotools.coco import COCO

    folder = shared_dir / "data" / "harborcams"
    dataset = load_dataset(folder)
    assert (len(dataset), dataset.split.counts()) == (905, {"train": 706, "val": 199})
    for split in ("train", "val"):
        with contextlib.redirect_stdout(io.StringIO()):
            reference = COCO(str(folder / "annotations" / f"{split}.json"))
        part = dataset.in_split(split)
        expected = sorted([reference.imgs[a["image_id"]]["file_name"], *a["bbox"][:2]] for a in reference.anns.values())
        found = [[part.path[i], *xy] for i, xy in zip(part.box_image.tolist(), part.xyxy[:, :2].tolist(), strict=True)]
        assert sorted(found) == expected
