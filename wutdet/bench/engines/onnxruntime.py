"""onnxruntime on our artefacts, and on the int8 file that its own quantiser makes of the float32 one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wutdet.bench.engines import Artefact, Variant, float_parent

VERSION_OF = ("onnxruntime",)
_OWN = "its quantize_static, U8S8 per channel"


def prepare(artefacts: Sequence[Artefact], frames: Sequence[np.ndarray], folder: Path) -> list[Variant]:
    """Every artefact as it is; beside every int8 artefact, its float32 parent quantised by onnxruntime."""
    out = []
    for one in artefacts:
        out.append(Variant(one, "onnxruntime", one.number_format, "artefact", (one.file,)))
        if one.number_format == "int8":
            parent = float_parent(one, artefacts)
            if parent is None:
                why = "its own int8 file is made of the float32 artefact; name that one as well"
                out.append(Variant(one, "onnxruntime", "int8", _OWN, absent=why))
            else:
                target = folder / f"{one.file.stem}.onnxruntime.onnx"
                quantise(parent.file, target, frames)
                out.append(Variant(one, "onnxruntime", "int8", _OWN, (target,)))
    return out


def quantise(source: Path, target: Path, frames: Sequence[np.ndarray]) -> None:
    """As onnxruntime's guide says: its pre-processing first, then QDQ with its default calibration and operators, U8
    activations, S8 weights per channel (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        ready = target.with_suffix(".ready.onnx")
        quant_pre_process(str(source), str(ready))
        quantize_static(
            str(ready),
            str(target),
            _Frames(frames),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        ready.unlink()
    finally:
        logging.disable(level)


class _Frames:
    """onnxruntime's reader of calibration data."""

    def __init__(self, frames: Sequence[np.ndarray]):
        self._feeds = iter([{"images": frame} for frame in frames])

    def get_next(self):
        return next(self._feeds, None)


class Runner:
    """One file in one session: all optimisations, worker threads that spin, both by default."""

    def __init__(self, file: Path, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        self.about = ""

    def infer(self, network_input: np.ndarray) -> list[np.ndarray]:
        """Outputs of float32 [1, 3, H, W]."""
        return self.session.run(None, {self.name: network_input})
