import base64
import re

import cv2
import numpy as np
import pytest
from markup_checks import check_page, page_words

from wutdet.errors import DataError, WutdetError
from wutdet.report.charts import Bar, bar_chart
from wutdet.report.markup import Markup, escape, join, tag
from wutdet.report.page import Column, Page, Picture, Table, Tile, protocol_box

HOSTILE = "<b>ship & \"boat\" 'x'</b> \x01\udc80 Ålesund 港.jpg"


def test_markup_is_escaped_once():
    assert tag("p", "a < b") == "<p>a &lt; b</p>"
    assert tag("p", tag("b", "&")) == "<p><b>&amp;</b></p>"
    assert join(["<", Markup("<br/>"), None]) == "&lt;<br/>"
    assert tag("img", alt='"', class_="c", width=1.50, href=None) == '<img alt="&quot;" class="c" width="1.5"/>'
    assert escape("\udc80\x00") == "\ufffd\ufffd"


def make_page() -> Page:
    page = Page(HOSTILE, HOSTILE, HOSTILE)
    section = page.section(HOSTILE)
    section.paragraph(HOSTILE)
    section.note(HOSTILE)
    section.tiles([Tile(HOSTILE, HOSTILE, HOSTILE)])
    table = Table([Column(HOSTILE, HOSTILE), Column("n", number=True)], [[HOSTILE, 1], [HOSTILE, None]])
    section.table(HOSTILE, table, {HOSTILE: HOSTILE})
    section.figure(HOSTILE, bar_chart(HOSTILE, [Bar(HOSTILE, 1.0)], y_label="AP"), HOSTILE, {"data": HOSTILE}, table)
    picture = np.full((90, 160, 3), 128, np.uint8)
    section.gallery([Picture(picture, HOSTILE, (Picture(picture, HOSTILE),))], {"data": HOSTILE})
    return page


def test_hostile_text_stays_text_everywhere(tmp_path):
    file = make_page().write(tmp_path / "a & b <é>" / "report.html")
    words = page_words(file)
    assert words.count("<b>ship & \"boat\" 'x'</b>") >= 15
    assert "Ålesund 港.jpg" in words
    assert "<b>" not in file.read_text("utf-8")


def test_sections_are_linked_and_empty_ones_left_out():
    page = Page("t")
    page.section("one").paragraph("text")
    page.section("empty")
    page.section("two").paragraph("text")
    html = page.to_html()
    found = check_page(html)
    assert [value for name, value in found.addresses if name == "href"] == ["#s1", "#s3"]
    assert "empty" not in " ".join(found.words)


def test_pictures_are_embedded_at_the_stated_width_and_never_enlarged():
    gradient = np.tile(np.linspace(0, 255, 1920, dtype=np.uint8)[None, :, None], (1080, 1, 3))
    page = Page("t")
    page.section("s").gallery([Picture(gradient, "large", (), 960), Picture(gradient[:90, :160], "small", (), 960)])
    html = page.to_html()
    check_page(html)
    decoded = []
    for data in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", html):
        decoded.append(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR))
    assert [d.shape for d in decoded] == [(540, 960, 3), (90, 160, 3)]
    expected = cv2.resize(gradient, (960, 540), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded[0].astype(int) - expected).mean() < 2
    assert 'width="960" height="540"' in html


def test_a_picture_file_that_is_no_picture_is_an_error(tmp_path):
    (tmp_path / "x.jpg").write_text("not a picture")
    with pytest.raises(DataError, match=r"x\.jpg"):
        Picture(tmp_path / "x.jpg", "caption").to_img()


def test_tables_carry_units_alignment_and_dashes():
    html = Table([Column("model"), Column("median", "ms", True)], [["int8", "3.20"], ["fp32", None]]).to_html()
    assert '<th scope="col" class="right">median<br/><span class="unit">ms</span></th>' in html
    assert '<td class="right">3.20</td>' in html and '<td class="right">–</td>' in html
    with pytest.raises(ValueError, match="2 cells"):
        Table([Column("a"), Column("b")], [["only one"]]).to_html()


def test_protocol_box_shows_all_and_leaves_out_what_is_unknown():
    html = protocol_box({"data": "harbour", "split": None, "images": 199, "classes": ["ship", "buoy"], "seed": 0})
    assert "split" not in html and "harbour" in html and "ship, buoy" in html
    assert "<dt>seed</dt><dd>0</dd>" in html  # zero is a value
    assert protocol_box({"split": None}) == ""


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(WutdetError):
        make_page().write(tmp_path / "file" / "report.html")
    assert (tmp_path / "file").read_text() == "old"


def test_the_style_sheet_serves_dark_mode_and_narrow_screens():
    html = Page("t").to_html()
    assert "prefers-color-scheme: dark" in html and "max-width: 560px" in html
    assert '<meta name="viewport"' in html
