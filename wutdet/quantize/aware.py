"""Quantisation-aware training: convolutions that use their rounded weights (and, if wanted, see rounded inputs), and
learn through the rounding.

The parameters stay float ("master weights"); what is computed with are their values in the low-bit format, by the very
quantiser that the artefact is made with. Batch norm stays as it is: folded, its factor becomes the packed weight's
channel scale, so nothing is rounded a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from wutdet.errors import ModelError
from wutdet.lowbit import quantize
from wutdet.lowbit.options import options_for
from wutdet.lowbit.torch_quantize import fake_quantize
from wutdet.quantize.activations import round_pixels
from wutdet.quantize.weights import PackedWeight, to_rows


class LowBitConv2d(nn.Conv2d):
    """A convolution that computes with its weight in a low-bit format, groups in the order of packed rows.

    Attributes:
        lowbit: format and options, as ``fake_quantize`` takes them.
        rounds_inputs: what it sees is rounded too, in the same format with groups along the channels of each pixel.
    """

    lowbit: tuple[str, dict]
    rounds_inputs: bool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.rounds_inputs:
            x = round_pixels(x, self.lowbit[0], **self.lowbit[1])
        return self._conv_forward(x, self.rounded_weight(), self.bias)

    def rounded_weight(self) -> torch.Tensor:
        """float32 [O, I, H, W] with a straight-through gradient."""
        format, options = self.lowbit
        o, i, h, w = self.weight.shape
        rows = self.weight.float().permute(0, 2, 3, 1).reshape(o, -1)
        return fake_quantize(rows, format, **options).reshape(o, h, w, i).permute(0, 3, 1, 2)


def make_aware(
    model: nn.Module, names: Sequence[str], format: str, options: Mapping, rounds_inputs: bool = False
) -> None:
    """Makes layers compute with rounded weights, in place.

    Args:
        model: the network.
        names: of the convolutions' weights, such as ``model.2.cv1.conv.weight``.
        format: a low-bit format, and its options.
        rounds_inputs: layers also round what they see.

    Raises:
        UsageError: no such format or option.
    """
    options_for(format, dict(options))
    for name in names:
        layer = model.get_submodule(name.removesuffix(".weight"))
        layer.__class__ = LowBitConv2d
        layer.lowbit, layer.rounds_inputs = (format, dict(options)), rounds_inputs


def make_plain(model: nn.Module) -> None:
    """Makes every aware layer an ordinary convolution with its master weight, in place: checkpoints load anywhere."""
    for layer in model.modules():
        if isinstance(layer, LowBitConv2d):
            layer.__class__ = nn.Conv2d
            del layer.lowbit, layer.rounds_inputs


def trainable_parameters(model: nn.Module) -> list[str]:
    """Weights that quantisation-aware training rounds: ungrouped convolutions but the first and the last of the head.

    Args:
        model: an ultralytics DetectionModel, batch norm not folded.
    """
    head = model.model[-1]
    branches = [getattr(head, name, None) for name in ("cv2", "cv3", "one2one_cv2", "one2one_cv3")]
    last = {id(branch[-1]) for one in branches if one is not None for branch in one}
    found = [
        f"{name}.weight"
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.groups == 1 and id(layer) not in last and ".dfl." not in name
    ]
    return found[1:]


def pack_trained(model: nn.Module, quantised: Mapping) -> dict[str, PackedWeight]:
    """The packed weights of a network that was trained aware of its rounding, before its batch norm is folded.

    Args:
        model: the network with master weights.
        quantised: what its checkpoint says: ``format``, ``options``, ``layers`` (names of weights).

    Returns:
        By name; the channel scale is batch norm's factor.

    Raises:
        ModelError: the network has no such layers.
    """
    packed = {}
    for name in quantised["layers"]:
        path = name.removesuffix(".weight")
        try:
            layer = model.get_submodule(path)
            parent = model.get_submodule(path.rpartition(".")[0])
        except AttributeError as error:
            raise ModelError(f"the checkpoint says that '{name}' is quantised, and has no such layer") from error
        tensor = quantize(
            to_rows(layer.weight.detach().float().cpu().numpy()), quantised["format"], **quantised["options"]
        )
        norm = getattr(parent, "bn", None)
        scale = (
            torch.ones(len(layer.weight)) if norm is None else norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        )
        packed[name] = PackedWeight(tensor, tuple(layer.weight.shape), scale.detach().float().cpu().numpy())
    return packed


def put_packed(model: nn.Module, packed: Mapping[str, PackedWeight]) -> None:
    """Sets the weights of a network whose batch norm is folded to what the packed weights decode to, in place."""
    for name, weight in packed.items():
        with torch.no_grad():
            model.get_submodule(name.removesuffix(".weight")).weight.copy_(torch.from_numpy(weight.dequantize()))
