"""The section of a report about corrupted frames: what fog, glare, rain and bad cameras cost."""

from __future__ import annotations

from collections.abc import Mapping

from wutdet.report.cells import heat
from wutdet.report.markup import is_number
from wutdet.report.page import Column, Page, Protocol, Table
from wutdet.report.read import mapping, sequence
from wutdet.report.row_chart import Row, row_chart
from wutdet.report.words import ap_text, change_text, plain

_FIGURES = {"AP": "AP", "AP50": "AP50", "APs": "AP of small ships"}


def robustness_section(page: Page, evaluation: Mapping, protocol: Protocol) -> None:
    """AP by corruption and severity as heat, and the mean loss by corruption."""
    content = mapping(evaluation.get("robustness"))
    corruptions = [mapping(row) for row in sequence(content.get("corruptions")) if mapping(row)]
    if not corruptions:
        return
    section = page.section("Robustness")
    clean, severities = mapping(content.get("clean")), sequence(content.get("severities"))
    frames = content.get("frames")
    total = content.get("frames_of")
    if is_number(frames):
        protocol = {**protocol, "images": f"{plain(frames)} of {plain(total)}" if is_number(total) else plain(frames)}
    change = change_text(content.get("mean_AP"), clean.get("AP"))
    where = f" Both on {plain(frames)} frames" + (f" of {plain(total)}." if is_number(total) else ".")
    section.paragraph(
        f"AP is {ap_text(clean.get('AP'))} on clean frames and {ap_text(content.get('mean_AP'))} in the mean over all "
        f"corruptions and severities{f': {change}' if change else ''}.{where if is_number(frames) else ''}"
    )
    worst = sorted(corruptions, key=lambda row: -(row["loss_AP"] if is_number(row.get("loss_AP")) else -1.0))
    groups = list(dict.fromkeys(str(row.get("group") or "") for row in corruptions))
    rows = [
        Row(
            _name(row), row.get("loss_AP"), ap_text(row.get("loss_AP")), group=groups.index(str(row.get("group") or ""))
        )
        for row in worst
    ]
    svg = row_chart("Mean loss of AP by corruption", rows, x_label="AP lost, mean of the severities", groups=groups)
    caption = f"The worst corruption first. AP is {ap_text(clean.get('AP'))} on clean frames."
    section.figure("Mean loss by corruption", svg, caption, protocol)
    for key, words in _FIGURES.items():
        _heat_table(section, key, words, corruptions, clean, severities, protocol)


def _heat_table(section, key, words, corruptions, clean: Mapping, severities, protocol: Protocol) -> None:
    rows = [row for row in corruptions if any(is_number(v) for v in sequence(row.get(key)))]
    if not rows:
        return
    count = max(len(sequence(row.get(key))) for row in rows)
    names = [plain(s) for s in severities] if len(severities) == count else [str(i + 1) for i in range(count)]
    reference = clean.get(key)
    heads = [Column("corruption"), *(Column(n, number=True) for n in names)]
    extra = key == "AP" and any("relative_loss" in row for row in rows)
    if extra:
        heads.append(Column("loss", "mean", True))
    table = []
    for row in rows:
        cells: list[object] = [_name(row)]
        values = list(sequence(row.get(key)))
        for value in values + [None] * (count - len(values)):
            lost = (
                (reference - value) / reference if is_number(value) and is_number(reference) and reference > 0 else None
            )
            cells.append(heat(ap_text(value), lost, kind="loss"))
        if extra:
            loss = row.get("relative_loss")
            cells.append(f"{100 * loss:.0f} %" if is_number(loss) else None)
        table.append(cells)
    caption = (
        f"{words} is {ap_text(reference)} on clean frames. Columns are severities, 5 the worst; the stronger the "
        "colour, the larger the share that is lost."
    )
    section.table(f"{words} by corruption and severity", Table(heads, table), protocol, caption=caption)


def _name(row: Mapping) -> str:
    return str(row.get("name") or "?").replace("_", " ")
