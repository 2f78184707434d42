"""Recipes of ``wutdet train``: named sets of defaults that belong together. Options given beside a recipe win."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wutdet.config import AugmentConfig, TrainConfig
from wutdet.errors import UsageError, suggest


@dataclass(frozen=True)
class Recipe:
    """A named set of defaults.

    Attributes:
        name: as ``--recipe`` takes it.
        meaning: one sentence for help and reference.
        settings: fields of TrainConfig that differ from its defaults.
    """

    name: str
    meaning: str
    settings: Mapping[str, Any] = field(default_factory=dict)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("default", "The defaults as listed: whole frames and crops that zoom in on far ships."),
        Recipe(
            "full-frames",
            "Whole frames only, for ships of middling size or close by.",
            {"augment": AugmentConfig(crop=False)},
        ),
        Recipe(
            "tiles",
            "Crops of 640 pixels from frames of 1280 only, for detectors that are run tile by tile.",
            {"frame_size": 1280, "whole_frames": 0.0},
        ),
        Recipe(
            "tiles-and-frames",
            "Crops of 640 pixels from frames of 1280, and one whole frame in seven: for inputs of 1280 pixels.",
            {"frame_size": 1280},
        ),
        Recipe(
            "horizon-tiles",
            "What the released detector was trained with, for use with tiles along the horizon (horizon@1+2): crops of "
            "640 pixels from frames at their own size (up to 1920 pixels, never enlarged), enlarged up to 1.5 times, a "
            "tenth whole frames; small ships pasted in 3 of 10 pictures; rare sources more often; a learning rate for "
            "COCO weights and about 7 epochs.",
            {
                "frame_size": 1920,
                "max_scale": 1.0,
                "whole_frames": 0.1,
                "balance": "source",
                "lr0": 0.0005,
                "augment": AugmentConfig(paste=0.3, zoom=1.5),
            },
        ),
        Recipe(
            "small-ships",
            "As tiles-and-frames, with small ships pasted in 3 of 10 pictures.",
            {"frame_size": 1280, "augment": AugmentConfig(paste=0.3)},
        ),
        Recipe(
            "far-ships-p2",
            "As small-ships, with predictions at strides 4, 8 and 16 instead of 8, 16 and 32: for data without ships "
            "wider than a third of the input, and for long trainings: its head and part of its neck start from "
            "nothing even with COCO weights, and it was far behind after 7 epochs of 700 frames.",
            {
                "model": "yolo26n-p2ship",
                "frame_size": 1280,
                "whole_frames": 0.1,
                "augment": AugmentConfig(paste=0.3),
            },
        ),
    )
}  # fmt: skip


def settings_of(name: str) -> dict[str, Any]:
    """Fields of TrainConfig that a recipe sets, its own name among them.

    Raises:
        UsageError: there is no such recipe.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe '{name}'.{suggest(name, RECIPES)}", hint=f"known: {', '.join(RECIPES)}")
    return {**RECIPES[name].settings, "recipe": name}


def train_config(recipe: str, data: str, **settings) -> TrainConfig:
    """A TrainConfig with the defaults of a recipe.

    Args:
        recipe: name.
        data: as TrainConfig.data.
        settings: further fields; they win over the recipe.

    Raises:
        UsageError: there is no such recipe.
    """
    return TrainConfig(**{"data": data, **settings_of(recipe), **settings})
