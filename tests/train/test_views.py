"""Geometry of training pictures: small ships are never cut, boxes follow the pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.config import AugmentConfig, TrainConfig
from wutdet.dataset.load import load_dataset
from wutdet.train.frames import FrameReader, TrainingPictures, collate, draw_view, paint_over
from wutdet.train.settings import picture_settings
from wutdet.train.views import SMALL_SIDE, SMALL_VISIBLE, View, choose_view, keep_and_cover, visible_share

NO_EFFECTS = AugmentConfig(probability=0.0, hue=0.0, saturation=0.0, value=0.0)
STILL = replace(NO_EFFECTS, crop=False, scale=0.0, flip=0.0)


def settings_of(imgsz: int, frame_size: int | None = None, augment: AugmentConfig = NO_EFFECTS, **changes):
    """PictureSettings as the defaults have them, but for what is given."""
    config = TrainConfig(data="", imgsz=imgsz, frame_size=frame_size, augment=augment, **changes)
    return picture_settings(config)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.37, 1.0, 2.6])
def test_boxes_follow_the_pixels(scale, flip):
    frame = np.zeros((200, 300, 3), np.uint8)
    xyxy = np.array([[100.0, 50.0, 180.0, 110.0]])
    frame[50:110, 100:180] = 255
    view = View(scale, (20.0 * scale, 10.0 * scale), (round(260 * scale), round(180 * scale)), flip)
    picture = draw_view(frame, (1.0, 1.0), view)
    rows, columns = np.nonzero(picture[:, :, 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(view.to_picture(xyxy)[0], found, atol=0.75)


def test_a_view_at_scale_one_equals_the_crop():
    frame = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    picture = draw_view(frame, (1.0, 1.0), View(1.0, (7.0, 5.0), (40, 30)))
    np.testing.assert_array_equal(picture, frame[5:35, 7:47])


def test_padding_is_the_grey_of_the_evaluation():
    picture = draw_view(np.zeros((10, 10, 3), np.uint8), (1.0, 1.0), View(1.0, (-5.0, -5.0), (20, 20)))
    assert (picture[:4] == 114).all() and (picture[:, 16:] == 114).all() and (picture[6:14, 6:14] == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.2, 3.0), st.booleans())
def test_no_box_of_a_small_ship_is_cut(seed, scale, flip):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 900, (30, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(3, 60, (30, 2))], axis=1)
    view = choose_view(rng, (1000, 1000), xyxy, scale, (320, 256), focus=0.7, flip=flip)
    boxes = view.to_picture(xyxy)
    keep, cover = keep_and_cover(boxes, view.size_wh)
    share = visible_share(boxes, view.size_wh)
    small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) < SMALL_SIDE
    assert (share[keep & small] >= SMALL_VISIBLE).all()
    # Every ship that can be seen at all has its box or is painted over; none is left to be taken for water.
    np.testing.assert_array_equal(keep | cover, share > 0)
    assert not (keep & cover).any()


def test_the_window_moves_away_from_small_ships_it_would_cut():
    # A column of small ships in the middle: most windows at random would cut some of them.
    y = np.arange(0, 600, 30.0)
    xyxy = np.stack([np.full_like(y, 290), y, np.full_like(y, 330), y + 20], axis=1)
    cuts = {}
    for name, boxes in (("blind", np.zeros((0, 4))), ("careful", xyxy)):
        cuts[name] = 0
        for seed in range(200):
            view = choose_view(np.random.default_rng(seed), (600, 600), boxes, 1.0, (200, 200), focus=0.0)
            share = visible_share(view.to_picture(xyxy), view.size_wh)
            cuts[name] += int(((share > 0) & (share < SMALL_VISIBLE)).sum())
    assert cuts["careful"] < 0.4 * cuts["blind"]


def test_a_focused_window_holds_a_ship():
    xyxy = np.array([[700.0, 400.0, 720.0, 410.0]])
    for seed in range(50):
        view = choose_view(np.random.default_rng(seed), (1920, 1080), xyxy, 1.0, (320, 320), focus=1.0)
        assert keep_and_cover(view.to_picture(xyxy), view.size_wh)[0].all()


def test_painting_over_spares_the_boxes_that_stay():
    picture = np.zeros((40, 40, 3), np.uint8)
    out = paint_over(picture, np.array([[0.0, 0, 20, 20]]), np.array([[10.0, 10, 30, 30]]))
    assert (out[:10, :20] == 114).all() and (out[10:20, 10:20] == 0).all() and not picture.any()


def test_regions_to_ignore_are_painted_and_have_no_box(sea):
    dataset = load_dataset(sea, classes="ship")
    row = int(np.argmax(dataset.boxes_per_image()))
    ignore = dataset.ignore.copy()
    ignore[dataset.box_rows(row)] = True
    pictures = TrainingPictures(
        replace(dataset, ignore=ignore),
        settings_of(128, augment=STILL, mosaic=0.0),
    )
    red = 0
    for epoch in range(4):
        item = pictures[(epoch, row)]
        assert len(item["bboxes"]) == 0
        red += int((item["img"][0].int() - item["img"][2].int() > 100).sum())
    assert red == 0


def test_reduced_jpeg_decoding_shows_the_same_scene(tmp_path):
    y, x = np.mgrid[0:360, 0:640]
    frame = np.stack([x * 255 // 640, y * 255 // 360, 128 + 0 * x], axis=-1).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])

    class One:
        size_wh = np.array([[640, 360]])

        def image_file(self, row):
            return tmp_path / "a.jpg"

        def read_image(self, row):
            return cv2.imread(str(tmp_path / "a.jpg"))

    reader = FrameReader(One())
    full, one = reader.read(0, 0.9)
    assert one == (1.0, 1.0) and full.shape == (360, 640, 3)
    for scale, size in ((0.5, (320, 180)), (0.3, (320, 180)), (0.25, (160, 90))):
        image, shrink = reader.read(0, scale)
        assert (image.shape[1], image.shape[0]) == size
        view = View(scale, (-3.0, 4.0), (round(600 * scale), round(300 * scale)))
        error = cv2.absdiff(draw_view(image, shrink, view), draw_view(full, one, view))
        assert error[:, 4:].mean() < 1.5


def test_pictures_depend_on_seed_epoch_and_row_only(sea):
    dataset = load_dataset(sea, classes="ship")
    config = settings_of(96, augment=AugmentConfig(probability=0.5), seed=3)
    one, other = TrainingPictures(dataset, config), TrainingPictures(dataset, config)
    for _ in range(2):
        other[(0, 5)]  # what was asked before plays no part
    for address in ((0, 1), (4, 1), (4, 2)):
        a, b = one[address], other[address]
        assert (a["img"] == b["img"]).all() and (a["bboxes"] == b["bboxes"]).all()
    assert (one[(0, 1)]["img"] != one[(1, 1)]["img"]).any()


@pytest.mark.parametrize("frame_size", [None, 160])
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_items_are_valid_training_input(sea, frame_size, mosaic):
    dataset = load_dataset(sea, classes="ship")
    pictures = TrainingPictures(dataset, settings_of(96, frame_size, AugmentConfig(), mosaic=mosaic))
    items = [pictures[(epoch, row)] for epoch in range(4) for row in range(len(dataset))]
    assert sum(len(item["bboxes"]) for item in items) > len(dataset)
    for item in items:
        assert item["img"].shape == (3, 96, 96) and item["img"].dtype.itemsize == 1
        boxes = item["bboxes"].numpy()
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
        assert (corners > -1e-6).all() and (corners < 1 + 1e-6).all() and (boxes[:, 2:] * 96 >= 1.0).all()
    batch = collate(items[:5])
    assert batch["img"].shape[0] == 5 and len(batch["cls"]) == len(batch["bboxes"]) == len(batch["batch_idx"])
    np.testing.assert_array_equal(
        np.bincount(batch["batch_idx"].int().numpy(), minlength=5), [len(item["cls"]) for item in items[:5]]
    )


@pytest.mark.parametrize(("frame_size", "zoom", "most"), [(160, None, 1.0), (160, 2.0, 2.0), (None, None, 1.5)])
def test_crops_zoom_in_as_far_as_asked_for(sea, frame_size, zoom, most):
    dataset = load_dataset(sea, classes="ship")
    scales = []

    class Watched(TrainingPictures):
        def _fit_largest(self, rng, xyxy, scale, size_wh):
            scales.append(scale * max(dataset.size_wh[0]) / self.settings.long_side)
            return super()._fit_largest(rng, xyxy, scale, size_wh)

    augment = AugmentConfig(scale=0.2, zoom=zoom, crop_probability=1.0)
    pictures = Watched(dataset, settings_of(96, frame_size, augment, mosaic=1.0))
    for row in range(len(dataset)):
        pictures[(0, row)]
    assert 0.8 <= min(scales) < 0.9 and 1.1 * most < max(scales) <= 1.2 * most


@pytest.mark.parametrize("whole_frames", [0.0, 1.0])
def test_frames_are_enlarged_no_further_than_allowed(sea, whole_frames):
    dataset = load_dataset(sea, classes="ship")
    longest = (dataset.xyxy[:, 2:] - dataset.xyxy[:, :2]).max()
    plain = AugmentConfig(scale=0.0, crop=True)
    for max_scale in (0.5, 1.0):
        settings = settings_of(96, 4 * int(dataset.size_wh.max()), plain)
        pictures = TrainingPictures(dataset, replace(settings, max_scale=max_scale, whole_frames=whole_frames))
        sides = [pictures[(0, row)]["bboxes"].numpy()[:, 2:].max(initial=0) * 96 for row in range(len(dataset))]
        assert 0 < max(sides) <= longest * max_scale + 1e-3


def test_boxes_in_pictures_lie_on_the_hulls(sea):
    """The hulls are the only red things: the pixels under every box must be red, and (almost) no red outside."""
    dataset = load_dataset(sea, classes="ship")
    pictures = TrainingPictures(dataset, settings_of(128, 200))
    outside = inside = 0
    for row in range(len(dataset)):
        item = pictures[(1, row)]
        red = (item["img"][0].int() - item["img"][2].int() > 100).numpy()
        mask = np.zeros_like(red)
        for cx, cy, w, h in item["bboxes"].numpy() * 128:
            x1, y1, x2, y2 = (round(float(v)) for v in (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
            assert red[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].mean() > 0.6
            mask[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = True
        inside += int((red & mask).sum())
        outside += int((red & ~mask).sum())
    assert inside > 500 and outside < 0.02 * inside
