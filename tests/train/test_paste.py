"""Pasted ships: the law of the sea, and that they lie on free water, in the right size, with the right box."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wutdet.config import AugmentConfig, TrainConfig
from wutdet.dataset.load import load_dataset
from wutdet.train.frames import TrainingPictures
from wutdet.train.paste import CutOut, Donors, overlaps, sea_law
from wutdet.train.settings import picture_settings

WIDTH, HEIGHT, HORIZON, QUAY = 320, 240, 70, 250
#: No crop, no colours: pictures are the frames, with 80 rows of padding above or below.
PLAIN = AugmentConfig(probability=0, crop=False, scale=0, flip=0, hue=0, saturation=0, value=0, paste=1.0)


def write_bay(folder: Path, frames: int = 24) -> Path:
    """A sea with a horizon, red ships as large as their distance says, an area to ignore, a rough quay on the right."""
    rng = np.random.default_rng(4)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(frames):
        picture = np.empty((HEIGHT, WIDTH, 3))
        picture[:HORIZON], picture[HORIZON:] = (210, 200, 190), (110, 90, 60)
        picture += rng.normal(0, 2, picture.shape)
        picture[HORIZON:, QUAY:] = rng.uniform(0, 255, (HEIGHT - HORIZON, WIDTH - QUAY, 3))
        boxes = [(100, 200, 60, 20, True)]
        for _ in range(int(rng.integers(1, 4)) if number % 6 else 0):
            distance = rng.uniform(8, 60)
            h = max(round(distance * rng.uniform(0.8, 1.25)), 5)
            w, foot = 2 * h, HORIZON + round(distance)
            x = int(rng.integers(5, QUAY - w - 5))
            new = np.array([x - 4, foot - h - 4, x + w + 4, foot + 4])
            if overlaps(new, np.array([[a, b, a + c, b + d] for a, b, c, d, _ in boxes])).any():
                continue
            boxes.append((x, foot - h, w, h, False))
            picture[foot - h : foot, x : x + w] = (40, 60, 230)
        for x, y, w, h, ignore in boxes:
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "area": w * h,
                                "bbox": [x, y, w, h], "iscrowd": 0, "ignore": int(ignore)})  # fmt: skip
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture.clip(0, 255).astype(np.uint8))
        images.append({"id": number + 1, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT})
    (folder / "annotations").mkdir()
    file = folder / "annotations" / "all.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]})
    )
    return file


@pytest.fixture(scope="module")
def bay(tmp_path_factory):
    return load_dataset(str(write_bay(tmp_path_factory.mktemp("bay"))))


def pictures_of(dataset, **changes) -> TrainingPictures:
    config = TrainConfig(data="", imgsz=320, mosaic=0.0, augment=replace(PLAIN, **changes))
    return TrainingPictures(dataset, picture_settings(config))


def corners(item: dict) -> np.ndarray:
    boxes = item["bboxes"].numpy().astype(float) * 320
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


@pytest.mark.parametrize("ratio", [0.6, 1.0, 2.0])
def test_the_law_of_the_sea_is_found(ratio):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(50):
        distance = np.exp(rng.uniform(np.log(6), np.log(300), 12))
        height = distance * ratio * np.exp(rng.normal(0, 0.3, 12))
        foot = 400 + distance
        found.append(sea_law(np.stack([foot * 0, foot - height, 2 * height, foot], axis=1), (1920, 1080)))
    horizons = np.array([law.horizon_y for law in found])
    assert abs(np.median(horizons) - 400) < 4 and np.abs(horizons - 400).max() < 40
    assert np.median([law.ratio for law in found]) == pytest.approx(ratio, rel=0.15)


def test_one_ship_alone_has_its_horizon_as_far_up_as_it_is_high():
    law = sea_law(np.array([[10.0, 480, 60, 500]]), (1920, 1080))
    assert law.horizon_y == pytest.approx(480, abs=1) and law.ratio == pytest.approx(1, rel=0.05)
    assert sea_law(np.zeros((0, 4)), (1920, 1080)) is None
    assert sea_law(np.array([[10.0, 900, 60, 1080]]), (1920, 1080)) is None  # cut off below: its foot is unknown


def test_pasted_ships_lie_on_free_water_in_the_right_size(bay):
    pasting, plain = pictures_of(bay), pictures_of(bay, paste=0.0)
    total, ratios = 0, []
    for row in range(len(bay)):
        rows = bay.box_rows(row)
        ships = bay.xyxy[rows][~bay.ignore[rows]]
        for epoch in range(3):
            with_ships, without = pasting[(epoch, row)], plain[(epoch, row)]
            own, all_boxes = corners(without), corners(with_ships)
            np.testing.assert_array_equal(all_boxes[: len(own)], own)
            new = all_boxes[len(own) :]
            total += len(new)
            if not len(ships):
                assert not len(new), "an empty frame stays empty"
                continue
            top = own[0, 1] - ships[0, 1]
            labelled = bay.xyxy[rows] + np.array([0, top, 0, top])
            changed = (with_ships["img"] != without["img"]).any(dim=0).numpy()
            picture = with_ships["img"].numpy()
            for number, box in enumerate(new):
                others = np.concatenate([labelled, np.delete(new, number, axis=0)])
                assert not overlaps(box, others).any()
                x1, y1, x2, y2 = (round(v) for v in box)
                assert x1 >= 0 and x2 <= QUAY + 2 and y1 >= top and y2 <= top + HEIGHT
                # The box holds the ship, all of it, and what is around is water or sky.
                red = picture[0].astype(int) - picture[2].astype(int) > 90
                assert red[y1:y2, x1:x2].mean() > 0.9
                assert not red[y1 - 3 : y1, x1 - 3 : x2 + 3].any() and not red[y2 : y2 + 3, x1 - 3 : x2 + 3].any()
                law = sea_law(ships, (WIDTH, HEIGHT))
                ratio = (box[3] - box[1]) / (box[3] - top - law.horizon_y)
                assert abs(np.log(ratio / law.ratio)) < 0.75  # 0.6, and half a row of rounding
                ratios.append((box[3] - box[1]) / (box[3] - top - HORIZON))
                margin = max(2, round(0.2 * max(box[2] - box[0], box[3] - box[1]))) + 1
                changed[y1 - margin : y2 + margin, x1 - margin : x2 + margin] = False
            assert not changed.any()
    # Height against distance below the true horizon, as the frames were made: 0.8 to 1.25.
    assert total > 20 and 0.75 < np.median(ratios) < 1.35 and np.quantile(ratios, 0.1) > 0.4


def test_pasting_repeats_for_seed_epoch_and_row(bay):
    one, other = pictures_of(bay), pictures_of(bay)
    other[(0, 3)]
    for address in ((0, 5), (1, 5), (2, 8), (2, 8, 1)):
        a, b = one[address], other[address]
        assert (a["img"] == b["img"]).all() and (a["bboxes"] == b["bboxes"]).all()


def test_a_cut_out_fades_into_ground_of_another_brightness():
    picture = np.full((30, 50, 3), 100, np.uint8)
    picture[10:20, 10:40] = (30, 40, 220)
    cut = CutOut(picture, np.array([10.0, 10, 40, 20]), 8)
    ground = np.full((30, 50, 3), 130, np.uint8)
    laid = cut.laid_on(ground)
    assert np.abs(laid[:8].astype(int) - 130).max() <= 1 and np.abs(laid[:, :8].astype(int) - 130).max() <= 1
    assert (laid[12:18, 15:35, 2].astype(int) - laid[12:18, 15:35, 0] > 150).all()
    assert cut.laid_on(np.full((30, 50, 3), 20, np.uint8)) is None  # too dark: it would be another time of day
    split = ground.copy()
    split[:10] = 240
    assert cut.laid_on(split) is None  # bright sky behind a ship that comes with dark water behind it


def test_only_whole_small_ships_that_stand_clear_are_cut_out(bay):
    donors = Donors(bay, np.ones(len(bay)))
    side = bay.xyxy[donors.boxes][:, 2:] - bay.xyxy[donors.boxes][:, :2]
    assert len(donors.boxes) and side.max() <= 64 and not bay.ignore[donors.boxes].any()
    assert len(Donors(bay, np.full(len(bay), 4.0)).boxes) < len(donors.boxes)
    rng = np.random.default_rng(0)
    for _ in range(50):
        chosen = donors.choose(rng, 3)
        if chosen is not None:
            image, boxes = chosen
            assert image != 3 and (bay.box_image[boxes] == image).all()


def test_ships_of_the_day_are_not_put_into_the_night(bay):
    conditions = np.zeros(len(bay), np.uint32)
    conditions[::2] = 4
    mixed = replace(bay, conditions=conditions)
    donors = Donors(mixed, np.ones(len(bay)))
    for row in range(6):
        for seed in range(8):
            chosen = donors.choose(np.random.default_rng(seed), row)
            assert chosen is None or conditions[chosen[0]] == conditions[row]
