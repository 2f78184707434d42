"""Difference hash, and the native searches against plain NumPy and Python."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wutdet.boxes import box_iou
from wutdet.dataset import hashing


def sea(seed: int, size_wh=(640, 360)) -> np.ndarray:
    """uint8 [H, W, 3]: smooth random structure, such as a real picture has."""
    coarse = np.random.default_rng(seed).integers(20, 235, (9, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC)


def test_bits_are_the_signs_of_horizontal_differences_row_by_row():
    grey = np.zeros((16, 17), dtype=np.uint8)
    grey[3, 5:] = 200  # one step up, between columns 4 and 5 of row 3
    bits = np.unpackbits(hashing.difference_hash(grey).astype("<u8").view(np.uint8))
    assert np.flatnonzero(bits).tolist() == [16 * 3 + 4]


def test_hash_equals_area_reduction_by_pillow():
    pixels = cv2.cvtColor(sea(1, (17 * 8, 16 * 8)), cv2.COLOR_BGR2GRAY)
    small = np.asarray(Image.fromarray(pixels).resize((17, 16), Image.Resampling.BOX), dtype=int)
    expected = (np.diff(small, axis=1) > 0).ravel()
    bits = np.unpackbits(hashing.difference_hash(pixels).astype("<u8").view(np.uint8)).astype(bool)
    sure = np.abs(np.diff(small, axis=1)).ravel() > 1  # the two round halves differently
    assert sure.sum() > 150
    assert (bits == expected)[sure].all()


def test_one_picture_in_other_sizes_and_codings_is_near_and_other_pictures_are_not():
    original = sea(2)
    copies = [
        cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 40])[1],
        cv2.imencode(".jpg", cv2.resize(original, (320, 180), interpolation=cv2.INTER_AREA))[1],
        cv2.imencode(".png", original)[1],
        cv2.imencode(".jpg", cv2.convertScaleAbs(original, alpha=0.8, beta=10))[1],
    ]
    reference = hashing.hash_of_file(cv2.imencode(".jpg", original)[1].tobytes())
    for copy in copies:
        assert hashing.hamming_distance(reference, hashing.hash_of_file(copy.tobytes())) <= 10
    other = hashing.hash_of_file(cv2.imencode(".jpg", sea(3))[1].tobytes())
    assert hashing.hamming_distance(reference, other) > 60


def test_what_is_not_a_picture_has_no_hash():
    assert hashing.hash_of_file(b"") is None
    assert hashing.hash_of_file(b"this is no picture") is None


def test_content_hash_tells_one_byte():
    assert hashing.content_hash(b"abc") == hashing.content_hash(b"abc")
    assert hashing.content_hash(b"abc") != hashing.content_hash(b"abd")
    assert len(hashing.content_hash(b"")) == 16


def test_hamming_distance_without_numpy_2(rng, monkeypatch):
    a, b = rng.integers(0, 2**63, (2, 50, 4), dtype=np.uint64)
    expected = [bin(int.from_bytes((x ^ y).tobytes(), "little")).count("1") for x, y in zip(a, b, strict=True)]
    assert hashing.hamming_distance(a, b).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert hashing.hamming_distance(a, b).tolist() == expected
    assert hashing.hamming_distance(a[:, None], b[None]).shape == (50, 50)


def clustered(rng, count: int) -> np.ndarray:
    """Hashes in clusters around a few centres, so that there are neighbours at all distances."""
    centres = rng.integers(0, 2**63, (max(count // 20, 2), 4), dtype=np.uint64)
    out = centres[rng.integers(0, len(centres), count)]
    for row in range(count):
        for bit in rng.integers(0, 256, rng.integers(0, 12)):
            out[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return out


@pytest.mark.parametrize(
    ("count_a", "count_b", "limit"), [(0, 5, 3), (5, 0, 3), (70, 130, 0), (70, 130, 10), (9, 7, 256)]
)
def test_neighbours_equal_the_full_matrix(rng, count_a, count_b, limit):
    hashes = clustered(rng, count_a + count_b)
    a, b = hashes[:count_a], hashes[count_a:]
    nearest, distance, found = hashing.hash_neighbours(a, b, limit=limit)
    matrix = hashing.hamming_distance(a[:, None], b[None]) if count_b else np.zeros((count_a, 0))
    assert found.tolist() == (matrix <= limit).sum(axis=1).tolist()
    for row in range(count_a):
        within = count_b > 0 and matrix[row].min() <= limit
        assert nearest[row] == (matrix[row].argmin() if within else -1)
        assert distance[row] == (matrix[row].min() if within else -1)


def test_neighbours_inside_one_set_skip_the_hash_itself_and_its_group(rng):
    hashes = np.repeat(clustered(rng, 30), 2, axis=0)
    _, distance, found = hashing.hash_neighbours(hashes, limit=4)
    assert (distance == 0).all()
    matrix = hashing.hamming_distance(hashes[:, None], hashes[None])
    assert found.tolist() == ((matrix <= 4).sum(axis=1) - 1).tolist()
    pairs = np.repeat(np.arange(30), 2)
    _, _, apart = hashing.hash_neighbours(hashes, limit=4, query_group=pairs)
    other = matrix + 999 * (pairs[:, None] == pairs[None])
    assert apart.tolist() == (other <= 4).sum(axis=1).tolist()


def test_neighbours_of_more_than_one_chunk_are_those_of_one(rng, monkeypatch):
    hashes = clustered(rng, 150)
    whole = hashing.hash_neighbours(hashes, limit=8)
    monkeypatch.setattr(hashing, "_CHUNK", 7)
    for a, b in zip(whole, hashing.hash_neighbours(hashes, limit=8), strict=True):
        assert a.tolist() == b.tolist() and a.dtype == b.dtype


def test_no_bucket_is_cut_short():
    """The hole in another tool: it looks at the first 200 members of a bucket, so 300 equal frames hide the rest."""
    train, val = np.zeros((400, 4), np.uint64), np.zeros((100, 4), np.uint64)
    _, _, found = hashing.hash_neighbours(val, train, limit=0)
    assert found.tolist() == [400] * 100


def test_components_are_those_of_a_search_over_all_pairs(rng):
    from scipy.sparse.csgraph import connected_components

    hashes = clustered(rng, 120)
    for limit in (0, 6, 14):
        count, labels = connected_components(hashing.hamming_distance(hashes[:, None], hashes[None]) <= limit)
        component = hashing.hash_components(hashes, limit)
        assert len(np.unique(component)) == count
        for label in range(count):
            members = np.flatnonzero(labels == label)
            assert (component[members] == members.min()).all()


def best_matching(a: np.ndarray, b: np.ndarray) -> int:
    """Most boxes of a and b that can be paired at MATCH_IOU."""
    iou = box_iou(a, b) >= hashing.MATCH_IOU
    return max(
        (sum(iou[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(len(b)), len(a))),
        default=0,
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_same_objects_agree_with_the_best_matching(seed):
    rng = np.random.default_rng(seed)
    frames = []
    corner = rng.uniform(0, 0.7, (5, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.3, (5, 2))], axis=1)
    for _ in range(4):
        shown = rng.permutation(5)[: rng.integers(0, 6)]
        frames.append(boxes[shown] + rng.uniform(-0.03, 0.03, (len(shown), 4)))
    offsets = np.cumsum([0, *map(len, frames)])
    match = hashing.box_neighbours((np.concatenate(frames), offsets))
    for row, frame in enumerate(frames):
        agree = []
        for other, boxes_there in enumerate(frames):
            small, large = sorted((frame, boxes_there), key=len)
            enough = len(small) >= hashing.MIN_BOXES and other != row
            agree.append(enough and best_matching(small, large) >= np.ceil(0.8 * len(large) - 1e-9))
        if match[row] >= 0:  # greedy pairs are pairs, so it never finds more than the best matching
            assert agree[match[row]]
        else:
            assert not any(agree[other] and _unambiguous(frame, frames[other]) for other in range(4)), (
                "boxes without rivals must be found by any matching"
            )


def _unambiguous(a: np.ndarray, b: np.ndarray) -> bool:
    iou = box_iou(a, b) >= hashing.MATCH_IOU
    return bool((iou.sum(axis=0) <= 1).all() and (iou.sum(axis=1) <= 1).all())


def test_kernel_refuses_wrong_lengths(rng):
    hashes = clustered(rng, 4)
    with pytest.raises(ValueError, match="one group per hash"):
        hashing.hash_neighbours(hashes, hashes, limit=1, query_group=np.zeros(3), base_group=np.zeros(4))
    with pytest.raises(ValueError, match="one entry more"):
        hashing.box_neighbours((np.zeros((0, 4)), np.zeros(3)), query_group=np.zeros(1))
    with pytest.raises(IndexError):
        hashing.box_neighbours((np.zeros((1, 4)), np.array([0, 2])))
