"""Giving every output channel back the mean and deviation it had before its weights were rounded.

For a network whose batch norm is folded this is what re-estimating batch-norm statistics is for one that has it. It
needs no labels, and in 4 bits it brings back most of what rounding loses (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wutdet.quantize.observe import Observation, OutputMoments

if TYPE_CHECKING:
    import torch

#: A channel's scale is changed by no more than this factor either way; a channel that hardly moved says nothing.
LARGEST_FACTOR = 4.0
#: Frames per batch.
BATCH = 4


def restore_statistics(
    model: torch.nn.Module,
    layers: Mapping[str, torch.nn.Conv2d],
    before: Mapping[str, Observation],
    frames: Iterable[np.ndarray],
) -> dict[str, np.ndarray]:
    """Changes weights and biases of the convolutions in place.

    Layers behind are measured on outputs that are corrected already, so one pass is enough. That correction gives each
    batch the moments that the very same frames had before: those of all frames together would turn a dark picture
    into one of mean brightness, and what the layers behind make of that says nothing (docs/log.md: 1.2 points of AP).

    Args:
        model: the network with rounded weights.
        layers: its rounded convolutions, by name.
        before: what they did before on these frames; moments of outputs.
        frames: network inputs, float32 [1, 3, H, W], in the order in which ``before`` was observed.

    Returns:
        float32 [O] by layer: what the weights of each output channel were multiplied by.
    """
    import torch

    after = {name: OutputMoments() for name in layers}
    first, last = 0, 0  # frames of the batch

    def correct(name: str):
        def hook(layer, arguments, output):
            wanted = OutputMoments()
            for moments in before[name].by_frame[first:last]:
                wanted.join(moments)
            output, had = corrected(output, wanted)
            after[name].join(had)
            return output

        return hook

    handles = [layer.register_forward_hook(correct(name)) for name, layer in layers.items()]
    try:
        with torch.inference_mode():
            for batch in _batches(frames):
                first, last = last, last + len(batch)
                model(torch.from_numpy(np.concatenate(batch)))
    finally:
        for handle in handles:
            handle.remove()
    factors = {}
    for name, layer in layers.items():
        factor = _factor(before[name].outputs.deviation, after[name].deviation)
        bias = (layer.bias.detach().double().numpy() - after[name].mean) * factor + before[name].outputs.mean
        with torch.no_grad():
            layer.weight.mul_(torch.from_numpy(factor)[:, None, None, None])
            layer.bias.copy_(torch.from_numpy(bias).float())
        factors[name] = factor
    return factors


def corrected(output: torch.Tensor, wanted: OutputMoments) -> tuple[torch.Tensor, OutputMoments]:
    """A batch of outputs, float32 [B, O, H, W], with other means and deviations of its channels; and those it had."""
    import torch

    had = OutputMoments()
    had.add(output)
    factor = torch.from_numpy(_factor(wanted.deviation, had.deviation))[:, None, None]
    shift = torch.from_numpy(wanted.mean).float()[:, None, None]
    shift = shift - torch.from_numpy(had.mean).float()[:, None, None] * factor
    return torch.addcmul(shift, output, factor), had


def _factor(wanted: np.ndarray, now: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where((now > 0) & (wanted > 0), wanted / now, 1)
    return np.clip(factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR).astype(np.float32)


def _batches(frames: Iterable[np.ndarray]) -> Iterable[Sequence[np.ndarray]]:
    batch: list[np.ndarray] = []
    for frame in frames:
        if batch and (len(batch) == BATCH or batch[0].shape != frame.shape):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch
