"""``wutdet bench formats``: errors beside published ones, and the bookkeeping of the speed table. No test here looks at
how long anything takes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wutdet.bench import format_error, format_speed
from wutdet.bench.formats import FormatsBenchmark
from wutdet.bench.run import run
from wutdet.config import BenchConfig
from wutdet.errors import UsageError
from wutdet.lowbit.oracle import hif4, hif8


def test_errors_on_gaussian_values_are_the_published_ones():
    """arXiv 2602.11287, section III-A, to the two decimals that it gives."""
    rows = {row["format"]: row for row in format_error.gaussian_errors(shape=(2048, 4096))}
    for name, ratio in format_error.PUBLISHED.items():
        assert rows[name]["published"] == ratio
        assert rows[name]["ratio"] == pytest.approx(ratio, abs=0.008)
    assert rows["hif4"]["signal"] == pytest.approx(0.32**2, rel=2e-3)
    assert rows["mxfp4 truncation-free"]["ratio"] > rows["mxfp4 floor"]["ratio"]


def test_errors_of_weights_by_hand():
    """A power of two and a zero have no error in MXFP4 and NVFP4; HiF4 gives 0.9375 for 1."""
    weights = {"a": np.ones((2, 64), dtype=np.float32), "b": np.zeros((1, 64), dtype=np.float32)}
    rows = {row["format"]: row for row in format_error.weight_errors(weights)}
    assert rows["hif4"]["mse"] == pytest.approx(0.0625**2 * 2 / 3)
    assert rows["hif4"]["signal"] == pytest.approx(2 / 3)
    assert rows["mxfp4 floor"]["mse"] == rows["mxfp4 floor"]["ratio"] == 0


def test_weights_of_a_checkpoint(checkpoints):
    weights = format_error.checkpoint_weights(str(checkpoints["yolo26n"]))
    assert len(weights) > 30
    assert all(rows.ndim == 2 and rows.dtype == np.float32 for rows in weights.values())


def test_every_measurement_is_made(monkeypatch):
    """Each oracle as often as it should be, and every format on every number of threads."""
    calls = {"encode": 0, "decode": 0}

    def counted(module, name):
        original = getattr(module, name)

        def call(*args):
            calls[name] += 1
            return original(*args)

        monkeypatch.setattr(module, name, call)

    for module in (hif4, hif8):
        counted(module, "encode")
        counted(module, "decode")
    cases = (("hif4", {}), ("hif8", {}), ("int8", {}))
    rows = format_speed.measure((64, 256), rounds=3, oracle_rounds=2, cases=cases)
    assert calls == {"encode": 4, "decode": 4}
    counts = sorted({1, format_speed.cores()})
    assert [(row["format"], row["threads"]) for row in rows] == [(f, n) for f, _ in cases for n in counts]
    for row in rows:
        seconds = {name: row[f"{name}_s"] for name in ("encode", "decode", "decode_new", "copy", "oracle_encode")}
        assert min(seconds.values()) > 0
        assert row["mib"] == 64 * 256 * 4 / 2**20
    result = FormatsBenchmark({"cpu": "any", "cores": 2}, format_error.gaussian_errors(shape=(8, 256)), [], None, rows)
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["schema"] == "wutdet.bench-formats/1"
    text = result.to_text()
    assert all(name in text for name in ("hif4", "hif8", "int8", "0.0625 MiB"))


def test_formats_is_a_benchmark_of_its_own():
    with pytest.raises(UsageError, match="'formats' is a benchmark of its own"):
        run(BenchConfig(("formats", "yolo11n")))
