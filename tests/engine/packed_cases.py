"""Random convolutions whose weight is packed, in every format: for tests, and as seeds for fuzzing."""

from __future__ import annotations

import numpy as np
from operator_cases import Case, one

from wutdet.lowbit import quantize
from wutdet.quantize.packed_onnx import pack_weights
from wutdet.quantize.weights import PackedWeight, to_rows


def packed_case(weight: PackedWeight, rng) -> Case:
    """A convolution whose weight is a call of a function of domain wutdet.lowbit."""
    o, i, h, w = weight.shape
    x = rng.normal(size=(1, i, h + 1, w + 2)).astype(np.float32)
    case = one("Conv", {"x": x}, {"layer.weight": np.zeros((o, i, h, w), np.float32)})
    return Case(pack_weights(case.model, {"layer.weight": weight}), case.feeds)


def random_packed_weight(number_format: str, options: dict, rng) -> PackedWeight:
    """Rounded random values in kernels of a random small size."""
    o, i, h, w = (int(rng.integers(1, most + 1)) for most in (6, 20, 3, 3))
    weight = rng.normal(size=(o, i, h, w)).astype(np.float32)
    scale = rng.uniform(0.5, 2, o).astype(np.float32)
    return PackedWeight(quantize(to_rows(weight), number_format, **options), weight.shape, scale)


#: Every function of domain wutdet.lowbit: format and options.
PACKED = [
    ("hif4", {}),
    ("mxfp4", {}),
    ("nvfp4", {}),
    ("nvfp4", {"reference": "ao"}),
    ("hif8", {}),
    ("int4", {}),
    ("int4", {"granularity": "tensor"}),
    ("int4", {"symmetric": False, "group_size": 10}),
    ("int8", {"granularity": "channel"}),
    ("int8", {"granularity": "tensor", "symmetric": False}),
]
