"""OpenVINO on our artefacts, and on the int8 file that NNCF makes of the float32 one."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wutdet.bench.engines import Artefact, Variant, float_parent, missing_package

VERSION_OF = ("openvino", "nncf")
_OWN = "NNCF"


def prepare(artefacts: Sequence[Artefact], frames: Sequence[np.ndarray], folder: Path) -> list[Variant]:
    """Every artefact, its functions put in line; beside every int8 artefact, its float32 parent quantised by NNCF.

    float32 means float32. Where the processor has bfloat16, OpenVINO computes in it unless told otherwise: that is a
    row of its own, and what the float parts of its other files get.
    """
    absent, no_nncf = missing_package(["openvino"]), missing_package(["openvino", "nncf"])
    out = []
    for one in artefacts:
        files = () if absent else (_without_functions(one.file, folder),)
        options = {"precision": "f32"} if one.number_format == "fp32" else {}
        out.append(Variant(one, "openvino", one.number_format, "artefact", files, absent, options))
        if options and not absent and _has_bfloat16():
            out.append(Variant(one, "openvino", "bf16", "artefact, its default", files))
        if one.number_format == "int8":
            parent = float_parent(one, artefacts)
            why = no_nncf or ("" if parent else "NNCF starts from the float32 artefact; name that one as well")
            files = () if why else quantise(parent.file, folder / f"{one.file.stem}.nncf.xml", frames)
            out.append(Variant(one, "openvino", "int8", _OWN, files, why))
    return out


def _has_bfloat16() -> bool:
    import openvino

    capable = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capable and _may_use_bfloat16()


def _may_use_bfloat16() -> bool:
    """Limited to less by ONEDNN_MAX_CPU_ISA, OpenVINO still plans in bfloat16 and then finds no softmax for it."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return not limit or limit in ("DEFAULT", "ALL") or any(word in limit for word in ("BF16", "FP16", "AMX", "AVX10"))


def _without_functions(file: Path, folder: Path) -> Path:
    """The file, or a copy whose calls of functions are replaced by their bodies: OpenVINO refuses calls."""
    import onnx
    import onnx.inliner

    model = onnx.load(file)
    if not model.functions:
        return file
    target = folder / f"{file.stem}.openvino.onnx"
    onnx.save(onnx.inliner.inline_local_functions(model), target)
    return target


def quantise(source: Path, target: Path, frames: Sequence[np.ndarray]) -> tuple[Path, Path]:
    """NNCF's post-training quantisation with its defaults; the two files of OpenVINO's format."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other packages' notices to their own developers
            import nncf
            import openvino

            model = openvino.Core().read_model(source)
            model = nncf.quantize(model, nncf.Dataset(list(frames)), subset_size=len(frames))
            openvino.save_model(model, target, compress_to_fp16=False)
    finally:
        logging.disable(level)
    return target, target.with_suffix(".bin")


class Runner:
    """One compiled model with the settings OpenVINO documents for latency: one stream, so many threads."""

    def __init__(self, file: Path, threads: int, precision: str = ""):
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}
        if precision or not _may_use_bfloat16():
            settings["INFERENCE_PRECISION_HINT"] = precision or "f32"
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(file), "CPU", settings)
        self.request = compiled.create_infer_request()
        self.outputs = [compiled.output(index) for index in range(len(compiled.outputs))]
        precision_type = compiled.get_property("INFERENCE_PRECISION_HINT")
        self.about = f"float parts in {precision_type.get_type_name()}"

    def infer(self, network_input: np.ndarray) -> list[np.ndarray]:
        """Outputs of float32 [1, 3, H, W]."""
        found = self.request.infer({0: network_input}, share_inputs=True, share_outputs=True)
        return [found[output] for output in self.outputs]
