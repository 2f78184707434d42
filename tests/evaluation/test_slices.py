"""Parts of the data: which there are, and that their figures are those of a data set of that part."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_tables import contested, found_table, truth_table

from wutdet.dataset.columns import LabelColumn
from wutdet.evaluation.bootstrap import draw, resample
from wutdet.evaluation.coco import evaluate, match_for
from wutdet.evaluation.ignored import apply_ignore_rule
from wutdet.evaluation.presets import preset
from wutdet.evaluation.slices import Slice, slice_lines, slice_rows, slices_of


def labelled(images=8, conditions=None, **labels):
    """A table without boxes."""
    columns = {name: LabelColumn.of(values) for name, values in labels.items()}
    masks = {name: np.array(mask, dtype=bool) for name, mask in (conditions or {}).items()}
    return truth_table([], images, labels=columns, conditions=masks)


def named(slices) -> list[tuple[str, str]]:
    return [(part.by, part.name) for part in slices]


class TestWhichThereAre:
    def test_every_value_of_every_label_largest_first(self):
        truth = labelled(6, scene=["port", "sea", "port", "port", "sea", "lake"])
        slices = slices_of(truth)
        assert named(slices) == [("scene", "port"), ("scene", "sea"), ("scene", "lake")]
        np.testing.assert_array_equal(slices[0].images, [1, 0, 1, 1, 0, 0])

    def test_well_known_labels_first(self):
        values = {"zoom": "aabbbb", "sequence": "abcabc", "scene": "aaaabb", "camera": "abbbbb"}
        slices = slices_of(labelled(6, **{name: list(codes) for name, codes in values.items()}))
        assert list(dict.fromkeys(by for by, _ in named(slices))) == ["scene", "camera", "sequence", "zoom"]

    def test_conditions_may_overlap(self):
        masks = {"fog": [1, 1, 0, 0], "night": [0, 1, 1, 0], "rain": [0, 0, 0, 0], "clear": [0, 0, 0, 1]}
        slices = slices_of(labelled(4, conditions=masks))
        assert named(slices) == [("condition", "fog"), ("condition", "night"), ("condition", "clear")]
        assert sum(part.images.astype(int) for part in slices).max() == 2

    def test_a_label_condition_gives_way_to_tagged_conditions(self):
        labels = {"condition": ["fog", "fog", "calm", "calm"]}
        assert named(slices_of(labelled(4, **labels))) == [("condition", "fog"), ("condition", "calm")]
        with_tags = labelled(4, conditions={"fog": [1, 0, 0, 0], "clear": [0, 1, 1, 1]}, **labels)
        assert named(slices_of(with_tags)) == [("condition", "fog"), ("condition", "clear")]

    def test_labels_that_say_nothing_are_left_out(self):
        many = [f"file{number}.jpg" for number in range(20)]
        truth = labelled(
            20,
            split=["val"] * 10 + ["test"] * 10,
            source=["A"] * 20,
            scene=["port"] * 5 + ["sea"] * 15,
            address=["http://a"] * 5 + ["http://b"] * 15,  # parts the frames just as scene does
            file=many,
            camera=many,  # well known: kept
        )
        slices = slices_of(truth)
        assert {by for by, _ in named(slices)} == {"scene", "camera"}
        assert len(slices) == 2 + 20

    def test_one_value_and_frames_without_label_is_a_part(self):
        slices = slices_of(labelled(4, buoy=["seen", None, None, "seen"]))
        assert named(slices) == [("buoy", "seen")]
        np.testing.assert_array_equal(slices[0].images, [1, 0, 0, 1])

    def test_of_many_sequences_only_those_with_most_frames(self):
        truth = labelled(9, sequence=list("aaabbcccc"))
        assert named(slices_of(truth, most_per_label=2)) == [("sequence", "c"), ("sequence", "a")]

    def test_nothing_known(self):
        assert slices_of(labelled(4)) == []
        assert slices_of(labelled(0, scene=[])) == []


@pytest.mark.parametrize("name", ["coco", "aitod", "soda-d", "visdrone"])
def test_figures_are_those_of_a_data_set_of_that_part(name):
    truth_rows, found_rows = contested(4, crowd=0.05)
    protocol = preset(name)
    truth, found, _ = apply_ignore_rule(truth_table(truth_rows, 8, 3), found_table(found_rows), protocol.ignore_rule)
    kept = [1, 2, 5, 7]
    place = {old: new for new, old in enumerate(kept)}
    (row,) = slice_rows(
        match_for([protocol], truth, found), protocol, [Slice("scene", "port", np.isin(np.arange(8), kept))]
    )
    alone = evaluate(
        truth_table([(place[r[0]], *r[1:]) for r in truth_rows if r[0] in place], 4, 3),
        found_table([(place[r[0]], *r[1:]) for r in found_rows if r[0] in place]),
        name,
    )
    shared = [key for key in ("AP", "AP50", "APs", "AR100") if key in alone.stats]
    assert shared[:2] == ["AP", "AP50"]
    for key in shared:
        assert row[key] == pytest.approx(alone.stats[key], abs=1e-12)
    assert (row["images"], row["units"]) == (4, 4)
    assert row["boxes"] == alone.protocol["boxes"]
    assert row["intervals"] == {}


def ships(images: int, per_image: int):
    return [(image, 0, 40 * i, 0, 40 * i + 20, 20, 0) for image in range(images) for i in range(per_image)]


def rows_for(truth_rows, found_rows, images, slices, resampling=None):
    protocol = preset("coco")
    matches = match_for([protocol], truth_table(truth_rows, images), found_table(found_rows))
    return slice_rows(matches, protocol, slices, resampling=resampling)


def test_recall_of_ships_found_at_all():
    truth_rows = ships(4, 4)
    found_rows = [(image, 0, *row[2:6], 0.5) for image, row in enumerate(truth_rows[::4])]  # one of four in each
    found_rows += [(0, 0, 40, 0, 60, 12, 0.4)]  # IoU .6
    found_rows += [(1, 0, 40, 0, 60, 9, 0.4)]  # IoU .45
    part = [Slice("scene", "all", np.ones(4, dtype=bool)), Slice("scene", "first", np.arange(4) == 0)]
    everything, first = rows_for(truth_rows, found_rows, 4, part)
    assert everything["recall50"] == 5 / 16
    assert first["recall50"] == 2 / 4


class TestWarnings:
    def test_thin_parts(self):
        sequences = np.repeat(np.arange(12), 2)
        parts = [
            Slice("scene", "wide", np.ones(24, dtype=bool)),
            Slice("scene", "few ships", np.arange(24) < 22),
            Slice("scene", "few sequences", np.arange(24) < 8),
            Slice("scene", "one", np.arange(24) < 2),
            Slice("scene", "empty", np.arange(24) >= 22),
        ]
        truth_rows = [row for row in ships(22, 2) if row[0] >= 8 or row[0] < 2] + ships(2, 4)[4:]
        rows = rows_for(truth_rows, [], 24, parts, draw(sequences, "sequence", 50, 0))
        warnings = {row["name"]: row["warning"] for row in rows}
        assert warnings["wide"] is None
        assert warnings["few ships"] is None
        # All of its ships are in one sequence, which a third of the resamples do not draw.
        reason = "no interval, as over 5 % of the resamples have no such ships"
        assert warnings["few sequences"] == f"only 8 ships; only 4 sequences: {reason}"
        assert rows[2]["intervals"] == {"AP": None, "AP50": None}
        assert warnings["one"] == "only 8 ships; only 1 sequence: no interval"
        assert warnings["empty"] == "no ships; only 1 sequence: no interval"
        assert rows[3]["intervals"] == {"AP": None, "AP50": None}
        assert rows[4]["intervals"] == {}
        assert [row["units"] for row in rows] == [12, 11, 4, 1, 1]

    def test_few_sequences_with_ships_in_each(self):
        part = Slice("scene", "some", np.arange(24) < 8)
        (row,) = rows_for(ships(24, 5), [], 24, [part], draw(np.repeat(np.arange(12), 2), "sequence", 500, 0))
        assert row["intervals"]["AP"] is not None
        assert row["warning"] == "only 4 sequences: the interval is rough"

    def test_ships_in_one_sequence_of_many(self):
        truth_rows = [(0, 0, 40 * i, 0, 40 * i + 20, 20, 0) for i in range(40)] + ships(20, 1)[1:]
        part = Slice("scene", "all", np.ones(20, dtype=bool))
        (row,) = rows_for(truth_rows, [], 20, [part], draw(np.arange(20), "sequence", 50, 0))
        worth = 59**2 / (40**2 + 19)
        assert f"20 sequences, but few hold most ships (they count like {worth:.1f})" in row["warning"]

    def test_images_are_called_images(self):
        (row,) = rows_for(ships(3, 20), [], 3, [Slice("scene", "all", np.ones(3, dtype=bool))])
        assert row["warning"] == "only 3 images"  # without resamples there is no interval to be rough


def test_table_for_people():
    truth_rows = ships(12, 4)
    found_rows = [(row[0], 0, *row[2:6], 0.3 + 0.01 * n) for n, row in enumerate(truth_rows) if n % 3]
    parts = [Slice("scene", "port", np.arange(12) < 11), Slice("scene", "empty", np.zeros(12, dtype=bool))]
    rows = rows_for(truth_rows, found_rows, 12, parts, resample(None, 12, 100))
    head, port, empty = slice_lines(rows)
    assert head.split() == ["slice", "images", "ships", "AP", "AP50", "APs", "AR100", "recall50"]
    low, high = rows[0]["intervals"]["AP"]
    assert port.split()[:5] == ["scene", "=", "port", "11", "44"]
    assert f"AP {low:.3f}..{high:.3f}" in port and "!" not in port
    assert empty.count("none") == 5 and "! no ships; only 0 images: no interval" in empty
    assert slice_lines([]) == []
    json.dumps(rows, allow_nan=False)
