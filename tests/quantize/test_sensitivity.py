"""What one rounded layer does to the output, against rounding it by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from wutdet.errors import ModelError
from wutdet.quantize.error import OutputError
from wutdet.quantize.weights import pack_weight

torch = pytest.importorskip("torch")

from wutdet.quantize.lowbit import LowBitSettings  # noqa: E402
from wutdet.quantize.sensitivity import last_convolutions, measure_sensitivity  # noqa: E402

NAMES = ["2.weight", "4.weight"]


def network():
    torch.manual_seed(1)
    convolution = torch.nn.Conv2d
    model = torch.nn.Sequential(
        convolution(3, 16, 3, padding=1), torch.nn.SiLU(), convolution(16, 24, 3, padding=1), torch.nn.SiLU(),
        convolution(24, 8, 1),
    )  # fmt: skip
    return model.eval().requires_grad_(False)


def frames(rng, count: int = 4) -> list[np.ndarray]:
    return [rng.random((1, 3, 24, 32), dtype=np.float32) for _ in range(count)]


def relative_error(wanted, got) -> float:
    wanted, got = wanted.double().numpy(), got.double().numpy()
    return float(((got - wanted) ** 2).sum() / ((wanted - wanted.mean((0, 2, 3), keepdims=True)) ** 2).sum())


def test_losses_are_those_of_rounding_by_hand(rng):
    model, pictures = network(), frames(rng)
    before = copy.deepcopy(model.state_dict())
    settings = LowBitSettings("mxfp4", method="nearest", restore=False, options=(("scale_rule", "ceil"),))
    found = measure_sensitivity(
        model, NAMES, lambda: pictures, pictures, settings, ("mxfp4", "int8", "float32"), [model[4]]
    )
    batch = torch.from_numpy(np.concatenate(pictures))
    wanted = network()(batch)
    for row, name in enumerate(NAMES):
        for column, options in enumerate([{"scale_rule": "ceil"}, {}]):
            other = network()
            weight = other.get_parameter(name)
            packed = pack_weight(weight.numpy(), ("mxfp4", "int8")[column], **options)
            weight.copy_(torch.from_numpy(packed.dequantize()))
            assert found.loss[row, column] == pytest.approx(relative_error(wanted, other(batch)), rel=1e-4)
            assert found.nbytes[row, column] == packed.nbytes
        assert found.loss[row, 2] == 0 and found.nbytes[row, 2] == 4 * network().get_parameter(name).numel()
    # The network is as it was, hooks included.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(batch), wanted)
    assert found.loss[0, 0] > 4 * found.loss[0, 1]
    assert list(found.order("mxfp4")) == list(np.argsort(-found.loss[:, 0]))
    assert NAMES[0] in found.to_text("mxfp4")


def test_input_losses_are_those_of_rounding_by_hand(rng):
    model, pictures = network(), frames(rng)
    batch = torch.from_numpy(np.concatenate(pictures))
    wanted, seen = model(batch), model[:4](batch)
    low, high = min(0.0, float(seen.min())), float(seen.max())
    scale = (high - low) / 255
    rounded = torch.round((seen - low) / scale) * scale + low
    settings = LowBitSettings("hif4", method="nearest")
    found = measure_sensitivity(model, NAMES, lambda: pictures, pictures, settings, watched=[model[4]])
    # Ranges leave out 0.001 % at each end, and zero is a level.
    assert found.input_loss[1] == pytest.approx(relative_error(wanted, model[4](rounded)), rel=0.2)


def test_restoring_and_moments_lower_the_loss(rng):
    pictures = frames(rng, 6)

    def loss(**how):
        model = network()
        for parameter in model.parameters():
            parameter.mul_(2)
        settings = LowBitSettings("mxfp4", **how)
        return measure_sensitivity(model, NAMES, lambda: pictures, pictures, settings, watched=[model[4]]).loss.sum()

    assert loss(method="gptq") < loss(method="nearest", restore=False)


def test_a_detectors_head_is_found_and_stages_are_not_run_again(checkpoints, dataset_file):
    from wutdet.dataset.load import load_dataset
    from wutdet.quantize.calibrate import choose_frames
    from wutdet.runtime.torch_backend import load_checkpoint

    pictures = list(choose_frames(load_dataset(dataset_file), "train", 2, 0).network_inputs((64, 64)))
    model = load_checkpoint(checkpoints["yolo11n"]).model
    name = "model.16.cv2.conv.weight"
    batch = torch.from_numpy(np.concatenate(pictures))
    runs = []
    model.model[16].register_forward_hook(lambda *_: runs.append("own"))
    model.model[4].cv1.conv.register_forward_hook(lambda *_: runs.append("inside an earlier stage"))
    settings = LowBitSettings("mxfp4", method="nearest", restore=False)
    found = measure_sensitivity(model, [name], lambda: pictures, pictures, settings)
    # Twice for ranges, once for the reference; then only from stage 16 on: weight, and inputs.
    assert runs.count("own") == 5 and runs.count("inside an earlier stage") == 3
    with torch.inference_mode():
        assert torch.equal(model(batch)[0], load_checkpoint(checkpoints["yolo11n"]).model(batch)[0])

    error = OutputError()
    outputs = []
    for rounded in (False, True):
        other, maps = load_checkpoint(checkpoints["yolo11n"]).model, []
        weight = other.get_parameter(name)
        if rounded:
            weight.copy_(torch.from_numpy(pack_weight(weight.numpy(), "mxfp4").dequantize()))
        for layer in last_convolutions(other):
            layer.register_forward_hook(lambda _, inputs, output, maps=maps: maps.append(output.numpy()))
        with torch.inference_mode():
            other(batch)
        outputs.append(sorted(maps, key=lambda m: m.shape))
    error.add(*outputs)
    assert found.loss[0, 0] == pytest.approx(error.mean, rel=1e-3)


def test_no_head_is_an_error():
    with pytest.raises(ModelError, match="no head"):
        last_convolutions(network())


def test_an_error_of_one_means_nothing_but_means_is_left(rng):
    maps = [rng.normal(3, 2, (2, 4, 6, 5)), rng.normal(-1, 1, (2, 1, 3, 3))]
    error = OutputError()
    error.add(maps, [np.broadcast_to(m.mean((0, 2, 3), keepdims=True), m.shape) for m in maps])
    np.testing.assert_allclose(error.maps, 1)
    same = OutputError()
    for part in range(2):
        same.add([m[part : part + 1] for m in maps], [m[part : part + 1] for m in maps])
    assert same.mean == 0
