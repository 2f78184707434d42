"""wutdet's own engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wutdet.bench.engines import Artefact, Variant

VERSION_OF = ("wutdet",)


def prepare(artefacts: Sequence[Artefact], frames: Sequence[np.ndarray], folder: Path) -> list[Variant]:
    """Every artefact as it is."""
    return [Variant(one, "native", one.number_format, "artefact", (one.file,)) for one in artefacts]


class Runner:
    """One file on the native engine.

    Attributes:
        about: which program and which kernels run it.
    """

    def __init__(self, file: Path, threads: int):
        from wutdet._kernels import Engine

        self.engine = Engine(file.read_bytes(), threads)
        self.about = f"{self.engine.program} {self.engine.isa}".strip()

    def infer(self, network_input: np.ndarray) -> list[np.ndarray]:
        """Outputs of float32 [1, 3, H, W]."""
        return self.engine.run([network_input])

    def layers(self, network_input: np.ndarray) -> list[tuple[str, str, str, int, float]]:
        """Name, kind, shape, multiply-adds and seconds of every step of one run; empty where it has no steps."""
        return self.engine.layers([network_input]) if self.engine.program == "fused" else []
