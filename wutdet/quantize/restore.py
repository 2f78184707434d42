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
#: Frames per batch: a channel's mean and deviation are those of a batch while the next layers are measured.
BATCH = 4


def restore_statistics(
    model: torch.nn.Module,
    layers: Mapping[str, torch.nn.Conv2d],
    before: Mapping[str, Observation],
    frames: Iterable[np.ndarray],
) -> dict[str, np.ndarray]:
    """Changes weights and biases of the convolutions in place.

    Layers behind are measured on outputs that are corrected already, batch by batch, so one pass is enough.

    Args:
        model: the network with rounded weights.
        layers: its rounded convolutions, by name.
        before: what they did before; moments of outputs.
        frames: network inputs, float32 [1, 3, H, W], of one shape.

    Returns:
        float32 [O] by layer: what the weights of each output channel were multiplied by.
    """
    import torch

    after = {name: OutputMoments() for name in layers}

    def correct(name: str):
        wanted_mean = torch.from_numpy(before[name].outputs.mean).float()[:, None, None]
        wanted_deviation = before[name].outputs.deviation

        def hook(layer, arguments, output):
            now = OutputMoments()
            now.add(output)
            after[name].join(now)
            factor = torch.from_numpy(_factor(wanted_deviation, now.deviation))[:, None, None]
            shift = wanted_mean - torch.from_numpy(now.mean).float()[:, None, None] * factor
            return torch.addcmul(shift, output, factor)

        return hook

    handles = [layer.register_forward_hook(correct(name)) for name, layer in layers.items()]
    try:
        with torch.inference_mode():
            for batch in _batches(frames):
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
