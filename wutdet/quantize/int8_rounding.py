"""Rounding the int8 weights of a graph so that its convolutions' outputs change least, and keep their means.

Weights are rounded column by column (wutdet.quantize.rounding), by the second moments of what each convolution sees in
the int8 graph. The scales are the graph's own. Layers come one after the other, each behind layers that are done: what
they lost is in the inputs already. Since biases then bring the means back (wutdet.quantize.bias), the moments are taken
about the means: only what varies has to be kept by the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from wutdet.errors import ExportError
from wutdet.quantize.layerwise import Step, convolutions
from wutdet.quantize.rounding import inverse_factor, round_columns

#: Positions per frame and layer that the second moments of inputs are taken of.
POSITIONS = 1024
#: Share of the mean diagonal added to the second moments. Less than 4-bit weights need: there is less to spread.
DAMPING = 0.001
#: Columns that are rounded before what they lost is spread over all behind them.
BLOCK = 64


def round_weights(
    model: onnx.ModelProto,
    quantised: onnx.ModelProto,
    frames: Sequence[np.ndarray],
    *,
    correct_biases: bool = True,
    seed: int = 0,
) -> onnx.ModelProto:
    """The quantised graph with other codes for its int8 weights, and biases that give the float graph's means.

    Args:
        model: float graph.
        quantised: made of it by ``quantise_int8`` or ``quantise_activations``; not changed.
        frames: network inputs, float32 [1, 3, H, W].
        correct_biases: give every output channel the float graph's mean, as ``wutdet.quantize.bias`` does, and round
            by what varies; else round by all that the layers see.
        seed: of the positions that inputs are looked at.

    Raises:
        ExportError: no frames, or a convolution that the float graph has not.
    """
    if not frames:
        raise ExportError("weights cannot be rounded by a network's inputs without frames")
    out = onnx.ModelProto()
    out.CopyFrom(quantised)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    floats = {node.name: weights.get(node.input[1]) for node in model.graph.node if node.op_type == "Conv"}
    used = [name for node in out.graph.node for name in node.input]
    wanted = {step.convolution.name: step.mean() for step in convolutions(model, frames)}
    rng = np.random.default_rng(seed)
    for step in convolutions(out, frames):
        node = step.convolution
        if node.name not in wanted:
            raise ExportError(f"the float graph has no convolution '{node.name}'")
        decoder = step.decoding.get(node.input[1])
        if decoder is not None and floats[node.name] is not None and used.count(decoder.output[0]) == 1:
            _round(step, decoder, numpy_helper.to_array(floats[node.name]), correct_biases, rng)
            step.rerun()
        if correct_biases:
            step.shift(wanted[node.name] - step.mean())
    return out


def _round(step: Step, decoder: onnx.NodeProto, weight: np.ndarray, centred: bool, rng) -> None:
    """Stores other codes for the weight, float32 [O, I, H, W], of a step's convolution."""
    name, scale_name = decoder.input[:2]
    scale = numpy_helper.to_array(step.constants[scale_name])
    largest = int(np.abs(numpy_helper.to_array(step.constants[name]).astype(np.int16)).max())
    patches = step.patches(weight.shape[2:], POSITIONS, rng)
    groups = patches.shape[1] // weight.shape[1]
    rows = weight.reshape(groups, len(weight) // groups, -1)
    scale = np.broadcast_to(scale, len(weight)).reshape(groups, -1)
    columns = patches.reshape(len(patches), groups, -1)
    if centred:
        columns = columns - columns.mean(axis=0, dtype=np.float64).astype(np.float32)
    codes = [int8_codes(rows[g], scale[g], second_moments(columns[:, g]), largest) for g in range(groups)]
    codes = np.concatenate(codes).reshape(weight.shape)
    step.constants[name].CopyFrom(numpy_helper.from_array(codes, name))


def second_moments(columns: np.ndarray) -> np.ndarray:
    """float64 [K, K], mean outer product of the rows of float32 [P, K]."""
    return (columns.T @ columns).astype(np.float64) / len(columns)


def int8_codes(rows: np.ndarray, scale: np.ndarray, moments: np.ndarray, largest: int = 127) -> np.ndarray:
    """int8 [O, K], codes of a weight under given scales.

    Args:
        rows: float32 [O, K].
        scale: float32 [O].
        moments: float64 [K, K], second moments of what the rows are multiplied with.
        largest: code; the lowest one is its negative.
    """
    factor = inverse_factor(moments, DAMPING)
    work = rows / scale[:, None].astype(np.float64)
    codes = np.zeros(rows.shape, dtype=np.int8)

    def rounded(column: np.ndarray, k: int) -> np.ndarray:
        codes[:, k] = np.clip(np.rint(column), -largest, largest)
        return codes[:, k]

    for first in range(0, rows.shape[1], BLOCK):
        round_columns(work, factor, slice(first, min(first + BLOCK, rows.shape[1])), rounded)
    return codes
