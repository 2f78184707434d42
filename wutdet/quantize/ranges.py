"""The ranges that activations take on calibration frames, measured with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx

from wutdet.errors import ExportError
from wutdet.quantize.session import quiet_session

METHODS = ("minmax", "percentile", "l4")

#: Values kept per tensor, over all frames together; bounds memory at about 300 MB for a nano network.
SAMPLES_PER_TENSOR = 200_000
#: Share of values left outside at each end by ``percentile``.
OUTSIDE = 1e-4
#: Values that the best range is searched on. With 10,000 the tails are seen too seldom (docs/log.md).
SEARCHED_VALUES = 40_000
#: Candidates, as shares of what was seen. Lower ends are mostly of SiLU inputs, where nearly all may go.
HIGH_SHARES = (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
LOW_SHARES = (1, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05)
#: SiLU maps everything below this to within 0.003 of zero; spending codes on it only coarsens the rest.
SILU_FLOOR = -8.0


def activation_ranges(
    model: onnx.ModelProto, inputs: Iterable[np.ndarray], method: str, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Lowest and highest value to represent, by tensor name, for every float activation of a graph.

    Lowest and highest values are exact; shares and errors are estimated on a random sample of each tensor. Inputs of
    SiLU are never represented below ``SILU_FLOOR``.

    Args:
        model: float graph of fixed shape.
        inputs: network inputs, float32 [1, 3, H, W]; taken one at a time.
        method: ``minmax``: everything seen; ``percentile``: all but 0.01 % at each end; ``l4``: the range with the
            smallest mean fourth power of the rounding and clipping error, measured behind the SiLU where one follows.
        seed: of the sample.

    Raises:
        ExportError: no inputs, or activations that are not finite.
    """
    names = activation_names(model)
    rng = np.random.default_rng(seed)
    samples: dict[str, list[np.ndarray]] = {name: [] for name in names}
    bounds: dict[str, tuple[float, float]] = {}
    frames = 0
    for values in _run(model, names, inputs):
        frames += 1
        # Reservoir over frames: each frame so far keeps an equal share of the sample.
        share = SAMPLES_PER_TENSOR // frames
        for name, value in zip(names, values, strict=True):
            value = value.ravel()
            low, high = float(value.min()), float(value.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise ExportError(f"activation '{name}' is not finite on calibration frame {frames}")
            before = bounds.get(name, (0.0, 0.0))
            bounds[name] = (min(before[0], low), max(before[1], high))
            if method != "minmax":
                own = samples[name]
                own.append(value[rng.integers(0, value.size, min(share, value.size))])
                if frames > 1 and frames & (frames - 1) == 0:  # thin out at 2, 4, 8, ... frames
                    samples[name] = [part[:share] for part in own]
    if not frames:
        raise ExportError("no calibration pictures", hint="name a data set with --calib")
    before_silu = silu_inputs(model)
    ranges = {}
    for name in names:
        low, high = bounds[name]
        if method != "minmax" and samples[name]:
            sample = np.concatenate(samples[name])
            pick = _percentile if method == "percentile" else _least_fourth_power
            low, high = pick(sample, (low, high), name in before_silu)
        ranges[name] = (max(low, SILU_FLOOR) if name in before_silu else low, high)
    return ranges


def silu_inputs(model: onnx.ModelProto) -> set[str]:
    """Tensors that only go into x * sigmoid(x)."""
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    found = set()
    for name, nodes in consumers.items():
        sigmoids = [n for n in nodes if n.op_type == "Sigmoid"]
        others = [n for n in nodes if n.op_type != "Sigmoid"]
        silu = len(sigmoids) == 1 and len(others) == 1 and others[0].op_type == "Mul"
        if silu and sigmoids[0].output[0] in others[0].input:
            found.add(name)
    return found


def activation_names(model: onnx.ModelProto) -> list[str]:
    """Names of the graph's float activations, its input included."""
    graph = model.graph
    info = onnx.shape_inference.infer_shapes(model).graph.value_info
    floats = {v.name for v in info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    produced = [name for node in graph.node for name in node.output]
    return [graph.input[0].name, *(name for name in produced if name in floats)]


def _run(model: onnx.ModelProto, names: Sequence[str], inputs: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    input_name = copy.graph.input[0].name
    have = {output.name for output in copy.graph.output}
    for name in names:
        if name not in have and name != input_name:
            copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = quiet_session(copy)
    wanted = [name for name in names if name != input_name]
    for value in inputs:
        yield [value, *session.run(wanted, {input_name: value})]


def _percentile(sample: np.ndarray, bounds: tuple[float, float], before_silu: bool) -> tuple[float, float]:
    low, high = np.quantile(sample, [OUTSIDE, 1 - OUTSIDE])
    return max(bounds[0], float(low)), min(bounds[1], float(high))


def _least_fourth_power(sample: np.ndarray, bounds: tuple[float, float], before_silu: bool) -> tuple[float, float]:
    def passed_on(x):
        return x / (1 + np.exp(-np.maximum(x, -80))) if before_silu else x

    # Single values, not histogram bins: the bins would be coarser than the codes of the narrower ranges (tried: twice
    # the loss of AP). The stride takes all frames alike.
    sample = sample[:: -(-len(sample) // SEARCHED_VALUES)].astype(np.float32)
    wanted = passed_on(sample)

    def error(low: float, high: float) -> float:
        scale = np.float32(max(high - low, 1e-9) / 255)
        zero = np.float32(np.round(-low / scale))
        rounded = (np.clip(np.round(sample / scale) + zero, 0, 255) - zero) * scale
        squared = np.square(passed_on(rounded) - wanted)
        return float(np.dot(squared, squared))

    low, high = bounds
    for _ in range(2):  # one end after the other; the second round moves few ends and none by more than a step
        high = min(bounds[1] * np.array(HIGH_SHARES), key=lambda candidate: error(low, candidate))
        low = min(bounds[0] * np.array(LOW_SHARES), key=lambda candidate: error(candidate, high))
    return float(low), float(high)
