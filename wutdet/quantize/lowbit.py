"""Post-training quantisation of a network's weights to a low-bit format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from wutdet.errors import ExportError
from wutdet.lowbit.layout import BITS
from wutdet.quantize.activations import input_ranges, round_inputs_blocks, round_inputs_int8
from wutdet.quantize.observe import Observation, observe
from wutdet.quantize.restore import restore_statistics
from wutdet.quantize.rounding import round_rows
from wutdet.quantize.weights import PackedWeight, pack_weight, to_rows

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

#: The format of a layer that is not rounded.
FLOAT = "float32"
Method = Literal["nearest", "scales", "gptq"]


@dataclass(frozen=True)
class LowBitSettings:
    """How weights are rounded.

    Attributes:
        format: of the weights.
        method: ``nearest``; ``scales``: groups get the scales that lose least; ``gptq``: that, and later columns make
            up for what earlier ones lost.
        restore: give output channels their mean and deviation back afterwards.
        activations: what rounded layers see: ``float``, ``int8`` (one range a layer) or ``same`` (the weights' format).
        options: of the format.
        seed: of the input positions that are looked at.
        formats: of single layers, by parameter name, where theirs is not ``format``; ``float32`` leaves a weight as it
            is. They have their formats' default options, and with ``same`` inputs their 8-bit layers see int8.
    """

    format: str
    method: Method = "gptq"
    restore: bool = True
    activations: Literal["float", "int8", "same"] = "float"
    options: tuple[tuple[str, object], ...] = ()
    seed: int = 0
    formats: Mapping[str, str] = field(default_factory=dict)

    def format_of(self, name: str) -> tuple[str, dict]:
        """Format and options of one layer's weight."""
        format = self.formats.get(name, self.format)
        return format, dict(self.options) if format == self.format else {}


def quantise_weights(
    model: torch.nn.Module,
    names: Sequence[str],
    frames: Callable[[], Iterable[np.ndarray]],
    settings: LowBitSettings,
    observed: Mapping[str, Observation] | None = None,
) -> dict[str, PackedWeight]:
    """Rounds weights of a network in place, and changes biases where statistics are restored.

    Args:
        model: float network in evaluation mode, batch norm folded.
        names: parameters to round, such as ``model.2.cv1.conv.weight``; each the weight of an ungrouped convolution.
        frames: gives the calibration frames as network inputs, float32 [1, 3, H, W]; called up to three times.
        settings: how.
        observed: what ``observe`` gave for this network on these frames, inputs included; saves a pass.

    Returns:
        What is to be stored, by parameter name; ``model`` holds the same values. With rounded activations the layers
        keep hooks that round what they see.

    Raises:
        ExportError: a name that is not the weight of an ungrouped convolution with a bias, or a layer with a format of
            its own that is not among ``names``.
    """
    import torch

    strangers = sorted(set(settings.formats) - set(names))
    if strangers:
        raise ExportError(f"a format is named for '{strangers[0]}', which is not among the weights to round")
    layers = convolutions(model, [name for name in names if settings.format_of(name)[0] != FLOAT])
    before = observed or {}
    if not before and (settings.restore or settings.method != "nearest"):
        before = observe(model, layers, frames(), inputs=settings.method != "nearest", seed=settings.seed)
    packed: dict[str, PackedWeight] = {}
    for name, layer in layers.items():
        weight = layer.weight.detach().float().cpu().numpy()
        moments = before[name].inputs if before else None
        format, options = settings.format_of(name)
        entry = round_weight(weight, format, settings.method, moments, **options)
        packed[name] = entry
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(entry.dequantize()))
    round_inputs(model, layers, frames(), settings)
    if settings.restore:
        for name, factor in restore_statistics(model, layers, before, frames()).items():
            packed[name] = replace(packed[name], channel_scale=factor)
            with torch.no_grad():
                layers[name].weight.copy_(torch.from_numpy(packed[name].dequantize()))
    return packed


def round_weight(
    weight: np.ndarray, format: str, method: Method, moments: np.ndarray | None, **options
) -> PackedWeight:
    """Rounds one weight.

    Args:
        weight: float32 [O, I, H, W].
        format: of numbers, and its options. Formats of 8 bits are rounded to nearest by every method.
        method: as in ``LowBitSettings``.
        moments: float64 [K, K] of the layer's inputs, as ``observe`` gives them; ``None`` takes them for white.
    """
    packed = pack_weight(weight, format, **options)
    if method == "nearest" or BITS[format] != 4:
        return packed
    rows = round_rows(to_rows(weight), format, moments, compensate=method == "gptq", **options)
    return replace(packed, tensor=rows)


def round_inputs(
    model: torch.nn.Module, names: Iterable[str], frames: Iterable[np.ndarray], settings: LowBitSettings
) -> None:
    """Makes layers round what they see as the settings say, by hooks that stay.

    Args:
        model: the network, its weights rounded already.
        names: of the layers' weights.
        frames: calibration frames, float32 [1, 3, H, W]; not looked at where nothing is to be calibrated.
        settings: ``activations`` and, for ``same``, the format.
    """
    layers = convolutions(model, names)
    in_blocks = {}
    if settings.activations == "same":
        in_blocks = {name: layer for name, layer in layers.items() if BITS[settings.format_of(name)[0]] == 4}
        for name, layer in in_blocks.items():
            format, options = settings.format_of(name)
            round_inputs_blocks({name: layer}, format, **options)
    in_levels = {name: layer for name, layer in layers.items() if name not in in_blocks}
    if settings.activations != "float" and in_levels:
        round_inputs_int8(in_levels, input_ranges(model, in_levels, frames, settings.seed))


def convolutions(model: torch.nn.Module, names: Iterable[str]) -> dict[str, torch.nn.Conv2d]:
    """The convolutions that weights belong to, by the weights' names.

    Raises:
        ExportError: a name that is not the weight of an ungrouped convolution with a bias.
    """
    return {name: convolution(model, name) for name in names}


def convolution(model: torch.nn.Module, name: str) -> torch.nn.Conv2d:
    """The layer whose weight has this name.

    Raises:
        ExportError: not the weight of an ungrouped convolution with a bias.
    """
    import torch

    try:
        layer = model.get_submodule(name.removesuffix(".weight"))
    except AttributeError as error:
        raise ExportError(f"the network has no layer for the parameter '{name}'") from error
    if not isinstance(layer, torch.nn.Conv2d) or layer.groups != 1 or layer.bias is None:
        raise ExportError(f"'{name}' is not the weight of an ungrouped convolution with a bias")
    return layer
