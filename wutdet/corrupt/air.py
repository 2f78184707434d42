"""Fog, sun glare and rain: light scattered on its way to the camera.

The horizon is a share of the frame's height (0 top, 1 bottom). Fog and rain follow Koschmieder's law: contrast falls
with exp(-extinction * distance), the distance being that of a flat sea below the horizon.
"""

from __future__ import annotations

import cv2
import numpy as np

from wutdet.corrupt.draws import Draws

#: Distance (m) of the sea that lies one frame height below the horizon: a camera 16 m up with a lens of 35 degrees.
_NEAR_SEA_M = 25.0
_HAZE_FLOOR = 0.03  # keeps the horizon at a finite distance, in frame heights
_COARSE = 4  # smooth light is computed on every 4th pixel


def fog_share(height: int, horizon: float, thickness: float) -> np.ndarray:
    """float32 [height]: share of fog light per picture row; ``thickness`` at the horizon, less towards both rims."""
    rows = (np.arange(height) + 0.5) / height - horizon
    below = np.maximum(rows, 0.0)
    # Camera height over row distance is the distance on a flat sea.
    extinction = -np.log(max(1 - thickness, 1e-3)) * _HAZE_FLOOR
    sea = 1 - np.exp(-extinction / (below + _HAZE_FLOOR))
    sky = thickness * np.exp(np.minimum(rows, 0.0) / 0.35)
    return np.where(rows >= 0, sea, sky).astype(np.float32)


def _thickness(extinction_per_m: float) -> float:
    """Share of fog light at the horizon."""
    return 1 - float(np.exp(-extinction_per_m * _NEAR_SEA_M / _HAZE_FLOOR))


def air_light(image: np.ndarray, horizon: float) -> np.ndarray:
    """float64 [3] BGR: what distance fades to, the brighter part of the frame at its horizon with less colour.

    A night frame so gets dark fog.
    """
    height = len(image)
    middle, reach = horizon * height, max(0.06 * height, 1)
    top = int(np.clip(middle - reach, 0, height - 1))
    band = image[top : int(np.clip(middle + reach, top + 1, height)) : 2, ::4].reshape(-1, 3).astype(np.float64)
    grey = band.mean(axis=1)
    bright = band[grey >= np.percentile(grey, 60)].mean(axis=0)
    return np.clip(0.5 * bright + 0.5 * bright.mean() * np.array([1.02, 1.0, 0.98]) + 6, 0, 255)


def _towards(image: np.ndarray, colour: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The picture mixed with one colour, ``share`` float32 [H, W] of it."""
    plain = np.empty_like(image)
    plain[:] = np.round(colour).astype(np.uint8)
    return cv2.blendLinear(image, plain, 1 - share, share)


def fog(image: np.ndarray, draws: Draws, horizon: float, *, visibility_m: float, patchiness: float) -> np.ndarray:
    """Fog in drifting banks, thickest at the horizon."""
    height, width = image.shape[:2]
    share = fog_share(height, horizon, _thickness(3.0 / visibility_m))  # exp(-3) is 5 %
    rows, columns = max(height // _COARSE, 1), max(width // _COARSE, 1)
    banks = 1 + patchiness * draws.clouds(rows, columns, (4, 3))
    depth = cv2.resize(np.maximum(banks, 0.2), (width, height), interpolation=cv2.INTER_LINEAR)
    depth *= np.log1p(-share)[:, None]
    return _towards(image, air_light(image, horizon), 1 - cv2.exp(depth))


def glare(
    image: np.ndarray, draws: Draws, horizon: float, *, power: float, veil: float, path_width: float, exposure: float
) -> np.ndarray:
    """A low sun ahead: halo and rays, stray light in the lens, a glitter path on the water, the rest exposed darker."""
    height, width = image.shape[:2]
    aspect = width / height
    sun_x, sun_y = draws.uniform(0.2, 0.8), horizon - draws.uniform(0.08, 0.28)
    turn = draws.uniform(0, np.pi)
    texture = draws.octets(256, 256)
    rows, columns = max(height // _COARSE, 1), max(width // _COARSE, 1)
    y = ((np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None]
    x = ((np.arange(columns, dtype=np.float32) + 0.5) / columns)[None]
    dx, dy = (x - sun_x) * aspect, y - sun_y
    distance = np.sqrt(dx * dx + dy * dy)
    light = 2.2 * power * np.exp(-((distance / (0.02 + 0.02 * power)) ** 2))
    light += 0.75 * power / (1 + (distance / (0.07 + 0.05 * power)) ** 2)
    rays = np.abs(np.cos(3 * (np.arctan2(dy, dx) + turn))) ** 60
    light += 0.5 * power * rays * np.exp(-distance / (0.06 + 0.1 * power))
    light += veil
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    first = int(np.clip(np.ceil(horizon * height), 0, height))
    if first < height:
        light[first:] += power * _glitter(texture, (width, height), first, horizon, sun_x, path_width)
    colours = [cv2.convertScaleAbs(light, alpha=255 * tint) for tint in (0.86, 0.95, 1.0)]
    return cv2.add(cv2.convertScaleAbs(image, alpha=exposure), cv2.merge(colours))


def _glitter(
    texture: np.ndarray, size_wh: tuple[int, int], first: int, horizon: float, sun_x: float, path_width: float
) -> np.ndarray:
    """float32 [H - first, W]: glints below the sun, fine at the horizon, coarse close by, dense on the axis."""
    width, height = size_wh
    rows, columns = max((height - first) // 2, 1), max(width // 2, 1)
    below = (first + (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * (height - first) / rows) / height - horizon
    aside = ((np.arange(columns, dtype=np.float32)[None] + 0.5) / columns - sun_x) * (width / height)
    reach = 1 / (np.maximum(below, 0) + 0.02)  # distance on the sea
    across = aside * reach * 26 + 128
    along = np.broadcast_to(reach * 45, across.shape)
    waves = cv2.remap(texture, across, np.ascontiguousarray(along), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    path = np.exp(-((aside / (path_width * (0.35 + 1.3 * below))) ** 2))
    path *= np.minimum(1, 0.45 + 1.2 * np.exp(-below / 0.25))  # brightest under the sun, at the horizon
    glints = np.clip((waves.astype(np.float32) / 255 - 1 + 0.52 * path) * 5, 0, 1.2)
    glints += 0.3 * path
    return cv2.resize(glints, (width, height - first), interpolation=cv2.INTER_LINEAR)


def rain(
    image: np.ndarray,
    draws: Draws,
    horizon: float,
    *,
    rate_mm_h: float,
    near_drops: int,
    far_drops: int,
    opacity: float,
) -> np.ndarray:
    """Streaks near and far, all leaning the same way, and the haze of the rain between.

    Extinction is 0.31 R^0.67 per km for R mm/h, the usual fit for rain. A drop falls about 0.12 m while the shutter is
    open, so that streaks get shorter with distance; close ones are wide and faint, being out of focus.
    """
    height, width = image.shape[:2]
    unit = float(np.sqrt(height * width / (1920 * 1080)))
    lean = draws.uniform(0.06, 0.3) * (1 if draws.uniform() < 0.5 else -1)
    far, near, rows = draws.array(4500, 5), draws.array(140, 5), draws.octets(32, 512)
    far_layer = _streaks(far[:far_drops], (width, height), lean, (9 * unit, 34 * unit), 1, 1.0, min(1.0, unit + 0.15))
    near_layer = _streaks(
        near[:near_drops], (width, height), lean, (60 * unit, 170 * unit), max(round(3 * unit), 1), 0.7, 1.0
    )
    near_layer = cv2.blur(near_layer, (max(round(5 * unit), 1), max(round(5 * unit), 1)))
    drops = cv2.max(far_layer, near_layer)
    # Beyond that, drops are finer than pixels: a curtain, lighter and darker in slanted bands.
    curtain = cv2.resize(rows, (width, height), interpolation=cv2.INTER_LINEAR)
    slant = np.float32([[1, -lean, lean * height / 2], [0, 1, 0]])
    curtain = cv2.warpAffine(curtain, slant, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    share = fog_share(height, horizon, _thickness(0.31e-3 * rate_mm_h**0.67))
    clear = cv2.addWeighted(curtain, -0.35 * opacity / 255, drops, -opacity * 2.2 / 255, 1.0, dtype=cv2.CV_32F)
    clear *= 1 - share[:, None]
    soft = cv2.GaussianBlur(image, (0, 0), max(0.45 * unit * rate_mm_h**0.25, 0.1))
    return _towards(soft, np.minimum(air_light(image, horizon) * 1.06 + 8, 255), 1 - clear)


def _streaks(
    drawn: np.ndarray,
    size_wh: tuple[int, int],
    lean: float,
    length_px: tuple[float, float],
    thickness: int,
    strength: float,
    fine: float,
) -> np.ndarray:
    """uint8 [H, W]: lines at places ``drawn`` [N, 5] (x, y, length, lean, brightness, each 0..1)."""
    width, height = size_wh
    layer = np.zeros((height, width), np.uint8)
    length = length_px[0] + (length_px[1] - length_px[0]) * drawn[:, 2] ** 2
    start = drawn[:, :2] * [width * 1.3, height * 1.2] - [width * 0.15, height * 0.1]
    fall = np.stack([(lean + 0.04 * (drawn[:, 3] - 0.5)) * length, length], axis=1)
    lines = np.round(np.stack([start, start + fall], axis=1) * 16).astype(np.int32)
    level = (drawn[:, 4] * 5).astype(int)
    for step in range(5):  # five brightnesses, each drawn in one call
        shade = round(255 * strength * fine * (0.3 + 0.14 * step))
        cv2.polylines(layer, list(lines[level == step]), False, shade, thickness, cv2.LINE_AA, 4)
    return layer
