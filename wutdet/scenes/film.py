"""render_frame: one frame of one sequence, with its boxes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from wutdet.scenes.dice import Dice
from wutdet.scenes.direct import SequenceSpec, direct
from wutdet.scenes.labels import ShipBox, ship_boxes
from wutdet.scenes.land import draw_ridge
from wutdet.scenes.painter import Canvas, Drawn
from wutdet.scenes.sensor import expose
from wutdet.scenes.sky_water import paint_sky, paint_water
from wutdet.scenes.stage import Stage
from wutdet.scenes.wakes import draw_birds, draw_wake


@dataclass(frozen=True, eq=False)
class Frame:
    """A rendered frame.

    Attributes:
        image: uint8 BGR [H, W, 3]. boxes: its ships. owner: uint16 [H, W], number of the ship that owns each pixel.
        scene, conditions: its tags. horizon: row of the horizon at the middle of the frame, pixels from the top.
    """

    image: np.ndarray
    boxes: list[ShipBox]
    owner: np.ndarray
    scene: str
    conditions: tuple[str, ...]
    horizon: float


@lru_cache(maxsize=2)
def _stage(spec: SequenceSpec) -> Stage:
    return direct(spec)


def render_frame(spec: SequenceSpec, frame_index: int) -> Frame:
    """Renders one frame. The result depends on nothing but the arguments.

    Args:
        spec: the sequence.
        frame_index: 0-based position in it; scene time is ``frame_index * spec.stride_s`` seconds.
    """
    stage = _stage(spec)
    time_s = frame_index * spec.stride_s
    camera = stage.camera(time_s)
    canvas = Canvas(camera, stage.weather)
    dice = Dice("frame", spec.seed, spec.index, frame_index)
    shift = (stage.cloud_shift[0] + 0.15 * time_s, stage.cloud_shift[1])
    edge = camera.horizon_v(np.array([0.0, float(spec.size_wh[0])]))
    paint_sky(canvas.frame, camera, stage.weather, int(np.clip(np.ceil(edge.max()) + 2, 0, spec.size_wh[1])), shift)
    far = [ridge for ridge in stage.ridges if not ridge.hides]
    paint_water(canvas.frame, camera, stage.weather, dice)
    for ridge in (*far, *(ridge for ridge in stage.ridges if ridge.hides)):
        draw_ridge(canvas, ridge)
    order = stage.drawing_order(camera, time_s)
    numbers = {
        id(actor): i + 1
        for i, actor in enumerate(
            a for group in (stage.loose, *(c.members for c in stage.clusters)) for a in group if a.ship
        )
    }
    for actor in order:
        draw_wake(canvas, actor, time_s, dice)
    drawn: dict[int, tuple[str, Drawn]] = {}
    for actor in order:
        position, heading, roll, pitch = actor.pose(time_s)
        number = numbers.get(id(actor), 0)
        note = canvas.draw(actor.solid, position, heading, number, roll, pitch, actor.mirror)
        if number and note is not None:
            drawn[number] = (actor.kind, note)
    if stage.birds:
        draw_birds(canvas, stage.birds, dice)
    for ridge in stage.front:
        draw_ridge(canvas, ridge)
    for actor in stage.front_actors:
        position, heading, *_ = actor.pose(time_s)
        canvas.draw(actor.solid, position, heading)
    boxes = ship_boxes(canvas.owner, drawn, stage.weather.grain / 2)
    image = expose(canvas, stage.sensor, Dice("lens", spec.seed, spec.index), dice, time_s)
    horizon = float(camera.horizon_v(np.array([spec.size_wh[0] / 2]))[0])
    return Frame(image, boxes, canvas.owner, spec.scene, spec.conditions, horizon)
