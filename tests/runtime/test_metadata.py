"""The metadata contract: every value means the same to a JSON reader and to a Python reader."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wutdet.errors import ModelError
from wutdet.runtime.metadata import ArtefactMetadata, decode, encode

FULL = ArtefactMetadata(
    names=("ship", 'buoy\'s "mark"', "Fähre"),
    imgsz_hw=(384, 640),
    end2end=True,
    description="yolo26n ship detector, int8, by wutdet",
    version="0.1.0",
    license="AGPL-3.0",
    source_commit="0123456",
    train_data="true",
    weight_format="int8",
    threshold=0.3125,
    accuracy={"AP": 1e-05, "images": 12},
    calibration={"digest": "00ff", "images": 3, "data": "häfen \U0001f6a2"},
    gate={"passed": 1, "drop": -0.0004},
)


def readings(text):
    try:
        as_json = ("value", json.loads(text))
    except ValueError:
        as_json = ("text", text)
    try:
        as_python = ("value", ast.literal_eval(text))
    except (ValueError, SyntaxError):
        as_python = ("text", text)
    return as_json, as_python


def test_every_value_reads_the_same_in_json_and_python():
    for key, text in FULL.to_props().items():
        as_json, as_python = readings(text)
        assert as_json == as_python, key


def test_round_trip():
    assert ArtefactMetadata.from_props(FULL.to_props()) == FULL


def test_what_other_readers_look_at():
    props = FULL.to_props()
    assert props["imgsz"] == "[384, 640]"
    assert (props["imgsz_h"], props["imgsz_w"]) == ("384", "640")
    assert json.loads(props["names"])["0"] == "ship"
    assert props["end2end"] == "1"
    assert json.loads(props["args"]) == {"batch": 1}  # no "dynamic", no "nms": a false flag is left out


simple = st.recursive(
    st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(simple)
def test_any_plain_value_survives(value):
    text = encode(value)
    as_json, as_python = readings(text)
    assert as_json == as_python
    assert decode(text) == value


@pytest.mark.parametrize("value", [[True], {"a": None}, {"a": [False]}])
def test_values_that_the_two_languages_write_differently_are_refused(value):
    with pytest.raises(ValueError, match="different things"):
        encode(value)


def test_reads_what_ultralytics_writes():
    metadata = ArtefactMetadata.from_props(
        {"names": "{0: 'person', 8: 'boat'}", "imgsz": "[320, 640]", "stride": "32", "end2end": "False",
         "args": "{'batch': 1, 'half': False}", "head": "Detect"}
    )  # fmt: skip
    assert metadata.names == ("person", "boat")
    assert metadata.imgsz_hw == (320, 640)
    assert metadata.end2end is False
    assert metadata.extra == {"head": "Detect"}


@pytest.mark.parametrize("text", ["{[1]: 2}", "{{1}}", "[" * 200_000, "1" * 5000, "1 +", "\0"])
def test_what_no_language_can_read_is_text(text):
    """Files of strangers: literal_eval and json raise more than they promise."""
    assert decode(text) == text
    metadata = ArtefactMetadata.from_props({"names": "['ship']", "imgsz": "[64, 64]", "notes": text})
    assert metadata.extra == {"notes": text}


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ({}, "names"),
        ({"names": "[]", "imgsz": "[1, 1]"}, "names"),
        ({"names": '{"0": "ship"}'}, "imgsz"),
        ({"names": '{"ship": "a"}', "imgsz": "[1, 1]"}, "names"),
        ({"names": "{(0,): 'a'}", "imgsz": "[1, 1]"}, "names"),
        ({"names": "{[1]: 2}", "imgsz": "[1, 1]"}, "names"),
    ],
)
def test_metadata_without_names_or_size_is_an_error(props, message):
    with pytest.raises(ModelError, match=message) as error:
        ArtefactMetadata.from_props(props, file="x.onnx")
    assert error.value.hint
