"""The values behind the codes: element and scale tables of every format.

Sources: OCP Microscaling Formats (E2M1, E8M0), arXiv 2602.11287 Table I (S1P2, E6M2), OFP8 (E4M3), arXiv 2409.16626
(HiF8). Each table is written out from the definition of its fields, not taken from a library: ml_dtypes and en_dtypes
are the oracles of the tests.
"""

from __future__ import annotations

import numpy as np


def _read_only(values) -> np.ndarray:
    table = np.array(values, dtype=np.float32)
    table.flags.writeable = False
    return table


def _with_signs(magnitudes: list[float]) -> np.ndarray:
    return _read_only(magnitudes + [-m for m in magnitudes])


#: float32 [16], elements of MXFP4 and NVFP4: sign, two exponent bits, one mantissa bit.
E2M1 = _with_signs([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
#: float32 [16], elements of HiF4: sign, one integer bit, two fraction bits.
S1P2 = _with_signs([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


def _e8m0() -> np.ndarray:
    return _read_only([float(np.ldexp(1.0, code - 127)) for code in range(255)] + [np.nan])


def _e6m2() -> np.ndarray:
    values = [float(np.ldexp(1 + (code & 3) / 4, (code >> 2) - 48)) for code in range(255)]
    return _read_only([*values, np.nan])


def _e4m3() -> np.ndarray:
    values = []
    for code in range(128):
        exponent, mantissa = code >> 3, code & 7
        subnormal = exponent == 0
        values.append(float(np.ldexp((0 if subnormal else 1) + mantissa / 8, (1 if subnormal else exponent) - 7)))
    values[0x7F] = np.nan
    return _with_signs(values)


def _hif8() -> np.ndarray:
    """The dot field says how many exponent bits follow: 11 four, 10 three, 01 two, 001 one, 0001 none; 0000 is a power
    of two below the normal numbers. Exponents are sign-magnitude with a hidden leading one."""
    values = []
    for code in range(128):
        if code >> 3 == 0:  # dot 0000: three bits of a power of two; 0 is the zero
            values.append(0.0 if code == 0 else float(np.ldexp(1.0, code - 23)))
            continue
        if code >> 3 == 1:  # dot 0001: exponent 0
            bits, rest = 0, code & 7
        elif code >> 4 == 1:  # dot 001
            bits, rest = 1, code & 15
        else:
            bits, rest = code >> 5, code & 31
            bits += 1
        mantissa_bits = {0: 3, 1: 3, 2: 3, 3: 2, 4: 1}[bits]
        field, mantissa = rest >> mantissa_bits, rest & ((1 << mantissa_bits) - 1)
        exponent = 0
        if bits:
            magnitude = (1 << (bits - 1)) | (field & ((1 << (bits - 1)) - 1))
            exponent = -magnitude if field >> (bits - 1) else magnitude
        values.append(float(np.ldexp(1 + mantissa / (1 << mantissa_bits), exponent)))
    values[0x6F] = np.inf
    table = values + [-v for v in values]
    table[0x80] = np.nan
    return _read_only(table)


#: float32 [256], scales of MXFP4: 2^(code - 127); 0xFF is NaN.
E8M0 = _e8m0()
#: float32 [256], level-1 scales of HiF4: 2^(code // 4 - 48) * (1 + code % 4 / 4); 0xFF is NaN, there is no zero.
E6M2 = _e6m2()
#: float32 [256], block scales of NVFP4 (OFP8 E4M3): largest 448; 0x7F and 0xFF are NaN.
E4M3 = _e4m3()
#: float32 [256], HiFloat8: 0x80 is NaN, 0x6F and 0xEF are the infinities, there is no negative zero.
HIF8 = _hif8()
