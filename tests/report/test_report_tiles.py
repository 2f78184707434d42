"""What a report says of tiles, of size bins in other units, and of the thresholds that oLRP names."""

from __future__ import annotations

import pytest
from evaluation_content import whole_result
from markup_checks import page_words

from wutdet.report.evaluation import write_evaluation_report

TILES = {"tile": 640, "tile_overlap": 0.25, "tile_full_frame": True, "tile_merge_iou": 0.5, "tiles_per_frame": 7.5}


def both(result: dict, folder) -> tuple[str, str]:
    """All text of the page, and the Markdown."""
    file = write_evaluation_report(result, folder / "r.html")
    return page_words(file), file.with_suffix(".md").read_text("utf-8")


def test_the_thresholds_of_olrp_are_a_table(tmp_path):
    words, markdown = both(whole_result(), tmp_path)
    assert "Best thresholds by oLRP (aitod)" in words and "category score ship <1> 0.287 buoy –" in words
    assert "| ship \\<1\\> | 0.287 |" in markdown and "| buoy | – |" in markdown
    words, markdown = both({**whole_result(), "olrp_thresholds": {}}, tmp_path)
    assert "by oLRP" not in words and "by oLRP" not in markdown


def test_the_protocol_says_what_was_looked_at_in_tiles(tmp_path):
    assert not any(said in text for text in both(whole_result(), tmp_path) for said in ("for tiles of", "overlap of"))
    words, markdown = both(whole_result(**TILES), tmp_path)
    assert "input size: 1280 px, long side, for tiles of 640 px" in words
    assert "input size: 1280 px, long side, for tiles of 640 px" in markdown
    for expected in ("tiles 640", "overlap of tiles 0.25", "whole frame beside the tiles yes",
                     "NMS between tiles, IoU 0.5", "tiles and whole frame, per frame 7.5"):  # fmt: skip
        assert expected in words, expected


@pytest.mark.parametrize(
    ("unit", "name", "caption"),
    [
        ("input", "<8 input px", "in pixels of the network input"),
        ("frame", "<1/64 of frame", "as a share of the frame's side"),
    ],
)
def test_bins_in_other_units_are_not_called_pixels_of_the_frame(tmp_path, unit, name, caption):
    result = whole_result()
    row = {**result["size_bins"][0], "name": name, "unit": unit, "low_px": 0.0, "high_px": 1 / 64}
    words, markdown = both({**result, "size_bins": [row]}, tmp_path)
    for text in (words, markdown):
        section = text.partition("AP by size of the ship")[2].partition("COCO statistics")[0]
        assert caption in section and "in pixels of the frame" not in section
    assert f"ships of √area ships AP AP50 AR recall50 {name} 5 0.110" in words
