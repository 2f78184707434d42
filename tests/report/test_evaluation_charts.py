import xml.etree.ElementTree as ElementTree

import pytest
from test_charts import SVG, drawing_limits, parse, points, texts

from wutdet.report.cells import heat, interval_text, scale_of, whisker
from wutdet.report.row_chart import Row, row_chart
from wutdet.report.size_curve import size_curve

SIZES = [
    {"low_px": 0, "high_px": 8, "boxes": 10, "found": 2, "recall": 0.2, "interval": [0.1, 0.4]},
    {"low_px": 8, "high_px": 16, "boxes": 0, "found": 0, "recall": None, "interval": None},
    {"low_px": 16, "high_px": 64, "boxes": 20, "found": 15, "recall": 0.75, "interval": [0.5, 0.9]},
    {"low_px": 64, "high_px": None, "boxes": 5, "found": 5, "recall": 1.0, "interval": None},
]


def test_recall_is_drawn_at_its_size_on_a_logarithmic_axis():
    root = parse(size_curve("t", SIZES, found_from=32.0))
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    assert len(circles) == 3  # no ships, no point
    (x1, y1), (x2, y2), (x3, y3) = circles
    # Geometric middles: 8 / sqrt 2, 32, 64 * sqrt 2: 2.5 and 1.5 octaves apart.
    assert (x2 - x1) / (x3 - x2) == pytest.approx(2.5 / 1.5, rel=0.01)
    assert (y1 - y2) / (y2 - y3) == pytest.approx(0.55 / 0.25, rel=0.01)
    mark = root.find(f".//{SVG}g[@class='mark']")
    assert float(mark.find(f"{SVG}path").get("d").partition(" ")[0][1:]) == pytest.approx(x2, abs=0.1)
    assert mark.find(f"{SVG}text").text == "90 % found from 32 px up"
    assert "0–8 px: 0.2 (0.1 to 0.4), 2 of 10 ships" in root.find(f"{SVG}desc").text
    assert {"8", "16", "32", "64"} <= set(texts(root))


def test_recall_at_any_score_is_a_second_line_above():
    rows = [
        dict(point, recall_all=None if point["recall"] is None else min(1.0, point["recall"] + 0.1)) for point in SIZES
    ]
    root = parse(size_curve("t", rows, names=("score 0.3 and up", "any score")))
    lines = [
        points(p.get("d")) for p in root.iter(f"{SVG}path") if p.get("d").count("L") == 2 and "Z" not in p.get("d")
    ]
    every, at_score = lines
    assert [y for _, y in every[:2]] < [y for _, y in at_score[:2]] and every[2] == at_score[2]
    assert {"score 0.3 and up", "any score"} <= set(texts(root))


def test_the_band_joins_neighbours_that_have_intervals():
    root = parse(size_curve("t", SIZES))
    bands = [p for p in root.iter(f"{SVG}path") if p.get("d").endswith("Z")]
    assert len(bands) == 1  # 0–8 and 16–64; the last point has no interval
    (_, low1), (_, low2), (_, high2), (_, high1) = points(bands[0].get("d"))
    circles = [float(c.get("cy")) for c in root.iter(f"{SVG}circle")]
    assert high1 < circles[0] < low1 and high2 < circles[1] < low2
    assert (low1 - high1) / (low2 - high2) == pytest.approx(0.3 / 0.4, rel=0.01)
    assert root.find(f".//{SVG}g[@class='mark']") is None


@pytest.mark.parametrize("rows", [[], [{"low_px": 0, "high_px": 8, "recall": None}], [{"recall": 0.5}]])
def test_a_curve_without_ships_says_so(rows):
    assert "No ships to find." in texts(parse(size_curve("t", rows)))


@pytest.mark.parametrize("found_from", [0.6, 4000.0])
def test_a_mark_beyond_all_sizes_stays_inside(found_from):
    root = parse(size_curve("t", SIZES, found_from=found_from))
    width, height = drawing_limits(root)
    for path in root.iter(f"{SVG}path"):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points(path.get("d")))


def test_rows_have_lengths_in_proportion_and_whiskers_at_their_ends():
    rows = [Row("fog", 0.2, "0.200", (0.1, 0.3)), Row("glare", -0.1, "−0.100"), Row("rain", None), Row("none", 0.0)]
    root = parse(row_chart("t", rows, x_label="AP lost"))
    bars = [(float(r.get("x")), float(r.get("width"))) for r in root.iter(f"{SVG}rect")]
    (fog_x, fog_w), (glare_x, glare_w), (_, none_w) = bars
    assert fog_w == pytest.approx(2 * glare_w, abs=0.05) and none_w == 0
    assert glare_x + glare_w == pytest.approx(fog_x, abs=0.05)  # both start at zero
    whisker_path = next(p for p in root.iter(f"{SVG}path"))
    left, _, rest = whisker_path.get("d")[1:].partition(" ")
    right = rest.partition("H")[2].partition("M")[0]
    assert float(left) == pytest.approx(fog_x + fog_w / 2, abs=0.1)
    assert float(right) == pytest.approx(fog_x + 1.5 * fog_w, abs=0.1)
    assert {"fog", "glare", "rain", "0.200", "−0.100", "no such ships", "AP lost"} <= set(texts(root))
    assert "fog: 0.200 (0.1 to 0.3); glare: −0.100; rain: no such ships; none: 0" in root.find(f"{SVG}desc").text


def test_groups_have_a_legend_that_fits():
    groups = [f"group {i} of corruptions" for i in range(5)]
    rows = [Row(f"r{i}", 0.1, group=i) for i in range(5)]
    root = parse(row_chart("t", rows, x_label="x", groups=groups))
    width, height = drawing_limits(root)
    assert set(groups) <= set(texts(root))
    for rect in root.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("x")) <= width and 0 <= float(rect.get("y")) <= height
    assert len({r.get("style") for r in root.iter(f"{SVG}rect")}) == 5
    assert "No values to draw." in texts(parse(row_chart("t", [Row("a", None)], x_label="x")))


def test_whiskers_of_a_table_share_one_scale():
    scale = scale_of([0.31, 0.52, None, float("nan")])
    assert scale[0] == 0 and scale[1] >= 0.52

    def spread(value, interval):
        root = ElementTree.fromstring(f"<td>{whisker(value, interval, scale).markup}</td>")
        path = root.findall(f".//{SVG}path")[2].get("d")
        left, _, rest = path[1:].partition(" ")
        return (
            float(left),
            float(rest.partition("H")[2].partition("M")[0]),
            float(root.find(f".//{SVG}circle").get("cx")),
        )

    a, b = spread(0.2, [0.1, 0.3]), spread(0.4, [0.3, 0.5])
    assert a[1] == pytest.approx(b[0], abs=0.1) and a[0] < a[2] < a[1] < b[2] < b[1]
    assert b[1] - b[0] == pytest.approx(a[1] - a[0], abs=0.2)


def test_cells_say_in_words_what_they_draw():
    assert whisker(0.4, [0.35, 0.45], (0, 1)).text == "0.350 to 0.450"
    assert whisker(0.4, None, (0, 1)).text == "–" and whisker(0.4, None, (0, 1)).markup is None
    assert interval_text([-0.01, 0.02], signed=True) == "−0.010 to +0.020"
    assert interval_text([None, 0.2]) == interval_text("ab") == "–"
    assert scale_of([-0.013, 0.004], symmetric=True) == (-0.015, 0.015) and scale_of([]) == (0, 1)
    assert heat("0.5", 0.5, 12).text == "0.5 (n=12)" and heat("–", None, 0).style is None
    shares = [float(heat("x", share).style.rpartition(",")[2].rstrip(")")) for share in (-1, 0, 0.25, 1, 7)]
    assert shares == sorted(shares) and shares[0] == shares[1] == 0 and shares[3] == shares[4]
