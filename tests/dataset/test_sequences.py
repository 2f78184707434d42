"""Sequences: given, from frame numbers, from nothing; and the links between them."""

from __future__ import annotations

import numpy as np
import pytest

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.pictures import MISSING, PICTURE
from wutdet.dataset.sequences import NO_BLOCK, block_number, linked_sequences, with_sequences


def frames(tmp_path, *rows):
    """A data set from (path, frame_index, sequence, source)."""
    builder = DatasetBuilder(tmp_path, ClassMap.single())
    for path, number, sequence, source in rows:
        builder.add_image(path, (100, 50), frame_index=number, labels={"sequence": sequence, "source": source})
    return builder.build()


def names_of(dataset) -> list:
    return [dataset.sequence[row] for row in range(len(dataset))]


def test_ids_are_kept_and_frame_numbers_make_blocks(tmp_path):
    dataset = frames(
        tmp_path,
        ("a/0.jpg", 0, "cam", None),
        ("JPEGImages/0000980.jpg", 980, None, None),
        ("JPEGImages/0001000.jpg", 1000, None, None),
        ("JPEGImages/0001020.jpg", 1020, None, "wutdet"),
        ("photos/yacht 1.jpg", -1, None, None),
    )
    assert block_number(dataset, 1000).tolist() == [NO_BLOCK, 0, 1, 1, NO_BLOCK]
    assert names_of(with_sequences(dataset, 1000)) == [
        "cam", "block-000000", "block-000001", "wutdet/block-000001", "photos/yacht 1",
    ]  # fmt: skip


def test_numbers_that_occur_in_two_folders_are_the_folders_own(tmp_path):
    dataset = frames(tmp_path, ("a/1.jpg", 1, None, None), ("b/1.jpg", 1, None, None), ("b/2.jpg", 2, None, None))
    assert names_of(with_sequences(dataset, 10)) == ["a/block-000000", "b/block-000000", "b/block-000000"]
    apart = frames(tmp_path, ("train/1.jpg", 1, None, None), ("val/2.jpg", 2, None, None))
    assert names_of(with_sequences(apart, 10)) == ["block-000000", "block-000000"]


def test_a_data_set_with_all_ids_comes_back_as_it_is(tmp_path):
    dataset = frames(tmp_path, ("a/0.jpg", 0, "cam", None))
    assert with_sequences(dataset, 10) is dataset


@pytest.fixture
def four(tmp_path):
    """Four sequences of two frames, with hashes all different; the last two frames have three boxes in one place."""
    builder = DatasetBuilder(tmp_path, ClassMap.single())
    for row in range(8):
        builder.add_image(f"{row}.jpg", (100, 50), labels={"sequence": "abcd"[row // 2]})
        for x in (10, 40, 70) if row in (1, 6) else (5,):
            builder.add_box(row, (x + row / 10, 10, x + 20 + row / 10, 30), "ship")
    pictures = np.zeros(8, dtype=PICTURE)
    pictures["hash"] = np.random.default_rng(0).integers(0, 2**63, (8, 4), dtype=np.uint64)
    return builder.build(), pictures


def test_without_twins_no_sequences_are_linked_but_by_objects(four):
    dataset, pictures = four
    assert linked_sequences(dataset, pictures, 10).tolist() == [0, 1, 2, 0]
    assert linked_sequences(dataset.select_boxes(np.arange(0)), pictures, 10).tolist() == [0, 1, 2, 3]


def test_links_of_links_count_and_the_distance_is_a_limit(four):
    dataset, pictures = four
    dataset = dataset.select_boxes(np.arange(0))
    pictures["hash"][3] = pictures["hash"][0] ^ np.array([0b11111, 0, 0, 0b1], dtype=np.uint64)  # b to a, 6 bits
    pictures["hash"][7] = pictures["hash"][2]  # d to b, by b's other frame
    assert linked_sequences(dataset, pictures, 6).tolist() == [0, 0, 2, 0]
    assert linked_sequences(dataset, pictures, 5).tolist() == [0, 1, 2, 1]


def test_pictures_that_cannot_be_read_link_nothing(four):
    dataset, pictures = four
    pictures["hash"] = 0
    pictures["status"][2:] = MISSING
    assert linked_sequences(dataset.select_boxes(np.arange(0)), pictures, 10).tolist() == [0, 1, 2, 3]
