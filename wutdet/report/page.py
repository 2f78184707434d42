"""Page: one self-contained HTML file, and the same as Markdown. No network, no fonts; every text is escaped.

A page has at most one script, inline, which only hides and shows what is on the page; a content security policy in the
head lets that script run by its digest, and nothing be loaded at all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from wutdet.errors import DataError
from wutdet.files import write_text
from wutdet.images import read_image
from wutdet.report.markdown import md_list, md_text
from wutdet.report.markup import Markup, escape, join, tag
from wutdet.report.style import CSS
from wutdet.report.table import Cell, Column, Table

__all__ = ["Cell", "Column", "Page", "Picture", "Protocol", "Section", "Table", "Tile", "jpeg_data_uri", "protocol_box"]

#: A figure's protocol: what was measured, on what, how. Shown in this order; None and "" are left out.
Protocol = Mapping[str, object]

# Entries shown without unfolding: data, split, images, input size, maxDets, and what was evaluated ...
_SHORT_PROTOCOL = 6
# ... and the leak rate, wherever it stands: no accuracy without it. What it was compared with stays folded.
_ALWAYS_SHOWN = "leak rate"


@dataclass(frozen=True)
class Tile:
    """One figure of the headline: its name, its value, what it was measured on, and how sure it is."""

    name: str
    value: str
    detail: str = ""
    interval: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a gallery.

    Attributes:
        image: file, or uint8 [H, W, 3] BGR.
        caption: shown below, and the text for those who do not see the picture.
        insets: enlarged details, shown in a row below.
        width: pixels that the picture is scaled down to (never up).
    """

    image: Path | np.ndarray
    caption: str
    insets: Sequence[Picture] = ()
    width: int = 960

    def to_img(self) -> Markup:
        """``<img>`` with the picture inside, as JPEG."""
        pixels = self.image if isinstance(self.image, np.ndarray) else read_image(self.image)
        uri, (width, height) = jpeg_data_uri(pixels, self.width)
        return tag("img", src=Markup(uri), width=width, height=height, alt=self.caption, loading="lazy")


def jpeg_data_uri(image_bgr: np.ndarray, max_width: int, quality: int = 82) -> tuple[str, tuple[int, int]]:
    """A ``data:`` address of the picture as JPEG, scaled down to ``max_width``, and its size (width, height)."""
    height, width = image_bgr.shape[:2]
    if width > max_width:
        size = (max_width, max(1, round(height * max_width / width)))
        image_bgr = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"a picture of shape {image_bgr.shape} cannot be written as JPEG")
    encoded = base64.b64encode(data.tobytes()).decode("ascii")
    return f"data:image/jpeg;base64,{encoded}", (image_bgr.shape[1], image_bgr.shape[0])


def protocol_box(protocol: Protocol) -> Markup:
    """The protocol in one line that unfolds into a list; nothing where it is empty."""
    written = _protocol_words(protocol)
    if not written:
        return Markup("")
    entries = join(part for key, value in written for part in (tag("dt", key), tag("dd", value)))
    return tag("details", tag("summary", _protocol_line(written)), tag("dl", entries), class_="protocol")


def _protocol_words(protocol: Protocol) -> list[tuple[str, str]]:
    items = [(str(key), value) for key, value in protocol.items() if value not in (None, "", [], ())]
    return [(key, ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)) for key, v in items]


def _protocol_line(written: Sequence[tuple[str, str]]) -> str:
    short = [f"{key}: {value}" for key, value in written[:_SHORT_PROTOCOL] if key != _ALWAYS_SHOWN]
    short += [f"{key}: {value.partition(' (')[0]}" for key, value in written if key == _ALWAYS_SHOWN]
    return f"Protocol – {' · '.join(short)}".replace(" %", "\u00a0%")


@dataclass
class Section:
    """A titled part of a page; blocks appear in the order in which they are added."""

    title: str
    key: str
    blocks: list[Markup] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)  # the same blocks as Markdown

    def add(self, markup: Markup, *markdown: str) -> None:
        """A block: its HTML, and its Markdown in paragraphs (empty ones are left out)."""
        self.blocks.append(markup)
        self.lines += [part for part in markdown if part]

    def paragraph(self, text: str) -> None:
        self.add(tag("p", text), md_text(text))

    def note(self, text: str) -> None:
        """Something that is missing, or that the reader must know before trusting a figure."""
        self.add(tag("p", text, class_="note", role="note"), f"> {md_text(text)}")

    def tiles(self, tiles: Sequence[Tile]) -> None:
        """The few figures that matter most."""
        if not tiles:
            return
        shown = [
            tag(
                "div",
                tag("div", tile.name, class_="name"),
                tag("div", tile.value, class_="value" if any(map(str.isdigit, tile.value)) else "value words"),
                tag("div", tile.interval, class_="interval") if tile.interval else None,
                tag("div", tile.detail, class_="detail") if tile.detail else None,
                class_="tile",
            )
            for tile in tiles
        ]
        written = (
            f"{tile.name}: {tile.value}" + "".join(f"; {part}" for part in (tile.interval, tile.detail) if part)
            for tile in tiles
        )
        self.add(tag("div", *shown, class_="tiles"), md_list(written))

    def table(
        self,
        title: str,
        table: Table,
        protocol: Protocol | None = None,
        wide: bool = False,
        caption: str = "",
        folded: Table | None = None,
    ) -> None:
        """A table with its heading, caption and protocol; ``wide`` ones take the full width of the page.

        Rows of ``folded`` (same columns) are shown on request.
        """
        rest = None
        if folded is not None:
            rest = tag("details", tag("summary", f"{len(folded.rows)} more"), folded.to_html())
        self.add(
            tag(
                "div",
                tag("h3", title) if title else None,
                table.to_html(),
                rest,
                tag("p", caption, class_="caption") if caption else None,
                protocol_box(protocol or {}),
                class_="card wide" if wide else "card",
            ),
            f"### {md_text(title)}" if title else "",
            Table(table.columns, [*table.rows, *(folded.rows if folded is not None else ())]).to_markdown(),
            md_text(caption),
            _protocol_markdown(protocol or {}),
        )

    def figure(
        self,
        title: str,
        svg: str,
        caption: str = "",
        protocol: Protocol | None = None,
        data: Table | None = None,
        wide: bool = False,
    ) -> None:
        """A chart (made by wutdet.report.charts) with its caption, protocol, and its numbers in a folded table."""
        self.add(
            tag(
                "figure",
                tag("h3", title),
                Markup(svg),
                tag("figcaption", caption) if caption else None,
                protocol_box(protocol or {}),
                tag("details", tag("summary", "Numbers"), data.to_html()) if data else None,
                class_="card wide" if wide else "card",
            ),
            f"### {md_text(title)}",
            md_text(caption),
            data.to_markdown() if data else "",
            _protocol_markdown(protocol or {}),
        )

    def gallery(self, pictures: Sequence[Picture], protocol: Protocol | None = None, key: Markup | None = None) -> None:
        """Pictures with captions and insets; ``key`` explains the colours."""
        figures = []
        for picture in pictures:
            insets = [tag("figure", inset.to_img(), tag("figcaption", inset.caption)) for inset in picture.insets]
            figures.append(
                tag(
                    "figure",
                    picture.to_img(),
                    tag("figcaption", picture.caption),
                    tag("div", *insets, class_="insets") if insets else None,
                    class_="card",
                )
            )
        self.add(
            tag("div", key, tag("div", *figures, class_="gallery"), protocol_box(protocol or {}), class_="wide"),
            md_list(picture.caption for picture in pictures),
            _protocol_markdown(protocol or {}),
        )

    def to_html(self) -> Markup:
        return tag("section", tag("h2", self.title, id=self.key), tag("div", *self.blocks, class_="grid"))

    def to_markdown(self) -> str:
        return "\n\n".join((f"## {md_text(self.title)}", *self.lines))


def _protocol_markdown(protocol: Protocol) -> str:
    written = _protocol_words(protocol)
    return f"*{md_text(_protocol_line(written))}*" if written else ""


class Page:
    """A report: sections in order, written as one file.

    Args:
        title: of the page.
        subtitle: one line below it.
        footer: what made the page, and of what.

    Attributes:
        script: inline script, without "&" and "<" (the page is XML, too); the page must say all without it.
    """

    def __init__(self, title: str, subtitle: str = "", footer: str = ""):
        self.title, self.subtitle, self.footer = title, subtitle, footer
        self.sections: list[Section] = []
        self.script = ""

    def section(self, title: str) -> Section:
        """Adds an empty section and returns it."""
        section = Section(title, f"s{len(self.sections) + 1}")
        self.sections.append(section)
        return section

    def to_html(self) -> str:
        """The page: HTML5 that is well-formed XML too. Sections without content are left out."""
        filled = [section for section in self.sections if section.blocks]
        links = [tag("a", section.title, href=f"#{section.key}") for section in filled]
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", http_equiv="Content-Security-Policy", content=_policy(self.script)),
            tag("title", self.title),
            tag("style", Markup(CSS)),
        )
        body = tag(
            "body",
            tag(
                "header",
                tag("h1", self.title),
                tag("p", self.subtitle, class_="subtitle") if self.subtitle else None,
                tag("nav", *(join((link, "\n")) for link in links), aria_label="Sections") if len(links) > 1 else None,
            ),
            tag("main", *(section.to_html() for section in filled)),
            tag("footer", escape(self.footer)) if self.footer else None,
            tag("script", Markup(self.script)) if self.script else None,
        )
        return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"

    def to_markdown(self) -> str:
        """What the page says without its pictures."""
        parts = [f"# {md_text(self.title)}", md_text(self.subtitle)]
        parts += [section.to_markdown() for section in self.sections if section.blocks]
        return "\n\n".join(part for part in [*parts, md_text(self.footer)] if part) + "\n"

    def write(self, path: str | Path) -> Path:
        """Writes the page (atomically) and returns its path.

        Raises:
            WutdetError: the file cannot be written.
        """
        path = Path(path)
        write_text(path, self.to_html())
        return path


def _policy(script: str) -> str:
    """Content security policy: nothing is loaded from anywhere, and only this script runs."""
    allowed = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        allowed = f" script-src 'sha256-{digest}';"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline';{allowed} base-uri 'none'; form-action 'none'"
