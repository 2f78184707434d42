"""Tuning rounded weights until the head gives again what it gave in float: no labels, a few hundred frames.

Rounding layer by layer (``rounding.py``) cannot know what the layers behind make of its errors. Here the whole network
with its rounded weights (and rounded activations, where they are) is the student of its float self: gradients pass
through the rounding (straight-through estimate), elements move to neighbouring codes under the scales that they have,
channel scales and biases move freely. What is compared are the outputs of the head's last convolutions. Ideas: AdaRound
(arXiv 2004.10568) and BRECQ (2102.05426) for moving elements under fixed scales by reconstruction; distillation of
detectors for weighting places by the teacher's score.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from wutdet.errors import UsageError
from wutdet.lowbit import QuantizedTensor
from wutdet.lowbit.options import IntegerOptions
from wutdet.quantize.grid import grid_of, with_codes
from wutdet.quantize.lowbit import TuneSettings, convolutions
from wutdet.quantize.observe import Observation
from wutdet.quantize.weights import PackedWeight, to_rows

log = logging.getLogger(__name__)

#: Elements begin on the side of their float value, at most this part of the way from the value they were rounded to
#: to where rounding would go elsewhere.
_LEAN = 0.9


class _TunedConv2d(nn.Conv2d):
    """A convolution whose weight is elements, rounded to their grid, times steps and channel scales."""

    elements: nn.Parameter  # [O, K], in steps
    log_scale: nn.Parameter  # [O], on the channel scale
    shift: nn.Parameter  # [O], on the bias, in deviations of the output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            rounded = _to_table(self.elements, self.middles, self.magnitudes)
        through = self.elements + (rounded - self.elements).detach()
        rows = through * self.steps * (self.channel_scale * self.log_scale.exp())[:, None]
        o, i, h, w = self.weight.shape
        kernel = rows.reshape(o, h, w, i).permute(0, 3, 1, 2)
        return self._conv_forward(x, kernel, self.bias + self.shift * self.deviation)


def tune(
    model: nn.Module,
    teacher: nn.Module,
    packed: Mapping[str, PackedWeight],
    observed: Mapping[str, Observation],
    frames: Sequence[np.ndarray],
    settings: TuneSettings,
) -> dict[str, PackedWeight]:
    """Tunes a network's packed weights, and changes weights and biases of the network to fit.

    Args:
        model: the network with rounded weights, an ultralytics DetectionModel, batch norm folded; hooks that round
            activations stay and take part.
        teacher: its float self.
        packed: what its weights are, by parameter name.
        observed: what the float network's convolutions gave, by the same names; scales the biases' movement.
        frames: network inputs, float32 [1, 3, H, W], of one shape per batch.
        settings: how.

    Returns:
        The tuned weights, by name.

    Raises:
        UsageError: no frames.
    """
    if not frames:
        raise UsageError("tuning needs frames")
    layers = convolutions(model, packed)
    for name, layer in layers.items():
        _prepare(layer, packed[name], teacher.get_parameter(name), observed[name])
    groups = [
        *(
            {"params": [layer.elements], "lr": settings.element_rate * float(layer.magnitudes[1])}
            for layer in layers.values()
        ),
        {"params": [p for x in layers.values() for p in (x.log_scale, x.shift)], "lr": settings.channel_rate},
    ]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    )
    order = _batches(len(frames), settings)
    mean = 0.0
    with _head_outputs(model) as ours, _head_outputs(teacher) as theirs:
        for step in range(settings.steps):
            x = torch.from_numpy(np.concatenate([frames[row] for row in next(order)]))
            with torch.no_grad():
                teacher(x)
            model(x)
            loss = _difference(ours, theirs)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            mean = float(loss.detach()) if step == 0 else 0.9 * mean + 0.1 * float(loss.detach())
            if step % 20 == 0 or step == settings.steps - 1:
                log.info("tuning %d/%d: difference to float %.4f", step + 1, settings.steps, mean)
    return {name: _finish(layer, packed[name]) for name, layer in layers.items()}


def _prepare(layer: nn.Conv2d, weight: PackedWeight, original: torch.Tensor, observation: Observation) -> None:
    steps, table = _steps_and_table(weight.tensor)
    scale = np.where(weight.channel_scale == 0, 1, weight.channel_scale)[:, None]
    wide = np.where(steps == 0, 1, steps)
    rounded = (weight.tensor.dequantize() / wide).astype(np.float32)
    magnitudes = torch.from_numpy(np.unique(np.abs(table)).astype(np.float32))
    layer.__class__ = _TunedConv2d
    layer.steps = torch.from_numpy(np.ascontiguousarray(steps, dtype=np.float32))
    layer.channel_scale = torch.from_numpy(scale[:, 0].astype(np.float32))
    layer.magnitudes, layer.middles = magnitudes, (magnitudes[1:] + magnitudes[:-1]) / 2
    layer.deviation = torch.from_numpy(observation.outputs.deviation).float()
    layer.elements = nn.Parameter(_leaning(rounded, to_rows(original.detach().numpy()) / wide, magnitudes.numpy()))
    layer.log_scale = nn.Parameter(torch.zeros(len(steps)))
    layer.shift = nn.Parameter(torch.zeros(len(steps)))


def _leaning(rounded: np.ndarray, wanted: np.ndarray, magnitudes: np.ndarray) -> torch.Tensor:
    """Elements that round to ``rounded`` and are as near to ``wanted`` as that allows."""
    middles = np.concatenate([[-np.inf], (magnitudes[1:] + magnitudes[:-1]) / 2, [np.inf]])
    size = np.abs(rounded)
    index = np.searchsorted(magnitudes, size * (1 - 1e-6))
    # Around zero the other side is a mirror; beyond the largest magnitude there is as much room as before it.
    up = np.where(index + 1 < len(magnitudes), middles[index + 1] - size, size - middles[index])
    down = np.where(index > 0, size - middles[index], up)
    sign = np.where(rounded < 0, -1, 1)
    lean = np.clip(sign * (wanted - rounded), -_LEAN * down, _LEAN * up)
    return torch.from_numpy((sign * (size + lean)).astype(np.float32))


def _finish(layer: _TunedConv2d, before: PackedWeight) -> PackedWeight:
    """The packed weight of a tuned layer, which becomes an ordinary one with that weight again."""
    with torch.no_grad():
        values = _to_table(layer.elements, layer.middles, layer.magnitudes).numpy()
        scale = (layer.channel_scale * layer.log_scale.exp()).numpy()
        layer.bias.copy_(layer.bias + layer.shift * layer.deviation)
    weight = replace(before, tensor=_with_values(before.tensor, values), channel_scale=scale)
    for name in ("steps", "channel_scale", "magnitudes", "middles", "deviation", "elements", "log_scale", "shift"):
        delattr(layer, name)
    layer.__class__ = nn.Conv2d
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.dequantize()))
    return weight


def _steps_and_table(tensor: QuantizedTensor) -> tuple[np.ndarray, np.ndarray]:
    if _plain_int8(tensor):
        scale = np.ascontiguousarray(tensor.scales[:, 0, :4]).view("<f4").reshape(-1, 1)
        shape = (tensor.layout.rows, tensor.layout.columns)
        return np.broadcast_to(scale, shape), np.arange(-127, 128, dtype=np.float32)
    grid = grid_of(tensor)
    return grid.step, grid.table


def _with_values(tensor: QuantizedTensor, values: np.ndarray) -> QuantizedTensor:
    """The tensor with elements of these values, in steps."""
    if _plain_int8(tensor):
        return replace(tensor, codes=values.astype(np.int8).view(np.uint8))
    grid = grid_of(tensor)
    return with_codes(tensor, grid.codes(values * np.where(grid.step == 0, 1, grid.step)))


def _plain_int8(tensor: QuantizedTensor) -> bool:
    options = tensor.options
    return tensor.format == "int8" and isinstance(options, IntegerOptions) and options.symmetric


def _to_table(elements: torch.Tensor, middles: torch.Tensor, magnitudes: torch.Tensor) -> torch.Tensor:
    return torch.copysign(magnitudes[torch.bucketize(elements.abs(), middles)], elements)


class _head_outputs:
    """While open, a list of (box maps, score maps) by level of the last forward pass."""

    def __init__(self, model: nn.Module):
        head = model.model[-1]
        head.shape = None  # its anchors are made anew: those of a pass in inference mode refuse gradients
        prefix = "one2one_" if getattr(head, "end2end", False) else ""
        self._last = [[branch[-1] for branch in getattr(head, prefix + name)] for name in ("cv2", "cv3")]

    def __enter__(self) -> list[list[torch.Tensor]]:
        maps = [[None] * len(branch) for branch in self._last]
        self._handles = []

        def keep(kind: int, level: int):
            def hook(layer, arguments, output):
                maps[kind][level] = output

            return hook

        for kind, branch in enumerate(self._last):
            for level, layer in enumerate(branch):
                self._handles.append(layer.register_forward_hook(keep(kind, level)))
        return maps

    def __exit__(self, *error) -> None:
        for handle in self._handles:
            handle.remove()


def _difference(ours: list[list[torch.Tensor]], theirs: list[list[torch.Tensor]]) -> torch.Tensor:
    """How far the head's outputs are from the teacher's: scores by cross-entropy, boxes where the teacher sees ships,
    and both maps as a whole, relative to their variance."""
    boxes, scores = zip(ours[0], theirs[0], strict=True), zip(ours[1], theirs[1], strict=True)
    wrong_scores, wrong_boxes, whole, ships = 0.0, 0.0, 0.0, 1.0
    for (box, box_float), (score, score_float) in zip(boxes, scores, strict=True):
        wanted = score_float.sigmoid()
        entropy = functional.binary_cross_entropy_with_logits(score_float, wanted, reduction="sum")
        wrong = functional.binary_cross_entropy_with_logits(score, wanted, reduction="sum")
        wrong_scores = wrong_scores + wrong - entropy
        weight = wanted.amax(dim=1, keepdim=True)
        spread = box_float.std().clamp_min(1e-6)
        wrong_boxes = wrong_boxes + (weight * (box - box_float).abs()).mean(dim=1).sum() / spread
        ships = ships + float(weight.sum())
        for mine, other in ((box, box_float), (score, score_float)):
            whole = whole + (mine - other).square().mean() / other.var().clamp_min(1e-12) / (2 * len(theirs[0]))
    return (wrong_scores + wrong_boxes) / ships + whole


def _batches(count: int, settings: TuneSettings) -> Iterator[list[int]]:
    """Rows of the frames, every frame once before any is taken again."""
    rng = np.random.default_rng(settings.seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < settings.batch:
            waiting += rng.permutation(count).tolist()
        yield waiting[: settings.batch]
        waiting = waiting[settings.batch :]
