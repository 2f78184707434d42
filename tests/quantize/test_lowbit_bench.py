"""``wutdet bench lowbit``: post-training and trained rows from the command line, measured once."""

from __future__ import annotations

import json

import pytest

from wutdet.bench.run import run
from wutdet.config import BenchConfig, LowbitConfig
from wutdet.errors import DataError, UsageError

torch = pytest.importorskip("torch")


@pytest.fixture
def trained(tmp_path):
    """A checkpoint that says that it was trained aware of MXFP4 with truncation-free scales."""
    return aware(tmp_path / "aware.pt", inputs=False)


def aware(file, inputs):
    from wutdet.quantize.aware import trainable_parameters
    from wutdet.runtime.torch_backend import build_model
    from wutdet.train import checkpoint

    model = build_model("yolo11n", 1).eval()
    facts = {"format": "mxfp4", "options": {"scale_rule": "ceil"}, "layers": trainable_parameters(model)}
    facts["inputs"] = inputs
    checkpoint.save(file, model, {"train_args": {}, "wutdet": {"quantised": facts, "imgsz": 160}})
    return file


def config(checkpoints, dataset_file, tmp_path, **changes) -> BenchConfig:
    values = {
        "out": tmp_path / "out",
        "models": (f"tiny={checkpoints['yolo11n']}",),
        "data": (f"blobs={dataset_file}",),
        "calib": str(dataset_file),
        "calib_images": 3,
        "imgsz": 160,
        "formats": ("mxfp4 truncation-free",),
        "activations": ("A8",),
        "methods": ("restored", "trained"),
    }
    return BenchConfig(("lowbit",), lowbit=LowbitConfig(**{**values, **changes}))


def test_rows_of_both_kinds(checkpoints, dataset_file, trained, tmp_path):
    result = run(config(checkpoints, dataset_file, tmp_path, trained=(f"tiny={trained}",)))
    assert [(row["scheme"], row["method"]) for row in result.rows] == [
        ("W32A16", "nearest"),
        ("W4A8", "restored"),
        ("W4A8", "trained"),
    ]
    bits = [row["weight_bits"] for row in result.rows]
    # Codes, group scales and channel scales of the same layers.
    assert bits[0] is None and bits[1] == bits[2] and 4.25 < bits[1] < 5
    assert json.loads((tmp_path / "out" / "lowbit.json").read_text("utf-8")) == result.to_json()
    assert "tiny on blobs" in (tmp_path / "out" / "table.md").read_text("utf-8")


def test_a_checkpoint_that_saw_rounded_inputs_gives_the_row_of_4_bit_activations(
    checkpoints, dataset_file, trained, tmp_path
):
    both = (f"tiny={trained}", f"tiny={aware(tmp_path / 'inputs.pt', inputs=True)}")
    for given, schemes in ((both[:1], ["W4A8"]), (both[1:], ["W4A4"]), (both, ["W4A8", "W4A4"])):
        out = tmp_path / f"out-{'-'.join(schemes)}"
        chosen = {"trained": given, "out": out, "activations": ("A8", "A4"), "methods": ("trained",)}
        rows = run(config(checkpoints, dataset_file, tmp_path, **chosen)).rows
        assert [row["scheme"] for row in rows if row["method"] == "trained"] == schemes


def test_a_folder_keeps_its_settings(checkpoints, dataset_file, tmp_path):
    run(config(checkpoints, dataset_file, tmp_path, formats=()))
    with pytest.raises(DataError, match="rows of other settings"):
        run(config(checkpoints, dataset_file, tmp_path, formats=(), calib_images=2))


def test_what_is_missing_or_unknown_is_named(checkpoints, dataset_file, tmp_path):
    with pytest.raises(UsageError, match=r"--lowbit\.calib is missing"):
        run(config(checkpoints, dataset_file, tmp_path, calib=""))
    with pytest.raises(UsageError, match=r"unknown 'hif5'.*hif4"):
        run(config(checkpoints, dataset_file, tmp_path, formats=("hif5",)))
    with pytest.raises(UsageError, match="NAME=CHECKPOINT"):
        run(config(checkpoints, dataset_file, tmp_path, trained=("other=x.pt",)))
    with pytest.raises(DataError, match="not trained aware"):
        run(config(checkpoints, dataset_file, tmp_path, trained=(f"tiny={checkpoints['yolo11n']}",)))
