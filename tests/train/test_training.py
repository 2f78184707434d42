"""Whole runs on tiny data: records, offline, resume after a kill, budgets, and that something is learnt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wutdet.config import AugmentConfig, TinyConfig, TrainConfig
from wutdet.errors import ModelError
from wutdet.runtime.detector import Detector
from wutdet.train import checkpoint
from wutdet.train.records import MetricsLog
from wutdet.train.run import run
from wutdet.train.settings import resumed_config

#: Runs the command line with every connection refused, but for those between this process and its own workers.
OFFLINE = """
import socket, sys
connect = socket.socket.connect
def refuse(self, address):
    if self.family != socket.AF_UNIX: raise RuntimeError(f"tried to connect to {address}")
    return connect(self, address)
socket.socket.connect = socket.socket.connect_ex = refuse
from wutdet.cli import main
sys.argv[0] = "wutdet"
main()
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", OFFLINE, "train", *map(str, arguments)]


def tiny(sea: Path, out: Path, **changes) -> TrainConfig:
    config = TrainConfig(data=str(sea), out=out, epochs=2, imgsz=96, batch=4, workers=0)
    return replace(config, **changes)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def finished(sea, tmp_path_factory):
    """A run of two epochs as a user would start it: offline, with an empty HOME. Folder, HOME, process."""
    base = tmp_path_factory.mktemp("run of a user")
    home = base / "home"
    home.mkdir()
    before = files_below(sea.parent.parent)
    process = subprocess.run(
        command(sea, "--epochs", 2, "--imgsz", 96, "--batch", 4, "--workers", 1, "--max-scale", 0.5,
                "--json", base / "out.json", "out=" + str(base / "my run")),
        env={**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, cwd=base,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert files_below(sea.parent.parent) == before, "nothing may be written beside the data"
    return base / "my run", home, process


def test_a_run_leaves_its_records(finished):
    folder, _, process = finished
    assert {"config.json", "environment.json", "metrics.jsonl", "eval.json", "curves.png", "weights/best.pt",
            "weights/last.pt"} <= set(files_below(folder))  # fmt: skip
    rows = MetricsLog(folder / "metrics.jsonl").rows()
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert {"box", "cls"} <= set(row["train"]) and row["lr"] > 0 and row["seconds"] > 0 and 0 <= row["AP"] <= 1
    assert json.loads((folder / "config.json").read_text())["train"]["imgsz"] == 96
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0] and environment["seed"] == 0
    assert json.loads((folder / "eval.json").read_text())["stats"]["AP"] is not None
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    out = json.loads((folder.parent / "out.json").read_text())
    assert out["schema"] == "wutdet.train/1" and Path(out["best"]) == folder / "weights" / "best.pt"
    # stdout is for the result alone.
    assert len(process.stdout.splitlines()) == 2 and str(folder / "weights" / "best.pt") in process.stdout


def test_nothing_lands_in_home_or_the_working_folder(finished):
    folder, home, _ = finished
    assert files_below(home) == []
    assert sorted(path.name for path in folder.parent.iterdir()) == ["home", "my run", "out.json"]


def test_a_finished_run_cannot_be_resumed(finished):
    with pytest.raises(ModelError, match="this run is finished"):
        run(TrainConfig(data="", resume=finished[0]))


def test_the_checkpoint_says_what_it_is(finished):
    content = checkpoint.load(finished[0] / "weights" / "best.pt")
    assert content["wutdet"]["imgsz"] == 96 and content["wutdet"]["architecture"] == "yolo26n"
    assert (finished[0] / "weights" / "best.pt").stat().st_size < 6_000_000
    assert content["wutdet"]["max_scale"] == 0.5 and Detector(finished[0] / "weights" / "best.pt").max_scale == 0.5
    weights = {value.dtype for key, value in content["model"].state_dict().items() if key.endswith("running_var")}
    assert weights == {torch.float32}, "batch norm statistics must not be rounded to float16"


def wait_for_epochs(folder: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 600
    log = MetricsLog(folder / "metrics.jsonl")
    while len(log.rows()) < count or not (folder / "weights" / "last.pt").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run did not get this far in ten minutes"
        time.sleep(0.02)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(sea, tmp_path):
    config = tiny(sea, tmp_path / "straight", epochs=4)
    run(config)
    killed = tmp_path / "killed"
    with subprocess.Popen(
        command(sea, "--epochs", 4, "--imgsz", 96, "--batch", 4, "--workers", 0, "--out", killed),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_for_epochs(killed, 2, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = checkpoint.load_state(killed / "weights" / "last.pt")["epoch"]
    assert 1 <= done < 4
    with open(killed / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 9, "tr')  # as a kill in the middle of a line leaves it
    result = run(TrainConfig(resume=killed))
    assert result.epochs == 4
    straight, resumed = (MetricsLog(tmp_path / name / "metrics.jsonl").rows() for name in ("straight", "killed"))
    assert [row["epoch"] for row in resumed] == [1, 2, 3, 4]
    for one, other in zip(straight, resumed, strict=True):
        assert one["lr"] == other["lr"]
        for name, value in one["train"].items():
            np.testing.assert_allclose(other["train"][name], value, rtol=2e-3)
    weights = [checkpoint.load(tmp_path / name / "weights" / "last.pt")["model"].state_dict()
               for name in ("straight", "killed")]  # fmt: skip
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key].float(), value.float(), rtol=1e-2, atol=1e-3)


def test_ctrl_c_leaves_a_run_that_goes_on(sea, tmp_path):
    folder = tmp_path / "interrupted"
    with subprocess.Popen(
        command(sea, "--epochs", 50, "--imgsz", 64, "--batch", 4, "--workers", 0, "--out", folder),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Where the tests run in the background of a shell, SIGINT is ignored, and processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        wait_for_epochs(folder, 1, process)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130 and "--resume" in errors and "Traceback" not in errors
    assert checkpoint.load_state(folder / "weights" / "last.pt")["epoch"] >= 1


def test_resuming_what_never_ran(tmp_path):
    with pytest.raises(ModelError, match="not a run folder"):
        run(TrainConfig(data="", resume=tmp_path))


def test_a_run_folder_gets_a_number_and_a_time_budget_ends_it(sea, tmp_path, no_network):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "something").write_text("kept")
    result = run(tiny(sea, tmp_path / "run", epochs=30, imgsz=64, minutes=0.001))
    assert result.folder == tmp_path / "run2" and result.epochs == 1
    assert files_below(tmp_path / "run") == ["something"]


@pytest.mark.parametrize("model", ["yolo11n", "models/yolo26n-p2ship.yaml"])
def test_other_architectures_train(sea, tmp_path, repository_dir, model):
    if model.endswith(".yaml"):
        model = str(repository_dir / model)
    # 96 x 77 pixels: a multiple of 16 is not enough for a model without predictions at stride 32.
    result = run(tiny(sea, tmp_path / "run", model=model, epochs=1))
    again = run(tiny(sea, tmp_path / "next", model=str(result.best), epochs=1, imgsz=64, eval_every=5))
    assert again.epochs == 1


def test_switches_for_small_ships_train_and_are_resumed_with(sea, tmp_path):
    tiny_ships = TinyConfig(nwd=0.5, assign="nwd", weight=1.0)
    config = tiny(
        sea, tmp_path / "run", imgsz=64, tiny=tiny_ships, balance="sequence", augment=AugmentConfig(paste=1.0)
    )
    run(config)
    rows = MetricsLog(tmp_path / "run" / "metrics.jsonl").rows()
    assert all(np.isfinite(value) for row in rows for value in row["train"].values())
    again = resumed_config(tmp_path / "run")
    assert (again.tiny, again.balance, again.augment) == (tiny_ships, "sequence", config.augment)


def test_a_detector_is_learnt(sea, tmp_path, monkeypatch):
    """Red hulls on a blue sea, from scratch: the chain of pictures, loss, average and evaluation has to hold."""
    monkeypatch.setattr("wutdet.train.trainer.available_cores", lambda: 1)  # pictures too small to share out
    plain = AugmentConfig(probability=0.0, crop=False)
    result = run(
        tiny(sea, tmp_path / "run", model="yolov8n", epochs=60, batch=4, lr0=0.004, mosaic=0.0, eval_every=20,
             augment=plain, workers=0)
    )  # fmt: skip
    assert result.stats["AP50"] > 0.3
    rows = MetricsLog(result.folder / "metrics.jsonl").rows()
    assert rows[-1]["train"]["box"] < 0.7 * max(row["train"]["box"] for row in rows[:20])
    assert [row["epoch"] for row in rows if "AP" in row] == [20, 40, 60]
    # The file, read back by the detector, scores what the model in memory scored (but for float16 weights).
    best = max(row["AP"] for row in rows if "AP" in row)
    assert result.stats["AP"] == pytest.approx(best, abs=0.02)
