"""ultralytics' training loop, fed from a Dataset and judged by our own evaluator.

Only the loop, the losses and the optimiser set-up are ultralytics'. Pictures, validation, checkpoints, records and
resuming are ours, put in through the methods that its trainers are meant to override.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils.data import DataLoader

from wutdet.config import TinyConfig
from wutdet.dataset.dataset import Dataset
from wutdet.errors import ModelError
from wutdet.runtime.offline import import_ultralytics
from wutdet.train import checkpoint
from wutdet.train.frames import PictureSettings, training_loader
from wutdet.train.progress import EpochProgress
from wutdet.train.records import MetricsLog, available_cores
from wutdet.train.tiny import DEFAULT_SCALE_PX, detection_loss
from wutdet.train.validate import score

import_ultralytics()
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402  (the environment has to be set first)

_log = logging.getLogger(__name__)


@dataclass
class Job:
    """Everything that a run needs beside ultralytics' own settings.

    Attributes:
        train: frames to train on.
        val: frames to validate on.
        folder: the run folder.
        pictures: how training pictures are made.
        eval_size: long side of validation frames in pixels of the network input.
        eval_every: epochs between validations.
        minutes: time budget, or None.
        close_mosaic: last epochs that run without mosaics.
        workers: processes that load pictures.
        facts: what checkpoints say of themselves.
        resume: state of a killed run, or None.
        bf16_on_cpu: compute backbone and neck in bfloat16 where the device is a CPU.
        tiny: switches of the loss for tiny ships.
        nwd_scale_px: C of the Wasserstein similarity, in pixels of the training picture.
    """

    train: Dataset
    val: Dataset
    folder: Path
    pictures: PictureSettings
    eval_size: int
    eval_every: int = 1
    minutes: float | None = None
    close_mosaic: int = 0
    workers: int = 0
    facts: Mapping = field(default_factory=dict)
    resume: Mapping | None = None
    bf16_on_cpu: bool = False
    tiny: TinyConfig = field(default_factory=TinyConfig)
    nwd_scale_px: float = DEFAULT_SCALE_PX


class ShipTrainer(DetectionTrainer):
    """A DetectionTrainer whose data, validation and records come from wutdet."""

    def __init__(self, job: Job, model: torch.nn.Module, overrides: dict):
        self.job = job
        self.metrics_log = MetricsLog(job.folder / "metrics.jsonl")
        self.elapsed_before_s = 0.0 if job.resume is None else job.resume["elapsed_s"]
        self.started = time.monotonic()
        self._epoch_started = self.started
        self._validation_s = 0.0
        self._time_is_up = False
        self._is_best = False
        self.progress = EpochProgress()
        self._own_callbacks = {
            "on_pretrain_routine_end": self._before_training,
            "on_train_epoch_start": self._before_epoch,
            "on_train_batch_end": self._after_batch,
            "on_train_epoch_end": self.progress.stop,
            "on_fit_epoch_end": self._after_epoch,
        }
        super().__init__(overrides={**overrides, "save_dir": str(job.folder)})
        if self.device.type == "cpu":  # ultralytics' device selection has just left one core out
            torch.set_num_threads(available_cores())
        self.model = model  # a module: ultralytics then neither builds nor loads nor downloads one

    # --- what ultralytics asks for ---------------------------------------------------------------------------------

    def run_callbacks(self, event: str):
        """Runs ours only: experiment trackers and the vendor's platform, which register themselves, never run."""
        if event in self._own_callbacks:
            self._own_callbacks[event]()

    def get_dataset(self) -> dict:
        names = dict(enumerate(self.job.train.category_names))
        return {"train": "train", "val": "val", "nc": len(names), "names": names, "channels": 3}

    def get_dataloader(self, dataset_path, batch_size=16, rank=0, mode="train"):
        if mode == "train":
            return training_loader(self.job.train, self.job.pictures, batch_size, self.job.workers)
        return DataLoader(range(len(self.job.val)))  # only its length is used; validation reads frames itself

    def get_validator(self):
        return SimpleNamespace(metrics=SimpleNamespace(keys=[]), args=copy(self.args), dataloader=self.test_loader)

    def _setup_scheduler(self):
        """Cosine over the epochs, or over the time budget where that ends sooner."""
        low = self.args.lrf
        self.lf = lambda epoch: low + (1 - low) * (1 + math.cos(math.pi * self._course(epoch))) / 2
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lr_lambda=self.lf)

    def validate(self):
        # Decided here, once: an epoch after which the run ends has to be validated.
        self._time_is_up = self.job.minutes is not None and self.elapsed_s() >= self.job.minutes * 60
        last = self.epoch + 1 >= self.epochs or self.stop or self._time_is_up
        self._is_best = False
        if (self.epoch + 1) % self.job.eval_every and not last:
            return {}, None
        started = time.monotonic()
        result = score(
            self.ema.ema, self.job.val, self.job.eval_size, self.device, self._val_batch(), self.job.pictures.max_scale
        )
        self._validation_s = time.monotonic() - started
        fitness = result.stats["AP"] or 0.0
        self._is_best = self.best_fitness is None or fitness > self.best_fitness  # of equal ones the first stays
        if self._is_best:
            self.best_fitness = fitness
        return dict(result.stats), fitness

    def save_metrics(self, metrics):
        loss = {name.removesuffix("_loss"): round(float(value), 5) for name, value in self.tloss.items()}
        row = {
            "epoch": self.epoch + 1,
            "seconds": round(time.monotonic() - self._epoch_started, 2),
            "validation_seconds": round(self._validation_s, 2) if self.fitness is not None else None,
            "lr": float(f"{self.optimizer.param_groups[0]['lr']:.4g}"),
            "train": loss,
        }
        if self.fitness is not None:
            row.update({key: None if value is None else round(value, 5) for key, value in self.metrics.items()})
        self.metrics_log.append(row)
        figures = "not validated" if self.fitness is None else f"AP {row['AP']:.3f}  AP50 {row['AP50']:.3f}"
        losses = "  ".join(f"{name} {value:.3f}" for name, value in loss.items())
        _log.info("epoch %d/%d  %s  %s  %.0f s", self.epoch + 1, self.epochs, losses, figures, row["seconds"])

    def save_model(self) -> bool:
        facts = {
            "epoch": self.epoch,
            "train_args": dict(vars(self.args)),
            "train_metrics": {**self.metrics, "fitness": self.fitness},
            "wutdet": dict(self.job.facts),
        }
        if self._is_best:
            checkpoint.save(self.best, self.ema.ema, facts)
        state = {
            "epoch": self.epoch + 1,
            "model": self.model.state_dict(),
            "ema": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "best_fitness": self.best_fitness,
            "stopper": {"best_fitness": self.stopper.best_fitness, "best_epoch": self.stopper.best_epoch},
            "elapsed_s": self.elapsed_s(),
            "rng": torch.get_rng_state(),
        }
        checkpoint.save(self.last, self.ema.ema, facts, state)
        return True

    def resume_training(self, ckpt):
        """Called when model, optimiser and average exist; puts the state of a killed run into them."""
        state = self.job.resume
        if state is None:
            return
        self._load_checkpoint_state({"resume": state})
        self.model.load_state_dict(state["model"])
        self.start_epoch = state["epoch"]
        torch.set_rng_state(state["rng"])

    def _load_checkpoint_state(self, ckpt):
        state = ckpt["resume"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.ema.load_state_dict(state["ema"])
        self.ema.updates = state["updates"]
        self.best_fitness = state["best_fitness"]
        self.stopper.best_fitness = state["stopper"]["best_fitness"]
        self.stopper.best_epoch = state["stopper"]["best_epoch"]

    def final_eval(self):
        """Left to the caller, who scores the file best.pt itself."""

    # --- callbacks --------------------------------------------------------------------------------------------------

    def _before_training(self):
        steps = len(self.train_loader) * self.epochs
        # ultralytics' average (0.9999 after a ramp of 2000 steps) lags behind in short runs: remember about a twentieth
        # of the run, and at most 10,000 steps.
        memory = min(max(steps / 20, 10), 10_000)
        self.ema.decay = lambda updates: min(1 - 1 / memory, (1 + updates) / (10 + updates))
        self.model.criterion = detection_loss(self.model, self.job.tiny, self.job.nwd_scale_px)
        if self.device.type == "cpu":  # 16 % faster on 2 cores, gradients equal to 1e-5 (ultralytics does it on CUDA)
            self.model.to(memory_format=torch.channels_last)
            if self.job.bf16_on_cpu:
                compute_in_bf16(self.model)

    def preprocess_batch(self, batch: dict) -> dict:
        batch = super().preprocess_batch(batch)
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def _before_epoch(self):
        self._epoch_started = time.monotonic()
        sampler = self.train_loader.sampler
        sampler.epoch, sampler.plain = self.epoch, self._epochs_left(self.epoch) <= self.job.close_mosaic
        criterion = self.model.criterion
        if hasattr(criterion, "o2m"):  # end-to-end heads: the weight moves from one-to-many to one-to-one
            course = min(self._course(self.epoch) * self.epochs / max(self.epochs - 1, 1), 1.0)
            criterion.o2m = criterion.o2m_copy + (criterion.final_o2m - criterion.o2m_copy) * course
            criterion.o2o = criterion.total - criterion.o2m
        self.progress.start(self.epoch + 1, self.epochs, len(self.train_loader))

    def _after_batch(self):
        self.progress.step({name: float(value) for name, value in self.tloss.items()})
        if not torch.isfinite(self.loss):
            raise ModelError(
                f"the loss became {float(self.loss)} in epoch {self.epoch + 1}",
                hint=f"train with a lower learning rate: --lr0 {self.args.lr0 / 4:g}",
            )

    def _after_epoch(self):
        if self._time_is_up and self.epoch + 1 < self.epochs:
            _log.info("the time budget of %g minutes is used up after epoch %d", self.job.minutes, self.epoch + 1)
            self.stop = True

    # --- time -------------------------------------------------------------------------------------------------------

    def elapsed_s(self) -> float:
        """Seconds spent on this run, those before a kill included."""
        return self.elapsed_before_s + time.monotonic() - self.started

    def _course(self, epoch: int) -> float:
        """How far the run has come at the start of this epoch, 0 to 1, by epochs or by time, whichever is further."""
        course = epoch / self.epochs
        if self.job.minutes is not None:
            course = max(course, self.elapsed_s() / (self.job.minutes * 60))
        return min(course, 1.0)

    def _epochs_left(self, epoch: int) -> int:
        """Epochs to come, this one included; where time may end the run first, estimated from those that are done."""
        left = self.epochs - epoch
        if self.job.minutes is None or epoch == 0:
            return left
        course = self._course(epoch)
        in_time = math.ceil(epoch * (1 - course) / course - 1e-9)  # without this, rounding could make it one more
        return min(left, max(in_time, 1))

    def _val_batch(self) -> int:
        return 1 if self.device.type == "cpu" else 8


def compute_in_bf16(model: torch.nn.Module) -> None:
    """Makes a DetectionModel compute backbone and neck in bfloat16 on a CPU, the head and the loss in float32.

    With the head in bfloat16 too, the box loss of a COCO model is 8 % off; with the head in float32, 1 %. Only this
    object is changed, not its class, and its weights stay float32.
    """
    predict, head = model.predict, model.model[-1]
    forward = head.forward

    def predict_in_bf16(*arguments, **named):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return predict(*arguments, **named)

    def forward_in_float32(features, *arguments, **named):
        with torch.autocast("cpu", enabled=False):
            return forward([feature.float() for feature in features], *arguments, **named)

    model.predict, head.forward = predict_in_bf16, forward_in_float32
