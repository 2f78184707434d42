"""Native box IoU and NMS against NumPy and torchvision."""

from __future__ import annotations

import numpy as np
import pytest

from wutdet import _kernels, boxes


def random_boxes(rng, count: int, dtype, *, whole: bool = False) -> np.ndarray:
    corner, size = rng.uniform(0, 100, (count, 2)), rng.uniform(0, 40, (count, 2))
    xyxy = np.concatenate([corner, corner + size], axis=1)
    return np.ascontiguousarray(np.round(xyxy) if whole else xyxy, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (1, 0), (1, 1), (7, 13), (64, 31)])
def test_iou_equals_numpy_bit_for_bit(rng, dtype, rows, columns):
    a, b = random_boxes(rng, rows, dtype, whole=True), random_boxes(rng, columns, dtype)
    if rows and columns:
        b[0] = a[0]
        a[-1, 2:] = a[-1, :2]  # no area
        b[-1] = b[-1, [2, 3, 0, 1]]  # inverted
    native = _kernels.box_iou(a, b)
    assert native.dtype == dtype and native.shape == (rows, columns)
    np.testing.assert_array_equal(native, boxes.box_iou(a, b))


def test_iou_by_hand():
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], dtype=float)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 0, 0]], dtype=float)
    np.testing.assert_allclose(_kernels.box_iou(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_iou_refuses_other_shapes():
    for wrong in (np.zeros((3, 5)), np.zeros(4), np.zeros((2, 2, 4))):
        with pytest.raises(TypeError):
            _kernels.box_iou(wrong, wrong)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("count", [0, 1, 2, 40, 300])
def test_nms_equals_torchvision(rng, threshold, count):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    xyxy = random_boxes(rng, count, np.float32)
    score = np.sort(rng.uniform(0, 1, count).astype(np.float32))[::-1].copy()
    category = rng.integers(0, 3, count).astype(np.int32)
    for categories in (np.zeros_like(category), category):
        ours = _kernels.nms(xyxy, categories, threshold, count + 1)
        kept = [
            np.flatnonzero(categories == c)[
                torchvision.ops.nms(
                    torch.from_numpy(xyxy[categories == c]), torch.from_numpy(score[categories == c]), threshold
                ).numpy()
            ]
            for c in range(3)
        ]
        assert ours.tolist() == sorted(np.concatenate(kept).tolist())


def test_nms_stops_at_its_limit(rng):
    xyxy = random_boxes(rng, 50, np.float32)
    category = np.arange(50, dtype=np.int32)  # nothing suppresses anything
    assert _kernels.nms(xyxy, category, 0.5, 7).tolist() == list(range(7))
    assert _kernels.nms(xyxy, category, 0.5, 0).tolist() == []


def test_nms_refuses_columns_of_different_length():
    with pytest.raises(ValueError, match="same length"):
        _kernels.nms(np.zeros((2, 4), np.float32), np.zeros(3, np.int32), 0.5, 10)
