"""How a picture file says that it is to be turned: the orientation of its EXIF block, without decoding it.

Sources: EXIF 2.3, section 4.6 (tag 0x0112); PNG 1.2, extension eXIf; WebP container specification, chunk EXIF.
TIFF files are not looked at: OpenCV turns those itself, whatever it is asked for.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO

#: Orientations that swap width and height.
SWAPPING = (5, 6, 7, 8)

_PNG_START = b"\x89PNG\r\n\x1a\n"
# A chunk eXIf may also follow the pixels. It is looked for at the end alone: between lie thousands of chunks.
_PNG_TAIL_BYTES = 1 << 16
_JPEG_NO_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}


def orientation(stream: BinaryIO) -> int:
    """1 to 8 as EXIF has them, 1 (as stored) where a JPEG, PNG or WebP file says nothing, and for other files.

    Args:
        stream: a file opened for reading, or its bytes as BytesIO; it is read from its start, and left anywhere.
    """
    stream.seek(0)
    head = stream.read(30)
    if head[:2] == b"\xff\xd8":
        tiff = _of_jpeg(stream)
    elif head[:8] == _PNG_START:
        tiff = _of_png(stream)
    elif head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & 0x08:
        tiff = _of_webp(stream)
    else:
        return 1
    found = _tag_in(tiff)
    return found if 1 <= found <= 8 else 1


def _of_jpeg(stream: BinaryIO) -> bytes:
    """The TIFF block in the first Exif segment before the pixels."""
    stream.seek(2)
    while True:
        marker = stream.read(2)
        while marker == b"\xff\xff":  # fill bytes
            marker = b"\xff" + stream.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0xD9, 0xDA):
            return b""
        if marker[1] in _JPEG_NO_LENGTH:
            continue
        size = stream.read(2)
        if len(size) < 2:
            return b""
        end = stream.tell() - 2 + struct.unpack(">H", size)[0]
        if marker[1] == 0xE1 and stream.read(6) == b"Exif\0\0":
            return stream.read(max(end - stream.tell(), 0))
        stream.seek(end)


def _of_png(stream: BinaryIO) -> bytes:
    stream.seek(8)
    while len(start := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"eXIf":
            return stream.read(length)
        if kind == b"IDAT":
            break
        stream.seek(length + 4, os.SEEK_CUR)
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(end - _PNG_TAIL_BYTES, 0))
    tail = stream.read()
    at = tail.find(b"eXIf", 4)
    while at >= 0:
        content = at + 4 + int.from_bytes(tail[at - 4 : at], "big")
        if zlib.crc32(tail[at:content]).to_bytes(4, "big") == tail[content : content + 4]:  # no accident of the pixels
            return tail[at + 4 : content]
        at = tail.find(b"eXIf", at + 4)
    return b""


def _of_webp(stream: BinaryIO) -> bytes:
    stream.seek(12)
    while len(start := stream.read(8)) == 8:
        kind, length = struct.unpack("<4sI", start)
        if kind == b"EXIF":
            return stream.read(length)
        stream.seek(length + length % 2, os.SEEK_CUR)
    return b""


def _tag_in(tiff: bytes) -> int:
    """Value of tag 0x0112 in the first directory of a TIFF block, 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    start = struct.unpack(order + "I", tiff[4:8])[0]
    if start + 2 > len(tiff):
        return 1
    for entry in range(struct.unpack(order + "H", tiff[start : start + 2])[0]):
        field = tiff[start + 2 + 12 * entry : start + 14 + 12 * entry]
        if len(field) == 12 and struct.unpack(order + "H", field[:2])[0] == 0x0112:
            return struct.unpack(order + "H", field[8:10])[0]
    return 1
