"""The section of a report about kinds of mistakes, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping

from wutdet.report.markup import is_number
from wutdet.report.page import Column, Page, Protocol, Table
from wutdet.report.plot import format_number
from wutdet.report.read import mapping
from wutdet.report.row_chart import Row, row_chart
from wutdet.report.words import ap_text, plain

_WORDS = {
    "classification": "right place, wrong category",
    "localisation": "a ship, but the box fits badly",
    "both": "wrong category and badly placed",
    "duplicate": "a ship that was found already",
    "background": "nothing annotated there",
    "missed": "a ship without any detection near",
}
_SPECIAL = {
    "false_positives": "all of them, whatever their kind",
    "false_negatives": "all ships that were not found",
}


def mistakes_section(page: Page, evaluation: Mapping, protocol: Protocol) -> None:
    """What AP50 would gain if one kind of mistake were mended, with the number of such mistakes."""
    errors = mapping(evaluation.get("errors"))
    gains, counts = mapping(errors.get("dAP")), mapping(errors.get("counts"))
    if not gains:
        return
    section = page.section("Mistakes")
    special = mapping(errors.get("dAP_special"))
    rows = [Row(name, _number(value), _gain(value)) for name, value in gains.items()]
    rows += [Row(name.replace("_", " "), _number(value), _gain(value), group=1) for name, value in special.items()]
    svg = row_chart(
        "AP50 lost by kind of mistake",
        rows,
        x_label="AP50 that mending it would gain",
        missing="none",
        groups=("one kind mended", "all mended") if special else (),
    )
    iou, background = format_number(errors.get("iou")), format_number(errors.get("background_iou"))
    caption = (
        f"Each kind of mistake is mended alone, so the parts do not add up. AP50 is {ap_text(errors.get('AP50'))}; "
        f"a hit overlaps at IoU {iou} or more, background means less than {background}. In the manner of TIDE "
        "(Bolya and others, ECCV 2020)."
    )
    section.figure("What mistakes cost", svg, caption, protocol)
    heads = [Column("mistake"), Column("gain", "AP50", True), Column("count", number=True), Column("what it is")]
    table = [[name, _gain(value), plain(counts.get(name)), _WORDS.get(name, "")] for name, value in gains.items()]
    table += [[name.replace("_", " "), _gain(value), None, _SPECIAL.get(name, "")] for name, value in special.items()]
    lowest = protocol.get("lowest score")
    caption = f"Detections of all scores{f' from {lowest} up' if lowest else ''} are counted."
    section.table("Number of mistakes", Table(heads, table), protocol, caption=caption)


def _number(value: object) -> float | None:
    return float(value) if is_number(value) else None


def _gain(value: object) -> str:
    return f"{value:+.3f}".replace("-", "−") if is_number(value) else "–"
