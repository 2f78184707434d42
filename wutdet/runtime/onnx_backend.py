"""Artefacts on onnxruntime (CPU)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from wutdet.errors import ModelError
from wutdet.quantize.session import CHANGING_OPTIMIZERS
from wutdet.runtime.metadata import ArtefactMetadata


class OnnxBackend:
    """One artefact in one onnxruntime session.

    Attributes:
        metadata: what the artefact says of itself.
        fixed_input_wh: width and height of its input, or ``None`` where the file takes any size.
        batch: largest number of frames per call.

    Raises:
        ModelError: not an ONNX file, broken, without metadata, or with other inputs than one picture.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int = 0):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(CHANGING_OPTIMIZERS)
            )
        except Exception as error:  # onnxruntime's own exception classes have no common public base
            text = str(error).strip().splitlines()[0]
            hint = "it must be a complete ONNX file; export it again with 'wutdet export'"
            if "NOT_IMPLEMENTED" in text:  # a type of ONNX that this onnxruntime has no kernels for
                hint = "take a newer onnxruntime, or export 4-bit weights with '--form packed'"
            version = onnxruntime.__version__
            raise ModelError(f"onnxruntime {version} cannot load this file: {text}", file=path, hint=hint) from error
        inputs = self.session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise ModelError(
                f"not a picture detector: expected one float input of shape (1, 3, height, width), found {found}",
                file=path,
                hint="export it again with 'wutdet export'",
            )
        self.input_name = inputs[0].name
        self.output_name = self.session.get_outputs()[0].name
        self.metadata = ArtefactMetadata.from_props(self.session.get_modelmeta().custom_metadata_map, file=str(path))
        height, width = shape[2:]
        fixed = isinstance(height, int) and isinstance(width, int)
        self.fixed_input_wh = (width, height) if fixed else None
        self.batch = 1

    def infer(self, images: np.ndarray) -> np.ndarray:
        """float32 output of float32 [1, 3, H, W] input."""
        return self.session.run([self.output_name], {self.input_name: images})[0]
