"""What ``wutdet export --format int8`` says of common scales, corrected biases and rounding, and does about them."""

from __future__ import annotations

import logging

import numpy as np
import onnx
from onnx import numpy_helper

from wutdet.config import ExportConfig
from wutdet.export.run import run
from wutdet.quantize.error import graph_error
from wutdet.runtime.detector import Detector


def biases(file) -> dict[str, np.ndarray]:
    """By convolution: the stored bias, quantised or float."""
    model = onnx.load(file)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    producer = {n.output[0]: n for n in model.graph.node}
    return {
        n.name: constants[n.input[2] if n.input[2] in constants else producer[n.input[2]].input[0]]
        for n in model.graph.node
        if n.op_type == "Conv" and len(n.input) > 2
    }


def test_figures_are_those_of_the_files(artefact, checkpoints, dataset_file, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        result = run(
            ExportConfig(
                str(checkpoints["yolo26n"]),
                "int8",
                out=tmp_path / "plain.onnx",
                imgsz="160",
                calib=str(dataset_file),
                max_drop=1.0,
                gate_images=1,
                bias_correction=False,
                weight_rounding="nearest",
            )
        )
    said = result.metadata.quantisation
    steps = ("bias_correction", "weight_rounding")  # in the order they are tried
    assert not set(steps) & said.keys()
    tied = said["tied_scales"]
    assert 0 < tied["mean_bits"] < tied["worst_bits"] and tied["output_error"] == said["output_error"]
    assert "tensors share" in caplog.text and str(tied["output_error_untied"]) in caplog.text

    corrected = artefact("yolo26n", "nms", "int8")
    said_too = Detector(corrected).metadata.quantisation
    assert said_too["tied_scales"] == tied
    changed = any((a != b).any() for a, b in zip(biases(corrected).values(), biases(result.file).values(), strict=True))
    helped = [said_too[step] for step in steps if step in said_too]
    assert changed == bool(helped)
    falling = [*(step["output_error_before"] for step in helped), said_too["output_error"]]
    assert falling[0] == said["output_error"] and falling == sorted(set(falling), reverse=True)
    assert {step["frames"] for step in helped} <= {6}

    # Six training frames: all of them are corrected on, and four of them are compared on, evenly.
    from wutdet.dataset.load import load_dataset
    from wutdet.quantize.calibrate import choose_frames

    frames = list(choose_frames(load_dataset(dataset_file), "train", 6, 0).network_inputs((160, 160)))
    model, files = onnx.load(artefact("yolo26n", "nms", "fp32")), [onnx.load(result.file), onnx.load(corrected)]
    errors = graph_error(model, files, [frames[row] for row in (0, 2, 3, 5)])
    np.testing.assert_allclose([e.mean for e in errors], [said["output_error"], said_too["output_error"]], rtol=1e-3)
