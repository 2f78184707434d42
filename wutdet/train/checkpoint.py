"""Checkpoints: one file that ultralytics loads, and that also holds what a killed run needs to go on.

``best.pt`` holds the averaged model: convolution weights in float16, the rest (batch norm statistics among them) in
float32. ``last.pt`` holds the same and, under the key ``resume``, the float32 weights, the optimiser and the counters.
Under ``wutdet`` both say what they are (input size, architecture, training data). Both are written to a temporary file
first and then renamed, so a kill leaves the one before.
"""

from __future__ import annotations

import io
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from wutdet import __version__
from wutdet.errors import ModelError
from wutdet.files import write_bytes
from wutdet.quantize.aware import LowBitConv2d, make_plain
from wutdet.runtime.offline import import_ultralytics

STATE_VERSION = 1


def compact(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode with float16 convolution weights and no training-only parts."""
    criterion, model.criterion = getattr(model, "criterion", None), None
    try:
        copy = deepcopy(model).eval().to("cpu")
    finally:
        model.criterion = criterion
    for module in copy.modules():
        # Master weights of low-bit layers stay as they are: float16 would move some across a rounding threshold.
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and not isinstance(module, LowBitConv2d):
            module.weight.data = module.weight.data.half()
    make_plain(copy)
    for parameter in copy.parameters():
        parameter.requires_grad_(False)
    return copy


def to_bytes(model: nn.Module, facts: dict, state: dict | None = None) -> bytes:
    """A checkpoint of ``model``.

    Args:
        model: the averaged model.
        facts: plain values shown to whoever opens the file (``epoch``, ``train_args``, ``train_metrics`` ...).
        state: what resuming needs; see the module docstring.
    """
    buffer = io.BytesIO()
    small = compact(model)
    content = {
        **facts,
        # ultralytics takes "ema" before "model"; a finished file has it as "model", as its own have.
        "model": None if state is not None else small,
        "ema": small if state is not None else None,
        "optimizer": None,
        "version": import_ultralytics().__version__,
        "wutdet_version": __version__,
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if state is not None:
        content["resume"] = {"schema": STATE_VERSION, **state}
    torch.save(content, buffer)
    return buffer.getvalue()


def save(file: Path, model: nn.Module, facts: dict, state: dict | None = None) -> None:
    """Writes a checkpoint atomically; see to_bytes."""
    write_bytes(file, to_bytes(model, facts, state))


def load(file: Path) -> dict:
    """The content of a .pt file. Only tensors and known model classes are rebuilt: a stranger's file runs no code.

    Raises:
        ModelError: not a checkpoint that can be read.
    """
    import_ultralytics()
    from ultralytics.nn.tasks import torch_safe_load

    try:
        content, _ = torch_safe_load(str(Path(file).resolve()), safe_only=True)
    # What unpickling a foreign file raises depends on its bytes; all of it means the same to the user.
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [repr(error)])[0]
        raise ModelError(f"not a checkpoint that can be read ({first_line})", file=file) from error
    if not isinstance(content, dict):
        raise ModelError(f"not a checkpoint: it holds a {type(content).__name__}", file=file)
    return content


def load_state(file: Path) -> dict:
    """What resuming needs out of ``last.pt``, with the model skeleton under ``"module"``.

    Raises:
        ModelError: no such file, or not a checkpoint that a run can continue from.
    """
    if not file.is_file():
        raise ModelError(
            "there is no checkpoint to continue from: the run stopped before its first epoch ended",
            file=file,
            hint="start the run again without --resume",
        )
    content = load(file)
    state = content.get("resume")
    if not state:
        raise ModelError(
            "this run is finished: its last checkpoint holds no optimiser state",
            file=file,
            hint="train further from it with --model RUN/weights/best.pt",
        )
    if state["schema"] != STATE_VERSION:
        raise ModelError(f"checkpoint state version {state['schema']}, this program reads {STATE_VERSION}", file=file)
    return {**state, "module": (content["ema"] or content["model"]).float()}


def drop_state(file: Path) -> None:
    """Rewrites a finished run's ``last.pt`` without the optimiser state: a tenth of the size, and not resumable."""
    content = load(file)
    if content.pop("resume", None) is None:
        return
    content["model"], content["ema"] = content["ema"] or content["model"], None
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(file, buffer.getvalue())
