"""``--tune-steps``: tuned weights in the file, and what cannot be tuned."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from wutdet.config import ExportConfig
from wutdet.errors import UsageError
from wutdet.export.run import run
from wutdet.quantize.packed_onnx import unpack_weights


def test_the_file_holds_tuned_weights(checkpoints, dataset_file, tmp_path):
    weights = []
    for steps in (0, 2):
        config = ExportConfig(
            str(checkpoints["yolo11n"]),
            format="hif4",
            calib=str(dataset_file),
            calib_images=2,
            imgsz="64",
            max_drop=1.0,
            gate_images=1,
            tune_steps=steps,
            out=tmp_path / f"{steps}.onnx",
        )
        result = run(config)
        assert ("tuned in 2 steps" in result.metadata.quantisation["method"]) == bool(steps)
        weights.append(unpack_weights(onnx.load(result.file)))
    plain, tuned = weights
    assert plain.keys() == tuned.keys()
    changed = [name for name in plain if not np.array_equal(plain[name].dequantize(), tuned[name].dequantize())]
    assert len(changed) > len(plain) / 2


@pytest.mark.parametrize(
    "changes",
    [{"format": "int8", "calib": "x"}, {"format": "hif4"}, {"format": "hif4", "calib": "x", "tune_steps": -1}],
)
def test_what_cannot_be_tuned(changes, checkpoints):
    with pytest.raises(UsageError, match="--tune-steps"):
        run(ExportConfig(str(checkpoints["yolo11n"]), **({"tune_steps": 3} | changes)))
