"""Tall ships with many decks: car carrier, ferry, cruise ship."""

from __future__ import annotations

from wutdet.scenes.dice import Dice
from wutdet.scenes.fittings import GLASS, HULL_COLOURS, WHITE, add_funnel, add_mast, add_side_lights
from wutdet.scenes.hulls import Hull, add_hull
from wutdet.scenes.solids import Solid, SolidBuilder


def car_carrier(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * 0.16, length * dice.uniform(0.12, 0.15)
    body = dice.colour(dice.pick([(200, 200, 195), (140, 70, 30), (60, 60, 70), (70, 110, 60), (200, 170, 110)]))
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            body,
            dice.colour((140, 150, 140)),
            dice.colour((45, 45, 110)),
            depth * 0.12,
            0.14,
            length * 0.02,
            0,
            0.95,
            dice.pick([None, WHITE]),
        ),
    )
    b.next_group()
    b.box(length * 0.3, length * 0.4, -beam * 0.45, beam * 0.45, depth, depth + 3.5, dice.colour(WHITE))
    b.end_windows(length * 0.4, -beam * 0.4, beam * 0.4, depth + 1.2, depth + 2.4, GLASS)
    add_funnel(b, dice, -length * 0.35, depth, 6, dice.colour(dice.pick(HULL_COLOURS)))
    add_mast(b, length * 0.35, depth + 3.5, 8)
    add_side_lights(b, length * 0.35, beam / 2, depth)
    return b.build()


def ferry(dice: Dice, length: float) -> Solid:
    """Car and passenger ferries, short and tall; and small harbour ferries."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.15, 0.24), length * dice.uniform(0.05, 0.075)
    white = dice.colour(WHITE, 12)
    hull_colour = dice.pick([white, dice.colour(dice.pick(HULL_COLOURS))], [0.6, 0.4])
    hull = Hull(
        length,
        beam,
        depth,
        hull_colour,
        dice.colour((110, 120, 110)),
        dice.colour((70, 50, 60)),
        depth * 0.15,
        0.25,
        length * 0.05,
        depth * 0.2,
        0.9,
        dice.pick([None, (130, 60, 20), (50, 50, 160)]),
    )
    add_hull(b, hull)
    decks = max(1, min(6, int(length / 28)) + dice.integer(-1, 1))
    deck_m, top = max(2.4, length * 0.016), depth
    start, end = -length * dice.uniform(0.4, 0.48), length * dice.uniform(0.26, 0.36)
    b.next_group()
    for level in range(decks):
        inset = level * length * 0.012
        half = beam * (0.49 if level < decks - 1 else 0.42)
        b.box(start + inset * 2, end - inset, -half, half, top, top + deck_m, white, front=deck_m * 0.5)
        b.windows(
            start + inset * 2 + 2,
            end - inset - deck_m,
            half,
            top + deck_m * 0.4,
            top + deck_m * 0.75,
            GLASS,
            max(4, int((end - start) / 3)),
        )
        b.end_windows(
            end - inset - deck_m * 0.25, -half * 0.9, half * 0.9, top + deck_m * 0.45, top + deck_m * 0.8, GLASS
        )
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            for side in (-1, 1):
                b.light((start + share * (end - start), side * half, top + deck_m * 0.6), (0.55, 0.85, 1.0), 0.5)
        top += deck_m
    b.next_group()
    x_bridge = end - length * 0.14
    b.box(x_bridge, x_bridge + length * 0.07, -beam * 0.45, beam * 0.45, top, top + deck_m, white, front=deck_m * 0.3)
    b.end_windows(x_bridge + length * 0.07, -beam * 0.42, beam * 0.42, top + deck_m * 0.4, top + deck_m * 0.8, GLASS)
    b.windows(x_bridge + 0.5, x_bridge + length * 0.06, beam * 0.45, top + deck_m * 0.4, top + deck_m * 0.8, GLASS)
    add_funnel(
        b,
        dice,
        start + (end - start) * dice.uniform(0.15, 0.4),
        top,
        length * 0.055,
        dice.colour(dice.pick(HULL_COLOURS)),
    )
    if dice.chance(0.7):  # life boats
        for i in range(max(2, decks)):
            b.next_group()
            x = start + (end - start) * (0.2 + 0.6 * i / max(2, decks))
            for side in (-1, 1):
                y0, y1 = sorted((side * beam * 0.43, side * beam * 0.5))
                z = depth + deck_m * max(0, decks - 1)
                b.box(x, x + length * 0.05, y0, y1, z, z + deck_m * 0.7, (40, 120, 235), detail_m=1.5)
    add_mast(b, x_bridge + length * 0.03, top + deck_m, length * 0.06)
    add_side_lights(b, x_bridge, beam / 2, top)
    return b.build()


def cruise_ship(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * 0.12, length * 0.045
    white = dice.colour((232, 234, 234), 8)
    hull_colour = dice.pick([white, dice.colour((110, 55, 25))], [0.75, 0.25])
    add_hull(
        b,
        Hull(
            length,
            beam,
            depth,
            hull_colour,
            dice.colour((120, 130, 140)),
            (90, 60, 50),
            depth * 0.1,
            0.28,
            length * 0.05,
            depth * 0.25,
            0.9,
            dice.pick([None, (140, 70, 20)]),
        ),
    )
    decks, deck_m, top = max(4, int(length / 32)), 3.0, depth
    b.next_group()
    for level in range(decks):
        inset = level * length * 0.007
        start, end, half = -length * 0.45 + inset, length * 0.34 - inset * 1.6, beam * 0.48
        b.box(start, end, -half, half, top, top + deck_m, white, front=deck_m * 0.6)
        b.windows(start + 2, end - 4, half, top + 0.8, top + 2.2, (95, 85, 75), int((end - start) / 3.2))
        for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95):
            for side in (-1, 1):
                b.light((start + share * (end - start), side * half, top + 1.5), (0.55, 0.85, 1.0), 0.5)
        top += deck_m
    for i in range(6):
        x = -length * 0.3 + i * length * 0.1
        for side in (-1, 1):
            b.next_group()
            y0, y1 = sorted((side * beam * 0.45, side * beam * 0.52))
            b.box(x, x + length * 0.04, y0, y1, depth + deck_m, depth + deck_m * 2, (40, 120, 235), detail_m=2.0)
    b.next_group()
    b.box(-length * 0.3, length * 0.2, -beam * 0.35, beam * 0.35, top, top + deck_m, white)
    b.windows(-length * 0.29, length * 0.19, beam * 0.35, top + 0.8, top + 2.0, GLASS)
    add_funnel(b, dice, -length * 0.25, top + deck_m, length * 0.045, dice.colour(dice.pick([*HULL_COLOURS, WHITE])))
    add_mast(b, length * 0.2, top, length * 0.06)
    add_side_lights(b, length * 0.3, beam / 2, top)
    return b.build()
