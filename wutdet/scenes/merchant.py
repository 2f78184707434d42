"""Large ships: container, bulk, tanker, general cargo, car carrier, ferry, cruise."""

from __future__ import annotations

from wutdet.scenes.dice import Dice
from wutdet.scenes.hulls import Hull, add_hull
from wutdet.scenes.solids import Solid, SolidBuilder

HULL_COLOURS = [(60, 40, 30), (45, 45, 48), (110, 60, 30), (40, 40, 120), (50, 80, 40), (150, 110, 60), (120, 120, 120),
                (35, 60, 140), (90, 70, 20), (185, 185, 180), (60, 90, 160)]  # fmt: skip
DECK_COLOURS = [(60, 70, 120), (80, 100, 70), (90, 95, 95), (60, 60, 65), (70, 85, 140)]
BOX_COLOURS = [(50, 60, 150), (140, 90, 40), (60, 60, 65), (160, 160, 160), (50, 110, 60), (40, 110, 190), (120, 60, 30),
               (60, 140, 200), (70, 45, 110), (190, 190, 185), (110, 110, 40)]  # fmt: skip
WHITE = (225, 228, 228)
GLASS = (60, 52, 45)


def _mast(b: SolidBuilder, x: float, z: float, height: float, colour=(190, 195, 195)) -> None:
    b.next_group()
    b.rod((x, 0, z), (x, 0, z + height), max(0.25, height * 0.035), colour)
    b.rod((x, -height * 0.18, z + height * 0.7), (x, height * 0.18, z + height * 0.7), 0.18, colour)
    b.rod((x - 0.4, -height * 0.1, z + height * 0.5), (x - 0.4, height * 0.1, z + height * 0.5), 0.3, (230, 230, 230))
    b.light((x, 0, z + height), (0.95, 0.97, 1.0), 0.8)


def _side_lights(b: SolidBuilder, x: float, half_beam: float, z: float) -> None:
    b.light((x, half_beam, z), (0.2, 0.2, 1.0), 0.6)
    b.light((x, -half_beam, z), (0.3, 1.0, 0.3), 0.6)


def _bridge(b: SolidBuilder, dice: Dice, x0: float, x1: float, half: float, z: float, decks: int, white) -> float:
    """A stacked accommodation block with a bridge on top; returns the height of its roof."""
    b.next_group()
    deck_m = 2.8
    top = z
    for level in range(decks):
        last = level == decks - 1
        wide = half if not last else half * 1.02
        inset = 0.25 * level
        b.box(x0 + inset, x1 - inset * 0.5, -wide, wide, top, top + deck_m, white, front=0.2)
        panes = max(3, int((x1 - x0) / 2.5))
        b.windows(x0 + inset + 0.5, x1 - inset - 0.5, wide, top + 1.1, top + 2.0, GLASS, panes)
        if last:
            b.end_windows(x1 - inset * 0.5 - 0.1, -wide * 0.95, wide * 0.95, top + 1.0, top + 2.1, GLASS)
        else:
            count = max(3, int(half))
            for i in range(count):
                a = -half * 0.9 + i * (half * 1.8 / count)
                b.face([(x1 + 0.05, a, top + 1), (x1 + 0.05, a + 1.0, top + 1), (x1 + 0.05, a + 1.0, top + 2),
                        (x1 + 0.05, a, top + 2)], GLASS, (1, 0, 0), 1.0)  # fmt: skip
        for side in (-1, 1):
            b.light(((x0 + x1) / 2, side * wide, top + 2.0), (0.5, 0.8, 1.0), 0.5)
        top += deck_m
    return top


def _funnel(b: SolidBuilder, dice: Dice, x: float, z: float, size: float, colour) -> None:
    b.next_group()
    b.box(x - size * 0.5, x + size * 0.5, -size * 0.35, size * 0.35, z, z + size * 1.3, colour, (40, 40, 40), front=size * 0.12)
    b.box(x - size * 0.45, x + size * 0.35, -size * 0.3, size * 0.3, z + size * 1.3, z + size * 1.5, (35, 35, 38))


def container_ship(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.13, 0.155), length * dice.uniform(0.035, 0.055)
    hull = Hull(length, beam, depth, dice.colour(dice.pick(HULL_COLOURS)), dice.colour(dice.pick(DECK_COLOURS)),
                dice.colour((45, 45, 120)), depth * dice.uniform(0.0, 0.35), 0.22, length * 0.05, depth * 0.35, 0.9)  # fmt: skip
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
                b.box(x, x + bay_m - 0.8, -width, width, z, z + tier_m - 0.15, dice.colour(dice.pick(palette), 18), detail_m=2.0)
        x += bay_m
    decks = most + dice.integer(1, 3)
    top = _bridge(b, dice, x_house, x_house + house_m * 0.7, half * 0.92, depth, decks, dice.colour(WHITE, 15))
    _funnel(b, dice, x_house - house_m * 0.3, depth + decks * 1.8, min(9, length * 0.04), dice.colour(dice.pick(HULL_COLOURS)))
    _mast(b, x_house + 4, top, min(12, length * 0.06))
    _mast(b, length * 0.44, depth, min(14, length * 0.07))
    _side_lights(b, x_house, half, top)
    return b.build()


def bulk_carrier(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.14, 0.17), length * dice.uniform(0.035, 0.075)
    hull = Hull(length, beam, depth, dice.colour(dice.pick(HULL_COLOURS)), dice.colour(dice.pick(DECK_COLOURS)),
                dice.colour((45, 45, 130)), depth * dice.uniform(0.0, 0.6), 0.17, length * 0.025, depth * 0.15, 0.85)  # fmt: skip
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
    top = _bridge(b, dice, x_house, x_house + length * 0.07, half * 0.75, depth, decks, dice.colour(WHITE, 15))
    _funnel(b, dice, x_house + 1, top - 4, min(7, length * 0.035), dice.colour(dice.pick(HULL_COLOURS)))
    _mast(b, x_house + length * 0.05, top, 8)
    _mast(b, length * 0.46, depth, 9)
    _side_lights(b, x_house, half, top)
    return b.build()


def tanker(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.15, 0.18), length * dice.uniform(0.03, 0.07)
    hull = Hull(length, beam, depth, dice.colour(dice.pick(HULL_COLOURS)), dice.colour((60, 70, 120)),
                dice.colour((45, 45, 130)), depth * dice.uniform(0.0, 0.6), 0.15, length * 0.02, depth * 0.1, 0.85)  # fmt: skip
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
                b.box(x - r, x + r, -r, r, depth + radius * z, depth + radius * (z + 0.34), (200, 215, 225),
                      front=r * 0.25, back=r * 0.25)  # fmt: skip
    x_house = -length * 0.45
    decks = dice.integer(4, 6) if length > 150 else dice.integer(2, 4)
    top = _bridge(b, dice, x_house, x_house + length * 0.08, beam * 0.38, depth, decks, dice.colour(WHITE, 15))
    _funnel(b, dice, x_house - length * 0.01, top - 5, min(8, length * 0.04), dice.colour(dice.pick(HULL_COLOURS)))
    _mast(b, x_house + length * 0.05, top, 8)
    _mast(b, length * 0.46, depth, 10)
    _side_lights(b, x_house, beam / 2, top)
    return b.build()


def cargo_ship(dice: Dice, length: float) -> Solid:
    """General cargo and coasters; the house may be aft or forward."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.14, 0.17), length * dice.uniform(0.03, 0.055)
    hull = Hull(length, beam, depth, dice.colour(dice.pick(HULL_COLOURS)), dice.colour(dice.pick(DECK_COLOURS)),
                dice.colour((45, 45, 120)), depth * dice.uniform(0, 0.4), 0.2, length * 0.04, depth * 0.6, 0.8,
                dice.pick([None, WHITE]))  # fmt: skip
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
                b.box(x, x + 12, -beam * 0.4, beam * 0.4, depth + 2 + tier * 2.6, depth + 4.5 + tier * 2.6,
                      dice.colour(dice.pick(BOX_COLOURS)), detail_m=2.0)  # fmt: skip
            x += 13
    top = _bridge(b, dice, x_house, x_house + length * 0.12, beam * 0.4, depth, dice.integer(2, 4), dice.colour(WHITE, 15))
    _funnel(b, dice, x_house + length * 0.02, top, min(4, length * 0.045), dice.colour(dice.pick(HULL_COLOURS)))
    _mast(b, x_house + length * 0.08, top, length * 0.07)
    _mast(b, length * 0.42, depth, length * 0.1)
    _side_lights(b, x_house, beam / 2, top)
    return b.build()


def car_carrier(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * 0.16, length * dice.uniform(0.12, 0.15)
    body = dice.colour(dice.pick([(200, 200, 195), (140, 70, 30), (60, 60, 70), (70, 110, 60), (200, 170, 110)]))
    add_hull(b, Hull(length, beam, depth, body, dice.colour((140, 150, 140)), dice.colour((45, 45, 110)), depth * 0.12,
                     0.14, length * 0.02, 0, 0.95, dice.pick([None, WHITE])))  # fmt: skip
    b.next_group()
    b.box(length * 0.3, length * 0.4, -beam * 0.45, beam * 0.45, depth, depth + 3.5, dice.colour(WHITE))
    b.end_windows(length * 0.4, -beam * 0.4, beam * 0.4, depth + 1.2, depth + 2.4, GLASS)
    _funnel(b, dice, -length * 0.35, depth, 6, dice.colour(dice.pick(HULL_COLOURS)))
    _mast(b, length * 0.35, depth + 3.5, 8)
    _side_lights(b, length * 0.35, beam / 2, depth)
    return b.build()


def ferry(dice: Dice, length: float) -> Solid:
    """Car and passenger ferries, short and tall; and small harbour ferries."""
    b = SolidBuilder()
    beam, depth = length * dice.uniform(0.15, 0.24), length * dice.uniform(0.05, 0.075)
    white = dice.colour(WHITE, 12)
    hull_colour = dice.pick([white, dice.colour(dice.pick(HULL_COLOURS))], [0.6, 0.4])
    hull = Hull(length, beam, depth, hull_colour, dice.colour((110, 120, 110)), dice.colour((70, 50, 60)), depth * 0.15,
                0.25, length * 0.05, depth * 0.2, 0.9, dice.pick([None, (130, 60, 20), (50, 50, 160)]))  # fmt: skip
    add_hull(b, hull)
    decks = max(1, min(6, int(length / 28)) + dice.integer(-1, 1))
    deck_m, top = max(2.4, length * 0.016), depth
    start, end = -length * dice.uniform(0.4, 0.48), length * dice.uniform(0.26, 0.36)
    b.next_group()
    for level in range(decks):
        inset = level * length * 0.012
        half = beam * (0.49 if level < decks - 1 else 0.42)
        b.box(start + inset * 2, end - inset, -half, half, top, top + deck_m, white, front=deck_m * 0.5)
        b.windows(start + inset * 2 + 2, end - inset - deck_m, half, top + deck_m * 0.4, top + deck_m * 0.75,
                  GLASS, max(4, int((end - start) / 3)))  # fmt: skip
        b.end_windows(end - inset - deck_m * 0.25, -half * 0.9, half * 0.9, top + deck_m * 0.45, top + deck_m * 0.8, GLASS)
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            for side in (-1, 1):
                b.light((start + share * (end - start), side * half, top + deck_m * 0.6), (0.55, 0.85, 1.0), 0.5)
        top += deck_m
    b.next_group()
    x_bridge = end - length * 0.14
    b.box(x_bridge, x_bridge + length * 0.07, -beam * 0.45, beam * 0.45, top, top + deck_m, white, front=deck_m * 0.3)
    b.end_windows(x_bridge + length * 0.07, -beam * 0.42, beam * 0.42, top + deck_m * 0.4, top + deck_m * 0.8, GLASS)
    b.windows(x_bridge + 0.5, x_bridge + length * 0.06, beam * 0.45, top + deck_m * 0.4, top + deck_m * 0.8, GLASS)
    _funnel(b, dice, start + (end - start) * dice.uniform(0.15, 0.4), top, length * 0.055, dice.colour(dice.pick(HULL_COLOURS)))
    if dice.chance(0.7):  # life boats
        for i in range(max(2, decks)):
            b.next_group()
            x = start + (end - start) * (0.2 + 0.6 * i / max(2, decks))
            for side in (-1, 1):
                y0, y1 = sorted((side * beam * 0.43, side * beam * 0.5))
                z = depth + deck_m * max(0, decks - 1)
                b.box(x, x + length * 0.05, y0, y1, z, z + deck_m * 0.7, (40, 120, 235), detail_m=1.5)
    _mast(b, x_bridge + length * 0.03, top + deck_m, length * 0.06)
    _side_lights(b, x_bridge, beam / 2, top)
    return b.build()


def cruise_ship(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    beam, depth = length * 0.12, length * 0.045
    white = dice.colour((232, 234, 234), 8)
    hull_colour = dice.pick([white, dice.colour((110, 55, 25))], [0.75, 0.25])
    add_hull(b, Hull(length, beam, depth, hull_colour, dice.colour((120, 130, 140)), (90, 60, 50), depth * 0.1, 0.28,
                     length * 0.05, depth * 0.25, 0.9, dice.pick([None, (140, 70, 20)])))  # fmt: skip
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
    _funnel(b, dice, -length * 0.25, top + deck_m, length * 0.045, dice.colour(dice.pick([*HULL_COLOURS, WHITE])))
    _mast(b, length * 0.2, top, length * 0.06)
    _side_lights(b, length * 0.3, beam / 2, top)
    return b.build()
