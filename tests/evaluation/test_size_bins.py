"""Own size bins, in pixels of the frame, of the network input, and as shares of the frame, by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from coco_scenes import scene
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tables import found_table, truth_table
from test_coco_statistics import tables
from test_presets import cases

from wutdet.config import AnalysisConfig
from wutdet.errors import UsageError
from wutdet.evaluation.analyse import analyse
from wutdet.evaluation.matching import match
from wutdet.evaluation.protocol import ALL, HUGE_PX2, View, size_bins

# Own size bins ---------------------------------------------------------------------------------------------------


def test_own_bins_in_pixels_frame_shares_and_input_pixels():
    assert [(v.low, v.high, v.unit) for v in size_bins("8,16")] == [
        (0, 64, "px"), (64, 256, "px"), (256, HUGE_PX2, "px"),
    ]  # fmt: skip
    assert [v.name for v in size_bins("8,16@input")] == ["<8 input px", "8-16 input px", ">16 input px"]
    low, high = size_bins("1/64@frame")
    assert (low.low, low.high, high.low, high.high) == (0, 1 / 4096, 1 / 4096, 1.0)
    assert low.edges == (0.0, 1 / 64) and high.edges == (1 / 64, None)


@pytest.mark.parametrize(
    "text", ["", "8,", "16,8", "8,8", "0,8", "-1,8", "nan", "inf", "8;16", "1/0", "8,16@metres", "@px"]
)
def test_bins_that_cannot_be_are_refused(text):
    with pytest.raises(UsageError):
        size_bins(text)


def bins_of(truth, found, bins: str, **sizes) -> list[dict]:
    return analyse(truth, found, AnalysisConfig(bins=bins, resamples=0, full=False), **sizes).size_bins


def test_bins_in_input_pixels_depend_on_each_frame():
    # The same 20 x 20 ship: at an input of 640 it is 10 px in a frame of 1280 x 720, 20 px in one of 640 x 480, and
    # 5 px in one of 1440 x 2560. Only the second and third are found.
    sizes = np.array([[1280, 720], [640, 480], [1440, 2560]])
    truth = truth_table([(i, 0, 0, 0, 20, 20, 0) for i in range(3)], images=3, size_wh=sizes[0])
    truth = dataclasses.replace(truth, size_wh=sizes)
    found = found_table([(i, 0, 0, 0, 20, 20, 0.9) for i in (1, 2)])
    rows = bins_of(truth, found, "8,16@input", input_size=640)
    assert [(row["boxes"], row["recall50"]) for row in rows] == [(1, 1.0), (1, 0.0), (1, 1.0)]
    rows = bins_of(truth, found, "8,16@input", input_size=1280)  # 20, 40, 10 px
    assert [(row["boxes"], row["recall50"]) for row in rows] == [(0, None), (1, 1.0), (2, 0.5)]
    # Shares of the frame: the square root of 400 / (W H) is 1/48, 1/27.7 and 1/96.
    rows = bins_of(truth, found, "1/60,1/40@frame")
    assert [(row["boxes"], row["recall50"]) for row in rows] == [(1, 1.0), (1, 0.0), (1, 1.0)]


def test_a_false_alarm_counts_in_the_bin_of_its_own_size_in_its_own_frame():
    truth = truth_table([(0, 0, 0, 0, 10, 10, 0), (1, 0, 0, 0, 10, 10, 0)], images=2, size_wh=(640, 640))
    truth = dataclasses.replace(truth, size_wh=np.array([[640, 640], [1280, 1280]]))
    hits = [(0, 0, 0, 0, 10, 10, 0.8), (1, 0, 0, 0, 10, 10, 0.8)]
    found = found_table([*hits, (1, 0, 300, 300, 312, 312, 0.9)])  # 6 px of the input: with the small ones
    small, large = bins_of(truth, found, "8@input", input_size=640)
    assert (small["boxes"], large["boxes"]) == (1, 1)
    assert small["AP50"] == pytest.approx(0.5) and large["AP50"] == pytest.approx(1.0)


def test_bins_that_need_unknown_sizes_are_refused():
    truth = truth_table([(0, 0, 0, 0, 10, 10, 0)], images=1)
    with pytest.raises(UsageError, match="--imgsz"):
        bins_of(truth, found_table([]), "8@input")
    nameless = dataclasses.replace(truth, size_wh=None)
    for bins, sizes in (("1/8@frame", {}), ("8@input", {"input_size": 640})):
        with pytest.raises(UsageError, match="'width' and 'height'"):
            bins_of(nameless, found_table([]), bins, **sizes)


@settings(max_examples=25, deadline=None)
@given(cases, st.sampled_from([320, 640, 960]))
def test_input_pixel_bins_equal_frame_pixel_bins_scaled(case, input_size):
    # All frames are 640 x 480, so bins in input pixels are bins in frame pixels times 640 / input size.
    ground_truth, detections = tables(*scene(**case))
    ground_truth = dataclasses.replace(ground_truth, size_wh=np.tile([640, 480], (ground_truth.image_count, 1)))
    factor = 640 / input_size
    pixels = bins_of(ground_truth, detections, f"{8 * factor!r},{32 * factor!r}")
    scaled = bins_of(ground_truth, detections, "8,32@input", input_size=input_size)
    for row, other in zip(pixels, scaled, strict=True):
        assert {k: v for k, v in row.items() if k in ("boxes", "AP", "AP50", "AR", "recall50")} == {
            k: v for k, v in other.items() if k in ("boxes", "AP", "AP50", "AR", "recall50")
        }


def test_views_with_the_same_limits_are_matched_once():
    truth, found = truth_table([(0, 0, 0, 0, 10, 10, 0)], images=1), found_table([])
    matches = match(truth, found, [ALL, View("other name", 0, HUGE_PX2), View("small", 0, 64)], np.array([0.5]), 10)
    assert [view.name for view in matches.views] == ["all", "small"]
