"""Building markup that is well-formed as HTML and as XML, whatever the text in it."""

from __future__ import annotations

import html
import math
import re

#: Characters that XML 1.0 does not allow, and lone surrogates (undecodable bytes of file names).
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

#: Elements without a closing tag.
_VOID = frozenset({"br", "col", "hr", "img", "input", "meta"})


class Markup(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Text safe between tags and in quoted attributes; what XML cannot hold becomes U+FFFD."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(FORBIDDEN.sub("\ufffd", str(text)), quote=True))


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """One element. Content is escaped unless it is Markup; ``None`` is left out.

    Attributes: ``class_`` is written ``class``, ``stroke_width`` as ``stroke-width``; those that are ``None`` are
    left out; floats are rounded to 2 decimals.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{''.join(escape(part) for part in content if part is not None)}</{name}>")


def join(parts) -> Markup:
    """The parts, escaped where they are not Markup, one after the other."""
    return Markup("".join(escape(part) for part in parts if part is not None))


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number (and not a bool)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
