"""The int8 graph: ranges, common scales and what they cost; better rounding and biases, and what they bring."""

from __future__ import annotations

import logging
from dataclasses import replace

import onnx

from wutdet.config import ExportConfig
from wutdet.quantize.bias import correct_biases
from wutdet.quantize.calibrate import CalibrationSet
from wutdet.quantize.equalise import equalise_stem
from wutdet.quantize.error import graph_error
from wutdet.quantize.int8_rounding import round_weights
from wutdet.quantize.ptq import Int8Settings, groups_to_tie, quantise_int8
from wutdet.quantize.ranges import activation_ranges
from wutdet.quantize.ties import tie_cost
from wutdet.runtime.metadata import ArtefactMetadata

log = logging.getLogger(__name__)

#: What the metadata says of the parts that are not 8-bit throughout.
FLOAT_PARTS = (
    "decoding, attention products; results, but not operands, of the first two convolutions, the box branches and the "
    "last convolutions"
)

#: Calibration frames that the stem is equalised, weights are rounded and biases are corrected on; their activations
#: are held in memory together.
IMPROVED_ON = 8
#: Calibration frames, others where there are any, that outputs are compared on.
COMPARED = 4


def int8_graph(
    model: onnx.ModelProto, calibration: CalibrationSet, metadata: ArtefactMetadata, config: ExportConfig
) -> tuple[onnx.ModelProto, ArtefactMetadata]:
    """The int8 graph of a float graph, and the metadata with how it was made.

    Biases are corrected and weights rounded by their inputs where asked for, unless the output on other calibration
    frames is then farther from the float graph's.

    Args:
        model: float graph.
        calibration: training frames.

    Raises:
        ExportError: the graph cannot be quantised.
    """
    settings = Int8Settings(reduce_range=config.reduce_range)
    improved_on = calibration.evenly(IMPROVED_ON)
    frames = calibration.inputs_of(improved_on, metadata.imgsz_hw)
    compared = calibration.inputs_of(calibration.evenly(COMPARED, without=improved_on), metadata.imgsz_hw)
    if settings.equalised_stem:
        model = equalise_stem(model, frames, settings.float_stem_convs)
    log.info("calibrating on %d frames of split '%s'", len(calibration.dataset), calibration.split or "(none)")
    ranges = activation_ranges(
        model, calibration.network_inputs(metadata.imgsz_hw), config.calib_method, seed=config.seed
    )
    quantised = quantise_int8(model, ranges, settings)
    candidates = {
        "plain": quantised,
        "untied": quantise_int8(model, ranges, replace(settings, tie_concat=False)),
    }
    if config.bias_correction:
        candidates["bias_correction"] = correct_biases(model, quantised, frames)
    if config.weight_rounding == "outputs":
        candidates["weight_rounding"] = round_weights(
            model, quantised, frames, correct_biases=config.bias_correction, seed=config.seed
        )
    measured = graph_error(model, list(candidates.values()), compared)
    errors = {name: _short(error.mean) for name, error in zip(candidates, measured, strict=True)}
    cost = tie_cost(ranges, groups_to_tie(model, settings))
    log.info("%s", cost.to_text())
    log.info(
        "output error on %d frames: %s; with a scale for every tensor %s",
        len(compared),
        errors["plain"],
        errors["untied"],
    )
    facts = {
        "output_error": errors["plain"],
        "tied_scales": {
            "worst_bits": round(cost.worst, 2),
            "mean_bits": round(cost.mean, 2),
            "output_error": errors["plain"],
            "output_error_untied": errors["untied"],
        },
    }
    for name, done in (
        ("bias_correction", "biases corrected"),
        ("weight_rounding", "weights rounded by what the layers see"),
    ):
        if name not in errors:
            continue
        helps = errors[name] < facts["output_error"]
        log.info("%s on %d frames: output error %s%s", done, len(frames), errors[name], _kept(helps))
        if helps:
            quantised = candidates[name]
            facts[name] = {"frames": len(frames), "output_error_before": facts["output_error"]}
            facts["output_error"] = errors[name]
    return quantised, replace(
        metadata,
        quantisation={
            "activations": "uint8 per tensor",
            "weights": "int8 per output channel" if not config.reduce_range else "7 bits of int8 per output channel",
            "float": FLOAT_PARTS,
            **({"reduce_range": 1} if config.reduce_range else {}),
            **facts,
        },
    )


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _kept(helps: bool) -> str:
    return "" if helps else ", which is no better; not used"
