"""Canvas: a frame in the making, with the owner of every pixel; draws Solids with their true coverage."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wutdet.scenes import noise
from wutdet.scenes.camera import NEAR_M, Camera
from wutdet.scenes.solids import Solid
from wutdet.scenes.weather import Weather

#: A pixel belongs to the nearest object that covers at least this share of it (of 255): 20 %.
OWNED_ALPHA = 51
_SHIFT = 4  # cv2 draws with coordinates of 1/16 pixel


@dataclass
class Drawn:
    """What the painter knows of a labelled object right after drawing it.

    Attributes:
        pixels: pixels owned at that moment.
        inside: share of its bounding box that lies in the frame.
        contrast: mean difference (levels, strongest channel) to what was behind.
        bounds: left, top, right, bottom of the region it was drawn in.
    """

    pixels: int
    inside: float
    contrast: float
    bounds: tuple[int, int, int, int]


class Canvas:
    """The picture (uint8 BGR [H, W, 3]) and the owner of each pixel (uint16 [H, W], 0 for none)."""

    def __init__(self, camera: Camera, weather: Weather):
        self.camera, self.weather = camera, weather
        width, height = camera.size_wh
        self.frame = np.empty((height, width, 3), np.uint8)
        self.owner = np.zeros((height, width), np.uint16)
        self.lamps: list[tuple[float, float, float, tuple[float, float, float], int]] = []

    def blend(self, left: int, top: int, patch: np.ndarray, owner: int) -> tuple[int, float]:
        """Lays a premultiplied BGRA patch over the frame; returns owned pixels and their mean contrast."""
        height, width = patch.shape[:2]
        region = self.frame[top : top + height, left : left + width]
        alpha = patch[..., 3]
        keep = 255 - alpha.astype(np.uint16)
        before = region.copy() if owner else None
        # x * 257 >> 16 is x / 255 to within one level, in whole numbers: the same on every machine.
        behind = ((region * keep[..., None] + 128).astype(np.uint32) * 257 >> 16).astype(np.uint8)
        cv2.add(behind, np.ascontiguousarray(patch[..., :3]), region)
        mine = alpha >= OWNED_ALPHA
        self.owner[top : top + height, left : left + width][mine] = owner
        if before is None:
            return 0, 0.0
        count = int(np.count_nonzero(mine))
        if not count:
            return 0, 0.0
        blue, green, red = cv2.split(cv2.absdiff(region, before))
        strongest = cv2.max(cv2.max(blue, green), red)
        return count, float(cv2.mean(strongest, mine.view(np.uint8))[0])

    def shade(self, solid: Solid, heading: float) -> np.ndarray:
        """float32 [F, 3] face colours under this weather's light, for a model turned to ``heading``."""
        weather = self.weather
        east, north, up = weather.sun
        sin_h, cos_h = np.sin(heading), np.cos(heading)
        # Model axes in the world: x forward = (sin, cos), y to port = (-cos, sin).
        sun = np.float32([east * sin_h + north * cos_h, -east * cos_h + north * sin_h, up])
        facing = solid.normal @ sun
        facing = np.where(solid.two_sided, np.abs(facing) * 0.8 + 0.1, facing)
        sky = 0.88 + 0.12 * solid.normal[:, 2]
        strength = weather.ambient * sky + weather.light * np.maximum(facing, 0)
        return np.clip(solid.colour * strength[:, None] * np.float32(weather.tint), 0, 255)

    def draw(
        self,
        solid: Solid,
        position,
        heading: float,
        owner: int = 0,
        roll: float = 0.0,
        pitch: float = 0.0,
        mirror: float = 0.0,
    ) -> Drawn | None:
        """Draws a model; None where it is outside the frame or behind the camera.

        Args:
            position: world metres of the model's origin. heading: radians clockwise from north.
            owner: id written to the owner buffer; 0 for things that are not ships (they hide ships all the same).
            mirror: 0..1, strength of the reflection on the water below.
        """
        camera, weather = self.camera, self.weather
        sin_h, cos_h = np.sin(heading), np.cos(heading)
        turn = np.array([[sin_h, -cos_h, 0], [cos_h, sin_h, 0], [0, 0, 1.0]])
        if roll or pitch:
            cr, sr, cp, sp = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch)
            turn = (
                turn
                @ np.array([[cp, 0, -sp], [0, 1, 0], [sp, 0, cp]])
                @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
            )
        position = np.asarray(position, np.float64)
        pixels, depth = camera.project(solid.vertices @ turn.T + position)
        if depth.min() < NEAR_M:
            return None
        (x0, y0), (x1, y1) = pixels.min(axis=0), pixels.max(axis=0)
        width, height = camera.size_wh
        left, top = max(0, int(np.floor(x0)) - 1), max(0, int(np.floor(y0)) - 1)
        right, bottom = min(width, int(np.ceil(x1)) + 1), min(height, int(np.ceil(y1)) + 1)
        if right <= left or bottom <= top:
            return None
        distance = float(np.median(depth))
        per_m = camera.focal_px / distance
        extent = max(x1 - x0, y1 - y0)
        sub = 8 if extent < 40 else 4 if extent < 220 else 2
        canvas = np.zeros(((bottom - top) * sub, (right - left) * sub, 4), np.uint8)
        eye = (np.array(camera.position) - position) @ turn
        self._faces(canvas, solid, (pixels - (left, top)) * sub, eye, per_m, sub, heading, distance)
        patch = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        if extent > 30:
            self._weathered(
                patch, per_m, distance, int(abs(position[0]) * 7 + abs(position[1]) * 3) if owner == 0 else owner * 97
            )
        if mirror > 0:
            self._mirror(left, top, patch, mirror)
        owned, contrast = self.blend(left, top, patch, owner)
        if weather.lamps > 0 and len(solid.lights):
            self._remember_lamps(solid, turn, position, distance)
        inside = (right - left) * (bottom - top) / ((x1 - x0 + 2) * (y1 - y0 + 2))
        return Drawn(owned, min(1.0, float(inside)), contrast, (left, top, right, bottom))

    def _faces(
        self, canvas, solid: Solid, points, eye, per_m: float, sub: int, heading: float, distance: float
    ) -> None:
        towards = np.einsum("ij,ij->i", eye - solid.centre, solid.normal) > 0
        rods = ~solid.normal.any(axis=1)
        seen = (towards | solid.two_sided) & (solid.detail_m * per_m > np.where(rods, 0.1, 0.3))
        clear = float(self.weather.transmission(distance))
        colour = self.shade(solid, heading) * clear + np.float32(self.weather.air) * (1 - clear)
        fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
        group_distance = np.zeros(solid.group_count)
        np.add.at(group_distance, solid.group, np.hypot(*(solid.centre[:, :2] - eye[:2]).T))
        group_distance /= np.maximum(1, np.bincount(solid.group, minlength=solid.group_count))
        from_below = eye[2] < solid.base_top_z
        group_distance[0] = -np.inf if from_below else np.inf  # the hull hides the deck when seen from below
        order = np.argsort(-group_distance, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        chosen = np.flatnonzero(seen)
        for index in chosen[np.argsort(rank[solid.group[chosen]], kind="stable")]:
            face = solid.faces[index]
            b, g, r = colour[index].tolist()
            if len(face) == 2:
                a, c = fixed[face].tolist()
                # A mast is what shows of a far sailing boat: it never covers less than a quarter of a pixel.
                thick = max(sub // 4, 1, round(float(solid.detail_m[index]) * per_m * sub))
                cv2.line(canvas, a, c, (b, g, r, 255), thick, cv2.LINE_8, _SHIFT)
            else:
                cv2.fillConvexPoly(canvas, fixed[face], (b, g, r, 255), cv2.LINE_8, _SHIFT)

    def _weathered(self, patch: np.ndarray, per_m: float, distance: float, place: int) -> None:
        """Uneven paint, rust and dirt: a few per cent of brightness, in clumps of a metre or so."""
        height, width = patch.shape[:2]
        texel = 0.12 * max(1.0, per_m)
        matrix = np.array([[1 / texel, 0, place % 512], [0, 0.5 / texel, place % 317]]) * 1.0
        grain = cv2.warpAffine(
            noise.leaves(),
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
        depth = 0.055 * float(self.weather.transmission(distance))
        table = np.clip(200 * (1 + (np.arange(256) - 128) / 40 * depth), 0, 255).astype(np.uint8)
        factor = cv2.LUT(grain, table)
        colour = cv2.multiply(np.ascontiguousarray(patch[..., :3]), cv2.merge([factor, factor, factor]), scale=1 / 200)
        # Premultiplied colours never exceed their coverage.
        patch[..., :3] = cv2.min(colour, cv2.merge([patch[..., 3]] * 3))

    def _mirror(self, left: int, top: int, patch: np.ndarray, strength: float) -> None:
        height, width = patch.shape[:2]
        squash = max(2, int(height * 0.75))
        image = cv2.resize(cv2.flip(patch, 0), (width, squash), interpolation=cv2.INTER_AREA)
        smear = max(1, squash // 6) | 1
        image = cv2.blur(image, (max(1, smear // 6) | 1, smear))
        start = top + height - 2
        stop = min(self.frame.shape[0], start + squash)
        if stop <= start:
            return
        fade = (strength * np.linspace(1, 0.15, squash, dtype=np.float32))[: stop - start, None, None]
        image = image[: stop - start]
        region = self.frame[start:stop, left : left + width]
        # Water darkens what it mirrors.
        region[...] = (region * (1 - fade * image[..., 3:] / 255) + image[..., :3] * (fade * 0.85)).astype(np.uint8)

    def _remember_lamps(self, solid: Solid, turn, position, distance: float) -> None:
        points, depth = self.camera.project(solid.lights[:, :3].astype(np.float64) @ turn.T + position)
        clear = float(self.weather.transmission(distance * 0.6))
        for (u, v), z, row in zip(points, depth, solid.lights, strict=True):
            if z > 30 and 0 <= u < self.frame.shape[1] and 0 <= v < self.frame.shape[0]:
                radius = min(7.0, max(0.55, 0.35 * float(row[6]) * self.camera.focal_px / z))
                owner = int(self.owner[int(v), int(u)])
                self.lamps.append((float(u), float(v), radius, tuple(float(c) * clear for c in row[3:6]), owner))
