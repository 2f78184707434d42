"""Checks that any report must pass, made with the standard library's parsers."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

VOID = {"br", "hr", "img", "input", "meta"}
# What a script could reach the network with, or make code of text with.
_REACHING_OUT = re.compile(
    r"fetch|XMLHttp|WebSocket|EventSource|sendBeacon|import|eval|Function\b\(|https?:|\.src|location"
)


class _Collector(HTMLParser):
    """Collects text and attributes, and insists on balanced tags."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                self.addresses.append((name, value))
            if name == "id":
                self.ids.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def check_page(html: str) -> _Collector:
    """Parses a page, checks that it is well-formed and needs nothing from outside, and returns what is in it."""
    root = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
    assert root.tag == "html"
    page = _Collector()
    page.feed(html)
    page.close()
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)), "ids must be unique in a page"
    for name, value in page.addresses:
        inside = value.startswith("#") and value[1:] in page.ids
        assert inside or value.startswith("data:image/jpeg;base64,"), f"{name} points outside: {value[:80]}"
    style = root.find("head/style").text
    assert "url(" not in style and "@import" not in style
    assert not {"link", "iframe", "object", "base", "form"} & set(page.tags)
    _check_scripts(root)
    return page


def _check_scripts(root: ElementTree.Element) -> None:
    """At most one script, inline, let in by its digest; everything else is forbidden by the page itself."""
    policy = root.find("head/meta[@http-equiv='Content-Security-Policy']").get("content")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline';")
    scripts = list(root.iter("script"))
    assert len(scripts) <= 1
    allowed = re.findall(r"script-src ([^;]*)", policy)
    if not scripts:
        assert allowed == []
        return
    assert scripts[0].attrib == {} and not _REACHING_OUT.search(scripts[0].text)
    digest = base64.b64encode(hashlib.sha256(scripts[0].text.encode()).digest()).decode()
    assert allowed == [f"'sha256-{digest}'"]
    for element in root.iter():
        assert not any(name.startswith("on") for name in element.attrib)


def page_words(file: Path) -> str:
    """All text of a report, in one line."""
    return " ".join(" ".join(check_page(file.read_text("utf-8")).words).split())
