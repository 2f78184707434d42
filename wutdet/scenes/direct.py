"""Directs a sequence: draws camera, weather, land, harbour and ships for a scene, conditions and seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet.scenes import harbour
from wutdet.scenes.dice import Dice
from wutdet.scenes.fleet import KINDS, MIX
from wutdet.scenes.land import Ridge, profile
from wutdet.scenes.sensor import make_sensor
from wutdet.scenes.stage import Actor, Stage
from wutdet.scenes.structures import beacon, buoy, oil_platform, wind_turbine
from wutdet.scenes.weather import make_weather


@dataclass(frozen=True)
class SequenceSpec:
    """All that defines a sequence: the same spec gives the same frames everywhere.

    Attributes:
        seed, index: choose everything drawn at random.
        scene: port, anchorage, navigation or berthing.
        conditions: of fog, glare, low_light, rain; empty means clear.
        size_wh: of the frames, pixels. stride_s: seconds between frames.
    """

    seed: int
    index: int
    scene: str
    conditions: tuple[str, ...]
    size_wh: tuple[int, int] = (1920, 1080)
    stride_s: float = 1.0

    @property
    def name(self) -> str:
        """Name of the sequence, used in file names."""
        return f"seed{self.seed}-{self.index:04d}-{self.scene}"


# Camera heights above the water in metres, horizontal fields of view in degrees, row of the horizon (0 top, 1 bottom).
_VIEWS = {
    "port": ((8, 45), (24, 70), (0.22, 0.5)),
    "anchorage": ((5, 50), (16, 60), (0.25, 0.6)),
    "navigation": ((3, 22), (30, 72), (0.3, 0.6)),
    "berthing": ((6, 28), (35, 75), (0.25, 0.5)),
}


def direct(spec: SequenceSpec) -> Stage:
    """Builds the stage of a sequence."""
    dice = Dice("stage", spec.seed, spec.index)
    heights, fields, horizons = _VIEWS[spec.scene]
    width, height = spec.size_wh
    focal = width / 2 / np.tan(np.radians(dice.uniform(*fields)) / 2)
    tall = dice.log_uniform(*heights)
    horizon = dice.uniform(*horizons)
    pitch = float(np.arctan((height / 2 - horizon * height) / focal))
    afloat = spec.scene == "navigation" or (spec.scene in ("anchorage", "berthing") and dice.chance(0.6))
    weather = make_weather(Dice("weather", spec.seed, spec.index), spec.conditions, 0.0)
    if spec.scene in ("port", "berthing"):
        weather = _calmer(weather)
    small_craft = tall < 7
    stage = Stage(
        size_wh=spec.size_wh,
        focal_px=float(focal),
        height_m=tall,
        pitch=pitch,
        roll=dice.bell(0.006),
        sway=(dice.uniform(0.004, 0.045 if small_craft else 0.02) * (0.4 + weather.sea))
        if afloat
        else dice.uniform(0, 0.0006),
        sway_s=dice.uniform(4, 11),
        sway_phase=dice.uniform(0, 6.28),
        forward_mps={"navigation": dice.uniform(2, 9), "berthing": dice.uniform(0.2, 1.0)}.get(spec.scene, 0.0)
        if afloat
        else 0.0,
        pan_rps=dice.bell(0.006) if afloat else (dice.bell(0.01) if dice.chance(0.25) else 0.0),
        weather=weather,
        sensor=make_sensor(dice, afloat, weather.rain, "low_light" in spec.conditions),
        birds=dice.integer(1, 14) if dice.chance(0.3) else 0,
        cloud_shift=(dice.uniform(0, 1024), dice.uniform(0, 1024)),
    )
    shore = _Shore(dice, spec.scene, stage)
    stage.ridges = shore.ridges
    if spec.scene in ("port", "berthing"):
        harbour.build(stage, dice, spec.scene, shore.nearest_m)
    elif dice.chance(0.2):
        harbour.build_breakwater(stage, dice, shore.nearest_m)
    if not afloat and dice.chance(0.55):
        harbour.build_foreground(stage, dice)
    _add_ships(stage, dice, spec, shore.nearest_m)
    _add_marks(stage, dice, shore.nearest_m)
    return stage


def _calmer(weather):
    from dataclasses import replace

    return replace(weather, sea=weather.sea * 0.45)


class _Shore:
    """Land behind the water: far hills, woods or towns, a beach; ``nearest_m`` is where the free water ends."""

    def __init__(self, dice: Dice, scene: str, stage: Stage):
        self.ridges: list[Ridge] = []
        self.nearest_m = 40_000.0
        has_land = {"port": 1.0, "berthing": 0.9, "anchorage": 0.45, "navigation": 0.5}[scene]
        if not dice.chance(has_land):
            return
        span = stage.size_wh[0] / stage.focal_px * 0.5 + 0.6
        near = {
            "port": (600, 5000),
            "berthing": (400, 3500),
            "anchorage": (2500, 11_000),
            "navigation": (1500, 12_000),
        }[scene]
        distance = dice.log_uniform(*near)
        self.nearest_m = distance * 0.92
        left, right = -span, span
        if scene in ("anchorage", "navigation") or dice.chance(0.3):  # land on one side only
            cut = dice.uniform(-0.35, 0.35) * stage.size_wh[0] / stage.focal_px
            left, right = (cut, span) if dice.chance(0.5) else (-span, cut)
        if dice.chance(0.7):
            self._hill(
                dice,
                stage,
                left - 0.05,
                right + dice.uniform(-0.1, 0.2),
                distance * dice.uniform(3, 7),
                dice.uniform(150, 700),
                (95, 90, 78),
            )
        if dice.chance(0.75):
            self._hill(
                dice,
                stage,
                left,
                right,
                distance * dice.uniform(1.5, 2.6),
                dice.uniform(40, 220),
                dice.pick([(60, 78, 66), (70, 75, 75), (62, 85, 88)]),
            )
        wood = dice.pick([(38, 58, 48), (45, 66, 58), (35, 52, 50), (60, 80, 85)])
        self._hill(dice, stage, left, right, distance * 1.12, dice.uniform(6, 45), wood, beach=True)
        harbour.build_town(stage, dice, left, right, distance * 1.08)

    def _hill(
        self, dice: Dice, stage: Stage, left: float, right: float, distance: float, tall: float, colour, beach=False
    ) -> None:
        tall = min(tall, distance * (0.09 if not beach else 0.05))
        count = 220
        angle = np.linspace(left, right, count)
        wobble = distance * (1 + 0.12 * (profile(dice, count, (2, 5, 11)) - 0.5))
        outline = profile(dice, count)
        end = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / 25)
        strip = None
        if beach:
            strip = (
                dice.colour(dice.pick([(150, 185, 205), (110, 120, 125), (90, 100, 105), (150, 155, 160)])),
                dice.uniform(0.8, 3),
            )
        self.ridges.append(
            Ridge(
                xy=np.column_stack([np.sin(angle) * wobble, np.cos(angle) * wobble]),
                foot_z=0.0,
                top_z=(0.25 + 0.75 * outline) * tall * end + (1.0 if beach else 0.0),
                colour=dice.colour(colour, 14),
                rough=0.1 if not beach else 0.2,
                clump_m=30.0 if not beach else 9.0,
                beach=strip,
                hides=beach,
                mirror=0.0 if not beach else 0.45 * max(0.0, 0.9 - stage.weather.sea),
            )
        )


def _target_px(dice: Dice, scene: str, width: int) -> float:
    """Length in pixels that a ship shall have: most are small."""
    scale = width / 1920
    small, middle = {
        "port": (0.65, 0.26),
        "anchorage": (0.72, 0.21),
        "navigation": (0.7, 0.2),
        "berthing": (0.5, 0.28),
    }[scene]
    point = dice.uniform()
    if point < small:
        return dice.log_uniform(6.5, 48) * scale
    if point < small + middle:
        return dice.log_uniform(42, 200) * scale
    return dice.log_uniform(180, 640) * scale


def _add_ships(stage: Stage, dice: Dice, spec: SequenceSpec, free_m: float) -> None:
    width, height = spec.size_wh
    count = {
        "port": dice.integer(2, 9),
        "anchorage": dice.integer(4, 18),
        "navigation": dice.integer(1, 9),
        "berthing": dice.integer(1, 6),
    }[spec.scene]
    if dice.chance(0.06):
        count = 0 if spec.scene == "navigation" else 1
    mix = MIX[spec.scene]
    depression = stage.pitch + np.arctan(height / 2 / stage.focal_px)
    closest = max(15.0, stage.height_m / np.tan(max(0.02, depression)) * 1.15)
    farthest = min(free_m, 3570 * np.sqrt(stage.height_m) * 0.95, 14_000)
    fog_limit = stage.weather.visibility_m * 3.2
    current = dice.uniform(0, 2 * np.pi)
    taken: list[tuple[float, float, float]] = [(*m.xy, m.length_m) for c in stage.clusters for m in c.members if m.ship]
    for _ in range(count):
        for _attempt in range(12):
            name = dice.pick(list(mix), list(mix.values()))
            kind = KINDS[name]
            length = dice.log_uniform(*kind.length_m)
            distance = stage.focal_px * length / _target_px(dice, spec.scene, width)
            low, high = (
                max(closest, length * stage.focal_px / (820 * width / 1920)),
                min(farthest, fog_limit * dice.uniform(0.3, 1.1)),
            )
            if low >= high:
                continue
            if not low <= distance <= high:
                if dice.chance(0.6):
                    continue
                distance = dice.log_uniform(low, high)
            u = dice.uniform(-0.04, 1.04) * width - width / 2
            xy = (distance * u / stage.focal_px, distance)
            behind_quay = any(
                -60 < c.offset(xy) < length * 0.5 + 25 or (c.offset(xy) < 0 and dice.chance(0.7))
                for c in stage.clusters
            )
            if behind_quay or any(np.hypot(xy[0] - x, xy[1] - y) < (length + other) * 0.6 + 4 for x, y, other in taken):
                continue
            taken.append((*xy, length))
            stage.loose.append(_sail(dice, stage, spec.scene, name, length, xy, current))
            break


def _sail(dice: Dice, stage: Stage, scene: str, name: str, length: float, xy, current: float) -> Actor:
    kind = KINDS[name]
    at_anchor = name in ("sail_bare",) or dice.chance(
        {"anchorage": 0.82, "port": 0.3, "navigation": 0.12, "berthing": 0.3}[scene]
    )
    if name in ("sail", "rib"):
        at_anchor = False
    heading = current + dice.bell(0.18) if at_anchor else dice.uniform(0, 2 * np.pi)
    rocking = stage.weather.sea * min(0.22, 1.1 / length) if not at_anchor or length < 60 else stage.weather.sea * 0.01
    return Actor(
        solid=kind.build(Dice("ship", int(dice.uniform() * 2**31)), length),
        kind=name,
        xy=xy,
        heading=heading,
        speed=0.0 if at_anchor else dice.uniform(*kind.speed_mps),
        turn=0.0 if at_anchor else dice.bell(0.01 if length > 50 else 0.04),
        ship=True,
        length_m=length,
        mirror=0.42 * max(0.12, 1 - 1.3 * stage.weather.sea),
        rock=rocking + (dice.bell(0.05) + 0.12 if name == "sail" else 0.0),
        rock_s=3 + length * 0.06,
        phase=dice.uniform(0, 6.28),
        swing=dice.bell(0.03) if at_anchor else 0.0,
    )


def _add_marks(stage: Stage, dice: Dice, free_m: float) -> None:
    """Buoys, beacons and far structures: things that stand in the water and are no ships."""
    width = stage.size_wh[0]
    for _ in range(dice.integer(0, 7) if dice.chance(0.6) else 0):
        distance = dice.log_uniform(60, min(free_m, 3000))
        x = distance * dice.uniform(-0.55, 0.55) * width / stage.focal_px
        model = buoy(dice) if dice.chance(0.65) else beacon(dice)
        stage.loose.append(
            Actor(
                model,
                "mark",
                (x, distance),
                dice.uniform(0, 6.28),
                mirror=0.3 * max(0, 0.8 - stage.weather.sea),
                length_m=1.0,
            )
        )
    if free_m > 10_000 and dice.chance(0.15):
        rows, centre = dice.integer(3, 9), dice.uniform(-0.4, 0.4) * width / stage.focal_px
        far = dice.uniform(5_000, 11_000)
        for i in range(rows):
            angle = centre + i * 0.028
            stage.loose.append(Actor(wind_turbine(dice), "turbine", (far * np.sin(angle), far * np.cos(angle)), np.pi))
    elif dice.chance(0.05):
        distance = dice.uniform(2_500, min(8_000, max(2_600, free_m)))
        stage.loose.append(
            Actor(oil_platform(dice), "platform", (distance * dice.uniform(-0.3, 0.3), distance), dice.uniform(0, 6))
        )
