import itertools
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from evaluation_content import whole_result
from markup_checks import check_page, page_words

from wutdet.config import ReportConfig
from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError
from wutdet.report.evaluation import write_evaluation_report
from wutdet.report.run import build_report, run

EXPECTED = (
    # headline with intervals, leak rate beside it
    "AP (IoU .50:.95) 0.412 95 %: 0.371 to 0.452 ship.int8.onnx, 12 frames",
    "AP small 0.352 95 %: 0.290 to 0.411",
    "Leak rate 3.1 % evaluated frames that resemble training frames: exact 0.0 %, near 3.1 %, sequence 0.0 %",
    "90 % found from 45.2 px √area of the ship, and up; scores of 0.312 and up",
    "False alarms per frame 0.510 scores of 0.312 and up",
    "95 % intervals: 1000 bootstrap resamples of 3 sequences, seed 7.",
    "only 3 sequences: these intervals are rough",
    # sizes, curves, presets
    "very tiny 0–8 px n=5",
    "no such ships",
    "IoU 0.75",
    "AP 0.412 0.416 0.352 0.409",
    "oLRP 0.641",
    "AP50_tiny 0.612",
    # dense small ships
    "90 % found from 45.2 px up",
    "32–64 px 80 74 0.925 0.775 to 1.000",
    "6+ 4 12 0.310 0.560 0.410 0.610",
    "covered over 30 % 3 0.130 0.330",
    "0.567 n=8",
    "Above the horizon per frame 0.083 of the false alarms; horizon estimated",
    "nothing is annotated there, or the box fits its ship badly, or the ship was found already. Leak rate 3.1 %.",
    "Duplicate rate 4.2 %",
    # slices
    "port 8 24 0.430 0.350 to 0.510",
    "anchorage <far> △ 12 ships in 1 sequence: too few 4 12 0.360",
    "2 of 30 slices have too few ships or sequences",
    "6 more",
    # mistakes
    "localisation +0.061 21 a ship, but the box fits badly",
    "missed +0.129 14",
    "Detections of all scores from 0.001 up are counted.",
    "false negatives +0.202",
    # A against B
    "AP of B is lower by 0.008 (−0.015 to −0.002); the difference is real.",
    "ship <int8> & co.onnx",
    "AP50 0.703 0.701 −0.002 −0.010 to +0.006",
    "0.612 not shown",
    "scene: port 8 24 −0.010",
    # robustness
    "AP is 0.412 on clean frames and 0.261 in the mean over all corruptions and severities: −0.152. Both on 12 frames.",
    "fog 0.334 0.256 0.177 0.099 0.021 57 %",
    "lens drops",
    # protocol
    "harbour <1> & co",
    "1280 px, long side",
    "maxDets: 100",
    "lowest score 0.001",
)


def test_the_report_holds_all_of_the_result(tmp_path, evaluated):
    dataset, found, objects, result = evaluated
    file = write_evaluation_report(result, tmp_path / "out", dataset=dataset, detections=found, objects=objects)
    assert file == tmp_path / "out/report.html"
    words = page_words(file)
    for expected in EXPECTED:
        assert expected in words, expected
    assert "There are no intervals" not in words
    for value in result["stats"].values():
        assert value is None or f"{value:.3f}" in words


def test_the_markdown_says_the_same(tmp_path, evaluated):
    dataset, found, objects, result = evaluated
    write_evaluation_report(result, tmp_path / "r.html", dataset=dataset, detections=found, objects=objects)
    text = (tmp_path / "r.md").read_text("utf-8")
    for expected in (
        "# Evaluation report: ship.int8.onnx",
        "- AP (IoU .50:.95): 0.412; 95 %: 0.371 to 0.452; ship.int8.onnx, 12 frames",
        "> only 3 sequences: these intervals are rough",
        "| anchorage \\<far\\> △ 12 ships in 1 sequence: too few | 4 | 12 | 0.360 | 0.140 to 0.550 | 0.610 |",
        "| s25 |",  # folded in HTML, here like the others
        "| missed | +0.129 | 14 |",
        "leak rate: 3.1 %",
    ):
        assert expected in text, expected
    assert "data:image" not in text and "<svg" not in text
    misses = np.flatnonzero(objects["kind"] == "miss")
    assert text.count("| missed | frame ") == len(misses) > 0
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for above, below in itertools.pairwise(tables):
        if below.startswith(("| ---", "| :--")):
            assert above.replace("\\|", "").count("|") == below.count("|")


def test_the_leak_rate_is_beside_every_accuracy(tmp_path, evaluated):
    dataset, found, objects, result = evaluated
    file = write_evaluation_report(result, tmp_path / "out", dataset=dataset, detections=found, objects=objects)
    root = ElementTree.fromstring(file.read_text("utf-8").removeprefix("<!DOCTYPE html>\n"))
    protocols = ["".join(s.itertext()) for d in root.iter("details") if d.get("class") == "protocol" for s in d[:1]]
    assert len(protocols) > 15
    assert all("leak rate: 3.1" in words and "data: harbour <1> & co" in words for words in protocols)
    cards = [e for e in root.iter() if (e.get("class") or "").startswith("card") and "shot" not in e.get("class")]
    titles = {"".join(card.find("h3").itertext()) for card in cards
              if card.find("h3") is not None and card.find("details[@class='protocol']") is None}  # fmt: skip
    assert titles == {"Protocol"}


@pytest.mark.parametrize("key", [*whole_result(), None])
def test_any_part_may_be_missing(tmp_path, key):
    """Each part alone left out; None: all of them."""
    result = whole_result()
    for name in list(result) if key is None else [key]:
        del result[name]
    words = page_words(write_evaluation_report(result, tmp_path / "r.html"))
    if key in ("intervals", None):
        assert "There are no intervals" in words
    if key in ("leak_rate", None):
        assert "Leak rate not measured" in words
    for name, heading in (("slices", "By scene"), ("comparison", "A against B"), ("robustness", "Robustness"),
                          ("errors", "What mistakes cost"), ("density", "Recall against size")):  # fmt: skip
        assert (heading in words) == (key not in (name, None)), heading


def empty_values(value):
    """The same keys with nothing in them."""
    if isinstance(value, dict):
        return {key: empty_values(item) for key, item in value.items()}
    return [] if isinstance(value, list) else None


def odd_values(value):
    """The same keys with values of other types."""
    if isinstance(value, dict):
        return {key: odd_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [odd_values(item) for item in value] + [None, "x", 3]
    return {"a": 1} if isinstance(value, str) else float("nan")


@pytest.mark.parametrize("change", [empty_values, odd_values])
def test_values_that_say_nothing_break_nothing(tmp_path, change):
    words = page_words(write_evaluation_report(change(whole_result()), tmp_path / "r.html"))
    assert "Evaluation report" in words and " nan" not in words.lower()


def test_other_presets_are_not_called_by_the_names_of_coco(tmp_path):
    result = whole_result(preset="aitod")
    result["stats"] = {"AP": 0.4, "AP50": 0.7, "APvt": 0.1, "APs": 0.3, "oLRP": 0.6}
    result["titles"] = {"APvt": "AP, ships of 2 to 8 px"}
    words = page_words(write_evaluation_report(result, tmp_path / "r.html"))
    assert "APvt (aitod) 0.100 AP, ships of 2 to 8 px" in words and "Statistics of aitod" in words
    assert "below 32² px" not in words and "APl" not in words.partition("A against B")[0].partition("Statistics")[2]


def test_a_difference_of_few_sequences_is_not_called_real(tmp_path):
    result = whole_result()
    result["comparison"] |= {
        "warning": "only 3 sequences: the interval is rough",
        "a": "runs/a/x.json",
        "b": "runs/b/x.json",
    }
    words = page_words(write_evaluation_report(result, tmp_path / "r.html"))
    assert "no difference is outside of the interval, but the interval is rough" in words and "is real" not in words
    assert "−0.015 to −0.002 0.008 unsure" in words
    assert "A is runs/a/x.json, B is runs/b/x.json" in words and "all other figures are those of A" in words


def test_a_thin_slice_makes_the_difference_there_unsure_and_no_other(tmp_path):
    result = whole_result()
    words = page_words(write_evaluation_report(result, tmp_path / "r.html"))
    assert "−0.018 to −0.001 yes" in words
    result["slices"][0]["warning"] = "only 2 sequences"
    words = page_words(write_evaluation_report(result, tmp_path / "r.html"))
    assert "−0.018 to −0.001 unsure" in words and "the difference is real" in words


def test_one_wide_interval_does_not_flatten_all_others(tmp_path):
    result = whole_result()
    result["comparison"]["stats"]["APl"] = {"a": 0.3, "b": 0.29, "difference": -0.01, "interval": [-1.0, 1.0], "p": 0.9,
                                            "real": False}  # fmt: skip
    words = page_words(write_evaluation_report(result, tmp_path / "r.html"))
    assert "interval −0.02 to +0.02" in words and "−1.000 to +1.000" in words
    assert words.count("are cut off in the drawing") == 1


def test_corrupted_frames_are_counted_apart(tmp_path):
    result = whole_result(images=199)
    result["robustness"] |= {"frames": 24, "frames_of": 199}
    words = page_words(write_evaluation_report(result, tmp_path / "r.html"))
    assert words.count("images: 24 of 199") == 4 and "Both on 24 frames of 199." in words


def test_without_frames_or_objects_the_page_says_why_there_is_no_gallery(tmp_path, evaluated):
    dataset, _, objects, result = evaluated
    words = page_words(write_evaluation_report(result, tmp_path / "a.html", objects=objects))
    assert "There is no gallery: the frames were not given to this report." in words
    words = page_words(write_evaluation_report(result, tmp_path / "b.html", dataset=dataset))
    assert "There is no gallery: the table of single objects was not given to this report." in words
    objects["image"][3] = 12
    file = write_evaluation_report(result, tmp_path / "c.html", dataset=dataset, objects=objects)
    assert "There is no gallery: row 3: there is no frame 12; the data set has 12" in page_words(file)


def cards_of(file) -> list[dict]:
    root = ElementTree.fromstring(file.read_text("utf-8").removeprefix("<!DOCTYPE html>\n"))
    return [e.attrib | {"words": "".join(e.itertext())} for e in root.iter("figure") if e.get("data-kind")]


def test_the_gallery_shows_the_worst_first_with_what_it_is_filtered_by(tmp_path, evaluated):
    dataset, found, objects, result = evaluated
    file = write_evaluation_report(result, tmp_path / "r.html", dataset=dataset, detections=found, objects=objects)
    cards = cards_of(file)
    kinds = [card["data-kind"] for card in cards]
    assert set(kinds) == set(objects["kind"]) - {"hit"} and {"miss", "false_alarm"} == set(kinds[:2])
    misses = [card for card in cards if card["data-kind"] == "miss"]
    sizes = [float(card["words"].partition("missed ")[2].partition("×")[0]) for card in misses]
    # A sequence has its three ships in the same place in all its frames.
    ships = [(card["data-sequence"], size) for card, size in zip(misses, sizes, strict=True)]
    once = len(set(ships))
    assert len(set(ships[:once])) == once < len(ships) and sizes[0] == 50
    for part in (sizes[:once], sizes[once:]):
        assert part == sorted(part, reverse=True)
    assert {card["data-size"] for card in misses} == {"medium (32-96 px)", "small (16-32 px)", "very tiny (<8 px)"}
    alarms = [card["words"] for card in cards if card["data-kind"] == "false_alarm"]
    scores = [float(words.partition("score ")[2][:4]) for words in alarms]
    assert scores == sorted(scores, reverse=True)
    assert {card["data-sequence"] for card in cards} == {"s0", "s1", "s2"}
    assert {card["data-source"] for card in cards} == {"cam <0>", "cam <1>"}
    page = check_page(file.read_text("utf-8"))
    assert sum(name == "src" for name, _ in page.addresses) >= len(cards)
    words = " ".join(" ".join(page.words).split())
    assert f"missed ({len(misses)})" in words and "best IoU" in words


def test_a_folder_gives_the_same_report_again(evaluation_folder, evaluated, tmp_path):
    _, found, objects, _ = evaluated
    done = run(ReportConfig(evaluation_folder))
    assert done.to_json()["kind"] == "eval" and done.remarks == ()
    result = json.loads((evaluation_folder / "eval.json").read_text())
    dataset = load_dataset(result["protocol"]["data"], split="val")
    file = write_evaluation_report(result, tmp_path / "again.html", dataset=dataset, detections=found, objects=objects)
    assert file.with_suffix(".md").read_text("utf-8") == (evaluation_folder / "report.md").read_text("utf-8")
    again, once = cards_of(file), cards_of(evaluation_folder / "report.html")
    assert again == once and len(once) > 10
    assert "What it sees" in page_words(evaluation_folder / "report.html")


def test_a_folder_whose_frames_are_gone_says_so(evaluation_folder, tmp_path):
    (tmp_path / "data/val.json").unlink()
    done = run(ReportConfig(evaluation_folder))
    assert "no such data set" in done.remarks[0] and "val.json" in done.remarks[0]
    words = page_words(done.file)
    assert "There is no gallery: The frames are not there: no such data set" in words
    assert "Recall against size" in words


def test_a_folder_whose_data_have_changed_shows_no_wrong_boxes(evaluation_folder):
    content = json.loads((evaluation_folder / "eval.json").read_text())
    content["protocol"]["boxes"] = 35
    (evaluation_folder / "eval.json").write_text(json.dumps(content))
    words = page_words(build_report(evaluation_folder))
    assert "the data have changed since: 36 boxes there, 35 evaluated" in words


def test_a_frame_that_cannot_be_read_is_named_and_the_others_shown(evaluation_folder, tmp_path, evaluated):
    before = len(cards_of(build_report(evaluation_folder)))
    (tmp_path / "data/frame 0.png").write_bytes(b"no picture")
    file = build_report(evaluation_folder)
    assert "Frames that cannot be read have no pictures: frame 0.png." in page_words(file)
    assert 0 < len(cards_of(file)) < before


def test_a_folder_without_objects_has_no_gallery(evaluation_folder):
    (evaluation_folder / "objects.csv").unlink()
    (evaluation_folder / "detections.json").write_text("{}")
    done = run(ReportConfig(evaluation_folder))
    assert done.remarks[0] == "objects.csv is not in the folder." and "detections.json cannot be" in done.remarks[1]
    assert "There is no gallery: objects.csv is not in the folder." in page_words(done.file)


def test_a_file_of_another_kind_is_refused(evaluation_folder):
    (evaluation_folder / "eval.json").write_text('{"schema": "other/1"}')
    with pytest.raises(DataError, match="'schema' is 'other/1'"):
        build_report(evaluation_folder)


def test_an_evaluation_before_there_was_an_analysis_is_reported_too(tmp_path):
    old = {key: whole_result()[key] for key in ("stats", "protocol", "threshold", "size_bins", "curves")}
    (tmp_path / "eval.json").write_text(json.dumps({"schema": "wutdet.eval/1", **old, "slices": [], "intervals": {}}))
    words = page_words(build_report(tmp_path))
    assert "AP50 0.701" in words and "There are no slices" in words
