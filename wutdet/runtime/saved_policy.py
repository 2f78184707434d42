"""The tile policy that was measured to be best for a model: where it is kept, and ``--tile`` as typed.

``wutdet bench tiling`` writes ``ship.tiling.json`` beside ``ship.onnx``; an artefact's metadata may hold the same
choice under ``tiling``. The file counts first: it is newer and was made on this machine.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wutdet.errors import DataError
from wutdet.runtime.tile_policy import TilePolicy

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector

log = logging.getLogger(__name__)

SCHEMA = "wutdet.tiling/1"
#: The word for what is saved with the model, and nothing where nothing is.
SAVED = "saved"


def policy_file(model: Path) -> Path:
    """Where the policy of a model's file is kept: beside it."""
    return model.with_suffix(".tiling.json")


def read_policy(file: Path) -> TilePolicy:
    """The policy that a file of ``wutdet bench tiling`` chose.

    Raises:
        DataError: no such file, or another kind of file.
        UsageError: a policy that makes no sense.
    """
    hint = "'wutdet bench tiling MODEL DATA' writes such files"
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"the tile policy cannot be read ({error.strerror})", file=file, hint=hint) from error
    except ValueError as error:
        raise DataError(f"not a tile policy: {error}", file=file, hint=hint) from error
    chosen = content.get("chosen") if isinstance(content, dict) and content.get("schema") == SCHEMA else None
    return _policy_of(chosen, file)


def _policy_of(chosen, file: Path) -> TilePolicy:
    if not isinstance(chosen, Mapping) or not {"policy", "overlap"} <= set(chosen):
        raise DataError(
            "not a tile policy: expected 'policy' and 'overlap' in what was chosen",
            file=file,
            hint="'wutdet bench tiling MODEL DATA' writes such files",
        )
    return TilePolicy.parse(chosen["policy"], float(chosen["overlap"]))


def policy_for(text: str | int, overlap: float, detector: Detector) -> TilePolicy:
    """What ``--tile TEXT`` means for a detector: a policy as written, the one saved in a file, or for ``saved`` and
    ``auto`` the one saved with the model, if there is one; without one, ``saved`` looks at whole frames only.

    Raises:
        DataError: a policy file that cannot be read.
        UsageError: not a policy.
    """
    if str(text).endswith(".json"):
        return read_policy(Path(text))
    only_saved = str(text).strip().lower() == SAVED
    policy = TilePolicy.parse("none" if only_saved else text, overlap)
    if not (only_saved or policy.kind == "auto") or getattr(detector, "path", None) is None:
        return policy
    file = policy_file(detector.path)
    if file.is_file():
        saved, place = read_policy(file), str(file)
    elif getattr(detector.metadata, "tiling", None):
        saved, place = _policy_of(detector.metadata.tiling, detector.path), "the artefact's metadata"
    elif only_saved:
        return policy
    else:
        log.info("tiles: no measured policy for %s ('wutdet bench tiling' makes one); chosen by the frame's size",
                 detector.path.name)  # fmt: skip
        return policy
    log.info("tiles: %s, overlap %g, from %s", saved, saved.overlap, place)
    return saved
