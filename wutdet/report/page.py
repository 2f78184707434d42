"""Page: one self-contained HTML file. No network, no scripts, no fonts; every text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from wutdet.errors import DataError
from wutdet.files import write_text
from wutdet.images import read_image
from wutdet.report.markup import Markup, escape, join, tag
from wutdet.report.style import CSS

#: A figure's protocol: what was measured, on what, how. Shown in this order; None and "" are left out.
Protocol = Mapping[str, object]

# Entries shown without unfolding: data, split, images, input size, maxDets, and what was evaluated.
_SHORT_PROTOCOL = 6


@dataclass(frozen=True)
class Column:
    """A table column: its head, the unit under it, and whether it holds numbers (then right-aligned)."""

    name: str
    unit: str = ""
    number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells as text or numbers, already rounded; None becomes a dash."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]

    def to_html(self) -> Markup:
        def classes(column: Column) -> str | None:
            return "right" if column.number else None

        head = [
            tag(
                "th",
                column.name,
                join((tag("br"), tag("span", column.unit, class_="unit"))) if column.unit else None,
                scope="col",
                class_=classes(column),
            )
            for column in self.columns
        ]
        body = []
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(self.columns)} cells was expected, received {len(row)}: {row!r}")
            cells = [
                tag(
                    "th" if index == 0 else "td",
                    "–" if cell is None else cell,
                    scope="row" if index == 0 else None,
                    class_=classes(column),
                )
                for index, (column, cell) in enumerate(zip(self.columns, row, strict=True))
            ]
            body.append(tag("tr", *cells))
        table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))
        return tag("div", table, class_="scroll")


@dataclass(frozen=True)
class Tile:
    """One figure of the headline: its name, its value, and what it was measured on."""

    name: str
    value: str
    detail: str = ""


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
    items = [(str(key), value) for key, value in protocol.items() if value not in (None, "", [], ())]
    if not items:
        return Markup("")
    written = [(key, ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)) for key, v in items]
    short = " · ".join(f"{key}: {value}" for key, value in written[:_SHORT_PROTOCOL])
    entries = join(part for key, value in written for part in (tag("dt", key), tag("dd", value)))
    return tag("details", tag("summary", f"Protocol – {short}"), tag("dl", entries), class_="protocol")


@dataclass
class Section:
    """A titled part of a page; blocks appear in the order in which they are added."""

    title: str
    key: str
    blocks: list[Markup] = field(default_factory=list)

    def paragraph(self, text: str) -> None:
        self.blocks.append(tag("p", text))

    def note(self, text: str) -> None:
        """Something that is missing, or that the reader must know before trusting a figure."""
        self.blocks.append(tag("p", text, class_="note", role="note"))

    def tiles(self, tiles: Sequence[Tile]) -> None:
        """The few figures that matter most."""
        if not tiles:
            return
        self.blocks.append(
            tag(
                "div",
                *(
                    tag(
                        "div",
                        tag("div", tile.name, class_="name"),
                        tag("div", tile.value, class_="value"),
                        tag("div", tile.detail, class_="detail") if tile.detail else None,
                        class_="tile",
                    )
                    for tile in tiles
                ),
                class_="tiles",
            )
        )

    def table(self, title: str, table: Table, protocol: Protocol | None = None, wide: bool = False) -> None:
        """A table with its heading and protocol; ``wide`` ones take the full width of the page."""
        self.blocks.append(
            tag(
                "div",
                tag("h3", title) if title else None,
                table.to_html(),
                protocol_box(protocol or {}),
                class_="card wide" if wide else "card",
            )
        )

    def figure(
        self, title: str, svg: str, caption: str = "", protocol: Protocol | None = None, data: Table | None = None
    ) -> None:
        """A chart (made by wutdet.report.charts) with its caption, protocol, and its numbers in a folded table."""
        self.blocks.append(
            tag(
                "figure",
                tag("h3", title),
                Markup(svg),
                tag("figcaption", caption) if caption else None,
                protocol_box(protocol or {}),
                tag("details", tag("summary", "Numbers"), data.to_html()) if data else None,
                class_="card",
            )
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
        self.blocks.append(
            tag("div", key, tag("div", *figures, class_="gallery"), protocol_box(protocol or {}), class_="wide")
        )

    def to_html(self) -> Markup:
        return tag("section", tag("h2", self.title, id=self.key), tag("div", *self.blocks, class_="grid"))


class Page:
    """A report: sections in order, written as one file.

    Args:
        title: of the page.
        subtitle: one line below it.
        footer: what made the page, and of what.
    """

    def __init__(self, title: str, subtitle: str = "", footer: str = ""):
        self.title, self.subtitle, self.footer = title, subtitle, footer
        self.sections: list[Section] = []

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
        )
        return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"

    def write(self, path: str | Path) -> Path:
        """Writes the page (atomically) and returns its path.

        Raises:
            WutdetError: the file cannot be written.
        """
        path = Path(path)
        write_text(path, self.to_html())
        return path
