"""Calibration frames: training frames only, evenly over sequences, with a digest."""

from __future__ import annotations

import numpy as np
import pytest

from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError, UsageError
from wutdet.quantize.calibrate import choose_frames


def test_only_training_frames_evenly_over_sequences(dataset_file):
    dataset = load_dataset(dataset_file)
    chosen = choose_frames(dataset, "train", 4, seed=1)
    assert set(chosen.dataset.split.counts()) == {"train"}
    counts = chosen.dataset.sequence.counts()
    assert len(counts) == 3  # three sequences of two frames: none gives a second before all gave one
    assert sorted(counts.values()) == [1, 1, 2]
    assert len(choose_frames(dataset, "train", 100, seed=1).dataset) == 6


def test_seed_and_content_decide_the_digest(dataset_file, tmp_path):
    dataset = load_dataset(dataset_file)
    digest = choose_frames(dataset, "train", 3, seed=1).digest
    assert digest == choose_frames(dataset, "train", 3, seed=1).digest
    others = {choose_frames(dataset, "train", 3, seed=s).digest for s in range(2, 8)}
    assert others != {digest}


@pytest.mark.parametrize("split", ["val", "test", "Validation"])
def test_held_out_splits_are_refused(dataset_file, split):
    with pytest.raises(UsageError, match="refused"):
        choose_frames(load_dataset(dataset_file), split, 3, seed=0)


def test_unknown_split_and_no_frames(dataset_file):
    with pytest.raises(DataError, match="split 'trian'"):
        choose_frames(load_dataset(dataset_file), "trian", 3, seed=0)
    with pytest.raises(UsageError, match="at least one"):
        choose_frames(load_dataset(dataset_file), "train", 0, seed=0)


def test_unreadable_picture_is_an_error(dataset_file, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(dataset_file.parent, copy)
    dataset = load_dataset(copy / dataset_file.name)
    (copy / "images" / "frame0.png").write_bytes(b"no picture")
    chosen = choose_frames(dataset, "train", 6, seed=0)
    with pytest.raises(DataError, match=r"frame0\.png"):
        list(chosen.network_inputs((64, 64)))
    (copy / "images" / "frame0.png").unlink()
    with pytest.raises(DataError, match=r"frame0\.png"):
        choose_frames(dataset, "train", 6, seed=0)


def test_inputs_are_those_of_the_detector(dataset_file, artefact):
    from wutdet.runtime.detector import Detector

    chosen = choose_frames(load_dataset(dataset_file), "train", 6, seed=0)
    detector = Detector(artefact("yolo26n", "nms", "fp32"))
    for row, value in enumerate(chosen.network_inputs((160, 160))):
        np.testing.assert_array_equal(value, detector.preprocess(chosen.dataset.read_image(row))[0])
