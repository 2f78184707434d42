import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wutdet.report.charts import Bar, Series, bar_chart, format_number, histogram, line_chart, nice_ticks, pr_chart

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title.text and desc.text
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [node.text for node in root.iter(f"{SVG}text")]


def lines_of(root: ElementTree.Element) -> list[str]:
    """Paths outside the legend."""
    legend = set(root.findall(f".//{SVG}g[@class='legend']/{SVG}path"))
    return [p.get("d") for p in root.iter(f"{SVG}path") if p not in legend]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def drawing_limits(root: ElementTree.Element) -> tuple[float, float]:
    _, _, width, height = map(float, root.get("viewBox").split())
    return width, height


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_cover_the_range_evenly_with_few_steps(low, extent):
    high = low + extent
    if not high > low:
        return
    ticks = nice_ticks(low, high)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step and ticks[-1] >= high - 1e-6 * step
    assert 2 <= len(ticks) <= 8


def test_ticks_of_known_ranges():
    assert nice_ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    assert nice_ticks(0, 87) == [0, 25, 50, 75, 100]
    assert len(nice_ticks(3, 3)) >= 2  # a flat line still needs an axis


def test_numbers_are_written_short():
    assert [format_number(v) for v in (0.5, 2.0, 1234.5, None, float("nan"))] == ["0.5", "2", "1234", "–", "–"]


def test_line_chart_draws_each_value_at_its_place():
    series = [Series("AP", [1, 2, 3], [0.0, 0.5, 1.0]), Series("AP50", [1, 2, 3], [0.2, 0.6, 0.9])]
    root = parse(line_chart("t", series, x_label="epoch", y_label="AP", y_range=(0, 1)))
    first, second = (points(path) for path in lines_of(root))
    xs, ys = zip(*first, strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11)
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11) and ys[2] < ys[0]
    assert len(second) == 3
    assert {"AP", "AP50", "epoch"} <= set(texts(root))
    hover = [node.text for node in root.findall(f".//{SVG}rect/{SVG}title")]
    assert hover[1] == "epoch 2\nAP: 0.5\nAP50: 0.6"
    assert "AP goes from 0 to 1, highest 1 at 3" in root.find(f"{SVG}desc").text


def test_missing_values_break_the_line_and_lone_points_stay_visible():
    x = list(range(100))
    y = [None if i % 10 == 3 else float(i) for i in x]
    y[21:24] = [None, 22.0, None]
    root = parse(line_chart("t", [Series("loss", x, y)], x_label="epoch", y_label="loss"))
    assert lines_of(root)[0].count("M") == 1 + sum(1 for i in x[1:] if y[i] is not None and y[i - 1] is None)
    assert len(root.findall(f".//{SVG}circle")) == 1  # the point at 22 has no neighbours
    assert not any("nan" in path for path in lines_of(root))


@pytest.mark.parametrize("values", [[], [None, None], [float("nan"), float("inf")]])
def test_a_chart_without_numbers_says_so(values):
    svg = line_chart("t", [Series("AP", list(range(len(values))), values)], x_label="epoch", y_label="AP")
    assert "No values to draw." in texts(parse(svg))


def test_a_single_epoch_is_drawn():
    root = parse(line_chart("t", [Series("AP", [1], [0.3])], x_label="epoch", y_label="AP", x_integer=True))
    assert len(root.findall(f".//{SVG}circle")) == 1
    assert "1" in texts(root)


def test_epoch_ticks_are_whole_numbers():
    series = [Series("AP", [1, 2, 3], [0.1, 0.2, 0.3])]
    root = parse(line_chart("t", series, x_label="epoch", y_label="AP", y_range=(0, 1), x_integer=True))
    ticks = [n.text for n in root.iter(f"{SVG}text") if n.get("text-anchor") == "middle" and n.text != "epoch"]
    assert ticks == ["1", "2", "3"]


def test_everything_stays_inside_the_drawing():
    names = [f"a rather long series name {i}" for i in range(6)]
    series = [Series(name, [0, 1000], [-5.0, 123456.0]) for name in names]
    root = parse(line_chart("t", series, x_label="x", y_label="y"))
    width, height = drawing_limits(root)
    for path in lines_of(root):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points(path))
    for node in root.iter(f"{SVG}text"):
        assert 0 <= float(node.get("x")) <= width and 0 <= float(node.get("y")) <= height
    assert set(names) <= set(texts(root))
    # Series differ by more than colour.
    styles = {p.get("style").partition("stroke-dasharray")[2] for p in root.findall(f".//{SVG}g[@class='legend']/*")}
    assert len(styles - {""}) == 5


def test_pr_chart_treats_minus_one_as_missing():
    recall = [i / 100 for i in range(101)]
    root = parse(pr_chart("PR", recall, {"0.50": [1 - r for r in recall], "0.75": [-1.0] * 101}))
    assert len(lines_of(root)) == 1
    assert "0.75 has no values" in root.find(f"{SVG}desc").text
    ends = points(lines_of(root)[0])
    assert ends[0][1] < ends[-1][1] and ends[0][0] < ends[-1][0]


def test_bars_have_heights_in_proportion_and_missing_ones_say_so():
    bars = [Bar("tiny", 0.25, ("0–8 px", "n=3")), Bar("small", 0.5, ("8–16 px", "n=9")), Bar("large", None, ("n=0",))]
    root = parse(bar_chart("AP by size", bars, y_label="AP", y_range=(0, 1)))
    heights = [float(r.get("height")) for r in root.iter(f"{SVG}rect")]
    assert len(heights) == 2 and heights[1] == pytest.approx(2 * heights[0], abs=0.02)
    found = texts(root)
    assert {"tiny", "small", "large", "0.250", "0.500", "n=3", "n=9", "n=0"} <= set(found)
    assert " ".join(t for t in found if t in ("no", "such", "ships")) == "no such ships"
    assert "large: no such ships (n=0)" in root.find(f"{SVG}desc").text


def test_a_bar_of_zero_is_a_value_not_a_gap():
    root = parse(bar_chart("t", [Bar("a", 0.0), Bar("b", 1.0)], y_label="AP"))
    assert "0.000" in texts(root) and "no" not in texts(root)


def test_histogram_counts_and_open_end():
    root = parse(histogram("sizes", [0, 8, 16, math.inf], [2, 0, 4], x_label="px", y_label="ships"))
    heights = [float(r.get("height")) for r in root.iter(f"{SVG}rect")]
    assert heights[2] == pytest.approx(2 * heights[0], abs=0.02) and heights[1] == 0
    titles = [node.text for node in root.findall(f".//{SVG}rect/{SVG}title")]
    assert titles == ["0 to 8 px: 2", "8 to 16 px: 0", "16 to ∞ px: 4"]


def test_histogram_refuses_edges_that_do_not_fit():
    with pytest.raises(ValueError, match="one edge more"):
        histogram("t", [0, 1], [1, 2], x_label="px", y_label="ships")


def test_hostile_names_are_escaped():
    name = '<script>alert("x")</script> & \x00 \udcff é 船'
    svg = line_chart(name, [Series(name, [0, 1], [0, 1]), Series("b", [0], [1])], x_label=name, y_label=name)
    root = parse(svg)
    assert "<script" not in svg
    assert any("alert" in t and "船" in t and "\ufffd" in t for t in texts(root))
