"""JSON with line numbers: the same content as json.loads, and the lines where they are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wutdet.dataset.json_lines import _scan_object, read_json, read_json_with_lines
from wutdet.errors import DataError

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=4), st.sampled_from([None, 0, 1, 4]), st.booleans())
def test_same_content_as_json_loads(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    content, lines = _scan_object(text)
    assert content == json.loads(text)
    assert set(lines) == {key for key, item in value.items() if isinstance(item, list)}
    assert all(len(lines[key]) == len(value[key]) for key in lines)


@given(st.text(max_size=30).map(lambda text: '{"a": [1, {"b": ' + text))
def test_broken_json_is_refused_where_json_loads_refuses(text):
    try:
        expected = json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises(json.JSONDecodeError):
            _scan_object(text)
    else:
        assert _scan_object(text)[0] == expected


def test_lines_of_list_elements(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{\n"images": [\n{"id": 1},\n\n{"id":\n2}, {"id": 3}\n],\n"other": 5}')
    content, lines = read_json_with_lines(file)
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    assert lines == {"images": [3, 5, 6]}


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        (b"", "the file is empty", 0),
        (b" \n ", "the file is empty", 0),
        (b'{"a": 1,\n "b" 2}', "Expecting ':'", 2),
        (b'{"images": [\n{"id": 1},\n{"id": ', "cut off", 3),
        (b"\xff\xfe{}", "UTF-8", 0),
        (b"[1, 2]", "Expecting '{'", 1),
    ],
)
def test_messages(tmp_path, content, message, line):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_json_with_lines(file)
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line) == (str(file), line)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot read the file"):
        read_json(tmp_path / "no.json")
