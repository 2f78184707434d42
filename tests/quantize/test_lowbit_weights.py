"""Weights in low-bit formats: grids, rounding by what the layer sees, restored statistics."""

from __future__ import annotations

import numpy as np
import pytest

from wutdet.errors import ExportError
from wutdet.lowbit import quantize
from wutdet.quantize.grid import grid_of, with_codes
from wutdet.quantize.rounding import round_rows
from wutdet.quantize.weights import pack_weight, to_kernel, to_rows

torch = pytest.importorskip("torch")

from wutdet.quantize.lowbit import LowBitSettings, quantise_weights  # noqa: E402
from wutdet.quantize.observe import kernel_columns, observe  # noqa: E402
from wutdet.quantize.restore import restore_statistics  # noqa: E402

FORMATS = ("hif4", "mxfp4", "nvfp4", "int4")


def moments(rng, columns: int) -> np.ndarray:
    """Second moments of strongly correlated inputs."""
    mixing = rng.normal(size=(columns, 6)) @ rng.normal(size=(6, columns)) + 0.3 * np.eye(columns)
    x = rng.normal(size=(4000, columns)) @ mixing
    return x.T @ x


def output_error(rows, rounded, second_moments) -> float:
    lost = rows.astype(np.float64) - rounded
    return float(np.einsum("ok,kl,ol->", lost, second_moments, lost))


@pytest.mark.parametrize("format", FORMATS)
def test_a_grid_gives_what_the_tensor_decodes_to(format, rng):
    tensor = quantize(rng.normal(size=(5, 150)).astype(np.float32), format)
    grid, codes = grid_of(tensor), tensor.unpacked().codes
    # NVFP4 has two scales, whose products are rounded in another order here.
    np.testing.assert_allclose(grid.values(codes), tensor.dequantize(), rtol=2e-7)
    # A value that is on the grid stays where it is.
    np.testing.assert_array_equal(grid.values(grid.codes(tensor.dequantize())), grid.values(codes))
    np.testing.assert_array_equal(with_codes(tensor, codes).codes, tensor.codes)


@pytest.mark.parametrize("format", FORMATS)
def test_the_nearest_point_of_a_grid_is_found(format, rng):
    x = (3 * rng.normal(size=(4, 128))).astype(np.float32)
    grid = grid_of(quantize(0.7 * x, format))
    everywhere = grid.table[None, None, :] * grid.step[:, :, None]
    nearest = np.abs(everywhere - x[:, :, None]).min(axis=2)
    np.testing.assert_allclose(np.abs(grid.values(grid.codes(x)) - x), nearest, rtol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("columns", [64, 144, 200])
def test_rounding_by_moments_loses_less_output_than_rounding_to_nearest(format, columns, rng):
    rows = rng.standard_t(4, size=(12, columns)).astype(np.float32)
    seen = moments(rng, columns)
    nearest = output_error(rows, quantize(rows, format).dequantize(), seen)
    scales = output_error(rows, round_rows(rows, format, seen, compensate=False).dequantize(), seen)
    compensated = output_error(rows, round_rows(rows, format, seen).dequantize(), seen)
    assert compensated < 0.7 * nearest
    assert compensated < scales


@pytest.mark.parametrize("format", FORMATS)
def test_searched_scales_never_lose_more_weight(format, rng):
    rows = rng.standard_t(4, size=(8, 192)).astype(np.float32)
    searched = round_rows(rows, format, None).dequantize()
    plain = quantize(rows, format).dequantize()
    assert np.square(searched - rows).sum() < np.square(plain - rows).sum()


def test_rounded_rows_are_an_ordinary_tensor(rng):
    rows = rng.normal(size=(3, 100)).astype(np.float32)
    rounded = round_rows(rows, "hif4", moments(rng, 100))
    again = type(rounded).from_bytes(rounded.to_bytes())
    np.testing.assert_array_equal(again.dequantize(), rounded.dequantize())


def test_rows_and_kernels(rng):
    weight = rng.normal(size=(4, 6, 3, 5)).astype(np.float32)
    rows = to_rows(weight)
    assert rows[2, (1 * 5 + 4) * 6 + 3] == weight[2, 3, 1, 4]
    np.testing.assert_array_equal(to_kernel(rows, weight.shape), weight)


def test_a_weight_that_cannot_be_packed():
    with pytest.raises(ExportError, match="two-dimensional"):
        pack_weight(np.zeros((3, 4), dtype=np.float32), "hif4")
    with pytest.raises(ExportError, match="not finite"):
        pack_weight(np.full((1, 1, 1, 1), np.nan, dtype=np.float32), "hif4")


@pytest.mark.parametrize("kernel, stride, padding", [(1, 1, 0), (3, 1, 1), (3, 2, 1), ((1, 3), 1, (0, 1))])
def test_kernel_columns_times_packed_rows_are_the_layers_output(kernel, stride, padding):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(5, 7, kernel, stride, padding, bias=False)
    x = torch.randn(2, 5, 12, 14)
    columns = kernel_columns(layer, x, torch.Generator().manual_seed(1))
    got = columns @ torch.from_numpy(to_rows(layer.weight.detach().numpy())).T
    wanted = layer(x).permute(0, 2, 3, 1).reshape(-1, 7)
    # Every row of the product is the output of some position, and nearly every position was drawn.
    distance = torch.cdist(got, wanted, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
    assert distance.max() < 1e-4
    assert got.std() == pytest.approx(wanted.std().item(), rel=0.2)


def network(seed: int = 0):
    torch.manual_seed(seed)
    convolution = torch.nn.Conv2d
    model = torch.nn.Sequential(
        convolution(3, 16, 3, padding=1), torch.nn.SiLU(), convolution(16, 24, 3, padding=1), torch.nn.SiLU(),
        convolution(24, 8, 1),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model.eval().requires_grad_(False)


def frames(rng, count: int = 8) -> list[np.ndarray]:
    return [rng.random((1, 3, 24, 32), dtype=np.float32) for _ in range(count)]


def test_restored_channels_have_their_mean_and_deviation_back(rng):
    pictures, names = frames(rng), ["2.weight", "4.weight"]
    model = network()
    layers = {name: model.get_submodule(name.removesuffix(".weight")) for name in names}
    before = observe(model, layers, pictures, inputs=False)
    packed = quantise_weights(model, names, lambda: pictures, LowBitSettings("mxfp4", method="nearest"))
    after = observe(model, layers, pictures, inputs=False)
    for name in names:
        np.testing.assert_allclose(after[name].outputs.deviation, before[name].outputs.deviation, rtol=0.02)
        scale = before[name].outputs.deviation.mean()
        np.testing.assert_allclose(after[name].outputs.mean, before[name].outputs.mean, atol=0.02 * scale)
        np.testing.assert_array_equal(layers[name].weight.numpy(), packed[name].dequantize())


@pytest.mark.parametrize("activations", ["float", "int8", "same"])
def test_every_step_of_the_method_brings_outputs_nearer(activations, rng):
    pictures, names = frames(rng), ["2.weight", "4.weight"]
    held_out = torch.from_numpy(np.concatenate(frames(rng)))
    wanted = network()(held_out)

    def error(**settings) -> float:
        model = network()
        quantise_weights(model, names, lambda: pictures, LowBitSettings("hif4", activations=activations, **settings))
        return float((model(held_out) - wanted).square().mean())

    assert error(method="gptq") < error(method="nearest", restore=False)


def test_names_that_are_no_convolutions():
    with pytest.raises(ExportError, match="no layer"):
        quantise_weights(network(), ["9.weight"], list, LowBitSettings("hif4"))
    with pytest.raises(ExportError, match="not the weight"):
        quantise_weights(network(), ["1.weight"], list, LowBitSettings("hif4"))


def test_restoring_what_was_not_rounded_changes_nothing(rng):
    """Also where frames are as unlike as day and night: every batch is held against its own frames."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.SiLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.SiLU(), torch.nn.Conv2d(8, 4, 1)
    ).requires_grad_(False)
    frames = [
        (brightness * rng.random((1, 3, 24, 32))).astype(np.float32) for brightness in np.repeat([0.02, 1.0, 4.0], 4)
    ]
    names = ["0.weight", "2.weight", "4.weight"]
    layers = {name: network.get_submodule(name.removesuffix(".weight")) for name in names}
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    observed = observe(network, layers, frames, inputs=False)
    for factor in restore_statistics(network, layers, observed, frames).values():
        np.testing.assert_allclose(factor, 1, rtol=1e-4)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, before[name], rtol=1e-3, atol=1e-4)
