"""Merging the boxes of passes, against its definition in words and in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tile_merge_reference as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.runtime.merge import AGREEING_SHARE, BORDER_PX, DOUBT, WITNESS_PX, doubted, merge_passes, parts_of_others
from wutdet.runtime.tile_policy import tile_windows


def test_categories_do_not_touch_each_other():
    xyxy = np.array([[10, 60, 150, 90], [10, 61, 150, 91]], np.float32)
    window = np.array([[0, 0, 300, 200], [0, 0, 200, 200]])
    score, category = np.array([0.9, 0.8], np.float32), np.array([0, 1], np.int32)
    keep, moved, _ = merge_passes(xyxy, score, category, window, (300, 200))
    assert (keep.tolist(), moved.tolist()) == ([0, 1], xyxy.tolist())
    keep, moved, _ = merge_passes(xyxy, score, np.zeros_like(category), window, (300, 200))
    assert keep.tolist() == [0]
    assert (moved[0, [0, 2]] == [10, 150]).all() and 60 < moved[0, 1] < 60.5


def overlap_of(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def iou_of(a, b) -> float:
    return overlap_of(a, b) / (overlap_of(a, a) + overlap_of(b, b) - overlap_of(a, b))


def is_cut(box, window, frame_wh) -> bool:
    x1, y1, x2, y2 = box
    left, top, right, bottom = window
    return (
        (left > 0 and x1 - left <= 3)
        or (top > 0 and y1 - top <= 3)
        or (right < frame_wh[0] and right - x2 <= 3)
        or (bottom < frame_wh[1] and bottom - y2 <= 3)
    )


def parts_by_definition(boxes, category, windows, frame_wh) -> list[bool]:
    cut = [is_cut(box, window, frame_wh) for box, window in zip(boxes, windows, strict=True)]

    def covers(j, i):
        if windows[i] == windows[j] or category[i] != category[j]:
            return False
        if cut[j] and overlap_of(boxes[j], boxes[j]) <= overlap_of(boxes[i], boxes[i]):
            return False
        shown = [max(a, b) for a, b in zip(boxes[j][:2], windows[i][:2], strict=True)]
        shown += [min(a, b) for a, b in zip(boxes[j][2:], windows[i][2:], strict=True)]
        return shown[0] < shown[2] and shown[1] < shown[3] and iou_of(shown, boxes[i]) >= 0.5

    return [cut[i] and any(covers(j, i) for j in range(len(boxes))) for i in range(len(boxes))]


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


def means_by_definition(boxes, scores, category, windows, parts, keep) -> np.ndarray:
    weight = [float(np.float32(score)) ** 2 for score in scores]
    agreeing = {k: {} for k in keep}  # window to box
    for j in sorted(range(len(boxes)), key=lambda j: (-scores[j], category[j], boxes[j], windows[j])):
        if j in keep or parts[j]:
            continue
        ious = {k: iou_of(boxes[j], boxes[k]) for k in keep if category[j] == category[k] and windows[j] != windows[k]}
        nearest = max(ious, key=ious.get, default=None)  # of equal ones the first, which is the better one
        if nearest is not None and ious[nearest] > 0.5:
            agreeing[nearest].setdefault(tuple(windows[j]), j)
    means = []
    for k in keep:
        members = [k, *agreeing[k].values()]
        total = sum(weight[i] for i in members)
        if len(members) == 1 or total == 0:
            means.append(boxes[k])
        else:
            means.append([sum(weight[i] * boxes[i][side] for i in members) / total for side in range(4)])
    return np.array(means, np.float32).reshape(-1, 4)


@st.composite
def sightings(draw):
    """A few ships, some of them side by side, each seen by several passes and by none of them exactly."""
    frame_wh = (100, 70)
    windows = [*tile_windows(frame_wh, 50, 0.5).tolist(), [0, 0, *frame_wh]]
    places = st.sampled_from([(5, 8), (11, 8), (17, 10), (40, 30), (44, 33), (70, 45)])
    boxes, own = [], []
    for x, y in draw(st.lists(places, unique=True, min_size=1)):
        for window in draw(st.lists(st.sampled_from(windows), max_size=6)):
            box = [corner + draw(st.integers(-3, 3)) for corner in (x, y, x + 16, y + 12)]
            box = [*map(max, box[:2], window[:2]), *map(min, box[2:], window[2:])]
            if min(box[2] - box[0], box[3] - box[1]) > 2:
                boxes.append(box)
                own.append(window)
    count = len(boxes)
    scores = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9]), min_size=count, max_size=count))
    categories = draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=count, max_size=count))
    return boxes, scores, categories, own, frame_wh


@given(st.one_of(passes(), sightings()))
@settings(max_examples=300, deadline=None)
def test_corners_are_the_means_of_the_definition(scene):
    boxes, scores, categories, windows, frame_wh = scene
    table = columns(boxes, scores, categories, windows)
    keep, moved, _ = merge_passes(*table, frame_wh)
    parts = parts_by_definition(boxes, categories, windows, frame_wh)
    np.testing.assert_array_equal(moved, means_by_definition(boxes, scores, categories, windows, parts, keep.tolist()))
    np.testing.assert_array_equal(moved, reference.merge_passes(*table, frame_wh)[1])
    for k, box in zip(keep.tolist(), moved.tolist(), strict=True):  # within the hull of what overlaps enough
        near = [boxes[j] for j in range(len(boxes)) if j == k or (not parts[j] and iou_of(boxes[j], boxes[k]) > 0.5)]
        assert all(min(corners) <= at <= max(corners) for at, *corners in zip(box, *near, strict=True))


@given(
    st.lists(st.floats(0, 90, width=32), min_size=4, max_size=4),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_what_one_pass_sees_or_all_see_alike_stays_bit_for_bit(corners, scores):
    corners = np.array(corners, np.float32)
    box = np.concatenate([np.minimum(corners[:2], corners[2:]), np.maximum(corners[:2], corners[2:])])
    windows = [[0, 0, 200 + i, 200] for i in range(len(scores))]
    table = columns([box] * len(scores), scores, [0] * len(scores), windows)
    keep, moved, _ = merge_passes(*table, (210, 200))
    np.testing.assert_array_equal(moved, np.repeat(box[None], len(keep), axis=0))


def test_two_ships_side_by_side_are_not_drawn_together():
    """Each sighting overlaps both ships by more than half; it counts for the one it overlaps more."""
    first, second, frame, tile = [10, 10, 50, 30], [18, 10, 58, 30], [0, 0, 300, 200], [0, 0, 200, 200]
    boxes = [first, second, [11, 10, 51, 30], [19, 10, 59, 30]]
    assert all(iou_of(a, b) > 0.5 for a in boxes[2:] for b in boxes[:2])
    keep, moved, _ = merge_passes(
        *columns(boxes, [0.9, 0.8, 0.7, 0.6], [0] * 4, [frame, frame, tile, tile]), (300, 200)
    )
    assert keep.tolist() == [0, 1]
    by = [0.49 / (0.49 + 0.81), 0.36 / (0.36 + 0.64)]
    np.testing.assert_allclose(moved, [[10 + by[0], 10, 50 + by[0], 30], [18 + by[1], 10, 58 + by[1], 30]], rtol=1e-6)


def test_the_best_box_of_each_other_pass_counts():
    boxes = [[100 + i, 50, 140 + i, 80] for i in (0, 3, 1, 2)]
    windows = [[0, 0, 300, 200], [0, 0, 200, 200], [0, 0, 200, 200], [50, 0, 300, 200]]
    keep, moved, _ = merge_passes(*columns(boxes, [0.8, 0.6, 0.5, 0.2], [0] * 4, windows), (300, 200))
    left = (0.64 * 100 + 0.36 * 103 + 0.04 * 102) / (0.64 + 0.36 + 0.04)
    assert keep.tolist() == [0]
    np.testing.assert_allclose(moved, [[left, 50, left + 40, 80]], rtol=1e-6)


def test_parts_and_what_is_not_a_number_move_nothing():
    ship, frame, tile = [150, 50, 210, 80], [0, 0, 300, 200], [0, 0, 200, 200]
    part = [150, 50, 199, 82]
    assert iou_of(ship, part) > 0.5 and is_cut(part, tile, (300, 200))
    keep, moved, _ = merge_passes(*columns([part, ship], [0.9, 0.5], [0, 0], [tile, frame]), (300, 200))
    assert (keep.tolist(), moved.tolist()) == ([1], [ship])
    unsure = [151, 51, 211, 81], [152, np.nan, 212, 82]
    windows = [frame, [50, 0, 300, 200], [60, 0, 300, 200]]
    keep, moved, _ = merge_passes(*columns([ship, *unsure], [0.9, np.nan, 0.8], [0] * 3, windows), (300, 200))
    assert keep.tolist() == [0, 2]
    np.testing.assert_array_equal(moved, columns([ship, unsure[1]], [], [], [])[0])
    keep, moved, _ = merge_passes(*columns([ship, unsure[0]], [np.inf, 0.9], [0, 0], windows[:2]), (300, 200))
    assert (keep.tolist(), moved.tolist()) == ([0], [ship])


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
    looked_at = np.unique(columns[3], axis=0)[::-2]  # not all of them: the others are not told apart
    keep, moved, agreed = merge_passes(*columns, frame_wh, passes=looked_at, **options)
    wanted_keep, wanted_moved, wanted_agreed = reference.merge_passes(*columns, frame_wh, passes=looked_at, **options)
    np.testing.assert_array_equal(keep, wanted_keep)
    assert agreed.shape == (len(keep), len(looked_at)) and agreed.dtype == np.float32
    np.testing.assert_array_equal(agreed, wanted_agreed)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved, wanted_moved)  # bit for bit
    xyxy, _, category, window = columns
    if not options:
        assert (moved != xyxy[keep]).any() and (agreed.any() or count == 300)
    found = parts_of_others(xyxy, category, window, frame_wh, border=options.get("border", BORDER_PX))
    wanted = reference.parts_of_others(xyxy, category, window, frame_wh, border=options.get("border", BORDER_PX))
    np.testing.assert_array_equal(found, wanted)


def test_what_is_not_a_number_is_taken_last_and_breaks_nothing():
    xyxy = np.array([[0, 0, 9, 9], [np.nan, 0, 9, 9], [0, 0, np.inf, 9], [20, 20, 30, 30]], np.float32)
    score, category = np.array([np.nan, 0.5, 0.6, 0.4], np.float32), np.zeros(4, np.int32)
    window = np.array([[0, 0, 40, 40], [0, 0, 40, 40], [0, 0, 100, 70], [0, 0, 40, 40]], np.int32)
    keep, moved, _ = merge_passes(xyxy, score, category, window, (100, 70))
    assert keep.tolist() == [2, 1, 3, 0]
    np.testing.assert_array_equal(moved, xyxy[keep])


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
        keep, moved, _ = merge_passes(xyxy, score, category, window, frame_wh)
        kept = [(*xyxy[k].tolist(), float(score[k]), int(category[k]), tuple(window[k].tolist())) for k in keep]
        return kept, moved.tolist()

    merged, moved = outcome(np.arange(len(boxes)))
    assert outcome(order) == (merged, moved)
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
    _, moved, _ = merge_passes(xyxy, score, np.zeros(len(rows), np.int32), window.astype(np.int32), (1000, 600))
    assert sorted(map(tuple, moved.tolist())) == sorted(ships)


# --- agreement ---------------------------------------------------------------------------------------------------

FRAME, LEFT, RIGHT = [0, 0, 400, 200], [0, 50, 220, 150], [180, 50, 400, 150]


def scores_of(boxes, window, agreed, score=0.8, scale=(0.5, 1.0, 1.0)):
    count = len(boxes)
    return doubted(
        np.array(boxes, np.float32),
        np.full(count, score, np.float32),
        np.array([window] * count, np.int32),
        np.array(agreed, np.float32),
        np.array([FRAME, LEFT, RIGHT], np.int32),
        np.array(scale),
        (400, 200),
    )


def test_a_box_that_another_pass_should_show_and_does_not_loses_score():
    half, all_of_it = np.float32(0.8 * (1 - DOUBT)), np.float32(0.8)
    ship = [60, 80, 100, 110]
    assert scores_of([ship], LEFT, [[0, 0, 0]]) == half  # the whole frame is silent, the right tile is not asked
    assert scores_of([ship], LEFT, [[0.5, 0, 0]]) == all_of_it
    assert scores_of([ship], FRAME, [[0, 0.5, 0]]) == all_of_it
    assert scores_of([ship], FRAME, [[0, 0, 0.9]]) == half  # of a pass that is not asked
    # Both tiles show it: one of two is silent.
    assert scores_of([[190, 80, 215, 110]], FRAME, [[0, 0.5, 0]]) == np.float32(0.8 * (1 - DOUBT / 2))


def test_passes_are_asked_only_for_what_they_show_whole_and_large_enough():
    tiny, side = np.float32(0.8), WITNESS_PX / 0.5
    assert scores_of([[60, 80, 60 + side - 1, 80 + side - 1]], LEFT, [[0, 0, 0]]) == tiny
    assert scores_of([[60, 80, 60 + side, 80 + side]], LEFT, [[0, 0, 0]]) < tiny
    cut = [[60, 40, 100, 110], [60, 52, 100, 110], [150, 80, 219, 110]]  # above, at and beside the border of the tile
    assert (scores_of(cut, FRAME, np.zeros((3, 3))) == tiny).all()
    assert scores_of([[1, 80, 40, 110]], FRAME, [[0, 0, 0]]) < tiny  # its left border is the frame's


def test_a_whisper_is_no_agreement():
    ship = [60, 80, 100, 110]
    assert scores_of([ship], LEFT, [[0.8 * AGREEING_SHARE * 0.99, 0, 0]]) < np.float32(0.8)
    assert scores_of([ship], LEFT, [[0.8 * AGREEING_SHARE * 1.01, 0, 0]]) == np.float32(0.8)
