"""The int8 graph: ranges, common scales and what they cost; better rounding and biases, and what they bring."""

from __future__ import annotations

import logging
from dataclasses import replace

import onnx

from wutdet.config import ExportConfig
from wutdet.export.compact import compact
from wutdet.export.improve import improve, improving_frames, output_errors
from wutdet.quantize.calibrate import CalibrationSet
from wutdet.quantize.equalise import equalise_stem
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
    frames, compared = improving_frames(calibration, metadata.imgsz_hw)
    if settings.equalised_stem:
        model = equalise_stem(model, frames, settings.float_stem_convs)
    log.info("calibrating on %d frames of split '%s'", len(calibration.dataset), calibration.split or "(none)")
    ranges = activation_ranges(
        model, calibration.network_inputs(metadata.imgsz_hw), config.calib_method, seed=config.seed
    )
    tied = quantise_int8(model, ranges, settings)
    untied = quantise_int8(model, ranges, replace(settings, tie_concat=False))
    cost = tie_cost(ranges, groups_to_tie(model, settings))
    log.info("%s", cost.to_text())
    errors = output_errors(model, [tied, untied], compared)
    log.info("output error on %d frames: %s; with a scale for every tensor %s", len(compared), *errors)
    quantised, facts = improve(model, tied, frames, compared, config)
    keep = {t.name for t in quantised.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1}
    keep |= {node.name for node in quantised.graph.node if node.op_type == "Conv"}
    return compact(quantised, keep), replace(
        metadata,
        quantisation={
            "activations": "uint8 per tensor",
            "weights": "int8 per output channel" if not config.reduce_range else "7 bits of int8 per output channel",
            "float": FLOAT_PARTS,
            **({"reduce_range": 1} if config.reduce_range else {}),
            "tied_scales": {
                "worst_bits": round(cost.worst, 2),
                "mean_bits": round(cost.mean, 2),
                "output_error": errors[0],
                "output_error_untied": errors[1],
            },
            **facts,
        },
    )
