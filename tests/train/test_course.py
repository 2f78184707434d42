"""The course of a run: which epoch is the best, and which epochs run without mosaic."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from wutdet.config import TrainConfig
from wutdet.dataset.load import load_dataset
from wutdet.train import checkpoint
from wutdet.train.balance import Address
from wutdet.train.frames import TrainingPictures, training_loader
from wutdet.train.records import MetricsLog
from wutdet.train.run import run
from wutdet.train.settings import picture_settings
from wutdet.train.trainer import ShipTrainer


def small(sea, out, **changes) -> TrainConfig:
    return TrainConfig(data=str(sea), out=out, imgsz=64, batch=8, workers=0, **changes)


def test_of_equal_epochs_the_first_stays_the_best_one(sea, tmp_path, monkeypatch):
    """Epochs 1, 3 and 5 are not validated; the run is interrupted in epoch 4 and resumed."""
    scored = []

    def equal_scores(*arguments):
        scored.append(None)
        if len(scored) == 2:
            raise KeyboardInterrupt
        # The log rounds: there, all three are equal.
        return SimpleNamespace(stats={"AP": 0.5 if len(scored) < 4 else 0.499999, "AP50": 0.7})

    monkeypatch.setattr("wutdet.train.trainer.score", equal_scores)
    with pytest.raises(KeyboardInterrupt):
        run(small(sea, tmp_path / "run", epochs=6, eval_every=2))
    result = run(TrainConfig("", resume=tmp_path / "run"))
    rows = MetricsLog(tmp_path / "run" / "metrics.jsonl").rows()
    assert [(row["epoch"], row["AP"]) for row in rows if "AP" in row] == [(2, 0.5), (4, 0.5), (6, 0.5)]
    assert result.best_epoch == 2 == checkpoint.load(result.best)["epoch"] + 1


def plain_epochs(monkeypatch, config: TrainConfig, seconds_per_epoch: float) -> list[bool]:
    """For every epoch of a run with a clock of its own, whether its pictures were plain."""
    now, seen = [0.0], {}
    preprocess = ShipTrainer.preprocess_batch
    item = TrainingPictures.__getitem__

    def preprocess_slowly(self, batch):
        now[0] += seconds_per_epoch
        return preprocess(self, batch)

    def watched(self, address):
        seen.setdefault(address.epoch, set()).add(address.plain)
        return item(self, address)

    with monkeypatch.context() as patch:
        patch.setattr("wutdet.train.trainer.time", SimpleNamespace(monotonic=lambda: now[0]))
        patch.setattr(ShipTrainer, "preprocess_batch", preprocess_slowly)
        patch.setattr(TrainingPictures, "__getitem__", watched)
        run(config)
    assert all(len(kinds) == 1 for kinds in seen.values())
    return [kinds.pop() for _, kinds in sorted(seen.items())]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epochs": 1000, "minutes": 1.0}, [False, False, False, True, True]),  # 12 s each: the clock ends it after 5
        ({"epochs": 4, "minutes": 100.0}, [False, False, True, True]),
        ({"epochs": 3}, [False, True, True]),
    ],
)
def test_the_last_epochs_have_no_mosaics_whatever_ends_the_run(sea, tmp_path, monkeypatch, changes, expected):
    config = small(sea, tmp_path / "run", close_mosaic=2, eval_every=1000, **changes)
    assert plain_epochs(monkeypatch, config, 12.0) == expected


@pytest.mark.parametrize("minutes", [None, 1.0])
def test_epochs_left(minutes):
    job = SimpleNamespace(minutes=minutes)
    trainer = SimpleNamespace(epochs=1000, job=job)
    trainer._course = lambda epoch: ShipTrainer._course(trainer, epoch)

    def left(epoch: int, elapsed_s: float) -> int:
        trainer.elapsed_s = lambda: elapsed_s
        return ShipTrainer._epochs_left(trainer, epoch)

    if minutes is None:
        assert all(left(epoch, 1e9) == 1000 - epoch for epoch in range(1000))
    else:
        assert [left(epoch, 10.0 * epoch) for epoch in range(7)] == [1000, 5, 4, 3, 2, 1, 1]
        assert all(left(epoch, 1e-9) == 1000 - epoch for epoch in range(1000))  # the epochs end it
        assert left(3, 28.0) == 4  # 32 s at 9.3 s each


def test_worker_processes_learn_that_an_epoch_is_plain(sea):
    dataset = load_dataset(str(sea), classes="ship")
    settings = picture_settings(TrainConfig("", imgsz=64, mosaic=1.0))
    loader = training_loader(dataset, settings, batch=len(dataset), workers=1)
    here = TrainingPictures(dataset, settings)
    for epoch, plain in ((0, False), (1, True)):
        loader.sampler.epoch, loader.sampler.plain = epoch, plain
        rows = [address.row for address in loader.sampler]
        (batch,) = loader
        for image, row in zip(batch["img"].numpy(), rows, strict=True):
            np.testing.assert_array_equal(image, here[Address(epoch, row, plain=plain)]["img"].numpy())
            assert (image != here[Address(epoch, row, plain=not plain)]["img"].numpy()).any()
