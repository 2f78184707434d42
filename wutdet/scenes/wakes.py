"""Wakes, bow waves and birds: white things on and over the water that are no ships."""

from __future__ import annotations

import cv2
import numpy as np

from wutdet.scenes import noise
from wutdet.scenes.camera import NEAR_M
from wutdet.scenes.dice import Dice
from wutdet.scenes.painter import Canvas
from wutdet.scenes.stage import Actor


def draw_wake(canvas: Canvas, actor: Actor, time_s: float, dice: Dice) -> None:
    """White water along the hull and behind a ship under way; drawn before any ship."""
    if actor.speed < 1.2 or not actor.ship:
        return
    (x, y, _), heading, _, _ = actor.pose(time_s)
    camera, weather = canvas.camera, canvas.weather
    length, beam = actor.length_m, actor.length_m * (0.3 if actor.length_m < 40 else 0.16)
    ahead = np.array([np.sin(heading), np.cos(heading)])
    left = np.array([-np.cos(heading), np.sin(heading)])
    quick = min(1.0, actor.speed / 9)
    trail = length * (0.8 + 3.5 * quick) + actor.speed * 5
    steps = 14
    back = np.concatenate(
        [
            [length * 0.52],
            np.linspace(length * 0.35, -length * 0.5, 4),
            -length * 0.5 - trail * np.linspace(0.06, 1, steps),
        ]
    )
    half = np.concatenate([[0.0], np.full(4, beam * 0.62), beam * 0.5 * (1 + np.linspace(0, 1.6 + quick, steps))])
    power = np.concatenate([[0.5], np.full(4, 0.75), np.linspace(0.75, 0.0, steps) ** 1.2]) * (0.3 + 0.7 * quick)
    centre = np.array([x, y]) + back[:, None] * ahead
    edges = np.concatenate([centre + half[:, None] * left, centre - half[:, None] * left])
    pixels, depth = camera.project(np.column_stack([edges, np.zeros(len(edges))]))
    if depth.min() < NEAR_M * 3:
        return
    width, height = camera.size_wh
    x0, y0 = np.floor(pixels.min(axis=0)).astype(int) - 3
    x1, y1 = np.ceil(pixels.max(axis=0)).astype(int) + 4
    x0, y0, x1, y1 = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
    if x1 <= x0 or y1 <= y0:
        return
    area = np.zeros((y1 - y0, x1 - x0), np.uint8)
    points = np.round((np.clip(pixels, -20000, 20000) - (x0, y0)) * 16).astype(np.int32)
    count = len(back)
    for i in range(count - 1, 0, -1):
        quad = np.array([points[i - 1], points[i], points[count + i], points[count + i - 1]])
        cv2.fillConvexPoly(area, quad, int(255 * power[i]), cv2.LINE_AA, 4)
    if quick > 0.4 and actor.length_m < 60:  # the two arms of the wave pattern
        for sign in (0, count):
            line = (
                points[sign + 4 :: 1][: count - 4]
                + (points[sign + 4 :: 1][: count - 4] - points[(count if sign == 0 else 0) + 4 :: 1][: count - 4]) // 2
            )
            cv2.polylines(area, [line.reshape(-1, 1, 2)], False, int(110 * quick), 1, cv2.LINE_AA, 4)
    per_m = camera.focal_px / float(np.median(depth))
    area = cv2.GaussianBlur(area, (0, 0), max(0.5, min(6.0, per_m * beam * 0.12)))
    sx, sy = dice.integer(0, 900), dice.integer(0, 900)
    zoom = max(0.15, min(1.0, 6 / max(per_m, 0.01) / 6))
    matrix = np.array([[zoom * 2, 0, sx], [0, zoom * 5, sy]])
    grain = cv2.warpAffine(
        noise.leaves(),
        matrix,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
    clear = float(weather.transmission(np.median(depth)))
    share = area.astype(np.float32) / 255 * np.clip(0.72 + (grain.astype(np.float32) - 128) * (0.3 / 40), 0, 1) * clear
    white = np.minimum(
        np.float32([238, 238, 235]) * (weather.ambient + 0.7 * weather.light) * np.float32(weather.tint), 255
    )
    region = canvas.frame[y0:y1, x0:x1]
    region[...] = (region + (white - region) * share[..., None]).astype(np.uint8)


def draw_birds(canvas: Canvas, count: int, dice: Dice) -> None:
    """Gulls: small bent strokes over the water, dark or bright."""
    width, height = canvas.camera.size_wh
    line = float(canvas.camera.horizon_v(np.array([width / 2]))[0])
    for _ in range(count):
        u, v = dice.uniform(0, width), np.clip(line + dice.bell(0.16) * height, 5, height - 5)
        size = dice.log_uniform(2.0, 15.0) * width / 1920
        lift, lean = dice.uniform(-0.5, 0.6) * size, dice.bell(0.25) * size
        tone = dice.pick([(40, 40, 42), (70, 70, 72), (215, 218, 220)])
        tone = tuple(c * min(1.0, canvas.weather.ambient + canvas.weather.light) for c in tone)
        wing = np.array(
            [
                (u - size, v - lift + lean),
                (u - size * 0.45, v - lift * 0.4 - size * 0.12),
                (u, v),
                (u + size * 0.45, v - lift * 0.4 - size * 0.12),
                (u + size, v - lift - lean),
            ]
        )
        points = np.round(wing * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(canvas.frame, [points], False, tone, max(1, round(size / 7)), cv2.LINE_AA, 4)
