"""``wutdet bench --against``: rows, absent packages, and that every engine computes what is timed. No test here looks
at how long anything takes."""

from __future__ import annotations

import importlib.util
import json
import sys

import cv2
import numpy as np
import onnx
import pytest
from tiny_detectors import smooth_picture

from wutdet.bench import engines
from wutdet.bench.engines import Artefact, engine_module, version_of
from wutdet.bench.engines.process import EngineError, EngineProcess
from wutdet.bench.multiplications import multiplications
from wutdet.bench.run import run
from wutdet.config import BenchConfig
from wutdet.errors import UsageError

#: Largest differences of the float32 file's boxes (px) and scores from onnxruntime's. ncnn has transforms of its own
#: for 3x3 convolutions, which round more.
FLOAT32_BOUNDS = {"native": (0.05, 0.001), "openvino": (0.05, 0.001), "ncnn": (1.0, 0.01)}
NEEDS = {"native": (), "openvino": ("openvino",), "ncnn": ("ncnn", "pnnx")}


@pytest.fixture
def pictures(tmp_path):
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), smooth_picture((200, 120), index))
    return tmp_path


@pytest.fixture
def network_inputs(tmp_path):
    """A file with two frames, float32 [2, 1, 3, 160, 160]."""
    frames = [smooth_picture((160, 160), seed).transpose(2, 0, 1)[None] / np.float32(255) for seed in range(2)]
    np.save(tmp_path / "frames.npy", np.stack(frames).astype(np.float32))
    return tmp_path / "frames.npy"


def _outputs(variant, network_inputs, folder):
    process = EngineProcess(variant.engine, variant.files[0], 1, network_inputs, variant.options)
    try:
        process.save_outputs(1, folder / f"{variant.engine}.npy")
    finally:
        process.close()
    return np.load(folder / f"{variant.engine}.npy")


def _prepared(engine, file, folder, number_format="fp32"):
    place = folder / f"{engine}-files"
    place.mkdir()
    one = Artefact("tiny", file, number_format, (160, 160), multiplications(file), False)
    return engine_module(engine).prepare([one], [], place)


@pytest.mark.parametrize("engine", FLOAT32_BOUNDS)
def test_engines_compute_what_onnxruntime_computes(engine, artefact, network_inputs, tmp_path):
    absent = [name for name in NEEDS[engine] if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed")
    file = artefact("yolo11n", "nms", "fp32")
    reference = _outputs(_prepared("onnxruntime", file, tmp_path)[0], network_inputs, tmp_path)
    variant = _prepared(engine, file, tmp_path)[0]
    assert variant.number_format == "fp32" and not variant.absent
    found = _outputs(variant, network_inputs, tmp_path)
    assert found.shape == reference.shape
    assert reference[:, 4:].max() > 0.2  # else scores near zero would agree whatever is computed
    box_px, score = FLOAT32_BOUNDS[engine]
    assert np.abs(found[:, :4] - reference[:, :4]).max() < box_px
    assert np.abs(found[:, 4:] - reference[:, 4:]).max() < score


@pytest.mark.slow
def test_rows_of_engines(artefact, pictures):
    files = [artefact("yolo11n", "nms", number_format) for number_format in ("fp32", "int8")]
    config = BenchConfig(
        tuple(map(str, files)),
        against=("onnxruntime",),
        threads=(1, 2),
        runs=2,
        warmup=0,
        images=str(pictures),
        layers=True,
    )
    result = run(config)
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["schema"] == "wutdet.bench/1"
    assert content["machine"]["versions"].keys() == {"wutdet", "onnxruntime"}
    kinds = [(row["engine"], row["format"], row["made"] == "artefact") for row in content["rows"]]
    assert kinds == 2 * [
        ("native", "fp32", True),
        ("native", "int8", True),
        ("onnxruntime", "fp32", True),
        ("onnxruntime", "int8", True),
        ("onnxruntime", "int8", False),
    ]
    assert [row["threads"] for row in content["rows"]] == 5 * [1] + 5 * [2]
    for row in content["rows"]:
        assert not row["absent"]
        assert (row["imgsz"], row["runs"]) == (160, 2)
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["p95_ms"]
        # Of the time before it was rounded to 1 us, which is seen where a run takes less than 1 ms.
        slowest, fastest = (row["multiplications"] / (row["median_ms"] + d) / 1e6 for d in (0.00051, -0.00051))
        assert slowest - 0.051 <= row["gmacs"] <= fastest + 0.051
        assert 0 < row["engine_memory_bytes"] < row["peak_memory_bytes"]
        assert row["load_ms"] > 0
    assert content["rows"][1]["size_bytes"] == files[1].stat().st_size
    for threads in (1, 2):
        group = [row for row in content["rows"] if row["threads"] == threads]
        best = min((row for row in group if row["engine"] != "native"), key=lambda row: row["median_ms"])
        assert [row for row in group if row["fastest_rival"]] == [best]
        assert best["ratio"] == 1
        int8 = [row for row in group if row["engine"] != "native" and row["format"] == "int8"]
        assert max(row["ratio_int8"] for row in int8) == 1
    assert [(table["format"], table["threads"]) for table in content["layers"]] == [
        (number_format, threads) for threads in (1, 2) for number_format in ("fp32", "int8")
    ]
    for table in content["layers"]:
        assert sum(step["kind"] == "conv" for step in table["steps"]) > 50
    assert "ratio" in result.to_text()


def test_accuracy_beside_every_row(artefact, dataset_file):
    file = artefact("yolo26n", "nms", "fp32")
    config = BenchConfig((str(file),), against=("onnxruntime",), threads=(1,), runs=1, warmup=0, data=str(dataset_file))
    rows = run(config).rows
    assert [row["engine"] for row in rows] == ["native", "onnxruntime"]
    for row in rows:  # the boxes of this set are what this very network finds
        assert row["AP"] > 0.8


def test_absent_packages_and_parents_are_rows(artefact, pictures, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        engines.importlib.util, "find_spec", lambda name: None if name in ("openvino", "ncnn") else find_spec(name)
    )
    file = artefact("yolo11n", "nms", "int8")
    config = BenchConfig(
        (str(file),), against=("onnxruntime,openvino", "ncnn"), threads=(1,), runs=1, warmup=0, images=str(pictures)
    )
    result = run(config)
    rows = {(row["engine"], row["made"]): row for row in result.rows}
    assert "float32 artefact" in rows["onnxruntime", "its quantize_static, U8S8 per channel"]["absent"]
    assert "'openvino' is not installed" in rows["openvino", "artefact"]["absent"]
    assert "no Python package" in rows["ncnn", "pnnx"]["absent"]
    assert rows["native", "artefact"]["median_ms"] > 0
    assert "is not installed" in result.to_text()


def test_what_is_refused(artefact, network_inputs, tmp_path):
    with pytest.raises(UsageError, match=r"openvino"):
        run(BenchConfig(("any.onnx",), against=("openvin",)))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    for engine in ("native", "onnxruntime"):
        with pytest.raises(EngineError, match=engine):
            EngineProcess(engine, tmp_path / "broken.onnx", 1, network_inputs)


def test_multiplications_are_counted_on_the_graph(tmp_path):
    """A 3x3 convolution with stride 2, a grouped one and a matrix product, by hand."""
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        make.make_node("Conv", ["a", "d"], ["b"], group=4),
        make.make_node("MatMul", ["b", "m"], ["y"]),
    ]
    weights = [
        onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in (("w", (4, 3, 3, 3)), ("d", (4, 1, 1, 1)), ("m", (5, 7)))
    ]
    graph = make.make_graph(
        nodes,
        "counted",
        [make.make_tensor_value_info("x", number, [1, 3, 8, 10])],
        [make.make_tensor_value_info("y", number, [1, 4, 4, 7])],
        weights,
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)]), tmp_path / "counted.onnx")
    assert multiplications(tmp_path / "counted.onnx") == 4 * 4 * 5 * 27 + 4 * 4 * 5 + 4 * 4 * 7 * 5


def test_versions_of_absent_packages_are_empty():
    assert version_of("no-such-package-here") == ""
    assert version_of("onnxruntime") == sys.modules["onnxruntime"].__version__


def test_peak_of_this_core():
    from wutdet import _kernels

    chosen = _kernels._conv_chosen()
    whole, real = _kernels._peak_macs(chosen, False), _kernels._peak_macs(chosen, True)
    assert (whole == 0) == (real == 0)  # no loop for these instructions
    assert whole >= real
    with pytest.raises(ValueError, match="no-such"):
        _kernels._peak_macs("no-such", False)
