"""Ship hulls: sides lofted between a waterline and a deck outline, transom, deck, keel paint, stripe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet.scenes.solids import Colour, SolidBuilder

_STATIONS = np.array([0.0, 0.06, 0.2, 0.45, 0.62, 0.74, 0.84, 0.91, 0.96, 0.99, 1.0])


@dataclass(frozen=True)
class Hull:
    """Shape and paint of a hull, in metres.

    Attributes:
        length, beam, depth: overall length, width, and height of the main deck above the water.
        bow: share of the length over which the bow narrows.
        rake: how far the stem leans forward from waterline to deck.
        sheer: how much higher the deck is at the bow.
        transom: width of the stern as a share of the beam.
        colour, boot, deck: BGR of the sides, of the paint at the waterline, and of the deck.
        boot_m: height of the waterline paint.
        stripe: optional BGR of a band below the deck edge.
    """

    length: float
    beam: float
    depth: float
    colour: Colour
    deck: Colour
    boot: Colour = (40, 40, 110)
    boot_m: float = 0.0
    bow: float = 0.3
    rake: float = 0.0
    sheer: float = 0.0
    transom: float = 0.8
    stripe: Colour | None = None

    def half_breadth(self, share: np.ndarray) -> np.ndarray:
        """Half of the deck's width at shares of the length from the stern."""
        stern = self.transom + (1 - self.transom) * np.minimum(1, share / 0.2)
        into_bow = np.clip((share - (1 - self.bow)) / self.bow, 0, 1)
        return self.beam / 2 * stern * (1 - into_bow**2.2)

    def deck_z(self, share: np.ndarray) -> np.ndarray:
        """Height of the deck edge."""
        return self.depth + self.sheer * np.clip((share - 0.55) / 0.45, 0, 1) ** 2

    def half_beam_at(self, x: float) -> float:
        """Half width of the deck at ``x`` metres from midships."""
        return float(self.half_breadth(np.array([x / self.length + 0.5]))[0])


def add_hull(builder: SolidBuilder, hull: Hull) -> None:
    """Adds the hull as group 0."""
    share = _STATIONS
    half_deck = hull.half_breadth(share)
    deck_z = hull.deck_z(share)
    into_bow = np.clip((share - (1 - hull.bow)) / hull.bow, 0, 1)
    deck_x = (share - 0.5) * hull.length
    water_x = deck_x - hull.rake * into_bow**2
    half_water = half_deck * (0.94 - 0.3 * into_bow * (1 - into_bow))

    def edge(level: np.ndarray, side: int) -> np.ndarray:
        """[S, 3] outline at heights ``level`` (between 0 and deck_z)."""
        t = level / deck_z
        return np.column_stack(
            [water_x + t * (deck_x - water_x), side * (half_water + t * (half_deck - half_water)), level]
        )

    bands: list[tuple[np.ndarray, np.ndarray, Colour]] = []
    bottom = np.zeros_like(deck_z)
    if hull.boot_m > 0:
        boot = np.minimum(np.full_like(deck_z, hull.boot_m), deck_z * 0.8)
        bands.append((bottom, boot, hull.boot))
        bottom = boot
    if hull.stripe is not None:
        stripe = deck_z - np.maximum(0.12 * (deck_z - bottom), 0.1)
        bands += [(bottom, stripe, hull.colour), (stripe, deck_z, hull.stripe)]
    else:
        bands.append((bottom, deck_z, hull.colour))
    for side in (-1, 1):
        for low, high, colour in bands:
            a, b = edge(low, side), edge(high, side)
            for i in range(len(share) - 1):
                outward = (0.4 if share[i] > 1 - hull.bow else 0.0, side, 0.0)
                builder.face([a[i], a[i + 1], b[i + 1], b[i]], colour, outward)
    for low, high, colour in bands:
        ends = [edge(low, -1)[0], edge(low, 1)[0], edge(high, 1)[0], edge(high, -1)[0]]
        builder.face(ends, colour, (-1, 0, 0))
    deck = np.concatenate([edge(deck_z, -1), edge(deck_z, 1)[::-1]])
    deck[:, 2] = np.concatenate([deck_z, deck_z[::-1]])
    for i in range(len(share) - 1):
        j = len(deck) - 1 - i
        builder.face([deck[i], deck[i + 1], deck[j - 1], deck[j]], hull.deck, (0, 0, 1))
    builder.base_top_z = float(hull.depth)
