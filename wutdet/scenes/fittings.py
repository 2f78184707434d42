"""What ships carry: masts, lights, accommodation blocks, funnels; and the colours they are painted in."""

from __future__ import annotations

from wutdet.scenes.dice import Dice
from wutdet.scenes.solids import SolidBuilder

HULL_COLOURS = [
    (60, 40, 30),
    (45, 45, 48),
    (110, 60, 30),
    (40, 40, 120),
    (50, 80, 40),
    (150, 110, 60),
    (120, 120, 120),
    (35, 60, 140),
    (90, 70, 20),
    (185, 185, 180),
    (60, 90, 160),
]
DECK_COLOURS = [(60, 70, 120), (80, 100, 70), (90, 95, 95), (60, 60, 65), (70, 85, 140)]
BOX_COLOURS = [
    (50, 60, 150),
    (140, 90, 40),
    (60, 60, 65),
    (160, 160, 160),
    (50, 110, 60),
    (40, 110, 190),
    (120, 60, 30),
    (60, 140, 200),
    (70, 45, 110),
    (190, 190, 185),
    (110, 110, 40),
]
WHITE = (225, 228, 228)
GLASS = (60, 52, 45)
BOAT_COLOURS = [
    (230, 232, 232),
    (225, 225, 220),
    (120, 60, 25),
    (50, 50, 150),
    (60, 100, 50),
    (50, 120, 200),
    (190, 150, 60),
    (50, 50, 55),
]


def add_mast(b: SolidBuilder, x: float, z: float, height: float, colour=(190, 195, 195)) -> None:
    b.next_group()
    b.rod((x, 0, z), (x, 0, z + height), max(0.25, height * 0.035), colour)
    b.rod((x, -height * 0.18, z + height * 0.7), (x, height * 0.18, z + height * 0.7), 0.18, colour)
    b.rod((x - 0.4, -height * 0.1, z + height * 0.5), (x - 0.4, height * 0.1, z + height * 0.5), 0.3, (230, 230, 230))
    b.light((x, 0, z + height), (0.95, 0.97, 1.0), 0.8)


def add_side_lights(b: SolidBuilder, x: float, half_beam: float, z: float) -> None:
    b.light((x, half_beam, z), (0.2, 0.2, 1.0), 0.6)
    b.light((x, -half_beam, z), (0.3, 1.0, 0.3), 0.6)


def add_bridge(b: SolidBuilder, dice: Dice, x0: float, x1: float, half: float, z: float, decks: int, white) -> float:
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
                b.face(
                    [
                        (x1 + 0.05, a, top + 1),
                        (x1 + 0.05, a + 1.0, top + 1),
                        (x1 + 0.05, a + 1.0, top + 2),
                        (x1 + 0.05, a, top + 2),
                    ],
                    GLASS,
                    (1, 0, 0),
                    1.0,
                )
        for side in (-1, 1):
            b.light(((x0 + x1) / 2, side * wide, top + 2.0), (0.5, 0.8, 1.0), 0.5)
        top += deck_m
    return top


def add_funnel(b: SolidBuilder, dice: Dice, x: float, z: float, size: float, colour) -> None:
    b.next_group()
    b.box(
        x - size * 0.5,
        x + size * 0.5,
        -size * 0.35,
        size * 0.35,
        z,
        z + size * 1.3,
        colour,
        (40, 40, 40),
        front=size * 0.12,
    )
    b.box(x - size * 0.45, x + size * 0.35, -size * 0.3, size * 0.3, z + size * 1.3, z + size * 1.5, (35, 35, 38))
