"""Advice: the table against NumPy, each rule on data made for it, and a command that is a valid run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from wutdet.cli import parse, run
from wutdet.config import AdviseConfig, TrainConfig
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError, UsageError
from wutdet.train import advise as module
from wutdet.train.advise import Candidate, advise
from wutdet.train.settings import check


def frames_with(tmp_path: Path, sides: list[float], frame_wh=(1920, 1080)):
    """A data set of annotations alone: one frame per ship of this width and height in pixels."""
    images, annotations = [], []
    for number, side in enumerate(sides, 1):
        images.append({"id": number, "file_name": f"{number}.png", "width": frame_wh[0], "height": frame_wh[1]})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [10, 10, side, side],
                            "area": side * side, "iscrowd": 0})  # fmt: skip
    file = tmp_path / "all.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]})
    )
    return load_dataset(str(file))


def as_run(advice) -> TrainConfig:
    """The recommended command, parsed as the program would."""
    words = shlex.split(advice.command)
    assert words[:2] == ["wutdet", "train"]
    config = parse(TrainConfig, "train", words[2:])
    check(config)
    for name, value in advice.settings.items():
        assert attrgetter(name)(config) == value
    return config


def test_the_table_is_a_count_of_sizes(tmp_path, rng):
    sides = np.exp(rng.uniform(np.log(5), np.log(400), 300)).round(2)
    advice = advise(frames_with(tmp_path, sides.tolist()), "d")
    assert [c.long_side for c in advice.candidates] == [320, 416, 512, 640, 800, 960, 1280, 1600, 1920]
    for candidate in advice.candidates:
        scaled = sides * candidate.long_side / 1920
        assert candidate.below_8 == pytest.approx((scaled < 8).mean(), abs=0.005)
        assert candidate.below_16 == pytest.approx((scaled < 16).mean(), abs=0.005)
        assert candidate.median_px == pytest.approx(np.median(scaled), rel=1e-6)
    assert advice.facts["longer_than_a_third"] == pytest.approx((sides > 640).mean())


def test_large_ships_need_neither_crops_nor_a_large_input(tmp_path):
    advice = advise(frames_with(tmp_path, [200.0, 300, 900, 1000]), "my data")
    config = as_run(advice)
    assert advice.tile == "none" and "--tile" not in advice.to_text()
    assert (config.data, config.recipe, config.imgsz, config.frame_size) == ("my data", "full-frames", 320, None)


def test_far_ships_get_a_p2_head_without_stride_32_where_no_tiles_show_them_larger(tmp_path):
    far = frames_with(tmp_path, [10.0] * 30 + [14] * 30 + [40] * 40)
    config = as_run(advise(far, "d", timed=20.0, budget_ms=0.1))
    assert (config.recipe, config.model) == ("far-ships-p2", "yolo26n-p2ship")
    config = as_run(advise(far, "d"))
    assert (config.recipe, config.model, config.frame_size, config.imgsz) == ("horizon-tiles", "yolo26n", 1920, 640)


def test_tiles_follow_the_size_of_ships_in_the_frame(tmp_path):
    """Two rows and zoomed crops where ships are tiny in the frame itself, one row where only the input shrinks them."""
    cases = (
        ([10.0] * 30 + [14] * 30 + [40] * 40, "horizon@1+2", "horizon-tiles", 1.5, 1920),
        ([17.0] * 40 + [60] * 60, "horizon", "horizon-tiles", None, 1920),
        ([12.0] * 10 + [60] * 90, "none", "tiles-and-frames", None, 1280),
    )
    for sides, tile, recipe, zoom, frame_size in cases:
        advice = advise(frames_with(tmp_path, sides), "d")
        config = as_run(advice)
        assert (advice.tile, config.recipe, config.augment.zoom, config.frame_size) == (tile, recipe, zoom, frame_size)
        told = " ".join(advice.reasons)
        assert ("--tile" in told) == (tile != "none") and (f"(--tile {tile})" in told or tile == "none")
        assert ("No tiles" in told) == (tile == "none")


def test_what_is_told_of_tiles_is_what_was_measured(repository_dir):
    """The figures in the advice are those of results/ships-2026-11: AP, and times as multiples of whole frames'."""
    text = (repository_dir / "results/ships-2026-11/README.md").read_text("utf-8")
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    table = {row[0].split("*")[0]: (float(row[2]), float(row[3])) for row in rows if len(row) == 9 and "." in row[2]}
    (whole_ms, whole), (row_ms, row), (two_ms, two) = (table[p] for p in ("none", "horizon", "horizon@1+2"))
    told = re.findall(r"(?<= )\.\d{3}", module._MEASURED), re.findall(r"\((\d) times", module._MEASURED)
    assert told[0] == [f"{ap:.3f}"[1:] for ap in (whole, row, two)]
    assert told[1] == [f"{ms / whole_ms:.0f}" for ms in (row_ms, two_ms)]


def test_a_near_ship_among_small_ones_keeps_stride_32(tmp_path):
    advice = advise(frames_with(tmp_path, [10.0] * 50 + [40] * 40 + [700] * 10), "d")
    config = as_run(advice)
    assert config.recipe == "horizon-tiles" and config.model == "yolo26n" and config.whole_frames == 0.2
    bound = advise(frames_with(tmp_path, [10.0] * 50 + [40] * 40 + [700] * 10), "d", timed=20.0, budget_ms=0.1)
    assert as_run(bound).recipe == "small-ships"
    assert any("yolo26n-p2 " in reason for reason in bound.reasons)


def test_very_large_frames_are_tiled(tmp_path):
    advice = advise(frames_with(tmp_path, [9.0] * 10 + [30] * 90, frame_wh=(3840, 2160)), "d")
    assert (advice.facts["long_side"], advice.tile) == (3840, "1280")
    assert any("--tile 1280" in reason for reason in advice.reasons)
    tiny = advise(frames_with(tmp_path, [9.0] * 50 + [30] * 50, frame_wh=(3840, 2160)), "d")
    assert (tiny.facts["long_side"], tiny.tile) == (3840, "horizon@1+2")
    assert as_run(tiny).augment.zoom == 1.5


def test_a_budget_rules_out_larger_inputs(tmp_path):
    dataset = frames_with(tmp_path, [10.0] * 50 + [40] * 50)
    free = advise(dataset, "d")
    assert free.facts["long_side"] == 1600 and free.candidates[0].estimated_ms is None
    # 1600 x 900 is 1600 x 928 = 1.48 million pixels.
    bound = advise(dataset, "d", timed=20.0, budget_ms=20.0)
    assert bound.facts["long_side"] == 1280
    by_side = {c.long_side: c for c in bound.candidates}
    assert by_side[1600].estimated_ms == pytest.approx(20 * 1600 * 928 / 1e6)
    assert any("20 ms allow 1280 pixels" in reason for reason in bound.reasons)
    assert any("wutdet bench tiling MODEL d --split val --within-ms 20." in reason for reason in bound.reasons)
    enough = advise(dataset, "d", timed=20.0, budget_ms=1000.0)
    assert enough.facts["long_side"] == 1600
    never = advise(dataset, "d", timed=20.0, budget_ms=0.1)
    assert never.facts["long_side"] == 320 and any("No size fits" in reason for reason in never.reasons)
    config = as_run(never)
    assert (config.recipe, config.imgsz, config.frame_size) == ("far-ships-p2", 320, None)
    assert any("time a P2 model" in reason for reason in never.reasons)
    assert never.tile == "none" and any("whole frame alone takes more" in reason for reason in never.reasons)


def test_uneven_groups_are_balanced(tmp_path):
    dataset = frames_with(tmp_path, [100.0] * 100)
    names = ["long"] * 94 + ["a", "b", "c", "d", "e", "f"]
    assert as_run(advise(dataset.with_labels(sequence=LabelColumn.of(names)), "d")).balance == "sequence"
    conditions = np.zeros(100, np.uint32)
    conditions[:2], conditions[2:4], conditions[4:6] = 1, 2, 4
    assert as_run(advise(replace(dataset, conditions=conditions), "d")).balance == "condition"
    even = dataset.with_labels(sequence=LabelColumn.of(["a"] * 50 + ["b"] * 50))
    assert as_run(advise(even, "d")).balance == "none"


def test_data_without_ships_and_a_budget_without_a_model(tmp_path, sea):
    dataset = frames_with(tmp_path, [10.0])
    with pytest.raises(DataError, match="no ships to go by"):
        advise(dataset.select_boxes(np.zeros(1, bool)), "d")
    with pytest.raises(UsageError, match="needs a model"):
        module.run(AdviseConfig(data=str(sea), budget_ms=10.0))
    with pytest.raises(UsageError, match="above 0"):
        module.run(AdviseConfig(data=str(sea), budget_ms=0.0, model="m.onnx"))


def test_the_command_prints_and_writes(sea, tmp_path, capsys):
    assert (
        run(["data", "advise", str(sea), "--out", str(tmp_path / "advice.txt"), "--json", str(tmp_path / "a.json")])
        == 0
    )
    text = capsys.readouterr().out
    assert (tmp_path / "advice.txt").read_text() == text
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["schema"] == "wutdet.data.advise/2" and content["command"] in text
    assert content["frames"] == 8 and set(content["candidates"][0]) == set(Candidate.__dataclass_fields__)
    assert all(reason in text for reason in content["reasons"])


def test_a_model_is_timed_by_its_pixels(sea, artefact):
    per_megapixel = module.ms_per_megapixel(str(artefact("yolo26n", "nms", "fp32")), (160, 128), threads=1)
    assert 0 < per_megapixel < 1e6


def test_advice_needs_no_torch(sea):
    code = (
        "import sys; from wutdet.cli import run; run(sys.argv[1:]); "
        "assert not {'torch', 'ultralytics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "data", "advise", str(sea)], check=True, capture_output=True)
