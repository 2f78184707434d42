"""ncnn on the float32 artefact, converted by pnnx."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wutdet.bench.engines import Artefact, Variant, missing_package

VERSION_OF = ("ncnn", "pnnx")
_OWN = "pnnx"
_NO_INT8 = "ncnn quantises with programs (ncnn2table, ncnn2int8) that no Python package holds"


def prepare(artefacts: Sequence[Artefact], frames: Sequence[np.ndarray], folder: Path) -> list[Variant]:
    """The float32 artefacts; of the others, the reasons why not."""
    absent = missing_package(["ncnn", "pnnx"])
    out = []
    for one in artefacts:
        if one.number_format == "int8":
            out.append(Variant(one, "ncnn", "int8", _OWN, absent=_NO_INT8))
        elif one.number_format == "fp32":
            files, why = ((), absent) if absent else convert(one.file, folder / f"{one.file.stem}.ncnn", one.imgsz_hw)
            out.append(Variant(one, "ncnn", "fp32", _OWN, files, why))
    return out


def convert(source: Path, folder: Path, imgsz_hw: tuple[int, int]) -> tuple[tuple[Path, ...], str]:
    """ncnn's two files of an ONNX file, or the reason why there are none. fp16 is for storage only and left out."""
    import pnnx

    folder.mkdir()
    height, width = imgsz_hw
    copy = folder / "model.onnx"  # pnnx writes beside what it reads
    copy.write_bytes(source.read_bytes())
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [pnnx.EXEC_PATH, copy.name, f"inputshape=[1,3,{height},{width}]f32", "fp16=0"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        env=quiet,
    )
    files = (folder / "model.ncnn.param", folder / "model.ncnn.bin")
    if done.returncode or not all(file.is_file() for file in files):
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        return (), f"pnnx cannot convert this file (exit code {done.returncode}: {last})"
    return files, ""


class Runner:
    """One network; ncnn's defaults but for the number of threads."""

    def __init__(self, file: Path, threads: int):
        import ncnn

        self.ncnn = ncnn
        self.net = ncnn.Net()
        self.net.opt.num_threads = threads
        if self.net.load_param(str(file)) or self.net.load_model(str(file.with_suffix(".bin"))):
            raise ValueError(f"ncnn cannot load {file.name}")
        self.inputs, self.outputs = self.net.input_names(), self.net.output_names()
        self.about = ""

    def infer(self, network_input: np.ndarray) -> list[np.ndarray]:
        """Outputs of float32 [1, 3, H, W]."""
        with self.net.create_extractor() as extractor:
            extractor.input(self.inputs[0], self.ncnn.Mat(network_input[0]))
            return [np.array(extractor.extract(name)[1])[None] for name in self.outputs]
