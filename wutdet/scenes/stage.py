"""Stage: everything that stands in one sequence, where it is at a time, and in which order it hides the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wutdet.scenes.camera import Camera
from wutdet.scenes.land import Ridge
from wutdet.scenes.sensor import Sensor
from wutdet.scenes.solids import Solid
from wutdet.scenes.weather import Weather


@dataclass(eq=False)
class Actor:
    """A model in the scene.

    Attributes:
        solid: the model. kind: name of a ship kind, or of what else it is.
        xy: world position at time 0, metres; z: height of its foot.
        heading: radians clockwise from north. speed: m/s. turn: rad/s.
        ship: whether it is labelled.
        length_m: of ships, overall.
        mirror: 0..1 strength of its reflection.
        rock: rolling amplitude in radians; rock_s: its period; phase: start of the oscillation.
        swing: slow yaw at anchor, radians.
    """

    solid: Solid
    kind: str
    xy: tuple[float, float]
    heading: float
    z: float = 0.0
    speed: float = 0.0
    turn: float = 0.0
    ship: bool = False
    length_m: float = 0.0
    mirror: float = 0.0
    rock: float = 0.0
    rock_s: float = 6.0
    phase: float = 0.0
    swing: float = 0.0

    def pose(self, time_s: float) -> tuple[tuple[float, float, float], float, float, float]:
        """Position, heading, roll and pitch at a time."""
        heading = self.heading + self.turn * time_s + self.swing * np.sin(time_s / 40 + self.phase)
        course = self.heading + 0.5 * self.turn * time_s
        x = self.xy[0] + self.speed * time_s * np.sin(course)
        y = self.xy[1] + self.speed * time_s * np.cos(course)
        angle = 2 * np.pi * time_s / self.rock_s + self.phase
        heave = self.rock * self.length_m * 0.03 * np.sin(angle * 0.8)
        return (x, y, self.z + heave), heading, self.rock * np.sin(angle), 0.25 * self.rock * np.cos(angle)


@dataclass(eq=False)
class Cluster:
    """Things along one straight line (a quay, a pier, a pontoon) that never cross each other's parallel planes.

    ``axis`` is the heading of the line, and ``side`` its normal on the camera's side. Members are drawn by distance of
    their parallel plane from the camera, farthest first, which is the exact hiding order for such a layout.
    """

    origin: tuple[float, float]
    axis: float
    members: list[Actor] = field(default_factory=list)

    @property
    def side(self) -> np.ndarray:
        normal = np.array([np.cos(self.axis), -np.sin(self.axis)])
        return normal if normal @ np.array(self.origin) < 0 else -normal

    def offset(self, xy) -> float:
        """Signed distance of a point from the line, positive on the camera's side."""
        return float((np.asarray(xy) - self.origin) @ self.side)

    def place(self, along: float, across: float) -> tuple[float, float]:
        """World position of a point ``along`` the axis and ``across`` towards the camera."""
        direction = np.array([np.sin(self.axis), np.cos(self.axis)])
        xy = np.array(self.origin) + direction * along + self.side * across
        return (float(xy[0]), float(xy[1]))

    def in_order(self, camera: Camera, time_s: float) -> list[Actor]:
        eye = np.array(camera.position[:2])
        eye_offset = self.offset(eye)

        def key(actor: Actor) -> tuple[float, float]:
            (x, y, _), *_ = actor.pose(time_s)
            return (-round(abs(self.offset((x, y)) - eye_offset), 1), -float(np.hypot(x - eye[0], y - eye[1])))

        return sorted(self.members, key=key)


@dataclass(eq=False)
class Stage:
    """One sequence, ready to be drawn at any time."""

    size_wh: tuple[int, int]
    focal_px: float
    height_m: float
    pitch: float
    roll: float
    sway: float
    sway_s: float
    sway_phase: float
    forward_mps: float
    pan_rps: float
    weather: Weather
    sensor: Sensor
    ridges: list[Ridge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    loose: list[Actor] = field(default_factory=list)
    front: list[Ridge] = field(default_factory=list)
    front_actors: list[Actor] = field(default_factory=list)
    birds: int = 0
    cloud_shift: tuple[float, float] = (0.0, 0.0)

    def camera(self, time_s: float) -> Camera:
        """The camera at a time: fixed, or rolling, pitching, panning and moving forward."""
        wave = 2 * np.pi * time_s / self.sway_s + self.sway_phase
        return Camera(
            position=(
                0.0,
                self.forward_mps * time_s,
                self.height_m * (1 + 0.04 * min(1.0, self.sway * 30) * float(np.sin(wave * 0.7))),
            ),
            yaw=self.pan_rps * time_s + 0.5 * self.sway * float(np.sin(wave * 0.31 + 1)),
            pitch=self.pitch + 0.45 * self.sway * float(np.sin(wave * 0.83 + 2)),
            roll=self.roll + self.sway * float(np.sin(wave)),
            focal_px=self.focal_px,
            size_wh=self.size_wh,
        )

    def drawing_order(self, camera: Camera, time_s: float) -> list[Actor]:
        """All actors from far to near; a loose ship stays on its side of every cluster's line."""
        eye = np.array(camera.position[:2])
        entries: list[tuple[float, int, list[Actor]]] = []
        for cluster in self.clusters:
            near = min(float(np.hypot(*(np.array(a.pose(time_s)[0][:2]) - eye))) for a in cluster.members)
            entries.append((near, len(entries), cluster.in_order(camera, time_s)))
        keys = [entry[0] for entry in entries]
        for actor in self.loose:
            (x, y, _), *_ = actor.pose(time_s)
            key = float(np.hypot(x - eye[0], y - eye[1]))
            for near, cluster in zip(keys, self.clusters, strict=False):
                if cluster.offset((x, y)) > 0:
                    key = min(key, near - 0.01) if cluster.offset(eye) > 0 else key
                else:
                    key = max(key, near + 0.01)
            entries.append((key, len(entries), [actor]))
        entries.sort(key=lambda entry: (-entry[0], entry[1]))
        return [actor for _, _, actors in entries for actor in actors]
