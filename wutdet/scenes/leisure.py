"""Leisure craft: sailing boat with sails up or bare mast, motor boat, inflatable."""

from __future__ import annotations

import numpy as np

from wutdet.scenes.dice import Dice
from wutdet.scenes.fittings import BOAT_COLOURS, GLASS, WHITE, add_side_lights
from wutdet.scenes.hulls import Hull, add_hull
from wutdet.scenes.solids import Solid, SolidBuilder


def sailing_boat(dice: Dice, length: float, under_sail: bool) -> Solid:
    """A yacht; with bare mast and furled boom when it is moored."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.26, 0.32), length * dice.uniform(0.075, 0.1)
    colour = dice.colour(dice.pick(BOAT_COLOURS, [6, 4, 1.5, 0.7, 0.5, 0.3, 0.2, 0.5]))
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            colour,
            dice.colour((170, 190, 205)),
            dice.colour((60, 50, 110)),
            depth * 0.15,
            0.6,
            length * 0.08,
            depth * 0.3,
            0.65,
            dice.pick([None, (110, 50, 20), (40, 40, 140)]),
        ),
    )
    b.next_group()
    half = beam * 0.28
    b.box(
        -length * 0.12,
        length * 0.22,
        -half,
        half,
        depth,
        depth + length * 0.045,
        dice.colour(WHITE),
        front=length * 0.06,
    )
    b.windows(-length * 0.08, length * 0.14, half, depth + length * 0.015, depth + length * 0.035, GLASS)
    if dice.chance(0.5):  # spray hood
        b.next_group()
        hood = dice.colour(dice.pick([(110, 60, 30), (60, 60, 60), (150, 160, 170), (40, 40, 120)]))
        b.box(-length * 0.18, -length * 0.08, -half, half, depth + 0.2, depth + length * 0.1, hood, front=length * 0.05)
    mast_x, mast_z = length * 0.08, length * dice.uniform(1.15, 1.4)
    b.next_group()
    metal = dice.colour((200, 203, 205))
    width = max(0.12, 0.013 * length)
    if under_sail:
        swing = dice.uniform(-0.45, 0.45)
        boom = np.array([-np.cos(swing), np.sin(swing)]) * length * 0.42
        cloth = dice.colour(
            dice.pick([(235, 238, 240), (215, 222, 228), (60, 60, 170), (150, 110, 60)], [8, 4, 0.4, 0.4]), 10
        )
        foot, head = depth + length * 0.1, mast_z * dice.uniform(0.93, 0.98)
        b.face(
            [
                (mast_x, 0, foot),
                (mast_x + boom[0], boom[1], foot),
                (mast_x + boom[0] * 0.55, boom[1] * 0.6, (foot + head) / 2),
                (mast_x, 0, head),
            ],
            cloth,
        )
        if dice.chance(0.85):
            high = mast_z * dice.uniform(0.7, 0.95)
            b.face(
                [
                    (length * 0.5, 0, depth * 1.3),
                    (mast_x - length * 0.05, boom[1] * 0.4, foot),
                    (mast_x + 0.02 * length, 0, high),
                ],
                cloth,
            )
    else:
        b.rod(
            (mast_x, 0, depth + length * 0.11),
            (mast_x - length * 0.42, 0, depth + length * 0.12),
            length * 0.025,
            dice.colour(dice.pick([(120, 60, 30), (215, 220, 222), (70, 60, 50), (50, 50, 130)])),
        )
        if dice.chance(0.7):  # furled head sail
            b.rod(
                (length * 0.48, 0, depth * 1.4),
                (mast_x, 0, mast_z * 0.97),
                max(0.14, 0.012 * length),
                dice.colour(WHITE),
            )
    b.rod((mast_x, 0, depth), (mast_x, 0, mast_z), width, metal)
    b.rod((mast_x, -beam * 0.25, mast_z * 0.6), (mast_x, beam * 0.25, mast_z * 0.6), 0.06, metal)
    b.rod((mast_x, 0, mast_z), (-length * 0.48, 0, depth), 0.03, metal)
    if dice.chance(0.12):  # ketch
        b.rod((-length * 0.36, 0, depth), (-length * 0.36, 0, mast_z * 0.7), width, metal)
    b.light((mast_x, 0, mast_z), (0.95, 0.97, 1.0), 0.3)
    return b.build()


def motor_boat(dice: Dice, length: float) -> Solid:
    """Day boats, cabin cruisers and motor yachts."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.26, 0.34), length * dice.uniform(0.08, 0.12)
    white = dice.colour((230, 232, 233), 10)
    colour = dice.pick([white, dice.colour(dice.pick(BOAT_COLOURS))], [0.7, 0.3])
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            colour,
            dice.colour((175, 190, 200)),
            dice.colour((60, 50, 80)),
            depth * 0.1,
            0.55,
            length * 0.08,
            depth * 0.25,
            0.9,
            dice.pick([None, (110, 60, 30), (40, 40, 45)]),
        ),
    )
    style = dice.pick(["open", "cabin", "fly"], [1, 2, 1.2])
    half, high = beam * 0.36, length * dice.uniform(0.09, 0.13)
    b.next_group()
    if style == "open":
        x = -length * 0.02
        b.box(x, x + length * 0.12, -half * 0.6, half * 0.6, depth, depth + high * 0.6, white, front=0.1)
        b.face(
            [
                (x + length * 0.14, -half, depth + high * 0.3),
                (x + length * 0.14, half, depth + high * 0.3),
                (x + length * 0.06, half, depth + high * 1.1),
                (x + length * 0.06, -half, depth + high * 1.1),
            ],
            (120, 110, 100),
        )
        b.box(-length * 0.49, -length * 0.44, -0.3, 0.3, 0.1, depth + 0.4, (40, 40, 42))
        b.next_group()
        for y in [0.0] if dice.chance(0.5) else [-half * 0.5, half * 0.4]:
            tone = dice.colour(dice.pick([(40, 40, 45), (60, 60, 170), (120, 80, 50)]))
            b.box(-length * 0.1, -length * 0.1 + 0.4, y - 0.25, y + 0.25, depth, depth + 1.3, tone)
    else:
        b.box(-length * 0.3, length * 0.26, -half, half, depth, depth + high, white, front=length * 0.14)
        b.windows(
            -length * 0.26, length * 0.12, half, depth + high * 0.35, depth + high * 0.8, GLASS, 3 if length < 12 else 6
        )
        b.face(
            [
                (length * 0.24, -half * 0.8, depth + high * 0.2),
                (length * 0.24, half * 0.8, depth + high * 0.2),
                (length * 0.14, half * 0.8, depth + high * 0.9),
                (length * 0.14, -half * 0.8, depth + high * 0.9),
            ],
            GLASS,
            (1, 0, 0.6),
        )
        if style == "fly":
            b.box(
                -length * 0.28,
                length * 0.05,
                -half * 0.9,
                half * 0.9,
                depth + high,
                depth + high * 1.5,
                white,
                front=high * 0.4,
            )
            b.rod((-length * 0.2, -half, depth + high * 2.1), (-length * 0.2, half, depth + high * 2.1), 0.2, white)
            for side in (-1, 1):
                b.rod(
                    (-length * 0.22, side * half, depth + high),
                    (-length * 0.2, side * half, depth + high * 2.1),
                    0.15,
                    white,
                )
    b.rod(
        (-length * 0.1, 0, depth + high),
        (-length * 0.1, 0, depth + high + length * dice.uniform(0.05, 0.25)),
        0.06,
        (210, 210, 210),
    )
    b.light((-length * 0.1, 0, depth + high * 1.6), (0.95, 0.97, 1.0), 0.3)
    add_side_lights(b, length * 0.2, half, depth + high)
    return b.build()


def rib(dice: Dice, length: float) -> Solid:
    """An inflatable with people in it."""
    b = SolidBuilder()
    tube = dice.colour(dice.pick([(60, 60, 65), (40, 110, 230), (130, 130, 130), (50, 50, 190), (200, 205, 205)]))
    beam, depth = length * 0.36, length * 0.09
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            tube,
            dice.colour((90, 95, 100)),
            bow=0.4,
            rake=length * 0.05,
            sheer=depth * 0.4,
            transom=0.95,
        ),
    )
    for x in (-0.2, 0.02, 0.15)[: dice.integer(1, 3)]:
        b.next_group()
        suit = dice.colour(dice.pick([(40, 40, 45), (40, 120, 235), (50, 50, 190), (90, 70, 50)]))
        b.box(x * length, x * length + 0.4, -0.3, 0.3, depth, depth + 0.9, suit)
        b.box(x * length + 0.05, x * length + 0.3, -0.12, 0.12, depth + 0.9, depth + 1.15, (110, 140, 190))
    b.next_group()
    b.box(-length * 0.52, -length * 0.45, -0.25, 0.25, depth * 0.5, depth + 0.7, (35, 35, 38))
    if dice.chance(0.4):
        b.rod((-length * 0.42, -beam * 0.3, depth), (-length * 0.42, beam * 0.3, depth + 1.8), 0.08, (160, 160, 160))
    b.light((-length * 0.42, 0, depth + 1.8), (0.95, 0.97, 1.0), 0.3)
    return b.build()
