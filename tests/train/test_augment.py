"""The maritime effects: switches, determinism, and that each does what it is named after."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from wutdet.config import AugmentConfig
from wutdet.train.augment import CAMERA, WEATHER, A, MaritimeEffects, add_noise, fog_share

EFFECTS = {**WEATHER, **CAMERA}


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    y, x = np.mgrid[0:160, 0:200]
    waves = 20 * (np.sin(x / 3) + np.cos(y / 2))
    return np.stack([100 + y // 4 + waves, 90 + x // 4 + waves, 60 + waves], axis=-1).astype(np.uint8)


def alone(name: str) -> MaritimeEffects:
    switches = {other: other == name for other in EFFECTS}
    return MaritimeEffects(AugmentConfig(**switches, probability=1.0))


@pytest.mark.parametrize("name", EFFECTS)
def test_each_effect_changes_pixels_only_and_repeats_for_a_seed(scene, name):
    effect, before = alone(name), scene.copy()
    for seed in range(4):
        out = effect(scene, 0.4, seed)
        assert out.shape == scene.shape and out.dtype == np.uint8 and (out != scene).any()
        np.testing.assert_array_equal(out, effect(scene, 0.4, seed))
        np.testing.assert_array_equal(scene, before)
    assert (effect(scene, 0.4, 0) != effect(scene, 0.4, 1)).any()


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("horizon", [-0.8, 0.0, 1.7])
def test_a_horizon_outside_the_picture_and_odd_sizes_are_fine(name, horizon):
    for shape in ((1, 1, 3), (7, 31, 3), (64, 33, 3)):
        assert alone(name)(np.full(shape, 120, np.uint8), horizon, 5).shape == shape


def test_every_effect_has_a_switch_and_the_reverse():
    switches = {f.name for f in fields(AugmentConfig) if f.type in (bool, "bool")} - {
        "crop",
        "text",
    }  # these need to know where the ships are
    assert switches == set(EFFECTS)


def test_all_switched_off_leaves_the_picture_alone(scene):
    assert MaritimeEffects(AugmentConfig(**dict.fromkeys(EFFECTS, False)))(scene, 0.4, 0) is scene
    assert MaritimeEffects(AugmentConfig(probability=0.0))(scene, 0.4, 0) is scene


def test_each_effect_comes_about_as_often_as_asked(scene):
    effects = MaritimeEffects(AugmentConfig(probability=0.1))
    drawn = dict.fromkeys(EFFECTS, 0)
    names = {effect: name for name, effect in EFFECTS.items()}
    for seed in range(300):
        effects(scene[:8, :8], 0.4, seed)
        weather, *camera = effects.pipeline.transforms
        for transform in [*weather.transforms, *camera]:
            drawn[names[type(transform)]] += bool(transform.params)
            transform.params = {}
    assert all(12 <= count <= 52 for count in drawn.values()), drawn


def test_fog_is_thickest_at_the_horizon():
    share = fog_share(100, 0.4, 0.7)
    assert abs(int(np.argmax(share)) - 40) <= 1
    assert (np.diff(share[:40]) > 0).all() and (np.diff(share[41:]) < 0).all()
    assert share.max() <= 0.71 and share[-1] < 0.1


def test_low_light_is_darker_and_noise_has_the_deviation_it_is_given(scene):
    assert alone("low_light")(scene, 0.4, 1).mean() < 0.7 * scene.mean()
    flat = np.full((200, 200, 3), 100, np.uint8)
    noisy = add_noise(flat, 4.0, 0.0, 9).astype(float)
    assert 3.5 < noisy.std() < 4.6 and abs(noisy.mean() - 100) < 0.5


def test_effects_are_plain_albumentations_transforms(scene):
    pipeline = A.Compose([effect(p=1.0) for effect in EFFECTS.values()], seed=1)
    assert pipeline(image=scene, horizon=0.4)["image"].shape == scene.shape
