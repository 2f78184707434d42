"""From a TrainConfig to the settings of its parts; whatever makes no sense is refused here, before data are read."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from wutdet.config import AugmentConfig, TinyConfig, TrainConfig
from wutdet.errors import ModelError, UsageError, suggest
from wutdet.lowbit.options import number_format

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
    for name, low in (("epochs", 1), ("batch", 1), ("imgsz", 32), ("eval_every", 1), ("freeze", 0)):
        if getattr(config, name) < low:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {low}, received {getattr(config, name)}")
    if config.workers is not None and config.workers < 0:
        raise UsageError(f"--workers must be at least 0, received {config.workers}")
    if config.imgsz % 32:
        raise UsageError(f"--imgsz must be a multiple of 32, received {config.imgsz}")
    if config.frame_size is not None and config.frame_size < config.imgsz:
        raise UsageError(f"--frame-size {config.frame_size} is below --imgsz {config.imgsz}",
                         hint="crops of IMGSZ are taken out of frames of FRAME_SIZE")  # fmt: skip
    if config.max_scale is not None and not config.max_scale > 0:
        raise UsageError(f"--max-scale must be above 0, received {config.max_scale}")
    for name, value in (("mosaic", config.mosaic), ("augment.probability", config.augment.probability),
                        ("augment.crop-probability", config.augment.crop_probability),
                        ("augment.paste", config.augment.paste)):  # fmt: skip
        if not 0 <= value <= 1:
            raise UsageError(f"--{name} is a probability, received {value}")
    if config.augment.zoom is not None and not 1 <= config.augment.zoom <= 8:
        raise UsageError(f"--augment.zoom must be from 1 to 8, received {config.augment.zoom}")
    if not 0 <= config.tiny.nwd <= 1:
        raise UsageError(f"--tiny.nwd is a share, from 0 to 1, received {config.tiny.nwd}")
    if config.tiny.weight < 0:
        raise UsageError(f"--tiny.weight must be at least 0, received {config.tiny.weight}")
    for name, value in (("below", config.tiny.below), ("nwd-scale", config.tiny.nwd_scale)):
        if value is not None and value <= 0:
            raise UsageError(f"--tiny.{name} must be above 0 pixels, received {value}")
    if config.minutes is not None and config.minutes <= 0:
        raise UsageError(f"--minutes must be above 0, received {config.minutes}")
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
    if config.lr0 is not None and not 0 < config.lr0 <= 1:
        raise UsageError(f"--lr0 must be between 0 and 1, received {config.lr0}")


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
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"not a configuration of a training run ({error})", file=file) from error
    known = {f.name for f in fields(TrainConfig)}
    values = {name: value for name, value in saved.items() if name in known}
    for name in ("weights", "out"):
        values[name] = None if values.get(name) is None else Path(values[name])
    values["augment"] = AugmentConfig(**saved.get("augment", {}))
    values["tiny"] = TinyConfig(**saved.get("tiny", {}))
    values["extra"] = tuple(saved.get("extra", ()))
    return replace(TrainConfig(**values), resume=folder)


def extra_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``("box=7.5", ...)`` as typed values.

    Raises:
        UsageError: not key=value, or a setting that does nothing here.
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
        settings[key] = yaml.safe_load(text)
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
        first_plain_epoch=max(config.epochs - config.close_mosaic, 0),
        balance=config.balance,
    )
