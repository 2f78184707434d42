"""Native letterbox against OpenCV, byte for byte, on every instruction set."""

from __future__ import annotations

import ctypes
import mmap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wutdet import _kernels
from wutdet.boxes import Letterbox
from wutdet.images import to_bgr_u8, to_network_input

ISAS = _kernels._conv_isas()
LETTERBOXERS = {isa: _kernels.Letterboxer(1, isa) for isa in ISAS}


def geometry(letterbox: Letterbox) -> tuple:
    return letterbox.input_wh, letterbox.scaled_wh, letterbox.pad_lt, Letterbox.PAD_VALUE


def picture(rng, width: int, height: int) -> np.ndarray:
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return frame if rng.random() < 0.6 else np.where(frame < 128, 0, 255).astype(np.uint8)


def check(frame: np.ndarray, input_wh: tuple[int, int]) -> None:
    letterbox = Letterbox.fit((frame.shape[1], frame.shape[0]), input_wh)
    shown = letterbox.apply(frame)
    planes, pixels = to_network_input(shown), shown[:, :, ::-1]
    for isa, letterboxer in LETTERBOXERS.items():
        ours = letterboxer.planes(frame, *geometry(letterbox))
        assert ours.dtype == np.float32 and ours.shape == planes.shape
        np.testing.assert_array_equal(ours, planes, err_msg=f"{isa} {letterbox}")
        np.testing.assert_array_equal(letterboxer.pixels(frame, *geometry(letterbox)), pixels, err_msg=isa)
        with_zeros = letterboxer.pixels(frame, *geometry(letterbox), step=4)
        np.testing.assert_array_equal(with_zeros[:, :, :3], pixels, err_msg=isa)
        assert not with_zeros[:, :, 3].any()


@pytest.mark.parametrize(
    ("frame_wh", "input_wh"),
    [
        ((1920, 1080), (640, 384)),  # a third
        ((1280, 720), (640, 384)),  # half: OpenCV takes means
        ((1280, 722), (640, 384)),  # nearly
        ((640, 360), (640, 384)),  # as it is
        ((640, 384), (640, 384)),  # without padding
        ((500, 281), (640, 384)),  # enlarged
        ((3840, 2160), (320, 192)),  # far less
        ((1, 1), (64, 32)),
        ((2, 1), (64, 32)),
        ((1, 300), (96, 64)),
        ((3000, 3), (96, 64)),
        ((5000, 1), (64, 64)),  # less than half a pixel high
        ((17, 4000), (64, 96)),
    ],
)
def test_equals_opencv(rng, frame_wh, input_wh):
    check(picture(rng, *frame_wh), input_wh)


def test_equals_opencv_at_random_sizes(rng):
    for _ in range(60):
        most = rng.choice([8, 70, 400, 1500], 2)
        width, height = (int(rng.integers(1, n)) for n in most)
        check(picture(rng, width, height), tuple(int(n) * 32 for n in rng.integers(1, 12, 2)))


def test_rows_may_lie_in_any_distance(rng):
    large = picture(rng, 300, 200)
    for part in (large[20:151, 33:250], large[::2], large[::-1], large[5:6], large[:, 7:8], large[:, :2]):
        check(part, (96, 64))
        assert not part.flags.c_contiguous or part.shape[0] == 1
    large.flags.writeable = False
    check(large, (96, 64))


def test_other_pictures_after_conversion(rng):
    """Grey, 16 bits and alpha go through to_bgr_u8 first."""
    deep = rng.integers(0, 65536, (90, 160), dtype=np.uint16)
    for frame in (deep, np.repeat(deep[:, :, None], 4, axis=2), (deep >> 8).astype(np.uint8)):
        check(to_bgr_u8(frame), (96, 64))


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 21, 22, 40, 43, 64, 65, 127, 300, 900])
@pytest.mark.parametrize("input_wh", [(32, 32), (64, 32), (160, 96)])
def test_reads_nothing_beyond_the_frame(rng, width, input_wh):
    """The frame ends at a page that may not be read, and begins at one: reading there ends the process."""
    height = 7
    page, size = mmap.PAGESIZE, 3 * width * height
    pages = -(-size // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for guard in (start, start + (pages + 1) * page):
        assert protect(guard, page, 0) == 0
    for offset in (page, (pages + 1) * page - size):
        frame = np.frombuffer(memory, np.uint8, size, offset).reshape(height, width, 3)
        frame[:] = picture(rng, width, height)
        check(frame, input_wh)
        check(frame[::-1], input_wh)


def test_threads_change_nothing(rng):
    frame = picture(rng, 1920, 1080)
    letterbox = Letterbox.fit((1920, 1080), (1280, 736))
    alone = _kernels.Letterboxer(1).planes(frame, *geometry(letterbox))
    for threads in (2, 3, 0):
        several = _kernels.Letterboxer(threads)
        for _ in range(3):
            np.testing.assert_array_equal(several.planes(frame, *geometry(letterbox)), alone)


def test_calls_of_several_threads_and_sizes(rng):
    """Tables and memory are shared; results that are still held must not change."""
    shared = _kernels.Letterboxer(2)
    frames = [picture(rng, width, 100) for width in (90, 130, 170, 210)]
    boxes = [Letterbox.fit((frame.shape[1], 100), (128, 96)) for frame in frames]
    expected = [to_network_input(box.apply(frame)) for box, frame in zip(boxes, frames, strict=True)]

    def work(index: int) -> None:
        held = []
        for turn in range(40):
            at = (index + turn) % len(frames)
            held.append((at, shared.planes(frames[at], *geometry(boxes[at]))))
            if turn % 3 == 0:
                held = held[-2:]
        for at, result in held:
            np.testing.assert_array_equal(result, expected[at])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_what_does_not_fit_is_refused():
    one = _kernels.Letterboxer(1)
    frame = np.zeros((10, 20, 3), np.uint8)
    for scaled, pad in (((33, 16), (0, 0)), ((32, 16), (1, 0)), ((32, 16), (0, -1)), ((0, 16), (0, 0))):
        with pytest.raises(ValueError, match=r"within the input|sides must be"):
            one.planes(frame, (32, 32), scaled, pad, 114)
    with pytest.raises(ValueError, match=r"0\.\.255"):
        one.planes(frame, (32, 32), (32, 16), (0, 8), 256)
    with pytest.raises(ValueError, match="side by side"):
        one.planes(frame[:, ::2], (32, 32), (32, 16), (0, 8), 114)
    with pytest.raises(ValueError, match="step"):
        one.pixels(frame, (32, 32), (32, 16), (0, 8), 114, step=5)
    for wrong in (np.zeros((10, 20, 4), np.uint8), np.zeros((10, 20, 3), np.float32), np.zeros((10, 20), np.uint8)):
        with pytest.raises(TypeError):
            one.planes(wrong, (32, 32), (32, 16), (0, 8), 114)
