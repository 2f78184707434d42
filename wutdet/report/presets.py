"""The tables of one set of detections under several protocols, and of the thresholds that oLRP names."""

from __future__ import annotations

from collections.abc import Mapping

from wutdet.report.markup import is_number
from wutdet.report.page import Column, Protocol, Section, Table
from wutdet.report.plot import format_number
from wutdet.report.read import mapping
from wutdet.report.words import ap_text


def presets_table(section: Section, evaluation: Mapping, protocol: Protocol) -> None:
    """Figures by preset; those that only one preset has are folded away, unless it is its headline."""
    presets = {
        str(name): mapping(stats) for name, stats in mapping(evaluation.get("presets")).items() if mapping(stats)
    }
    if not presets:
        return
    keys = list(dict.fromkeys(key for stats in presets.values() for key in stats))
    headlines = {next(iter(stats)) for stats in presets.values()}
    shared = [key for key in keys if key in headlines or sum(key in stats for stats in presets.values()) > 1]
    own = [key for key in keys if key not in shared]
    # A blank is a figure that a preset does not have; a dash one of ships that the data does not have.
    rows = {k: [k, *(ap_text(stats.get(k)) if k in stats else "" for stats in presets.values())] for k in keys}
    heads = [Column("figure"), *(Column(name, number=True) for name in presets)]
    caption = (
        "The same detections, counted as each benchmark's own code counts them. Figures of one name differ between "
        "presets because limits on boxes per frame, size bins and ignored regions differ; they must not be mixed."
    )
    folded = Table(heads, [rows[k] for k in own]) if own else None
    section.table("Under other protocols", Table(heads, [rows[k] for k in shared]), protocol, caption=caption,
                  folded=folded)  # fmt: skip


def olrp_table(section: Section, evaluation: Mapping, protocol: Protocol) -> None:
    """Best score threshold per category by AI-TOD's oLRP."""
    thresholds = mapping(evaluation.get("olrp_thresholds"))
    rows = [[str(name), format_number(score, 3) if is_number(score) else None] for name, score in thresholds.items()]
    if rows:
        caption = (
            "The score from which on detections are best kept: there badly placed boxes, false alarms and misses "
            "together (oLRP) are fewest. A dash: not one detection hits such a ship."
        )
        heads = [Column("category"), Column("score", number=True)]
        section.table("Best thresholds by oLRP (aitod)", Table(heads, rows), protocol, caption=caption)
