"""Reading one picture from disk, as 8-bit BGR, or saying clearly why not."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from wutdet.errors import DataError
from wutdet.exif import SWAPPING, orientation

#: File name endings that are taken for pictures when a folder is searched.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def to_bgr_u8(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] BGR of a grey, BGR or BGRA picture with 8 or 16 bits (or float 0..1) per channel.

    16-bit pictures are scaled by their full range (65535 becomes 255); alpha is dropped.
    """
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.clip(np.nan_to_num(pixels.astype(np.float32)) * 255.0, 0, 255).astype(np.uint8)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4:
        return np.ascontiguousarray(pixels[:, :, :3])
    if pixels.shape[2] == 1:
        return cv2.cvtColor(pixels[:, :, 0], cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(pixels)


def to_network_input(bgr_u8: np.ndarray) -> np.ndarray:
    """float32 [1, 3, H, W] RGB in 0..1 from uint8 [H, W, 3] BGR: what every network of this project takes."""
    blob = cv2.dnn.blobFromImage(bgr_u8, swapRB=True)
    # Divided, not multiplied by 1/255: the last bit then equals what ultralytics feeds the same file, and a quantised
    # network gives the same codes.
    return np.divide(blob, np.float32(255), out=blob)


def read_image(path: str | Path, expected_size_wh: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 [H, W, 3] BGR of a picture file.

    EXIF rotation (of JPEG, PNG and WebP; TIFF's own too) is applied as OpenCV's imread does, unless
    ``expected_size_wh`` (the size that the annotation was drawn on) fits only the picture as stored: then it is left
    alone (but for TIFF).

    Raises:
        DataError: no such file, not a picture, truncated, or of another size than expected.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image ({error.strerror})", file=path) from error
    if data[:2] == _JPEG_START and _JPEG_END not in data[-4096:]:
        # libjpeg fills the missing part with grey and only warns; a half-grey frame must not pass as data.
        raise DataError(
            f"truncated JPEG: {len(data)} bytes without an end marker", file=path, hint="copy the file again"
        )
    buffer = np.frombuffer(data, dtype=np.uint8)
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_UNCHANGED
    try:
        # IMREAD_UNCHANGED keeps alpha and depth but ignores EXIF. Other flags honour it: in JPEG, and where OpenCV is
        # new enough in PNG and WebP.
        stored = cv2.imdecode(buffer, flags) if len(buffer) else None
    except cv2.error as error:
        raise DataError(f"not a readable image ({error.err})", file=path) from error
    if stored is None:
        raise DataError(
            f"not a readable image ({len(data)} bytes, starts with {data[:4].hex() or 'nothing'})",
            file=path,
            hint="JPEG, PNG, BMP, TIFF and WebP are read",
        )
    image = to_bgr_u8(stored)
    turn = orientation(io.BytesIO(data))
    if turn != 1:
        turned = turned_by(image, turn)
        fits_stored = expected_size_wh == (image.shape[1], image.shape[0])
        fits_turned = expected_size_wh == (turned.shape[1], turned.shape[0])
        if fits_turned or not fits_stored:
            image = turned
    if expected_size_wh is not None and expected_size_wh != (image.shape[1], image.shape[0]):
        raise DataError(
            f"image is {image.shape[1]}x{image.shape[0]}, its annotation says "
            f"{expected_size_wh[0]}x{expected_size_wh[1]}",
            file=path,
            hint="see 'wutdet data audit'; '--fix' writes a cleaned copy",
        )
    return image


def turned_by(image: np.ndarray, turn: int) -> np.ndarray:
    """A picture [H, W, 3] as the EXIF orientation ``turn`` (1 to 8) wants it shown: [H, W, 3], from 5 on [W, H, 3]."""
    if turn in SWAPPING:
        image = cv2.transpose(image)
    axis = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(turn)  # 1 mirrors left to right, 0 top to bottom, -1 does both
    return image if axis is None else cv2.flip(image, axis)


def list_images(folder: str | Path) -> list[Path]:
    """All pictures below a folder, in natural path order."""
    folder = Path(folder)
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
