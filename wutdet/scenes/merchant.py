"""Cargo ships: container, bulk, tanker, general cargo."""

from __future__ import annotations

from wutdet.scenes.dice import Dice
from wutdet.scenes.fittings import (
    BOX_COLOURS,
    DECK_COLOURS,
    HULL_COLOURS,
    WHITE,
    add_bridge,
    add_funnel,
    add_mast,
    add_side_lights,
)
from wutdet.scenes.hulls import Hull, add_hull
from wutdet.scenes.solids import Solid, SolidBuilder


def container_ship(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.13, 0.155), length * dice.uniform(0.035, 0.055)
    hull = Hull(
        length,
        beam,
        depth,
        dice.colour(dice.pick(HULL_COLOURS)),
        dice.colour(dice.pick(DECK_COLOURS)),
        dice.colour((45, 45, 120)),
        depth * dice.uniform(0.0, 0.35),
        0.22,
        length * 0.05,
        depth * 0.35,
        0.9,
    )
    add_hull(b, hull)
    half = beam / 2
    x_house = -length / 2 + length * dice.uniform(0.1, 0.3)
    house_m = min(16.0, length * 0.07)
    bay_m, tier_m = 13.2, 2.6
    most = max(2, int(min(9, length / 40)))
    load = dice.pick([0.25, 0.7, 1.0], [0.2, 0.4, 0.4])
    palette = [dice.pick(BOX_COLOURS) for _ in range(dice.integer(2, 6))]
    x = -length / 2 + 4
    while x + bay_m < length * 0.36:
        if x_house - bay_m < x < x_house + house_m:
            x = x_house + house_m + 0.8
            continue
        width = min(half * 0.97, hull.half_beam_at(x + bay_m) * 0.95)
        tiers = int(most * load * dice.uniform(0.6, 1.05) + 0.5)
        if tiers > 0 and width > 3:
            b.next_group()
            for tier in range(tiers):
                z = depth + 1 + tier * tier_m
                b.box(
                    x,
                    x + bay_m - 0.8,
                    -width,
                    width,
                    z,
                    z + tier_m - 0.15,
                    dice.colour(dice.pick(palette), 18),
                    detail_m=2.0,
                )
        x += bay_m
    decks = most + dice.integer(1, 3)
    top = add_bridge(b, dice, x_house, x_house + house_m * 0.7, half * 0.92, depth, decks, dice.colour(WHITE, 15))
    add_funnel(
        b,
        dice,
        x_house - house_m * 0.3,
        depth + decks * 1.8,
        min(9, length * 0.04),
        dice.colour(dice.pick(HULL_COLOURS)),
    )
    add_mast(b, x_house + 4, top, min(12, length * 0.06))
    add_mast(b, length * 0.44, depth, min(14, length * 0.07))
    add_side_lights(b, x_house, half, top)
    return b.build()


def bulk_carrier(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.14, 0.17), length * dice.uniform(0.035, 0.075)
    hull = Hull(
        length,
        beam,
        depth,
        dice.colour(dice.pick(HULL_COLOURS)),
        dice.colour(dice.pick(DECK_COLOURS)),
        dice.colour((45, 45, 130)),
        depth * dice.uniform(0.0, 0.6),
        0.17,
        length * 0.025,
        depth * 0.15,
        0.85,
    )
    add_hull(b, hull)
    holds = max(3, int(length / 30))
    start, end = -length * 0.34, length * 0.42
    step = (end - start) / holds
    hatch = dice.colour(dice.pick(DECK_COLOURS))
    cranes = dice.chance(0.55)
    crane_colour = dice.colour(dice.pick([(60, 170, 220), (200, 200, 200), (60, 130, 190), (110, 120, 80)]))
    for i in range(holds):
        x = start + i * step
        b.next_group()
        b.box(x + step * 0.15, x + step * 0.85, -beam * 0.28, beam * 0.28, depth, depth + 2.2, hatch)
        if cranes and i % 2 == 1:
            b.next_group()
            b.box(x - 1.3, x + 1.3, -1.3, 1.3, depth, depth + length * 0.07, crane_colour)
            reach = step * 1.2
            b.rod((x, 0, depth + length * 0.07), (x + reach, 0, depth + length * 0.075), 1.0, crane_colour)
    half, x_house = beam / 2, -length * 0.46
    decks = dice.integer(4, 6) if length > 150 else dice.integer(3, 4)
    top = add_bridge(b, dice, x_house, x_house + length * 0.07, half * 0.75, depth, decks, dice.colour(WHITE, 15))
    add_funnel(b, dice, x_house + 1, top - 4, min(7, length * 0.035), dice.colour(dice.pick(HULL_COLOURS)))
    add_mast(b, x_house + length * 0.05, top, 8)
    add_mast(b, length * 0.46, depth, 9)
    add_side_lights(b, x_house, half, top)
    return b.build()


def tanker(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.15, 0.18), length * dice.uniform(0.03, 0.07)
    hull = Hull(
        length,
        beam,
        depth,
        dice.colour(dice.pick(HULL_COLOURS)),
        dice.colour((60, 70, 120)),
        dice.colour((45, 45, 130)),
        depth * dice.uniform(0.0, 0.6),
        0.15,
        length * 0.02,
        depth * 0.1,
        0.85,
    )
    add_hull(b, hull)
    pipe = dice.colour((150, 150, 145))
    b.next_group()
    b.box(-length * 0.33, length * 0.38, -1.2, 1.2, depth, depth + 2.5, pipe)
    for x in (-0.04, 0.0, 0.04):
        b.rod((x * length, -beam * 0.45, depth + 2), (x * length, beam * 0.45, depth + 2), 1.2, pipe)
    b.next_group()
    b.rod((0, beam * 0.2, depth), (0, beam * 0.2, depth + length * 0.06), 1.0, pipe)
    b.rod((0, beam * 0.2, depth + length * 0.06), (length * 0.06, beam * 0.2, depth + length * 0.05), 0.6, pipe)
    if dice.chance(0.25):  # gas carrier domes
        for i in range(4):
            x, radius = -length * 0.25 + i * length * 0.16, min(length * 0.07, beam * 0.45)
            b.next_group()
            for z, grow in ((0.0, 1.0), (0.35, 0.85), (0.62, 0.5)):
                r = radius * grow
                b.box(
                    x - r,
                    x + r,
                    -r,
                    r,
                    depth + radius * z,
                    depth + radius * (z + 0.34),
                    (200, 215, 225),
                    front=r * 0.25,
                    back=r * 0.25,
                )
    x_house = -length * 0.45
    decks = dice.integer(4, 6) if length > 150 else dice.integer(2, 4)
    top = add_bridge(b, dice, x_house, x_house + length * 0.08, beam * 0.38, depth, decks, dice.colour(WHITE, 15))
    add_funnel(b, dice, x_house - length * 0.01, top - 5, min(8, length * 0.04), dice.colour(dice.pick(HULL_COLOURS)))
    add_mast(b, x_house + length * 0.05, top, 8)
    add_mast(b, length * 0.46, depth, 10)
    add_side_lights(b, x_house, beam / 2, top)
    return b.build()


def cargo_ship(dice: Dice, length: float) -> Solid:
    """General cargo and coasters; the house may be aft or forward."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.14, 0.17), length * dice.uniform(0.03, 0.055)
    hull = Hull(
        length,
        beam,
        depth,
        dice.colour(dice.pick(HULL_COLOURS)),
        dice.colour(dice.pick(DECK_COLOURS)),
        dice.colour((45, 45, 120)),
        depth * dice.uniform(0, 0.4),
        0.2,
        length * 0.04,
        depth * 0.6,
        0.8,
        dice.pick([None, WHITE]),
    )
    add_hull(b, hull)
    forward = dice.chance(0.2)
    x_house = length * 0.3 if forward else -length * 0.44
    b.next_group()
    low, high = (-length * 0.46, length * 0.26) if forward else (-length * 0.3, length * 0.36)
    b.box(low, high, -beam * 0.4, beam * 0.4, depth, depth + dice.uniform(1, 3), dice.colour(dice.pick(DECK_COLOURS)))
    if dice.chance(0.4):
        x = low
        while x < high - 13:
            b.next_group()
            for tier in range(dice.integer(0, 2)):
                b.box(
                    x,
                    x + 12,
                    -beam * 0.4,
                    beam * 0.4,
                    depth + 2 + tier * 2.6,
                    depth + 4.5 + tier * 2.6,
                    dice.colour(dice.pick(BOX_COLOURS)),
                    detail_m=2.0,
                )
            x += 13
    top = add_bridge(
        b, dice, x_house, x_house + length * 0.12, beam * 0.4, depth, dice.integer(2, 4), dice.colour(WHITE, 15)
    )
    add_funnel(b, dice, x_house + length * 0.02, top, min(4, length * 0.045), dice.colour(dice.pick(HULL_COLOURS)))
    add_mast(b, x_house + length * 0.08, top, length * 0.07)
    add_mast(b, length * 0.42, depth, length * 0.1)
    add_side_lights(b, x_house, beam / 2, top)
    return b.build()
