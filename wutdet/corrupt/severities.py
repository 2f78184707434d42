"""How strong each corruption is: one table of physical parameters, five severities each.

Lengths in pixels are for a frame of 1920x1080 and grow with the square root of the frame's area. Severity 1 is what a
watch officer would hardly mention; severity 5 is bad, and still leaves ships close by recognisable to a person.
"""

from __future__ import annotations

from wutdet.errors import UsageError, suggest

SEVERITIES = (1, 2, 3, 4, 5)

#: Kind of trouble by corruption, in the order of tables.
GROUPS = {
    "fog": "weather",
    "glare": "weather",
    "rain": "weather",
    "lens_drops": "water on the lens",
    "spray": "water on the lens",
    "low_light": "light",
    "contrast": "light",
    "noise": "camera",
    "motion_blur": "camera",
    "defocus_blur": "camera",
    "compression": "camera",
    "horizon_tilt": "pose",
}
NAMES = tuple(GROUPS)

_TABLE: dict[str, dict[str, tuple[float, float, float, float, float]]] = {
    "fog": {
        "visibility_m": (4000, 2400, 1500, 1000, 700),  # meteorological range: 5 % of the contrast is left
        "patchiness": (0.15, 0.2, 0.25, 0.3, 0.35),  # relative change of the extinction from place to place
    },
    "glare": {
        "power": (0.35, 0.5, 0.65, 0.8, 0.95),  # light of the sun's halo, 1 saturates
        "veil": (0.03, 0.06, 0.1, 0.15, 0.2),  # stray light in the lens, everywhere
        "path_width": (0.06, 0.09, 0.13, 0.18, 0.24),  # of the glitter path at the frame's foot, share of its height
        "exposure": (0.95, 0.88, 0.8, 0.72, 0.65),  # what the automatic exposure leaves of the rest
    },
    "rain": {
        "rate_mm_h": (2, 6, 12, 20, 32),
        "near_drops": (12, 30, 55, 90, 140),  # streaks within a few metres, long and out of focus
        "far_drops": (300, 800, 1600, 2800, 4500),
        "opacity": (0.16, 0.2, 0.24, 0.28, 0.32),  # of a streak
    },
    "lens_drops": {
        "cover": (0.03, 0.06, 0.1, 0.15, 0.21),  # share of the frame behind drops, before they overlap
        "radius_px": (16, 20, 25, 31, 38),  # median
    },
    "spray": {
        "reach": (0.3, 0.42, 0.55, 0.7, 0.85),  # height of the sheet of spray, share of the frame's height
        "opacity": (0.3, 0.42, 0.54, 0.66, 0.78),  # of the mist at the frame's foot
        "specks": (500, 1100, 2100, 3600, 6000),
        "blobs": (3, 7, 13, 21, 32),  # drops so close that they are out of focus
    },
    "low_light": {
        "stops": (1.2, 2.1, 3.0, 3.9, 4.8),  # light lost, in powers of two
        "photons": (8000, 5000, 3200, 2000, 1300),  # electrons that white gives by day, as far as noise goes
        "gain_stops": (0.3, 0.6, 0.9, 1.2, 1.5),  # of the loss that the camera's gain brings back
        "saturation": (0.85, 0.7, 0.55, 0.4, 0.3),
    },
    "contrast": {"contrast": (0.6, 0.46, 0.35, 0.26, 0.19)},  # of the frame's own, around its mean colour
    "noise": {
        "read": (3, 5, 8, 12, 17),  # standard deviation in levels, in the dark
        "shot": (5, 9, 14, 20, 28),  # the same at full light
        "hot_pixels": (0.0, 2e-5, 6e-5, 1.5e-4, 3e-4),  # share of all
    },
    "motion_blur": {"length_px": (5, 9, 15, 23, 34)},
    "defocus_blur": {"radius_px": (1.3, 2.2, 3.4, 5.0, 7.0)},
    "compression": {
        "luma_quality": (30, 20, 14, 10, 7),  # of JPEG
        "chroma_quality": (26, 19, 15, 12, 10),
        "scale": (1.0, 0.85, 0.7, 0.58, 0.48),  # of the sides, before coding
    },
    "horizon_tilt": {"degrees": (2, 4, 7, 11, 16)},
}


def parameters(name: str, severity: int) -> dict[str, float]:
    """The parameters of one corruption, by name.

    Raises:
        UsageError: unknown corruption, or a severity that is not one of 1 to 5.
    """
    check_name(name)
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise UsageError(f"severity of '{name}' must be a whole number from 1 to 5, received {severity!r}")
    return {key: values[int(severity) - 1] for key, values in _TABLE[name].items()}


def check_name(name: str) -> None:
    """
    Raises:
        UsageError: there is no such corruption.
    """
    if name not in GROUPS:
        raise UsageError(
            f"unknown corruption '{name}'.{suggest(str(name), NAMES)}", hint=f"corruptions: {', '.join(NAMES)}"
        )
