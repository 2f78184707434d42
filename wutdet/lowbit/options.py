"""What can be chosen of each number format. The defaults reproduce the formats' main reference implementations."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from wutdet.errors import UsageError, suggest

Ties = Literal["even", "away"]
Rounding = Literal["nearest", "stochastic"]


@dataclass(frozen=True)
class HiF4Options:
    """HiFloat4 (arXiv 2602.11287): groups of 64, 4.5 bits a value."""

    ties: Ties = "away"
    """Elements half way between two codes: away from zero as in the authors' simulator, or to the even code as Ascend
    devices appear to do."""
    non_finite: Literal["nan", "saturate"] = "nan"
    """Infinities: 'nan' makes the whole group NaN, 'saturate' takes them for values beyond the largest. A NaN always
    makes its group NaN."""


@dataclass(frozen=True)
class MXFP4Options:
    """MXFP4 (OCP Microscaling Formats 1.0): groups of 32, 4.25 bits a value."""

    scale_rule: Literal["floor", "ceil"] = "floor"
    """'floor' is the OCP rule, which clips group maxima in (6, 8) times the scale; 'ceil' is truncation-free: the
    smallest power of two that clips nothing."""
    ties: Ties = "even"
    """Elements half way between two codes."""


@dataclass(frozen=True)
class NVFP4Options:
    """NVFP4 (arXiv 2509.25149): groups of 16 with E4M3 scales under one float32 scale, 4.5 bits a value."""

    scaling: Literal["two-level", "block"] = "two-level"
    """'two-level' first brings the tensor's peak to 2688 = 6 * 448; 'block' has no tensor scale."""
    reference: Literal["te", "ao"] = "te"
    """Whose order of float32 operations: Transformer Engine (also subnormal and zero scales), or torchao (scales of at
    least 2^-6)."""
    tile: Literal["1x16", "16x16"] = "1x16"
    """'16x16' gives 16 rows one scale, so that a matrix and its transpose are quantised alike (for weights)."""


@dataclass(frozen=True)
class HiF8Options:
    """HiFloat8 (arXiv 2409.16626): one byte a value, no scale."""


@dataclass(frozen=True)
class IntegerOptions:
    """Integers with float32 scales."""

    granularity: Literal["tensor", "channel", "group"] = "channel"
    """What shares a scale: everything, what has the same index on the first axis, or GROUP_SIZE neighbours on the
    last."""
    symmetric: bool = True
    """Codes -m..m around zero without a zero point (m = 127, 7); else 0..255 (0..15) with one."""
    group_size: int = 64
    """Neighbours on the last axis that share a scale, for granularity 'group'."""


@dataclass(frozen=True)
class Int4Options(IntegerOptions):
    """int4: by default groups of 64 with float32 scales, 4.5 bits a value."""

    granularity: Literal["tensor", "channel", "group"] = "group"


#: Format name -> its options.
OPTIONS: dict[str, type] = {
    "int8": IntegerOptions,
    "int4": Int4Options,
    "mxfp4": MXFP4Options,
    "nvfp4": NVFP4Options,
    "hif4": HiF4Options,
    "hif8": HiF8Options,
}
FORMATS = tuple(OPTIONS)


def options_for(format: str, chosen: dict):
    """The options of a format, checked.

    Raises:
        UsageError: no such format, option or value.
    """
    if format not in OPTIONS:
        raise UsageError(
            f"no number format '{format}'.{suggest(str(format), FORMATS)}", hint=f"one of {_list(FORMATS)}"
        )
    kind = OPTIONS[format]
    known = {field.name: field for field in fields(kind)}
    for name, value in chosen.items():
        if name not in known:
            raise UsageError(
                f"{format} has no option '{name}'.{suggest(name, known)}",
                hint=f"it has {_list(known)}" if known else "it has none",
            )
        _check(format, name, value)
    return kind(**chosen)


def number_format(text: str) -> tuple[str, dict]:
    """Format and options from text such as ``hif4`` or ``mxfp4:scale_rule=ceil`` (more options behind commas).

    Raises:
        UsageError: no such format, option or value.
    """
    format, _, rest = text.partition(":")
    chosen: dict = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"expected option=value behind '{format}:', received '{part}'")
        chosen[name] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
    options_for(format, chosen)
    return format, chosen


_CHOICES = {
    "ties": get_args(Ties),
    "non_finite": ("nan", "saturate"),
    "scale_rule": ("floor", "ceil"),
    "scaling": ("two-level", "block"),
    "reference": ("te", "ao"),
    "tile": ("1x16", "16x16"),
    "granularity": ("tensor", "channel", "group"),
}


def _check(format: str, name: str, value) -> None:
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UsageError(f"{format}: {name} must be one of {_list(_CHOICES[name])}, received {value!r}")
    if name == "symmetric" and not isinstance(value, bool):
        raise UsageError(f"{format}: symmetric must be true or false, received {value!r}")
    if name == "group_size" and (isinstance(value, bool) or not isinstance(value, int) or value < 2 or value % 2):
        raise UsageError(f"{format}: group_size must be an even number of at least 2, received {value!r}")


def _list(names) -> str:
    return ", ".join(names)
