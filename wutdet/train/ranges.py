"""Which values each number and each choice of a TrainConfig may take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from wutdet.config import TrainConfig
from wutdet.errors import UsageError, suggest


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``.

    Attributes:
        low: the lowest value.
        high: the highest value.
        above: ``low`` itself is left out.
        meaning: said instead of the bounds.
    """

    low: float
    high: float = math.inf
    above: bool = False
    meaning: str = ""

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        if self.meaning:
            return f"is {self.meaning}, from {self.low} to {self.high}"
        if self.above:
            return f"must be above {self.low}" + (f" and at most {self.high}" if self.high < math.inf else "")
        return f"must be from {self.low} to {self.high}" if self.high < math.inf else f"must be at least {self.low}"


_PROBABILITY, _SHARE = Range(0, 1, meaning="a probability"), Range(0, 1, meaning="a share")
_ABOVE_0 = Range(0, above=True)

#: Range of every field that is a number, by its name on the command line with underscores.
RANGES = {
    "epochs": Range(1),
    "imgsz": Range(32),
    "frame_size": Range(32),
    "max_scale": _ABOVE_0,
    "whole_frames": _SHARE,
    "batch": Range(1),
    "lr0": Range(0, 1, above=True),
    "workers": Range(0),
    "seed": Range(0, 2**32 - 1),  # NumPy's global generator takes no other
    "patience": Range(0),
    "mosaic": _PROBABILITY,
    "close_mosaic": Range(0),
    "freeze": Range(0),
    "eval_every": Range(1),
    "minutes": _ABOVE_0,
    "augment.probability": _PROBABILITY,
    "augment.crop_probability": _PROBABILITY,
    "augment.focus": _PROBABILITY,
    "augment.scale": _SHARE,
    "augment.zoom": Range(1, 8),
    "augment.flip": _PROBABILITY,
    "augment.hue": _SHARE,
    "augment.saturation": _SHARE,
    "augment.value": _SHARE,
    "augment.paste": _PROBABILITY,
    "tiny.nwd": _SHARE,
    "tiny.weight": Range(0),
    "tiny.below": _ABOVE_0,
    "tiny.nwd_scale": _ABOVE_0,
}


def fields_of(config, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name (as in RANGES), type and value of every field, those of nested configurations included."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if is_dataclass(kind):
            yield from fields_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name, kind, value


def check_ranges(config: TrainConfig) -> None:
    """Refuses numbers out of their range, NaN and infinity among them, and choices that there are not.

    Raises:
        UsageError: names the option.
    """
    for name, kind, value in fields_of(config):
        option = "--" + name.replace("_", "-")
        if get_origin(kind) is Literal and value not in get_args(kind):
            choices = get_args(kind)
            raise UsageError(
                f"{option} takes one of {', '.join(choices)}, received {value!r}.{suggest(str(value), choices)}"
            )
        if value is None or name not in RANGES:
            continue
        if not isinstance(value, (int, float)) or (isinstance(value, float) and not math.isfinite(value)):
            raise UsageError(f"{option} must be a finite number, received {value!r}")
        if value not in RANGES[name]:
            raise UsageError(f"{option} {RANGES[name]}, received {value}")
