"""horizon_tilt: boxes against what is found by looking at the turned picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wutdet.corrupt.frame import corrupt, corrupt_labelled
from wutdet.corrupt.severities import SEVERITIES, parameters
from wutdet.corrupt.tilt import OUTLINE, tilt_boxes

SIZE_HW = (600, 900)
BOTH_WAYS = (0, 1, 2, 3, 4, 5)  # seeds; they roll to either side


def found_box(picture: np.ndarray) -> np.ndarray:
    """xyxy of what is brighter than half."""
    x, y, wide, high = cv2.boundingRect((picture[..., 0] > 127).astype(np.uint8))
    return np.array([x, y, x + wide, y + high], float)


def black() -> np.ndarray:
    return np.zeros((*SIZE_HW, 3), np.uint8)


def iou(a, b) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(wide, 0) * max(high, 0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def test_the_seeds_roll_both_ways():
    left_up = set()
    for seed in BOTH_WAYS:
        box = corrupt_labelled(black(), [[10, 290, 30, 310]], "horizon_tilt", 3, seed=seed).xyxy[0]
        left_up.add(bool(box[1] < 290))
    assert left_up == {True, False}


@pytest.mark.parametrize("seed", BOTH_WAYS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_small_boxes_land_where_the_picture_shows_them(severity, seed):
    """A square of 8 pixels, anywhere: so small that the guess about its outline hardly matters."""
    for left, top in ((450, 300), (200, 250), (700, 330), (430, 120), (150, 300)):
        frame = black()
        frame[top : top + 8, left : left + 8] = 255
        out = corrupt_labelled(frame, [[left, top, left + 8, top + 8]], "horizon_tilt", severity, seed=seed)
        seen, told = found_box(out.image), out.xyxy[0]
        assert out.kept.all()
        assert told == pytest.approx(seen, abs=2.2)
        assert (told[:2] + told[2:]) / 2 == pytest.approx((seen[:2] + seen[2:]) / 2, abs=1.1)


@pytest.mark.parametrize("seed", BOTH_WAYS[:3])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_long_rectangle_lies_round_its_box(severity, seed):
    """A rectangle fills its box to all corners, so its turned box is the largest there can be; ours is inside, and has
    the same width at the waterline to a tenth."""
    frame = black()
    frame[280:330, 330:570] = 255
    out = corrupt_labelled(frame, [[330, 280, 570, 330]], "horizon_tilt", severity, seed=seed)
    seen, told = found_box(out.image), out.xyxy[0]
    assert (told[:2] >= seen[:2] - 1).all() and (told[2:] <= seen[2:] + 1).all()
    assert told[2] - told[0] > 0.9 * (seen[2] - seen[0])
    degrees = parameters("horizon_tilt", severity)["degrees"]
    assert seen[3] - seen[1] == pytest.approx(
        50 * np.cos(np.radians(degrees)) + 240 * np.sin(np.radians(degrees)), abs=2
    )


@pytest.mark.parametrize("seed", BOTH_WAYS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_plain_ship_is_boxed_exactly(severity, seed):
    """The outline drawn as a picture, turned as a picture, and looked for."""
    box = np.array([300.0, 200, 500, 290])
    corners = (box[:2] + box[2:]) / 2 + OUTLINE[[0, 1, 3, 5, 4, 2]] * (box[2:] - box[:2]) / 2
    frame = black()
    cv2.fillPoly(frame, [np.round((corners - 0.5) * 16).astype(np.int32)], (255,) * 3, cv2.LINE_AA, 4)
    assert found_box(frame) == pytest.approx(box, abs=1)
    out = corrupt_labelled(frame, box[None], "horizon_tilt", severity, seed=seed)
    assert out.xyxy[0] == pytest.approx(found_box(out.image), abs=1.6)


def test_rendered_ships_are_boxed_better_than_by_turned_corners(monkeypatch):
    """The choice of outline, held against ships whose every pixel is known."""
    from wutdet.scenes import film
    from wutdet.scenes.plan import plan
    from wutdet.scenes.render import render_frame

    ships = []
    boxes_of = film.ship_boxes

    def keep_pixels(owner, drawn, noise_levels):
        boxes = boxes_of(owner, drawn, noise_levels)
        for ship in boxes:
            if not ship.ignore and ship.visible > 0.9:
                left, top, right, bottom = ship.xyxy
                y, x = np.nonzero(owner[top:bottom, left:right] == ship.ship)
                ships.append((np.array(ship.xyxy, float), np.c_[x + left, y + top]))
        return boxes

    monkeypatch.setattr(film, "ship_boxes", keep_pixels)
    for spec in plan(12, 5):
        render_frame(spec, 0)
    assert len(ships) > 30
    for degrees, at_least in ((7, 0.88), (16, 0.82)):
        ours, corners = [], []
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for box, pixels in ships:
            middle = (box[:2] + box[2:]) / 2
            rim = np.concatenate([pixels + step for step in ((0, 0), (0, 1), (1, 0), (1, 1))])
            turned = (rim - middle) @ turn + 5000  # far from any frame's rim
            true = np.concatenate([turned.min(axis=0), turned.max(axis=0)])
            half = (box[2:] - box[:2]) / 2
            told, kept = tilt_boxes([[*(5000 - half), *(5000 + half)]], (10000, 10000), degrees)
            assert kept.all()
            reach = np.abs(turn).T @ half
            ours.append(iou(told[0], true))
            corners.append(iou([*(5000 - reach), *(5000 + reach)], true))
        assert np.mean(ours) > at_least
        assert np.mean(ours) > np.mean(corners) + 0.05


def test_ships_whose_middle_leaves_the_frame_are_not_kept():
    size = (900, 600)
    boxes = np.array(
        [[0, 280, 20, 300], [0, 0, 40, 40], [860, 0, 900, 40], [0, 560, 40, 600], [440, 290, 460, 310]], float
    )
    xyxy, kept = tilt_boxes(boxes, size, 16)
    turn = cv2.getRotationMatrix2D((450, 300), 16, 1.0)
    middles = np.c_[(boxes[:, :2] + boxes[:, 2:]) / 2, np.ones(5)] @ turn.T
    inside = ((middles >= 0) & (middles <= size)).all(axis=1)
    assert kept.tolist() == inside.tolist()
    assert not inside.all() and inside.any()
    assert (xyxy >= 0).all() and (xyxy <= [*size, *size]).all()
    assert (xyxy[:, 2:] >= xyxy[:, :2]).all()


def test_no_boxes_and_no_turn():
    xyxy, kept = tilt_boxes(np.zeros((0, 4)), (10, 10), 5)
    assert xyxy.shape == (0, 4) and kept.shape == (0,)
    boxes = np.array([[1.5, 2, 7, 5]])
    assert tilt_boxes(boxes, (10, 10), 0)[0] == pytest.approx(boxes)


def test_nothing_is_mirrored_into_the_corners():
    frame = np.full((*SIZE_HW, 3), 255, np.uint8)
    out = corrupt(frame, "horizon_tilt", 5, seed=0)
    assert sorted({tuple(out[y, x]) for y in (0, -1) for x in (0, -1)}) == [(114, 114, 114)]
