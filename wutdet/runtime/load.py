"""Detectors as the command line makes them: with the tiles that a model asks for."""

from __future__ import annotations

from pathlib import Path

from wutdet.runtime.detector import Detector
from wutdet.runtime.saved_policy import choice_for
from wutdet.runtime.tiling import TiledDetector


def load_detector(
    model: str | Path = "default", *, tile: str | int = "saved", tile_overlap: float = 0.2, **options
) -> Detector | TiledDetector:
    """The detector of a model, on tiles unless there are none to look at.

    Without ``conf``, the score threshold is the one that was measured with the saved policy, else the model's own.

    Args:
        model: file, released name, or ``default``.
        tile: ``saved`` (as ``wutdet bench tiling`` chose for the model, else none), ``none``, ``3x2``,
            ``horizon@1+2``, ... as ``--tile`` takes it (``docs/tiling.md``).
        tile_overlap: share of a tile that neighbours have in common, where the policy does not say.
        options: keyword arguments of ``Detector``.

    Raises:
        ModelError: the model cannot be found or read.
        UsageError: options, a tile or an overlap that cannot be.
        DataError: a policy file that cannot be read.

    Example:
        >>> detector = wutdet.load_detector(threads=1)              # doctest: +SKIP
        >>> detector(cv2.imread("harbour.jpg")).xyxy                # doctest: +SKIP
    """
    detector = Detector(model, **options)
    choice = choice_for(tile, tile_overlap, detector)
    if options.get("conf") is None and choice.threshold is not None:
        detector.threshold = float(choice.threshold)
    return detector if choice.policy.kind == "none" else TiledDetector(detector, choice.policy)
