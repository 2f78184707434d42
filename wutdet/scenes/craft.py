"""Smaller vessels: fishing, tug, sailing boats, patrol and navy, motor boats, ribs, pilot boats, barges."""

from __future__ import annotations

import numpy as np

from wutdet.scenes.dice import Dice
from wutdet.scenes.hulls import Hull, add_hull
from wutdet.scenes.merchant import GLASS, HULL_COLOURS, WHITE, _mast, _side_lights
from wutdet.scenes.solids import Solid, SolidBuilder

_BOAT_COLOURS = [(230, 232, 232), (225, 225, 220), (120, 60, 25), (50, 50, 150), (60, 100, 50), (50, 120, 200), (190, 150, 60),
                 (50, 50, 55)]  # fmt: skip


def fishing_boat(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.25, 0.33), length * dice.uniform(0.055, 0.09)
    colour = dice.colour(dice.pick(_BOAT_COLOURS))
    add_hull(b, Hull(length, beam, depth, colour, dice.colour((90, 120, 130)), dice.colour((45, 45, 120)), depth * 0.2, 0.45,
                     length * 0.07, depth * dice.uniform(0.5, 1.2), 0.75, dice.pick([None, WHITE, (40, 40, 160)])))  # fmt: skip
    house_x = length * dice.pick([0.08, -0.36])
    high, half = length * dice.uniform(0.1, 0.15), beam * 0.3
    white = dice.colour(WHITE)
    b.next_group()
    b.box(house_x, house_x + length * 0.24, -half, half, depth, depth + high, white, front=high * 0.1)
    b.windows(house_x + length * 0.02, house_x + length * 0.21, half, depth + high * 0.55, depth + high * 0.82, GLASS, 3)
    b.end_windows(house_x + length * 0.235, -half * 0.9, half * 0.9, depth + high * 0.55, depth + high * 0.85, GLASS)
    b.box(house_x + length * 0.02, house_x + length * 0.2, -half * 0.8, half * 0.8, depth + high, depth + high * 1.15, white)
    b.next_group()
    rig = dice.colour(dice.pick([(60, 140, 210), (200, 200, 200), (60, 60, 65), (90, 160, 200)]))
    x, z = -length * 0.2, length * dice.uniform(0.25, 0.4)
    b.rod((x, 0, depth), (x, 0, z), 0.014 * length, rig)
    b.rod((x, 0, z), (-length * 0.45, 0, depth + high), 0.008 * length, rig)
    for side in (-1, 1):
        if dice.chance(0.5):
            b.rod((x, 0, depth + 1), (x, side * beam * 0.9, z), 0.008 * length, rig)
        else:
            b.rod((-length * 0.44, side * beam * 0.3, depth), (-length * 0.44, side * beam * 0.3, depth + high), 0.012 * length, rig)
    _mast(b, house_x + length * 0.1, depth + high, length * dice.uniform(0.12, 0.25))
    b.light((x, 0, z), (0.8, 0.95, 1.0), 1.2)
    _side_lights(b, house_x, half, depth + high)
    return b.build()


def tug(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.32, 0.38), length * 0.075
    house = dice.colour(dice.pick([WHITE, (60, 140, 200), (150, 170, 200)]))
    add_hull(b, Hull(length, beam, depth, dice.colour(dice.pick(HULL_COLOURS)), dice.colour((70, 90, 100)), (45, 45, 120),
                     depth * 0.2, 0.4, length * 0.03, depth * 1.1, 0.8, (30, 30, 32)))  # fmt: skip
    top = depth
    b.next_group()
    for share, high in ((0.33, 0.09), (0.25, 0.085), (0.17, 0.1)):
        h, x0 = high * length, -length * 0.08
        half = beam * (0.16 + share * 0.55)
        b.box(x0, x0 + share * length, -half, half, top, top + h, house, front=h * 0.15)
        b.windows(x0 + 0.4, x0 + share * length - 0.5, half, top + h * 0.5, top + h * 0.82, GLASS, 4)
        b.end_windows(x0 + share * length - 0.05, -half * 0.9, half * 0.9, top + h * 0.5, top + h * 0.85, GLASS)
        top += h
    b.next_group()
    for side in (-1, 1):
        y0, y1 = sorted((side * beam * 0.2, side * beam * 0.3))
        b.box(-length * 0.16, -length * 0.11, y0, y1, depth, depth + length * 0.2, dice.colour(dice.pick(HULL_COLOURS)))
    _mast(b, 0, top, length * 0.2)
    _side_lights(b, 0, beam * 0.3, top)
    return b.build()


def sailing_boat(dice: Dice, length: float, under_sail: bool) -> Solid:
    """A yacht; with bare mast and furled boom when it is moored."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.26, 0.32), length * dice.uniform(0.075, 0.1)
    colour = dice.colour(dice.pick(_BOAT_COLOURS, [6, 4, 1.5, 0.7, 0.5, 0.3, 0.2, 0.5]))
    add_hull(b, Hull(length, beam, depth, colour, dice.colour((170, 190, 205)), dice.colour((60, 50, 110)), depth * 0.15, 0.6,
                     length * 0.08, depth * 0.3, 0.65, dice.pick([None, (110, 50, 20), (40, 40, 140)])))  # fmt: skip
    b.next_group()
    half = beam * 0.28
    b.box(-length * 0.12, length * 0.22, -half, half, depth, depth + length * 0.045, dice.colour(WHITE), front=length * 0.06)
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
        cloth = dice.colour(dice.pick([(235, 238, 240), (215, 222, 228), (60, 60, 170), (150, 110, 60)], [8, 4, 0.4, 0.4]), 10)
        foot, head = depth + length * 0.1, mast_z * dice.uniform(0.93, 0.98)
        b.face([(mast_x, 0, foot), (mast_x + boom[0], boom[1], foot), (mast_x + boom[0] * 0.55, boom[1] * 0.6, (foot + head) / 2),
                (mast_x, 0, head)], cloth)  # fmt: skip
        if dice.chance(0.85):
            high = mast_z * dice.uniform(0.7, 0.95)
            b.face([(length * 0.5, 0, depth * 1.3), (mast_x - length * 0.05, boom[1] * 0.4, foot), (mast_x + 0.02 * length, 0, high)],
                   cloth)  # fmt: skip
    else:
        b.rod((mast_x, 0, depth + length * 0.11), (mast_x - length * 0.42, 0, depth + length * 0.12), length * 0.025,
              dice.colour(dice.pick([(120, 60, 30), (215, 220, 222), (70, 60, 50), (50, 50, 130)])))  # fmt: skip
        if dice.chance(0.7):  # furled head sail
            b.rod((length * 0.48, 0, depth * 1.4), (mast_x, 0, mast_z * 0.97), max(0.14, 0.012 * length), dice.colour(WHITE))
    b.rod((mast_x, 0, depth), (mast_x, 0, mast_z), width, metal)
    b.rod((mast_x, -beam * 0.25, mast_z * 0.6), (mast_x, beam * 0.25, mast_z * 0.6), 0.06, metal)
    b.rod((mast_x, 0, mast_z), (-length * 0.48, 0, depth), 0.03, metal)
    if dice.chance(0.12):  # ketch
        b.rod((-length * 0.36, 0, depth), (-length * 0.36, 0, mast_z * 0.7), width, metal)
    b.light((mast_x, 0, mast_z), (0.95, 0.97, 1.0), 0.3)
    return b.build()


def patrol_boat(dice: Dice, length: float) -> Solid:
    """Coast guard, police and navy: grey or white, low, with a lattice mast."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.12, 0.2), length * dice.uniform(0.045, 0.065)
    body = dice.colour(dice.pick([(140, 138, 132), (160, 158, 152), (225, 228, 228), (110, 70, 40)], [4, 3, 4, 1]))
    add_hull(b, Hull(length, beam, depth, body, dice.colour((100, 100, 95)), (40, 40, 60), depth * 0.1, 0.45, length * 0.06,
                     depth * 0.45, 0.85, dice.pick([None, (40, 60, 200), (150, 80, 20)])))  # fmt: skip
    top, deck_m = depth, max(2.0, length * 0.035)
    house = dice.colour(dice.pick([body, WHITE]), 8)
    b.next_group()
    for start, end, part in ((-0.28, 0.2, 0.42), (-0.12, 0.14, 0.36), (-0.02, 0.1, 0.3)):
        b.box(start * length, end * length, -beam * part, beam * part, top, top + deck_m, house, front=deck_m * 0.5, back=deck_m * 0.2)
        b.windows(start * length + 0.8, end * length - deck_m * 0.6, beam * part, top + deck_m * 0.5, top + deck_m * 0.8, GLASS, 6)
        b.end_windows(end * length - deck_m * 0.2, -beam * part * 0.9, beam * part * 0.9, top + deck_m * 0.45, top + deck_m * 0.8, GLASS)
        top += deck_m
    b.next_group()
    b.box(length * 0.26, length * 0.31, -beam * 0.13, beam * 0.13, depth, depth + deck_m * 0.8, house)
    b.rod((length * 0.3, 0, depth + deck_m * 0.6), (length * 0.38, 0, depth + deck_m * 0.7), 0.2, house)
    if length > 60:
        b.next_group()
        b.box(-length * 0.2, -length * 0.12, -beam * 0.2, beam * 0.2, depth + deck_m, depth + deck_m * 2.6, house, front=1)
    high = length * dice.uniform(0.1, 0.16)
    _mast(b, length * 0.0, top, high, house)
    b.rod((-high * 0.25, 0, top), (0, 0, top + high * 0.8), 0.3, house)
    _side_lights(b, 0, beam / 2, top)
    return b.build()


def motor_boat(dice: Dice, length: float) -> Solid:
    """Day boats, cabin cruisers and motor yachts."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.26, 0.34), length * dice.uniform(0.08, 0.12)
    white = dice.colour((230, 232, 233), 10)
    colour = dice.pick([white, dice.colour(dice.pick(_BOAT_COLOURS))], [0.7, 0.3])
    add_hull(b, Hull(length, beam, depth, colour, dice.colour((175, 190, 200)), dice.colour((60, 50, 80)), depth * 0.1, 0.55,
                     length * 0.08, depth * 0.25, 0.9, dice.pick([None, (110, 60, 30), (40, 40, 45)])))  # fmt: skip
    style = dice.pick(["open", "cabin", "fly"], [1, 2, 1.2])
    half, high = beam * 0.36, length * dice.uniform(0.09, 0.13)
    b.next_group()
    if style == "open":
        x = -length * 0.02
        b.box(x, x + length * 0.12, -half * 0.6, half * 0.6, depth, depth + high * 0.6, white, front=0.1)
        b.face([(x + length * 0.14, -half, depth + high * 0.3), (x + length * 0.14, half, depth + high * 0.3),
                (x + length * 0.06, half, depth + high * 1.1), (x + length * 0.06, -half, depth + high * 1.1)], (120, 110, 100))  # fmt: skip
        b.box(-length * 0.49, -length * 0.44, -0.3, 0.3, 0.1, depth + 0.4, (40, 40, 42))
        b.next_group()
        for y in ([0.0] if dice.chance(0.5) else [-half * 0.5, half * 0.4]):
            tone = dice.colour(dice.pick([(40, 40, 45), (60, 60, 170), (120, 80, 50)]))
            b.box(-length * 0.1, -length * 0.1 + 0.4, y - 0.25, y + 0.25, depth, depth + 1.3, tone)
    else:
        b.box(-length * 0.3, length * 0.26, -half, half, depth, depth + high, white, front=length * 0.14)
        b.windows(-length * 0.26, length * 0.12, half, depth + high * 0.35, depth + high * 0.8, GLASS, 3 if length < 12 else 6)
        b.face([(length * 0.24, -half * 0.8, depth + high * 0.2), (length * 0.24, half * 0.8, depth + high * 0.2),
                (length * 0.14, half * 0.8, depth + high * 0.9), (length * 0.14, -half * 0.8, depth + high * 0.9)], GLASS, (1, 0, 0.6))  # fmt: skip
        if style == "fly":
            b.box(-length * 0.28, length * 0.05, -half * 0.9, half * 0.9, depth + high, depth + high * 1.5, white, front=high * 0.4)
            b.rod((-length * 0.2, -half, depth + high * 2.1), (-length * 0.2, half, depth + high * 2.1), 0.2, white)
            for side in (-1, 1):
                b.rod((-length * 0.22, side * half, depth + high), (-length * 0.2, side * half, depth + high * 2.1), 0.15, white)
    b.rod((-length * 0.1, 0, depth + high), (-length * 0.1, 0, depth + high + length * dice.uniform(0.05, 0.25)), 0.06, (210, 210, 210))
    b.light((-length * 0.1, 0, depth + high * 1.6), (0.95, 0.97, 1.0), 0.3)
    _side_lights(b, length * 0.2, half, depth + high)
    return b.build()


def rib(dice: Dice, length: float) -> Solid:
    """An inflatable with people in it."""
    b = SolidBuilder()
    tube = dice.colour(dice.pick([(60, 60, 65), (40, 110, 230), (130, 130, 130), (50, 50, 190), (200, 205, 205)]))
    beam, depth = length * 0.36, length * 0.09
    add_hull(b, Hull(length, beam, depth, tube, dice.colour((90, 95, 100)), bow=0.4, rake=length * 0.05, sheer=depth * 0.4, transom=0.95))
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


def barge(dice: Dice, length: float) -> Solid:
    """A work barge, dredger or crane pontoon that floats without bow."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.2, 0.33), length * 0.04
    add_hull(b, Hull(length, beam, depth, dice.colour(dice.pick(HULL_COLOURS)), dice.colour(dice.pick([(80, 110, 130), (90, 90, 90)])),
                     bow=0.08, rake=length * 0.02, transom=0.98))  # fmt: skip
    b.next_group()
    b.box(-length * 0.42, -length * 0.3, -beam * 0.3, beam * 0.3, depth, depth + 5, dice.colour(WHITE))
    b.windows(-length * 0.41, -length * 0.31, beam * 0.3, depth + 3.4, depth + 4.3, GLASS)
    style = dice.pick(["crane", "heap", "frame"])
    paint = dice.colour(dice.pick([(40, 160, 220), (50, 60, 190), (200, 200, 200)]))
    b.next_group()
    if style == "crane":
        b.box(0, length * 0.1, -3, 3, depth, depth + 4, paint)
        b.rod((length * 0.05, 0, depth + 4), (length * 0.45, 0, depth + length * dice.uniform(0.2, 0.6)), 1.0, paint)
        b.rod((length * 0.05, 0, depth + 4), (length * 0.02, 0, depth + length * 0.2), 0.7, paint)
    elif style == "heap":
        b.box(-length * 0.2, length * 0.4, -beam * 0.4, beam * 0.4, depth, depth + 4, dice.colour((90, 120, 140)), front=5, back=5)
    else:
        for x in (-0.1, 0.35):
            b.rod((x * length, 0, depth), (x * length, 0, depth + length * 0.2), 0.8, paint)
        b.rod((-0.1 * length, 0, depth + length * 0.2), (0.35 * length, 0, depth + length * 0.12), 0.8, paint)
    b.light((0, 0, depth + 6), (0.8, 0.95, 1.0), 0.8)
    return b.build()
