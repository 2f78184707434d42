"""The section of a report about dense small ships: recall by size, crowding, false alarms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from wutdet.report.cells import heat, interval_text
from wutdet.report.markup import is_number
from wutdet.report.page import Column, Page, Protocol, Section, Table, Tile
from wutdet.report.plot import format_number
from wutdet.report.read import mapping, sequence
from wutdet.report.row_chart import Row, row_chart
from wutdet.report.size_curve import edges_text, size_curve
from wutdet.report.words import ap_text, plain


def density_section(page: Page, evaluation: Mapping, protocol: Protocol) -> None:
    """Recall over size, accuracy by ships per frame and by crowding, and false alarms, as far as they were measured."""
    density = mapping(evaluation.get("density"))
    if not density:
        return
    section = page.section("Dense small ships")
    _recall_figure(section, mapping(density.get("recall_by_size")), protocol)
    per_frame = [mapping(row) for row in sequence(density.get("ships_per_frame")) if mapping(row)]
    crowding = [mapping(row) for row in sequence(density.get("crowding")) if mapping(row)]
    if per_frame:
        _bars(section, "AP by ships in the frame", "ships in the frame", per_frame, "AP", protocol,
              "Frames with many ships against frames with few; n is the number of ships. The numbers below have the "
              "frames and the false alarms, of frames without ships too.")  # fmt: skip
    if crowding:
        _bars(section, "Found by crowding", "crowding", crowding, "recall50", protocol,
              "Share of ships found at IoU .50 by detections of any score, by how near or how covered their "
              "neighbours are; n is the number of ships.")  # fmt: skip
    for title, head, rows, key in (
        ("AP by size and ships in the frame", "ships in the frame", per_frame, "AP"),
        ("Found by size and ships in the frame", "ships in the frame", per_frame, "recall50"),
        ("Found by size and crowding", "crowding", crowding, "recall50"),
    ):
        _heat_table(section, title, head, rows, key, protocol)
    _false_alarms(page, mapping(density.get("false_alarms")), protocol)


def found_from_text(evaluation: Mapping) -> str | None:
    """``23 px`` where 90 % are found from 23 px up; None where that was not measured."""
    recall = mapping(mapping(evaluation.get("density")).get("recall_by_size"))
    if not sequence(recall.get("points")):
        return None
    found_from = recall.get("found_90_from_px")
    return f"{format_number(round(found_from, 1))} px" if is_number(found_from) else "at no size"


def found_from_detail(evaluation: Mapping) -> str:
    """At which scores, and from which size on were all detections counted."""
    recall = mapping(mapping(evaluation.get("density")).get("recall_by_size"))
    score, every = recall.get("score"), recall.get("found_90_from_px_all")
    where = f"scores of {format_number(score, 3)} and up" if is_number(score) else "at any score"
    if is_number(recall.get("found_90_from_px")):
        where = f"√area of the ship, and up; {where}"
    if is_number(score) and is_number(every):
        where += f"; at any score {format_number(round(every, 1))} px"
    return where


def _recall_figure(section: Section, recall: Mapping, protocol: Protocol) -> None:
    points = [mapping(point) for point in sequence(recall.get("points")) if mapping(point)]
    if not points:
        section.note("Recall was not measured against size.")
        return
    found_from, every = recall.get("found_90_from_px"), recall.get("found_90_from_px_all")
    score = format_number(recall.get("score"), 3)
    names = (f"score {score} and up" if is_number(recall.get("score")) else "found", "any score")
    svg = size_curve(
        "Recall against size", points, found_from=found_from if is_number(found_from) else None, names=names
    )
    caption = "Share of ships found"
    if is_number(recall.get("iou")):
        caption += f" at IoU {format_number(recall['iou'])}"
    if is_number(recall.get("score")):
        caption += f" with scores of {score} and up"
    caption += ", by the square root of the ship's area; the band is its interval. "
    if is_number(found_from):
        caption += f"90 % are found from {format_number(round(found_from, 1))} px up."
    else:
        caption += "There is no size from which on 90 % are found."
    if is_number(every):
        caption += f" Counting detections of any score, 90 % are found from {format_number(round(every, 1))} px up."
    heads = [Column("ships of", "px, √area"), Column("ships", number=True), Column("found", number=True),
             Column("recall", number=True), Column("interval")]  # fmt: skip
    rows = [
        [
            edges_text(p.get("low_px"), p.get("high_px")),
            plain(p.get("boxes")),
            plain(p.get("found")),
            ap_text(p.get("recall")),
            interval_text(p.get("interval")),
        ]
        for p in points
    ]
    if any(is_number(p.get("recall_all")) for p in points):
        heads.append(Column("recall", "any score", True))
        rows = [[*cells, ap_text(p.get("recall_all"))] for cells, p in zip(rows, points, strict=True)]
    section.figure("Recall against size", svg, caption, protocol, Table(heads, rows), wide=True)


def _bars(
    section: Section, title: str, head: str, rows: Sequence[Mapping], key: str, protocol: Protocol, caption: str
) -> None:
    bars = [
        Row(_bin(row), row.get(key), f"{ap_text(row.get(key))} n={plain(row.get('boxes'))}")
        for row in rows
        if row.get("boxes") != 0
    ]
    figures = [k for k in ("AP", "AP50", "AR", "recall50") if any(k in row for row in rows)]
    heads = [Column(head), Column("ships", number=True), *(Column(k, number=True) for k in figures)]
    table = [[_bin(row), plain(row.get("boxes")), *(ap_text(row.get(k)) for k in figures)] for row in rows]
    if any(is_number(row.get("false_alarms_per_frame")) for row in rows):
        heads.append(Column("false alarms", "per frame", True))
        table = [[*cells, format_number(row.get("false_alarms_per_frame"), 3)]
                 for cells, row in zip(table, rows, strict=True)]  # fmt: skip
    frames = [row.get("images") for row in rows]
    if all(is_number(count) for count in frames):
        heads.insert(1, Column("frames", number=True))
        table = [[cells[0], plain(count), *cells[1:]] for cells, count in zip(table, frames, strict=True)]
    label = "AP" if key == "AP" else "recall, IoU .50"
    svg = row_chart(title, bars, x_label=label)
    section.figure(title, svg, caption, protocol, Table(heads, table))


def _heat_table(section: Section, title: str, head: str, rows: Sequence[Mapping], key: str, protocol: Protocol) -> None:
    parts = [
        (row, {str(b.get("name")): b for b in map(mapping, sequence(row.get("size_bins"))) if key in b})
        for row in rows
        if row.get("boxes") != 0
    ]
    names = list(dict.fromkeys(name for _, bins in parts for name in bins))
    if not names:
        return
    heads = [Column(head), *(Column(name.partition(" (")[0], _unit(name), True) for name in names)]
    table = []
    for row, bins in parts:
        cells: list[object] = [_bin(row)]
        for name in names:
            part = mapping(bins.get(name))
            value = part.get(key)
            cells.append(heat(ap_text(value), value if is_number(value) else None, part.get("boxes")))
        table.append(cells)
    words = "AP" if key == "AP" else "Recall at IoU .50 by detections of any score"
    caption = f"{words}; n is the number of ships. Figures of few ships say little."
    section.table(title, Table(heads, table), protocol, caption=caption)


def _bin(row: Mapping) -> str:
    """The name of a bin, ranges with a dash: ``2–4``; its % stays on the line."""
    return re.sub(r"(?<=\d)-(?=\d)", "–", str(row.get("name") or "")).replace(" %", "\u00a0%")


def _unit(name: str) -> str:
    return name.partition(" (")[2].rstrip(")").replace("-", "–")


def _false_alarms(page: Page, alarms: Mapping, protocol: Protocol) -> None:
    if not alarms:
        return
    section = page.section("False alarms")
    where = []
    if is_number(alarms.get("score")):
        where.append(f"scores of {format_number(alarms['score'], 3)} and up")
    if is_number(alarms.get("frames")):
        where.append(f"{plain(alarms['frames'])} frames")
    tiles = [Tile("False alarms per frame", _per_frame(alarms.get("per_frame")), ", ".join(where))]
    horizon = alarms.get("horizon")
    if is_number(alarms.get("above_horizon_per_frame")):
        said = f"of the false alarms; horizon {horizon}" if horizon else "of the false alarms"
        tiles.append(Tile("Above the horizon per frame", _per_frame(alarms["above_horizon_per_frame"]), said))
    if is_number(alarms.get("duplicates_per_frame")):
        tiles.append(
            Tile(
                "Duplicates per frame",
                _per_frame(alarms["duplicates_per_frame"]),
                "of the false alarms; found once more",
            )
        )
    rate = alarms.get("duplicate_rate")
    if is_number(rate):
        tiles.append(Tile("Duplicate rate", f"{100 * rate:.1f} %", "duplicates per hit"))
    section.tiles(tiles)
    if not is_number(alarms.get("above_horizon_per_frame")):
        section.note("False alarms above the horizon were not counted: the frames have no horizon.")
    leak = protocol.get("leak rate")
    section.paragraph(
        f"A false alarm is any detection that is no hit at IoU {format_number(alarms.get('iou'))}: nothing is "
        "annotated there, or the box fits its ship badly, or the ship was found already. Leak rate "
        f"{str(leak or 'not measured').partition(' (')[0]}."
    )


def _per_frame(value: object) -> str:
    return f"{value:.3f}" if is_number(value) else "–"
