"""Where ``wutdet bench tiling`` leaves its choice: a file beside the model, and an artefact's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wutdet.errors import UsageError
from wutdet.files import write_bytes
from wutdet.runtime.metadata import encode
from wutdet.runtime.model_digest import split_metadata
from wutdet.runtime.model_files import ARTEFACT_SUFFIXES, find_model, released_artefacts
from wutdet.runtime.saved_policy import policy_file


def place_of_choice(model: Path, folder: Path) -> Path:
    """Beside the model, where ``--tile saved`` finds it; what is tried with an installed model stays in ``folder``."""
    beside = policy_file(model)
    return folder / beside.name if model in released_artefacts().values() else beside


def refuse_embedding(model: str) -> None:
    """Refuses models that ``embed_choice`` could not or should not write into.

    Raises:
        UsageError: not an artefact, or a file of the installed package.
        ModelError: there is no such model.
    """
    found = find_model(model)
    if not Path(model).is_file():
        raise UsageError(
            f"--embed would write into '{found.name}', a file of the installed package, which the next installation "
            "replaces",
            file=found,
            hint="copy that file and name the copy as MODEL, or leave --embed out",
        )
    _refuse_other_than_artefacts(found)


def _refuse_other_than_artefacts(file: Path) -> None:
    if file.suffix.lower() not in ARTEFACT_SUFFIXES:
        raise UsageError(f"--embed writes into artefacts (.onnx), received '{file.name}'", hint="leave --embed out")


def embed_choice(artefact: Path, chosen: Mapping) -> None:
    """Writes the policy, its overlap and the score threshold that goes with it into an artefact's metadata.

    Tiles find more of everything, and of what is no ship too, than the whole frames that an export chose its threshold
    on. All else in the file stays as it is, byte for byte, and so does its ``model_digest``.

    Raises:
        UsageError: not an artefact.
        ModelError: an artefact by name only.
    """
    _refuse_other_than_artefacts(artefact)
    import onnx

    network, metadata = split_metadata(artefact.read_bytes(), artefact)
    entries = {"tiling": {"policy": chosen["policy"], "overlap": chosen["overlap"]}}
    if chosen.get("threshold") is not None:
        entries["threshold"] = round(chosen["threshold"], 4)
    props = onnx.load_model_from_string(metadata).metadata_props
    kept = [entry for entry in props if entry.key not in entries]
    new = [onnx.StringStringEntryProto(key=key, value=encode(value)) for key, value in entries.items()]
    write_bytes(artefact, network + onnx.ModelProto(metadata_props=[*kept, *new]).SerializeToString())
