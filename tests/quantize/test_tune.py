"""Tuning rounded weights against the float network's head, on a trained network: one of random weights is too wild."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import wutdet

torch = pytest.importorskip("torch")

from wutdet.bench.lowbit_table import packable_parameters  # noqa: E402
from wutdet.errors import UsageError  # noqa: E402
from wutdet.images import list_images, read_image, to_network_input  # noqa: E402
from wutdet.quantize.grid import grid_of  # noqa: E402
from wutdet.quantize.lowbit import LowBitSettings, TuneSettings, quantise_weights  # noqa: E402
from wutdet.quantize.tune import tune  # noqa: E402
from wutdet.runtime.detector import Detector  # noqa: E402
from wutdet.scenes.render import render_dataset  # noqa: E402

RELEASED = Path(wutdet.__file__).parent / "released" / "ship-n-rendered.pt"
TUNE = TuneSettings(steps=3, element_rate=0.001, channel_rate=0.001)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Six parts of a rendered frame, float32 [1, 3, 256, 320]."""
    folder = tmp_path_factory.mktemp("scene")
    render_dataset(folder / "sea", sequences=1, frames=1, seed=3, workers=1)
    picture = read_image(list_images(folder / "sea")[0])
    height = picture.shape[0]
    parts = [picture[height // 2 - 128 : height // 2 + 128, x : x + 320] for x in range(0, 6 * 320, 320)]
    return [to_network_input(np.ascontiguousarray(part)) for part in parts]


@pytest.fixture(scope="module")
def network():
    model = Detector(RELEASED, imgsz=320).backend.model
    return model, packable_parameters(model)


@pytest.mark.parametrize(
    "format, activations", [("hif4", "int8"), ("mxfp4", "same"), ("int4", "float"), ("int8", "int8")]
)
def test_the_network_computes_with_what_is_stored(network, frames, format, activations):
    before, names = network
    settings = LowBitSettings(format, method="nearest", activations=activations, tune=TUNE)
    tuned = copy.deepcopy(before)
    packed = quantise_weights(tuned, names, lambda: iter(frames), settings)
    for name, weight in packed.items():
        layer = tuned.get_submodule(name.removesuffix(".weight"))
        assert type(layer) is torch.nn.Conv2d
        np.testing.assert_array_equal(layer.weight.detach().numpy(), weight.dequantize())
    # Layers that are not rounded are as they were.
    for name, parameter in before.named_parameters():
        if name not in packed and name.removesuffix("bias") + "weight" not in packed:
            assert torch.equal(parameter, tuned.get_parameter(name)), name


def test_scales_stay_and_codes_move(network, frames):
    model, names = network
    first = quantise_weights(copy.deepcopy(model), names, lambda: iter(frames), LowBitSettings("hif4"))
    settings = LowBitSettings("hif4", tune=replace(TUNE, steps=4, element_rate=0.1))
    tuned = quantise_weights(copy.deepcopy(model), names, lambda: iter(frames), settings)
    moved = 0
    for name, weight in tuned.items():
        np.testing.assert_array_equal(grid_of(weight.tensor).step, grid_of(first[name].tensor).step)
        moved += int((weight.tensor.codes != first[name].tensor.codes).sum())
    assert moved > 100


def test_the_same_seed_gives_the_same_weights(network, frames):
    model, names = network
    settings = LowBitSettings("nvfp4", method="nearest", tune=replace(TUNE, steps=2))
    codes = []
    for _ in range(2):
        packed = quantise_weights(copy.deepcopy(model), names, lambda: iter(frames), settings)
        codes.append(np.concatenate([weight.tensor.codes.ravel() for weight in packed.values()]))
    np.testing.assert_array_equal(*codes)


def test_without_frames(network):
    model, _ = network
    with pytest.raises(UsageError, match="needs frames"):
        tune(model, model, {}, {}, [], TUNE)
