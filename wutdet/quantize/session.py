"""onnxruntime sessions of graphs in memory that compute what the graphs say."""

from __future__ import annotations

import onnx
import onnxruntime

#: Steps of onnxruntime's graph optimiser that change what a file computes. This one rounds float weights, and so the
#: decoded values of packed ones, to int8 with one scale a tensor where a convolution lies between 8-bit activations.
CHANGING_OPTIMIZERS = ("WeightBiasQuantization",)


def quiet_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session without onnxruntime's warnings."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(CHANGING_OPTIMIZERS),
    )
