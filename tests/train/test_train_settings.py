"""Settings and data that make no sense end in one clear message, before anything is written."""

from __future__ import annotations

import json
import typing
from pathlib import Path

import pytest

from wutdet.cli import run as command_line
from wutdet.config import AugmentConfig, TinyConfig, TrainConfig
from wutdet.errors import DataError, ModelError, UsageError
from wutdet.train.ranges import RANGES, fields_of
from wutdet.train.records import new_run_folder
from wutdet.train.run import run, training_frames, validation_frames
from wutdet.train.settings import check, extra_settings, resumed_config, ultralytics_settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"batch": 0}, "--batch"),
        ({"imgsz": 100}, "multiple of 32"),
        ({"frame_size": 320}, "--frame-size 320 is below"),
        ({"mosaic": 1.5}, "--mosaic is a probability"),
        ({"augment": AugmentConfig(probability=-1)}, "--augment.probability"),
        ({"augment": AugmentConfig(paste=2)}, "--augment.paste is a probability"),
        ({"augment": AugmentConfig(zoom=0.5)}, "--augment.zoom must be from 1 to 8"),
        ({"tiny": TinyConfig(nwd=1.5)}, "--tiny.nwd is a share"),
        ({"tiny": TinyConfig(weight=-1)}, "--tiny.weight must be at least 0"),
        ({"tiny": TinyConfig(below=0)}, "--tiny.below must be above 0"),
        ({"tiny": TinyConfig(nwd_scale=-3)}, "--tiny.nwd-scale must be above 0"),
        ({"minutes": 0.0}, "--minutes"),
        ({"lr0": 3.0}, "--lr0"),
        ({"extra": ("bx=7.5",)}, r"does not take 'bx'\. Did you mean 'box'\?"),
        ({"extra": ("mixup=0.5",)}, "does not take 'mixup'"),
        ({"extra": ("box",)}, "not key=value"),
        ({"extra": ("box=high",)}, "ultralytics refuses"),
        ({"extra": ("box=.nan",)}, "--extra box must be a finite number"),
        ({"extra": ("nbs=0",)}, "--extra nbs must be a finite number of at least 1"),
        ({"minutes": float("nan")}, "--minutes must be a finite number, received nan"),
        ({"max_scale": float("inf")}, "--max-scale must be a finite number"),
        ({"whole_frames": 3}, "--whole-frames is a share"),
        ({"seed": -1}, "--seed must be from 0"),
        ({"patience": -1}, "--patience must be at least 0"),
        ({"close_mosaic": -1}, "--close-mosaic must be at least 0"),
        ({"augment": AugmentConfig(scale=-1)}, "--augment.scale is a share"),
        ({"augment": AugmentConfig(scale=float("nan"))}, "--augment.scale must be a finite number"),
        ({"augment": AugmentConfig(flip=7)}, "--augment.flip is a probability"),
        ({"augment": AugmentConfig(focus=1.5)}, "--augment.focus is a probability"),
        ({"tiny": TinyConfig(assign="ciou")}, "--tiny.assign takes one of iou, nwd, received 'ciou'"),
        ({"model": "yolov8n-p6", "imgsz": 96}, "--imgsz must be a multiple of 64"),
        ({"model": "yolov8n", "freeze": 23}, "--freeze 23 leaves nothing to train"),
        ({"device": "0,1"}, "one device"),
        ({"optimizer": "AdamX"}, r"unknown optimizer 'AdamX'\. Did you mean 'Adam"),
    ],
)
def test_settings_that_make_no_sense(sea, tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        run(TrainConfig(data=str(sea), out=tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_data_is_needed_but_for_a_run_that_goes_on(tmp_path):
    with pytest.raises(UsageError, match="train needs DATA") as info:
        command_line(["train", "--out", str(tmp_path / "run")])
    assert "--resume FOLDER" in info.value.hint
    with pytest.raises(ModelError, match=r"config\.json"):  # asks for the run, not for DATA
        command_line(["train", "--resume", str(tmp_path)])


def test_every_number_has_a_range():
    numbers = {name for name, kind, _ in fields_of(TrainConfig("")) if {int, float} & {kind, *typing.get_args(kind)}}
    assert numbers == set(RANGES) and len(numbers) > 25
    check(TrainConfig("", out=Path("no such folder")))


def test_a_folder_without_a_name_cannot_be_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new_run_folder(Path(".")) == Path(".")  # as long as it is empty
    for out in (".", ".."):
        with pytest.raises(UsageError, match=f"--out {out} is not empty, and has no name"):
            check(TrainConfig("", out=Path(out)))
        with pytest.raises(UsageError, match="no name that a number"):
            new_run_folder(Path(out))
    check(TrainConfig("", out=Path("."), resume=Path(".")))


def test_processes_that_start_together_get_folders_of_their_own(tmp_path, monkeypatch):
    """The second asks when the first has made the folder and put nothing in it yet."""
    wanted, others = tmp_path / "run", []
    mkdir = Path.mkdir

    def interrupted(self, *arguments, **named):
        mkdir(self, *arguments, **named)
        if self == wanted and not others:
            others.append(None)
            others[0] = new_run_folder(wanted)

    monkeypatch.setattr(Path, "mkdir", interrupted)
    assert {new_run_folder(wanted), others[0]} == {wanted, tmp_path / "run2"}


def test_a_typo_in_an_option_ends_with_code_2_and_a_suggestion(sea, capsys):
    from wutdet.cli import run as command_line

    with pytest.raises(SystemExit) as caught:
        command_line(["train", str(sea), "--epoch", "3"])
    assert caught.value.code == 2 and "--epochs" in capsys.readouterr().err


def test_data_without_validation_frames(tmp_path, write_picture):
    write_picture(tmp_path / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20], "area": 600, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "ship"}],
    }
    (tmp_path / "annotations").mkdir()
    file = tmp_path / "annotations" / "frames.json"
    file.write_text(json.dumps(content))
    config = TrainConfig(data=str(file), out=tmp_path / "run")
    with pytest.raises(DataError, match="nothing to validate on"):
        validation_frames(config)
    assert len(training_frames(config)) == 1
    assert len(validation_frames(TrainConfig(data=str(file), val=str(file)))) == 1
    content["annotations"] = []
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no box to learn from"):
        training_frames(config)


def test_an_empty_or_unknown_split_is_named(sea):
    with pytest.raises(DataError, match=r"split 'trian' has no frames.*Did you mean 'train'"):
        training_frames(TrainConfig(data=str(sea), train_split="trian"))
    with pytest.raises(DataError, match="split 'test' has no frames"):
        validation_frames(TrainConfig(data=str(sea), val_split="test"))


def test_a_broken_frame_is_named(tmp_path, sea):
    import shutil

    shutil.copytree(sea.parent.parent, tmp_path / "copy")
    broken = tmp_path / "copy" / "images" / "frame 3.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(DataError) as caught:
        run(TrainConfig(data=str(tmp_path / "copy" / "annotations" / "all.json"), out=tmp_path / "run", epochs=1,
                        imgsz=64, batch=4, workers=0, mosaic=0.0))  # fmt: skip
    assert caught.value.file == str(broken)


def test_defaults_follow_from_the_start(sea, tmp_path):
    config = TrainConfig(data=str(sea), epochs=10, batch=4)
    fresh = ultralytics_settings(config, 8)
    assert fresh["optimizer"] == "AdamW" and fresh["amp"] is False and fresh["plots"] is False
    tuned = ultralytics_settings(TrainConfig(data=str(sea), weights=tmp_path / "w.pt"), 8)
    assert tuned["lr0"] < fresh["lr0"]
    assert ultralytics_settings(config, 10**6)["optimizer"] == "SGD"
    chosen = ultralytics_settings(TrainConfig(data=str(sea), lr0=0.03, extra=("box=5", "lrf=0.5")), 8)
    assert (chosen["lr0"], chosen["box"], chosen["lrf"]) == (0.03, 5, 0.5)


def test_no_extra_settings():
    assert extra_settings(()) == {}


def test_a_saved_configuration_comes_back(tmp_path):
    from wutdet.config import to_json

    config = TrainConfig(data="d.yaml", weights=tmp_path / "w.pt", augment=AugmentConfig(fog=False), extra=("box=5",),
                         frame_size=1280, minutes=3.0)  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"train": to_json(config)}))
    again = resumed_config(tmp_path)
    assert again == TrainConfig(**{**vars(config), "resume": tmp_path})
    check(again)


def test_a_configuration_of_another_version_comes_back_without_what_is_unknown(tmp_path, caplog):
    saved = {"data": "d", "extra": [], "speed": 1, "augment": {"fog": False, "snow": True}, "tiny": {"huge": 3}}
    (tmp_path / "config.json").write_text(json.dumps({"train": saved}))
    again = resumed_config(tmp_path)
    assert not again.augment.fog and again.tiny == TinyConfig()
    assert "goes on without: speed, augment.snow, tiny.huge" in caplog.text
    for broken, words in (({**saved, "augment": 3}, "object in 'augment', found 3"), ({}, "'data' is missing")):
        (tmp_path / "config.json").write_text(json.dumps({"train": broken}))
        with pytest.raises(ModelError, match=words):
            resumed_config(tmp_path)
