"""The float graph with 4-bit weights: rounding them, storing them, and quantised activations beside them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from wutdet.config import ExportConfig
from wutdet.errors import UsageError
from wutdet.export.compact import compact
from wutdet.export.gate import check_decoding
from wutdet.export.int8 import FLOAT_PARTS
from wutdet.export.layer_formats import choose_layer_formats, wants_layer_formats
from wutdet.export.standard_form import check_standard_form, standard_form
from wutdet.quantize.calibrate import CalibrationSet
from wutdet.quantize.graph import check_boxes_and_scores_apart, packable_weights
from wutdet.quantize.lowbit import LowBitSettings, convolutions, quantise_weights
from wutdet.quantize.observe import observe
from wutdet.quantize.packed_onnx import pack_weights, replace_values
from wutdet.quantize.ptq import Int8Settings, quantise_activations
from wutdet.quantize.ranges import activation_ranges
from wutdet.quantize.weights import PackedWeight
from wutdet.runtime.metadata import ArtefactMetadata
from wutdet.runtime.torch_backend import Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoundedWeights:
    """What becomes of a network's weights.

    Attributes:
        packed: by the names of the initialisers, which are the parameters'.
        biases: of the same layers, where rounding changed them.
        method: how they were rounded.
    """

    packed: Mapping[str, PackedWeight]
    biases: Mapping[str, np.ndarray]
    method: str

    def bits_per_value(self) -> float:
        """Stored bits per value, with all scales."""
        values = sum(math.prod(weight.shape) for weight in self.packed.values())
        return 8 * sum(weight.nbytes for weight in self.packed.values()) / values


def round_weights(
    checkpoint: Checkpoint,
    model: onnx.ModelProto,
    calibration: CalibrationSet | None,
    imgsz_hw: tuple[int, int],
    config: ExportConfig,
) -> RoundedWeights:
    """Rounds the weights of the checkpoint's network in place, or takes those that it was trained with.

    Args:
        model: its float graph.
        calibration: frames to round with; without, weights are rounded to nearest.

    Raises:
        UsageError: int8 layers in a network that was trained with its rounded weights, or more than there are.
        ExportError: a weight of the graph is no parameter of the network, or no file is as small as it has to be.
    """
    trained = {name: weight for name, weight in checkpoint.packed.items() if weight.tensor.format == config.format}
    if trained:
        if wants_layer_formats(config):
            raise UsageError(
                f"the checkpoint was trained with {config.format} weights; none of its layers can be stored in int8",
                hint="leave out --int8-layers and --size-budget-mb",
            )
        log.info("the checkpoint was trained with these %s weights; nothing more is rounded", config.format)
        return RoundedWeights(trained, {}, "trained")
    names = packable_weights(model)
    if calibration is None:
        log.warning("without --calib, weights are rounded to nearest and nothing is made good; expect a large loss")
        settings, frames = LowBitSettings(config.format, method="nearest", restore=False), list
    else:
        settings = LowBitSettings(config.format, activations=config.activations, seed=config.seed)
        log.info("rounding on %d frames of split '%s'", len(calibration.dataset), calibration.split or "(none)")

        def frames():
            return calibration.network_inputs(imgsz_hw)

    observed = None
    if wants_layer_formats(config):
        layers = convolutions(checkpoint.model, names)
        observed = observe(checkpoint.model, layers, frames(), inputs=True, seed=config.seed)
        formats = choose_layer_formats(checkpoint.model, model, calibration, imgsz_hw, settings, config, observed)
        settings = replace(settings, formats=formats)
    packed = quantise_weights(checkpoint.model, names, frames, settings, observed)
    biases = {}
    for name in names:
        bias = name.removesuffix("weight") + "bias"
        biases[bias] = checkpoint.model.get_parameter(bias).detach().float().numpy().copy()
    method = settings.method + (", channel statistics restored" if settings.restore else "")
    return RoundedWeights(packed, biases, method)


def lowbit_graph(
    model: onnx.ModelProto,
    weights: RoundedWeights,
    calibration: CalibrationSet | None,
    metadata: ArtefactMetadata,
    config: ExportConfig,
) -> tuple[onnx.ModelProto, onnx.ModelProto, ArtefactMetadata]:
    """The graph to be written; the same graph with packed weights, which every runtime runs; and what both say.

    Args:
        model: float graph.
        calibration: frames that activation ranges are measured on, for ``--activations int8``.

    Raises:
        ExportError: weights decode to other values than they should, or the graph cannot be quantised or converted.
    """
    log.info("%d weights packed, %.2f bits a value with all scales", len(weights.packed), weights.bits_per_value())
    model = replace_values(model, weights.biases)
    activations = {"activations": "float32", "float": "first convolution, grouped and last convolutions, decoding"}
    if config.activations == "int8":
        # The ranges are those of the network that will run: with rounded weights.
        model = replace_values(model, {name: weight.dequantize() for name, weight in weights.packed.items()})
        frames = calibration.network_inputs(metadata.imgsz_hw)
        ranges = activation_ranges(model, frames, config.calib_method, seed=config.seed)
        settings = Int8Settings(reduce_range=config.reduce_range)
        model = quantise_activations(model, ranges, weights.packed, settings)
        metadata = replace(metadata, calibration={**metadata.calibration, "method": config.calib_method})
        activations = {
            "activations": "uint8 per tensor",
            "other_weights": "7 bits of int8 per output channel" if config.reduce_range else "int8 per output channel",
            "float": FLOAT_PARTS,
        }
    packed = compact(pack_weights(model, weights.packed), weights.packed)
    check_decoding(packed, weights.packed)
    written = packed
    if config.form == "standard":
        written = compact(standard_form(model, weights.packed), weights.packed)
        check_standard_form(written, weights.packed)
    if config.activations == "int8":
        check_boxes_and_scores_apart(packed)
    in_int8 = sum(weight.tensor.format != config.format for weight in weights.packed.values())
    metadata = replace(
        metadata,
        quantisation={
            "weights": metadata.weight_format,
            "form": config.form,
            "method": weights.method,
            **activations,
            "packed_weights": len(weights.packed),
            **({"int8_layers": in_int8} if in_int8 else {}),
            "bits_per_value": round(weights.bits_per_value(), 3),
        },
    )
    return written, packed, metadata
