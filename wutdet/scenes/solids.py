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
        self._vertices: list[tuple] = []
        self._faces: list[range] = []
        self._colour: list[Colour] = []
        self._outward: list[Sequence[float]] = []
        self._two_sided: list[bool] = []
        self._detail: list[float] = []
        self._groups: list[int] = []
        self._lights: list[tuple] = []
        self._group = 0
        self.base_top_z = 0.0

    def next_group(self) -> None:
        self._group += 1

    def _add(self, points, colour: Colour, outward, two_sided: bool, detail_m: float) -> None:
        first = len(self._vertices)
        self._vertices.extend(tuple(p) for p in points)
        self._faces.append(range(first, len(self._vertices)))
        self._colour.append(colour)
        self._outward.append(outward)
        self._two_sided.append(two_sided)
        self._detail.append(detail_m)
        self._groups.append(self._group)

    def face(self, points, colour: Colour, outward: Sequence[float] | None = None, detail_m: float = 99.0) -> None:
        """A flat convex polygon [n, 3]. ``outward`` tells its outer side; without it both sides are seen."""
        self._add(points, colour, outward or (0, 0, 1), outward is None, detail_m)

    def rod(self, start, end, width_m: float, colour: Colour) -> None:
        """A thin straight bar."""
        self._add((start, end), colour, (0, 0, 0), True, width_m)

    def light(self, position, bgr=(0.75, 0.9, 1.0), size_m: float = 0.5) -> None:
        self._lights.append((*position, *bgr, size_m))

    def prism(
        self, bottom_xy, top_xy, z0: float, z1: float, colour: Colour, top: Colour, detail_m: float = 99.0
    ) -> None:
        """Side walls between two outlines of n corners at heights z0 and z1, and a lid."""
        n = len(bottom_xy)
        mid_x, mid_y = sum(p[0] for p in bottom_xy) / n, sum(p[1] for p in bottom_xy) / n
        for i in range(n):
            (ax, ay), (bx, by) = bottom_xy[i], bottom_xy[(i + 1) % n]
            (cx, cy), (dx, dy) = top_xy[(i + 1) % n], top_xy[i]
            outward = ((ax + bx) / 2 - mid_x, (ay + by) / 2 - mid_y, 0.0)
            self._add(((ax, ay, z0), (bx, by, z0), (cx, cy, z1), (dx, dy, z1)), colour, outward, False, detail_m)
        self._add([(x, y, z1) for x, y in top_xy], top, (0, 0, 1), False, detail_m)

    def box(
        self,
        x0,
        x1,
        y0,
        y1,
        z0,
        z1,
        colour: Colour,
        top: Colour | None = None,
        *,
        front: float = 0.0,
        back: float = 0.0,
        detail_m: float | None = None,
    ):
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
                self.face(
                    [(a, yy, z0), (b, yy, z0), (b, yy, z1), (a, yy, z1)], colour, (0, side, 0), min(step, z1 - z0)
                )

    def end_windows(self, x, y0, y1, z0, z1, colour: Colour, facing: int = 1) -> None:
        """A window strip on the front (facing 1) or back (-1) wall at ``x``."""
        xx = x + 0.02 * facing
        self.face([(xx, y0, z0), (xx, y1, z0), (xx, y1, z1), (xx, y0, z1)], colour, (facing, 0, 0), z1 - z0)

    def build(self) -> Solid:
        vertices = np.array(self._vertices, np.float64).reshape(-1, 3)
        count = len(self._faces)
        normal, centre = np.zeros((count, 3)), np.zeros((count, 3))
        sizes = np.array([len(face) for face in self._faces])
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            corners = vertices[np.array([self._faces[i][0] for i in rows])[:, None] + np.arange(size)]
            centre[rows] = corners.mean(axis=1)
            # Newell's normal: right for any flat polygon, also where its first corners lie on one line.
            normal[rows] = np.cross(corners, np.roll(corners, -1, axis=1)).sum(axis=1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        inwards = (normal * np.array(self._outward, np.float64).reshape(-1, 3)).sum(axis=1) < 0
        normal[inwards] *= -1
        return Solid(
            vertices=vertices,
            faces=tuple(np.arange(face.start, face.stop) for face in self._faces),
            colour=np.array(self._colour, np.float32).reshape(-1, 3),
            normal=normal.astype(np.float32),
            centre=centre.astype(np.float32),
            two_sided=np.array(self._two_sided, bool),
            detail_m=np.array(self._detail, np.float32),
            group=np.array(self._groups, np.int32),
            lights=np.array(self._lights, np.float32).reshape(-1, 7),
            base_top_z=self.base_top_z,
        )
