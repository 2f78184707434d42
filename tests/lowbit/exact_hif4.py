"""HiF4 once more, from arXiv 2602.11287 Algorithm 1 with exact fractions: an oracle that shares nothing with ours."""

from __future__ import annotations

import math
from fractions import Fraction


def round_even(x: Fraction) -> int:
    return round(x)  # Python rounds halves of fractions to even


def significant(x: Fraction, bits: int) -> Fraction:
    """A positive number rounded to so many significant bits, ties to even."""
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > x
    unit = Fraction(2) ** (exponent - bits + 1)
    return round_even(x / unit) * unit


def hif4_group(values: list[float], ties: str = "away") -> list[float]:
    """What 64 finite values become; -0 where a negative value becomes 0."""
    exact = [Fraction(v) for v in values]
    peak = max(abs(v) for v in exact)
    wanted = significant(peak * Fraction(73, 512), 8) if peak else Fraction(0)  # bfloat16(1/7) = 73/512
    wanted = min(max(wanted, Fraction(2) ** -48), Fraction(49152))
    scale = significant(wanted, 3)
    reciprocal = significant(1 / scale, 8)
    out = []
    for i, value in enumerate(exact):
        eight, four = exact[i // 8 * 8 : i // 8 * 8 + 8], exact[i // 4 * 4 : i // 4 * 4 + 4]
        factor = 2 if max(abs(v) for v in eight) * reciprocal >= 4 else 1
        factor *= 2 if max(abs(v) for v in four) * reciprocal / factor >= 2 else 1
        quarters = 4 * abs(value) * reciprocal / factor
        whole = math.floor(quarters + Fraction(1, 2)) if ties == "away" else round_even(quarters)
        out.append(math.copysign(float(min(whole, 7) * scale * factor / 4), value))
    return out
