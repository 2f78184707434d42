"""Training aware of low-bit weights: what is trained with, what the checkpoint holds and what it computes."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from wutdet.config import TrainConfig
from wutdet.errors import UsageError
from wutdet.lowbit import quantize
from wutdet.quantize.aware import LowBitConv2d, make_aware, make_plain, trainable_parameters
from wutdet.quantize.weights import to_kernel, to_rows
from wutdet.runtime.torch_backend import build_model, load_checkpoint
from wutdet.train import checkpoint
from wutdet.train.run import run
from wutdet.train.settings import check


def layer(format: str = "hif4", **options) -> LowBitConv2d:
    torch.manual_seed(1)
    holder = torch.nn.Sequential(torch.nn.Conv2d(10, 6, 3, padding=1))
    make_aware(holder, ["0.weight"], format, options)
    return holder[0]


@pytest.mark.parametrize(
    "format, options", [("hif4", {}), ("mxfp4", {"scale_rule": "ceil"}), ("nvfp4", {}), ("int4", {})]
)
def test_it_computes_with_what_the_artefact_will_hold(format, options):
    conv = layer(format, **options)
    weight = conv.weight.detach().numpy()
    stored = to_kernel(quantize(to_rows(weight), format, **options).dequantize(), weight.shape)
    np.testing.assert_array_equal(conv.rounded_weight().detach().numpy(), stored)
    x = torch.randn(2, 10, 8, 9)
    plain = torch.nn.functional.conv2d(x, torch.from_numpy(stored), conv.bias, padding=1)
    torch.testing.assert_close(conv(x), plain)


def test_the_gradient_passes_through_the_rounding():
    conv, x = layer(), torch.randn(2, 10, 8, 9)
    conv(x).square().sum().backward()
    rounded = conv.rounded_weight().detach().requires_grad_()
    torch.nn.functional.conv2d(x, rounded, conv.bias, padding=1).square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, rounded.grad)


def test_a_copy_rounds_too_until_it_is_made_plain():
    conv = layer()
    twin, x = copy.deepcopy(conv), torch.randn(1, 10, 8, 9)
    assert type(twin) is LowBitConv2d
    torch.testing.assert_close(twin(x), conv(x))
    make_plain(twin)
    assert type(twin) is torch.nn.Conv2d and not hasattr(twin, "lowbit")
    torch.testing.assert_close(twin.weight, conv.weight)
    torch.testing.assert_close(twin(x), torch.nn.functional.conv2d(x, conv.weight, conv.bias, padding=1))


@pytest.mark.parametrize("arch", ["yolo26n", "yolo11n"])
def test_a_checkpoint_computes_what_was_trained_with(arch, tmp_path):
    model = build_model(arch, 1).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # a factor that folding has to get right
            module.weight.data.uniform_(0.5, 2)
            module.running_var.uniform_(0.5, 2)
    names = trainable_parameters(model)
    quantised = {"format": "hif4", "options": {}, "layers": names}
    make_aware(model, names, "hif4", {})
    file = tmp_path / "aware.pt"
    checkpoint.save(file, model, {"train_args": {}, "wutdet": {"quantised": quantised, "imgsz": 96}})
    loaded = load_checkpoint(file)
    x = torch.rand(1, 3, 96, 96)
    model.end2end = False
    loaded.model.model[-1].export = model.model[-1].export = True
    with torch.inference_mode():
        wanted, got = model(x), loaded.model(x)
    # The stem's and the last convolutions' weights are stored in float16.
    torch.testing.assert_close(got, wanted, rtol=0.02, atol=0.5)
    assert set(loaded.packed) <= set(names) and len(loaded.packed) > 50
    for name, packed in loaded.packed.items():
        weight = loaded.model.get_parameter(name).numpy()
        np.testing.assert_array_equal(weight, packed.dequantize())


def test_a_run_trains_through_the_rounding(sea, tmp_path):
    config = TrainConfig(
        data=str(sea), out=tmp_path / "run", epochs=1, imgsz=96, batch=4, workers=0, quantize="mxfp4:scale_rule=ceil"
    )
    result = run(config)
    loaded = load_checkpoint(result.best)
    tensor = next(iter(loaded.packed.values())).tensor
    assert (tensor.format, tensor.options.scale_rule) == ("mxfp4", "ceil")
    assert not loaded.packed_inputs
    content = checkpoint.load(result.best)
    types = {type(module) for module in content["model"].modules()}
    assert LowBitConv2d not in types
    plain = run(replace(config, out=tmp_path / "plain", quantize=None))
    assert not load_checkpoint(plain.best).packed


@pytest.mark.parametrize("format", ["hif4", "mxfp4", "nvfp4"])
def test_inputs_are_rounded_along_the_channels_of_each_pixel(format):
    conv = layer(format)
    conv.rounds_inputs = True
    x = torch.randn(2, 10, 8, 9, requires_grad=True)
    pixels = quantize(x.detach().numpy().transpose(0, 2, 3, 1).copy(), format, backend="numpy").dequantize("numpy")
    seen = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    wanted = torch.nn.functional.conv2d(seen, conv.rounded_weight(), conv.bias, padding=1)
    out = conv(x)
    torch.testing.assert_close(out, wanted)
    # Straight through: the gradient is that of the convolution.
    out.sum().backward()
    given = seen.requires_grad_()
    torch.nn.functional.conv2d(given, conv.rounded_weight(), conv.bias, padding=1).sum().backward()
    torch.testing.assert_close(x.grad, given.grad)


def test_a_run_whose_inputs_are_rounded_says_so(sea, tmp_path):
    config = TrainConfig(
        data=str(sea),
        out=tmp_path / "run",
        epochs=1,
        imgsz=96,
        batch=4,
        workers=0,
        quantize="hif4",
        quantize_inputs=True,
    )
    loaded = load_checkpoint(run(config).best)
    assert loaded.packed and loaded.packed_inputs


@pytest.mark.parametrize("format", [None, "int8", "int4"])
def test_inputs_need_a_block_format(format, sea):
    with pytest.raises(UsageError, match="block format"):
        check(TrainConfig(data=str(sea), quantize=format, quantize_inputs=True))


@pytest.mark.parametrize("text", ["hif5", "hif4:ties", "mxfp4:scale_rule=round", "hif8"])
def test_formats_that_cannot_be(text, sea):
    with pytest.raises(UsageError):
        check(TrainConfig(data=str(sea), quantize=text))
