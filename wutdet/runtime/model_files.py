"""MODEL on the command line: a file, a released artefact's name, or ``default``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from wutdet.errors import ModelError, suggest

#: File name endings and what they are.
ARTEFACT_SUFFIXES = (".onnx",)
CHECKPOINT_SUFFIXES = (".pt", ".safetensors")

#: The released artefact that is taken where no model is named.
DEFAULT = "ship-n.int8"

_MAKE_ONE = "make one with 'wutdet export CHECKPOINT -o ship.onnx' and name that file"


def released_artefacts() -> dict[str, Path]:
    """Artefacts installed with wutdet (package data in ``wutdet/released``), by name without ``.onnx``."""
    folder = resources.files("wutdet").joinpath("released")
    if not folder.is_dir():
        return {}
    return {Path(f.name).stem: Path(str(f)) for f in folder.iterdir() if f.name.endswith(".onnx")}


def find_model(model: str | Path) -> Path:
    """The model file that a name means.

    ``default`` is the released artefact ``DEFAULT``, or the only released artefact there is.

    Raises:
        ModelError: no such file or released name, or a file that is neither a checkpoint nor an artefact.
    """
    path, name = Path(model), str(model)
    if path.is_file():
        if path.suffix.lower() in ARTEFACT_SUFFIXES + CHECKPOINT_SUFFIXES:
            return path
        raise ModelError(
            f"'{path.suffix or 'no ending'}' is no model format that wutdet reads",
            file=path,
            hint="artefacts end in .onnx, checkpoints in .pt, state dicts in .safetensors",
        )
    released = released_artefacts()
    if name in released:
        return released[name]
    if name == "default":
        if DEFAULT in released:
            return released[DEFAULT]
        if len(released) == 1:
            return next(iter(released.values()))
        have = ", ".join(sorted(released))
        raise ModelError(
            f"no default artefact is installed with this wutdet{f' (released: {have})' if have else ''}",
            hint=f"name one of them with --model, or {_MAKE_ONE}" if have else _MAKE_ONE,
        )
    if path.is_dir():
        raise ModelError("this is a folder, not a model file", file=path, hint="name best.pt or the .onnx file in it")
    looks_like_a_file = path.suffix or path.parent != Path(".")
    siblings = [str(p) for p in path.parent.glob("*") if p.suffix in ARTEFACT_SUFFIXES + CHECKPOINT_SUFFIXES]
    raise ModelError(
        f"no such model{' file' if looks_like_a_file else ''}: '{model}'.{suggest(name, [*released, *siblings])}",
        hint=_MAKE_ONE,
    )
