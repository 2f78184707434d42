"""Decoding against ultralytics' own post-processing."""

from __future__ import annotations

import numpy as np
import pytest

from wutdet.errors import ModelError
from wutdet.runtime.decode import decode_output


def random_anchors(rng, categories, anchors=400):
    centre = rng.uniform(20, 300, (2, anchors))
    size = rng.uniform(4, 60, (2, anchors))
    scores = rng.uniform(0, 1, (categories, anchors)) ** 4
    return np.concatenate([centre, size, scores])[None].astype(np.float32)


@pytest.mark.parametrize("categories", [1, 2, 5])
@pytest.mark.parametrize("iou", [0.3, 0.7])
def test_equals_ultralytics_nms(rng, categories, iou):
    import torch
    from ultralytics.utils.nms import non_max_suppression

    output = random_anchors(rng, categories)
    theirs = non_max_suppression(torch.from_numpy(output.copy()), 0.1, iou, max_det=50)[0].numpy()
    xyxy, score, category = decode_output(output, conf=0.1, iou=iou, max_det=50)
    assert len(score) == len(theirs) > 5
    np.testing.assert_allclose(xyxy, theirs[:, :4], atol=1e-3)
    np.testing.assert_array_equal(score, theirs[:, 4])
    np.testing.assert_array_equal(category, theirs[:, 5])


def test_only_category_is_chosen_before_ranking(rng):
    output = random_anchors(rng, 3)
    xyxy, score, category = decode_output(output, conf=0.2, iou=0.99, max_det=1000, only_category=1)
    kept = np.sort(output[0, 5][output[0, 5] > 0.2])[::-1]
    np.testing.assert_array_equal(score, kept[: len(score)])
    assert len(score) > 0.9 * len(kept)
    assert set(category) == {0}
    assert xyxy.dtype == np.float32


def test_nms_free_rows(rng):
    rows = np.zeros((1, 7, 6), np.float32)
    rows[0, :, :2] = rng.uniform(0, 100, (7, 2))
    rows[0, :, 2:4] = rows[0, :, :2] + rng.uniform(1, 100, (7, 2))
    rows[0, :, 4] = [0.9, 0.1, 0.5, 0.6, 0.2, 0.25, 0.0]
    rows[0, :, 5] = [0, 1, 1, 0, 0, 1, 0]
    xyxy, score, category = decode_output(rows, conf=0.25, iou=0.7, max_det=2)
    np.testing.assert_array_equal(score, np.float32([0.9, 0.6]))
    np.testing.assert_array_equal(category, [0, 0])
    np.testing.assert_array_equal(xyxy, rows[0, [0, 3], :4])
    _, score, category = decode_output(rows, conf=0.25, iou=0.7, max_det=9, only_category=1)
    assert (score.tolist(), category.tolist()) == ([0.5], [0])


def test_two_categories_and_six_anchors_need_the_metadata():
    """(1, 6, 6) may be either; end2end decides."""
    output = np.full((1, 6, 6), 0.5, np.float32)
    output[0, :, 2:4] = 9
    assert len(decode_output(output, end2end=True, conf=0.4, iou=0.7, max_det=9)[1]) == 6


def test_inverted_boxes_are_left_out():
    rows = np.array([[[0, 0, 9, 9, 0.9, 0], [9, 0, 3, 9, 0.8, 0], [0, 5, 9, 5, 0.7, 0]]], np.float32)
    assert decode_output(rows, conf=0.1, iou=0.7, max_det=9)[1].tolist() == [np.float32(0.9)]


def test_nothing_found():
    xyxy, score, category = decode_output(np.zeros((1, 5, 100), np.float32), conf=0.1, iou=0.7, max_det=9)
    assert xyxy.shape == (0, 4)
    assert len(score) == len(category) == 0


@pytest.mark.parametrize("shape", [(1, 4, 100), (2, 5, 100), (100, 5), (1, 3, 20, 20)])
def test_other_outputs_are_refused(shape):
    with pytest.raises(ModelError, match="output has shape"):
        decode_output(np.zeros(shape, np.float32), conf=0.1, iou=0.7, max_det=9)
