"""``wutdet bench``: keys and bookkeeping. No test here looks at how long anything takes."""

from __future__ import annotations

import json

import cv2
import pytest
from tiny_detectors import smooth_picture

from wutdet.bench.run import run
from wutdet.config import BenchConfig
from wutdet.errors import DataError, ModelError, UsageError


@pytest.fixture
def pictures(tmp_path):
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), smooth_picture((200, 120), index))
    return tmp_path


def test_rows_of_two_artefacts(artefact, pictures):
    files = [artefact("yolo26n", "nms", number_format) for number_format in ("fp32", "int8")]
    result = run(BenchConfig(tuple(map(str, files)), threads=(1,), runs=3, warmup=1, images=str(pictures)))
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["schema"] == "wutdet.bench/1"
    assert {"cpu", "cores", "onnxruntime"} <= set(content["machine"])
    assert [row["format"] for row in content["rows"]] == ["fp32", "int8"]
    for row, file in zip(content["rows"], files, strict=True):
        assert row["engine"] == {"fp32": "onnxruntime", "int8": "native"}[row["format"]]
        assert (row["threads"], row["imgsz"], row["runs"]) == (1, 160, 3)
        assert row["size_bytes"] == file.stat().st_size
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["p95_ms"]
        assert min(row["pre_ms"], row["net_ms"], row["post_ms"]) > 0
    assert len(result.to_text().splitlines()) == 5


def test_architecture_name_gets_random_weights(pictures):
    config = BenchConfig(
        ("yolo11n",), threads=(1,), runs=1, warmup=0, images=str(pictures), imgsz="96x128", formats=("fp32", "mxfp4")
    )
    rows = run(config).rows
    assert [(row["model"], row["format"], row["input"]) for row in rows] == [
        ("yolo11n", "fp32", "128x96"),
        ("yolo11n", "mxfp4", "128x96"),
    ]


def test_what_bench_refuses(artefact, checkpoints, pictures, tmp_path):
    file = str(artefact("yolo26n", "nms", "fp32"))
    with pytest.raises(UsageError, match="no model to time"):
        run(BenchConfig(()))
    with pytest.raises(UsageError, match="index"):
        run(BenchConfig((file, "index")))
    with pytest.raises(UsageError, match="--runs"):
        run(BenchConfig((file,), runs=0))
    with pytest.raises(UsageError, match="--threads"):
        run(BenchConfig((file,), threads=()))
    with pytest.raises(ModelError, match="artefacts"):
        run(BenchConfig((str(checkpoints["yolo26n"]),), images=str(pictures)))
    with pytest.raises(ModelError, match="no such model"):
        run(BenchConfig(("gone.onnx",), images=str(pictures)))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        run(BenchConfig((file,), images=str(tmp_path / "none")))
