"""Ridges: long pieces of land (far hills, woods, beaches, trees in front of the camera) drawn as textured bands."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wutdet.scenes import noise
from wutdet.scenes.camera import NEAR_M
from wutdet.scenes.dice import Dice
from wutdet.scenes.painter import Canvas


@dataclass(frozen=True, eq=False)
class Ridge:
    """A strip of land that stands up from the ground.

    Attributes:
        xy: float64 [N, 2] foot points in world metres, from left to right as the camera sees them.
        foot_z: height of the foot (0 at the waterline).
        top_z: float64 [N] height of the upper edge.
        colour: BGR. rough: strength of the texture. clump_m: size of its clumps in metres.
        beach: BGR of a bright foot strip, with its height in metres, or None.
        hides: whether it covers ships behind it (false for land far behind all ships).
    """

    xy: np.ndarray
    foot_z: float
    top_z: np.ndarray
    colour: tuple[float, float, float]
    rough: float
    clump_m: float
    beach: tuple[tuple[float, float, float], float] | None = None
    hides: bool = True
    mirror: float = 0.0

    @property
    def distance_m(self) -> float:
        """Median distance of the foot from the world's origin, where the camera starts."""
        return float(np.median(np.hypot(self.xy[:, 0], self.xy[:, 1])))


def profile(dice: Dice, count: int, waves: tuple[int, ...] = (3, 7, 17, 41, 97), fall: float = 0.62) -> np.ndarray:
    """float64 [count] random outline between 0 and 1."""
    total, weight = np.zeros(count), 1.0
    place = np.linspace(0, 1, count)
    for points in waves:
        knots = dice.array(points + 1).astype(np.float64)
        total += weight * np.interp(place, np.linspace(0, 1, points + 1), knots)
        weight *= fall
    total -= total.min()
    return total / max(1e-9, total.max())


def draw_ridge(canvas: Canvas, ridge: Ridge) -> None:
    """Draws the ridge over what is there."""
    camera, weather = canvas.camera, canvas.weather
    count = len(ridge.xy)
    foot, foot_depth = camera.project(np.column_stack([ridge.xy, np.full(count, ridge.foot_z)]))
    top, _ = camera.project(np.column_stack([ridge.xy, ridge.top_z]))
    ahead = foot_depth > NEAR_M * 2
    if np.count_nonzero(ahead) < 2:
        return
    foot, top = foot[ahead], top[ahead]
    width, height = camera.size_wh
    outline = np.concatenate([top, foot[::-1]])
    left, right = max(0, int(outline[:, 0].min()) - 1), min(width, int(outline[:, 0].max()) + 2)
    upper, lower = max(0, int(outline[:, 1].min()) - 1), min(height, int(outline[:, 1].max()) + 2)
    if right <= left or lower <= upper:
        return
    distance = float(np.median(foot_depth[ahead]))
    clear = float(weather.transmission(distance))
    strength = (weather.ambient + 0.45 * weather.light) * np.float32(weather.tint)
    air = np.float32(weather.air)
    size = (right - left, lower - upper)
    texel = max(1.0, ridge.clump_m * camera.focal_px / distance / 10)
    matrix = np.array(
        [
            [1 / texel, 0, (left + camera.yaw * camera.focal_px) / texel],
            [0, 1 / texel, (upper - camera.pitch * camera.focal_px) / texel],
        ]
    )
    grain = cv2.warpAffine(
        noise.leaves(), matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
    )
    own = np.float32(ridge.colour) * strength * clear
    shade = 1 + np.clip((np.arange(256, dtype=np.float32) - 128) / 40 * ridge.rough, -0.6, 0.9)
    table = np.clip(shade[:, None] * own + air * (1 - clear), 0, 255).astype(np.uint8).reshape(1, 256, 3)
    picture = cv2.LUT(cv2.merge([grain, grain, grain]), table)

    def mask(polygon: np.ndarray) -> np.ndarray:
        area = np.zeros((size[1], size[0]), np.uint8)
        points = np.round((np.clip(polygon, -30000, 30000) - (left, upper)) * 16).astype(np.int32)
        cv2.fillPoly(area, [points], 255, cv2.LINE_AA, 4)
        return area

    if ridge.beach is not None:
        colour, tall = ridge.beach
        line, _ = camera.project(np.column_stack([ridge.xy, np.full(count, ridge.foot_z + tall)])[ahead])
        sand = np.clip(np.float32(colour) * strength * clear + air * (1 - clear), 0, 255)
        strip = mask(np.concatenate([line, foot[::-1]]))
        picture[strip > 127] = sand.astype(np.uint8)
    cover = mask(outline)
    region = canvas.frame[upper:lower, left:right]
    if ridge.mirror > 0:
        _darken_water(canvas, foot, top, ridge.mirror, own + air * (1 - clear))
    inner = cover == 255
    edge = (cover > 0) & ~inner
    share = cover[edge][:, None].astype(np.uint16)
    mixed = (region[edge] * (255 - share) + picture[edge] * share + 127) // 255
    cv2.copyTo(picture, inner.astype(np.uint8), region)
    region[edge] = mixed
    if ridge.hides:
        canvas.owner[upper:lower, left:right][cover >= 128] = 0


def _darken_water(canvas: Canvas, foot: np.ndarray, top: np.ndarray, strength: float, colour: np.ndarray) -> None:
    deep = foot + (foot - top) * (0.0, 0.8)
    outline = np.concatenate([foot, deep[::-1]])
    height, width = canvas.frame.shape[:2]
    upper, lower = max(0, int(foot[:, 1].min())), min(height, int(deep[:, 1].max()) + 2)
    if lower - upper < 2:
        return
    area = np.zeros((lower - upper, width), np.uint8)
    points = np.round((np.clip(outline, -30000, 30000) - (0, upper)) * 16).astype(np.int32)
    cv2.fillPoly(area, [points], round(256 * strength), cv2.LINE_8, 4)
    tall = max(1, (lower - upper) // 3) | 1
    area = cv2.blur(area, (1, min(tall, 61))).astype(np.uint16)[..., None]
    region = canvas.frame[upper:lower]
    region[...] = (region * (256 - area) + np.clip(colour, 0, 255).astype(np.uint16) * area) >> 8
