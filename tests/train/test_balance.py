"""Epochs: every frame once, or groups in proportion to the root of their size; by seed and epoch alone."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.config import TrainConfig
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.load import load_dataset
from wutdet.train.balance import Balance, TrainingSampler, balance_of, groups_of
from wutdet.train.frames import TrainingPictures, training_loader
from wutdet.train.settings import picture_settings

UNEVEN = np.repeat([0, 1, 2], [400, 25, 4])


def epoch_of(sampler: TrainingSampler, epoch: int) -> list[tuple[int, ...]]:
    sampler.epoch = epoch
    return list(sampler)


def test_without_balance_every_frame_comes_once():
    addresses = epoch_of(TrainingSampler(50, seed=3), 2)
    assert sorted(addresses) == [(2, row, 0, False) for row in range(50)]
    assert addresses == epoch_of(TrainingSampler(50, seed=3), 2) != epoch_of(TrainingSampler(50, seed=4), 2)


def test_groups_come_in_proportion_to_the_root_of_their_size():
    rows = np.array([address[1] for address in epoch_of(TrainingSampler(429, 0, Balance(UNEVEN)), 0)])
    assert len(rows) == 429
    counts = np.bincount(UNEVEN[rows])
    expected = 429 * np.array([20, 5, 2]) / 27
    assert (np.abs(counts - expected) <= 1).all(), counts


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 2**31))
def test_inside_a_group_frames_come_equally_often(sizes, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    balance = Balance(groups)
    assert balance.shares.sum() == pytest.approx(1)
    met = np.bincount(balance.deal(np.random.default_rng(seed)), minlength=len(groups))
    assert met.sum() == len(groups)
    for group in range(len(sizes)):
        assert np.ptp(met[groups == group]) <= 1


def test_over_many_epochs_every_frame_of_a_large_group_is_seen():
    sampler = TrainingSampler(429, 0, Balance(UNEVEN))
    seen = {address[1] for epoch in range(12) for address in epoch_of(sampler, epoch)}
    assert len(seen) == 429


def test_frames_that_come_again_have_another_address_and_look_different(sea):
    addresses = epoch_of(TrainingSampler(429, 0, Balance(UNEVEN)), 5)
    assert len(set(addresses)) == len(addresses)
    assert {len(address.seed) for address in addresses} == {2, 3}
    pictures = TrainingPictures(
        load_dataset(str(sea), classes="ship"), picture_settings(TrainConfig(data="", imgsz=64))
    )
    first, again = pictures[(5, 1)], pictures[(5, 1, 1)]
    assert (first["img"] != again["img"]).any()
    assert (again["img"] == pictures[(5, 1, 1)]["img"]).all()


def test_independent_draws_follow_the_shares():
    drawn = Balance(UNEVEN).draw(np.random.default_rng(0), 20_000)
    np.testing.assert_allclose(np.bincount(UNEVEN[drawn]) / 20_000, np.array([20, 5, 2]) / 27, atol=0.02)


def test_groups_are_sequences_conditions_or_sources(sea):
    dataset = load_dataset(str(sea), classes="ship")
    count = len(dataset)
    tagged = dataset.with_labels(
        sequence=LabelColumn.of(["a"] * 3 + ["b"] * (count - 3)),
        source=LabelColumn.of(["x"] * 5 + [None] * (count - 5)),
    )
    assert np.bincount(groups_of(tagged, "sequence")).tolist() == [3, count - 3]
    assert sorted(np.bincount(groups_of(tagged, "source")).tolist()) == sorted([5, count - 5])
    conditions = np.zeros(count, np.uint32)
    conditions[:2], conditions[2:4] = 1, 5
    from dataclasses import replace

    groups = groups_of(replace(dataset, conditions=conditions), "condition")
    assert sorted(np.bincount(groups).tolist()) == sorted([2, 2, count - 4])


def test_one_group_is_said_and_changes_nothing(sea, caplog):
    dataset = load_dataset(str(sea), classes="ship")
    with caplog.at_level(logging.WARNING, logger="wutdet"):
        assert balance_of(dataset, "condition") is None
    assert "--balance condition changes nothing" in caplog.text
    assert balance_of(dataset, "none") is None


def test_the_loader_balances_and_mosaics_take_balanced_partners(sea):
    dataset = load_dataset(str(sea), classes="ship")
    dataset = dataset.with_labels(source=LabelColumn.of(["rare"] + ["common"] * (len(dataset) - 1)))
    config = picture_settings(TrainConfig(data="", imgsz=64, balance="source", mosaic=1.0, epochs=10))
    loader = training_loader(dataset, config, batch=4, workers=0)
    rows = [address[1] for address in epoch_of(loader.sampler, 0)]
    assert rows.count(0) > 1 and len(rows) == len(dataset)
    assert loader.dataset.balance is loader.sampler.balance
    assert sum(len(batch["im_file"]) for batch in loader) == len(dataset)
