"""Engines that ``wutdet bench --against`` times: one module each, with a function and a class.

``prepare(artefacts, frames, folder)`` gives the files that the engine runs, made from ours where it has its own format.
``Runner(file, threads, **options)`` loads one of them; ``infer(network_input)`` gives the outputs. ``VERSION_OF`` names
the packages. ``worker.py`` runs a Runner in a process of its own, ``process.py`` asks it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from wutdet.errors import UsageError, suggest

#: Ours first. Each is a module of this package.
ENGINES = ("native", "onnxruntime", "openvino", "ncnn")
RIVALS = ENGINES[1:]


@dataclass(frozen=True)
class Artefact:
    """A file of ours that is timed.

    Attributes:
        model: what the rows call it: the same for all number formats of one network.
        file: the artefact.
        number_format: ``fp32``, ``int8``, ``hif4``, ...
        imgsz_hw: height and width of the network input in pixels.
        multiplications: multiply-adds of the convolutions and matrix products of one frame.
        integer: activations are 8-bit integers, so that its products are too; 4-bit weights may have float ones.
    """

    model: str
    file: Path
    number_format: str
    imgsz_hw: tuple[int, int]
    multiplications: int
    integer: bool


@dataclass(frozen=True)
class Variant:
    """One file on one engine, or the reason why there is none.

    Attributes:
        artefact: the file of ours that it comes from.
        engine: name of the module.
        number_format: what the engine computes with, as far as the file says.
        made: how the file was made: ``artefact`` (ours as it is), or in words.
        files: what the engine loads; the first is given to ``Runner``.
        options: further arguments of ``Runner``.
        absent: why it cannot be run; empty where it can.
    """

    artefact: Artefact
    engine: str
    number_format: str
    made: str
    files: tuple[Path, ...] = ()
    absent: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def engine_module(name: str) -> ModuleType:
    """The module of an engine.

    Raises:
        UsageError: no such engine.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown engine '{name}'.{suggest(name, ENGINES)}", hint=f"known: {', '.join(ENGINES)}")
    return importlib.import_module(f"{__name__}.{name}")


def missing_package(names: Sequence[str]) -> str:
    """A sentence on the first package that is not installed; empty where all are."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            return f"the package '{name}' is not installed (pip install {name})"
    return ""


def version_of(package: str) -> str:
    """The installed version of a package; empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def float_parent(artefact: Artefact, artefacts: Sequence[Artefact]) -> Artefact | None:
    """The float32 artefact of the same network and input size."""
    for other in artefacts:
        if other.number_format == "fp32" and (other.model, other.imgsz_hw) == (artefact.model, artefact.imgsz_hw):
            return other
    return None
