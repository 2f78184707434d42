"""Recipes: every one makes a valid run, options given beside it win, and the help says what there is."""

from __future__ import annotations

from dataclasses import fields

import pytest

from wutdet.cli import parse, run
from wutdet.config import TrainConfig
from wutdet.errors import UsageError
from wutdet.recipes import RECIPES, settings_of, train_config
from wutdet.train.architecture import architecture, known_architectures
from wutdet.train.settings import check, picture_settings


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_valid_run(name):
    config = train_config(name, "data.yaml")
    check(config)
    assert config.recipe == name and config.data == "data.yaml"
    assert picture_settings(config).imgsz == config.imgsz
    assert architecture(config.model)["head"][-1][2] == "Detect"


def test_the_default_recipe_changes_nothing():
    assert train_config("default", "d") == TrainConfig(data="d")
    assert parse(TrainConfig, "train", ["d"]) == TrainConfig(data="d")


def test_options_beside_a_recipe_win():
    arguments = ["d", "--recipe", "far-ships-p2", "--frame-size", "1920", "--tiny.nwd", "0.1", "--augment.fog", "False"]
    with pytest.raises(SystemExit):
        parse(TrainConfig, "train", arguments)  # switches have no values
    config = parse(TrainConfig, "train", [*arguments[:-2], "--augment.no-fog", "epochs=3"])
    recipe = train_config("far-ships-p2", "d")
    assert (config.frame_size, config.tiny.nwd, config.augment.fog, config.epochs) == (1920, 0.1, False, 3)
    assert (config.model, config.tiny.assign, config.augment.paste) == ("yolo26n-p2ship", "iou", recipe.augment.paste)
    assert config.augment.paste == 0.3
    assert config.recipe == "far-ships-p2"
    assert parse(TrainConfig, "train", ["d", "recipe=tiles"]) == train_config("tiles", "d")
    assert train_config("tiles", "d", frame_size=None).frame_size is None


def test_an_unknown_recipe_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match=r"unknown recipe 'small-ship'\. Did you mean 'small-ships'"):
        run(["train", "d", "--recipe", "small-ship"])
    with pytest.raises(UsageError, match="unknown recipe"):
        train_config("best", "d")


def test_the_help_shows_the_defaults_of_the_recipe_and_names_all(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(TrainConfig, "train", ["--recipe", "far-ships-p2", "--help"])
    shown = capsys.readouterr().out
    assert caught.value.code == 0 and "yolo26n-p2ship" in shown
    words = shown.replace("\n", " ")
    assert all(name in words for name in RECIPES)


def test_recipes_set_fields_that_there_are():
    known = {f.name for f in fields(TrainConfig)}
    assert all(set(settings_of(name)) <= known for name in RECIPES)


def test_own_definitions_are_known_by_name_and_size():
    known = known_architectures()
    assert known["yolo26n-p2ship"] == known["yolo26s-p2ship"]
    assert architecture("yolo26s-p2ship")["scale"] == "s" and architecture("yolo26n-p2ship")["scale"] == "n"
