"""AP of a file on an engine, by the evaluator of ``wutdet eval``: what is timed must also be right."""

from __future__ import annotations

import logging
import os

import numpy as np

from wutdet.bench.engines import Variant, engine_module

log = logging.getLogger(__name__)


class _Backend:
    """A Runner in the place of a detector's backend."""

    batch = 1

    def __init__(self, variant: Variant, own):
        self.name, self.metadata, self.fixed_input_wh = variant.engine, own.metadata, own.fixed_input_wh
        self._runner = engine_module(variant.engine).Runner(variant.files[0], os.cpu_count() or 1, **variant.options)

    def infer(self, images: np.ndarray) -> np.ndarray:
        """The detector's output of float32 [1, 3, H, W]; a copy, for some engines use their memory again."""
        return np.array(self._runner.infer(images)[0])


def average_precision(variant: Variant, data: str) -> float | None:
    """AP (0..1) on the data set's validation split, or on all of it where it has none; scores from 0.001 up, 100 boxes
    a frame. ``None`` without ships.

    Raises:
        DataError: a frame cannot be read, or the categories do not fit.
    """
    from wutdet.dataset.load import load_dataset
    from wutdet.evaluation.model import evaluate_model
    from wutdet.runtime.detector import Detector

    dataset = load_dataset(data)
    if (np.asarray(dataset.split.codes) >= 0).any():
        dataset = dataset.in_split("val")
    detector = Detector(variant.artefact.file, backend="onnxruntime", conf=0.001, max_det=100)
    detector.backend = _Backend(variant, detector.backend)
    log.info("%s, %s: scoring %d frames", variant.engine, variant.number_format, len(dataset))
    return evaluate_model(detector, dataset)[1].stats["AP"]
