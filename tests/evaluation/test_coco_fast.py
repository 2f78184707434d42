"""The native reader of COCO files against the full reading: the same tables to the last bit, or declined."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from coco_scenes import scene
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet import _kernels
from wutdet.errors import DataError
from wutdet.evaluation import coco_fast, coco_files

FILE = Path("some/file.json")
TRUTH, RESULTS = scene(3, images=4, boxes=4, detections=6, whole_pixels=False)
TABLE, CATEGORY_IDS, _ = coco_files._full_ground_truth(json.dumps(TRUTH).encode(), FILE)


def assert_same(fast, full) -> None:
    """Two tables, or tuples of tables and arrays: the same types and bytes."""
    assert type(fast) is type(full)
    if isinstance(fast, np.ndarray):
        assert (fast.dtype, fast.shape, fast.tobytes()) == (full.dtype, full.shape, full.tobytes())
    elif isinstance(fast, tuple):
        assert len(fast) == len(full)
        for a, b in zip(fast, full, strict=True):
            assert_same(a, b)
    elif dataclasses.is_dataclass(fast):
        for field in dataclasses.fields(fast):
            assert_same(getattr(fast, field.name), getattr(full, field.name))
    else:
        assert fast == full


def truth_both_ways(text: bytes) -> bool:
    """Whether the fast path took the ground truth; whatever it took must be what the full reading gives."""
    fast = coco_fast.ground_truth(text, FILE.stem)
    try:
        full = coco_files._full_ground_truth(text, FILE)
    except DataError:
        assert fast is None
        return False
    if fast is not None:
        assert_same(fast, full)
    return fast is not None


def results_both_ways(text: bytes) -> bool:
    fast = coco_fast.results(text, TABLE, CATEGORY_IDS)
    try:
        full = coco_files._full_results(text, FILE, TABLE, CATEGORY_IDS)
    except DataError:
        assert fast is None
        return False
    if fast is not None:
        assert_same(fast, full)
    return fast is not None


def dump(content, **options) -> bytes:
    return json.dumps(content, **options).encode()


LAYOUTS = [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"sort_keys": True}]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_files_as_tools_write_them_take_the_fast_path(layout):
    truth = {
        "info": {"nested": [[{"a": '} , { " \\ \u6e2f \U0001f6a2'}], {}, [], None, True, False, -1.5e-3]},
        **TRUTH,
        "categories": [{"supercategory": "none", **row} for row in TRUTH["categories"]],
        "annotations": [
            {
                "segmentation": [[1, 2.5, 3, 4]],
                **row,
                "iscrowd": bool(row["iscrowd"]),
                "attributes": {"far": False},
            }
            for row in TRUTH["annotations"]
        ],
    }
    if layout.get("ensure_ascii") is False:
        truth["categories"][0]["name"] = "sh\u00efp \u8239 \U0001f6a2"
    assert truth_both_ways(dump(truth, **layout) + b"\n")
    assert results_both_ways(dump([{**row, "id": 1, "text": "\t\u8239"} for row in RESULTS], **layout) + b" \r\n")


def test_optional_keys_of_ground_truth():
    box = {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3.5, 4]}
    small = {"images": [{"id": 3}], "annotations": [box, {**box, "area": 7}], "categories": [{"id": 1}]}
    assert truth_both_ways(dump(small))
    table, ids, has_id_0 = coco_fast.ground_truth(dump(small), "name")
    assert table.area.tolist() == [14.0, 7.0] and table.category_names == ("1",) and table.size_wh is None
    assert (table.name, table.split, ids.tolist(), has_id_0) == ("name", None, [1], False)
    splits = [
        {"id": 3, "split": "val", "width": 64, "height": 48},
        {"id": 1, "split": "val", "width": 32, "height": 16},
    ]
    table, _, has_id_0 = coco_fast.ground_truth(
        dump({**small, "images": splits, "annotations": [{"id": 0, **box}]}), ""
    )
    assert table.split == "val" and table.size_wh.tolist() == [[64, 48], [32, 16]] and has_id_0
    for images in (
        [*splits, {"id": 2}],
        [*splits, {**splits[0], "id": 2, "split": "test"}],
        [{"id": 3, "width": 0}],
        [],
    ):
        assert truth_both_ways(dump({**small, "images": images, "annotations": []}))
    assert truth_both_ways(dump({"images": [], "annotations": [], "categories": []}))
    assert results_both_ways(b" [ ] ")


DECLINED = {
    "nothing": b"",
    "byte order mark": b"\xef\xbb\xbf[]",
    "UTF-16": "[]".encode("utf-16"),
    "rest": b"[] 1",
    "zero byte": b"[]\0",
    "comma at the end": b"[{}, ]",
    "not closed": b"[",
    "an object": b"{}",
    "deep": b'[{"x": ' + b"[" * 100_000,
    "text that is not UTF-8": b'[{"x": "\xff"}]',
}


@pytest.mark.parametrize("case", DECLINED)
def test_declined_as_a_whole(case):
    assert _kernels.read_coco_results(DECLINED[case]) is None
    assert not results_both_ways(DECLINED[case])
    assert not truth_both_ways(DECLINED[case])


ROW = '{"image_id": %s, "category_id": %s, "bbox": [1, %s, 3, 4], "score": %s, "other": %s}'
# What Python's json makes of these differs from what a careless reader would.
TOKENS = """
    0 -0 7 -0.0 1e0 1E+2 12.5e-1 1e-400 1e400 -1e400 0.1 123456789012345678 1234567890123456789 98765432109876543210
    9007199254740993 9007199254740993.0 0.3000000000000000166533453694 2.2250738585072011e-308 4.9e-324 2e-324 1e22
    1e23 8.5 99999999999999999.0e-3 123456789012345678.5 1234567890123456789.5 01 -01 1. .5 +1 - -- 1e 1e+ 0x1 1_0 NaN
    Infinity -Infinity true false null nul "7" "\\u0037" [] {} [1] {"a":[{}]} "\\ud800" "\\x" "\\u12g4" [1,] {,} {"a"}
    {"a":1,"a":2} 1e99999 1.7976931348623157e308 1.7976931348623159e308
""".split()  # noqa: SIM905 (as a list it would fill a page)
TOKENS += ["1" * 5000, "0." + "0" * 500 + "1", '"\t"', '"\x7f"', ""]


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("token", TOKENS, ids=lambda token: repr(token)[:30])
def test_one_odd_token(place, token):
    good = [str(TABLE.image_id[0]), str(CATEGORY_IDS[0]), "2", "0.5", "null"]
    row = ROW % tuple(token if i == place else value for i, value in enumerate(good))
    results_both_ways(f"[{row}]".encode())
    truth = {"images": [{"id": 7}, {"id": 0}], "categories": [{"id": 7}, {"id": 0}]}
    good = ["7", "7", "2", "0.5", "null"]
    row = ROW % tuple(token if i == place else value for i, value in enumerate(good))
    for key in ("area", "id", "iscrowd", "ignore"):
        text = dump(truth)[:-1].decode() + f', "annotations": [{row.replace("score", key)}]}}'
        truth_both_ways(text.encode())
    image, category = f'{{"id": 7, "width": 5, "split": {token}, "x": {token}}}', f'{{"name": {token}, "id": 1}}'
    truth_both_ways(f'{{"images": [{image}], "categories": [{category}], "annotations": []}}'.encode())
    truth_both_ways(f'{{"images": [{{"id": {token}, "height": {token}, "width": {token}}}], "categories": [{{"id": '
                    f'{token}}}], "annotations": []}}'.encode())  # fmt: skip


@pytest.mark.parametrize("key", ["score", "image_id", "bbox"])
def test_a_key_given_twice_counts_once_or_is_declined(key):
    row = ROW % (TABLE.image_id[0], CATEGORY_IDS[0], "2", "0.5", "null")
    first = row.replace(f'"{key}"', '"unknown"')
    again = json.dumps({key: json.loads(row)[key]})[1:-1]
    assert results_both_ways(f"[{row}]".encode())
    assert not results_both_ways(f"[{row[:-1]}, {again}}}]".encode())
    assert results_both_ways(f"[{first[:-1]}, {again}}}]".encode())
    assert not results_both_ways(
        f"[{first[:-1]}, {again.replace(key[0], chr(92) + f'u{ord(key[0]):04x}', 1)}}}]".encode()
    )


def score_of(token: str) -> float | None:
    columns = _kernels.read_coco_results(
        b'[{"image_id":1,"category_id":1,"bbox":[0,0,1,1],"score":%s}]' % token.encode()
    )
    return None if columns is None else columns[3][0]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_read_as_it_was_written(value):
    assert np.float64(score_of(repr(value))).tobytes() == np.float64(value).tobytes()


@given(st.integers(0, 10**17), st.integers(0, 10**30), st.integers(1, 30), st.integers(-330, 300))
def test_decimals_are_correctly_rounded(whole, fraction, width, exponent):
    token = f"{whole}.{str(fraction).zfill(width)}e{exponent}"
    read = score_of(token)
    assert read == float(token) or (read is None and float(token) in (0.0, np.inf))
    plain = f"{whole}.{str(fraction).zfill(width)}"
    assert score_of(plain) == float(plain)


mutations = st.lists(
    st.tuples(
        st.sampled_from(["delete", "insert", "replace", "cut", "repeat", "swap"]),
        st.integers(0, 10**6),
        st.integers(0, 12),
        st.sampled_from([*b'{}[],:"\\ 0123456789-+.eEtfnu\n\0\x1f\x80\xc3\xed\xff', *range(0, 256, 17)]),
    ),
    min_size=1,
    max_size=4,
)


def mutate(text: bytes, steps) -> bytes:
    for kind, place, length, byte in steps:
        at = place % (len(text) + 1)
        piece = text[at : at + length]
        rest = text[at + len(piece) :]
        text = {
            "delete": text[:at] + rest,
            "insert": text[:at] + bytes([byte]) + text[at:],
            "replace": text[:at] + bytes([byte]) + text[at + 1 :],
            "cut": text[:at],
            "repeat": text[:at] + piece + piece + rest,
            "swap": text[:at] + rest[:length] + piece + rest[length:],
        }[kind]
    return text


@settings(max_examples=400)
@given(mutations)
def test_damaged_results_are_declined_or_read_the_same(steps):
    results_both_ways(mutate(dump(RESULTS[:3]), steps))


@settings(max_examples=400)
@given(mutations)
def test_damaged_ground_truth_is_declined_or_read_the_same(steps):
    small = {**TRUTH, "annotations": TRUTH["annotations"][:2], "images": [{**r, "split": "v"} for r in TRUTH["images"]]}
    truth_both_ways(mutate(dump(small), steps))


def many(count: int, **keys) -> list[dict]:
    rng = np.random.default_rng(0)
    return [{"image_id": int(i), "category_id": 1, "bbox": rng.uniform(0, 99, 4).tolist(), "score": i / count, **keys}
            for i in range(count)]  # fmt: skip


@pytest.mark.parametrize("extra", [None, "text }, { text", [{"a": 1}, {"a": 2}], [{"image_id": 0, "category_id": 0,
                         "bbox": [0, 0, 0, 0], "score": 0}] * 9])  # fmt: skip
def test_two_threads_read_what_one_reads(extra):
    text = dump(many(12_000, extra=extra))
    assert len(text) > 2**20
    one, two = (_kernels.read_coco_results(text, threads=threads) for threads in (1, 2))
    assert len(one[0]) == 12_000 and one[0].tolist() == list(range(12_000))
    assert_same(one, two)
    rows = [{**row, "id": row["image_id"]} for row in many(12_000, extra=extra)]
    for order in (("images", "categories", "annotations"), ("annotations", "categories", "images")):
        truth = {"images": [{"id": i} for i in range(12_000)], "annotations": rows, "categories": [{"id": 1}]}
        text = dump({key: truth[key] for key in order})
        one, two = (_kernels.read_coco_truth(text, threads=threads) for threads in (1, 2))
        assert one.keys() == two.keys() and len(one["box_id"]) == 12_000
        for key in one:
            assert_same(one[key], two[key])


@pytest.mark.parametrize("place", [0.1, 0.4, 0.5, 0.6, 0.9, 1.0])
def test_two_threads_decline_what_one_declines(place):
    rows = many(12_000)
    rows[min(int(place * 12_000), 11_999)]["score"] = "high"
    text = dump(rows)
    for damaged in (text, dump(many(12_000))[: int(place * len(text)) - 1]):
        assert _kernels.read_coco_results(damaged, threads=1) is None
        assert _kernels.read_coco_results(damaged, threads=2) is None


def test_ids_far_apart_are_found_without_a_table():
    wide = [{"id": 10**17 + 5}, {"id": -(10**17)}, {"id": 3}]
    boxes = [{"image_id": row["id"], "category_id": 1, "bbox": [0, 0, 1, 1]} for row in reversed(wide)]
    truth = {"images": wide, "annotations": boxes, "categories": [{"id": 1}]}
    assert truth_both_ways(dump(truth))
    for unknown in (0, 10**17 + 6, -(10**17) - 1):
        assert not truth_both_ways(dump({**truth, "annotations": [{**boxes[0], "image_id": unknown}]}))
