"""Native NMS and decoding against NumPy, bit for bit, with ties and with numbers that are none."""

from __future__ import annotations

import decode_reference
import numpy as np
import pytest

from wutdet import _kernels
from wutdet.runtime.decode import MAX_CANDIDATES

ODD = np.float32([np.nan, np.inf, -np.inf, 0, 1e38, -3e38])


def boxes_of(rng, count: int, area: float, size: float) -> np.ndarray:
    low = rng.uniform(0, area, (count, 2))
    return np.concatenate([low, low + rng.exponential(size, (count, 2))], axis=1).astype(np.float32)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize(
    "kind", ["plain", "whole numbers", "odd numbers", "inverted", "crowd", "wide and narrow", "tiny", "far"]
)
@pytest.mark.parametrize("count", [0, 1, 17, 120, 800])  # more than 256 may take the squares
def test_nms_equals_numpy(rng, kind, count):
    xyxy = boxes_of(rng, count, 60 if kind == "crowd" else 1500, 25)
    if kind == "whole numbers":
        xyxy = np.round(xyxy / 12) * 12  # many equal boxes, and overlaps of exactly the threshold
    elif kind == "odd numbers":
        xyxy[rng.integers(0, count, count // 9)] = rng.choice(ODD, (count // 9, 4))
    elif kind == "inverted":
        xyxy[::7] = xyxy[::7][:, [2, 3, 0, 1]]
    elif kind == "wide and narrow":
        xyxy[::5, 2:] += 700
    elif kind == "tiny":
        xyxy *= np.float32(1e-20)  # areas are no normal floats
    elif kind == "far":
        xyxy += np.float32(2**24)  # neighbouring floats are 2 apart
    for categories in (1, 3):
        category = rng.integers(0, categories, count).astype(np.int32)
        for iou in (0.0, 0.25, 0.3, 0.5, 0.7, 1.0, -0.1, float("nan")):
            for most in (0, 40, 5000):
                ours = _kernels.nms(xyxy, category, iou, most)
                np.testing.assert_array_equal(ours, decode_reference.nms(xyxy, category, iou, most))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("categories", [1, 2, 5])
@pytest.mark.parametrize("anchors", [0, 1, 63, 64, 65, 2100])
@pytest.mark.parametrize("kind", ["plain", "ties", "odd numbers"])
def test_decoding_equals_numpy(rng, categories, anchors, kind):
    parts = rng.uniform(0, 600, (2, anchors)), rng.uniform(-3, 60, (2, anchors)), rng.random((categories, anchors)) ** 3
    output = np.concatenate(parts).astype(np.float32)
    if kind == "ties":
        output = np.round(output * 20) / np.float32(20)
    elif kind == "odd numbers" and anchors:
        at = rng.integers(0, 4 + categories, anchors // 9), rng.integers(0, anchors, anchors // 9)
        output[at] = rng.choice(ODD, anchors // 9)
    for only in (None, categories - 1):
        for conf, candidates, most in ((0.0, MAX_CANDIDATES, 300), (0.25, 50, 300), (0.25, MAX_CANDIDATES, 5)):
            ours = _kernels.decode_anchors(output, only, conf, 0.6, candidates, most)
            theirs = decode_reference.decode_anchors(output, only, conf, 0.6, candidates, most)
            for one, other in zip(ours, theirs, strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)


def test_a_score_at_the_threshold_is_left_out():
    output = np.float32([[5, 50, 90], [5, 50, 90], [4, 4, 4], [4, 4, 4], [0.5, 0.50000006, 0.4]])
    assert _kernels.decode_anchors(output, None, 0.5, 0.7, 10, 10)[1].tolist() == [np.float32(0.50000006)]


def test_categories_that_are_not_there_are_refused():
    for rows, only in ((4, None), (5, 1), (6, 2)):
        with pytest.raises(ValueError, match="one per category"):
            _kernels.decode_anchors(np.zeros((rows, 9), np.float32), only, 0.1, 0.7, 10, 10)
