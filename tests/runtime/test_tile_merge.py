"""Merging the boxes of passes, against its definition in words and in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tile_merge_reference as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.runtime.merge import BORDER_PX, merge_passes, parts_of_others
from wutdet.runtime.tile_policy import tile_windows


def test_categories_do_not_touch_each_other():
    xyxy = np.array([[10, 60, 150, 90], [10, 61, 150, 91]], np.float32)
    window = np.array([[0, 0, 300, 200], [0, 0, 200, 200]])
    score, category = np.array([0.9, 0.8], np.float32), np.array([0, 1], np.int32)
    assert merge_passes(xyxy, score, category, window, (300, 200)).tolist() == [0, 1]
    assert merge_passes(xyxy, score, np.zeros_like(category), window, (300, 200)).tolist() == [0]


def overlap_of(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def iou_of(a, b) -> float:
    return overlap_of(a, b) / (overlap_of(a, a) + overlap_of(b, b) - overlap_of(a, b))


def parts_by_definition(boxes, category, windows, frame_wh) -> list[bool]:
    def is_cut(i):
        x1, y1, x2, y2 = boxes[i]
        left, top, right, bottom = windows[i]
        return (
            (left > 0 and x1 - left <= 3)
            or (top > 0 and y1 - top <= 3)
            or (right < frame_wh[0] and right - x2 <= 3)
            or (bottom < frame_wh[1] and bottom - y2 <= 3)
        )

    def covers(j, i):
        if windows[i] == windows[j] or category[i] != category[j]:
            return False
        if is_cut(j) and overlap_of(boxes[j], boxes[j]) <= overlap_of(boxes[i], boxes[i]):
            return False
        shown = [max(a, b) for a, b in zip(boxes[j][:2], windows[i][:2], strict=True)]
        shown += [min(a, b) for a, b in zip(boxes[j][2:], windows[i][2:], strict=True)]
        return shown[0] < shown[2] and shown[1] < shown[3] and iou_of(shown, boxes[i]) >= 0.5

    return [is_cut(i) and any(covers(j, i) for j in range(len(boxes))) for i in range(len(boxes))]


@st.composite
def passes(draw):
    """Boxes at whole pixels in windows of a 100x70 frame, many of them at borders and on top of each other."""
    frame_wh = (100, 70)
    windows = [*tile_windows(frame_wh, 40, 0.3).tolist(), [0, 0, *frame_wh]]
    boxes, own = [], []
    for _ in range(draw(st.integers(0, 25))):
        left, top, right, bottom = window = draw(st.sampled_from(windows))
        x1, y1 = draw(st.integers(left, right - 2)), draw(st.integers(top, bottom - 2))
        boxes.append([x1, y1, draw(st.integers(x1 + 1, right)), draw(st.integers(y1 + 1, bottom))])
        own.append(window)
    count = len(boxes)
    scores = draw(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=count, max_size=count))
    categories = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    return boxes, scores, categories, own, frame_wh


def columns(boxes, scores, categories, windows):
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(categories, np.int32),
        np.array(windows, np.int32).reshape(-1, 4),
    )


@given(passes())
@settings(max_examples=200, deadline=None)
def test_parts_are_those_of_the_definition(scene):
    boxes, scores, categories, windows, frame_wh = scene
    xyxy, _, category, window = columns(boxes, scores, categories, windows)
    wanted = parts_by_definition(boxes, categories, windows, frame_wh)
    assert parts_of_others(xyxy, category, window, frame_wh).tolist() == wanted
    assert reference.parts_of_others(xyxy, category, window, frame_wh).tolist() == wanted


def crowd(count: int, side: float, seed: int, distinct: int | None = None):
    """Boxes as detectors give them: ``distinct`` ships (all of them, by default) seen by several passes each."""
    rng = np.random.default_rng(seed)
    frame_wh = (1920, 1080)
    windows = np.concatenate([tile_windows(frame_wh, 640, 0.2), [[0, 0, *frame_wh]]]).astype(np.int32)
    ships = rng.random((distinct or count, 2)) * frame_wh
    ships = np.concatenate([ships, ships + rng.exponential(side, ships.shape) + 3], axis=1)
    xyxy = ships[rng.integers(0, len(ships), count)] + rng.normal(0, 1.5, (count, 4))
    window = windows[rng.integers(0, len(windows), count)]
    xyxy = np.clip(xyxy, np.tile(window[:, :2], 2), np.tile(window[:, 2:], 2)).astype(np.float32)
    proper = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    score = rng.random(count).astype(np.float32).round(2)  # with ties
    category = rng.integers(0, 2, count).astype(np.int32)
    return tuple(column[proper] for column in (xyxy, score, category, window)), frame_wh


@pytest.mark.parametrize("side", [10, 60, 400])
@pytest.mark.parametrize(("count", "distinct"), [(300, None), (6000, None), (6000, 300)])
@pytest.mark.parametrize("options", [{}, {"iou": 0.2, "border": 0.0, "max_det": 50}, {"iou": 0.9, "border": 30.0}])
def test_thousands_of_boxes_are_merged_as_in_numpy(side, count, distinct, options):
    columns, frame_wh = crowd(count, side, seed=count + side, distinct=distinct)
    keep = merge_passes(*columns, frame_wh, **options)
    np.testing.assert_array_equal(keep, reference.merge_passes(*columns, frame_wh, **options))
    xyxy, _, category, window = columns
    found = parts_of_others(xyxy, category, window, frame_wh, border=options.get("border", BORDER_PX))
    wanted = reference.parts_of_others(xyxy, category, window, frame_wh, border=options.get("border", BORDER_PX))
    np.testing.assert_array_equal(found, wanted)


def test_what_is_not_a_number_is_taken_last_and_breaks_nothing():
    xyxy = np.array([[0, 0, 9, 9], [np.nan, 0, 9, 9], [0, 0, np.inf, 9], [20, 20, 30, 30]], np.float32)
    score, category = np.array([np.nan, 0.5, 0.6, 0.4], np.float32), np.zeros(4, np.int32)
    window = np.array([[0, 0, 40, 40], [0, 0, 40, 40], [0, 0, 100, 70], [0, 0, 40, 40]], np.int32)
    assert merge_passes(xyxy, score, category, window, (100, 70)).tolist() == [2, 1, 3, 0]


def test_columns_of_different_lengths_are_refused():
    xyxy, score, category = np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="same length"):
        merge_passes(xyxy, score, category, np.zeros((1, 4), np.int32), (100, 70))
    with pytest.raises(ValueError, match="same length"):
        parts_of_others(xyxy, category[:1], np.zeros((2, 4), np.int32), (100, 70))


@given(passes(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order_of_boxes_and_passes_does_not_matter(scene, random):
    boxes, scores, categories, windows, frame_wh = scene
    table = columns(boxes, scores, categories, windows)
    order = np.array(random.sample(range(len(boxes)), len(boxes)), dtype=int)

    def outcome(rows):
        xyxy, score, category, window = (column[rows] for column in table)
        keep = merge_passes(xyxy, score, category, window, frame_wh)
        return [(*xyxy[k].tolist(), float(score[k]), int(category[k]), tuple(window[k].tolist())) for k in keep]

    merged = outcome(np.arange(len(boxes)))
    assert outcome(order) == merged
    assert [row[4] for row in merged] == sorted((row[4] for row in merged), reverse=True)
    for i, a in enumerate(merged):  # nothing better overlaps what is kept
        assert all(a[5] != b[5] or a[6] == b[6] or iou_of(a[:4], b[:4]) <= 0.5 + 1e-6
                   for b in merged[:i])  # fmt: skip


def test_ships_moored_side_by_side_stay_apart():
    """Rows of ships as in a marina, each overlapping its neighbours by up to 40 %, seen by several passes."""
    windows = [*tile_windows((1000, 600), 400, 0.2).tolist(), [0, 0, 1000, 600]]
    ships = [(x, y, x + 30, y + 40) for y in (100, 300, 450) for x in range(60, 900, 18)]
    rows = []
    for ship in ships:
        for window in windows:
            left, top, right, bottom = window
            seen = max(ship[0], left), max(ship[1], top), min(ship[2], right), min(ship[3], bottom)
            if seen[2] - seen[0] > 4 and seen[3] - seen[1] > 4:
                whole = seen == ship
                rows.append((seen, 0.6 if window == windows[-1] else 0.9 if whole else 0.95, window))
    xyxy, score, window = (np.array(column) for column in zip(*rows, strict=True))
    xyxy, score = xyxy.astype(np.float32), score.astype(np.float32)
    keep = merge_passes(xyxy, score, np.zeros(len(rows), np.int32), window.astype(np.int32), (1000, 600))
    assert sorted(map(tuple, xyxy[keep].astype(int).tolist())) == sorted(ships)
