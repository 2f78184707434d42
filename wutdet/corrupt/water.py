"""Water at the camera: drops that sit on the lens, and spray thrown up by the bow."""

from __future__ import annotations

import cv2
import numpy as np

from wutdet.corrupt.draws import Draws

_MOST_DROPS = 400


def lens_drops(image: np.ndarray, draws: Draws, horizon: float, *, cover: float, radius_px: float) -> np.ndarray:
    """Drops on the glass: each a small lens, out of focus, that shows the scene upside down and drawn together.

    Drops are placed one after the other until they cover ``cover`` of the frame.
    """
    height, width = image.shape[:2]
    unit = float(np.sqrt(height * width / (1920 * 1080)))
    # What a drop shows is blurred anyway: a small picture will do.
    small = cv2.resize(image, (max(width // 8, 1), max(height // 8, 1)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1.2)
    out = image.copy()
    drawn = draws.array(_MOST_DROPS, 8)
    radii = radius_px * unit * 2.0 ** (2.4 * (drawn[:, 2] - 0.5) + 0.8 * (drawn[:, 3] - 0.5))
    covered = np.cumsum(np.pi * radii**2) / (height * width)
    for values, radius in zip(drawn[: int(np.searchsorted(covered, cover)) + 1], radii, strict=False):
        _drop(out, small, (values[0] * width, values[1] * height), max(radius, 1.0), values[4:])
    return out


def _drop(out: np.ndarray, small: np.ndarray, centre: tuple[float, float], radius: float, shape: np.ndarray) -> None:
    """Paints one drop into ``out``; ``shape`` [4] in 0..1 bends its outline."""
    height, width = out.shape[:2]
    reach = radius * 1.4
    left, top = max(int(centre[0] - reach), 0), max(int(centre[1] - reach), 0)
    right, bottom = min(int(centre[0] + reach) + 1, width), min(int(centre[1] + reach) + 1, height)
    if right <= left or bottom <= top:
        return
    dx = ((np.arange(left, right, dtype=np.float32) + 0.5 - centre[0]) / radius)[None]
    dy = ((np.arange(top, bottom, dtype=np.float32) + 0.5 - centre[1]) / radius)[:, None]
    # Rounder at the foot, where the water hangs; two harmonics make no two drops alike.
    angle = np.arctan2(dy, dx)
    outline = (
        1 + 0.1 * np.cos(2 * angle + 6.3 * shape[0]) + 0.07 * np.cos(3 * angle + 6.3 * shape[1]) + 0.08 * np.sin(angle)
    )
    inward = np.sqrt(dx * dx + dy * dy) / outline.astype(np.float32)  # 0 in the middle, 1 on the outline
    alpha = np.clip((1.0 - inward) / 0.3, 0, 1)
    # Upside down, and wide: towards the rim rays are bent most.
    wide = (2.2 + 2.5 * shape[2]) * (1 + 1.5 * inward * inward) * radius
    scale_x, scale_y = small.shape[1] / width, small.shape[0] / height
    map_x = (centre[0] - dx * wide) * scale_x - 0.5
    map_y = (centre[1] - dy * wide) * scale_y - 0.5
    seen = cv2.remap(
        small, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)
    # Dark where the rim turns rays away (its upper part sees the water), bright where the sky shines through below.
    rim = np.exp(-(((inward - 0.86) / 0.16) ** 2))
    seen *= (1 - 0.4 * rim * np.clip(0.4 - dy, 0, 1))[..., None]
    seen += (34 * rim * np.clip(dy, 0, 1) + 10)[..., None]
    region = out[top:bottom, left:right]
    mixed = region + (seen - region) * (0.93 * alpha)[..., None]
    region[...] = np.clip(mixed, 0, 255).astype(np.uint8)


def spray(
    image: np.ndarray, draws: Draws, horizon: float, *, reach: float, opacity: float, specks: int, blobs: int
) -> np.ndarray:
    """A burst of spray from below: torn sheets of mist, and drops caught in flight."""
    height, width = image.shape[:2]
    unit = float(np.sqrt(height * width / (1920 * 1080)))
    bright = np.clip(float(np.percentile(image[::8, ::8], 90)) * 1.08 + 12, 40, 250)
    burst_x, lean = draws.uniform(0.15, 0.85), draws.uniform(-0.5, 0.5)
    rows, columns = max(height // 4, 1), max(width // 4, 1)
    up = 1 - (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows  # 0 at the foot, 1 at the top
    x = (np.arange(columns, dtype=np.float32)[None] + 0.5) / columns
    torn = draws.clouds(rows, columns, (5, 8), octaves=4)
    # The sheet is highest above the burst and leans with the wind.
    crest = reach * (0.45 + 0.75 * np.exp(-(((x - burst_x - lean * up * 0.5) / 0.3) ** 2)))
    mist = np.clip(1 - up / crest + 0.32 * torn, 0, 1)
    share = np.clip(opacity * mist * (0.55 + 0.55 * mist), 0, 0.95)
    layer = cv2.resize(share.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    flight = _specks(draws.array(6000, 6)[:specks], (width, height), unit, reach, burst_x, lean)
    close = _blobs(draws.array(32, 4)[:blobs], (width, height), unit, reach, burst_x)
    drops = cv2.multiply(cv2.max(flight, close), 0.9 / 255, dtype=cv2.CV_32F)
    layer = 1 - (1 - layer) * (1 - drops)
    white = np.empty_like(image)
    white[:] = np.clip(bright * np.array([1.0, 0.99, 0.97]), 0, 255).astype(np.uint8)
    return cv2.blendLinear(image, white, 1 - layer, layer)


def _specks(
    drawn: np.ndarray, size_wh: tuple[int, int], unit: float, reach: float, burst_x: float, lean: float
) -> np.ndarray:
    """uint8 [H, W]: drops in flight at places ``drawn`` [N, 6]; most are small, and most fly low."""
    width, height = size_wh
    layer = np.zeros((height, width), np.uint8)
    up = reach * 1.15 * drawn[:, 1] ** 1.6
    x = burst_x + (drawn[:, 0] - 0.5) * (1.2 + 0.8 * drawn[:, 5]) + lean * up * 0.5
    start = np.stack([x * width, (1 - up) * height], axis=1)
    size = np.clip(unit * 0.9 / np.sqrt(np.maximum(drawn[:, 2], 0.03)), 1, 6)
    # Thrown away from the burst; smeared while the shutter is open.
    away = np.stack([(x - burst_x) * 1.5 + lean * 0.4, drawn[:, 3] - 0.65], axis=1)
    smear = unit * (3 + 12 * drawn[:, 5:] ** 3)
    lines = np.round(np.stack([start, start + away * smear], axis=1) * 16).astype(np.int32)
    thickness, shade = np.round(size).astype(int), (drawn[:, 4] * 4).astype(int)
    for thick in range(1, 7):
        for step in range(4):  # one call for all of a size and a brightness
            chosen = (thickness == thick) & (shade == step)
            level = round((120 + 45 * step) * min(1.0, unit + 0.2))
            cv2.polylines(layer, list(lines[chosen]), False, level, thick, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(layer, (0, 0), max(0.8 * unit, 0.3))


def _blobs(drawn: np.ndarray, size_wh: tuple[int, int], unit: float, reach: float, burst_x: float) -> np.ndarray:
    """uint8 [H, W]: pale discs, drops close to the lens, at places ``drawn`` [N, 4]."""
    width, height = size_wh
    layer = np.zeros((height, width), np.uint8)
    for across, up, size, shade in drawn:
        x, y = burst_x + (across - 0.5) * 1.3, 1 - reach * 1.2 * up
        centre = (round(x * width * 16), round(y * height * 16))
        radius = max(round(unit * (6 + 22 * size * size) * 16), 1)
        cv2.circle(layer, centre, radius, round((45 + 60 * shade) * min(1.0, unit + 0.2)), -1, cv2.LINE_AA, 4)
    return cv2.blur(layer, (max(round(7 * unit), 1),) * 2)
