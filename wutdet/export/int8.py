"""The int8 graph: ranges, common scales and what they cost, corrected biases and what they bring."""

from __future__ import annotations

import logging
from dataclasses import replace

import onnx

from wutdet.config import ExportConfig
from wutdet.quantize.bias import correct_biases
from wutdet.quantize.calibrate import CalibrationSet
from wutdet.quantize.error import graph_error
from wutdet.quantize.ptq import Int8Settings, groups_to_tie, quantise_int8
from wutdet.quantize.ranges import activation_ranges
from wutdet.quantize.ties import tie_cost
from wutdet.runtime.metadata import ArtefactMetadata

log = logging.getLogger(__name__)

#: Calibration frames that biases are corrected on; their activations are held in memory together.
CORRECTED_ON = 8
#: Calibration frames, others where there are any, that outputs are compared on.
COMPARED = 4


def int8_graph(
    model: onnx.ModelProto, calibration: CalibrationSet, metadata: ArtefactMetadata, config: ExportConfig
) -> tuple[onnx.ModelProto, ArtefactMetadata]:
    """The int8 graph of a float graph, and the metadata with how it was made.

    Biases are corrected where asked for, unless the output on other calibration frames is then farther from the float
    graph's.

    Args:
        model: float graph.
        calibration: training frames.

    Raises:
        ExportError: the graph cannot be quantised.
    """
    log.info("calibrating on %d frames of split '%s'", len(calibration.dataset), calibration.split or "(none)")
    ranges = activation_ranges(
        model, calibration.network_inputs(metadata.imgsz_hw), config.calib_method, seed=config.seed
    )
    settings = Int8Settings(reduce_range=config.reduce_range)
    quantised = quantise_int8(model, ranges, settings)
    untied = quantise_int8(model, ranges, replace(settings, tie_concat=False))
    corrected_on = calibration.evenly(CORRECTED_ON)
    compared = calibration.inputs_of(calibration.evenly(COMPARED, without=corrected_on), metadata.imgsz_hw)
    candidates = [quantised, untied]
    if config.bias_correction:
        frames = calibration.inputs_of(corrected_on, metadata.imgsz_hw)
        candidates.append(correct_biases(model, quantised, frames))
    errors = [_short(error.mean) for error in graph_error(model, candidates, compared)]
    cost = tie_cost(ranges, groups_to_tie(model, settings))
    log.info("%s", cost.to_text())
    log.info("output error on %d frames: %s; with a scale for every tensor %s", len(compared), *errors[:2])
    facts = {
        "output_error": errors[0],
        "tied_scales": {
            "worst_bits": round(cost.worst, 2),
            "mean_bits": round(cost.mean, 2),
            "output_error": errors[0],
            "output_error_untied": errors[1],
        },
    }
    if config.bias_correction:
        helps = errors[2] < errors[0]
        log.info("biases corrected on %d frames: output error %s%s", len(corrected_on), errors[2], _kept(helps))
        if helps:
            quantised = candidates[2]
            facts["output_error"] = errors[2]
            facts["bias_correction"] = {"frames": len(corrected_on), "output_error_before": errors[0]}
    return quantised, replace(
        metadata,
        quantisation={
            "activations": "uint8 per tensor",
            "weights": "int8 per output channel" if not config.reduce_range else "7 bits of int8 per output channel",
            "float": "first two convolutions, box branches, last convolutions, decoding, attention products",
            **({"reduce_range": 1} if config.reduce_range else {}),
            **facts,
        },
    )


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _kept(helps: bool) -> str:
    return "" if helps else ", which is no better; not used"
