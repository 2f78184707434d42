"""Which model a file holds: a digest that stays the same when only the metadata of an artefact changes.

An ONNX file is one protobuf message (``ModelProto`` in onnx.proto); field 14 of it, ``metadata_props``, is the metadata
and all other fields are the network. Only this outermost message is taken apart, so that neither onnx nor a copy of
the graph is needed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from wutdet.errors import ModelError
from wutdet.runtime.model_files import ARTEFACT_SUFFIXES

_METADATA_PROPS = 14
_DIGITS = 16


def model_digest(path: Path) -> str:
    """The first 16 hexadecimal digits of SHA-256 of an artefact without its metadata, or of a whole checkpoint.

    Raises:
        ModelError: the file cannot be read, or is an artefact's by name only.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the file cannot be read ({error.strerror})", file=path) from error
    if path.suffix.lower() in ARTEFACT_SUFFIXES:
        content, _ = split_metadata(content, path)
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def split_metadata(content: bytes, path: Path) -> tuple[bytes, bytes]:
    """An ONNX file without its metadata, and the metadata alone; each is a ``ModelProto``, and both together are one.

    Args:
        content: of the file.
        path: named by errors.

    Raises:
        ModelError: not a protobuf message.
    """
    network, metadata, at = [], [], 0
    while at < len(content):
        start = at
        try:
            key, at = _varint(content, at)
            at = _end_of_value(content, at, key & 7)
        except (IndexError, ValueError):
            at = len(content) + 1
        if at > len(content):
            raise ModelError(f"not an ONNX file: the field at byte {start} is cut off or of no known type", file=path)
        (metadata if key >> 3 == _METADATA_PROPS else network).append(content[start:at])
    return b"".join(network), b"".join(metadata)


def _end_of_value(content: bytes, at: int, wire_type: int) -> int:
    if wire_type == 0:
        return _varint(content, at)[1]
    if wire_type == 2:
        length, at = _varint(content, at)
        return at + length
    return at + {1: 8, 5: 4}.get(wire_type, len(content) + 1)  # no other types: onnx.proto has no groups


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("more than ten bytes")
