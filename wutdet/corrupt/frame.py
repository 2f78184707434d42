"""corrupt: one frame, one corruption, one severity; the same bytes every time.

These are tests, not training data. ``wutdet.train.augment`` has effects of the same names, and on purpose not the same
pictures: there every strength is drawn at random, fog is even, glare is blended in without glitter in perspective,
rain is one layer, noise is white, blur is straight, and drops, spray, defocus, flat contrast and tilt do not occur.
What both share is the law of fog (``wutdet.corrupt.air.fog_share``). Training on these very functions would make the
figures worthless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wutdet.corrupt import air, camera, tilt, water
from wutdet.corrupt.draws import Draws
from wutdet.corrupt.severities import NAMES, parameters
from wutdet.errors import DataError, UsageError

#: Height of the horizon as a share of the frame's height, where it is not known.
DEFAULT_HORIZON = 0.45

_EFFECTS: dict[str, Callable[..., np.ndarray]] = {
    "fog": air.fog,
    "glare": air.glare,
    "rain": air.rain,
    "lens_drops": water.lens_drops,
    "spray": water.spray,
    "low_light": camera.low_light,
    "contrast": camera.contrast,
    "noise": camera.noise,
    "motion_blur": camera.motion_blur,
    "defocus_blur": camera.defocus_blur,
    "compression": camera.compression,
    "horizon_tilt": tilt.horizon_tilt,
}
assert tuple(_EFFECTS) == NAMES


@dataclass(frozen=True, eq=False)
class Corrupted:
    """A corrupted frame with its boxes.

    Attributes:
        image: uint8 [H, W, 3] BGR.
        xyxy: float64 [N, 4], where the boxes now are; unchanged but for horizon_tilt.
        kept: bool [N], False for boxes whose middle has left the frame: to be ignored.
    """

    image: np.ndarray
    xyxy: np.ndarray
    kept: np.ndarray


def corrupt(image: np.ndarray, name: str, severity: int, *, seed: int, horizon: float | None = None) -> np.ndarray:
    """The frame, corrupted. The same arguments give the same bytes, whatever the number of threads.

    What is drawn at random (where the sun stands, where drops lie) depends on the seed and the name, not on the
    severity: a frame's five severities are one scene getting worse, so that they can be compared frame by frame.

    Args:
        image: uint8 [H, W, 3] BGR.
        name: one of ``wutdet.corrupt.severities.NAMES``.
        severity: 1 to 5.
        seed: of this frame: ``wutdet.corrupt.draws.derived_seed(seed of the run, file name)``.
        horizon: its height as a share of the frame's height (0 top, 1 bottom; it may lie outside); 0.45 where None.

    Raises:
        UsageError: unknown corruption or severity, or a horizon that is not a number.
        DataError: not a frame.
    """
    values = parameters(name, severity)
    horizon = DEFAULT_HORIZON if horizon is None else float(horizon)
    if not np.isfinite(horizon):
        raise UsageError(f"the horizon must be a share of the frame's height, received {horizon}")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"a frame to corrupt must be uint8 [H, W, 3], received {got}")
    if image.size == 0:
        raise DataError(f"a frame to corrupt must have pixels, received shape {image.shape}")
    image = np.ascontiguousarray(image)
    return _EFFECTS[name](image, Draws(seed, name), horizon, **values)


def corrupt_labelled(
    image: np.ndarray, xyxy: np.ndarray, name: str, severity: int, *, seed: int, horizon: float | None = None
) -> Corrupted:
    """The frame and its boxes, corrupted; see ``corrupt``.

    Args:
        xyxy: float [N, 4], corners in pixels.
    """
    corrupted = corrupt(image, name, severity, seed=seed, horizon=horizon)
    xyxy = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
    if name != "horizon_tilt":
        return Corrupted(corrupted, xyxy, np.ones(len(xyxy), dtype=bool))
    degrees = tilt.tilt_degrees(Draws(seed, name), **parameters(name, severity))
    return Corrupted(corrupted, *tilt.tilt_boxes(xyxy, (image.shape[1], image.shape[0]), degrees))
