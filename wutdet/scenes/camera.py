"""The pinhole camera above a flat sea.

World: x east, y north, z up, metres, sea level at z = 0. Pixels: u right, v down, centre of the top left pixel at
(0.5, 0.5). Angles in radians; yaw clockwise from north, pitch positive when looking down, roll positive when the
right side of the camera is lower.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Nearest depth in metres that is projected; nearer points are pushed to it.
NEAR_M = 1.0


@dataclass(frozen=True)
class Camera:
    """Position (metres), attitude (radians), focal length (pixels) and picture size of one frame."""

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    focal_px: float
    size_wh: tuple[int, int]

    @cached_property
    def axes(self) -> np.ndarray:
        """float64 [3, 3]: rows are the world directions of right, down and forward."""
        sin_y, cos_y = np.sin(self.yaw), np.cos(self.yaw)
        sin_p, cos_p = np.sin(self.pitch), np.cos(self.pitch)
        forward = np.array([sin_y * cos_p, cos_y * cos_p, -sin_p])
        right = np.array([cos_y, -sin_y, 0.0])
        up = np.array([sin_y * sin_p, cos_y * sin_p, cos_p])
        sin_r, cos_r = np.sin(self.roll), np.cos(self.roll)
        return np.stack([right * cos_r - up * sin_r, -(up * cos_r + right * sin_r), forward])

    @property
    def height_m(self) -> float:
        return self.position[2]

    @cached_property
    def horizon_m(self) -> float:
        """Distance of the visible horizon on a round earth."""
        return 3570.0 * float(np.sqrt(max(self.height_m, 0.5)))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels float64 [N, 2] and depths float64 [N] of world points [N, 3]; depths below NEAR_M are raised to it."""
        local = (np.asarray(points, np.float64) - np.array(self.position)) @ self.axes.T
        depth = np.maximum(local[:, 2], NEAR_M)
        centre = np.array(self.size_wh) / 2
        return local[:, :2] * (self.focal_px / depth)[:, None] + centre, local[:, 2]

    def ray_matrix(self) -> np.ndarray:
        """float64 [3, 3]: world direction (unnormalised) = matrix @ (u, v, 1)."""
        right, down, forward = self.axes
        centre_u, centre_v = self.size_wh[0] / 2, self.size_wh[1] / 2
        return np.stack([right, down, forward * self.focal_px - right * centre_u - down * centre_v], axis=1)

    def horizon_v(self, u: np.ndarray) -> np.ndarray:
        """Row of the horizon at columns ``u``."""
        row = self.ray_matrix()[2]
        return -(row[0] * np.asarray(u, np.float64) + row[2]) / row[1]

    def directions(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """float32 [len(v), len(u), 3] unit world directions of the pixel grid ``u`` x ``v``."""
        matrix = self.ray_matrix().astype(np.float32)
        rays = (
            u.astype(np.float32)[None, :, None] * matrix[:, 0]
            + v.astype(np.float32)[:, None, None] * matrix[:, 1]
            + matrix[:, 2]
        )
        return rays / np.linalg.norm(rays, axis=2, keepdims=True)
