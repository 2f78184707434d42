"""``--int8-layers`` and ``--size-budget-mb``: one file with two formats of weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tiny_detectors import smooth_picture

from wutdet.config import ExportConfig
from wutdet.errors import ExportError, UsageError
from wutdet.export.run import run
from wutdet.quantize.packed_onnx import unpack_weights


def export(checkpoints, dataset_file, out, **changes):
    fixed = {"calib": str(dataset_file), "calib_images": 2, "imgsz": "64", "max_drop": 1.0, "gate_images": 1}
    return run(ExportConfig(str(checkpoints["yolo26n"]), out=out, **({"format": "hif4"} | fixed | changes)))


@pytest.mark.slow
@pytest.mark.parametrize("activations", ["float", "int8"])
def test_a_file_of_two_formats(activations, checkpoints, dataset_file, tmp_path):
    budget_mb = 2.0
    result = export(
        checkpoints, dataset_file, tmp_path / "ship.onnx", size_budget_mb=budget_mb, activations=activations
    )
    # Not used: what is kept free for metadata, and what no layer fits in.
    assert budget_mb - 0.06 < result.size_bytes / 1e6 <= budget_mb
    model = onnx.load(result.file)
    weights = unpack_weights(model)
    counts = Counter(weight.tensor.format for weight in weights.values())
    assert set(counts) == {"hif4", "int8"}
    assert result.metadata.quantisation["int8_layers"] == counts["int8"]
    assert result.metadata.quantisation["packed_weights"] == sum(counts.values())

    # The file computes what its weights decode to.
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in [node for node in plain.graph.node if node.domain == "wutdet.lowbit"]:
        plain.graph.node.remove(node)
    plain.graph.initializer.extend(numpy_helper.from_array(w.dequantize(), name) for name, w in weights.items())
    x = smooth_picture((64, 64), 5)[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    ours, expected = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"images": np.ascontiguousarray(x)}
        )[0]
        for m in (model, plain)
    )
    np.testing.assert_array_equal(ours, expected)


def test_a_budget_below_the_smallest_file_is_an_error(checkpoints, dataset_file, tmp_path):
    with pytest.raises(ExportError, match=r"0\.5 are allowed"):
        export(checkpoints, dataset_file, tmp_path / "ship.onnx", size_budget_mb=0.5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"int8_layers": 2, "size_budget_mb": 2.0}, "in two ways"),
        ({"int8_layers": 2, "format": "int8"}, "4-bit formats"),
        ({"size_budget_mb": 2.0, "calib": None}, "--calib is missing"),
        ({"int8_layers": 2, "format": "int4", "form": "standard"}, "packed weights"),
    ],
)
def test_options_that_do_not_fit(changes, message, checkpoints, dataset_file, tmp_path):
    with pytest.raises(UsageError, match=message):
        export(checkpoints, dataset_file, tmp_path / "ship.onnx", **changes)
