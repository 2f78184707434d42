"""Timing detectors side by side: interleaved, with reading left out and pre- and post-processing told apart."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.runtime.detector import Detector


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one detector, one value per timed run.

    Attributes:
        pre_ms: letterbox and conversion to network input.
        net_ms: the network.
        post_ms: decoding, NMS, boxes to frame pixels.
    """

    pre_ms: np.ndarray
    net_ms: np.ndarray
    post_ms: np.ndarray

    @property
    def total_ms(self) -> np.ndarray:
        """From pixels to boxes."""
        return self.pre_ms + self.net_ms + self.post_ms

    def to_json(self) -> dict:
        """Medians of each part, median and 95th percentile of the total."""
        return {
            "median_ms": _round(np.median(self.total_ms)),
            "p95_ms": _round(np.percentile(self.total_ms, 95)),
            "min_ms": _round(self.total_ms.min()),
            "pre_ms": _round(np.median(self.pre_ms)),
            "net_ms": _round(np.median(self.net_ms)),
            "post_ms": _round(np.median(self.post_ms)),
            "runs": len(self.net_ms),
        }


def time_detectors(detectors: Sequence[Detector], frames: Sequence[np.ndarray], runs: int, warmup: int) -> list[Timing]:
    """Runs the detectors in turn, so that a busy or hot machine slows all of them alike.

    Args:
        detectors: to compare.
        frames: uint8 [H, W, 3] BGR; run r takes frame r modulo their number, the same for all.
        runs: timed runs of each.
        warmup: untimed runs of each, first.
    """
    parts = np.zeros((len(detectors), runs, 3))
    for run in range(-warmup, runs):
        frame = frames[run % len(frames)]
        for index, detector in enumerate(detectors):
            start = time.perf_counter()
            network_input, letterbox = detector.preprocess(frame)
            ready = time.perf_counter()
            output = detector.backend.infer(network_input)
            done = time.perf_counter()
            detector.postprocess(output, letterbox)
            end = time.perf_counter()
            if run >= 0:
                parts[index, run] = (ready - start, done - ready, end - done)
    return [Timing(*(one * 1000).T) for one in parts]


def machine() -> dict:
    """What the figures depend on: processor, cores, memory, system, versions, load."""
    import cv2
    import onnxruntime

    import wutdet

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {
        "cpu": _cpu_model(),
        "cores": cores,
        "instructions": _instructions(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "wutdet": wutdet.__version__,
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
    if hasattr(os, "getloadavg"):
        facts["load_1min_before"] = round(os.getloadavg()[0], 2)
    return facts


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith(("model name", "Model", "Hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _instructions() -> list[str]:
    """The instruction sets that decide how fast int8 is."""
    info = Path("/proc/cpuinfo")
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
    words = set(info.read_text("utf-8", "replace").split()) if info.exists() else set()
    return [name for name in known if name in words]


def _round(value: float) -> float:
    return round(float(value), 3)
