"""What rounding one layer alone does to a network's output: which layers need more bits, and which do not."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wutdet.errors import ModelError
from wutdet.quantize.activations import input_ranges, round_inputs_int8
from wutdet.quantize.error import OutputError
from wutdet.quantize.lowbit import FLOAT, LowBitSettings, convolutions, round_weight
from wutdet.quantize.observe import Observation, OutputMoments, observe
from wutdet.quantize.restore import corrected

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """One row per layer.

    Attributes:
        names: parameters of the layers, [L].
        formats: that their weights were rounded to, [F].
        loss: float64 [L, F], error of the head's maps (``OutputError.mean``) with this weight alone rounded.
        nbytes: int64 [L, F], of the weight with all its scales.
        input_loss: float64 [L], the error with this layer's inputs alone in 8 bits.
    """

    names: tuple[str, ...]
    formats: tuple[str, ...]
    loss: np.ndarray
    nbytes: np.ndarray
    input_loss: np.ndarray

    def order(self, format: str) -> np.ndarray:
        """int64 [L], rows from the most to the least sensitive; of equal ones the earlier first."""
        return np.argsort(-self.loss[:, self.formats.index(format)], kind="stable")

    def to_text(self, format: str, rows: int = 10) -> str:
        """The most sensitive layers as lines."""
        index = self.formats.index(format)
        lines = [f"output error of one layer alone in {format}; its inputs alone in int8; bytes"]
        for row in self.order(format)[:rows]:
            figures = f"{self.loss[row, index]:.2e}  {self.input_loss[row]:.2e}  {self.nbytes[row, index]:>8}"
            lines.append(f"  {figures}  {self.names[row]}")
        return "\n".join(lines)


def measure_sensitivity(
    model: torch.nn.Module,
    names: Sequence[str],
    frames: Callable[[], Iterable[np.ndarray]],
    compared: Sequence[np.ndarray],
    settings: LowBitSettings,
    formats: Sequence[str] = (),
    watched: Sequence[torch.nn.Module] = (),
    observed: Mapping[str, Observation] | None = None,
) -> Sensitivity:
    """Rounds every layer alone and compares the network's output with the float one's.

    The calibration frames go through the network twice (moments, ranges), whatever the number of layers; then a few
    frames once per layer and format, from the layer's stage on. The network is left as it was.

    Args:
        model: float network in evaluation mode, batch norm folded.
        names: weights to round, as ``quantise_weights`` takes them.
        frames: gives the calibration frames, float32 [1, 3, H, W].
        compared: the few frames that outputs are compared on, float32 [1, 3, H, W], all of one shape.
        settings: how weights are rounded; its options are those of ``settings.format``, other formats have none.
        formats: to try; by default ``settings.format``. ``float32`` costs 4 bytes a value and loses nothing.
        watched: modules whose outputs are compared; by default the last convolutions of a detector's head.
        observed: what ``observe`` gave for this network on the calibration frames, inputs included; saves a pass.

    Raises:
        ExportError: a name that is not the weight of an ungrouped convolution with a bias.
        ModelError: not a detector, and nothing to watch was named.
    """
    import torch

    formats = tuple(formats) or (settings.format,)
    layers = convolutions(model, names)
    watched = list(watched) or last_convolutions(model)
    batch = torch.from_numpy(np.concatenate(list(compared)))
    moments = observed or {}
    if not moments and settings.method != "nearest" and set(formats) != {FLOAT}:
        moments = observe(model, layers, frames(), inputs=True, seed=settings.seed)
    ranges = input_ranges(model, layers, frames(), settings.seed)
    run = _FromStage(model, layers, watched, batch)

    def loss_of(name: str) -> float:
        error = OutputError()
        error.add(run.wanted, run.again(name))
        return error.mean

    loss = np.zeros((len(layers), len(formats)))
    nbytes = np.zeros((len(layers), len(formats)), dtype=np.int64)
    input_loss = np.zeros(len(layers))
    for row, (name, layer) in enumerate(_tracked(layers)):
        weight = layer.weight.detach().clone()
        values = weight.float().cpu().numpy()
        for column, format in enumerate(formats):
            if format == FLOAT:
                nbytes[row, column] = values.nbytes
                continue
            options = dict(settings.options) if format == settings.format else {}
            seen = moments[name].inputs if moments else None
            packed = round_weight(values, format, settings.method, seen, **options)
            nbytes[row, column] = packed.nbytes
            with _rounded(layer, weight, packed.dequantize()), _restored(layer, run.outputs[name], settings.restore):
                loss[row, column] = loss_of(name)
        handles = round_inputs_int8({name: layer}, ranges)
        try:
            input_loss[row] = loss_of(name)
        finally:
            handles[0].remove()
    return Sensitivity(tuple(layers), formats, loss, nbytes, input_loss)


def last_convolutions(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The convolutions that give boxes and scores, of the head that is in use.

    Raises:
        ModelError: the network has no such head.
    """
    head = model.model[-1] if hasattr(model, "model") else model
    names = ("one2one_cv2", "one2one_cv3") if getattr(head, "end2end", False) else ("cv2", "cv3")
    branches = [getattr(head, name, None) for name in names]
    if None in branches:
        raise ModelError("the network has no head of box and score branches", hint="name the modules to watch")
    return [layers[-1] for branch in branches for layers in branch]


class _FromStage:
    """Runs one batch again and again; what comes before the layer that changed is taken from the first run.

    Attributes:
        wanted: the watched modules' outputs in the first run.
        outputs: moments of each layer's outputs in the first run.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        layers: Mapping[str, torch.nn.Conv2d],
        watched: Sequence[torch.nn.Module],
        batch: torch.Tensor,
    ) -> None:
        import torch

        self._model, self._watched, self._batch = model, watched, batch
        # Stages run one after the other, whatever feeds them: true of ultralytics' networks and of any Sequential.
        inner = getattr(model, "model", model)
        self._stages = list(inner) if isinstance(inner, torch.nn.Sequential) else []
        members = [set(stage.modules()) for stage in self._stages]
        self._stage_of = {
            name: next((i for i, own in enumerate(members) if layer in own), 0) for name, layer in layers.items()
        }
        self._kept: dict[int, object] = {}
        self.outputs = {name: OutputMoments() for name in layers}
        handles = [
            layer.register_forward_hook(lambda _, inputs, output, name=name: self.outputs[name].add(output))
            for name, layer in layers.items()
        ]
        handles += [
            stage.register_forward_hook(lambda _, inputs, output, index=index: self._kept.update({index: output}))
            for index, stage in enumerate(self._stages)
        ]
        try:
            self.wanted = self._run()
        finally:
            for handle in handles:
                handle.remove()

    def again(self, changed: str) -> list[np.ndarray]:
        """The watched outputs with one layer changed."""
        replaced = self._stages[: self._stage_of[changed]]
        own = [vars(stage).get("forward") for stage in replaced]  # folding batch norm gives modules one of their own
        for index, stage in enumerate(replaced):
            stage.forward = lambda *arguments, index=index: self._kept[index]
        try:
            return self._run()
        finally:
            for stage, forward in zip(replaced, own, strict=True):
                if forward is None:
                    del stage.forward
                else:
                    stage.forward = forward

    def _run(self) -> list[np.ndarray]:
        import torch

        found = {}
        handles = [m.register_forward_hook(lambda m, _, output: found.update({m: output})) for m in self._watched]
        try:
            with torch.inference_mode():
                self._model(self._batch)
        finally:
            for handle in handles:
                handle.remove()
        return [found[module].numpy() for module in self._watched]


@contextmanager
def _rounded(layer: torch.nn.Conv2d, weight: torch.Tensor, values: np.ndarray) -> Iterator[None]:
    import torch

    try:
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(values))
        yield
    finally:
        with torch.no_grad():
            layer.weight.copy_(weight)


@contextmanager
def _restored(layer: torch.nn.Conv2d, wanted: OutputMoments, restore: bool) -> Iterator[None]:
    if not restore:
        yield
        return
    handle = layer.register_forward_hook(lambda _, inputs, output: corrected(output, wanted)[0])
    try:
        yield
    finally:
        handle.remove()


def _tracked(layers: Mapping[str, torch.nn.Conv2d]) -> Iterable[tuple[str, torch.nn.Conv2d]]:
    if not sys.stderr.isatty():
        log.info("measuring %d layers one by one", len(layers))
        return layers.items()
    from rich.console import Console
    from rich.progress import track

    return track(layers.items(), "layers", total=len(layers), console=Console(stderr=True), transient=True)
