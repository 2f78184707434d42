"""Reports in a real browser. Skipped where there is none."""

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter

import numpy as np
import pytest
from browser import console, find_browser, measure, screenshot
from evaluation_content import jittered, objects_of, whole_result

from wutdet.dataset.load import load_dataset
from wutdet.report.evaluation import write_evaluation_report
from wutdet.report.page import Page

PHONE, DESK = 390, 1280

LAYOUT = """
  var wide = [], texts = [], overlaps = [], outside = [];
  page.querySelectorAll("body *").forEach(function (e) {
    var right = e.getBoundingClientRect().right;
    if (right > view.innerWidth + 0.5 && !e.closest(".scroll")) wide.push(e.outerHTML.slice(0, 90));
  });
  page.querySelectorAll("svg.chart").forEach(function (svg) {
    var frame = svg.getBoundingClientRect(), seen = [];
    svg.querySelectorAll("text").forEach(function (t) {
      var r = t.getBoundingClientRect();
      texts.push(parseFloat(view.getComputedStyle(t).fontSize) * frame.width / svg.viewBox.baseVal.width);
      var fits = r.left > frame.left - 1 && r.right < frame.right + 1 && r.bottom < frame.bottom + 2;
      if (!fits) outside.push(t.textContent);
      seen.forEach(function (o) {
        var x = Math.min(r.right, o.r.right) - Math.max(r.left, o.r.left);
        var y = Math.min(r.bottom, o.r.bottom) - Math.max(r.top, o.r.top);
        if (x > 1 && y > 4) overlaps.push(o.t + " / " + t.textContent);
      });
      seen.push({r: r, t: t.textContent});
    });
  });
  var loaded = view.performance.getEntriesByType("resource").map(function (e) { return e.name; });
  return {inner: view.innerWidth, scroll: page.documentElement.scrollWidth, wide: wide,
          charts: page.querySelectorAll("svg.chart").length, overlaps: overlaps, outside: outside,
          smallest: Math.min.apply(null, texts),
          loaded: loaded.filter(function (n) { return !n.startsWith("data:"); }),
          broken: Array.from(page.images).filter(function (i) { return i.complete && i.naturalWidth === 0; }).length};
"""

VISIBLE = """
  function shown() {
    var cards = Array.from(page.querySelectorAll("figure.shot"));
    return cards.filter(function (c) { return c.getBoundingClientRect().height > 0; }).map(function (c) {
      return {kind: c.dataset.kind, size: c.dataset.size, sequence: c.dataset.sequence, source: c.dataset.source}; });
  }
  var bar = page.getElementById("filters");
  function set(kinds, lists) {
    bar.querySelectorAll("input").forEach(function (b) { b.checked = !kinds || kinds.includes(b.value); });
    bar.querySelectorAll("select").forEach(function (s) { s.value = lists[s.name] || ""; });
    bar.dispatchEvent(new view.Event("change"));
    return {shown: shown(), said: bar.querySelector("output").textContent};
  }
"""


@pytest.fixture
def report(tmp_path, evaluated):
    dataset, found, objects, result = evaluated
    return write_evaluation_report(result, tmp_path / "r.html", dataset=dataset, detections=found, objects=objects)


def cards_of(file) -> list[dict]:
    root = ElementTree.fromstring(file.read_text("utf-8").removeprefix("<!DOCTYPE html>\n"))
    return [
        {key: e.get(f"data-{key}") for key in ("kind", "size", "sequence", "source")}
        for e in root.iter("figure")
        if e.get("data-kind")
    ]


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_fits_its_window_and_charts_can_be_read(report, width):
    said = measure(report, LAYOUT, width=width)
    assert said["inner"] == width and said["charts"] >= 6
    assert said["scroll"] <= width and said["wide"] == []
    assert said["smallest"] >= 10  # CSS pixels
    assert said["overlaps"] == [] and said["outside"] == []
    assert said["loaded"] == [] and said["broken"] == 0


def test_the_checks_notice_a_page_that_is_wrong(tmp_path, report):
    """The control: an overflow, a chart with colliding words, a script that the policy does not know, another file."""
    broken = report.read_text("utf-8")
    words = (("first", 10), ("second", 14), ("third", 470))
    chart = "".join(f'<text x="{x}" y="50" font-size="9">{text}</text>' for text, x in words)
    chart = f'<svg class="chart" style="width:300px" viewBox="0 0 480 100">{chart}</svg>'
    broken = broken.replace("</main>", f'<div style="width:1500px">wide</div>{chart}</main>')
    broken = broken.replace("</body>", '<script>document.title = "x"</script><img src="other.png"/></body>')
    (tmp_path / "broken.html").write_text(broken)
    said = measure(tmp_path / "broken.html", LAYOUT, width=DESK)
    assert said["scroll"] > DESK and "1500px" in said["wide"][0]
    assert said["overlaps"] == ["first / second"] and said["outside"] == ["third"] and said["smallest"] < 10
    complaints = "\n".join(console(tmp_path / "broken.html"))
    assert "script" in complaints and "other.png" in complaints and "Content Security Policy" in complaints


def test_the_console_stays_empty(report):
    assert console(report) == []


def test_filters_hide_cards(report):
    every = cards_of(report)
    wanted = [
        {"kinds": ["miss"], "lists": {}},
        {"kinds": ["false_alarm", "duplicate"], "lists": {"sequence": "s1"}},
        {"kinds": None, "lists": {"size": "small (16-32 px)"}},
        {"kinds": None, "lists": {"source": "cam <1>", "size": "medium (32-96 px)"}},
        {"kinds": [], "lists": {}},
        {"kinds": None, "lists": {}},
    ]
    script = VISIBLE + (
        f"var out = {{first: shown(), hidden: bar.hidden}}; out.steps = {json.dumps(wanted)}"
        ".map(function (w) { return set(w.kinds, w.lists); }); return out;"
    )
    said = measure(report, script, width=PHONE)
    assert said["hidden"] is False and said["first"] == every
    counts = set()
    for step, done in zip(wanted, said["steps"], strict=True):
        expected = [
            card for card in every
            if (step["kinds"] is None or card["kind"] in step["kinds"])
            and all(card[key] == value for key, value in step["lists"].items())
        ]  # fmt: skip
        assert done["shown"] == expected, step
        assert done["said"] == f"{len(expected)} of {len(every)} shown"
        counts.add(len(expected))
    assert len(counts) >= 5 and 0 in counts and len(every) in counts


def test_without_scripts_all_cards_are_shown_and_no_filters(report):
    script = VISIBLE + "return {first: shown(), bar: bar.getBoundingClientRect().height};"
    said = measure(report, script, width=PHONE, scripts=False)
    assert said["first"] == cards_of(report) and said["bar"] == 0


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_light_and_dark_screenshots(report, tmp_path, width):
    light = screenshot(report, tmp_path / "light.png", width=width, height=1500)
    dark = screenshot(report, tmp_path / "dark.png", width=width, height=1500, dark=True)
    assert light.shape == dark.shape == (1500, width, 3)
    paper_light, paper_dark = light[1490, 3].mean(), dark[1490, 3].mean()
    assert paper_light > 240 and paper_dark < 40
    # Ink on both: text and bars differ clearly from the paper.
    for image, paper in ((light, paper_light), (dark, paper_dark)):
        assert (np.abs(image.mean(axis=2) - paper) > 100).mean() > 0.01


def test_a_page_without_gallery_needs_no_script(tmp_path):
    page = Page("t")
    page.section("s").paragraph("text")
    file = page.write(tmp_path / "p.html")
    assert console(file) == []


@pytest.mark.real_data
def test_a_report_with_real_frames(shared_dir, tmp_path):
    find_browser()
    dataset = load_dataset(shared_dir / "data/harborcams", classes="ship").in_split("val")
    found = jittered(dataset, np.random.default_rng(3))
    objects = objects_of(dataset, found)
    result = whole_result(dataset="harborcams", images=len(dataset), boxes=dataset.box_count)
    file = write_evaluation_report(result, tmp_path / "r.html", dataset=dataset, detections=found, objects=objects)
    assert file.stat().st_size < 6e6
    kinds = Counter(card["kind"] for card in cards_of(file))
    assert kinds["miss"] == kinds["false_alarm"] == 40 and kinds["duplicate"] == kinds["localisation"] == 20
    for width in (PHONE, DESK):
        said = measure(file, LAYOUT, width=width)
        assert said["scroll"] <= width and said["wide"] == [] and said["loaded"] == []
    assert console(file) == []
