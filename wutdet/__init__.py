"""wutdet: ship detection from annotated camera frames to a low-bit detector on the boat's own computer.

Importing this is cheap; each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

# public name -> module that defines it
_PUBLIC = {
    "Dataset": "wutdet.dataset.dataset",
    "load_dataset": "wutdet.dataset.load",
    "Detections": "wutdet.detections",
    "Detector": "wutdet.runtime.detector",
    "load_detector": "wutdet.runtime.load",
    "evaluate": "wutdet.evaluation.coco",
    "WutdetError": "wutdet.errors",
}

# public name -> the subpackage it is
_ROOMS = {"lowbit": "wutdet.lowbit"}

__all__ = [*_PUBLIC, *_ROOMS, "__version__"]


def __getattr__(name: str):
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(_ROOMS[name])
    raise AttributeError(f"module 'wutdet' has no attribute '{name}'")


def __dir__():
    return sorted(__all__)
