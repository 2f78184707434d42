"""Bias correction: giving the outputs of an int8 graph's convolutions back the means that rounding shifted.

After Nagel et al., arXiv 1906.04721, section 4.2, with means measured on frames. Layers are corrected one after the
other, each behind layers that are corrected already: corrected all at once, every layer would make good its
predecessors' shift again (the output then gets worse, docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from wutdet.errors import ExportError
from wutdet.quantize.layerwise import convolutions


def correct_biases(model: onnx.ModelProto, quantised: onnx.ModelProto, frames: Sequence[np.ndarray]) -> onnx.ModelProto:
    """The quantised graph with biases under which every convolution's output channels have the float graph's means.

    Every node runs once per frame; the activations that are still needed are held for all frames together.

    Args:
        model: float graph.
        quantised: made of it by ``quantise_int8``; not changed.
        frames: network inputs, float32 [1, 3, H, W].

    Raises:
        ExportError: no frames, or a convolution that the float graph has not.
    """
    if not frames:
        raise ExportError("biases cannot be corrected without frames")
    out = onnx.ModelProto()
    out.CopyFrom(quantised)
    wanted = {step.convolution.name: step.mean() for step in convolutions(model, frames)}
    for step in convolutions(out, frames):
        if step.convolution.name not in wanted:
            raise ExportError(f"the float graph has no convolution '{step.convolution.name}'")
        step.shift(wanted[step.convolution.name] - step.mean())
    return out
