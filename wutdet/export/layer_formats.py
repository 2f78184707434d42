"""Which layers of a 4-bit artefact are stored in int8: the most sensitive, by number or by the size of the file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

from wutdet.config import ExportConfig
from wutdet.errors import ExportError, UsageError
from wutdet.export.anchors import generate_anchors
from wutdet.export.compact import compact
from wutdet.quantize.calibrate import CalibrationSet
from wutdet.quantize.graph import packable_weights
from wutdet.quantize.lowbit import LowBitSettings
from wutdet.quantize.mixed import choose_formats, most_sensitive
from wutdet.quantize.observe import Observation
from wutdet.quantize.packed_onnx import pack_weights
from wutdet.quantize.ptq import quantise_activations
from wutdet.quantize.ranges import activation_names
from wutdet.quantize.sensitivity import Sensitivity, measure_sensitivity
from wutdet.quantize.weights import pack_weight

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

#: The format of layers that need more than 4 bits.
BETTER = "int8"
#: Frames that outputs are compared on, evenly over the calibration frames.
COMPARED = 4
#: Bytes of a file that are kept free for its metadata, which are not known yet.
RESERVED = 8192


def wants_layer_formats(config: ExportConfig) -> bool:
    """Whether some layers shall be int8.

    Raises:
        UsageError: both ways of saying so, weights that are not packed, or no calibration frames.
    """
    if config.size_budget_mb is None and not config.int8_layers:
        return False
    option = "--int8-layers" if config.int8_layers else "--size-budget-mb"
    if config.size_budget_mb is not None and config.int8_layers:
        raise UsageError("--size-budget-mb and --int8-layers say the same thing in two ways", hint="leave one out")
    if config.format in ("fp32", "int8"):
        raise UsageError(f"{option} is for the 4-bit formats, received --format {config.format}")
    if config.form != "packed":
        raise UsageError(f"{option} goes with packed weights, received --form {config.form}")
    if not config.calib:
        raise UsageError(
            f"{option} needs frames that sensitivity is measured on, and --calib is missing",
            hint="--calib DATA names a data set; its training split is used",
        )
    return True


def choose_layer_formats(
    network: torch.nn.Module,
    model: onnx.ModelProto,
    calibration: CalibrationSet,
    imgsz_hw: tuple[int, int],
    settings: LowBitSettings,
    config: ExportConfig,
    observed: Mapping[str, Observation],
) -> dict[str, str]:
    """The format of every layer, ``settings.format`` or int8.

    Args:
        network: float, batch norm folded; left as it was.
        model: its graph.
        calibration: frames.
        imgsz_hw: network input in pixels.
        settings: how weights are rounded.
        config: says how many layers, or what the file may weigh.
        observed: what ``observe`` gave for the calibration frames.

    Raises:
        UsageError: more layers than there are.
        ExportError: no file is as small as the budget.
    """
    names = packable_weights(model)
    budget = None
    if config.size_budget_mb is not None:
        # First, because measuring takes minutes.
        budget = round(config.size_budget_mb * 1e6) - RESERVED
        _check_budget(budget, _file_size(model, dict.fromkeys(names, settings.format), config), config)
    compared = calibration.inputs_of(calibration.evenly(COMPARED), imgsz_hw)
    sensitivity = measure_sensitivity(
        network,
        names,
        lambda: calibration.network_inputs(imgsz_hw),
        compared,
        settings,
        (settings.format, BETTER),
        observed=observed,
    )
    log.info("%s", sensitivity.to_text(settings.format))
    if budget is None:
        return most_sensitive(sensitivity, settings.format, BETTER, config.int8_layers)
    return _within(budget, sensitivity, model, settings, config)


def _check_budget(budget: int, smallest: int, config: ExportConfig) -> None:
    if smallest > budget:
        raise ExportError(
            f"with all weights in {config.format} the file takes up to {(smallest + RESERVED) / 1e6:.3f} MB, and "
            f"{config.size_budget_mb} are allowed",
            hint="raise --size-budget-mb, or choose a smaller --format",
        )


def _within(
    budget: int, sensitivity: Sensitivity, model: onnx.ModelProto, settings: LowBitSettings, config: ExportConfig
) -> dict[str, str]:
    # What a file holds beside the weights is most where both formats are in it, nearly all of it int8.
    nbytes = sensitivity.nbytes
    mixed = dict.fromkeys(sensitivity.names, BETTER) | {sensitivity.names[-1]: settings.format}
    other = _file_size(model, mixed, config) - int(nbytes[:-1, 1].sum() + nbytes[-1, 0])
    if nbytes.min(axis=1).sum() > budget - other:
        return dict.fromkeys(sensitivity.names, settings.format)
    return choose_formats(sensitivity, most_bytes=budget - other)


def _file_size(model: onnx.ModelProto, formats: Mapping[str, str], config: ExportConfig) -> int:
    """Bytes of the artefact without metadata; to which values weights are rounded makes no difference."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {name: pack_weight(onnx.numpy_helper.to_array(values[name]), format) for name, format in formats.items()}
    if config.activations == "int8":
        model = quantise_activations(model, dict.fromkeys(activation_names(model), (0.0, 1.0)), weights)
    return len(generate_anchors(compact(pack_weights(model, weights), weights)).SerializeToString())
