"""A whole detector with ReLUs: in int8 none is left, and the engine computes onnxruntime's codes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from engine_models import cut_at_codes, network_input, onnxruntime_session, quantised, share_of_other_codes
from tiny_detectors import IMGSZ, smooth_picture
from wutdet._kernels import Engine

torch = pytest.importorskip("torch")

SIZE_HW = (96, 128)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """yolo26n with ReLUs and random weights: its float graph and its int8 graph."""
    from wutdet.export.onnx_graph import trace
    from wutdet.runtime.torch_backend import load_checkpoint
    from wutdet.train import checkpoint
    from wutdet.train.architecture import build

    torch.manual_seed(2)
    model = build("yolo26n", None, ["ship"], "relu")
    for module in model.modules():  # batch norm takes the statistics of pictures, or signals die out
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    pictures = np.stack([smooth_picture((IMGSZ, IMGSZ), seed) for seed in range(4)])
    with torch.no_grad():
        model.train()(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()).float() / 255)
    file = tmp_path_factory.mktemp("relu") / "relu.pt"
    checkpoint.save(file, model.eval(), {"train_args": {}, "wutdet": {"imgsz": 128}})
    plain = trace(load_checkpoint(file, head="nms"), SIZE_HW)
    return plain, quantised(plain, [network_input(seed, SIZE_HW) for seed in range(4)])


def test_no_relu_is_left_in_int8(models):
    plain, int8 = models
    assert sum(node.op_type == "Relu" for node in plain.graph.node) > 80
    assert "Relu" not in {node.op_type for node in int8.graph.node}


def test_codes_are_those_of_onnxruntime(models):
    shown, cut, names = cut_at_codes(models[1].SerializeToString())
    x = network_input(9, SIZE_HW)
    codes = onnxruntime_session(shown).run(None, {"images": x})[1:]
    assert share_of_other_codes(Engine(cut, program="generic"), names, x, codes) < 0.005


def test_planned_and_generic_programs_agree(models):
    data, x = models[1].SerializeToString(), network_input(9, SIZE_HW)
    planned, generic = (Engine(data, program=program).run([x])[0] for program in ("auto", "generic"))
    scale = np.abs(generic).mean(axis=(0, 2), keepdims=True) + 1e-6
    assert (np.abs(planned - generic) / scale).mean() < 0.05


def test_floats_are_those_of_onnxruntime(models):
    data, x = models[0].SerializeToString(), network_input(9, SIZE_HW)
    wanted = onnxruntime_session(data).run(None, {"images": x})[0]
    np.testing.assert_allclose(Engine(data).run([x])[0], wanted, rtol=1e-3, atol=2e-2)
