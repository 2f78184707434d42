"""Better biases and weights of an int8 graph, kept where they bring its output nearer to the float graph's."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import onnx

from wutdet.config import ExportConfig
from wutdet.quantize.bias import correct_biases
from wutdet.quantize.calibrate import CalibrationSet
from wutdet.quantize.error import graph_error
from wutdet.quantize.int8_rounding import round_weights

log = logging.getLogger(__name__)

#: Calibration frames that the stem is equalised, weights are rounded and biases are corrected on; their activations
#: are held in memory together. With twice as many nothing gets better.
IMPROVED_ON = 8
#: Calibration frames, others where there are any, that outputs are compared on.
COMPARED = 4


def improving_frames(
    calibration: CalibrationSet, imgsz_hw: tuple[int, int]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Network inputs, float32 [1, 3, H, W], to improve a graph on, and those to compare it on."""
    rows = calibration.evenly(IMPROVED_ON)
    compared = calibration.evenly(COMPARED, without=rows)
    return calibration.inputs_of(rows, imgsz_hw), calibration.inputs_of(compared, imgsz_hw)


def improve(
    model: onnx.ModelProto,
    quantised: onnx.ModelProto,
    frames: Sequence[np.ndarray],
    compared: Sequence[np.ndarray],
    config: ExportConfig,
) -> tuple[onnx.ModelProto, dict]:
    """The best of a quantised graph, the same with corrected biases, and with int8 weights rounded by their inputs.

    Args:
        model: float graph.
        quantised: made of it.
        frames, compared: as ``improving_frames`` gives them.
        config: what to try.

    Returns:
        The graph, and facts for the metadata: ``output_error``, and of each step that helped, the error before it.
    """
    tried = {}
    if config.bias_correction:
        tried["bias_correction"] = ("biases corrected", correct_biases(model, quantised, frames))
    if config.weight_rounding == "outputs":
        rounded = round_weights(model, quantised, frames, correct_biases=config.bias_correction, seed=config.seed)
        tried["weight_rounding"] = ("weights rounded by what the layers see", rounded)
    first, *errors = output_errors(model, [quantised, *(graph for _, graph in tried.values())], compared)
    log.info("output error on %d frames: %s", len(compared), first)
    facts: dict = {"output_error": first}
    for (name, (done, graph)), error in zip(tried.items(), errors, strict=True):
        helps = error < facts["output_error"]
        kept = "" if helps else ", which is no better; not used"
        log.info("%s on %d frames: output error %s%s", done, len(frames), error, kept)
        if helps:
            quantised = graph
            facts[name] = {"frames": len(frames), "output_error_before": facts["output_error"]}
            facts["output_error"] = error
    return quantised, facts


def output_errors(
    model: onnx.ModelProto, graphs: Sequence[onnx.ModelProto], frames: Sequence[np.ndarray]
) -> list[float]:
    """The output errors of graphs made of a float graph, in four digits."""
    return [float(f"{error.mean:.4g}") for error in graph_error(model, graphs, frames)]
