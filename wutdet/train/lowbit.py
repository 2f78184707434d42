"""Training with low-bit operands: layers whose three matrix products all take quantised operands.

The products of a layer y = W x are the forward product (x, W), the input gradient (g, W) and the weight gradient
(g, x). A unit that multiplies groups under common scales needs the groups along the axis that is summed over, which
differs from product to product, so every operand is quantised anew for each product along that product's own axis:

| product | summed over | groups |
|---|---|---|
| forward | input channels of every tap | along input channels |
| input gradient | output channels of every tap | along output channels |
| weight gradient | batch x positions | along batch x positions |

A convolution's channels start a new group at each tap, filled up with zeros, as channel-blocked layouts hold them; so
forward and input gradient can quantise before they gather taps. Its weight gradient is computed from gathered taps
([C x taps, positions]), because every tap groups other positions. Values are simulated: operands hold exactly the
format's values in float32, products are accumulated in float32, master weights are float32.

Sources: the three products, stochastic rounding of gradients alone, the random Hadamard transform on both operands of
the weight gradient alone and 16x16 tiles for weights: arXiv 2509.25149, section 4 (read). For HiF4 and MXFP4 (arXiv
2604.08826) only the abstract was read; what its recipes switch on (HiF4: Hadamard transform of size 64; MXFP4:
transform, stochastic rounding and truncation-free scales) is known second-hand, the transform's size for MXFP4 (32,
from arXiv 2509.25149) and that truncation-free means ``scale_rule="ceil"`` are assumptions.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wutdet.errors import UsageError, suggest
from wutdet.lowbit import RandomHadamard
from wutdet.lowbit.options import FORMATS, options_for
from wutdet.lowbit.torch_quantize import fake_quantize

#: Operands that are only rounded to a float type, or not at all.
FLOATS = ("float32", "bf16")
#: Size of the transform that a format's recipe takes: its group size.
_HADAMARD = {"hif4": 64, "mxfp4": 32, "nvfp4": 16}


@dataclass(frozen=True)
class LowBitRecipe:
    """How the operands of the three products are quantised.

    Attributes:
        format: ``float32`` (nothing is rounded), ``bf16``, or a format of ``wutdet.lowbit``.
        options: of the format, for all operands.
        weight_options: of the format, for weights on top: ``{"tile": "16x16"}`` for NVFP4.
        hadamard: size of the random Hadamard transform on both operands of the weight gradient; 0 for none.
        stochastic_gradients: gradients are rounded stochastically, for input and weight gradient; everything else
            is always rounded to nearest.
        scale_rule: of MXFP4; "ceil" is truncation-free.

    Raises:
        UsageError: an unknown format or option, or a transform of a size that there is not.
    """

    format: str = "float32"
    options: Mapping = field(default_factory=dict)
    weight_options: Mapping = field(default_factory=dict)
    hadamard: int = 0
    stochastic_gradients: bool = False
    scale_rule: Literal["floor", "ceil"] | None = None

    def __post_init__(self):
        if self.format in FLOATS:
            if self.options or self.weight_options or self.scale_rule or self.stochastic_gradients:
                raise UsageError(f"{self.format} has no options, scales or stochastic rounding")
        else:
            options_for(self.format, self.options_of(weight=True))
        if self.hadamard:
            RandomHadamard(self.hadamard)

    def options_of(self, weight: bool) -> dict:
        """Options of the format for weights, or for activations and gradients."""
        rule = {"scale_rule": self.scale_rule} if self.scale_rule else {}
        return {**self.options, **rule, **(self.weight_options if weight else {})}


_SWITCHES = ("rht", "sr", "tf", "tile")
#: The recipes that their authors train with, beside the plain formats (see the module's text for what is second-hand).
RECIPES = (
    "float32",
    "bf16",
    "hif4",
    "hif4+rht",
    "mxfp4",
    "mxfp4+rht+sr+tf",
    "nvfp4",
    "nvfp4+tile+rht+sr",
)


def recipe(name: str) -> LowBitRecipe:
    """A recipe from its name: a format and switches, each of which can be had alone.

    Switches: ``rht`` (transform of the format's group size on the weight gradient's operands; for HiF4 and MXFP4
    second-hand), ``sr`` (stochastic rounding of gradients), ``tf`` (truncation-free scales, MXFP4 alone), ``tile``
    (16x16 tiles for weights, NVFP4 alone). NVIDIA's recipe is ``nvfp4+tile+rht+sr``.

    Raises:
        UsageError: an unknown format or switch, or one that the format does not have.
    """
    base, *switches = name.split("+")
    if base not in (*FLOATS, *FORMATS):
        known = (*FLOATS, *FORMATS)
        raise UsageError(f"no number format '{base}' in recipe '{name}'.{suggest(base, known)}")
    made = LowBitRecipe(base)
    for switch in switches:
        if switch not in _SWITCHES:
            raise UsageError(f"no switch '{switch}' in recipe '{name}'.{suggest(switch, _SWITCHES)}")
        if switch == "rht":
            made = replace(made, hadamard=_HADAMARD.get(base, 16))
        elif switch == "sr":
            made = replace(made, stochastic_gradients=True)
        elif switch == "tf":
            made = replace(made, scale_rule="ceil")
        else:
            made = replace(made, weight_options={"tile": "16x16"})
    return made


class Operands:
    """Quantises operands as a recipe says, with the seeds of one model.

    Args:
        recipe: of the operands.
        seed: of stochastic rounding and of the transform's signs, which all layers share.
    """

    def __init__(self, recipe: LowBitRecipe, seed: int = 0):
        self.recipe = recipe
        self._generator = np.random.default_rng(seed)
        self.transform = RandomHadamard(recipe.hadamard, seed=seed) if recipe.hadamard else None
        self._signed = None

    def draw_seed(self) -> int | None:
        """The seed of the next gradient, None where gradients are rounded to nearest."""
        if not self.recipe.stochastic_gradients:
            return None
        return int(self._generator.integers(0, 2**64, dtype=np.uint64))

    def round(self, x: torch.Tensor, seed: int | None = None, weight: bool = False) -> torch.Tensor:
        """float32 values of the format, groups along the last axis; ``seed`` rounds stochastically."""
        chosen = self.recipe
        if chosen.format == "float32":
            return x.float()
        if chosen.format == "bf16":
            return x.bfloat16().float()
        options = chosen.options_of(weight)
        rounding = "nearest" if seed is None else "stochastic"
        return fake_quantize(x.float(), chosen.format, rounding=rounding, seed=seed, **options)

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """x S H / sqrt(d) along the last axis, filled up with zeros to a multiple of d; x itself without transform.

        As a matrix product, whose order of sums may differ from ``RandomHadamard``'s by float32 rounding.
        """
        if self.transform is None:
            return x
        size = self.transform.size
        if self._signed is None or self._signed.device != x.device:
            self._signed = torch.from_numpy(np.sign(self.transform.matrix)).to(x.device)
        padded = F.pad(x.float(), (0, -x.shape[-1] % size))
        blocks = (padded.reshape(-1, size) @ self._signed).mul_(float(np.float32(1 / np.sqrt(size))))
        return blocks.view(padded.shape)


class _Linear(torch.autograd.Function):
    """x [T, K], weight [N, K] -> float32 [T, N]."""

    @staticmethod
    def forward(ctx, x, weight, operands, seeds):
        ctx.save_for_backward(x, weight)
        ctx.operands, ctx.seeds = operands, seeds
        return operands.round(x) @ operands.round(weight, weight=True).t()

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        operands, (input_seed, weight_seed) = ctx.operands, ctx.seeds
        dx = dw = None
        if ctx.needs_input_grad[0]:
            turned = operands.round(weight.t().contiguous(), weight=True)
            dx = (operands.round(g, input_seed) @ turned.t()).to(x.dtype)
        if ctx.needs_input_grad[1]:
            dw = _weight_gradient(operands, g.t(), x.t(), weight_seed).to(weight.dtype)
        return dx, dw, None, None


class _Conv2d(torch.autograd.Function):
    """x [B, C, H, W], weight [O, C, kh, kw] -> float32 [B, O, H', W']; no groups."""

    @staticmethod
    def forward(ctx, x, weight, operands, seeds, stride, padding, dilation):
        ctx.save_for_backward(x, weight)
        ctx.operands, ctx.seeds, ctx.geometry = operands, seeds, (stride, padding, dilation)
        rounded = operands.round(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)
        return F.conv2d(rounded, _rounded_taps(operands, weight), None, stride, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        operands, (input_seed, weight_seed) = ctx.operands, ctx.seeds
        dx = dw = None
        if ctx.needs_input_grad[0]:
            rounded = operands.round(g.permute(0, 2, 3, 1).contiguous(), input_seed).permute(0, 3, 1, 2)
            turned = _rounded_taps(operands, weight.transpose(0, 1)).transpose(0, 1)
            dx = torch.nn.grad.conv2d_input(x.shape, turned, rounded, stride, padding, dilation).to(x.dtype)
        if ctx.needs_input_grad[1]:
            taps = F.unfold(x.float(), weight.shape[2:], dilation, padding, stride)
            taps = taps.transpose(0, 1).reshape(taps.shape[1], -1)
            gradients = g.transpose(0, 1).reshape(g.shape[1], -1)
            dw = _weight_gradient(operands, gradients, taps, weight_seed).view(weight.shape).to(weight.dtype)
        return dx, dw, None, None, None, None, None


def _weight_gradient(operands: Operands, g: torch.Tensor, x: torch.Tensor, seed: int | None) -> torch.Tensor:
    """g [N, T], x [K, T] -> [N, K], both transformed and then quantised along T."""
    left = operands.round(operands.spread(g.contiguous()), seed)
    return left @ operands.round(operands.spread(x.contiguous())).t()


def _rounded_taps(operands: Operands, weight: torch.Tensor) -> torch.Tensor:
    """Weights [A, B, kh, kw] quantised along B for every tap; 16 neighbours in A may share a tile's scale."""
    a, b, kh, kw = weight.shape
    by_tap = F.pad(weight.permute(2, 3, 0, 1).reshape(kh * kw, a, b), (0, 0, 0, -a % 16))
    rounded = operands.round(by_tap.reshape(-1, b), weight=True).view(kh, kw, -1, b)[:, :, :a]
    return rounded.permute(2, 3, 0, 1).contiguous()


class LowBitLinear(nn.Linear):
    """A linear layer with quantised operands; takes over the parameters of ``layer``. The bias stays float32."""

    def __init__(self, layer: nn.Linear, operands: Operands):
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias, self.operands = layer.weight, layer.bias, operands

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seeds = _seeds(self.operands)
        y = _Linear.apply(x.reshape(-1, x.shape[-1]), self.weight, self.operands, seeds)
        y = y.view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


class LowBitConv2d(nn.Conv2d):
    """A convolution with quantised operands; takes over the parameters of ``layer``. The bias stays float32.

    Raises:
        UsageError: a convolution with groups, or with padding other than zeros given in numbers.
    """

    def __init__(self, layer: nn.Conv2d, operands: Operands):
        if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise UsageError(f"only convolutions without groups, padded with zeros, can be low-bit, received {layer}")
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        super().__init__(*shape, bias=layer.bias is not None, device="meta")
        self.weight, self.bias, self.operands = layer.weight, layer.bias, operands

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        geometry = (self.stride, self.padding, self.dilation)
        y = _Conv2d.apply(x, self.weight, self.operands, _seeds(self.operands), *geometry)
        return y if self.bias is None else y + self.bias[:, None, None]


def apply_recipe(model: nn.Module, recipe: LowBitRecipe, skip: Sequence[str] = (), seed: int = 0) -> list[str]:
    """Swaps layers for low-bit ones, in place; parameters stay the same objects under the same names.

    High precision stay: the first and the last layer (in order of registration; an embedding counts as the first),
    convolutions with groups (depthwise ones among them) or unusual padding, norms, and products that are no layers
    (attention).

    Args:
        model: any module.
        recipe: for all layers.
        skip: names of more layers to leave, as patterns (``head.*``).
        seed: of stochastic rounding and of the transform's signs.

    Returns:
        Names of the swapped layers.
    """
    operands = Operands(recipe, seed)
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding)
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, kinds)]
    swapped = []
    for name, layer in layers[1:-1]:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in skip):
            continue
        if type(layer) is nn.Linear:
            made = LowBitLinear(layer, operands)
        elif type(layer) is nn.Conv2d and _plain(layer):
            made = LowBitConv2d(layer, operands)
        else:
            continue
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, made.train(layer.training))
        swapped.append(name)
    return swapped


def _plain(layer: nn.Conv2d) -> bool:
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _seeds(operands: Operands) -> tuple[int | None, int | None]:
    """Of the input gradient and of the weight gradient; drawn on the way forward, whose order is fixed."""
    if not torch.is_grad_enabled():
        return None, None
    return operands.draw_seed(), operands.draw_seed()
