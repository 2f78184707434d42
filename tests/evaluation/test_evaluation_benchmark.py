"""``wutdet bench eval``: made-up files, bookkeeping and agreement. No test here looks at how long anything takes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wutdet.bench.detection_files import Sizes, prepare_files
from wutdet.bench.evaluation import run_evaluation_benchmark
from wutdet.bench.evaluators import EVALUATORS, measure
from wutdet.bench.run import run
from wutdet.config import BenchConfig
from wutdet.errors import UsageError
from wutdet.evaluation import coco_fast

SMALL = Sizes(images=60, boxes=240, detections=1500)


def test_made_up_files_have_the_sizes_asked_for_and_depend_on_the_seed_alone(tmp_path):
    files = [prepare_files(tmp_path / name, SMALL) for name in ("a", "b")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    truth, ids, _ = coco_fast.ground_truth(files[0][0].read_bytes(), "")
    found = coco_fast.results(files[0][1].read_bytes(), truth, ids)
    assert (truth.image_count, len(truth), len(found)) == (60, 240, 1500)
    assert 0 < np.bincount(truth.image, minlength=60).tolist().count(0) < 30
    assert (found.score >= 0).all() and (found.score <= 1).all()
    assert json.loads(files[0][1].read_text())[7]["score"] == found.score[7]
    other = prepare_files(tmp_path / "a", Sizes(60, 240, 1500, seed=1))
    assert other[1].read_bytes() != files[0][1].read_bytes()
    few = prepare_files(tmp_path, Sizes(10, 50, 7))
    assert len(json.loads(few[1].read_text())) == 7


def test_files_are_kept_and_used_again(tmp_path):
    truth, _ = prepare_files(tmp_path, SMALL)
    written = truth.stat().st_mtime_ns
    assert prepare_files(tmp_path, SMALL)[0].stat().st_mtime_ns == written


def test_an_evaluator_that_is_not_installed_is_said_to_be_absent(monkeypatch):
    def load():
        raise ImportError("No module named 'fast'")

    monkeypatch.setitem(EVALUATORS, "pycocotools", ("pycocotools", load))
    assert measure("pycocotools", "gt.json", "dt.json") == {"absent": "No module named 'fast'"}


@pytest.mark.slow
def test_all_evaluators_agree(tmp_path):
    result = run_evaluation_benchmark(tmp_path, SMALL, Sizes(80, 300, 2000), runs=2)
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["schema"] == "wutdet.bench-eval/1"
    rows = content["rows"]
    assert [row["evaluator"] for row in rows] == [*EVALUATORS, "wutdet", "wutdet-full"]
    measured = [row for row in rows if "absent" not in row]
    assert {"wutdet", "wutdet-full", "pycocotools"} <= {row["evaluator"] for row in measured}
    for row in measured:
        assert len(row["all_seconds"]) == row["runs"] == 2
        assert min(row["seconds"], row["cpu_s"], row["peak_mb"]) > 0 and 0 < row["AP"] < 1
        if row["images"] == SMALL.images:
            assert row["difference"] < 1e-12
            assert row["AP"] == pytest.approx(measured[0]["AP"], abs=1e-12)
        else:
            assert row["difference"] is None
    text = result.to_text()
    assert "wutdet, 12 statistics" in text and "1,500 detections" in text and "pycocotools" in text


def test_eval_stands_alone():
    with pytest.raises(UsageError, match="'eval' is a benchmark of its own"):
        run(BenchConfig(("eval", "index.onnx")))
