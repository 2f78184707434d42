"""Averages of checkpoints: the mean of every weight, or a refusal that says why."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wutdet.config import AverageConfig
from wutdet.errors import ModelError, UsageError
from wutdet.train import checkpoint
from wutdet.train.architecture import build, read_checkpoint
from wutdet.train.average import run


def save(file, model, **says):
    facts = {"epoch": 3, "train_metrics": {"AP": 0.5}, "train_args": {"imgsz": 96, "save_dir": "/home/me/run"}}
    checkpoint.save(file, model, {**facts, "wutdet": {"imgsz": 96, "max_scale": 1.0, "train_data": file.stem, **says}})
    return str(file)


def moved(seed: int, **kind):
    """A network with every float of its own: weights and statistics."""
    torch.manual_seed(seed)
    model = build(kind.get("model", "yolo26n"), None, kind.get("names", ["ship"]))
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.01 * torch.rand(value.shape))
    return model


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("average")
    return [save(folder / f"{name}.pt", moved(seed)) for seed, name in enumerate("ab")]


def test_every_weight_is_the_weighted_mean(two, tmp_path):
    result = run(AverageConfig(models=tuple(two), shares=(3, 1), out=tmp_path / "mean.pt"))
    a, b, mean = (read_checkpoint(file).state_dict() for file in (*two, result.file))
    assert a.keys() == mean.keys() and len(mean) > 200
    for name, value in mean.items():
        if value.is_floating_point():
            wanted = (0.75 * a[name].double() + 0.25 * b[name].double()).float()
            # Convolution weights are stored in float16.
            assert torch.equal(value, wanted) or torch.equal(value, wanted.half().float()), name
    assert [share for _, share in result.parts] == [0.75, 0.25]
    facts = checkpoint.load(result.file)
    assert facts["wutdet"]["train_data"] == "a + b" and facts["wutdet"]["max_scale"] == 1.0
    assert [part["file"] for part in facts["wutdet"]["average_of"]] == ["a.pt", "b.pt"]
    assert "epoch" not in facts and "train_metrics" not in facts  # figures of one part are not the average's
    assert facts["train_args"] == facts["model"].args == {"imgsz": 96}  # nor are its folders


def test_an_average_of_copies_detects_as_they_do(two, tmp_path):
    out = run(AverageConfig(models=(two[0], two[0]), out=tmp_path / "same.pt")).file
    a, b = read_checkpoint(two[0]).eval(), read_checkpoint(out).eval()
    picture = torch.from_numpy(np.random.default_rng(0).random((1, 3, 96, 96), np.float32))
    with torch.no_grad():
        assert torch.equal(a(picture)[0], b(picture)[0])


@pytest.mark.parametrize(
    ("kind", "says", "words"),
    [
        ({"model": "yolo11n"}, {}, "not the network of a.pt"),
        ({"names": ["tug"]}, {}, "other classes"),
        ({}, {"max_scale": None}, "another scale limit than a.pt: None, there 1.0"),
        ({}, {"quantised": {"format": "hif4"}}, "another low-bit training"),
    ],
)
def test_what_does_not_belong_together_is_refused(two, tmp_path, kind, says, words):
    other = save(tmp_path / "other.pt", moved(2, **kind), **says)
    with pytest.raises(ModelError, match=words):
        run(AverageConfig(models=(two[0], other), out=tmp_path / "out.pt"))
    assert not (tmp_path / "out.pt").exists()


def test_options_that_make_no_sense(two, tmp_path):
    out = tmp_path / "out.pt"
    with pytest.raises(UsageError, match="at least two"):
        run(AverageConfig(models=(two[0],), out=out))
    for shares in ((1,), (1, 0), (1, float("inf")), (1, float("nan"))):
        with pytest.raises(UsageError, match="--shares"):
            run(AverageConfig(models=tuple(two), shares=shares, out=out))
    with pytest.raises(UsageError, match="is one of the models"):
        run(AverageConfig(models=tuple(two), out=two[1]))
