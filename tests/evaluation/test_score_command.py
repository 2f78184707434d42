"""``wutdet score``: files of any tool, good and bad."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from coco_scenes import as_pycocotools, pycocotools_eval, scene, write_files

from wutdet.cli import run as run_command_line
from wutdet.config import ScoreConfig
from wutdet.errors import DataError
from wutdet.evaluation.coco_files import read_ground_truth
from wutdet.scorecard import run_score as run

TRUTH, RESULTS = scene(11, images=5, boxes=10, detections=20)
assert len(TRUTH["annotations"]) > 3 and len(RESULTS) > 3


def score(folder, truth, results):
    truth_path, results_path = write_files(folder, truth, results)
    return run(ScoreConfig(truth_path, (results_path,)))


def test_command_line_prints_a_table_and_writes_json(tmp_path, capsys):
    truth_path, results_path = write_files(tmp_path, TRUTH, RESULTS)
    code = run_command_line(["score", str(truth_path), str(results_path), "--json", str(tmp_path / "out.json")])
    assert code == 0
    content = json.loads((tmp_path / "out.json").read_text())
    reference = pycocotools_eval(TRUTH, RESULTS)
    np.testing.assert_array_equal(as_pycocotools(content["stats"]), reference.stats)
    assert content["protocol"]["results"] == str(results_path)
    printed = capsys.readouterr().out
    assert "AP50" in printed and "maxDets 100" in printed and "5 images" in printed


def test_scores_are_never_rounded_through_float32(tmp_path):
    # These two scores are the same float32. The false alarm comes first in the file.
    truth = {**TRUTH, "annotations": [box(0)]}
    low, high = 0.5, 0.5 + 1e-12
    results = [{**box(0), "bbox": [500, 400, 10, 10], "score": low}, {**box(0), "score": high}]
    assert score(tmp_path, truth, results).stats["AP50"] == pytest.approx(1.0)


def box(image: int, **keys) -> dict:
    image_id = TRUTH["images"][image]["id"]
    category_id = TRUTH["categories"][0]["id"]
    return {"id": 1, "image_id": image_id, "category_id": category_id, "bbox": [1, 2, 30, 40], **keys}


def test_an_empty_list_of_detections_is_ap_0(tmp_path):
    result = score(tmp_path, TRUTH, [])
    assert result.stats["AP"] == 0.0 and result.protocol["detections"] == 0


def test_ground_truth_without_boxes_has_no_ap(tmp_path):
    result = score(tmp_path, {**TRUTH, "annotations": []}, RESULTS)
    assert result.stats["AP"] is None and result.protocol["images_without_boxes"] == 5


def test_optional_keys_may_be_absent(tmp_path):
    # pycocotools stops with KeyError 'area' or 'iscrowd' here.
    result = score(tmp_path, {**TRUTH, "annotations": [box(0)]}, [box(0, score=0.3)])
    assert result.stats["AP"] == pytest.approx(1.0)
    assert result.stats["APm"] == pytest.approx(1.0)  # area 1200 is taken from the box


def test_text_ids_are_fine_where_both_files_have_them(tmp_path):
    def named(rows):
        return [{**row, "image_id": f"frame {row['image_id']:04d}"} for row in rows]

    truth = {**TRUTH, "annotations": named(TRUTH["annotations"])}
    truth["images"] = [{**image, "id": f"frame {image['id']:04d}"} for image in TRUTH["images"]]
    result = score(tmp_path, truth, named(RESULTS))
    np.testing.assert_array_equal(as_pycocotools(result.stats), pycocotools_eval(TRUTH, RESULTS).stats)


def test_flags_may_be_booleans(tmp_path):
    truth = {**TRUTH, "annotations": [box(0, iscrowd=False, ignore=True), {**box(1), "id": 2}]}
    result = score(tmp_path, truth, [box(0, score=0.9), box(1, score=0.3)])
    assert result.stats["AP"] == pytest.approx(1.0)
    assert (result.protocol["boxes"], result.protocol["boxes_ignored"]) == (1, 1)


def test_a_score_above_1_is_taken_with_a_warning(tmp_path, caplog):
    result = score(tmp_path, {**TRUTH, "annotations": [box(0)]}, [box(0, score=0.9), box(1, score=37.5)])
    assert result.stats["AP50"] == pytest.approx(0.5)
    assert f"detections[1] (image_id {TRUTH['images'][1]['id']}): score 37.5 is outside 0..1" in caplog.text


def changed(rows: list, index: int, **keys) -> list:
    rows = copy.deepcopy(rows)
    rows[index].update(keys)
    return rows


def without(rows: list, index: int, key: str) -> list:
    rows = copy.deepcopy(rows)
    del rows[index][key]
    return rows


A, R = TRUTH["annotations"], RESULTS
TEXT_TRUTH = {**TRUTH, "images": [{"id": "frame 7"}], "annotations": []}
BAD = {
    "results are an object": (TRUTH, {"annotations": R}, r"must be a list"),
    "results are text": (TRUTH, "boxes", r"must be a list, is str"),
    "a detection is a list": (TRUTH, [*R, [1, 2]], rf"detections\[{len(R)}\]: must be an object"),
    "swapped": (R, TRUTH, r"must be an object, is list"),
    "no images": ({"annotations": [], "categories": []}, R, r"no 'images'; there is annotations, categories"),
    "images are an object": ({**TRUTH, "images": {}}, R, r"'images' must be a list, is dict"),
    "unknown image": (TRUTH, changed(R, 2, image_id=999), r"detections\[2\] \(image_id 999\): no image with id 999"),
    "unknown category": (TRUTH, changed(R, 1, category_id=77), r"detections\[1\].*no category with id 77"),
    "dangling image": ({**TRUTH, "annotations": changed(A, 3, image_id=-5)}, R, r"annotations\[3\].*no image with id"),
    "dangling category": ({**TRUTH, "annotations": changed(A, 0, category_id=9)}, R, r"annotations\[0\].*category"),
    "id as text": (TRUTH, [{**r, "image_id": str(r["image_id"])} for r in R], r"ids are strings here, but numbers"),
    "mixed ids": (TRUTH, changed(R, 2, image_id="7"), r"detections\[2\].*numbers and strings are mixed"),
    "fractional id": (TRUTH, changed(R, 2, image_id=1.5), r"detections\[2\].*whole number or a string, is 1\.5"),
    "null id": (TRUTH, changed(R, 2, image_id=None), r"detections\[2\].*whole number or a string, is None"),
    "NaN score": (TRUTH, changed(R, 2, score=float("nan")), r"detections\[2\].*'score' must be a finite number"),
    "text score": (TRUTH, changed(R, 0, score="0.5"), r"detections\[0\].*'score' must be a finite number, is '0.5'"),
    "true score": (TRUTH, changed(R, 0, score=True), r"detections\[0\].*'score' must be a finite number, is True"),
    "no score": (TRUTH, without(R, 1, "score"), r"detections\[1\].*key 'score' is missing"),
    "no bbox": (TRUTH, without(R, 1, "bbox"), r"detections\[1\].*key 'bbox' is missing"),
    "three numbers": (TRUTH, changed(R, 1, bbox=[1, 2, 3]), r"detections\[1\].*'bbox' must be 4 finite numbers"),
    "all boxes of three": (TRUTH, [{**r, "bbox": [1, 2, 3]} for r in R], r"detections\[0\].*'bbox' must be 4"),
    "infinite box": (TRUTH, changed(R, 1, bbox=[1, 2, 3, float("inf")]), r"detections\[1\].*4 finite numbers"),
    "huge number": (TRUTH, changed(R, 1, bbox=[1, 2, 3, 10**400]), r"detections\[1\].*4 finite numbers"),
    "null box": (TRUTH, changed(R, 1, bbox=None), r"detections\[1\].*4 finite numbers, is None"),
    "negative width": (TRUTH, changed(R, 1, bbox=[5, 5, -1, 4]), r"detections\[1\].*negative width or height"),
    "inverted truth": ({**TRUTH, "annotations": changed(A, 1, bbox=[5, 5, 3, -4])}, R, r"annotations\[1\].*negative"),
    "NaN area": ({**TRUTH, "annotations": changed(A, 1, area=float("nan"))}, R, r"annotations\[1\].*'area' must be"),
    "repeated annotation": ({**TRUTH, "annotations": [*A, A[1]]}, R, r"was given to annotations\[1\] already"),
    "repeated category": ({**TRUTH, "categories": [{"id": 6}] * 2}, R, r"categories\[1\]: id 6 .* categories\[0\]"),
    "true in a box": (TRUTH, changed(R, 1, bbox=[True, 2, 3, 4]), r"detections\[1\].*4 finite numbers"),
    "text in a box": (TRUTH, changed(R, 1, bbox=["1", 2, 3, 4]), r"detections\[1\].*4 finite numbers"),
    "box beyond doubles": (TRUTH, changed(R, 1, bbox=[0, 0, 1e200, 1e200]), r"detections\[1\].*is too large"),
    "edge beyond doubles": (TRUTH, changed(R, 1, bbox=[1.7e308, 0, 1.7e308, 0]), r"detections\[1\].*is too large"),
    "huge id": (TRUTH, changed(R, 2, image_id=2**63), r"detections\[2\].*must be below 2\^63, is 9223372036854775808"),
    "huge id of an image": ({**TRUTH, "images": [{"id": 1e300}]}, R, r"images\[0\]: 'id' must be below 2\^63"),
    "endless text id": (TRUTH, [{**R[0], "image_id": "7" * 2000}], r"detections\[0\].*has 2000 characters"),
    "unknown text id": (TEXT_TRUTH, [{**R[0], "image_id": "frame 8"}], r"no image with id 'frame 8' in the ground tr"),
    "numbers for text": (TEXT_TRUTH, R[:1], r"detections\[0\].*ids are numbers here, but strings in the ground truth"),
    "repeated image": ({**TRUTH, "images": [TRUTH["images"][0]] * 2}, R, r"images\[1\]: id .* images\[0\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_file_and_place(case, tmp_path):
    truth, results, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        score(tmp_path, truth, results)
    assert caught.value.file in (str(tmp_path / "truth.json"), str(tmp_path / "results.json"))


@pytest.mark.parametrize("content", [b"", b" \n"], ids=["no bytes", "only space"])
def test_an_empty_file_is_not_an_empty_list(content, tmp_path):
    # A tool that died while writing leaves such a file; "no detections" would be AP 0 in silence.
    truth_path, results_path = write_files(tmp_path, TRUTH, RESULTS)
    for path in (results_path, truth_path):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{path.name}: the file is empty \({len(content)} bytes\)") as caught:
            run(ScoreConfig(truth_path, (results_path,)))
        assert "[]" in caught.value.hint


def test_json_that_only_hostile_files_hold_is_refused(tmp_path):
    truth_path, results_path = write_files(tmp_path, TRUTH, RESULTS)
    for text, message in (("[" * 200_000, "nested too deeply"), ("[" + "1" * 5000 + "]", "not COCO: .*digits")):
        results_path.write_text(text)
        with pytest.raises(DataError, match=message):
            run(ScoreConfig(truth_path, (results_path,)))


def test_no_images_at_all(tmp_path):
    result = score(tmp_path, {"images": [], "annotations": [], "categories": [{"id": 1}]}, [])
    assert result.stats["AP"] is None and result.protocol["images"] == 0


def test_50000_detections_in_one_image(tmp_path):
    rng = np.random.default_rng(0)
    boxes = np.c_[rng.uniform(0, 500, (50_000, 2)), rng.uniform(5, 80, (50_000, 2))].tolist()
    scores = (rng.permutation(50_000) / 50_000).tolist()
    image, category = TRUTH["images"][0]["id"], TRUTH["categories"][0]["id"]
    results = [
        {"image_id": image, "category_id": category, "bbox": b, "score": s} for b, s in zip(boxes, scores, strict=True)
    ]
    truth = {**TRUTH, "annotations": [
        {"id": i + 1, "image_id": image, "category_id": category, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
        for i, b in enumerate(boxes[:200])
    ]}  # fmt: skip
    result = score(tmp_path, truth, results)
    np.testing.assert_array_equal(as_pycocotools(result.stats), pycocotools_eval(truth, results).stats)
    assert (result.protocol["detections"], result.protocol["detections_over_limit"]) == (50_000, 49_900)


def test_sizes_and_split_of_the_images_are_kept(tmp_path):
    images = [{**image, "split": "val"} for image in TRUTH["images"]]
    path = tmp_path / "truth.json"
    for extra in ({}, {"width": True}, {"height": 0}, {"split": ["val"]}):
        path.write_text(json.dumps({**TRUTH, "images": [{**images[0], **extra}, *images[1:]]}))
        table, _ = read_ground_truth(path)
        assert table.split == (None if "split" in extra else "val")
        known = None if extra.keys() & {"width", "height"} else [[640, 480]] * len(images)
        assert (table.size_wh if known is None else table.size_wh.tolist()) == known


def test_files_that_are_not_json_are_refused(tmp_path):
    truth_path, results_path = write_files(tmp_path, TRUTH, RESULTS)
    results_path.write_text('[\n{"image_id": 1,\n]')
    with pytest.raises(DataError, match=r"results\.json:3: not valid JSON"):
        run(ScoreConfig(truth_path, (results_path,)))
    results_path.write_bytes(b"\xff\xd8\xff\xe0 a picture")
    with pytest.raises(DataError, match=r"results\.json.*not "):
        run(ScoreConfig(truth_path, (results_path,)))
    with pytest.raises(DataError, match=r"cannot read the file \(No such file"):
        run(ScoreConfig(tmp_path / "absent.json", (results_path,)))
    with pytest.raises(DataError, match=r"cannot read the file \(Is a directory"):
        run(ScoreConfig(truth_path, (tmp_path,)))


def test_labels_of_images_make_slices_and_sequences(tmp_path):
    truth = copy.deepcopy(TRUTH)
    for number, image in enumerate(truth["images"]):
        image |= {"sequence_id": number % 2, "attributes": {"scene": "port", "weather": f"w{number % 2}"}}
        image["condition"] = "fog" if number == 0 else None
    truth["info"] = {"note": 'not the "images": [1, 2] that count'}
    result = score(tmp_path, truth, RESULTS)
    slices = {(row["by"], row["name"]) for row in result.slices}
    # Weather parts the frames as the sequences do, and comes later; every frame is of the same scene.
    assert slices == {("sequence", "0"), ("sequence", "1"), ("condition", "fog"), ("condition", "clear")}
    assert result.intervals["unit"] == "sequence" and result.intervals["units"] == 2
    assert score(tmp_path, TRUTH, RESULTS).intervals["unit"] == "image"
