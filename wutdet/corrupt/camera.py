"""What the camera itself does to a frame: too little light, flat contrast, noise, blur, a weak video link."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np

from wutdet.corrupt.draws import Draws


@lru_cache(maxsize=1)
def _normal_quantiles() -> np.ndarray:
    """float32 [256]: turns uniform octets into normal numbers of deviation 1 (cut at 2.9)."""
    values = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
    return (values / values.std()).astype(np.float32)


def _grain(draws: Draws, height: int, width: int) -> np.ndarray:
    """float32 [H, W, 3] of deviation about 1: grain of the brightness at every pixel, of the colour in 2x2 blotches.

    So it looks after demosaicing; the training augmentation's noise is white instead.
    """
    table = _normal_quantiles()
    luma = cv2.LUT(draws.octets(height, width), table)
    chroma = cv2.LUT(draws.octets((height + 1) // 2, (width + 1) // 2, 3), table)
    chroma = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    # Linear enlargement by 2 leaves 5/8 of the deviation.
    return cv2.addWeighted(cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR), 0.9, chroma, 0.45 * 1.6, 0)


def _with_grain(image: np.ndarray, mean: np.ndarray, deviation: np.ndarray, draws: Draws) -> np.ndarray:
    """uint8 picture with levels ``mean`` [256] and noise of ``deviation`` [256], both by the level before."""
    noise = _grain(draws, *image.shape[:2])
    cv2.multiply(noise, cv2.LUT(image, deviation.astype(np.float32)), dst=noise)
    return cv2.add(cv2.LUT(image, mean.astype(np.float32)), noise, dtype=cv2.CV_8U)


def low_light(
    image: np.ndarray,
    draws: Draws,
    horizon: float,
    *,
    stops: float,
    photons: float,
    gain_stops: float,
    saturation: float,
) -> np.ndarray:
    """Dusk to night, in linear light: fewer photons with their own noise, some of it amplified again, less colour."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    pale = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    light = (np.arange(256) / 255.0) ** 2.2
    electrons = photons * 2.0**-stops  # of white, at dusk
    left = light * 2.0 ** (gain_stops - stops)  # 1 is white again
    # Shot noise of the electrons and 2.5 electrons of read noise, both amplified.
    spread = np.sqrt(light * electrons + 2.5**2) / electrons * 2.0 ** (gain_stops - stops)
    encoded = left ** (1 / 2.2)
    # The slope of the gamma curve turns noise of the light into noise of the levels; cameras flatten it near black.
    slope = np.maximum(left, 0.01) ** (1 / 2.2 - 1) / 2.2
    dark = _with_grain(pale, 255 * encoded, 255 * spread * slope, draws)
    blue = np.stack([np.clip(np.arange(256) * tint, 0, 255) for tint in (1.08, 1.0, 0.9)], axis=-1)
    return cv2.LUT(dark, blue.astype(np.uint8)[None])


def noise(
    image: np.ndarray, draws: Draws, horizon: float, *, read: float, shot: float, hot_pixels: float
) -> np.ndarray:
    """A high gain by day: read noise, shot noise, a few stuck pixels."""
    levels = np.arange(256, dtype=np.float64)
    out = _with_grain(image, levels, np.sqrt(read**2 + shot**2 * levels / 255), draws)
    height, width = image.shape[:2]
    places = draws.array(int(hot_pixels * height * width), 3)
    rows, columns = (places[:, 0] * height).astype(int), (places[:, 1] * width).astype(int)
    out[rows, columns, (places[:, 2] * 3).astype(int)] = 255
    return out


def contrast(image: np.ndarray, draws: Draws, horizon: float, *, contrast: float) -> np.ndarray:
    """Flat light or a dirty window: all levels pulled towards the frame's mean colour."""
    mean = np.array(cv2.mean(image)[:3])
    table = np.arange(256)[:, None] * contrast + mean * (1 - contrast)
    return cv2.LUT(image, np.clip(np.round(table), 0, 255).astype(np.uint8)[None])


def motion_blur(image: np.ndarray, draws: Draws, horizon: float, *, length_px: float) -> np.ndarray:
    """The camera turns while the shutter is open: a bent path, mostly sideways or up and down."""
    unit = float(np.sqrt(image.shape[0] * image.shape[1] / (1920 * 1080)))
    length = length_px * unit
    angle = (0.0 if draws.uniform() < 0.5 else np.pi / 2) + draws.uniform(-0.4, 0.4)
    bend = draws.uniform(-0.7, 0.7)
    time = np.linspace(-0.5, 0.5, 4 * int(np.ceil(length)) + 1)
    path = length * np.stack([time, bend * (time * time - 1 / 12)], axis=1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return _filter(image, _kernel(path @ turn))


def _kernel(points: np.ndarray) -> np.ndarray:
    """float32 [S, S] of sum 1: points [N, 2] about the middle, each spread over its four pixels."""
    half = int(np.ceil(np.abs(points).max())) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    corner = np.floor(points).astype(int)
    part = points - corner
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            np.add.at(kernel, (corner[:, 1] + dy + half, corner[:, 0] + dx + half), weight)
    return (kernel / kernel.sum()).astype(np.float32)


def defocus_blur(image: np.ndarray, draws: Draws, horizon: float, *, radius_px: float) -> np.ndarray:
    """A lens out of focus: every point becomes a disc."""
    radius = radius_px * float(np.sqrt(image.shape[0] * image.shape[1] / (1920 * 1080)))
    radius = float(np.hypot(radius, 0.5))  # the pixel itself: small frames, too, get softer from step to step
    half = int(np.ceil(radius)) + 1
    # Each pixel's share of the disc, from 8x8 points in it.
    fine = (np.arange(8 * (2 * half + 1)) + 0.5) / 8 - half - 0.5
    inside = (fine[:, None] ** 2 + fine[None] ** 2 <= radius**2).astype(np.float32)
    kernel = cv2.resize(inside, (2 * half + 1, 2 * half + 1), interpolation=cv2.INTER_AREA)
    return _filter(image, kernel / kernel.sum())


def _filter(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def compression(
    image: np.ndarray, draws: Draws, horizon: float, *, luma_quality: int, chroma_quality: int, scale: float
) -> np.ndarray:
    """A weak video link: fewer pixels, coarse blocks, hardly any colour."""
    height, width = image.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    options = [
        *(cv2.IMWRITE_JPEG_LUMA_QUALITY, luma_quality, cv2.IMWRITE_JPEG_CHROMA_QUALITY, chroma_quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    ]
    ok, data = cv2.imencode(".jpg", small, options)
    assert ok, "encoding a uint8 picture in memory cannot fail"
    small = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return small if size == (width, height) else cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
