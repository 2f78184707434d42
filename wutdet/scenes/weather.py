"""What the air, the light and the sea are like in one sequence: colours, visibility, sun, waves, sensor noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet.scenes.dice import Dice

Bgr = tuple[float, float, float]

# Sky near the horizon, sky overhead, deep water; BGR. Picked by eye after harbour and coast cameras.
_DAYS: dict[str, list[tuple[Bgr, Bgr, Bgr]]] = {
    "blue": [
        ((215, 200, 180), (190, 130, 75), (95, 75, 40)),
        ((225, 210, 195), (205, 150, 100), (110, 95, 55)),
        ((205, 190, 180), (175, 140, 110), (85, 70, 45)),
        ((228, 216, 200), (200, 160, 115), (105, 105, 45)),
    ],
    "overcast": [
        ((190, 188, 184), (165, 162, 158), (95, 92, 85)),
        ((205, 203, 200), (150, 148, 146), (85, 88, 78)),
        ((170, 165, 160), (140, 136, 132), (80, 75, 68)),
        ((200, 195, 190), (180, 176, 172), (110, 108, 92)),
    ],
    "low_sun": [
        ((150, 185, 225), (165, 140, 120), (85, 80, 75)),
        ((165, 190, 210), (160, 135, 110), (80, 72, 65)),
        ((170, 175, 190), (150, 140, 135), (80, 78, 80)),
    ],
    "dusk": [
        ((95, 85, 85), (65, 50, 40), (35, 28, 22)),
        ((85, 95, 125), (75, 58, 45), (35, 30, 28)),
        ((110, 92, 80), (85, 65, 48), (40, 34, 26)),
    ],
    "night": [
        ((42, 33, 28), (20, 15, 11), (12, 10, 8)),
        ((36, 38, 42), (18, 17, 17), (11, 11, 11)),
        ((55, 42, 34), (28, 20, 14), (16, 13, 9)),
    ],
}


@dataclass(frozen=True)
class Weather:
    """Light and air of a sequence; colours are BGR 0..255.

    Attributes:
        sky_low, sky_high: sky near the horizon and overhead.
        water: colour of deep water seen from above.
        air: colour that distance fades to.
        visibility_m: distance at which 37 % of the contrast is left (the scale of the exponential).
        cloud_cover: 0..1; cloud_light, cloud_dark: their colours.
        sun: unit vector towards the sun; sun_glare 0..1: how strongly it shines in the picture and on the water.
        light: strength of direct light on faces; ambient: of light from everywhere; tint: colour factors.
        sea: 0 (flat) .. 1 (white caps everywhere).
        lamps: 0 by day .. 1 at night.
        rain: 0..1.
        grain: sensor noise, twice its deviation in levels.
    """

    sky_low: Bgr
    sky_high: Bgr
    water: Bgr
    air: Bgr
    visibility_m: float
    cloud_cover: float
    cloud_light: Bgr
    cloud_dark: Bgr
    sun: tuple[float, float, float]
    sun_glare: float
    light: float
    ambient: float
    tint: Bgr
    sea: float
    lamps: float
    rain: float
    grain: int

    def transmission(self, distance_m):
        """Share of an object's own colour that is left at a distance; numbers or arrays."""
        return np.exp(-np.asarray(distance_m) / self.visibility_m)


def _mix(a, b, share: float) -> Bgr:
    return tuple(float(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def make_weather(dice: Dice, conditions: tuple[str, ...], view_yaw: float) -> Weather:
    """Draws the weather for a set of conditions (of fog, glare, low_light, rain; none means clear).

    ``view_yaw`` is where the camera looks, in radians from north: glare puts the sun in front of it.
    """
    fog, glare, dark, rain = (name in conditions for name in ("fog", "glare", "low_light", "rain"))
    if dark:
        kind = dice.pick(["dusk", "night"])
    elif rain or fog:
        kind = dice.pick(["overcast", "blue"], [5, 1 if fog and not rain else 0])
    elif glare:
        kind = dice.pick(["blue", "low_sun", "overcast"], [2, 3, 1])
    else:
        kind = dice.pick(["blue", "overcast", "low_sun"], [5, 4, 1])
    sky_low, sky_high, water = (dice.colour(c, 14 if not dark else 6) for c in dice.pick(_DAYS[kind]))
    if not dark and dice.chance(0.25):  # green and turquoise coasts, brown estuaries
        water = _mix(water, dice.pick([(120, 125, 40), (75, 110, 115), (95, 105, 75)]), dice.uniform(0.3, 0.8))
    visibility = dice.log_uniform(9_000, 50_000)
    if fog:
        visibility = dice.log_uniform(180, 2_200)
    elif rain:
        visibility = dice.log_uniform(1_200, 8_000)
    elif dice.chance(0.2):  # haze that nobody would call fog
        visibility = dice.log_uniform(5_000, 9_000)
    if glare:
        sun_yaw, height = view_yaw + dice.bell(0.3), dice.uniform(0.06, 0.5)
    else:
        sun_yaw, height = view_yaw + dice.uniform(0.9, 5.4), dice.uniform(0.2, 1.1)
    if kind == "low_sun":
        height = dice.uniform(0.06, 0.22)
    sun = (np.sin(sun_yaw) * np.cos(height), np.cos(sun_yaw) * np.cos(height), np.sin(height))
    soft = kind in ("overcast", "dusk", "night") or fog or rain
    cover = {"blue": dice.uniform(0, 0.55), "overcast": dice.uniform(0.6, 1.0), "low_sun": dice.uniform(0.1, 0.7)}.get(
        kind, dice.uniform(0.2, 0.9)
    )
    bright = _mix(sky_low, (250, 250, 250) if not dark else sky_low, 0.6 if kind == "blue" else 0.25)
    gloom = _mix(_mix(sky_high, sky_low, 0.6), (150, 146, 142) if not dark else sky_high, 0.45)
    exposure = {"dusk": dice.uniform(0.28, 0.45), "night": dice.uniform(0.07, 0.18)}.get(kind, dice.uniform(0.85, 1.0))
    direct = 0.1 if soft else dice.uniform(0.35, 0.65)
    ambient = (0.9 if soft else 0.68) * exposure
    if glare:  # the camera closes its iris against the sun: the rest goes dark
        direct, ambient = direct * 0.8, ambient * dice.uniform(0.4, 0.75)
        water = _mix(water, (40, 36, 32), 0.35)
    tint = {"low_sun": (0.84, 0.95, 1.08), "dusk": (1.12, 0.98, 0.92), "night": (1.05, 1.0, 0.98)}.get(
        kind, (1.0, 1.0, 1.0)
    )
    grain = dice.pick([1, 2, 3, 4, 6], [2, 3, 3, 2, 1])
    if dark:
        grain = dice.pick([4, 7, 11, 16], [2, 3, 3, 2])
    return Weather(
        sky_low=sky_low,
        sky_high=sky_high,
        water=water,
        air=_mix(sky_low, (205, 203, 200) if not dark else sky_low, 0.3 if fog else 0.1),
        visibility_m=visibility,
        cloud_cover=cover,
        cloud_light=bright,
        cloud_dark=gloom,
        sun=sun,
        sun_glare=dice.uniform(0.5, 1.0) if glare else 0.0,
        light=direct * exposure,
        ambient=ambient,
        tint=tint,
        sea=min(1.0, max(0.05, dice.uniform(0.1, 0.8) + (0.2 if rain else 0.0) - (0.25 if fog else 0.0))),
        lamps={"dusk": dice.uniform(0.3, 0.7), "night": 1.0}.get(kind, 0.0),
        rain=dice.uniform(0.35, 1.0) if rain else 0.0,
        grain=grain,
    )
