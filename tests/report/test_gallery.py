import contextlib
import io

import cv2
import numpy as np
import pytest

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError
from wutdet.report.gallery import (
    FALSE_ALARM,
    HIT,
    IGNORED,
    MISS,
    choose_frames,
    example_pictures,
    frame_picture,
    match_frame,
    write_pictures,
)


def detections(xyxy, score) -> Detections:
    count = len(score)
    return Detections(np.array(xyxy, float).reshape(count, 4), np.array(score), np.zeros(count), np.zeros(count))


def test_matching_of_a_small_scene():
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 90, 90]], float)
    ignore = np.array([False, False, True])
    found = np.array([[0, 0, 10, 9], [1, 0, 11, 10], [60, 60, 70, 70], [50, 50, 90, 88], [70, 0, 80, 10]], float)
    match = match_frame(truth, ignore, found, np.array([0.5, 0.9, 0.8, 0.7, 0.6]))
    # The second detection has the higher score and takes the ship; the first then has nothing left.
    assert match.truth == (HIT, MISS, IGNORED)
    assert match.found == (FALSE_ALARM, HIT, FALSE_ALARM, IGNORED, FALSE_ALARM)
    assert match.truth_of.tolist() == [-1, 0, -1, -1, -1]
    assert match.iou[1] == pytest.approx(9 / 11)
    crowd = match_frame(truth, ignore, found, np.array([0.5, 0.9, 0.8, 0.7, 0.6]), truth_crowd=ignore)
    assert crowd.found[2] == IGNORED  # inside a box for many ships


@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (3, 0)])
def test_matching_without_ships_or_detections(counts):
    ships, found = counts
    match = match_frame(np.ones((ships, 4)) * [0, 0, 5, 5], np.zeros(ships, bool), np.ones((found, 4)), np.ones(found))
    assert match.truth == (MISS,) * ships and match.found == (FALSE_ALARM,) * found


def test_matching_equals_pycocotools_on_dense_scenes(rng):
    coco_module = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    for _ in range(12):
        corner = rng.uniform(0, 120, (40, 2))
        truth = np.concatenate([corner, corner + rng.uniform(5, 60, (40, 2))], axis=1)
        crowd = rng.random(40) < 0.15
        ignore = crowd | (rng.random(40) < 0.2)
        found = truth[rng.integers(0, 40, 90)] + rng.normal(0, 4, (90, 4))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        score = rng.permutation(90) / 90
        coco = coco_module.COCO()
        coco.dataset = {
            "images": [{"id": 1, "width": 200, "height": 200}],
            "categories": [{"id": 1, "name": "ship"}],
            "annotations": [
                {"id": i + 1, "image_id": 1, "category_id": 1, "bbox": [x, y, u - x, v - y], "area": (u - x) * (v - y),
                 "iscrowd": int(c), "ignore": int(g)}
                for i, ((x, y, u, v), c, g) in enumerate(zip(truth.tolist(), crowd, ignore, strict=True))
            ],
        }  # fmt: skip
        results = [
            {"image_id": 1, "category_id": 1, "bbox": [x, y, u - x, v - y], "score": float(s)}
            for (x, y, u, v), s in zip(found.tolist(), score, strict=True)
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
            # pycocotools overwrites 'ignore' with 'iscrowd'; the flag is set again after preparation.
            evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
            prepare = evaluator._prepare

            def prepare_with_ignore(prepare=prepare, evaluator=evaluator, ignore=ignore):
                prepare()
                for boxes in evaluator._gts.values():
                    for box in boxes:
                        box["ignore"] = int(ignore[box["id"] - 1])

            evaluator._prepare = prepare_with_ignore
            evaluator.params.iouThrs = np.array([0.5])
            evaluator.params.maxDets = [100]
            evaluator.evaluate()
        whole = evaluator.evalImgs[0]
        row_of = {d["id"]: row for row, d in enumerate(coco.loadRes(results).dataset["annotations"])}
        expected = {}
        for column, dt_id in enumerate(whole["dtIds"]):
            matched, ignored = whole["dtMatches"][0, column] > 0, whole["dtIgnore"][0, column]
            expected[row_of[dt_id]] = IGNORED if ignored else HIT if matched else FALSE_ALARM
        match = match_frame(truth, ignore, found, score, truth_crowd=crowd)
        assert list(match.found) == [expected[row] for row in range(90)]
        hit = {int(i) - 1 for i, m, g in zip(whole["gtIds"], whole["gtMatches"][0], whole["gtIgnore"], strict=True)
               if m and not g}  # fmt: skip
        assert {row for row, status in enumerate(match.truth) if status == HIT} == hit


def colours_around(image: np.ndarray, xyxy) -> set[tuple[int, int, int]]:
    x1, y1, x2, y2 = (int(v) for v in xyxy)
    region = image[max(0, y1 - 6) : y2 + 6, max(0, x1 - 6) : x2 + 6].reshape(-1, 3)
    return {tuple(int(v) for v in pixel) for pixel in region}


def test_boxes_are_drawn_in_their_colours_and_hide_nothing():
    frame = np.full((400, 640, 3), 90, np.uint8)
    truth = np.array([[100, 200, 130, 220], [300, 200, 330, 220]], float)
    picture = frame_picture(
        frame, truth, np.zeros(2, bool), detections([[100, 200, 130, 220], [500, 300, 540, 330]], [0.9, 0.8])
    )
    assert (140, 201, 0) in colours_around(picture.image, truth[0])
    assert (0, 128, 255) in colours_around(picture.image, truth[1])
    assert (208, 63, 255) in colours_around(picture.image, (500, 300, 540, 330))
    assert (picture.image[201:219, 101:129] == 90).all(), "a box must not cover its ship"
    assert (frame == 90).all(), "the frame itself is not changed"
    assert picture.caption == "2 ships: 1 hit, 1 missed; false alarms: 1."


def test_details_show_true_pixels_of_tiny_ships_and_say_what_they_are():
    frame = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    truth = np.array([[1000, 500, 1010, 508], [5, 3, 12, 9], [300, 300, 700, 600]], float)
    picture = frame_picture(frame, truth, np.zeros(3, bool), detections([truth[0], truth[2]], [0.83, 0.9]), width=960)
    assert picture.image.shape == (540, 960, 3)
    assert len(picture.insets) == 2  # the large ship needs none
    assert picture.insets[0].caption == "1: 10×8 px, hit, score 0.83, IoU 1.00, 8× enlarged"
    assert picture.insets[1].caption == "2: 7×6 px, miss, 8× enlarged"
    inset = picture.insets[0].image
    assert inset.shape == (240, 240, 3)
    centre = inset[120 - 4 : 120 + 4, 120 - 4 : 120 + 4]
    # 8x8 pixels of one frame pixel, somewhere inside the ship.
    blocks = inset[::8, ::8].reshape(-1, 3)
    assert any((frame[504, 1005] == b).all() for b in blocks) and len(np.unique(centre.reshape(-1, 3), axis=0)) <= 4


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 900), (20, 10), (2560, 1440)])
def test_frames_of_any_size_can_be_drawn(size_wh):
    width, height = size_wh
    frame = np.zeros((height, width, 3), np.uint8)
    box = [[0, 0, width, height]]
    picture = frame_picture(frame, np.array(box, float), np.zeros(1, bool), detections(box, [0.5]))
    assert picture.image.shape[1] == min(width, 1280)


def build(tmp_path, write_picture, sequences=("a", "a", "b", "b", "c")):
    builder = DatasetBuilder(tmp_path, ClassMap.single())
    for index, name in enumerate(sequences):
        file = f"ühr <{index}> &.png"
        write_picture(tmp_path / file, (320, 200), seed=index)
        row = builder.add_image(file, (320, 200), labels={"sequence": name, "scene": "port"}, conditions=["fog"])
        for ship in range(index % 2 + 1):
            builder.add_box(row, (10 + 40 * ship, 20, 22 + 40 * ship, 30), "ship")
    return builder.build()


def test_sequences_take_turns_and_give_their_frame_with_most_small_ships(tmp_path, write_picture):
    dataset = build(tmp_path, write_picture)
    assert choose_frames(dataset, 3) == [1, 3, 4]
    assert sorted(choose_frames(dataset, 99)) == [0, 1, 2, 3, 4]
    assert choose_frames(dataset, 1) == [1]
    assert choose_frames(build(tmp_path, write_picture, (None,) * 5), 3) == [0, 2, 4]


def test_examples_are_written_and_listed(tmp_path, write_picture):
    dataset = build(tmp_path, write_picture)
    found = Detections(dataset.xyxy, np.linspace(0.1, 0.9, dataset.box_count), dataset.category, dataset.box_image)
    pictures = example_pictures(dataset, found, count=3, score_threshold=0.5)
    assert pictures[0].caption.startswith("ühr <1> &.png (port, fog), score 0.5 and up. 2 ships: 0 hit, 2 missed")
    entries = write_pictures(pictures, tmp_path / "out/detect", tmp_path / "out")
    assert [e["image"] for e in entries] == [f"detect/example-0{i}.jpg" for i in (1, 2, 3)]
    for entry in entries:
        for item in [entry, *entry["insets"]]:
            assert cv2.imread(str(tmp_path / "out" / item["image"])) is not None and item["caption"]
    with pytest.raises(UsageError, match="does not lie below"):
        write_pictures(pictures, tmp_path / "elsewhere", tmp_path / "out")


def test_a_frame_that_cannot_be_read_is_named(tmp_path, write_picture):
    dataset = build(tmp_path, write_picture)
    dataset.image_file(1).unlink()
    with pytest.raises(DataError, match=r"ühr <1> &\.png"):
        example_pictures(dataset, Detections.empty(), count=3)
