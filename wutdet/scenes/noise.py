"""Tileable noise textures; made once per process and reused at other offsets and scales."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from wutdet.scenes.dice import Dice

#: Side of every texture in texels.
TEXTURE_SIZE = 1024


def octave(dice: Dice, cells_wh: tuple[int, int], size: int = TEXTURE_SIZE) -> np.ndarray:
    """float32 [size, size] smooth noise in about -1..1 that repeats without a seam."""
    columns, rows = cells_wh
    grid = dice.array(rows, columns) * 2 - 1
    margin = 3
    padded = np.pad(grid, margin, mode="wrap")
    step_x, step_y = size // columns, size // rows
    large = cv2.resize(padded, (padded.shape[1] * step_x, padded.shape[0] * step_y), interpolation=cv2.INTER_CUBIC)
    return large[margin * step_y : margin * step_y + size, margin * step_x : margin * step_x + size]


def fractal(key: str, octaves: Sequence[tuple[tuple[int, int], float]]) -> np.ndarray:
    """float32 [1024, 1024] weighted sum of octaves, scaled to mean 0 and standard deviation 1."""
    total = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
    for index, (cells_wh, weight) in enumerate(octaves):
        total += np.float32(weight) * octave(Dice("noise", key, index), cells_wh)
    return (total - total.mean()) / total.std()


#: Levels of the uint8 ``waves`` texture per unit of standard deviation, around 128.
WAVE_LEVELS = 36.0
#: How often ``waves`` and ``foam`` are repeated (right, down): cv2.warpPerspective cannot wrap around.
WAVE_TILES = (3, 4)


def _tiled(texture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.tile(texture, (WAVE_TILES[1], WAVE_TILES[0])))


@lru_cache(maxsize=1)
def waves() -> np.ndarray:
    """uint8 [4096, 3072], 128 + WAVE_LEVELS * height: crests along x, sharper above than below."""
    rough = fractal(
        "waves", [((16, 64), 0.7), ((32, 128), 1.0), ((64, 256), 1.0), ((128, 512), 0.9), ((512, 1024), 0.45)]
    )
    swell = fractal("swell", [((4, 16), 1.0), ((8, 32), 0.6)])
    ridged = rough * 0.75 + 0.45 * (1.2 - np.abs(fractal("crest", [((32, 64), 1.0), ((64, 128), 0.6)]))) + 0.35 * swell
    ridged = ridged + 0.15 * ridged * np.abs(ridged)
    scaled = (ridged - ridged.mean()) / ridged.std() * WAVE_LEVELS + 128
    return _tiled(np.clip(scaled, 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def foam() -> np.ndarray:
    """uint8 [4096, 3072]: sparse ragged white caps."""
    crest = fractal("foam", [((16, 64), 1.0), ((64, 128), 0.5), ((256, 512), 0.35)])
    patch = fractal("foam patch", [((8, 16), 1.0), ((16, 32), 0.5)])
    return _tiled(np.clip((crest + 0.8 * patch - 2.3) * 2.0 * 255, 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def clouds() -> np.ndarray:
    """float32 [1024, 1024], mean 0, deviation 1."""
    return fractal(
        "clouds",
        [
            ((4, 4), 1.0),
            ((8, 8), 0.7),
            ((16, 16), 0.45),
            ((32, 32), 0.28),
            ((64, 64), 0.17),
            ((128, 128), 0.1),
            ((256, 256), 0.05),
        ],
    )


@lru_cache(maxsize=1)
def leaves() -> np.ndarray:
    """uint8 [1024, 1024], 128 + 40 * height: clumps for trees, rock, rust and foam."""
    clumps = fractal(
        "leaves", [((16, 16), 0.4), ((32, 32), 0.6), ((64, 64), 0.9), ((128, 128), 0.9), ((256, 256), 0.6)]
    )
    return np.clip(clumps * 40 + 128, 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def sensor_noise(grain: int) -> tuple[np.ndarray, np.ndarray]:
    """Two uint8 [1536, 2816, 3] arrays (to add, to subtract): zero-mean noise of deviation ``grain`` / 2 levels."""
    dice = Dice("sensor", grain)
    raw = dice.octets(1536, 2816, 3).astype(np.int16) + dice.octets(1536, 2816, 3) - 255
    luma = raw[:, :, :1] * 0.6 + raw * 0.6
    scaled = (luma * (grain / 2 / 88.0)).astype(np.int16)
    return np.maximum(scaled, 0).astype(np.uint8), np.maximum(-scaled, 0).astype(np.uint8)
