"""The bake-off: pairing by seed, continuing what was cut off, and what its models are given."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from wutdet.bench import bakeoff
from wutdet.bench.bakeoff_tasks import CONTEXT, STRIDE, Detector, Transformer, _crop, detector_loss, task
from wutdet.config import BakeoffConfig
from wutdet.errors import DataError, UsageError


def row(recipe: str, seed: int, loss, held_out=1.0):
    return {
        "task": "transformer",
        "recipe": recipe,
        "seed": seed,
        "steps": 4,
        "final_loss": loss,
        "held_out_loss": held_out,
        "curve": [2.0, loss],
        "seconds": 1.0,
    }


def small(tmp_path, **changes) -> BakeoffConfig:
    settings = {"recipes": ("float32", "hif4"), "tasks": ("transformer",), "seeds": 2, "transformer_steps": 4}
    return BakeoffConfig(out=tmp_path, workers=1, **{**settings, **changes})


def test_errors_are_relative_to_the_same_seed():
    runs = [row("float32", 0, 2.0), row("float32", 1, 1.0), row("hif4", 0, 2.2), row("hif4", 1, 1.3)]
    runs += [row("mxfp4", 0, 2.0), row("mxfp4", 1, None, None)]
    table = {line["recipe"]: line for line in bakeoff.BakeoffResult({}, runs).table()}
    assert table["hif4"]["final_loss_error"] == pytest.approx((10 + 30) / 2)
    assert table["hif4"]["final_loss_error_sd"] == pytest.approx(np.std([10, 30], ddof=1))
    assert table["float32"]["final_loss_error"] == 0
    assert table["mxfp4"]["final_loss"] is None and table["mxfp4"]["final_loss_error"] is None


def test_finished_runs_are_not_repeated(tmp_path, monkeypatch):
    trained = []

    def once(*job):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(job[:3])
        return {**row(job[1], job[2], 1.5), "data": task("transformer", tmp_path).digest}

    monkeypatch.setattr(bakeoff, "train", once)
    with pytest.raises(KeyboardInterrupt):
        bakeoff.run_bakeoff(small(tmp_path))
    assert len(json.loads((tmp_path / "bakeoff.json").read_text())["runs"]) == 3
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"task": "tra')
    first, trained = trained, []
    result = bakeoff.run_bakeoff(small(tmp_path))
    assert trained == [("transformer", "hif4", 1)] and trained[0] not in first
    assert len(result.runs) == 4 == len((tmp_path / "runs.jsonl").read_text().splitlines())
    assert "hif4" in (tmp_path / "curve-transformer.svg").read_text()
    with pytest.raises(DataError, match="other settings"):
        bakeoff.run_bakeoff(small(tmp_path, transformer_steps=5))


def test_the_same_run_gives_the_same_losses(tmp_path):
    first, second = (bakeoff.train("transformer", "mxfp4+rht+sr+tf", 3, 4, tmp_path, 1) for _ in range(2))
    plain = bakeoff.train("transformer", "float32", 3, 4, tmp_path, 1)
    assert first["curve"] == second["curve"] and first["held_out_loss"] == second["held_out_loss"]
    assert (first["low_bit_layers"], plain["low_bit_layers"]) == (8, 0)
    # The same weights and batches: before the first update only rounding differs.
    assert first["curve"][0] == pytest.approx(plain["curve"][0], rel=0.02) and first["curve"] != plain["curve"]


def test_a_crop_and_its_targets_show_the_same_ship():
    frame = np.zeros((600, 900, 3), np.uint8)
    frame[200:260, 400:520] = 255
    picture, target = _crop(frame, np.array([[400.0, 200.0, 520.0, 260.0]]), np.random.default_rng(0))
    ((r, c),) = np.argwhere(target[0])
    left, top, right, bottom = np.exp(target[1:, r, c]) * STRIDE
    x, y = (c + 0.5) * STRIDE, (r + 0.5) * STRIDE
    rows, columns = np.nonzero(picture[0] == 255)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose([x - left, y - top, x + right, y + bottom], seen, atol=2)


def test_the_detector_loss_wants_the_targets():
    target = torch.zeros(2, 5, 12, 20)
    target[:, :, 3, 4] = torch.tensor([1.0, 0.5, 0.2, 0.3, 0.1])
    perfect = target.clone()
    perfect[:, 0] = (target[:, 0] - 0.5) * 40
    assert detector_loss(perfect, target) < 1e-6
    wrong = perfect.clone()
    wrong[:, 1:] += 1
    assert detector_loss(wrong, target) > 0.5
    assert Detector()(torch.zeros(1, 3, 96, 160)).shape == (1, 5, 12, 20)


def test_the_transformer_sees_the_past_alone():
    torch.manual_seed(0)
    model = Transformer().eval()
    text = task("transformer", None).train[0][: CONTEXT + 1].long()
    changed = text.clone()
    changed[40] = (changed[40] + 1) % 96
    a, b = model(text[None, :-1]), model(changed[None, :-1])
    torch.testing.assert_close(a[0, :40], b[0, :40])
    assert not torch.allclose(a[0, 40:], b[0, 40:])


@pytest.mark.parametrize("changes", [{"recipes": ("hif9",)}, {"tasks": ("poet",)}, {"seeds": 0}])
def test_wrong_options_are_refused(tmp_path, changes):
    with pytest.raises(UsageError):
        bakeoff.run_bakeoff(small(tmp_path, **changes))
