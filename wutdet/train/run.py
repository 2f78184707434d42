"""``wutdet train``: from a configuration to a run folder with a trained, scored model."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wutdet.config import TrainConfig, to_json
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError
from wutdet.files import write_json
from wutdet.lowbit.options import number_format
from wutdet.runtime.offline import import_ultralytics
from wutdet.train.records import MetricsLog, new_run_folder, record_environment
from wutdet.train.settings import (
    check,
    check_model,
    eval_size,
    picture_settings,
    resumed_config,
    ultralytics_settings,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    Attributes:
        folder: the run folder.
        epochs: epochs done, those before a resume included.
        seconds: wall time of this process.
        stats: the 12 COCO statistics of best.pt on the validation frames.
        best_epoch: 1-based epoch that best.pt is from.
    """

    folder: Path
    epochs: int
    seconds: float
    stats: Mapping[str, float | None]
    best_epoch: int

    @property
    def best(self) -> Path:
        return self.folder / "weights" / "best.pt"

    def to_text(self) -> str:
        def figure(key: str) -> str:
            value = self.stats.get(key)
            return "none" if value is None else f"{value:.3f}"

        return (
            f"best of {self.epochs} epochs: epoch {self.best_epoch}, AP {figure('AP')}, AP50 {figure('AP50')}, "
            f"AP small {figure('APs')} ({self.seconds / 60:.1f} min)\n{self.best}"
        )

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.train/1",
            "run": str(self.folder),
            "best": str(self.best),
            "last": str(self.folder / "weights" / "last.pt"),
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "seconds": round(self.seconds, 2),
            "stats": dict(self.stats),
        }


def run(config: TrainConfig) -> TrainResult:
    """Trains a detector.

    Raises:
        DataError: data that cannot be read, an empty split, no validation frames.
        ModelError: unknown architecture, missing or foreign weights, nothing to resume.
        UsageError: settings that make no sense.
        MissingExtraError: the extra ``train`` is not installed.
    """
    started = time.monotonic()
    state = None
    folder = config.resume
    if folder is not None:
        config = resumed_config(Path(folder))
    check(config)
    train, val = training_frames(config), validation_frames(config)
    import_ultralytics()
    import torch

    from wutdet.train import checkpoint
    from wutdet.train.architecture import build

    settings = ultralytics_settings(config, len(train))
    if folder is not None:
        folder = Path(folder)
        state = checkpoint.load_state(folder / "weights" / "last.pt")
        MetricsLog(folder / "metrics.jsonl").keep_until(state["epoch"])
        model = state.pop("module").train()
        _log.info("continuing %s after epoch %d of %d", folder, state["epoch"], config.epochs)
    else:
        torch.manual_seed(config.seed)
        model = build(config.model, config.weights, train.category_names, config.activation)
        check_model(config, model)
        folder = new_run_folder(config.out)
        write_json(folder / "config.json", {"schema": "wutdet.config/1", "train": to_json(absolute_paths(config))})
    record_environment(folder / "environment.json", config.seed)
    _train(config, settings, train, val, model, folder, state)
    result = finish(config, val, folder, started)
    _log.info("results in %s", folder)
    return result


def absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same configuration for a reader in another working folder: what names a file here is made absolute."""

    def absolute(value):
        return value if value is None or not Path(value).exists() else type(value)(Path(value).absolute())

    return replace(config, **{name: absolute(getattr(config, name)) for name in ("data", "val", "weights")})


def _train(
    config: TrainConfig, settings: dict, train: Dataset, val: Dataset, model, folder: Path, state: Mapping | None
) -> None:
    from wutdet.train.tiny import scale_from
    from wutdet.train.trainer import Job, ShipTrainer

    quantised = {}
    if config.quantize is not None:
        from wutdet.quantize.aware import make_aware, trainable_parameters

        format, options = number_format(config.quantize)
        quantised = {"format": format, "options": options, "layers": trainable_parameters(model)}
        quantised["inputs"] = config.quantize_inputs
        make_aware(model, quantised["layers"], format, options, config.quantize_inputs)
        what = "weights and inputs" if config.quantize_inputs else "weights"
        _log.info("%s of %d convolutions are trained in %s", what, len(quantised["layers"]), config.quantize)
    definition = str(model.yaml.get("yaml_file", config.model))
    job = Job(
        train=train,
        val=val,
        folder=folder,
        pictures=picture_settings(config),
        eval_size=eval_size(config),
        eval_every=config.eval_every,
        minutes=config.minutes,
        close_mosaic=config.close_mosaic,
        workers=settings["workers"],
        facts={
            "imgsz": eval_size(config),
            **({} if config.max_scale is None else {"max_scale": config.max_scale}),
            "architecture": Path(definition).stem,
            "train_data": train.name or Path(config.data).name,
            "license": "AGPL-3.0",
            **({"quantised": quantised} if quantised else {}),
        },
        resume=state,
        bf16_on_cpu=config.precision == "bf16",
        tiny=config.tiny,
        nwd_scale_px=config.tiny.nwd_scale or scale_from(train, eval_size(config), config.max_scale, config.tiny.below),
    )
    if state is not None and state["epoch"] >= config.epochs:
        return
    trainer = ShipTrainer(job, model, {**settings, "model": definition})
    if config.tiny.nwd or config.tiny.assign == "nwd":
        _log.info("Wasserstein similarity of tiny ships: C is %.1f pixels", job.nwd_scale_px)
    _log.info(
        "%s: %d frames (%d boxes) to train on, %d to validate on; %s lr0 %g; run folder %s",
        Path(definition).stem, len(train), int((~train.ignore).sum()), len(val), settings["optimizer"], settings["lr0"],
        folder,
    )  # fmt: skip
    try:
        trainer.train()
    except KeyboardInterrupt:
        _log.info("interrupted; continue with: wutdet train --resume %s", shlex.quote(str(folder)))
        raise
    finally:
        trainer.progress.stop()


def finish(config: TrainConfig, val: Dataset, folder: Path, started: float) -> TrainResult:
    """Scores best.pt as ``wutdet eval`` does, writes eval.json and curves.png, and makes last.pt a plain checkpoint."""
    from wutdet.evaluation.model import evaluate_model
    from wutdet.runtime.detector import Detector
    from wutdet.train import checkpoint
    from wutdet.train.curves import draw_curves
    from wutdet.train.validate import LOWEST_SCORE, MOST_BOXES, NMS_IOU

    best = folder / "weights" / "best.pt"
    detector = Detector(
        best, conf=LOWEST_SCORE, iou=NMS_IOU, max_det=MOST_BOXES, imgsz=eval_size(config), device=config.device
    )
    _, result = evaluate_model(detector, val)
    result = result.with_protocol(model=str(best), nms_iou=NMS_IOU)
    write_json(folder / "eval.json", result.to_json())
    rows = MetricsLog(folder / "metrics.jsonl").rows()
    draw_curves(folder / "curves.png", rows)
    checkpoint.drop_state(folder / "weights" / "last.pt")
    best_epoch = checkpoint.load(best)["epoch"] + 1
    return TrainResult(folder, rows[-1]["epoch"], time.monotonic() - started, dict(result.stats), best_epoch)


# --- data ----------------------------------------------------------------------------------------------------------


def training_frames(config: TrainConfig) -> Dataset:
    """The frames to train on: the split ``train_split``, or everything where DATA has no splits.

    Raises:
        DataError: no such split, or no frames, or no boxes in them.
    """
    dataset = load_dataset(config.data, classes=config.classes)
    if (dataset.split.codes >= 0).any():
        dataset = dataset.in_split(config.train_split)
    if not len(dataset):
        raise DataError("the training split has no frames", file=config.data)
    if not (~dataset.ignore).any():
        raise DataError(
            f"the {len(dataset)} training frames have no box to learn from",
            file=config.data,
            hint="see 'wutdet data stats'; are all boxes ignored, or dropped by --classes?",
        )
    return dataset


def validation_frames(config: TrainConfig) -> Dataset:
    """The frames to validate on: ``--val``, or the split ``val_split`` of DATA.

    Raises:
        DataError: there are none.
    """
    source = config.val if config.val is not None else config.data
    dataset = load_dataset(source, classes=config.classes)
    tagged = dataset.split.codes >= 0
    if config.val is None and not tagged.any():
        raise DataError(
            "no splits are marked in this data set, so there is nothing to validate on",
            file=config.data,
            hint="name other frames with --val; or 'wutdet data split DATA', then train on the splits.yaml it writes",
        )
    if tagged.any() and (config.val is None or dataset.split.is_(config.val_split).any()):
        dataset = dataset.in_split(config.val_split)
    if not len(dataset):
        raise DataError("the validation split has no frames", file=source)
    return dataset
