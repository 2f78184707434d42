"""Everything built that is not a ship: quays, cranes, containers, sheds, houses, lamps, buoys, beacons, bridges."""

from __future__ import annotations

import numpy as np

from wutdet.scenes.dice import Dice
from wutdet.scenes.fittings import BOX_COLOURS
from wutdet.scenes.solids import Solid, SolidBuilder

CONCRETE = [(150, 155, 158), (120, 122, 122), (165, 175, 180), (95, 98, 100)]
PAINT = [(60, 150, 210), (50, 60, 180), (160, 110, 50), (190, 190, 190), (60, 110, 60), (70, 150, 220), (90, 90, 95)]
WARM = (0.45, 0.75, 1.0)


def quay(dice: Dice, length: float, width: float, height: float) -> Solid:
    """A straight stretch of quay wall along x, camera side at +y, with fenders and a lighter top edge."""
    b = SolidBuilder()
    wall = dice.colour(dice.pick(CONCRETE), 10)
    b.box(-length / 2, length / 2, -width, 0, 0, height, tuple(c * 0.8 for c in wall), dice.colour((150, 155, 155), 10))
    b.base_top_z = height
    b.face(
        [
            (-length / 2, 0.03, 0),
            (length / 2, 0.03, 0),
            (length / 2, 0.03, height * 0.35),
            (-length / 2, 0.03, height * 0.35),
        ],
        tuple(c * 0.45 for c in wall),
        (0, 1, 0),
        height * 0.3,
    )
    for i in range(max(1, int(length / 9))):
        x = -length / 2 + 4 + i * 9
        b.box(x, x + 1.0, 0.05, 0.6, height * 0.2, height * 0.85, (30, 30, 32))
    b.next_group()
    for i in range(max(1, int(length / 30))):
        x = -length / 2 + 10 + i * 30
        b.box(x, x + 0.6, -1.2, -0.6, height, height + 0.6, (60, 170, 200))
    return b.build()


def piled_jetty(dice: Dice, length: float, height: float) -> Solid:
    """A deck on piles; water is seen through below."""
    b = SolidBuilder()
    tone = dice.colour(dice.pick([(80, 95, 110), (110, 115, 115), (60, 70, 80)]))
    for i in range(int(length / 6) + 1):
        x = -length / 2 + i * 6
        for y in (-2.5, 0):
            b.rod((x, y, 0), (x, y, height + (1.2 if i % 2 else 0)), 0.5, tuple(c * 0.6 for c in tone))
    b.base_top_z = height
    b.next_group()
    b.box(-length / 2, length / 2, -2.8, 0.2, height - 0.6, height, tone, tuple(min(255, c * 1.3) for c in tone))
    b.rod((-length / 2, 0, height + 1.1), (length / 2, 0, height + 1.1), 0.12, (200, 200, 200))
    return b.build()


def pontoon(dice: Dice, length: float) -> Solid:
    b = SolidBuilder()
    b.box(-length / 2, length / 2, -1.2, 1.2, 0, 0.6, (120, 130, 135), (150, 165, 175))
    b.base_top_z = 0.6
    b.next_group()
    for i in range(int(length / 12) + 1):
        x = -length / 2 + i * 12
        b.rod((x, 0, 0), (x, 0, 3.2), 0.4, (70, 75, 80))
    return b.build()


def gantry_crane(dice: Dice, size: float) -> Solid:
    """A ship-to-shore crane; the boom reaches over the water (+y), raised or lowered."""
    b = SolidBuilder()
    paint = dice.colour(dice.pick(PAINT))
    high, span, depth = size, size * 0.45, size * 0.4
    beam = size * 0.03
    for x in (-span / 2, span / 2):
        b.next_group()
        b.rod((x, 0, 0), (x, 0, high), beam, paint)
        b.rod((x, -depth, 0), (x, -depth, high), beam, paint)
        b.rod((x, 0, high * 0.35), (x, -depth, high * 0.35), beam * 0.8, paint)
        b.rod((x, 0, high * 0.35), (x, -depth, high), beam * 0.6, paint)
        b.rod((x, -depth, 0.4), (x, 0, 0.4), beam * 1.6, paint)
    b.next_group()
    b.rod((-span / 2, 0, high * 0.35), (span / 2, 0, high * 0.35), beam, paint)
    b.rod((-span / 2, 0, high), (span / 2, 0, high), beam, paint)
    b.box(
        -span * 0.25,
        span * 0.25,
        -depth * 1.6,
        -depth * 0.9,
        high,
        high + size * 0.09,
        dice.colour(dice.pick([paint, (200, 200, 200)])),
    )
    b.rod((0, -depth * 1.7, high), (0, 0, high), beam * 1.5, paint)
    reach = size * 0.75
    tip = (0.0, reach, high) if dice.chance(0.6) else (0.0, reach * 0.25, high + reach * 0.95)
    b.rod((0, 0, high), tip, beam * 1.3, paint)
    apex = (0.0, -depth * 0.1, high * 1.35)
    b.rod((0, 0, high), apex, beam, paint)
    b.rod(apex, ((tip[0]) / 2, tip[1] * 0.7, high + (tip[2] - high) * 0.7), beam * 0.4, paint)
    b.rod(apex, (0, -depth * 1.6, high), beam * 0.4, paint)
    b.light((0, 0, high), (0.9, 0.97, 1.0), 2.0)
    b.light((0, 0, high * 1.35), (0.1, 0.1, 0.9), 1.0)
    return b.build()


def jib_crane(dice: Dice, size: float) -> Solid:
    """A harbour or tower crane with a slanted or level jib."""
    b = SolidBuilder()
    paint = dice.colour(dice.pick(PAINT))
    wide = size * 0.04
    angle = dice.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    if dice.chance(0.5):  # tower crane
        b.rod((0, 0, 0), (0, 0, size), wide, paint)
        b.rod((0, 0, size), (*(along * size * 0.7), size), wide * 0.7, paint)
        b.rod((0, 0, size), (*(-along * size * 0.25), size), wide, paint)
        b.rod((0, 0, size * 1.12), (*(along * size * 0.5), size), wide * 0.25, paint)
        b.rod((0, 0, size), (0, 0, size * 1.12), wide * 0.7, paint)
    else:
        b.box(-size * 0.07, size * 0.07, -size * 0.07, size * 0.07, 0, size * 0.2, paint)
        b.box(-size * 0.04, size * 0.04, -size * 0.04, size * 0.04, size * 0.2, size * 0.4, paint)
        tip = (*(along * size * 0.6), size)
        b.rod((0, 0, size * 0.35), tip, wide * 0.8, paint)
        b.rod((0, 0, size * 0.4), (0, 0, size * 0.6), wide, paint)
        b.rod((0, 0, size * 0.6), tip, wide * 0.2, (60, 60, 60))
        b.rod(tip, (tip[0], tip[1], size * 0.3), wide * 0.15, (60, 60, 60))
    b.light((0, 0, size), (0.1, 0.1, 0.9), 1.0)
    return b.build()


def container_block(dice: Dice, length: float) -> Solid:
    """Containers stacked on land."""
    b = SolidBuilder()
    palette = [dice.pick(BOX_COLOURS) for _ in range(5)]
    x = -length / 2
    while x + 12 < length / 2:
        b.next_group()
        for tier in range(dice.integer(1, 4)):
            b.box(x, x + 11.6, -6, 0, tier * 2.6, tier * 2.6 + 2.5, dice.colour(dice.pick(palette), 15))
        x += 12.4
    return b.build()


def building(dice: Dice, width: float, depth: float, height: float) -> Solid:
    """Office, flats, shed, silo or house, windows towards +y; the origin lies in the middle of the ground floor."""
    b = SolidBuilder()
    style = dice.pick(["flats", "shed", "house", "tower"], [3, 2, 3, 0.5])
    wall = dice.colour(
        dice.pick([(190, 200, 205), (215, 222, 225), (150, 175, 200), (120, 130, 145), (160, 165, 165), (90, 110, 150)])
    )
    if style == "tower":
        height, width = height * 2.2, width * 0.5
    if style == "shed":
        height = min(height, 12)
        wall = dice.colour(dice.pick([(150, 150, 145), (190, 195, 195), (140, 110, 70), (100, 120, 90), (60, 60, 150)]))
    b.box(-width / 2, width / 2, -depth / 2, depth / 2, 0, height, wall, dice.colour((120, 122, 122)))
    if style == "house":
        roof = dice.colour(dice.pick([(50, 75, 165), (60, 65, 95), (75, 75, 80), (45, 60, 130)]))
        ridge = height + min(depth, width) * 0.4
        for side in (-1, 1):
            y = side * depth / 2
            b.face(
                [(-width / 2, y, height), (width / 2, y, height), (width / 2, 0, ridge), (-width / 2, 0, ridge)],
                roof,
                (0, side, 0.8),
            )
            x = side * width / 2
            b.face([(x, -depth / 2, height), (x, depth / 2, height), (x, 0, ridge)], wall, (side, 0, 0))
    if style in ("flats", "tower", "house"):
        for floor in range(max(1, int(height / 3))):
            b.windows(
                -width / 2 + 0.8,
                width / 2 - 0.8,
                depth / 2,
                floor * 3 + 1,
                floor * 3 + 2.3,
                (80, 75, 70),
                max(2, int(width / 3.5)),
            )
            if dice.chance(0.6):
                b.light((dice.uniform(-0.4, 0.4) * width, depth / 2 + 0.2, floor * 3 + 1.7), WARM, 0.8)
    b.light((width * 0.3, depth / 2 + 1, min(5, height)), WARM, 0.7)
    return b.build()


def lamp_post(dice: Dice, height: float) -> Solid:
    b = SolidBuilder()
    b.rod((0, 0, 0), (0, 0, height), max(0.15, height * 0.02), (100, 100, 100))
    b.rod((-height * 0.08, 0, height), (height * 0.08, 0, height), 0.3, (140, 140, 140))
    b.light((0, 0, height), dice.pick([WARM, (0.85, 0.95, 1.0)]), 0.8)
    return b.build()


def vehicle(dice: Dice) -> Solid:
    b = SolidBuilder()
    paint = dice.colour(dice.pick([*BOX_COLOURS, (225, 225, 225)]))
    if dice.chance(0.3):
        b.box(-6, 5, -1.2, 1.2, 0.8, 3.6, paint)
        b.box(5.2, 7, -1.2, 1.2, 0.5, 3.0, dice.colour((220, 220, 220)))
    else:
        b.box(-2.2, 2.2, -0.9, 0.9, 0.3, 0.9, paint)
        b.box(-1.5, 1.1, -0.8, 0.8, 0.9, 1.5, (60, 55, 50), paint, front=0.5, back=0.4)
    return b.build()


def lighthouse(dice: Dice, height: float) -> Solid:
    b = SolidBuilder()
    red, white = dice.pick([(40, 40, 170), (50, 110, 40)]), (225, 228, 230)
    for i in range(4):
        r0 = height * (0.12 - i * 0.012)
        b.box(
            -r0,
            r0,
            -r0,
            r0,
            height * i * 0.2,
            height * (i + 1) * 0.2,
            red if i % 2 else white,
            front=height * 0.01,
            back=height * 0.01,
        )
    b.box(-height * 0.05, height * 0.05, -height * 0.05, height * 0.05, height * 0.8, height * 0.95, (60, 60, 60))
    b.light((0, 0, height * 0.9), dice.pick([(0.3, 0.3, 1.0), (0.4, 1.0, 0.4), (0.9, 0.97, 1.0)]), 1.5)
    return b.build()


def buoy(dice: Dice) -> Solid:
    """A navigation buoy: can, cone or pillar; or a small round mooring buoy."""
    b = SolidBuilder()
    paint = dice.colour(dice.pick([(40, 40, 190), (60, 130, 40), (40, 200, 230), (40, 120, 235), (45, 45, 45)]))
    high = dice.uniform(1.5, 6.5)
    r = high * dice.uniform(0.2, 0.4)
    b.box(-r, r, -r, r, 0, high * 0.35, paint, front=r * 0.3, back=r * 0.3)
    b.box(-r * 0.45, r * 0.45, -r * 0.45, r * 0.45, high * 0.35, high, paint, front=r * 0.2, back=r * 0.2)
    if dice.chance(0.5):
        b.box(-r * 0.3, r * 0.3, -r * 0.3, r * 0.3, high * 1.05, high * 1.3, dice.pick([paint, (40, 40, 40)]))
    b.light((0, 0, high * 1.2), dice.pick([(0.2, 0.2, 1.0), (0.3, 1.0, 0.3), (0.4, 0.9, 1.0)]), 0.5)
    return b.build()


def beacon(dice: Dice) -> Solid:
    """Piles, dolphins and day marks standing in the water."""
    b = SolidBuilder()
    high = dice.uniform(3, 10)
    wood = dice.colour(dice.pick([(50, 60, 65), (90, 100, 105), (60, 60, 60)]))
    for dx in (0.0,) if dice.chance(0.4) else (-0.8, 0.0, 0.8):
        b.rod((dx, 0, 0), (dx * 0.3, 0, high), 0.5, wood)
    if dice.chance(0.5):
        b.box(
            -0.9,
            0.9,
            -0.3,
            0.3,
            high,
            high + 1.6,
            dice.colour(dice.pick([(40, 40, 190), (60, 130, 40), (40, 200, 230)])),
        )
    b.light((0, 0, high + 1.8), dice.pick([(0.2, 0.2, 1.0), (0.3, 1.0, 0.3)]), 0.5)
    return b.build()


def rocks(dice: Dice, length: float, height: float) -> Solid:
    """A stretch of breakwater or reef: overlapping blocks along x."""
    b = SolidBuilder()
    b.box(
        -length / 2,
        length / 2,
        -height * 1.2,
        height * 0.4,
        0,
        height * 0.75,
        dice.colour((80, 85, 88)),
        front=1,
        back=1,
    )
    for _ in range(int(length / height * 1.4) + 1):
        b.next_group()
        x, r = dice.uniform(-0.5, 0.5) * length, height * dice.uniform(0.35, 0.7)
        y = dice.uniform(0, height * 0.8)
        b.box(
            x - r,
            x + r,
            y - r,
            y + r,
            0,
            height * dice.uniform(0.45, 1.05),
            dice.colour((95, 100, 104), 25),
            front=r * 0.6,
            back=r * 0.5,
        )
    return b.build()


def bridge(dice: Dice, length: float, height: float) -> Solid:
    b = SolidBuilder()
    tone = dice.colour(dice.pick(CONCRETE))
    for i in range(int(length / 60) + 1):
        x = -length / 2 + i * 60
        b.box(x - 2.5, x + 2.5, -5, 5, 0, height, tone)
    b.next_group()
    b.box(-length / 2, length / 2, -7, 7, height, height + 4, tone)
    if dice.chance(0.5):
        for x in (-length * 0.2, length * 0.2):
            b.rod((x, 0, height), (x, 0, height * 2.6), 5, tone)
            for k in (-0.18, -0.1, 0.1, 0.18):
                b.rod((x, 0, height * 2.5), (x + k * length, 0, height + 4), 0.6, tone)
    return b.build()


def wind_turbine(dice: Dice) -> Solid:
    b = SolidBuilder()
    high, reach, turn = dice.uniform(70, 110), dice.uniform(35, 60), dice.uniform(0, 2)
    white = (215, 218, 220)
    b.rod((0, 0, 0), (0, 0, high), 4.0, white)
    for k in range(3):
        a = turn + k * 2 * np.pi / 3
        b.rod((0, 0.5, high), (np.sin(a) * reach, 0.5, high + np.cos(a) * reach), 2.2, white)
    b.light((0, 0, high), (0.1, 0.1, 0.9), 1.5)
    return b.build()


def oil_platform(dice: Dice) -> Solid:
    b = SolidBuilder()
    steel = dice.colour((60, 110, 170))
    for x in (-25, 25):
        for y in (-25, 25):
            b.rod((x, y, 0), (x, y, 25), 5, steel)
    b.next_group()
    b.box(-35, 35, -30, 30, 25, 38, dice.colour((150, 160, 165)))
    b.box(-20, 5, -15, 15, 38, 50, dice.colour((210, 215, 215)))
    b.rod((18, 0, 38), (18, 0, 85), 4, (80, 90, 100))
    b.rod((30, 0, 38), (60, 0, 70), 1.5, (60, 120, 200))
    b.light((0, 30, 40), (0.6, 0.9, 1.0), 4.0)
    return b.build()
