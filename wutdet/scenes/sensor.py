"""From the ideal picture to the camera's: lamps and glow, rain, blur, vignette, noise, video compression, text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from wutdet.scenes import noise
from wutdet.scenes.dice import Dice
from wutdet.scenes.painter import Canvas


@dataclass(frozen=True)
class Sensor:
    """One camera's own look, the same for a whole sequence.

    Attributes:
        blur_px: deviation of the lens blur. motion_px: length of motion blur. vignette: 0..1 darkening of corners.
        contrast, brightness, saturation: of the camera's picture settings.
        exposure: mean level that automatic exposure aims at by day.
        video_quality: JPEG quality of a weak video link, 0 for none.
        caption: text burnt into the picture, or empty; caption_place: its corner.
        drops: rain drops on the glass.
    """

    blur_px: float
    motion_px: int
    vignette: float
    contrast: float
    brightness: float
    exposure: float
    saturation: float
    video_quality: int
    caption: str
    caption_place: int
    drops: int


def make_sensor(dice: Dice, moving: bool, rain: float, dark: bool) -> Sensor:
    return Sensor(
        blur_px=dice.pick([0.0, 0.5, 0.8, 1.2], [2, 4, 3, 1]),
        motion_px=dice.integer(2, 7)
        if (dice.chance(0.25) if moving else dice.chance(0.05)) or (dark and moving)
        else 0,
        vignette=dice.uniform(0, 0.35) if dice.chance(0.6) else 0.0,
        contrast=dice.uniform(0.88, 1.22),
        brightness=dice.uniform(-10, 12) if not dark else dice.uniform(-2, 14),
        exposure=dice.uniform(112, 150),
        saturation=dice.uniform(0.6, 1.35),
        video_quality=dice.integer(18, 45) if dice.chance(0.3) else 0,
        caption=dice.pick(["", "CAM 03", "QUAY EAST", "HARBOUR 2", "PTZ-1"], [5, 1, 1, 1, 1]),
        caption_place=dice.integer(0, 3),
        drops=dice.integer(2, 18) if rain > 0 and dice.chance(0.5) else 0,
    )


@lru_cache(maxsize=4)
def _vignette(size_wh: tuple[int, int], strength: float) -> np.ndarray:
    width, height = size_wh
    y, x = np.mgrid[0:height:8, 0:width:8].astype(np.float32)
    radius = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
    small = (255 * (1 - strength * radius)).astype(np.uint8)
    grey = cv2.resize(small, size_wh, interpolation=cv2.INTER_LINEAR)
    return cv2.merge([grey, grey, grey])


def add_lamps(canvas: Canvas) -> None:
    """Adds the lamps that the painter met, unless something nearer covers them; with streaks on the water."""
    if not canvas.lamps:
        return
    height, width = canvas.frame.shape[:2]
    power = canvas.weather.lamps
    step = 2
    layer = np.zeros((height // step, width // step, 3), np.float32)
    sharp = np.zeros_like(canvas.frame)
    for u, v, radius, colour, owner in canvas.lamps:
        now = int(canvas.owner[int(v), int(u)])
        if now not in (owner, 0):
            continue
        full = tuple(min(255.0, 255 * c * (0.5 + power)) for c in colour)
        centre = (round(u * 16), round(v * 16))
        cv2.circle(sharp, centre, max(10, round(radius * 10)), full, -1, cv2.LINE_AA, 4)
        x, y = int(u) // step, int(v) // step
        cv2.circle(layer, (x, y), max(1, int(radius)), tuple(45 * c * power * (1 + 0.4 * radius) for c in colour), -1)
        reach = int(min(height * 0.12, 10 + radius * 18)) // step
        cv2.line(
            layer,
            (x, y),
            (x, min(height // step - 1, y + reach * 2)),
            tuple(14 * c * power for c in colour),
            max(1, int(radius)),
        )
    glow = cv2.GaussianBlur(layer, (0, 0), 3.0)
    wide = cv2.GaussianBlur(cv2.resize(layer, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), (0, 0), 5.0)
    glow = glow + 1.2 * cv2.resize(wide, (glow.shape[1], glow.shape[0]), interpolation=cv2.INTER_LINEAR)
    glow8 = np.clip(glow, 0, 255).astype(np.uint8)
    cv2.add(canvas.frame, cv2.resize(glow8, (width, height), interpolation=cv2.INTER_LINEAR), canvas.frame)
    cv2.max(canvas.frame, sharp, canvas.frame)


def add_rain(frame: np.ndarray, rain: float, dice: Dice) -> np.ndarray:
    """Slanted bright streaks and a thin veil."""
    height, width = frame.shape[:2]
    streaks = np.zeros((height // 2, width // 2), np.uint8)
    slant = dice.uniform(-0.25, 0.25)
    for _ in range(int(700 * rain)):
        x, y, long = dice.uniform(0, width / 2), dice.uniform(-20, height / 2), dice.uniform(5, 28)
        cv2.line(streaks, (int(x), int(y)), (int(x + long * slant), int(y + long)), int(dice.uniform(8, 38)), 1)
    streaks = cv2.blur(streaks, (1, 3))
    bright = max(0.25, min(1.0, float(frame[::16, ::16].mean()) / 130))
    large = cv2.resize(streaks, (width, height), interpolation=cv2.INTER_LINEAR)
    large = cv2.convertScaleAbs(large, alpha=bright * 1.3)
    return cv2.add(frame, cv2.merge([large, large, large]))


def _drops(frame: np.ndarray, count: int, dice: Dice) -> None:
    """Blurred drops on the glass; they stay small, so that they hide no large part of the picture."""
    height, width = frame.shape[:2]
    for _ in range(count):
        r = int(dice.uniform(0.006, 0.022) * width)
        x, y = dice.integer(r, width - r - 1), dice.integer(r, height - r - 1)
        region = frame[y - r : y + r, x - r : x + r]
        soft = cv2.flip(cv2.GaussianBlur(region, (0, 0), r / 5), 0)
        area = np.zeros(region.shape[:2], np.float32)
        cv2.ellipse(area, (r, r), (int(r * 0.7), int(r * 0.85)), 0, 0, 360, 0.75, -1)
        area = cv2.GaussianBlur(area, (0, 0), r / 6)[..., None]
        region[...] = (region + (soft.astype(np.float32) * 1.04 - region) * area).clip(0, 255).astype(np.uint8)


def expose(canvas: Canvas, sensor: Sensor, lens: Dice, dice: Dice, time_s: float) -> np.ndarray:
    """uint8 BGR [H, W, 3]: what the camera stores. ``lens`` is the same for a whole sequence, ``dice`` for a frame."""
    weather = canvas.weather
    add_lamps(canvas)
    frame = canvas.frame
    if sensor.drops:
        _drops(frame, sensor.drops, lens)
    if weather.rain > 0:
        frame = add_rain(frame, weather.rain, dice)
    if sensor.motion_px > 1:
        frame = cv2.blur(frame, (sensor.motion_px, 1))
    if sensor.blur_px > 0:
        frame = cv2.GaussianBlur(frame, (5, 5), sensor.blur_px)
    if abs(sensor.saturation - 1) > 0.08:
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        frame = cv2.addWeighted(frame, sensor.saturation, cv2.merge([grey, grey, grey]), 1 - sensor.saturation, 0)
    if sensor.vignette > 0:
        frame = cv2.multiply(frame, _vignette(canvas.camera.size_wh, round(sensor.vignette, 2)), scale=1 / 255)
    # Automatic exposure: the camera brings a dull day up to middle grey, and a night only part of the way.
    found = max(8.0, float(frame[::16, ::16].mean()))
    gain = np.clip((sensor.exposure if weather.lamps == 0 else 0.5 * sensor.exposure) / found, 0.8, 1.45)
    middle = 118.0 if weather.lamps == 0 else 40.0
    tones = (np.arange(256) * gain - middle) * sensor.contrast + middle + sensor.brightness
    table = np.clip(tones, 0, 255).astype(np.uint8)
    frame = cv2.LUT(frame, table)
    plus, minus = noise.sensor_noise(weather.grain)
    height, width = frame.shape[:2]
    y, x = dice.integer(0, plus.shape[0] - height), dice.integer(0, plus.shape[1] - width)
    frame = cv2.subtract(cv2.add(frame, plus[y : y + height, x : x + width]), minus[y : y + height, x : x + width])
    if sensor.caption:
        _burn_in(frame, sensor, time_s)
    if sensor.video_quality:
        _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, sensor.video_quality])
        frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return frame


def _burn_in(frame: np.ndarray, sensor: Sensor, time_s: float) -> None:
    height, width = frame.shape[:2]
    scale = height / 1080 * 1.1
    seconds = int(time_s) + 36_000
    stamp = f"{sensor.caption}  2026-05-14 {seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    (wide, tall), _ = cv2.getTextSize(stamp, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    x = 30 if sensor.caption_place % 2 == 0 else width - wide - 30
    y = tall + 25 if sensor.caption_place < 2 else height - 30
    cv2.putText(frame, stamp, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 5, cv2.LINE_AA)
    cv2.putText(frame, stamp, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (245, 245, 245), 2, cv2.LINE_AA)
