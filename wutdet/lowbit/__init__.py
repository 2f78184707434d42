"""Low-bit number formats: int8, int4, MXFP4, NVFP4, HiF4 and HiF8, bit for bit as their references define them.

``quantize(x, "hif4")`` gives a ``QuantizedTensor``; ``docs/formats.md`` specifies its bytes.
"""

from __future__ import annotations

from wutdet.lowbit.hadamard import RandomHadamard
from wutdet.lowbit.options import FORMATS
from wutdet.lowbit.quantize import quantize
from wutdet.lowbit.tensor import QuantizedTensor

__all__ = ["FORMATS", "QuantizedTensor", "RandomHadamard", "quantize"]
