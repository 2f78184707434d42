"""Simulated box tables of recordings, to know the true value of a figure: sequences, frames, ships, detections.

A sequence has its own weather, which makes all of its ships harder or easier, moves their scores and brings false
alarms, and its own ships, which are seen in every frame. Frames of one sequence are therefore much alike. Two models
look at the same ships: what is hard for one is hard for the other, and each has weaknesses of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

_CELL_PX = 240  # ships stand this far apart, so that no detection of one overlaps another
_COLUMNS = 8
_MOST_SHIPS = 60
_FALSE_ALARMS_FROM_X = _CELL_PX * (_COLUMNS + 1)  # right of all ships
_ROUGH = 0.5
_SMALLEST_PX, _LARGEST_PX = 4.0, 200.0


@dataclass(frozen=True)
class Skill:
    """A model.

    Attributes:
        ease: added to how easily a ship is found (log odds).
        jitter: factor of its errors in position.
        false_alarms: factor of its false alarms.
    """

    ease: float = 0.0
    jitter: float = 1.0
    false_alarms: float = 1.0


@dataclass(frozen=True)
class World:
    """What recordings are like.

    Attributes:
        frames: frames per sequence.
        ships: mean ships of a sequence; each is in four frames of five.
        ships_spread: standard deviation of the logarithm of that mean over sequences.
        size_px: median of sqrt(area); the logarithm has a standard deviation of 0.8.
        weather: standard deviation over sequences of ease (log odds).
        own_weather: the same, of each model alone.
        ship_spread: standard deviation over ships of ease.
        false_alarms: mean per frame; varies with the weather.
    """

    frames: int = 10
    ships: float = 4.0
    ships_spread: float = 0.6
    size_px: float = 20.0
    weather: float = 1.0
    own_weather: float = 0.3
    ship_spread: float = 0.8
    false_alarms: float = 1.5


def simulate(
    world: World, sequences: int, rng: np.random.Generator, skills: Sequence[Skill] = (Skill(),)
) -> tuple[GroundTruth, list[FoundBoxes]]:
    """Ground truth of ``sequences`` recordings, and what each model found.

    Frames have the label "sequence", and the condition "rough" in the worst 31 % of the weather. Scores are distinct.
    """
    images = sequences * world.frames
    weather = rng.normal(0, 1, sequences)
    mean = world.ships * np.exp(rng.normal(0, world.ships_spread, sequences) - world.ships_spread**2 / 2)
    count = np.minimum(rng.poisson(mean), _MOST_SHIPS)
    of_ship = np.repeat(np.arange(sequences), count)
    cell = np.arange(len(of_ship)) - np.repeat(np.cumsum(count) - count, count)
    size = np.clip(world.size_px * np.exp(rng.normal(0, 0.8, len(of_ship))), _SMALLEST_PX, _LARGEST_PX)
    aspect = np.exp(rng.normal(0.3, 0.3, len(of_ship)))
    ease = 0.6 + np.log2(size / 16) - world.weather * weather[of_ship] + rng.normal(0, world.ship_spread, len(of_ship))

    seen = rng.random((len(of_ship), world.frames)) < 0.8
    ship, frame = np.nonzero(seen)
    image = of_ship[ship] * world.frames + frame
    order = np.argsort(image, kind="stable")
    ship, image = ship[order], image[order]
    wh = np.c_[size * np.sqrt(aspect), size / np.sqrt(aspect)][ship]
    corner = _CELL_PX * np.c_[cell % _COLUMNS, cell // _COLUMNS][ship] + rng.uniform(0, 20, (len(ship), 2))
    xyxy = np.hstack([corner, corner + wh])
    ease = ease[ship] + rng.normal(0, 0.5, len(ship))

    rough = np.repeat(weather > _ROUGH, world.frames)
    truth = GroundTruth(
        image_id=np.arange(images),
        image=image,
        category=np.zeros(len(image), dtype=np.int64),
        xyxy=xyxy,
        box_area=_area(xyxy),
        area=_area(xyxy),
        ignore=np.zeros(len(image), dtype=bool),
        crowd=np.zeros(len(image), dtype=bool),
        category_names=("ship",),
        name="simulated",
        labels={
            "sequence": LabelColumn(
                np.repeat(np.arange(sequences, dtype=np.int32), world.frames),
                tuple(f"s{number}" for number in range(sequences)),
            )
        },
        conditions={"rough": rough, "clear": ~rough},
    )
    return truth, [_look(world, truth, ease, weather, skill, rng) for skill in skills]


def _look(world, truth, ease, weather, skill, rng) -> FoundBoxes:
    own = rng.normal(0, world.own_weather, len(weather))
    sequence = truth.image // world.frames
    clear = ease + skill.ease + own[sequence]
    found = rng.random(len(clear)) < 1 / (1 + np.exp(-(1.2 + clear)))
    side = np.sqrt(truth.box_area)[found, None]
    hits = truth.xyxy[found] + rng.normal(0, 1, (int(found.sum()), 4)) * skill.jitter * (0.4 + 0.05 * side)
    hits[:, 2:] = np.maximum(hits[:, 2:], hits[:, :2] + 1)
    hit_score = 0.8 * clear[found] + rng.normal(0, 0.8, len(hits))

    rate = world.false_alarms * skill.false_alarms * np.exp(0.6 * weather - 0.18)
    alarms = np.minimum(rng.poisson(np.repeat(rate, world.frames)), 30)
    alarm_image = np.repeat(np.arange(truth.image_count), alarms)
    alarm_size = np.clip(world.size_px * np.exp(rng.normal(0, 0.8, len(alarm_image))), _SMALLEST_PX, _LARGEST_PX)
    corner = np.c_[np.full(len(alarm_image), float(_FALSE_ALARMS_FROM_X)), rng.uniform(0, 1000, len(alarm_image))]
    # In bad weather false alarms score higher, in the same sequence in all frames.
    alarm_score = -1.2 + 0.5 * (weather + own)[alarm_image // world.frames] + rng.normal(0, 1, len(alarm_image))

    xyxy = np.vstack([hits, np.hstack([corner, corner + alarm_size[:, None]])])
    score = 1 / (1 + np.exp(-np.concatenate([hit_score, alarm_score])))
    image = np.concatenate([truth.image[found], alarm_image])
    return FoundBoxes(image, np.zeros(len(image), dtype=np.int64), xyxy, _area(xyxy), score)


def _area(xyxy: np.ndarray) -> np.ndarray:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
