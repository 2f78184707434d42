"""Single frames: exact boxes, same pictures for the same spec, coherent sequences, variety."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from wutdet.scenes.direct import SequenceSpec
from wutdet.scenes.film import render_frame
from wutdet.scenes.plan import plan

SMALL = (640, 360)


def small_plan(count: int, seed: int = 3) -> list[SequenceSpec]:
    return [replace(spec, size_wh=SMALL) for spec in plan(count, seed)]


@pytest.fixture(scope="module")
def gallery():
    """One frame of each of 28 small sequences: every scene with every condition."""
    return [(spec, render_frame(spec, 2)) for spec in small_plan(28)]


def test_boxes_are_the_extents_of_the_visible_pixels(gallery):
    found = 0
    for spec, frame in gallery:
        assert frame.image.shape == (360, 640, 3) and frame.image.dtype == np.uint8
        for box in frame.boxes:
            rows, columns = np.nonzero(frame.owner == box.ship)
            expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert box.xyxy == expected, (spec.name, box)
            assert box.pixels == len(rows)
            found += 1
    assert found > 100


def test_no_clear_ship_is_without_a_box(gallery):
    for spec, frame in gallery:
        counts = np.bincount(frame.owner.ravel())
        boxed = {box.ship for box in frame.boxes}
        if "fog" in spec.conditions or "low_light" in spec.conditions or "rain" in spec.conditions:
            continue  # those may hide even large ships
        missing = [n for n in np.flatnonzero(counts[1:] > 150) + 1 if n not in boxed]
        assert not missing, spec.name


def test_every_scene_and_condition_occurs_with_ships(gallery):
    scenes = {(spec.scene, c) for spec, frame in gallery if frame.boxes for c in spec.conditions or ("clear",)}
    assert {s for s, _ in scenes} == {"port", "anchorage", "navigation", "berthing"}
    assert {c for _, c in scenes} == {"clear", "fog", "glare", "low_light", "rain"}


def test_sizes_and_kinds_span_the_range(gallery):
    boxes = [box for _, frame in gallery for box in frame.boxes if not box.ignore]
    # 1920 pixels are shown on 640 here.
    long_side = np.array([3 * max(b.xyxy[2] - b.xyxy[0], b.xyxy[3] - b.xyxy[1]) for b in boxes])
    assert long_side.min() <= 24 and long_side.max() >= 500
    assert np.median(long_side) < 220
    assert len({b.kind for b in boxes}) >= 12


def test_pictures_follow_their_conditions(gallery):
    def mean(values):
        return float(np.mean(list(values)))

    brightness = {
        name: mean(f.image.mean() for s, f in gallery if s.conditions == name) for name in ((), ("low_light",))
    }
    assert brightness["low_light",] < 0.7 * brightness[()]
    saturated = {
        n: mean((f.image.min(axis=2) > 245).mean() for s, f in gallery if n in s.conditions) for n in ("glare", "fog")
    }
    assert saturated["glare"] > saturated["fog"]
    contrast = {name: mean(f.image.std() for s, f in gallery if s.conditions == name) for name in ((), ("fog",))}
    assert contrast["fog",] < 0.75 * contrast[()]


def test_same_spec_same_picture_in_any_order():
    first, second = small_plan(2, seed=8)
    before = render_frame(first, 1)
    render_frame(second, 0)
    render_frame(first, 3)
    after = render_frame(first, 1)
    assert np.array_equal(before.image, after.image)
    assert before.boxes == after.boxes


def test_pictures_do_not_depend_on_opencv_threads():
    spec = small_plan(5, seed=2)[4]
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = render_frame(spec, 0)
        cv2.setNumThreads(2)
        two = render_frame(spec, 0)
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(one.image, two.image)


def test_pinned_digest_of_boxes_and_pixels():
    """A change here means that a seed now gives other data: raise RENDERER_VERSION and pin again."""
    frames = [render_frame(spec, 1) for spec in small_plan(7, seed=1)]
    text = repr([[(b.xyxy, b.ship, b.kind, b.ignore) for b in f.boxes] for f in frames])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == PINNED_BOXES
    # Other builds of OpenCV may round a pixel the other way: means of thirds of the picture, with tolerance.
    means = [[round(float(f.image[i * 120 : i * 120 + 120].mean()), 1) for i in range(3)] for f in frames]
    np.testing.assert_allclose(means, PINNED_MEANS, atol=1.0)


PINNED_BOXES = "ef62d8070350e78c"
PINNED_MEANS = [
    [152.3, 134.3, 114.3],
    [152.1, 134.6, 111.9],
    [184.0, 129.6, 99.3],
    [190.1, 46.0, 83.4],
    [87.8, 56.7, 43.7],
    [171.4, 165.9, 97.8],
    [50.0, 41.6, 23.3],
]


def test_ships_move_continuously():
    tracked = 0
    for spec in small_plan(8, seed=6):
        spec = replace(spec, stride_s=0.2)
        frames = [{b.ship: b for b in render_frame(spec, i).boxes if b.visible > 0.9} for i in range(4)]
        for before, after in pairwise(frames):
            for number in before.keys() & after.keys():
                a, b = np.array(before[number].xyxy, float), np.array(after[number].xyxy, float)
                long = max(a[2] - a[0], a[3] - a[1])
                moved = np.abs((a + b[[0, 1, 2, 3]]) / 2 - a).max() * 2
                assert moved < 14 + 0.3 * long, (spec.name, number, a, b)
                assert before[number].kind == after[number].kind
                tracked += 1
    assert tracked > 60


def test_a_moving_camera_moves_the_picture():
    spec = next(s for s in small_plan(8, seed=6) if s.scene == "navigation")
    a, b = render_frame(spec, 0), render_frame(spec, 5)
    assert np.abs(a.image.astype(int) - b.image).mean() > 2


def test_frames_of_1440p():
    frame = render_frame(plan(1, 0, "1440p")[0], 0)
    assert frame.image.shape == (1440, 2560, 3)
