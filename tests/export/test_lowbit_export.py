"""``wutdet export`` to 4-bit weights: rounded with calibration frames, or trained so already."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from wutdet.config import ExportConfig
from wutdet.export.run import run
from wutdet.quantize.packed_onnx import unpack_weights
from wutdet.runtime.detector import Detector
from wutdet.runtime.torch_backend import load_checkpoint


def test_the_file_says_how_its_weights_were_rounded(checkpoints, dataset_file, tmp_path):
    # How much is gained is no question for a network of random weights; see tests/quantize and results/.
    def made(name: str, **changes):
        return run(ExportConfig(str(checkpoints["yolo11n"]), "hif4", out=tmp_path / name, imgsz="160", **changes))

    with_frames = made("with.onnx", calib=str(dataset_file), force=True, max_drop=1.0).metadata
    without = made("without.onnx").metadata
    assert with_frames.quantisation["method"] == "gptq, channel statistics restored"
    assert with_frames.calibration["split"] == "train" and len(with_frames.calibration["digest"]) == 64
    assert without.quantisation["method"] == "nearest" and not without.calibration
    a, b = (unpack_weights(onnx.load(tmp_path / name)) for name in ("with.onnx", "without.onnx"))
    assert set(a) == set(b)
    assert any((a[name].channel_scale != 1).any() for name in a)
    assert all((b[name].channel_scale == 1).all() for name in b)


@pytest.mark.parametrize("arch", ["yolo26n", "yolo11n"])
def test_trained_weights_go_into_the_file_as_they_are(arch, checkpoints, tmp_path):
    from wutdet.quantize.aware import trainable_parameters
    from wutdet.train import checkpoint

    content = checkpoint.load(checkpoints[arch])
    names = trainable_parameters(content["model"])
    facts = {"quantised": {"format": "hif4", "options": {}, "layers": names}, "imgsz": 160}
    trained = tmp_path / "trained.pt"
    checkpoint.save(trained, content["model"], {"train_args": {}, "wutdet": facts})
    result = run(ExportConfig(str(trained), "hif4", out=tmp_path / "trained.onnx", imgsz="160"))
    assert result.metadata.quantisation["method"] == "trained"
    stored, wanted = unpack_weights(onnx.load(result.file)), load_checkpoint(trained).packed
    assert set(stored) == set(wanted)
    for name, weight in wanted.items():
        np.testing.assert_array_equal(stored[name].tensor.codes, weight.tensor.codes)
        np.testing.assert_array_equal(stored[name].dequantize(), weight.dequantize())
    picture = np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)
    network_input, _ = Detector(result.file).preprocess(picture)
    from_file = Detector(result.file).backend.infer(network_input)
    from_checkpoint = Detector(trained, imgsz=160).backend.infer(network_input)
    np.testing.assert_allclose(from_file, from_checkpoint, rtol=1e-3, atol=0.05)
