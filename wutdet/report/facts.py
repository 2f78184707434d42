"""The sections of a report about everything around the figures: data, time, settings and environment."""

from __future__ import annotations

import math
from collections.abc import Mapping

from wutdet.dataset.stats import AITOD_BINS, octaves
from wutdet.report.charts import Bar, bar_chart, format_number, histogram
from wutdet.report.markup import is_number
from wutdet.report.page import Column, Page, Protocol, Section, Table
from wutdet.report.read import mapping
from wutdet.report.words import leak_details, plain, seconds_text


def data_section(page: Page, data: Mapping, audit: Mapping, split: Mapping) -> None:
    """What the data set holds, how it was split, and how much leaks."""
    section = page.section("Data")
    if not data and not audit and not split:
        section.note("This folder has no facts about its data set.")
        return
    facts = [
        ["frames", data.get("images")],
        ["frames without ships", data.get("images_without_ships")],
        ["ships (boxes)", data.get("boxes")],
        ["ignored boxes", data.get("ignored_boxes")],
        ["sequences", data.get("sequences")],
        ["classes", data.get("categories")],
        ["frame sizes (frames)", data.get("frame_sizes")],
        ["scenes (frames)", data.get("scenes")],
        ["conditions (frames)", data.get("conditions")],
        ["splits (frames)", split.get("splits") or data.get("splits")],
        ["split digest", split.get("digest")],
        ["leak rate of the split", leak_details(split.get("leak_rate")) if split else None],
        ["audit errors", audit.get("errors")],
        ["audit warnings", audit.get("warnings")],
        ["leak rate of the audit", leak_details(audit.get("leak_rate")) if audit else None],
    ]
    rows = [[name, plain(value)] for name, value in facts if value not in (None, {}, [], "")]
    protocol = {"data": data.get("name"), "images": data.get("images"), "split digest": split.get("digest")}
    section.table("Facts", Table([Column("fact"), Column("value")], rows), protocol)
    _sizes_figure(section, data, protocol)
    _density_figure(section, data, protocol)
    _conditions_table(section, data, protocol)


def _sizes_figure(section: Section, data: Mapping, protocol: Protocol) -> None:
    sizes = mapping(data.get("sizes"))
    shrunk = mapping(sizes.get("input"))
    edges = [*AITOD_BINS.values(), math.inf]
    where = {"the frame": sizes, f"a network input with a long side of {plain(shrunk.get('imgsz'))} px": shrunk}
    for place, part in where.items():
        counts = [mapping(part.get("aitod")).get(name) for name in AITOD_BINS]
        if not all(is_number(count) for count in counts):
            continue
        svg = histogram(f"Ships by size in {place}", edges, counts, x_label="px, √area", y_label="ships")
        median = mapping(part.get("sqrt_area")).get("p50")
        caption = f"Square root of the area in pixels of {place}, in the bins of AI-TOD."
        if is_number(median):
            caption += f" The median ship has {format_number(median, 3)} px."
        heads = [Column("bin"), Column("from", "px", True), Column("ships", number=True)]
        rows = [
            [name.replace("_", " "), plain(low), plain(count)]
            for (name, low), count in zip(AITOD_BINS.items(), counts, strict=True)
        ]
        title = "Ships by size in the frame" if part is sizes else "Ships by size in the network input"
        section.figure(title, svg, caption, protocol, Table(heads, rows))


def _density_figure(section: Section, data: Mapping, protocol: Protocol) -> None:
    density = mapping(data.get("boxes_per_image"))
    histogram = {k: v for k, v in mapping(density.get("histogram")).items() if str(k).isdigit() and is_number(v)}
    if not histogram:
        return
    bins = octaves(histogram)
    bars = [Bar(name.replace("-", "–"), float(frames)) for name, frames in bins.items()]
    svg = bar_chart("Frames by number of ships", bars, y_label="frames", digits=0)
    caption = (
        f"Ships in a frame: mean {format_number(density.get('mean'), 3)}, median {plain(density.get('median'))}, "
        f"most {plain(density.get('max'))}."
    )
    rows = [[name, plain(frames)] for name, frames in bins.items()]
    table = Table([Column("ships in the frame"), Column("frames", number=True)], rows)
    section.figure("Frames by number of ships", svg, caption, protocol, table)


def _conditions_table(section: Section, data: Mapping, protocol: Protocol) -> None:
    rows = []
    for kind, parts in mapping(data.get("slices")).items():
        for name, part in mapping(parts).items():
            part, sizes = mapping(part), mapping(mapping(part).get("sizes"))
            small = mapping(sizes.get("coco_share")).get("small")
            rows.append(
                [
                    f"{kind}: {name}",
                    plain(part.get("images")),
                    plain(part.get("boxes")),
                    f"{small:.0%}" if is_number(small) else None,
                    format_number(mapping(sizes.get("sqrt_area")).get("p50"), 3),
                ]
            )
    if rows:
        heads = [
            Column("slice"),
            Column("frames", number=True),
            Column("ships", number=True),
            Column("small", "below 32 px", True),
            Column("median", "px, √area", True),
        ]
        section.table("By scene, condition and split", Table(heads, rows), protocol)


def time_section(page: Page, seconds: Mapping) -> None:
    """Where the time went."""
    steps = {str(name): float(value) for name, value in seconds.items() if is_number(value)}
    if not steps:
        return
    total = sum(steps.values())
    rows = [[name, seconds_text(value), f"{value / total:.0%}" if total else None] for name, value in steps.items()]
    rows.append(["sum", seconds_text(total), None])
    heads = [Column("step"), Column("time", number=True), Column("share", number=True)]
    page.section("Where the time went").table("", Table(heads, rows))


def settings_section(page: Page, parts: Mapping[str, Mapping]) -> None:
    """Configurations and environments as they were recorded."""
    section = page.section("Settings and environment")
    for title, content in parts.items():
        if content:
            rows = [[key, plain(value)] for key, value in content.items() if key != "schema"]
            section.table(title, Table([Column("name"), Column("value")], rows))
        else:
            section.note(f"{title}: not recorded in this folder.")
