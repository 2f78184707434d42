"""Which sequences a rendered data set has: scenes, conditions and sizes dealt out evenly, and by seed."""

from __future__ import annotations

from wutdet.dataset.dataset import SCENES
from wutdet.scenes.dice import Dice
from wutdet.scenes.direct import SequenceSpec

#: Frame sizes by name, pixels (width, height).
SIZES = {"1080p": (1920, 1080), "1440p": (2560, 1440)}

# Dealt in turn. Seven entries and four scenes share no factor, so 28 sequences hold every pair, and 7 every condition.
_CONDITIONS: tuple[tuple[str, ...], ...] = ((), ("fog",), (), ("glare",), ("low_light",), (), ("rain",))
_PARTNERS = {"fog": ("low_light", "rain"), "glare": (), "low_light": ("rain", "fog"), "rain": ("fog", "low_light")}


def plan(sequences: int, seed: int, size: str = "1080p", stride_s: float = 1.0) -> list[SequenceSpec]:
    """Specs of all sequences. A longer plan with the same seed begins with the shorter one.

    Args:
        sequences: how many. seed: any integer.
        size: "1080p", "1440p" or "mixed" (every third sequence is 1440p).
        stride_s: seconds between frames.
    """
    specs = []
    for index in range(sequences):
        conditions = _CONDITIONS[index % len(_CONDITIONS)]
        dice = Dice("plan", seed, index)
        if conditions and _PARTNERS[conditions[0]] and dice.chance(0.2):
            conditions = tuple(sorted((*conditions, dice.pick(_PARTNERS[conditions[0]]))))
        name = size if size != "mixed" else ("1440p" if index % 3 == 2 else "1080p")
        specs.append(SequenceSpec(seed, index, SCENES[index % len(SCENES)], conditions, SIZES[name], stride_s))
    return specs
