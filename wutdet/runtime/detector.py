"""Detector: a camera frame in, boxes out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wutdet._kernels import Letterboxer
from wutdet.boxes import Letterbox
from wutdet.detections import Detections
from wutdet.errors import DataError, ModelError, UsageError, suggest
from wutdet.images import to_bgr_u8
from wutdet.runtime.decode import decode_output
from wutdet.runtime.metadata import category_index
from wutdet.runtime.model_files import ARTEFACT_SUFFIXES, find_model

if TYPE_CHECKING:
    from wutdet.runtime.native_backend import NativeBackend
    from wutdet.runtime.onnx_backend import OnnxBackend

log = logging.getLogger(__name__)

BACKENDS = ("auto", "onnxruntime", "native", "torch")
#: Score threshold where neither the caller nor the artefact names one.
DEFAULT_THRESHOLD = 0.25
#: More than any machine has; beyond, a typing error is likelier.
MAX_THREADS = 1024


class Detector:
    """Finds ships in one look at a frame; ``wutdet.load_detector`` adds the tiles that a model asks for.

    Takes an artefact (.onnx; onnxruntime or native) or a checkpoint (.pt, .safetensors; torch).

    Args:
        model: file, released name, or ``default``.
        threads: CPU threads; 0 means all cores. With torch this setting is per process, not per detector.
        backend: ``onnxruntime``, ``native`` (wutdet's own engine), ``torch``, or ``auto``: torch for checkpoints, for
            artefacts whichever is faster: native for 8-bit activations that it has a plan for, else onnxruntime.
        conf: lowest score returned (exclusive); ``None`` takes the artefact's own threshold, or 0.25.
        iou: NMS threshold, for models that need NMS.
        max_det: most boxes per frame. NMS-free artefacts have their own limit as well (their output's length).
        imgsz: long side of the network input in pixels; only for checkpoints and dynamic artefacts.
        max_scale: frames smaller than the input are enlarged at most so many times; ``None`` takes the limit that the
            model states, if any.
        category: use only this category of the model; it becomes category 0.
        arch: architecture of a .safetensors state dict, for example ``yolo26n``.
        device: for checkpoints: ``auto``, ``cpu``, ``0``, ``cuda:1``.
        head: for checkpoints of architectures with two heads (yolo26): ``auto`` and ``nms`` use the one that needs NMS,
            ``nms-free`` the other one, whose output is limited to the best 300 boxes.

    Attributes:
        category_names: names by category index.
        imgsz: long side of the network input in pixels.
        stride: coarsest stride of the network in pixels.
        metadata: ``wutdet.runtime.metadata.ArtefactMetadata``.
        max_scale: how many times frames are enlarged at most; ``None``: as many as the input is larger.
        threshold: the score threshold in use.
        backend: the running backend.

    Raises:
        UsageError: an unknown backend, or a number out of its range.
        ModelError: the model cannot be found or read, or has no such category or input size.
        MissingExtraError: a checkpoint without the ``train`` extra.

    Example:
        >>> detector = wutdet.Detector("ship.onnx", threads=1)      # doctest: +SKIP
        >>> detector(cv2.imread("harbour.jpg")).xyxy                # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path = "default",
        *,
        threads: int = 0,
        backend: str = "auto",
        conf: float | None = None,
        iou: float = 0.7,
        max_det: int = 300,
        imgsz: int | None = None,
        max_scale: float | None = None,
        category: str | None = None,
        arch: str | None = None,
        device: str = "auto",
        head: str = "auto",
    ):
        if not 0 <= threads <= MAX_THREADS:
            raise UsageError(f"threads must be in 0..{MAX_THREADS} (0: all cores), received {threads}")
        if not 0 <= iou <= 1:
            raise UsageError(f"the IoU threshold of NMS must be in 0..1, received {iou}")
        if max_det < 1:
            raise UsageError(f"at least one box per frame must be allowed (max_det), received {max_det}")
        self.path = find_model(model)
        artefact = self.path.suffix.lower() in ARTEFACT_SUFFIXES
        if backend not in BACKENDS:
            raise UsageError(f"unknown backend '{backend}'.{suggest(backend, BACKENDS)}")
        if backend != "auto" and (backend == "torch") == artefact:
            raise ModelError(
                f"backend '{backend}' does not run {self.path.suffix} files",
                file=self.path,
                hint="artefacts (.onnx) run on onnxruntime or native, checkpoints on torch; leave backend at 'auto'",
            )
        only: int | None = None
        if artefact:
            self.backend = _artefact_backend(self.path, threads, backend)
            names = self.backend.metadata.names
            if category is not None:
                only = category_index(names, category, self.path)
                names = (names[only],)
        else:
            from wutdet.runtime.torch_backend import TorchBackend

            self.backend = TorchBackend(
                self.path, threads=threads, arch=arch, device=device, category=category, head=head, max_det=max_det
            )
            names = self.backend.metadata.names
        self.metadata = self.backend.metadata
        self.category_names = tuple(names)
        self.stride = int(self.metadata.stride)
        self.imgsz = self._input_size(imgsz)
        self.max_scale = self._max_scale(max_scale)
        self.threshold = self._threshold(conf)
        self.iou, self.max_det, self._only = float(iou), int(max_det), only
        # In one pass what letterbox.apply and to_network_input do, with the same result.
        self._letterboxer = Letterboxer(threads)

    def _input_size(self, imgsz: int | None) -> int:
        fixed = self.backend.fixed_input_wh
        if fixed is None:
            size = max(self.metadata.imgsz_hw) if imgsz is None else int(imgsz)
            if size < self.stride:
                raise UsageError(f"imgsz {size} is smaller than the network's stride {self.stride}")
            return size
        if imgsz is not None and imgsz != max(fixed):
            raise ModelError(
                f"this artefact's input is fixed at {fixed[0]}x{fixed[1]} (width x height); imgsz {imgsz} was asked",
                file=self.path,
                hint=f"leave imgsz out, or export again with --imgsz {imgsz}",
            )
        return max(fixed)

    def _max_scale(self, given: float | None) -> float | None:
        if given is not None:
            if not given > 0:
                raise UsageError(f"max_scale must be above 0, received {given}")
            return float(given)
        own = self.metadata.max_scale
        if own is None:
            return None
        if isinstance(own, bool) or not isinstance(own, int | float) or not 0 < own < float("inf"):
            raise ModelError(f"the model's 'max_scale' must be a number above 0, found {own!r}", file=self.path)
        return float(own)

    def _threshold(self, conf: float | None) -> float:
        if conf is not None:
            if not 0 <= conf < 1:
                raise UsageError(f"conf must be in 0..1, received {conf}")
            return float(conf)
        own = self.metadata.threshold
        return DEFAULT_THRESHOLD if own is None else float(own)

    def __call__(self, image: np.ndarray) -> Detections:
        """Boxes of one frame (image column 0), best first.

        Args:
            image: uint8 [H, W, 3] BGR as OpenCV reads it. Grey, BGRA and 16-bit frames are converted.

        Raises:
            DataError: not a picture.
        """
        if getattr(self.backend, "takes_frames", False):
            frame = _frame(image)
            letterbox = self._fit(frame)
            return self.postprocess(self.backend.infer_frame(frame, letterbox), letterbox)
        network_input, letterbox = self.preprocess(image)
        return self.postprocess(self.backend.infer(network_input), letterbox)

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """One Detections per frame (image column 0 in each). Frames of one size share a call where the model allows."""
        out: list[Detections] = []
        pending: list[tuple[np.ndarray, Letterbox]] = []

        def flush():
            if pending:
                outputs = self.backend.infer(np.concatenate([blob for blob, _ in pending]))
                out.extend(self.postprocess(outputs[row : row + 1], box) for row, (_, box) in enumerate(pending))
                pending.clear()

        for image in images:
            blob, letterbox = self.preprocess(image)
            if pending and (len(pending) == self.backend.batch or pending[0][0].shape != blob.shape):
                flush()
            pending.append((blob, letterbox))
        flush()
        return out

    def preprocess(self, image: np.ndarray) -> tuple[np.ndarray, Letterbox]:
        """float32 [1, 3, H, W] network input of a frame, and how the frame lies in it."""
        image = _frame(image)
        letterbox = self._fit(image)
        return self._letterboxer.planes(
            image, letterbox.input_wh, letterbox.scaled_wh, letterbox.pad_lt, Letterbox.PAD_VALUE
        ), letterbox

    def _fit(self, frame: np.ndarray) -> Letterbox:
        frame_wh = (frame.shape[1], frame.shape[0])
        if self.backend.fixed_input_wh is not None:
            return Letterbox.fit(frame_wh, self.backend.fixed_input_wh, self.max_scale)
        return Letterbox.fit_long_side(frame_wh, self.imgsz, self.stride, self.max_scale)

    def postprocess(self, output: np.ndarray, letterbox: Letterbox) -> Detections:
        """Boxes in frame pixels from the network's output [1, ...] for one frame."""
        xyxy, score, category = decode_output(
            output,
            end2end=True if self.metadata.end2end else None,
            conf=self.threshold,
            iou=self.iou,
            max_det=self.max_det,
            only_category=self._only,
        )
        xyxy = letterbox.to_frame(xyxy)
        # A box that lies in the padding alone is clipped to a line or a point at the frame's edge.
        inside = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        image = np.zeros(int(inside.sum()), dtype=np.int32)
        return Detections(xyxy[inside], score[inside], category[inside], image, self.category_names)


def _artefact_backend(path: Path, threads: int, backend: str) -> NativeBackend | OnnxBackend:
    """What runs an artefact. ``auto`` takes the native engine where it has a plan for 8-bit activations, which it runs
    about twice as fast (``results/engine-2026-11``); float networks and what it does not know go to onnxruntime.
    """
    if backend != "onnxruntime":
        from wutdet.runtime.native_backend import NativeBackend

        try:
            native = NativeBackend(path, threads)
        except ModelError as error:
            if backend == "native":
                raise
            log.debug("%s; onnxruntime is tried", error)
        else:
            if backend == "native" or (native.takes_frames and native.program == "fused"):
                return native
    from wutdet.runtime.onnx_backend import OnnxBackend

    return OnnxBackend(path, threads)


def _frame(image: np.ndarray) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"a frame must be a NumPy array, received {type(image).__name__}",
            hint="read it with cv2.imread or wutdet.images.read_image",
        )
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise DataError(f"a frame must have shape [H, W, 3] (or [H, W], [H, W, 4]), received {image.shape}")
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"a frame must be uint8 or uint16, received {image.dtype}", hint="scale it to 0..255 uint8")
    if image.dtype == np.uint8 and image.shape[2:] == (3,) and image.strides[1:] == (3, 1):
        return image  # part of a larger picture, perhaps: rows need not lie together
    return to_bgr_u8(image)
