"""JSON with the line number of every element of its top-level lists, for messages that say where."""

from __future__ import annotations

import json
from json.decoder import scanstring
from pathlib import Path

from wutdet.errors import DataError

_SPACE = " \t\n\r"


def read_json(path: str | Path):
    """The content of a JSON file.

    Raises:
        DataError: unreadable, empty, not UTF-8, or not JSON; with the line.
    """
    return _decode(path, lambda text: json.loads(text))


def read_json_with_lines(path: str | Path) -> tuple[dict, dict[str, list[int]]]:
    """A JSON object, and for each of its keys that holds a list, the 1-based line where each element begins.

    Raises:
        DataError: as read_json; also where the file is not a JSON object.
    """
    return _decode(path, _scan_object)


def _decode(path: str | Path, decode):
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the file ({error.strerror})", file=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not a text file in UTF-8 (byte {error.start})", file=path) from error
    if not text.strip():
        raise DataError("the file is empty", file=path, hint="write or copy the annotation file again")
    try:
        return decode(text)
    except json.JSONDecodeError as error:
        cut_off = " (the file seems to be cut off)" if error.pos >= len(text.rstrip()) - 1 else ""
        raise DataError(
            f"not valid JSON: {error.msg} at column {error.colno}{cut_off}", file=path, line=error.lineno
        ) from error
    except RecursionError as error:
        raise DataError("not usable JSON: nested too deeply", file=path) from error


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _expect(text: str, at: int, characters: str) -> str:
    if at >= len(text) or text[at] not in characters:
        raise json.JSONDecodeError(f"Expecting {' or '.join(repr(c) for c in characters)}", text, at)
    return text[at]


def _scan_object(text: str) -> tuple[dict, dict[str, list[int]]]:
    decoder = json.JSONDecoder()
    content: dict = {}
    lines: dict[str, list[int]] = {}
    at = _skip(text, 0)
    _expect(text, at, "{")
    at = _skip(text, at + 1)
    if at < len(text) and text[at] == "}":
        at += 1
    else:
        while True:
            _expect(text, at, '"')
            key, at = scanstring(text, at + 1)
            at = _skip(text, at)
            _expect(text, at, ":")
            at = _skip(text, at + 1)
            if at < len(text) and text[at] == "[":
                content[key], lines[key], at = _scan_list(text, at, decoder)
            else:
                content[key], at = decoder.raw_decode(text, at)
            at = _skip(text, at)
            if _expect(text, at, ",}") == "}":
                at += 1
                break
            at = _skip(text, at + 1)
    at = _skip(text, at)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return content, lines


def _scan_list(text: str, at: int, decoder: json.JSONDecoder) -> tuple[list, list[int], int]:
    values, lines = [], []
    line, counted = text.count("\n", 0, at) + 1, at
    at = _skip(text, at + 1)
    if at < len(text) and text[at] == "]":
        return values, lines, at + 1
    while True:
        line += text.count("\n", counted, at)
        counted = at
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        lines.append(line)
        at = _skip(text, at)
        if _expect(text, at, ",]") == "]":
            return values, lines, at + 1
        at = _skip(text, at + 1)
