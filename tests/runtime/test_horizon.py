"""The horizon of rendered scenes, whose renderer knows it, and of plain pictures with a line."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.runtime.horizon import ENOUGH_SHIPS, SURE, estimate_horizon, find_horizon
from wutdet.scenes.film import render_frame
from wutdet.scenes.plan import plan

NOTHING = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def sea(size_wh, left, right, seed=0, contrast=60, noise=6):
    """A sky, and below the line a darker, noisier sea."""
    width, height = size_wh
    rng = np.random.default_rng(seed)
    line = left + (right - left) * (np.arange(width) + 0.5) / width
    below = (np.arange(height)[:, None] >= line[None, :])[..., None]
    pixels = np.where(below, 150 - contrast, 150) + rng.normal(0, noise, (height, width, 1)) * np.where(below, 2, 0.5)
    return np.broadcast_to(pixels, (height, width, 3)).clip(0, 255).astype(np.uint8)


@given(st.floats(0.15, 0.8), st.floats(-0.15, 0.15), st.sampled_from([(640, 360), (1280, 720), (500, 700)]),
       st.integers(0, 9))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_line_is_found_where_it_is(middle, tilt, size_wh, seed):
    width, height = size_wh
    rise = tilt * min(width, height)
    left, right = middle * height - rise / 2, middle * height + rise / 2
    found = estimate_horizon(sea(size_wh, left, right, seed))
    assert found.confidence > SURE
    assert [found.left, found.right] == pytest.approx([left, right], abs=0.015 * height)
    assert found.row(width / 2, width) == pytest.approx((left + right) / 2, abs=0.01 * height)


def test_grey_sixteen_bit_and_part_of_a_picture_are_the_same_line():
    frame = sea((640, 360), 150, 170)
    expected = estimate_horizon(frame)
    grey = frame[..., 0]
    for other in (grey, grey[..., None], np.dstack([frame, grey]), grey.astype(np.uint16) << 8):
        assert estimate_horizon(other) == expected
    large = np.zeros((400, 700, 3), np.uint8)
    large[:360, :640] = frame
    assert estimate_horizon(large[:360, :640]) == expected


@pytest.mark.parametrize("size_wh", [(1, 1), (10, 300), (300, 10), (15, 15)])
def test_pictures_too_small_to_tell(size_wh):
    assert estimate_horizon(sea(size_wh, 5, 5)) is None
    assert estimate_horizon(np.zeros((360, 640, 3), np.uint8)) is None


@pytest.fixture(scope="module")
def rendered():
    """One small frame of each scene with each condition, and the horizon where it is in the frame."""
    frames = [render_frame(replace(spec, size_wh=(640, 360)), 1) for spec in plan(28, 5)]
    return [frame for frame in frames if 0.05 < frame.horizon / 360 < 0.9]


def test_rendered_scenes(rendered):
    assert len(rendered) > 20
    errors, near, ships = [], 0, 0
    for frame in rendered:
        found = estimate_horizon(frame.image)
        if found is None or found.confidence < SURE:
            continue
        errors.append(abs(found.row(320, 640) - frame.horizon) / 360)
        for x1, _, x2, y2 in (box.xyxy for box in frame.boxes if box.pixels < 100):
            near += -0.22 < (y2 - found.row((x1 + x2) / 2, 640)) / 360 < 0.34
            ships += 1
    assert len(errors) > 0.6 * len(rendered)
    # In ports the edge of a quay or of a far shore is the stronger line: not the sea's, but ships float near it.
    assert np.median(errors) < 0.05
    assert ships > 30 and near / ships > 0.9


def test_where_no_line_is_sure_the_far_ships_tell(rng):
    fog = rng.normal(120, 10, (360, 640, 3)).clip(0, 255).astype(np.uint8)
    line = estimate_horizon(fog)
    assert line is None or line.confidence < SURE
    assert find_horizon(fog, *NOTHING) is None
    waterlines = (118, 120, 121, 200)
    xyxy = np.array([[100 * i, row - 9, 100 * i + 20, row] for i, row in enumerate(waterlines)], np.float32)
    score = np.array([0.5, 0.6, 0.5, 0.4], np.float32)
    found = find_horizon(fog, xyxy, score)
    assert found.left == found.right == 120
    assert find_horizon(fog, xyxy, score * ENOUGH_SHIPS / 2.1) is None  # not sure enough
    near = xyxy + np.array([0, -60, 0, 0], np.float32)
    assert find_horizon(fog, near, score) is None  # close by: they float anywhere
    # A sure line is the better witness.
    assert find_horizon(sea((640, 360), 200, 200), xyxy, score).left == pytest.approx(200, abs=4)


@pytest.mark.real_data
def test_far_ships_of_real_frames_float_near_the_line(shared_dir):
    from wutdet.dataset.load import load_dataset

    dataset = load_dataset(shared_dir / "data" / "harborcams" / "annotations" / "train.json")
    near, ships = 0, 0
    for row in range(0, len(dataset), 12):
        frame = dataset.read_image(row)
        height, width = frame.shape[:2]
        found = find_horizon(frame, *NOTHING)
        boxes = dataset.xyxy[dataset.box_rows(row)]
        boxes = boxes[np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) < 32**2]
        if found is None or not len(boxes):
            continue
        away = boxes[:, 3] - found.row((boxes[:, 0] + boxes[:, 2]) / 2, width)
        near += int(((away > -0.24 * height) & (away < 0.36 * height)).sum())
        ships += len(boxes)
    assert ships > 30
    assert near / ships > 0.75


def test_a_grey_wall_in_the_middle_does_not_hide_the_line():
    frame = sea((640, 360), 150, 150)
    cv2.rectangle(frame, (200, 40), (430, 300), (40, 60, 90), -1)  # a large ship close by
    found = estimate_horizon(frame)
    assert found.confidence > SURE
    assert found.row(320, 640) == pytest.approx(150, abs=6)
