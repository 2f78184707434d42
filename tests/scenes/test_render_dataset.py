"""Whole data sets: layout, independence of workers, resuming, refusing bad folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from wutdet.config import RenderConfig
from wutdet.dataset.load import load_dataset
from wutdet.errors import UsageError, WutdetError
from wutdet.scenes import plan as plan_module
from wutdet.scenes import render
from wutdet.scenes.direct import direct
from wutdet.scenes.plan import plan


@pytest.fixture
def small_frames(monkeypatch):
    """Frames of 320x180, so that these tests are quick; the specs carry the size to the worker processes."""
    monkeypatch.setattr(plan_module, "SIZES", {"1080p": (320, 180), "1440p": (384, 216)})


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_plan_deals_all_pairs_and_extends():
    specs = plan(28, 5)
    tags = {(s.scene, c) for s in specs for c in s.conditions or ("clear",)}
    assert len(tags) == 20
    assert plan(6, 5) == specs[:6] and plan(6, 6) != specs[:6]
    assert {c for s in plan(12, 0) for c in s.conditions or ("clear",)} == {
        "clear",
        "fog",
        "glare",
        "low_light",
        "rain",
    }
    assert {s.size_wh for s in plan(6, 0, "mixed")} == {(1920, 1080), (2560, 1440)}
    assert len({s.name for s in specs}) == 28


def test_layout_and_reading_back(tmp_path, small_frames):
    out = tmp_path / "rendered ö"
    dataset = render.render_dataset(out, sequences=5, frames=2, workers=1)
    assert len(dataset) == 10 and dataset.box_count > 5
    assert sorted(p.name for p in (out / "images").iterdir()) == sorted(
        f"{render.frame_name(s, i)}.jpg" for s in plan(5, 0) for i in range(2)
    )
    again = load_dataset(out / "annotations" / "all.json")
    assert list(again.sequence) == list(dataset.sequence)
    np.testing.assert_array_equal(again.xyxy, dataset.xyxy)
    np.testing.assert_array_equal(again.ignore, dataset.ignore)
    assert again.scene.counts() == dataset.scene.counts()
    assert [again.conditions_of(i) for i in range(10)] == [dataset.conditions_of(i) for i in range(10)]
    assert again.split.counts() == {} and again.source.counts() == {"rendered": 10}
    assert again.frame_index.tolist() == [0, 1] * 5
    assert again.read_image(3).shape == (180, 320, 3)
    # Water as far ahead as can be lies on the labelled horizon.
    for row, (spec, number) in enumerate((s, i) for s in plan(5, 0) for i in range(2)):
        camera = direct(spec).camera(number * spec.stride_s)
        ahead = 1e8 * np.array([np.sin(camera.yaw), np.cos(camera.yaw), 0])
        assert float(again.labels["horizon"][row]) == pytest.approx(camera.project(ahead[None])[0][0, 1], abs=0.1)
    reference = COCO(out / "annotations" / "all.json")
    assert len(reference.imgs) == 10 and len(reference.anns) == dataset.box_count
    assert "Rendered sea scenes" in (out / "README.md").read_text("utf-8")


def test_bytes_do_not_depend_on_workers(tmp_path, small_frames):
    render.render_dataset(tmp_path / "one", sequences=3, frames=2, workers=1)
    render.render_dataset(tmp_path / "two", sequences=3, frames=2, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_interrupted_run_continues(tmp_path, small_frames, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    render.render_dataset(whole, sequences=2, frames=3, workers=1)
    real, calls = render._render_one, []

    def stop_after_three(*arguments):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(arguments)
        real(*arguments)

    monkeypatch.setattr(render, "_render_one", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        render.render_dataset(cut, sequences=2, frames=3, workers=1)
    assert not (cut / "annotations").exists()
    monkeypatch.setattr(render, "_render_one", real)
    # A picture whose boxes were not written yet, and boxes that are damaged, are made again.
    victim = sorted((cut / ".frames").iterdir())[0]
    victim.write_text("{")
    result = render.run(RenderConfig(cut, sequences=2, frames=3, workers=1))
    assert (result.rendered, result.kept) == (4, 2)
    assert contents(cut) == contents(whole)
    assert result.to_json()["frames"] == 6 and result.to_json()["schema"] == "wutdet.render/1"
    assert "kept 2 frames" in result.to_text()


def test_a_finished_folder_is_left_alone_and_can_grow(tmp_path, small_frames):
    out = tmp_path / "out"
    render.render_dataset(out, sequences=1, frames=2, workers=1)
    stamps = {p: p.stat().st_mtime_ns for p in (out / "images").iterdir()}
    dataset = render.render_dataset(out, sequences=2, frames=2, workers=1)
    assert len(dataset) == 4
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())


def test_other_settings_are_refused(tmp_path, small_frames):
    render.render_dataset(tmp_path, sequences=1, frames=1, workers=1)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"another rendering \(seed 0 there, 1 asked\)"):
        render.render_dataset(tmp_path, sequences=1, frames=1, workers=1, seed=1)
    assert contents(tmp_path) == before


def test_bad_output_folders(tmp_path, small_frames):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match="not a folder"):
        render.render_dataset(file, sequences=1, frames=1)
    with pytest.raises(UsageError, match="not empty"):
        render.render_dataset(tmp_path, sequences=1, frames=1)
    with pytest.raises(WutdetError, match=r"cannot write|not a folder|Not a directory"):
        render.render_dataset(file / "below", sequences=1, frames=1)
    assert file.read_text() == "mine"
    marker = tmp_path / "odd" / "render.json"
    marker.parent.mkdir()
    marker.write_text("[")
    with pytest.raises(UsageError, match=r"render\.json"):
        render.render_dataset(marker.parent, sequences=1, frames=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequences": 0},
        {"frames": -1},
        {"stride_s": 0.0},
        {"stride_s": float("nan")},
        {"quality": 101},
        {"workers": -1},
        {"size": "4k"},
    ],
)
def test_numbers_out_of_range(tmp_path, wrong):
    with pytest.raises(UsageError):
        render.render_dataset(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_boxes_lie_in_the_frame(tmp_path, small_frames):
    dataset = render.render_dataset(tmp_path / "out", sequences=4, frames=1, workers=1)
    size = dataset.size_wh[dataset.box_image]
    assert (dataset.xyxy[:, :2] >= 0).all() and (dataset.xyxy[:, 2:] <= size).all()
    assert (dataset.xyxy[:, 2:] > dataset.xyxy[:, :2]).all()
    assert json.loads((tmp_path / "out" / "render.json").read_text())["version"] == render.RENDERER_VERSION
