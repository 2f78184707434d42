"""Sky and sea of one frame: gradients, clouds, sun, waves in perspective, white caps, glitter."""

from __future__ import annotations

import cv2
import numpy as np

from wutdet.scenes import noise
from wutdet.scenes.camera import Camera
from wutdet.scenes.dice import Dice
from wutdet.scenes.weather import Weather

_SKY_STEP = 4  # the sky is smooth: it is computed on every 4th pixel and enlarged
_WATER_STEP = 8


def _grid(camera: Camera, top: int, bottom: int, step: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Ray directions of cell centres for rows top..bottom, and the size (w, h) of the strip they enlarge to."""
    width = camera.size_wh[0]
    columns, rows = -(-width // step), max(1, -(-(bottom - top) // step))
    u = (np.arange(columns) + 0.5) * step
    v = top + (np.arange(rows) + 0.5) * step
    return camera.directions(u, v), (columns * step, rows * step)


def paint_sky(
    frame: np.ndarray, camera: Camera, weather: Weather, bottom: int, cloud_shift: tuple[float, float]
) -> None:
    """Fills rows 0..bottom of ``frame`` in place. ``cloud_shift`` (texels) moves the clouds."""
    bottom = min(bottom, frame.shape[0])
    if bottom <= 0:
        return
    rays, (wide, high) = _grid(camera, 0, bottom, _SKY_STEP)
    up = np.maximum(rays[..., 2], 0.0)
    share = 1 - np.exp(-up * 4.5)
    low, top = np.float32(weather.sky_low), np.float32(weather.sky_high)
    sky = low + (top - low) * share[..., None]
    if weather.cloud_cover > 0.02:
        reach = 1.0 / (up + 0.09)
        map_x = (rays[..., 0] * reach * 90 + cloud_shift[0]).astype(np.float32)
        map_y = (rays[..., 1] * reach * 90 + cloud_shift[1]).astype(np.float32)
        texture = cv2.remap(noise.clouds(), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        density = np.clip((texture + (weather.cloud_cover - 0.5) * 3.2) * 0.8, 0, 1)
        density *= np.clip(up * 14 + 0.25, 0, 1)
        depth = np.clip(texture * 0.35 + 0.35, 0, 1)[..., None]
        cloud = (
            np.float32(weather.cloud_light) + (np.float32(weather.cloud_dark) - np.float32(weather.cloud_light)) * depth
        )
        cloud = cloud * 0.75 + sky * 0.25
        sky += (cloud - sky) * (density * 0.9)[..., None]
    # Thick air hides the sky, most of all near the horizon.
    veil = (
        np.exp(-up * weather.visibility_m / 2500.0)[..., None]
        if weather.visibility_m < 9000
        else np.exp(-up * 22)[..., None] * 0.6
    )
    sky += (np.float32(weather.air) - sky) * veil
    if weather.sun_glare > 0:
        angle = np.arccos(np.clip(rays @ np.float32(weather.sun), -1, 1))
        glow = weather.sun_glare * (
            260 * np.exp(-((angle / 0.035) ** 2)) + 90 * np.exp(-angle / 0.12) + 45 * np.exp(-angle / 0.5)
        )
        sky += glow[..., None] * np.float32([0.86, 0.95, 1.0])
    small = np.clip(sky, 0, 255).astype(np.uint8)
    large = cv2.resize(small, (wide, high), interpolation=cv2.INTER_LINEAR)
    frame[:bottom] = large[:bottom, : frame.shape[1]]


def _wave_field(
    camera: Camera, weather: Weather, top: int, dice: Dice, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 [rows, W] wave heights of deviation about 1 for rows top.., and white caps 0..1 (or None).

    Each band of distances samples the texture with texels about as large as one pixel there, in both directions, so
    that far water shows fine streaks and near water shows single waves.

    Args:
        below: float32 [rows, W] or [rows, 1], rows that each pixel lies below the horizon.
    """
    width, height = camera.size_wh
    rows = height - top
    field = np.zeros((rows, width), np.float32)
    caps = np.zeros((rows, width), np.float32) if weather.sea > 0.45 else None
    ground = camera.ray_matrix()
    lateral = np.array([np.cos(camera.yaw), -np.sin(camera.yaw), 0.0]) @ ground
    ahead = np.array([np.sin(camera.yaw), np.cos(camera.yaw), 0.0]) @ ground
    tall = camera.height_m
    scale = camera.focal_px * tall  # distance = scale / rows below the horizon
    ratio = 3.0
    smallest_m = 0.035 + 0.05 * weather.sea
    capacity_x, capacity_y = (noise.TEXTURE_SIZE * (tiles - 1) - 8 for tiles in noise.WAVE_TILES)
    log_below = cv2.log(np.maximum(below, 0.3))
    highest, lowest = below.max(axis=1), below.min(axis=1)
    centre = scale / max(1.0, float(highest[-1])) * 1.2
    for level in range(9):
        if centre > camera.horizon_m * ratio:
            break
        near_row = scale / centre * ratio if level else np.inf
        found = np.flatnonzero((highest >= scale / (centre * ratio)) & (lowest <= near_row))
        if len(found):
            first, last = int(found[0]), int(found[-1]) + 1
            reach = centre * ratio * 1.05
            half_view = reach * width / camera.focal_px * 0.55
            texel_x = max(centre / camera.focal_px, smallest_m, 2 * half_view / capacity_x)
            texel_y = max(0.8 * centre * centre / scale, smallest_m, reach / capacity_y)
            shift_x, shift_y = half_view / texel_x + dice.uniform(4, 1020), dice.uniform(4, 1020)
            to_ground = np.array([lateral * (-tall / texel_x), ahead * (-tall / texel_y), ground[2]])
            offset = np.array([[1, 0, 0.5], [0, 1, top + first + 0.5], [0, 0, 1]])
            to_texture = np.array([[1, 0, shift_x], [0, 1, shift_y], [0, 0, 1]]) @ to_ground @ offset
            size = (width, last - first)
            how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            log_distance = np.log(scale) - log_below[first:last]
            weight = log_distance * (1 / np.log(ratio)) - np.log(centre) / np.log(ratio)
            weight = np.maximum(0, 1 - (np.abs(weight) if level else np.maximum(weight, 0))).astype(np.float32)
            layer = cv2.warpPerspective(noise.waves(), to_texture, size, flags=how, borderValue=128)
            height_map = layer.astype(np.float32)
            height_map -= 128
            height_map *= weight
            field[first:last] += height_map
            if caps is not None and level < 5:
                white = cv2.warpPerspective(noise.foam(), to_texture, size, flags=how).astype(np.float32)
                white *= weight
                caps[first:last] += white
        centre *= ratio
    field *= 1 / noise.WAVE_LEVELS
    if caps is not None:
        caps *= 1 / 255
    return field, caps


def paint_water(frame: np.ndarray, camera: Camera, weather: Weather, dice: Dice) -> int:
    """Paints the sea below the horizon in place and returns the first row that has water (H where there is none)."""
    width, height = camera.size_wh
    edge = camera.horizon_v(np.array([0.0, float(width)]))
    top = int(np.clip(np.floor(edge.min()), 0, height))
    if top >= height:
        return height
    rays, (wide, high) = _grid(camera, top, height, _WATER_STEP)
    down = np.maximum(-rays[..., 2], 1e-5)
    tall = camera.height_m
    distance = np.minimum(tall / down, camera.horizon_m)
    slope = 0.06 + 0.1 * weather.sea
    mirror = 0.03 + 0.97 * (1 - np.minimum(1, np.hypot(down, slope))) ** 5
    low, top_sky = np.float32(weather.sky_low), np.float32(weather.sky_high)
    reflected = low + (top_sky - low) * np.clip(0.35 + 0.5 * down + 0.2 * weather.sea, 0, 1)[..., None]
    reflected *= 0.93
    colour = np.float32(weather.water) * (1 - mirror[..., None]) + reflected * mirror[..., None]
    azimuth = np.arctan2(rays[..., 0], rays[..., 1])
    gust_x = (azimuth * 350 + dice.uniform(0, 1024)).astype(np.float32)
    gust_y = (np.log(distance) * 130 + dice.uniform(0, 1024)).astype(np.float32)
    gusts = cv2.remap(noise.clouds(), gust_x, gust_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    colour *= 1 + 0.035 * gusts[..., None]
    clear = weather.transmission(distance).astype(np.float32)
    span = float(np.abs(low * 0.9 - np.float32(weather.water)).mean())
    strength = (0.04 + 0.2 * weather.sea) * span * clear * np.clip(0.35 + 25 * down, 0.35, 1.3)
    glint = None
    if weather.sun_glare > 0:
        sun_azimuth = np.arctan2(weather.sun[0], weather.sun[1])
        away = np.abs((azimuth - sun_azimuth + np.pi) % (2 * np.pi) - np.pi)
        sun_up = max(0.05, weather.sun[2])
        path = np.exp(-((away / (0.12 + 0.2 * weather.sea + 0.25 * down)) ** 2)) * np.exp(
            -(((down - sun_up * 0.7) / (sun_up + 0.25)) ** 2)
        )
        glint = (path * weather.sun_glare).astype(np.float32)
        colour += (glint * 85)[..., None] * np.float32([0.85, 0.95, 1.0])
    colour += (np.float32(weather.air) - colour) * (1 - clear[..., None])

    def enlarge(small: np.ndarray) -> np.ndarray:
        return cv2.resize(small, (wide, high), interpolation=cv2.INTER_LINEAR)[: height - top, :width]

    base = enlarge(np.clip(colour, 0, 255).astype(np.uint8))
    columns = np.array([0.0, width - 1.0]) + 0.5
    line = camera.horizon_v(columns)
    along = np.linspace(line[0], line[1], width, dtype=np.float32)
    rows = np.arange(top, height, dtype=np.float32) + 0.5
    below = rows[:, None] - along[None, :] if abs(line[0] - line[1]) > 0.5 else rows[:, None] - along[:1]
    field, caps = _wave_field(camera, weather, top, dice, below)
    gain = enlarge(strength.astype(np.float32))
    ripple = field * gain
    if glint is not None:
        sparkle = np.maximum(field - 0.9, 0)
        sparkle *= enlarge(glint * 260 * clear)
        ripple += sparkle
    if caps is not None:
        caps *= enlarge(
            (
                clear
                * max(0.0, weather.sea - 0.45)
                * 2.2
                * (255 - np.float32(weather.water).mean())
                * (weather.ambient + weather.light)
            ).astype(np.float32)
        )
        ripple += caps
    ripple16 = ripple.astype(np.int16)
    water = cv2.add(base, cv2.merge([ripple16, ripple16, ripple16]), dtype=cv2.CV_8U)
    solid = int(np.clip(np.ceil(line.max()) + 1, top, height))
    if solid > top:  # rows that the horizon crosses
        share = np.clip(rows[: solid - top, None] - along[None, :] + 0.5, 0, 1)[..., None]
        strip = frame[top:solid].astype(np.float32)
        strip += (water[: solid - top] - strip) * share
        frame[top:solid] = strip.astype(np.uint8)
    frame[solid:] = water[solid - top :]
    return top
