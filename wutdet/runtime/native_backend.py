"""Artefacts on wutdet's own engine (kernels/core/engine): nothing but this package and NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wutdet._kernels import Engine, FramePlan, ModelFault
from wutdet.boxes import Letterbox
from wutdet.errors import ModelError, UsageError
from wutdet.runtime.metadata import ArtefactMetadata


class NativeBackend:
    """One artefact on the native engine; several threads may call it at once.

    Attributes:
        metadata: what the artefact says of itself.
        fixed_input_wh: width and height of its input; the engine plans for one size.
        batch: largest number of frames per call.
        takes_frames: whether the file's first step rounds the picture to its 256 levels, so that frames need not become
            floats (``infer_frame``); so it is in files with 8-bit activations.
        program: what runs it: ``fused``, planned for this file, or ``generic``, the slow interpreter of every operator.
            The environment variable ``WUTDET_ENGINE`` forces one.

    Raises:
        ModelError: not an ONNX file, broken, with something that the engine does not know (named), without metadata,
            or with other inputs than one picture.
    """

    name = "native"

    def __init__(self, path: Path, threads: int = 0):
        self.path = path
        try:
            self.engine = Engine(path.read_bytes(), threads)
        except OSError as error:
            raise ModelError(f"the file cannot be read ({error.strerror})", file=path) from error
        except ModelFault as error:
            raise ModelError(
                f"the native engine cannot run this file: {error}",
                file=path,
                hint="export it again with 'wutdet export', or use backend 'onnxruntime'",
            ) from error
        except ValueError as error:  # the only settings that come from outside
            hint = "WUTDET_ENGINE names a program, WUTDET_ISA a set of kernels; unset both to let the engine choose"
            raise UsageError(str(error), hint=hint) from error
        found = self.engine.inputs
        shape = found[0][2] if found else []
        if len(found) != 1 or found[0][1] != "float32" or len(shape) != 4 or shape[:2] != [1, 3]:
            received = ", ".join(f"{name} {kind} {dims}" for name, kind, dims in found)
            raise ModelError(
                f"not a picture detector: expected one float input of shape (1, 3, height, width), found {received}",
                file=path,
                hint="export it again with 'wutdet export'",
            )
        self.metadata = ArtefactMetadata.from_props(self.engine.metadata, file=str(path))
        self.fixed_input_wh = (shape[3], shape[2])
        self.takes_frames = self.engine.takes_frames
        self._plans: dict[Letterbox, FramePlan] = {}
        self.program = self.engine.program
        self.batch = 1

    def infer(self, images: np.ndarray) -> np.ndarray:
        """float32 output of float32 [1, 3, H, W] input.

        Raises:
            ModelError: the file's own data leads outside of a tensor (a damaged file).
        """
        try:
            return self.engine.run([images])[0]
        except ModelFault as error:
            raise ModelError(f"the native engine stopped: {error}", file=self.path) from error

    def infer_frame(self, frame: np.ndarray, letterbox: Letterbox) -> np.ndarray:
        """float32 output of uint8 [H, W, 3] BGR, the same bits as with the float input that it would become.

        Only where ``takes_frames``. Rows may lie in any distance; the pixels of a row lie side by side.

        Raises:
            ModelError: as ``infer``.
        """
        plan = self._plans.get(letterbox)
        if plan is None:
            plan = FramePlan(
                letterbox.frame_wh, letterbox.input_wh, letterbox.scaled_wh, letterbox.pad_lt, Letterbox.PAD_VALUE
            )
            # Tiles and the whole frame take turns; frames of ever new sizes must not fill the memory.
            self._plans = {**dict(list(self._plans.items())[-3:]), letterbox: plan}
        try:
            return self.engine.run_frame(frame, plan)[0]
        except ModelFault as error:
            raise ModelError(f"the native engine stopped: {error}", file=self.path) from error
