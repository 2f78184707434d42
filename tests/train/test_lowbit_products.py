"""Low-bit layers: every product against NumPy on operands quantised one vector at a time."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

from wutdet.errors import UsageError
from wutdet.lowbit import RandomHadamard, quantize
from wutdet.train.lowbit import (
    RECIPES,
    LowBitConv2d,
    LowBitLinear,
    LowBitRecipe,
    Operands,
    apply_recipe,
    recipe,
)

FORMATS = {
    "hif4": {},
    "mxfp4": {"scale_rule": "ceil"},
    # One level only: the tensor scale of a part would not be that of the whole.
    "nvfp4": {"scaling": "block"},
}


def grid(shape, seed: int) -> np.ndarray:
    """Multiples of 1/8, so that sums of a transform are exact in any order."""
    return (np.random.default_rng(seed).integers(-24, 25, shape) / 8).astype(np.float32)


def conv_layer(channels, outputs, kernel, stride, padding, dilation, seed=1) -> nn.Conv2d:
    layer = nn.Conv2d(channels, outputs, kernel, stride, padding, dilation)
    layer.weight.data = torch.from_numpy(grid(layer.weight.shape, seed))
    return layer


def run(layer, x: np.ndarray, g: np.ndarray):
    """Output, input gradient and weight gradient."""
    layer.weight.grad = None
    leaf = torch.from_numpy(x).requires_grad_()
    y = layer(leaf)
    y.backward(torch.from_numpy(g))
    return y.detach().numpy(), leaf.grad.numpy(), layer.weight.grad.numpy()


def dot(a: np.ndarray, b: np.ndarray, format: str, size: int = 0) -> float:
    """The product of two vectors, quantised alone, in float64."""
    if size:
        transform = RandomHadamard(size, seed=5)
        a, b = (transform(np.pad(v, (0, -len(v) % size))) for v in (a, b))
    qa, qb = (quantize(v, format, **FORMATS[format]).dequantize() for v in (a, b))
    return float(qa.astype(np.float64) @ qb.astype(np.float64))


@pytest.mark.parametrize("geometry", [(3, 1, 1, 1), (3, 2, 1, 1), ((1, 3), 2, (0, 2), 2), (1, 1, 0, 1)])
def test_without_rounding_gradients_are_torchs(geometry):
    layer = conv_layer(5, 7, *geometry)
    low = LowBitConv2d(layer, Operands(LowBitRecipe("float32")))
    x = np.random.default_rng(0).normal(size=(2, 5, 9, 12)).astype(np.float32)
    g = np.random.default_rng(1).normal(size=layer(torch.from_numpy(x)).shape).astype(np.float32)
    for ours, theirs in zip(run(low, x, g), run(layer, x, g), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [0, 16, 64])
def test_linear_without_rounding_and_the_transform_leaves_the_product(size):
    layer = nn.Linear(6, 10)
    low = LowBitLinear(layer, Operands(LowBitRecipe("float32", hadamard=size), seed=5))
    x = np.random.default_rng(0).normal(size=(3, 11, 6)).astype(np.float32)
    g = np.random.default_rng(1).normal(size=(3, 11, 10)).astype(np.float32)
    for ours, theirs in zip(run(low, x, g), run(layer, x, g), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert low.bias.grad.shape == (10,) and low.weight is layer.weight


@pytest.mark.parametrize("size", [0, 32])
@pytest.mark.parametrize("format", FORMATS)
def test_linear_products_are_those_of_quantised_vectors(format, size):
    outputs, inputs, tokens = 9, 70, 83
    layer = nn.Linear(inputs, outputs, bias=False)
    w, x, g = grid((outputs, inputs), 0), grid((tokens, inputs), 1), grid((tokens, outputs), 2)
    layer.weight.data = torch.from_numpy(w)
    low = LowBitLinear(layer, Operands(LowBitRecipe(format, FORMATS[format], hadamard=size), seed=5))
    y, dx, dw = run(low, x, g)
    np.testing.assert_allclose(y, [[dot(a, b, format) for b in w] for a in x], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(dx, [[dot(a, b, format) for b in w.T] for a in g], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(dw, [[dot(a, b, format, size) for b in x.T] for a in g.T], rtol=1e-5, atol=1e-3)
    assert np.abs(dw - g.T @ x).max() > 0.1


@pytest.mark.parametrize("format,stride,size", [("hif4", 1, 64), ("mxfp4", 2, 0), ("nvfp4", 2, 16)])
def test_convolution_products_are_those_of_quantised_vectors(format, stride, size):
    batch, channels, outputs, height, width = 2, 20, 5, 5, 6
    layer = conv_layer(channels, outputs, 3, stride, 1, 1)
    layer.bias = None
    w, x = layer.weight.detach().numpy(), grid((batch, channels, height, width), 3)
    low = LowBitConv2d(layer, Operands(LowBitRecipe(format, FORMATS[format], hadamard=size), seed=5))
    rows, columns = -(-height // stride), -(-width // stride)
    g = grid((batch, outputs, rows, columns), 4)
    y, dx, dw = run(low, x, g)

    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    want_y, want_dx, want_dw = np.zeros(y.shape), np.zeros(padded.shape), np.zeros(dw.shape)
    for i, j in np.ndindex(3, 3):
        seen = padded[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride][..., :rows, :columns]
        for b, r, c in np.ndindex(batch, rows, columns):
            for o in range(outputs):
                want_y[b, o, r, c] += dot(seen[b, :, r, c], w[o, :, i, j], format)
            for k in range(channels):
                want_dx[b, k, i + stride * r, j + stride * c] += dot(g[b, :, r, c], w[:, k, i, j], format)
        for o, k in np.ndindex(outputs, channels):
            want_dw[o, k, i, j] = dot(g[:, o].ravel(), seen[:, k].ravel(), format, size)
    np.testing.assert_allclose(y, want_y, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(dx, want_dx[:, :, 1:-1, 1:-1], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(dw, want_dw, rtol=1e-5, atol=1e-3)


def test_nvidias_recipe_is_whole_operands_quantised_with_their_seeds():
    """Two-level scales belong to whole operands; the seeds of a step are the generator's next two."""
    layer = nn.Linear(48, 32, bias=False)
    w, x, g = grid((32, 48), 0), grid((40, 48), 1), grid((40, 32), 2)
    layer.weight.data = torch.from_numpy(w)
    low = LowBitLinear(layer, Operands(recipe("nvfp4+tile+rht+sr"), seed=7))
    y, dx, dw = run(low, x, g)
    generator, transform = np.random.default_rng(7), RandomHadamard(16, seed=7)
    seeds = [int(generator.integers(0, 2**64, dtype=np.uint64)) for _ in range(2)]

    def values(a, seed=None, **options):
        rounding = "nearest" if seed is None else "stochastic"
        return quantize(np.ascontiguousarray(a), "nvfp4", rounding=rounding, rng=seed, **options).dequantize()

    def spread(a):
        return transform(np.pad(a.T, ((0, 0), (0, 8))))

    tile = {"tile": "16x16"}
    np.testing.assert_allclose(y, values(x) @ values(w, **tile).T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(dx, values(g, seeds[0]) @ values(w.T, **tile).T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(dw, values(spread(g), seeds[1]) @ values(spread(x)).T, rtol=1e-4, atol=1e-3)


def test_bf16_rounds_every_operand():
    w, x, g = (
        np.random.default_rng(i).normal(size=s).astype(np.float32) for i, s in enumerate([(4, 6), (5, 6), (5, 4)])
    )
    layer = nn.Linear(6, 4, bias=False)
    layer.weight.data = torch.from_numpy(w)
    rw, rx, rg = (a.astype(ml_dtypes.bfloat16).astype(np.float32) for a in (w, x, g))
    found = run(LowBitLinear(layer, Operands(recipe("bf16"))), x, g)
    for ours, want in zip(found, (rx @ rw.T, rg @ rw, rg.T @ rx), strict=True):
        np.testing.assert_allclose(ours, want, rtol=1e-5, atol=1e-6)


def test_tiles_quantise_a_weight_and_its_transpose_alike():
    operands = Operands(recipe("nvfp4+tile"))
    w = torch.randn(32, 48, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        operands.round(w, weight=True), operands.round(w.t().contiguous(), weight=True).t(), rtol=0, atol=0
    )
    assert not torch.equal(operands.round(w), operands.round(w.t().contiguous()).t())


@pytest.mark.parametrize("name", ["hif4+sr", "mxfp4+sr+tf", "nvfp4+sr"])
def test_stochastic_gradients_are_unbiased(name):
    layer = nn.Linear(8, 64, bias=False)
    layer.weight.data = torch.eye(64, 8)
    low = LowBitLinear(layer, Operands(recipe(name), seed=3))
    # Peaks that a group holds exactly: a clipped value cannot be right on average.
    g = np.tile(np.linspace(-0.9, 0.9, 64, dtype=np.float32), (8, 1))
    g[:, ::16] = 1.5 if name != "hif4+sr" else 1.75
    x = np.eye(8, dtype=np.float32)
    draws = np.array([run(low, x, g)[1] for _ in range(400)], dtype=np.float64)
    # Through the identity, the input gradient is the gradient's first channels times the weight's (rounded) one.
    one = quantize(np.eye(8, 64, dtype=np.float32), low.operands.recipe.format, **low.operands.recipe.options_of(True))
    want = g[:, :8] * one.dequantize().diagonal()
    error = np.abs(draws.mean(0) - want)
    assert (error <= 5 * draws.std(0) / np.sqrt(len(draws)) + 1e-6).all()
    assert draws.std(0).max() > 0.01


def test_seeds_repeat_and_differ():
    def gradients(seed):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(64, 2))
        assert apply_recipe(model, recipe("hif4+rht+sr"), seed=seed) == ["1"]
        found = []
        for _ in range(2):
            model.zero_grad()
            model(torch.ones(5, 8)).square().sum().backward()
            found.append(model[1].weight.grad.clone())
        return found

    first, again, other = gradients(0), gradients(0), gradients(1)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], other[0])


def test_forward_is_never_stochastic():
    layer = LowBitLinear(nn.Linear(64, 4), Operands(recipe("hif4+sr")))
    x = torch.randn(3, 64)
    assert torch.equal(layer(x), layer(x))


def test_first_last_depthwise_and_named_layers_stay():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)),
        nn.Conv2d(8, 2, 1),
    )
    names = list(model.state_dict())
    assert apply_recipe(model, recipe("hif4"), skip=("4.1",)) == ["4.0"]
    assert list(model.state_dict()) == names
    assert type(model[4][0]) is LowBitConv2d and type(model[4][1]) is nn.Conv2d
    words = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 8), nn.Linear(8, 5))
    assert apply_recipe(words, recipe("hif4")) == ["1"]


def test_recipes_have_names():
    assert {name: recipe(name).format for name in RECIPES}["mxfp4+rht+sr+tf"] == "mxfp4"
    full = recipe("mxfp4+rht+sr+tf")
    assert (full.hadamard, full.stochastic_gradients, full.options_of(False)) == (32, True, {"scale_rule": "ceil"})
    assert recipe("hif4+rht").hadamard == 64 and not recipe("hif4+rht").stochastic_gradients
    nvidia = recipe("nvfp4+tile+rht+sr")
    assert (nvidia.hadamard, nvidia.options_of(True), nvidia.options_of(False)) == (16, {"tile": "16x16"}, {})


@pytest.mark.parametrize("name", ["hif5", "hif4+hrt", "hif4+tf", "mxfp4+tile", "bf16+sr", "float32+tf"])
def test_recipes_that_are_none_are_refused(name):
    with pytest.raises(UsageError):
        recipe(name)


def test_convolutions_with_groups_are_refused():
    with pytest.raises(UsageError, match="groups"):
        LowBitConv2d(nn.Conv2d(4, 4, 1, groups=2), Operands(recipe("hif4")))
