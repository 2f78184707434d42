"""The kinds of ships, how long they are, and how often each scene shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wutdet.scenes import leisure, merchant, passenger, workboats
from wutdet.scenes.dice import Dice
from wutdet.scenes.solids import Solid


@dataclass(frozen=True)
class Kind:
    """A kind of ship: builder, range of lengths in metres, and speed under way in metres per second."""

    build: Callable[[Dice, float], Solid]
    length_m: tuple[float, float]
    speed_mps: tuple[float, float]


def _sail_up(dice: Dice, length: float) -> Solid:
    return leisure.sailing_boat(dice, length, True)


def _sail_bare(dice: Dice, length: float) -> Solid:
    return leisure.sailing_boat(dice, length, False)


KINDS: dict[str, Kind] = {
    "container": Kind(merchant.container_ship, (110, 330), (4, 10)),
    "bulk": Kind(merchant.bulk_carrier, (90, 290), (4, 7)),
    "tanker": Kind(merchant.tanker, (75, 300), (4, 7)),
    "cargo": Kind(merchant.cargo_ship, (50, 140), (4, 7)),
    "car_carrier": Kind(passenger.car_carrier, (140, 200), (5, 9)),
    "ferry": Kind(passenger.ferry, (25, 200), (4, 11)),
    "cruise": Kind(passenger.cruise_ship, (120, 330), (4, 10)),
    "fishing": Kind(workboats.fishing_boat, (8, 42), (1, 5)),
    "tug": Kind(workboats.tug, (18, 36), (2, 6)),
    "sail": Kind(_sail_up, (6, 17), (1, 4)),
    "sail_bare": Kind(_sail_bare, (6, 17), (1, 3)),
    "patrol": Kind(workboats.patrol_boat, (16, 125), (4, 12)),
    "motor": Kind(leisure.motor_boat, (5, 22), (2, 13)),
    "rib": Kind(leisure.rib, (4, 9), (3, 14)),
    "barge": Kind(workboats.barge, (30, 90), (0.5, 3)),
}

#: Relative frequency of each kind, per scene, of ships that are not moored at a quay or pontoon.
MIX: dict[str, dict[str, float]] = {
    "port": {
        "container": 1,
        "bulk": 1,
        "tanker": 1,
        "cargo": 2,
        "ferry": 3,
        "cruise": 0.7,
        "fishing": 3,
        "tug": 3,
        "sail": 2,
        "sail_bare": 1.5,
        "patrol": 2,
        "motor": 4,
        "rib": 2,
        "barge": 1.5,
        "car_carrier": 0.6,
    },
    "anchorage": {
        "container": 2,
        "bulk": 4,
        "tanker": 4,
        "cargo": 3,
        "ferry": 0.5,
        "cruise": 0.4,
        "fishing": 1.5,
        "tug": 1,
        "sail": 0.7,
        "sail_bare": 0.7,
        "patrol": 1,
        "motor": 1.5,
        "rib": 0.7,
        "barge": 1,
        "car_carrier": 0.8,
    },
    "navigation": {
        "container": 2,
        "bulk": 2,
        "tanker": 2,
        "cargo": 2.5,
        "ferry": 2,
        "cruise": 0.8,
        "fishing": 4,
        "tug": 1.5,
        "sail": 3.5,
        "sail_bare": 0.7,
        "patrol": 2,
        "motor": 4,
        "rib": 2,
        "barge": 0.8,
        "car_carrier": 0.8,
    },
    "berthing": {
        "container": 0.7,
        "bulk": 1,
        "tanker": 1,
        "cargo": 2,
        "ferry": 2,
        "cruise": 0.5,
        "fishing": 2,
        "tug": 4,
        "sail": 1,
        "sail_bare": 2,
        "patrol": 2,
        "motor": 3,
        "rib": 2,
        "barge": 1.5,
        "car_carrier": 0.4,
    },
}
