"""Harbours: quays with cranes and moored ships, piers, marinas, breakwaters, towns, and the camera's foreground."""

from __future__ import annotations

import numpy as np

from wutdet.scenes import structures
from wutdet.scenes.dice import Dice
from wutdet.scenes.fleet import KINDS
from wutdet.scenes.land import Ridge, profile
from wutdet.scenes.stage import Actor, Cluster, Stage


def _calm_mirror(stage: Stage) -> float:
    return 0.5 * max(0.15, 1 - 1.6 * stage.weather.sea)


def _moored(
    stage: Stage, dice: Dice, cluster: Cluster, name: str, length: float, along: float, across: float, heading: float
) -> None:
    cluster.members.append(
        Actor(
            solid=KINDS[name].build(Dice("ship", int(dice.uniform() * 2**31)), length),
            kind=name,
            xy=cluster.place(along, across),
            heading=heading,
            ship=True,
            length_m=length,
            mirror=_calm_mirror(stage),
            rock=0.01 * stage.weather.sea,
            phase=dice.uniform(0, 6),
        )
    )


def build(stage: Stage, dice: Dice, scene: str, free_m: float) -> None:
    """Adds quays, piers and marinas to a port or berthing scene."""
    width = stage.size_wh[0]
    depression = stage.pitch + np.arctan(stage.size_wh[1] / 2 / stage.focal_px)
    closest = stage.height_m / np.tan(max(0.02, depression))
    parts = dice.pick(
        [
            ("quay",),
            ("quay", "marina"),
            ("marina",),
            ("quay", "quay"),
            ("jetty", "marina"),
            ("jetty",),
            ("quay", "jetty"),
        ]
    )
    if scene == "berthing":
        parts = dice.pick([("quay",), ("quay", "jetty"), ("quay", "marina"), ("marina",)], [4, 2, 2, 1])
    spread = width / stage.focal_px
    for number, part in enumerate(parts):
        if scene == "berthing" and number == 0:
            distance = max(closest * 1.6, dice.log_uniform(70, 480))
        else:
            distance = dice.log_uniform(max(130.0, closest * 2.2), max(200.0, min(free_m * 0.85, 2600)))
        distance = min(distance, free_m * 0.9)
        middle = dice.uniform(-0.45, 0.45) * spread * distance
        if part == "quay":
            _quay(stage, dice, (middle, distance), free_m)
        elif part == "jetty":
            _jetty(stage, dice, (middle, distance))
        else:
            _marina(stage, dice, (middle, distance))
    if dice.chance(0.45):
        build_breakwater(stage, dice, free_m)


def _clear_of(stage: Stage, xy) -> bool:
    """Whether a place lies behind no other cluster's line and well away from it."""
    return all(abs(c.offset(xy)) > 60 for c in stage.clusters)


def _quay(stage: Stage, dice: Dice, origin, free_m: float) -> None:
    distance = origin[1]
    cluster = Cluster(origin, np.pi / 2 + dice.bell(0.28))
    height, piece = dice.uniform(1.8, 4.5), 40.0
    reach = min(0.9 * stage.size_wh[0] / stage.focal_px * distance, 900) + 60
    start, end = -reach * dice.uniform(0.2, 1.0), reach * dice.uniform(0.2, 1.0)
    apron = dice.uniform(30, 60)
    place = start
    while place < end:
        # Models look towards +y (port), which must be the camera's side.
        cluster.members.append(
            Actor(
                structures.quay(dice, piece, apron, height),
                "quay",
                cluster.place(place, 0),
                _facing(cluster),
                mirror=0.0,
            )
        )
        place += piece
    cargo = dice.chance(0.5)
    top = {"z": height}
    if cargo:
        for _ in range(dice.integer(1, 5)):
            crane = (
                structures.gantry_crane(dice, dice.uniform(28, 55))
                if dice.chance(0.6)
                else structures.jib_crane(dice, dice.uniform(18, 45))
            )
            cluster.members.append(
                Actor(crane, "crane", cluster.place(dice.uniform(start, end), -4), _facing(cluster), **top)
            )
        for _ in range(dice.integer(2, 7)):
            block = structures.container_block(dice, dice.uniform(25, 90))
            cluster.members.append(
                Actor(
                    block,
                    "containers",
                    cluster.place(dice.uniform(start, end), -dice.uniform(25, apron - 8)),
                    _facing(cluster),
                    **top,
                )
            )
    place = start
    while place < end:  # sheds and houses behind the apron
        wide = dice.uniform(15, 60)
        if dice.chance(0.55):
            house = structures.building(dice, wide, dice.uniform(10, 16), dice.uniform(5, 18))
            cluster.members.append(
                Actor(house, "building", cluster.place(place, -apron + dice.uniform(0, 6)), _facing(cluster), **top)
            )
        place += wide + dice.uniform(2, 30)
    for _ in range(dice.integer(0, 10)):
        post = structures.lamp_post(dice, dice.uniform(6, 18))
        cluster.members.append(
            Actor(post, "lamp", cluster.place(dice.uniform(start, end), -dice.uniform(5, 15)), _facing(cluster), **top)
        )
    for _ in range(dice.integer(0, 12)):
        car = structures.vehicle(dice)
        cluster.members.append(
            Actor(
                car,
                "vehicle",
                cluster.place(dice.uniform(start, end), -dice.uniform(5, 20)),
                cluster.axis + dice.pick([0, np.pi]),
                **top,
            )
        )
    row = start
    large = (
        ["container", "bulk", "tanker", "cargo", "car_carrier"]
        if cargo
        else ["ferry", "cruise", "patrol", "cargo", "fishing", "tug"]
    )
    while row < end:
        name = dice.pick(
            [*large, "fishing", "tug", "patrol", "motor", "barge"], [2.0] * len(large) + [1.2, 1.5, 1, 1, 0.8]
        )
        length = min(
            dice.log_uniform(*KINDS[name].length_m),
            max(14.0, (end - start) * 0.9),
            850 * stage.size_wh[0] / 1920 * distance / stage.focal_px,
        )
        length = max(length, KINDS[name].length_m[0])
        if row + length > end + 30:
            break
        if dice.chance(0.68):
            heading = cluster.axis + dice.pick([0, np.pi])
            beam = length * 0.085 + 1
            _moored(stage, dice, cluster, name, length, row + length / 2, beam + 1, heading)
            if length < 45 and dice.chance(0.35):  # a second one alongside
                _moored(
                    stage,
                    dice,
                    cluster,
                    name,
                    length * dice.uniform(0.8, 1.0),
                    row + length / 2,
                    3.4 * beam + 2,
                    heading,
                )
        row += length * dice.uniform(1.06, 1.2) + dice.uniform(2, 30)
    stage.clusters.append(cluster)


def _facing(cluster: Cluster) -> float:
    """Heading at which a model's port side (+y) looks towards the camera's side of the line."""
    port = np.array([-np.cos(cluster.axis), np.sin(cluster.axis)])
    return cluster.axis if port @ cluster.side > 0 else cluster.axis + np.pi


def _jetty(stage: Stage, dice: Dice, origin) -> None:
    """A piled jetty or pier that runs towards or across the view, with boats on both sides."""
    cluster = Cluster(origin, dice.uniform(0.9, 2.2))
    if not _clear_of(stage, origin):
        return
    height, piece, count = dice.uniform(1.5, 4), 24.0, dice.integer(3, 9)
    for i in range(count):
        cluster.members.append(
            Actor(
                structures.piled_jetty(dice, piece, height),
                "jetty",
                cluster.place((i - count / 2) * piece, 0),
                _facing(cluster),
                mirror=0.3,
            )
        )
    if dice.chance(0.5):
        tower = structures.lighthouse(dice, dice.uniform(5, 14))
        cluster.members.append(
            Actor(tower, "lighthouse", cluster.place((-count / 2) * piece, -1.3), _facing(cluster), z=height)
        )
    for side in (-1, 1):
        row = -count / 2 * piece
        while row < (count / 2 - 0.5) * piece:
            name = dice.pick(["fishing", "motor", "sail_bare", "tug", "patrol", "ferry", "rib"], [3, 3, 2, 2, 1, 1, 1])
            length = min(dice.log_uniform(*KINDS[name].length_m), 45.0)
            if dice.chance(0.55):
                across = length * 0.16 + 1.5
                _moored(
                    stage,
                    dice,
                    cluster,
                    name,
                    length,
                    row + length / 2,
                    side * across - (3.0 if side < 0 else 0),
                    cluster.axis + dice.pick([0, np.pi]),
                )
            row += length * 1.15 + dice.uniform(1, 10)
    stage.clusters.append(cluster)


def _marina(stage: Stage, dice: Dice, origin) -> None:
    """Pontoons with rows of moored boats, most of them with bare masts, one row hiding the next."""
    if not _clear_of(stage, origin):
        return
    cluster = Cluster(origin, np.pi / 2 + dice.bell(0.25))
    size = dice.uniform(7, 14)
    rows, berths = dice.integer(1, 3), dice.integer(4, 13)
    if stage.focal_px * size / origin[1] > 260:
        rows, berths = 1, min(berths, 7)
    sailing = dice.uniform(0.25, 0.95)
    filled = dice.uniform(0.45, 0.95)
    gap = size * 0.42
    for row in range(rows):
        across = -row * (size * 2.6 + 8)
        length = berths * gap + 4
        cluster.members.append(
            Actor(structures.pontoon(dice, length), "pontoon", cluster.place(0, across), _facing(cluster))
        )
        for side in (-1, 1):
            for berth in range(berths):
                if not dice.chance(filled):
                    continue
                name = "sail_bare" if dice.chance(sailing) else dice.pick(["motor", "motor", "fishing", "rib"])
                long = min(max(size * dice.uniform(0.7, 1.15), KINDS[name].length_m[0]), KINDS[name].length_m[1])
                heading = np.arctan2(*cluster.side) + (0 if dice.chance(0.5) else np.pi) + dice.bell(0.03)
                _moored(
                    stage,
                    dice,
                    cluster,
                    name,
                    long,
                    (berth - (berths - 1) / 2) * gap,
                    across + side * (long / 2 + 1.6),
                    heading,
                )
    stage.clusters.append(cluster)


def build_breakwater(stage: Stage, dice: Dice, free_m: float) -> None:
    distance = dice.log_uniform(150, max(200.0, min(free_m * 0.9, 2500)))
    origin = (dice.uniform(-0.6, 0.6) * stage.size_wh[0] / stage.focal_px * distance, distance)
    if not _clear_of(stage, origin):
        return
    cluster = Cluster(origin, np.pi / 2 + dice.bell(0.25))
    height, piece, count = dice.uniform(1.5, 4.5), 25.0, dice.integer(3, 14)
    for i in range(count):
        cluster.members.append(
            Actor(
                structures.rocks(dice, piece + 2, height),
                "rocks",
                cluster.place((i - count / 2) * piece, 0),
                _facing(cluster),
                mirror=0.25,
            )
        )
    if dice.chance(0.6):
        tower = structures.lighthouse(dice, dice.uniform(6, 16))
        cluster.members.append(
            Actor(tower, "lighthouse", cluster.place(-count / 2 * piece, -1), _facing(cluster), z=height * 0.7)
        )
    stage.clusters.append(cluster)


def build_town(stage: Stage, dice: Dice, left: float, right: float, distance: float) -> None:
    """Houses, towers and a few cranes along the far shore; nearer ones hide farther ones."""
    if dice.chance(0.25):
        return
    cluster = Cluster((0.0, distance), np.pi / 2)
    count = dice.integer(8, 70)
    centre, spread = dice.uniform(left, right), dice.uniform(0.15, 0.6) * (right - left)
    for _ in range(count):
        angle = min(right, max(left, centre + dice.bell(spread / 2)))
        far = distance * dice.uniform(1.0, 1.1)
        house = structures.building(dice, dice.uniform(10, 40), 12, dice.uniform(5, 22))
        xy = (far * np.sin(angle), far * np.cos(angle))
        cluster.members.append(
            Actor(house, "building", xy, _facing(cluster), z=dice.uniform(1, 4 + (far - distance) * 0.2))
        )
    for _ in range(dice.integer(0, 5) if dice.chance(0.4) else 0):
        angle = dice.uniform(left, right)
        crane = (
            structures.gantry_crane(dice, dice.uniform(30, 60))
            if dice.chance(0.5)
            else structures.jib_crane(dice, dice.uniform(25, 60))
        )
        cluster.members.append(
            Actor(crane, "crane", (distance * np.sin(angle), distance * np.cos(angle)), _facing(cluster), z=2)
        )
    if dice.chance(0.08):
        deck = structures.bridge(dice, dice.uniform(400, 1200), dice.uniform(15, 40))
        cluster.members.append(
            Actor(
                deck, "bridge", (distance * 0.97 * np.sin(centre), distance * 0.97 * np.cos(centre)), _facing(cluster)
            )
        )
    stage.clusters.append(cluster)


def build_foreground(stage: Stage, dice: Dice) -> None:
    """Trees, a wall, posts or roofs close to a camera on land, at the bottom of the picture."""
    count = 160
    depression = stage.pitch + np.arctan(stage.size_wh[1] / 2 / stage.focal_px)
    near = dice.uniform(12, 40)
    bottom_z = stage.height_m - near * np.tan(depression)
    visible = near * stage.size_wh[1] / stage.focal_px
    span = stage.size_wh[0] / stage.focal_px * 0.7
    angle = np.linspace(-span, span, count)
    style = dice.pick(["trees", "wall", "grass"])
    tall = visible * dice.uniform(0.05, 0.2)
    outline = profile(dice, count, (3, 9, 31, 80, 160), 0.75) if style != "wall" else np.full(count, 0.7)
    if style != "wall" and dice.chance(0.6):  # only on one side
        outline = outline * np.clip(
            (np.linspace(0, 1, count) if dice.chance(0.5) else np.linspace(1, 0, count)) * 2 - 0.5, 0, 1
        )
    colour = {"trees": (35, 60, 45), "wall": (120, 125, 128), "grass": (60, 105, 105)}[style]
    stage.front.append(
        Ridge(
            xy=np.column_stack([np.sin(angle) * near, np.cos(angle) * near]),
            foot_z=bottom_z - near,
            top_z=bottom_z + outline * tall - 0.02,
            colour=dice.colour(colour, 12),
            rough=0.4 if style == "trees" else 0.15,
            clump_m=1.6 if style == "trees" else 0.4,
        )
    )
    for _ in range(dice.integer(0, 4)):
        where = dice.uniform(-0.5, 0.5) * stage.size_wh[0] / stage.focal_px
        post = structures.lamp_post(dice, tall + visible * dice.uniform(0.05, 0.45))
        stage.front_actors.append(Actor(post, "lamp", (near * np.sin(where), near * np.cos(where)), 0.0, z=bottom_z))
