"""Solid: a small 3D model of flat faces and rods, built from parts; and the builder that puts parts together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Colour = Sequence[float]


@dataclass(frozen=True, eq=False)
class Solid:
    """A model in its own frame: x forward, y to port, z up from the waterline, metres.

    Attributes:
        vertices: float64 [V, 3].
        faces: vertex indices of each face; two indices make a rod.
        colour: float32 [F, 3] BGR 0..255.
        normal: float32 [F, 3] outward; zero for rods.
        centre: float32 [F, 3].
        two_sided: bool [F], seen from both sides (sails, rods).
        detail_m: float32 [F], smallest extent (rods: their width); tiny ones are left out when far away.
        group: int32 [F]; group 0 is the hull or base. Faces of one group are drawn in the order given; the groups
            are drawn from far to near.
        lights: float32 [K, 7]: x, y, z, B, G, R (0..1) and size in metres of lamps for the night.
        base_top_z: height of the top of group 0.
    """

    vertices: np.ndarray
    faces: tuple[np.ndarray, ...]
    colour: np.ndarray
    normal: np.ndarray
    centre: np.ndarray
    two_sided: np.ndarray
    detail_m: np.ndarray
    group: np.ndarray
    lights: np.ndarray
    base_top_z: float

    @property
    def group_count(self) -> int:
        return int(self.group.max()) + 1 if len(self.group) else 0


class SolidBuilder:
    """Collects faces. ``next_group()`` starts a part that is sorted by distance on its own."""

    def __init__(self):
        self._vertices: list = []
        self._rows: list[tuple] = []
        self._lights: list[tuple] = []
        self._group = 0
        self.base_top_z = 0.0

    def next_group(self) -> None:
        self._group += 1

    def face(self, points, colour: Colour, outward: Sequence[float] | None = None, detail_m: float = 99.0) -> None:
        """A flat convex polygon [n, 3]. ``outward`` tells its outer side; without it both sides are seen."""
        points = np.asarray(points, np.float64)
        first = len(self._vertices)
        self._vertices.extend(points)
        # Newell's normal: right for any flat polygon, also where the first corners lie on a line.
        following = np.roll(points, -1, axis=0)
        normal = np.cross(points, following).sum(axis=0)
        normal /= np.linalg.norm(normal) + 1e-12
        if outward is not None and normal @ np.asarray(outward) < 0:
            normal = -normal
        self._rows.append((np.arange(first, first + len(points)), colour, normal, points.mean(axis=0),
                           outward is None, detail_m, self._group))  # fmt: skip

    def rod(self, start, end, width_m: float, colour: Colour) -> None:
        """A thin straight bar."""
        first = len(self._vertices)
        points = np.array([start, end], np.float64)
        self._vertices.extend(points)
        self._rows.append((np.arange(first, first + 2), colour, np.zeros(3), points.mean(axis=0), True, width_m,
                           self._group))  # fmt: skip

    def light(self, position, bgr=(0.75, 0.9, 1.0), size_m: float = 0.5) -> None:
        self._lights.append((*position, *bgr, size_m))

    def prism(self, bottom_xy, top_xy, z0, z1, colour: Colour, top: Colour | None = None, detail_m: float = 99.0):
        """Side walls between two outlines [n, 2] at heights z0 and z1 (numbers or [n]), and a lid."""
        bottom_xy, top_xy = np.asarray(bottom_xy, np.float64), np.asarray(top_xy, np.float64)
        n = len(bottom_xy)
        low = np.column_stack([bottom_xy, np.broadcast_to(z0, n)])
        high = np.column_stack([top_xy, np.broadcast_to(z1, n)])
        middle = np.array([*(bottom_xy.mean(axis=0)), 0.0])
        for i in range(n):
            j = (i + 1) % n
            edge = np.array([low[i], low[j], high[j], high[i]])
            outward = edge.mean(axis=0) - middle
            outward[2] = 0
            self.face(edge, colour, outward, detail_m)
        if top is not None:
            self.face(high, top, (0, 0, 1), detail_m)

    def box(self, x0, x1, y0, y1, z0, z1, colour: Colour, top: Colour | None = None, *, front: float = 0.0,
            back: float = 0.0, detail_m: float | None = None):  # fmt: skip
        """An upright box; ``front`` and ``back`` move the upper front and back edges inwards by so many metres."""
        if detail_m is None:
            detail_m = min(x1 - x0, y1 - y0, z1 - z0)
        bottom = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        lid = [(x0 + back, y0), (x1 - front, y0), (x1 - front, y1), (x0 + back, y1)]
        self.prism(bottom, lid, z0, z1, colour, colour if top is None else top, detail_m)

    def windows(self, x0, x1, y, z0, z1, colour: Colour, count: int = 0) -> None:
        """A window strip on both sides at +-y; with ``count`` it is broken into so many panes when near."""
        for side in (-1, 1):
            yy = side * (y + 0.02)
            quad = [(x0, yy, z0), (x1, yy, z0), (x1, yy, z1), (x0, yy, z1)]
            if not count:
                self.face(quad, colour, (0, side, 0), z1 - z0)
                continue
            step = (x1 - x0) / count
            for i in range(count):
                a, b = x0 + step * (i + 0.2), x0 + step * (i + 0.8)
                self.face([(a, yy, z0), (b, yy, z0), (b, yy, z1), (a, yy, z1)], colour, (0, side, 0), min(step, z1 - z0))

    def end_windows(self, x, y0, y1, z0, z1, colour: Colour, facing: int = 1) -> None:
        """A window strip on the front (facing 1) or back (-1) wall at ``x``."""
        xx = x + 0.02 * facing
        self.face([(xx, y0, z0), (xx, y1, z0), (xx, y1, z1), (xx, y0, z1)], colour, (facing, 0, 0), z1 - z0)

    def build(self) -> Solid:
        rows = self._rows
        return Solid(
            vertices=np.array(self._vertices, np.float64).reshape(-1, 3),
            faces=tuple(r[0] for r in rows),
            colour=np.array([r[1] for r in rows], np.float32).reshape(-1, 3),
            normal=np.array([r[2] for r in rows], np.float32).reshape(-1, 3),
            centre=np.array([r[3] for r in rows], np.float32).reshape(-1, 3),
            two_sided=np.array([r[4] for r in rows], bool),
            detail_m=np.array([r[5] for r in rows], np.float32),
            group=np.array([r[6] for r in rows], np.int32),
            lights=np.array(self._lights, np.float32).reshape(-1, 7),
            base_top_z=self.base_top_z,
        )
