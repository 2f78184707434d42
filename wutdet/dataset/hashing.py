"""Fingerprints of pictures, and the search for frames that are nearly the same.

Three signals, from the strictest to the loosest:

- *content hash*: BLAKE2b (128 bits) of the file's bytes; equal files only.
- *difference hash* (Krawetz, "Kind of like that", 2013), 256 bits: the picture in grey, reduced to 17 x 16 by area
  averaging; bit ``16 * y + x`` says whether pixel (x + 1, y) is brighter than pixel (x, y). Two codings, sizes or
  exposures of one picture are a few bits apart, unrelated pictures 60 to 128. It sees sky, shore and large ships: a far
  ship of a few pixels changes nothing, and waves or clouds alone may change 30 bits.
- *same objects*: frames whose boxes lie in the same places. This is what a moored camera shows at another hour, when
  light and water have changed every hash bit. Needs at least ``MIN_BOXES`` boxes: one or two agree by chance.

All searches are exact: every pair is compared (native code), no bucket is cut short. Time grows with the square of the
number of frames, memory does not; 100,000 hashes against each other take about 20 s of one core.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from wutdet import _kernels

HASH_BITS = 256
_SIDE = 16
#: A reduced decode must keep at least this many pixels a side, so that area averaging has something to average.
_MIN_REDUCED_SIDE = 4 * _SIDE

#: Two frames show the same objects when, of at least MIN_BOXES boxes each, a share of MATCHED_SHARE match at MATCH_IOU.
MIN_BOXES, MATCH_IOU, MATCHED_SHARE = 3, 0.5, 0.8

_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
#: Queries per native call: small enough that progress and Ctrl-C are noticed, large enough to cost nothing.
_CHUNK = 1024


def content_hash(data: bytes) -> bytes:
    """16 bytes: BLAKE2b-128 of a file's content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def difference_hash(grey: np.ndarray) -> np.ndarray:
    """uint64 [4], the 256-bit difference hash of a grey picture uint8 [H, W] (see the module's text)."""
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).view("<u8").astype(np.uint64)


def hash_of_file(data: bytes) -> np.ndarray | None:
    """uint64 [4], the difference hash of an encoded picture; ``None`` where it cannot be decoded.

    JPEG is decoded at an eighth of its size, which costs a third of a full decode.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    if not len(buffer):
        return None
    for flags in (cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_GRAYSCALE):
        try:
            grey = cv2.imdecode(buffer, flags)
        except cv2.error:
            return None
        if grey is None:
            return None
        if min(grey.shape) >= _MIN_REDUCED_SIDE:
            break
    return difference_hash(grey)


def hamming_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """int64 [...]: differing bits of hashes uint64 [..., 4] (broadcast). The reference that the native search is
    tested against."""
    bits = np.bitwise_xor(a, b)
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    octets = np.ascontiguousarray(bits).view(np.uint8).reshape(*bits.shape[:-1], -1)
    return _BITS_OF_BYTE[octets].sum(axis=-1, dtype=np.int64)


def hash_neighbours(
    query: np.ndarray,
    base: np.ndarray | None = None,
    *,
    limit: int,
    query_group: np.ndarray | None = None,
    base_group: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest neighbour and number of neighbours within ``limit`` bits, over all pairs.

    Args:
        query: uint64 [N, 4].
        base: uint64 [M, 4]; ``None`` means ``query`` itself, where no hash is its own neighbour.
        limit: largest Hamming distance that counts.
        query_group: int64 [N]; pairs of the same group do not count. Needs ``base_group`` where ``base`` is given.
        base_group: int64 [M].

    Returns:
        nearest: int64 [N], row in ``base`` (the first of equals), -1 where none is within ``limit``.
        distance: int32 [N], its distance, -1 where none.
        found: int64 [N], how many rows of ``base`` are within ``limit``.
    """
    query = _as_hashes(query)
    if base is None:
        base, base_group = query, np.arange(len(query)) if query_group is None else query_group
        query_group = base_group
    elif query_group is None:
        query_group, base_group = np.full(len(query), -1), np.zeros(len(base))
    base = _as_hashes(base)
    query_group, base_group = _as_groups(query_group), _as_groups(base_group)

    def part(start: int):
        stop = start + _CHUNK
        return _kernels.hash_neighbours(query[start:stop], query_group[start:stop], base, base_group, limit)

    return _in_chunks(part, len(query), (np.int64, np.int32, np.int64))


def hash_components(hashes: np.ndarray, limit: int) -> np.ndarray:
    """int64 [N]: per hash, the lowest row of its component in the graph that joins hashes within ``limit`` bits."""
    return _kernels.hash_components(_as_hashes(hashes), limit)


def box_neighbours(
    query: tuple[np.ndarray, np.ndarray],
    base: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    query_group: np.ndarray | None = None,
    base_group: np.ndarray | None = None,
) -> np.ndarray:
    """int64 [N]: per frame, the first other frame that shows the same objects, -1 where there is none.

    Args:
        query: boxes float64 [B, 4] (xyxy as shares of the frame's width and height) and offsets int64 [N + 1]: frame
            i has the boxes ``offsets[i]`` to ``offsets[i + 1]``.
        base: the same for the frames to search; ``None`` means ``query`` itself.
        query_group: int64 [N]; pairs of the same group do not count.
        base_group: int64 [M].
    """
    count = len(query[1]) - 1
    if base is None:
        base, base_group = query, np.arange(count) if query_group is None else query_group
        query_group = base_group
    elif query_group is None:
        query_group, base_group = np.full(count, -1), np.zeros(len(base[1]) - 1)
    query_group, base_group = _as_groups(query_group), _as_groups(base_group)
    boxes, offsets = np.ascontiguousarray(query[0], dtype=np.float64), np.ascontiguousarray(query[1], dtype=np.int64)
    base_boxes = np.ascontiguousarray(base[0], dtype=np.float64)
    base_offsets = np.ascontiguousarray(base[1], dtype=np.int64)

    def part(start: int):
        stop = min(start + _CHUNK, count)
        match = _kernels.box_neighbours(
            boxes, np.ascontiguousarray(offsets[start : stop + 1]), query_group[start:stop],
            base_boxes, base_offsets, base_group, MIN_BOXES, MATCH_IOU, MATCHED_SHARE,
        )  # fmt: skip
        return (match,)

    return _in_chunks(part, count, (np.int64,))[0]


def _as_hashes(hashes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(hashes, dtype=np.uint64).reshape(-1, HASH_BITS // 64)


def _as_groups(groups: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(groups, dtype=np.int64)


def _in_chunks(part, count: int, dtypes: tuple) -> tuple[np.ndarray, ...]:
    """Runs ``part(start)`` for every chunk on a few threads (the native code holds no lock) and joins the columns."""
    starts = range(0, count, _CHUNK)
    if not starts:
        return tuple(np.zeros(0, dtype=dtype) for dtype in dtypes)
    if len(starts) == 1:
        results = [part(0)]
    else:
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(part, starts))
    return tuple(np.concatenate(column) for column in zip(*results, strict=True))
