"""From a TrainConfig to the settings of its parts; whatever makes no sense is refused here, before data are read."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from wutdet.config import AugmentConfig, TinyConfig, TrainConfig
from wutdet.errors import ModelError, UsageError, suggest
from wutdet.lowbit.options import number_format
from wutdet.train.ranges import check_ranges
from wutdet.train.records import check_run_folder

_log = logging.getLogger(__name__)

#: Names that --optimizer takes: those of ultralytics' trainer.
OPTIMIZERS = ("auto", "AdamW", "SGD", "MuSGD", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop")
#: ultralytics settings that --extra takes: those that do something here. Its augmentations are not used.
EXTRA = {
    "box", "cls", "dfl", "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "lrf", "nbs",
    "multi_scale", "deterministic", "compile", "channels_last",
}  # fmt: skip


def check(config: TrainConfig) -> None:
    """Refuses settings that make no sense, before anything is read.

    Raises:
        UsageError: says which and why.
    """
    if config.data is None:
        raise UsageError(
            "train needs DATA", hint="wutdet train DATA, or wutdet train --resume FOLDER for a run that was stopped"
        )
    check_ranges(config)
    if config.imgsz % 32:
        raise UsageError(f"--imgsz must be a multiple of 32, received {config.imgsz}")
    if config.frame_size is not None and config.frame_size < config.imgsz:
        raise UsageError(f"--frame-size {config.frame_size} is below --imgsz {config.imgsz}",
                         hint="crops of IMGSZ are taken out of frames of FRAME_SIZE")  # fmt: skip
    if config.optimizer not in OPTIMIZERS:
        raise UsageError(
            f"unknown optimizer '{config.optimizer}'.{suggest(config.optimizer, OPTIMIZERS)}",
            hint=f"known: {', '.join(OPTIMIZERS)}",
        )
    extra_settings(config.extra)
    if config.quantize is not None:
        format, _ = number_format(config.quantize)
        if format == "hif8":
            raise UsageError("--quantize hif8 has no artefact to train for", hint="use int8")
    if config.quantize_inputs and (config.quantize is None or format in ("int8", "int4")):
        raise UsageError(
            f"--quantize-inputs goes with a block format, received --quantize {config.quantize}",
            hint="--quantize hif4, mxfp4 or nvfp4",
        )
    if config.resume is None:
        check_run_folder(Path(config.out))


def check_model(config: TrainConfig, model) -> None:
    """Refuses settings that do not fit the model, before the run folder is made.

    Args:
        config: settings that ``check`` found sensible.
        model: an ultralytics detection model.

    Raises:
        UsageError: says which and why.
    """
    stride = max(int(model.stride.max()), 32)
    if config.imgsz % stride:
        raise UsageError(
            f"--imgsz must be a multiple of {stride}, the largest stride of {config.model}, received {config.imgsz}",
            hint=f"for example --imgsz {-(-config.imgsz // stride) * stride}",
        )
    if config.freeze >= len(model.model):
        raise UsageError(
            f"--freeze {config.freeze} leaves nothing to train: {config.model} has {len(model.model)} layers",
            hint=f"at most {len(model.model) - 1}, which trains the head alone",
        )


def eval_size(config: TrainConfig) -> int:
    """Long side of validation frames in pixels of the network input."""
    return config.frame_size or config.imgsz


def resumed_config(folder: Path) -> TrainConfig:
    """The configuration that a run was started with.

    Raises:
        ModelError: not a run folder.
    """
    file = folder / "config.json"
    try:
        saved = json.loads(file.read_text("utf-8"))["train"]
    except OSError as error:
        raise ModelError(
            f"not a run folder ({error.strerror})",
            file=file,
            hint="name the folder that a training run wrote, e.g. runs/train",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"not a configuration of a training run ({error})", file=file) from error
    unknown: list[str] = []
    values = _known(TrainConfig, saved, file, "", unknown)
    for name, kind in (("augment", AugmentConfig), ("tiny", TinyConfig)):
        values[name] = kind(**_known(kind, values.get(name, {}), file, f"{name}.", unknown))
    if unknown:
        _log.warning("%s: this version does not know, and goes on without: %s", file, ", ".join(unknown))
    for name in ("weights", "out"):
        values[name] = None if values.get(name) is None else Path(values[name])
    values["extra"] = tuple(values.get("extra", ()))
    if "data" not in values:
        raise ModelError("not a configuration of a training run ('data' is missing)", file=file)
    return replace(TrainConfig(**values), resume=folder)


def _known(kind: type, saved: Any, file: Path, prefix: str, unknown: list[str]) -> dict[str, Any]:
    """The saved values whose names are fields of ``kind``; the other names are added to ``unknown``."""
    if not isinstance(saved, dict):
        where = f" in '{prefix[:-1]}'" if prefix else ""
        raise ModelError(
            f"not a configuration of a training run (expected an object{where}, found {saved!r})", file=file
        )
    names = {f.name for f in fields(kind)}
    unknown += [prefix + name for name in saved if name not in names]
    return {name: value for name, value in saved.items() if name in names}


def extra_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``("box=7.5", ...)`` as typed values.

    Raises:
        UsageError: not key=value, a setting that does nothing here, or a number below its range.
    """
    import yaml

    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--extra '{pair}' is not key=value", hint="for example --extra box=7.5 cls=0.7")
        if key not in EXTRA:
            raise UsageError(
                f"--extra does not take '{key}'.{suggest(key, EXTRA)}", hint=f"it takes: {', '.join(sorted(EXTRA))}"
            )
        settings[key] = value = yaml.safe_load(text)
        low = 1 if key == "nbs" else 0
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= low):
            raise UsageError(f"--extra {key} must be a finite number of at least {low}, received {value}")
    return settings


def ultralytics_device(device: str) -> str:
    """``cpu`` or the number of a GPU, from ``auto``, ``cpu``, ``0``, ``cuda:0``.

    Raises:
        UsageError: several GPUs, or a GPU where there is none.
    """
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if "," in device:
        raise UsageError(f"--device {device}: training runs on one device", hint="name one, for example 0")
    if device != "cpu" and not torch.cuda.is_available() and device != "mps":
        raise UsageError(f"--device {device}: torch sees no GPU here", hint="leave --device out, or use cpu")
    return f"cuda:{device}" if device.isdigit() else device


def worker_count(config: TrainConfig, device: str) -> int:
    """Processes that load pictures."""
    return config.workers if config.workers is not None else 0 if device == "cpu" else 4


def ultralytics_settings(config: TrainConfig, frame_count: int) -> dict[str, Any]:
    """Our configuration in the words of ultralytics' trainer.

    Raises:
        UsageError: see extra_settings, ultralytics_device; a value of the wrong type.
    """
    from ultralytics.cfg import get_cfg

    steps = -(-frame_count // config.batch) * config.epochs
    optimizer = config.optimizer if config.optimizer != "auto" else "AdamW" if steps <= 10_000 else "SGD"
    adaptive = optimizer.lower() not in ("sgd", "musgd")
    pretrained = config.weights is not None or Path(config.model).suffix == ".pt"
    lr0 = config.lr0
    if lr0 is None:
        lr0 = (0.0002 if pretrained else 0.002) if adaptive else (0.002 if pretrained else 0.01)
    device = ultralytics_device(config.device)
    settings = {
        "task": "detect",
        "mode": "train",
        "data": str(config.data),
        "epochs": config.epochs,
        "imgsz": config.imgsz,
        "batch": config.batch,
        "nbs": config.batch,  # one optimiser step per batch: short runs cannot afford to wait for 64 pictures
        "device": device.removeprefix("cuda:"),
        "workers": worker_count(config, device),
        "seed": config.seed,
        "patience": config.patience,
        "optimizer": optimizer,
        "lr0": lr0,
        "lrf": 0.02,
        "momentum": 0.9 if adaptive else 0.937,
        "warmup_epochs": min(3.0, max(1.0, 0.08 * config.epochs)),
        "warmup_bias_lr": 0.0,
        "close_mosaic": 0,  # our pictures know the epoch themselves
        "freeze": config.freeze or None,
        # True would fetch a model to test with; on a CPU the trainer itself casts (compute_in_bf16).
        "amp": "bf16" if device.startswith("cuda") and config.precision != "fp32" else False,
        "pretrained": False,
        "plots": False,
        "exist_ok": True,
        "verbose": False,
        **extra_settings(config.extra),
    }
    try:
        get_cfg(overrides=settings)
    except (SyntaxError, TypeError, ValueError) as error:
        raise UsageError(f"ultralytics refuses a setting: {error}") from error
    return settings


def picture_settings(config: TrainConfig):
    """How training pictures are made."""
    from wutdet.train.frames import PictureSettings

    return PictureSettings(
        imgsz=config.imgsz,
        frame_size=config.frame_size,
        max_scale=config.max_scale,
        augment=config.augment,
        seed=config.seed,
        whole_frames=config.whole_frames,
        mosaic=config.mosaic,
        balance=config.balance,
    )
