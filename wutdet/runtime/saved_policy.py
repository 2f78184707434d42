"""The tile policy that was measured to be best for a model: where it is kept, and ``--tile`` as typed.

``wutdet bench tiling`` writes ``ship.tiling.json`` beside ``ship.onnx``; an artefact's metadata may hold the same
choice under ``tiling``. The file counts first: it is newer and was made on this machine. It counts only for the model
that it says it was measured with: names stay when a model is trained or exported again, and ``best.pt`` and
``best.onnx`` share one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wutdet.errors import DataError, ModelError, UsageError
from wutdet.runtime.model_digest import model_digest
from wutdet.runtime.tile_policy import InputView, TilePolicy

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector

log = logging.getLogger(__name__)

SCHEMA = "wutdet.tiling/1"
#: The word for what is saved with the model, and nothing where nothing is.
SAVED = "saved"
#: What the model of a policy file must have in common with the one in use; where the file is older than digests, the
#: rest of what it says of its model.
_MUST_AGREE = ("model_digest", "input")
_MUST_AGREE_WITHOUT_DIGEST = ("made", "format", "input")


def policy_file(model: Path) -> Path:
    """Where the policy of a model's file is kept: beside it."""
    return model.with_suffix(".tiling.json")


def model_facts(detector: Detector) -> dict[str, str]:
    """What a policy file says of the model that it was measured with.

    Returns:
        file (name without folder), model_digest, made (date of the export; empty for checkpoints), format (of the
        weights), input (width x height in pixels).

    Raises:
        ModelError: the file cannot be read.
    """
    view = InputView.of(detector)
    return {
        "file": detector.path.name,
        "model_digest": model_digest(detector.path),
        "made": detector.metadata.date,
        "format": detector.metadata.weight_format,
        "input": f"{view.width}x{view.height}",
    }


@dataclass(frozen=True)
class Choice:
    """What to look at, and from which score on that is best believed.

    Attributes:
        policy: the tiles.
        threshold: the score with the best F1 under this policy; ``None`` where nobody measured it.
    """

    policy: TilePolicy
    threshold: float | None = None


def read_choice(file: Path) -> Choice:
    """What a file of ``wutdet bench tiling`` chose, whatever model it was measured with.

    Raises:
        DataError: no such file, another kind of file, or a policy or threshold that makes no sense.
    """
    return _choice_of(_content(file).get("chosen"), file)


def _choice_of(chosen, file: Path) -> Choice:
    policy, threshold = _policy_of(chosen, file, DataError), chosen.get("threshold")
    if threshold is not None and (
        isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold < 1
    ):
        raise DataError(f"the threshold of a tile policy must be in 0..1, found {threshold!r}", file=file)
    return Choice(policy, threshold)


def _content(file: Path) -> Mapping:
    hint = "'wutdet bench tiling MODEL DATA' writes such files"
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"the tile policy cannot be read ({error.strerror})", file=file, hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a tile policy: {error}", file=file, hint=hint) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DataError(f"not a tile policy: expected a JSON object with the schema {SCHEMA}", file=file, hint=hint)
    return content


def _policy_of(chosen, file: Path, error: type[DataError | ModelError]) -> TilePolicy:
    known = chosen if isinstance(chosen, Mapping) else {}
    policy, overlap = known.get("policy"), known.get("overlap")
    if not isinstance(policy, str | int) or not isinstance(overlap, int | float) or isinstance(overlap, bool):
        reason = f"expected 'policy', a text, and 'overlap', a number, in what was chosen, found {str(chosen)[:100]}"
    else:
        try:
            return TilePolicy.parse(policy, overlap)
        except (UsageError, ValueError) as problem:
            reason = str(problem).splitlines()[0]
    raise error(
        f"not a tile policy: {reason}",
        file=file,
        hint="'wutdet bench tiling MODEL DATA' makes one; --tile none looks at whole frames only",
    )


def _choice_beside(file: Path, detector: Detector) -> Choice | None:
    """What the file beside a model chose, if it was measured with this model."""
    content = _content(file)
    said, own = content.get("protocol"), model_facts(detector)
    said = said if isinstance(said, Mapping) else {}
    keys = _MUST_AGREE if "model_digest" in said else _MUST_AGREE_WITHOUT_DIGEST
    others = [key for key in keys if key in said and said[key] != own[key]]
    again = f"'wutdet bench tiling {detector.path} DATA' measures it for this one"
    if others:
        differences = ", ".join(f"{key.replace('_', ' ')} {said[key]!r}, here {own[key]!r}" for key in others)
        _warn_once(f"{file}: measured for another model ({differences}) and not used; {again}")
        return None
    if "model_digest" not in said:
        _warn_once(f"{file}: used, though it is too old to say for which model exactly it was measured; {again}")
    return _choice_of(content.get("chosen"), file)


@cache
def _warn_once(text: str) -> None:
    log.warning("%s", text)


def choice_for(text: str | int, overlap: float, detector: Detector) -> Choice:
    """What ``--tile TEXT`` means for a detector: a policy as written, the one saved in a file, or for ``saved`` and
    ``auto`` the one saved with the model, if there is one; without one, ``saved`` looks at whole frames only.

    A file beside the model that was measured with another model or another input size is not used; a warning says so.
    The threshold that a policy was measured with comes from its file; an artefact's own goes with its own policy.

    Raises:
        DataError: a policy file that cannot be read.
        ModelError: the artefact's metadata holds something else than a policy.
        UsageError: not a policy.
    """
    if str(text).endswith(".json"):
        return read_choice(Path(text))
    only_saved = str(text).strip().lower() == SAVED
    policy = TilePolicy.parse("none" if only_saved else text, overlap)
    if not (only_saved or policy.kind == "auto") or getattr(detector, "path", None) is None:
        return Choice(policy)
    file = policy_file(detector.path)
    saved, place = _choice_beside(file, detector) if file.is_file() else None, str(file)
    if saved is None and getattr(detector.metadata, "tiling", None):
        saved = Choice(_policy_of(detector.metadata.tiling, detector.path, ModelError))
        place = "the artefact's metadata"
    if saved is None:
        if not only_saved:
            log.info("tiles: no measured policy for %s ('wutdet bench tiling' makes one); chosen by the frame's size",
                     detector.path.name)  # fmt: skip
        return Choice(policy)
    log.info("tiles: %s, overlap %g, from %s", saved.policy, saved.policy.overlap, place)
    return saved
