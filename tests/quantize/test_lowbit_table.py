"""The table of low-bit formats: every row is measured once, beside the float row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError

pytest.importorskip("torch")

from wutdet.bench.lowbit_table import Row, all_rows, packable_parameters, read_rows, run_table, to_markdown
from wutdet.quantize.calibrate import choose_frames
from wutdet.runtime.detector import Detector


def test_rows():
    rows = all_rows()
    assert rows[0] == Row()
    assert len(set(rows)) == len(rows)
    assert {row.scheme for row in rows} == {"W32A16", "W8A16", "W8A8", "W4A16", "W4A8", "W4A4"}


@pytest.mark.parametrize("arch", ["yolo26n", "yolo11n"])
def test_stem_depthwise_and_last_convolutions_are_not_packed(checkpoints, arch):
    network = Detector(checkpoints[arch]).backend.model
    shapes = [network.get_parameter(name).shape for name in packable_parameters(network)]
    assert len(shapes) > 50
    assert all(shape[1] != 3 for shape in shapes)  # the stem sees three colours
    lost = sum(p.numel() for n, p in network.named_parameters() if p.ndim == 4) - sum(s.numel() for s in shapes)
    assert lost > 0


def test_rows_are_measured_once_and_beside_float(checkpoints, dataset_file, tmp_path):
    dataset = load_dataset(dataset_file)
    calibration = list(choose_frames(dataset, "train", 4, 0).network_inputs((160, 160)))
    made = []

    def load():
        made.append(1)
        return Detector(checkpoints["yolo11n"], conf=0.001, max_det=100, imgsz=160)

    def run(rows):
        return run_table({"tiny": load}, {"blobs": dataset.in_split("val")}, calibration, tmp_path, rows)

    rows = [Row(), Row("hif4", "A8", "optimised")]
    first = run(rows)
    assert len(made) == 2
    assert first == run(rows)
    assert len(made) == 2
    plain, low = first
    assert plain["difference"]["difference"] == 0 and plain["weight_bits"] is None
    assert low["scheme"] == "W4A8" and 4.5 < low["weight_bits"] < 5.5
    assert low["stats"]["AP"] - plain["stats"]["AP"] == pytest.approx(low["difference"]["difference"])
    nearest = run([*rows, Row("hif4", "A16", "nearest")])
    assert len(nearest) == 3
    text = to_markdown(nearest)
    assert "tiny on blobs" in text and text.count("| hif4 |") == 2
    assert read_rows(tmp_path / "rows.jsonl") == nearest
    assert np.isfinite(json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[2])["stats"]["AP"])


def test_a_broken_line_is_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"model": "a"}\n{"model"\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        read_rows(file)
