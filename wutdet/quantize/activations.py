"""Rounding what convolutions see, in a float network: what an engine with low-bit activations would compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from wutdet.quantize.observe import run_hooked

if TYPE_CHECKING:
    import torch

#: Share of values left outside at each end of an 8-bit range.
OUTSIDE = 1e-5
#: Values per frame and layer that ranges are estimated on.
SAMPLES = 20_000


def round_inputs_int8(layers: Mapping[str, torch.nn.Conv2d], ranges: Mapping[str, tuple[float, float]]) -> list:
    """Makes layers see their inputs in 256 levels over one range per layer. Zero is always a level, as padding needs.

    Args:
        layers: convolutions, by name.
        ranges: of their inputs, as ``input_ranges`` gives them.

    Returns:
        Handles; ``remove()`` of each undoes it.
    """
    import torch

    def level(low: float, high: float):
        scale = max(high - low, 1e-12) / 255
        zero = round(-low / scale)

        def hook(layer, arguments):
            x = arguments[0]
            return ((torch.round(x / scale) + zero).clamp_(0, 255).sub_(zero).mul_(scale),)

        return hook

    return [layer.register_forward_pre_hook(level(*ranges[name])) for name, layer in layers.items()]


def input_ranges(
    model: torch.nn.Module,
    layers: Mapping[str, torch.nn.Conv2d],
    frames: Iterable[np.ndarray],
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """The range of each layer's inputs, all but ``OUTSIDE`` at each end; zero is in it.

    Args:
        model: the network.
        layers: its convolutions, by name.
        frames: network inputs, float32 [1, 3, H, W].
        seed: of the values that ranges are estimated on.
    """
    import torch

    samples: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
    generator = torch.Generator().manual_seed(seed)

    def sample(name: str):
        def hook(layer, arguments):
            values = arguments[0].flatten()
            samples[name].append(values[torch.randint(len(values), (SAMPLES,), generator=generator)])

        return hook

    handles = [layer.register_forward_pre_hook(sample(name)) for name, layer in layers.items()]
    run_hooked(model, frames, handles)
    ranges = {}
    for name, values in samples.items():
        low, high = np.quantile(torch.cat(values).numpy(), [OUTSIDE, 1 - OUTSIDE])
        ranges[name] = (min(float(low), 0.0), max(float(high), 0.0))
    return ranges


def round_inputs_blocks(layers: Mapping[str, torch.nn.Conv2d], format: str, **options) -> list:
    """Makes layers see their inputs in a block format, with groups along the channels of each pixel.

    Scales are taken of the values themselves, so nothing is calibrated.

    Returns:
        Handles; ``remove()`` of each undoes it.
    """

    def hook(layer, arguments):
        return (round_pixels(arguments[0], format, **options),)

    return [layer.register_forward_pre_hook(hook) for layer in layers.values()]


def round_pixels(x: torch.Tensor, format: str, **options) -> torch.Tensor:
    """[B, C, H, W] in a block format, groups along the channels of each pixel; the gradient passes straight through."""
    from wutdet.lowbit.torch_quantize import fake_quantize

    return fake_quantize(x.permute(0, 2, 3, 1), format, **options).permute(0, 3, 1, 2)
