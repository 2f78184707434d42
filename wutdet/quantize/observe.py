"""What the convolutions of a network see and give on calibration frames: moments of inputs and outputs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

#: Positions per frame and layer that the second moments of inputs are taken of.
POSITIONS = 256


@dataclass
class OutputMoments:
    """Mean and variance of every output channel, over frames and positions.

    Attributes:
        count: values per channel so far.
        total, squares: float64 [O], their sum and the sum of their squares.
    """

    count: int = 0
    total: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0

    def add(self, output: torch.Tensor) -> None:
        import torch

        axes = (0, *range(2, output.ndim))
        self.count += output.numel() // output.shape[1]
        # Sums of one batch in float32, which torch adds pairwise; of all batches in float64.
        self.total = self.total + output.sum(axes).double().cpu().numpy()
        self.squares = self.squares + torch.linalg.vector_norm(output, dim=axes).double().square().cpu().numpy()

    def join(self, other: OutputMoments) -> None:
        self.count += other.count
        self.total, self.squares = self.total + other.total, self.squares + other.squares

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self.total) / self.count

    @property
    def deviation(self) -> np.ndarray:
        return np.sqrt(np.maximum(np.asarray(self.squares) / self.count - self.mean**2, 0))


@dataclass
class Observation:
    """What one convolution did on the calibration frames.

    Attributes:
        outputs: moments of the output channels, bias included.
        by_frame: the same of every frame, in the order of the frames.
        inputs: float64 [K, K], sum of outer products of the columns that the kernel sees, in the order of packed rows.
    """

    outputs: OutputMoments = field(default_factory=OutputMoments)
    by_frame: list[OutputMoments] = field(default_factory=list)
    inputs: np.ndarray | None = None


def observe(
    model: torch.nn.Module,
    layers: Mapping[str, torch.nn.Conv2d],
    frames: Iterable[np.ndarray],
    *,
    inputs: bool,
    seed: int = 0,
) -> dict[str, Observation]:
    """Runs the calibration frames through the network.

    Args:
        model: float network.
        layers: its convolutions to watch, by name.
        frames: network inputs, float32 [1, 3, H, W].
        inputs: also take the second moments of the inputs.
        seed: of the positions that those are taken of.
    """
    import torch

    found = {name: Observation() for name in layers}
    generator = torch.Generator().manual_seed(seed)

    def watch(name: str):
        def hook(layer, arguments, output):
            moments = OutputMoments()
            moments.add(output)
            found[name].by_frame.append(moments)
            found[name].outputs.join(moments)
            if inputs:
                columns = kernel_columns(layer, arguments[0], generator)
                products = (columns.T @ columns).double().cpu().numpy()
                before = found[name].inputs
                found[name].inputs = products if before is None else before + products

        return hook

    handles = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    run_hooked(model, frames, handles)
    return found


def run_hooked(model: torch.nn.Module, inputs: Iterable[np.ndarray], handles: Iterable) -> None:
    """Runs network inputs, float32 [B, 3, H, W], through a network, and removes hooks whatever happens.

    Args:
        handles: of the hooks, as torch gives them.
    """
    import torch

    try:
        with torch.inference_mode():
            for x in inputs:
                model(torch.from_numpy(x))
    finally:
        for handle in handles:
            handle.remove()


def kernel_columns(layer: torch.nn.Conv2d, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """float32 [P, K]: what the kernel sees at ``POSITIONS`` random output positions, in the order of packed rows."""
    import torch

    (kh, kw), (sh, sw), (ph, pw) = layer.kernel_size, layer.stride, layer.padding
    padded = torch.nn.functional.pad(x, (pw, pw, ph, ph))
    height, width = (padded.shape[2] - kh) // sh + 1, (padded.shape[3] - kw) // sw + 1
    places = torch.randint(height * width, (min(POSITIONS, height * width),), generator=generator)
    top, left = places // width * sh, places % width * sw
    taps = [padded[:, :, top + i, left + j] for i in range(kh) for j in range(kw)]  # each [B, I, P]
    return torch.stack(taps, dim=1).permute(0, 3, 1, 2).flatten(2).flatten(0, 1)
