"""Size of a picture from the first bytes of its file, without decoding it."""

from __future__ import annotations

import struct
from pathlib import Path

from wutdet.errors import DataError
from wutdet.exif import SWAPPING, orientation

# Enough for the EXIF block (at most 64 kB) and a second metadata segment of most cameras.
_HEAD_BYTES = 1 << 18
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_NO_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}


def is_picture_name(name: str) -> bool:
    """Whether a file name ends like a picture's."""
    from wutdet.images import IMAGE_SUFFIXES  # loads OpenCV, which opening an index does without

    return name.lower().endswith(IMAGE_SUFFIXES)


def read_size_wh(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels as wutdet.images.read_image returns the picture (EXIF rotation applied).

    JPEG, PNG, BMP and WebP are read from the header; other kinds are decoded.

    Raises:
        DataError: no such file, or not a picture.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            if head[:2] == b"\xff\xd8":
                head += file.read(_HEAD_BYTES - 4096)
            size = _size_of_head(head)
            turned = size is not None and orientation(file) in SWAPPING
    except OSError as error:
        raise DataError(f"cannot read the image ({error.strerror})", file=path) from error
    if size is None:
        from wutdet.images import read_image

        height, width = read_image(path).shape[:2]
        return width, height
    return size[::-1] if turned else size


def _size_of_head(head: bytes) -> tuple[int, int] | None:
    """Width and height as stored."""
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and len(head) >= 24:
        return struct.unpack(">II", head[16:24])
    if head[:2] == b"\xff\xd8":
        return _jpeg_size(head)
    if head[:2] == b"BM" and len(head) >= 26 and struct.unpack("<I", head[14:18])[0] >= 40:
        width, height = struct.unpack("<ii", head[18:26])
        return width, abs(height)
    if head[:4] == b"RIFF" and head[8:15] == b"WEBPVP8" and len(head) >= 30:
        return _webp_size(head)
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _JPEG_NO_LENGTH:
            at += 2
            continue
        length = struct.unpack(">H", head[at + 2 : at + 4])[0]
        if marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            if not height:  # defined later in the file by a DNL marker
                return None
            return width, height
        at += 2 + length
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF
