"""Working vessels: fishing boat, tug, patrol and navy, barge."""

from __future__ import annotations

from wutdet.scenes.dice import Dice
from wutdet.scenes.fittings import BOAT_COLOURS, GLASS, HULL_COLOURS, WHITE, add_mast, add_side_lights
from wutdet.scenes.hulls import Hull, add_hull
from wutdet.scenes.solids import Solid, SolidBuilder


def fishing_boat(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.25, 0.33), length * dice.uniform(0.055, 0.09)
    colour = dice.colour(dice.pick(BOAT_COLOURS))
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            colour,
            dice.colour((90, 120, 130)),
            dice.colour((45, 45, 120)),
            depth * 0.2,
            0.45,
            length * 0.07,
            depth * dice.uniform(0.5, 1.2),
            0.75,
            dice.pick([None, WHITE, (40, 40, 160)]),
        ),
    )
    house_x = length * dice.pick([0.08, -0.36])
    high, half = length * dice.uniform(0.1, 0.15), beam * 0.3
    white = dice.colour(WHITE)
    b.next_group()
    b.box(house_x, house_x + length * 0.24, -half, half, depth, depth + high, white, front=high * 0.1)
    b.windows(
        house_x + length * 0.02, house_x + length * 0.21, half, depth + high * 0.55, depth + high * 0.82, GLASS, 3
    )
    b.end_windows(house_x + length * 0.235, -half * 0.9, half * 0.9, depth + high * 0.55, depth + high * 0.85, GLASS)
    b.box(
        house_x + length * 0.02,
        house_x + length * 0.2,
        -half * 0.8,
        half * 0.8,
        depth + high,
        depth + high * 1.15,
        white,
    )
    b.next_group()
    rig = dice.colour(dice.pick([(60, 140, 210), (200, 200, 200), (60, 60, 65), (90, 160, 200)]))
    x, z = -length * 0.2, length * dice.uniform(0.25, 0.4)
    b.rod((x, 0, depth), (x, 0, z), 0.014 * length, rig)
    b.rod((x, 0, z), (-length * 0.45, 0, depth + high), 0.008 * length, rig)
    for side in (-1, 1):
        if dice.chance(0.5):
            b.rod((x, 0, depth + 1), (x, side * beam * 0.9, z), 0.008 * length, rig)
        else:
            b.rod(
                (-length * 0.44, side * beam * 0.3, depth),
                (-length * 0.44, side * beam * 0.3, depth + high),
                0.012 * length,
                rig,
            )
    add_mast(b, house_x + length * 0.1, depth + high, length * dice.uniform(0.12, 0.25))
    b.light((x, 0, z), (0.8, 0.95, 1.0), 1.2)
    add_side_lights(b, house_x, half, depth + high)
    return b.build()


def tug(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.32, 0.38), length * 0.075
    house = dice.colour(dice.pick([WHITE, (60, 140, 200), (150, 170, 200)]))
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            dice.colour(dice.pick(HULL_COLOURS)),
            dice.colour((70, 90, 100)),
            (45, 45, 120),
            depth * 0.2,
            0.4,
            length * 0.03,
            depth * 1.1,
            0.8,
            (30, 30, 32),
        ),
    )
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
    add_mast(b, 0, top, length * 0.2)
    add_side_lights(b, 0, beam * 0.3, top)
    return b.build()


def patrol_boat(dice: Dice, length: float) -> Solid:
    """Coast guard, police and navy: grey or white, low, with a lattice mast."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.12, 0.2), length * dice.uniform(0.045, 0.065)
    body = dice.colour(dice.pick([(140, 138, 132), (160, 158, 152), (225, 228, 228), (110, 70, 40)], [4, 3, 4, 1]))
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            body,
            dice.colour((100, 100, 95)),
            (40, 40, 60),
            depth * 0.1,
            0.45,
            length * 0.06,
            depth * 0.45,
            0.85,
            dice.pick([None, (40, 60, 200), (150, 80, 20)]),
        ),
    )
    top, deck_m = depth, max(2.0, length * 0.035)
    house = dice.colour(dice.pick([body, WHITE]), 8)
    b.next_group()
    for start, end, part in ((-0.28, 0.2, 0.42), (-0.12, 0.14, 0.36), (-0.02, 0.1, 0.3)):
        b.box(
            start * length,
            end * length,
            -beam * part,
            beam * part,
            top,
            top + deck_m,
            house,
            front=deck_m * 0.5,
            back=deck_m * 0.2,
        )
        b.windows(
            start * length + 0.8,
            end * length - deck_m * 0.6,
            beam * part,
            top + deck_m * 0.5,
            top + deck_m * 0.8,
            GLASS,
            6,
        )
        b.end_windows(
            end * length - deck_m * 0.2,
            -beam * part * 0.9,
            beam * part * 0.9,
            top + deck_m * 0.45,
            top + deck_m * 0.8,
            GLASS,
        )
        top += deck_m
    b.next_group()
    b.box(length * 0.26, length * 0.31, -beam * 0.13, beam * 0.13, depth, depth + deck_m * 0.8, house)
    b.rod((length * 0.3, 0, depth + deck_m * 0.6), (length * 0.38, 0, depth + deck_m * 0.7), 0.2, house)
    if length > 60:
        b.next_group()
        b.box(
            -length * 0.2, -length * 0.12, -beam * 0.2, beam * 0.2, depth + deck_m, depth + deck_m * 2.6, house, front=1
        )
    high = length * dice.uniform(0.1, 0.16)
    add_mast(b, length * 0.0, top, high, house)
    b.rod((-high * 0.25, 0, top), (0, 0, top + high * 0.8), 0.3, house)
    add_side_lights(b, 0, beam / 2, top)
    return b.build()


def barge(dice: Dice, length: float) -> Solid:
    """A work barge, dredger or crane pontoon that floats without bow."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.2, 0.33), length * 0.04
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            dice.colour(dice.pick(HULL_COLOURS)),
            dice.colour(dice.pick([(80, 110, 130), (90, 90, 90)])),
            bow=0.08,
            rake=length * 0.02,
            transom=0.98,
        ),
    )
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
        b.box(
            -length * 0.2,
            length * 0.4,
            -beam * 0.4,
            beam * 0.4,
            depth,
            depth + 4,
            dice.colour((90, 120, 140)),
            front=5,
            back=5,
        )
    else:
        for x in (-0.1, 0.35):
            b.rod((x * length, 0, depth), (x * length, 0, depth + length * 0.2), 0.8, paint)
        b.rod((-0.1 * length, 0, depth + length * 0.2), (0.35 * length, 0, depth + length * 0.12), 0.8, paint)
    b.light((0, 0, depth + 6), (0.8, 0.95, 1.0), 0.8)
    return b.build()
