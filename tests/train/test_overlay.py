"""Text that cameras write into their pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.config import AugmentConfig, TrainConfig
from wutdet.dataset.load import load_dataset
from wutdet.train.frames import TrainingPictures
from wutdet.train.overlay import draw_text
from wutdet.train.settings import picture_settings


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 300), st.integers(20, 300))
def test_text_leaves_ships_alone_and_the_given_picture_as_it_is(seed, width, height):
    rng = np.random.default_rng(seed)
    grey = np.full((height, width, 3), 120, np.uint8)
    corner = rng.uniform(0, min(width, height) - 12, (3, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(3, 12, (3, 2))], axis=1)
    out = draw_text(grey, xyxy, np.random.default_rng(seed))
    assert (grey == 120).all() and out.shape == grey.shape and out.dtype == np.uint8
    for x1, y1, x2, y2 in xyxy:
        assert (out[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] == 120).all()
    np.testing.assert_array_equal(out, draw_text(grey, xyxy, np.random.default_rng(seed)))


def test_text_is_drawn_wherever_there_is_room_and_not_over_a_ship_that_fills_the_picture():
    grey = np.full((200, 300, 3), 120, np.uint8)
    drawn = [draw_text(grey, np.zeros((0, 4)), np.random.default_rng(seed)) for seed in range(40)]
    changed = [int((picture != 120).any(axis=2).sum()) for picture in drawn]
    assert min(changed) > 10 and len({picture.tobytes() for picture in drawn}) == 40
    assert draw_text(grey, np.array([[-50.0, -50, 350, 250]]), np.random.default_rng(0)) is grey


def test_training_pictures_get_text_and_stay_the_same_otherwise(sea):
    dataset = load_dataset(sea, classes="ship")
    plain = AugmentConfig(fog=False, glare=False, rain=False, low_light=False, noise=False, compression=False,
                          motion_blur=False, probability=0.5, text=False)  # fmt: skip
    one, other = (
        TrainingPictures(dataset, picture_settings(TrainConfig(data="", imgsz=160, mosaic=0.0, augment=augment)))
        for augment in (plain, replace(plain, text=True))
    )
    changed = 0
    for address in ((epoch, row) for epoch in range(3) for row in range(len(dataset))):
        a, b = one[address], other[address]
        assert (a["bboxes"] == b["bboxes"]).all() and (a["cls"] == b["cls"]).all()
        share = (a["img"] != b["img"]).float().mean().item()
        assert share < 0.3
        changed += share > 0
    assert 0.2 < changed / (3 * len(dataset)) < 0.7
