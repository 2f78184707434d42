"""The headline and accuracy sections of a report: what the evaluator measured, beside its protocol and leak rate.

Nothing here computes a figure that was not measured; differences and frames per second are the only arithmetic. What is
missing gets a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wutdet.report.cells import interval_text, pair
from wutdet.report.charts import Bar, bar_chart, format_number, pr_chart
from wutdet.report.comparison import comparison_section
from wutdet.report.density import density_section
from wutdet.report.markup import is_number
from wutdet.report.mistakes import mistakes_section
from wutdet.report.page import Column, Page, Protocol, Section, Table, Tile
from wutdet.report.presets import olrp_table, presets_table
from wutdet.report.read import mapping, sequence, stat
from wutdet.report.robustness import robustness_section
from wutdet.report.slices import slices_section
from wutdet.report.words import (
    STATISTICS,
    accuracy_protocol,
    ap_text,
    change_text,
    fps_text,
    leak_details,
    leak_text,
    ms_text,
    plain,
    size_text,
)

# Units of size bins other than pixels of the frame.
_SIZE_UNITS = {
    "input": "in pixels of the network input (with tiles: of the input that a tile is scaled to)",
    "frame": "as a share of the frame's side (the square root of the frame's area)",
}


def accuracy_tiles(evaluation: Mapping, name: str) -> list[Tile]:
    """The headline of the protocol (AP, AP50, AP of small ships in COCO's), and the leak rate beside it."""
    protocol = mapping(evaluation.get("protocol"))
    where = f"{name}, {protocol['images']} frames" if is_number(protocol.get("images")) else name

    def tile(title: str, key: str, detail: str) -> Tile:
        return Tile(title, ap_text(stat(evaluation, key)), detail, stat_interval(evaluation, key))

    if is_coco(evaluation):
        small = "area below 32² px" if stat(evaluation, "APs") is not None else "no such ships"
        tiles = [tile("AP (IoU .50:.95)", "AP", where), tile("AP50", "AP50", where), tile("AP small", "APs", small)]
    else:
        titles, preset = mapping(evaluation.get("titles")), str(protocol.get("preset"))
        keys = list(mapping(evaluation.get("stats")))[:3]
        tiles = [tile(f"{key} ({preset})", key, str(titles.get(key) or where)) for key in keys]
    leak_rate = evaluation.get("leak_rate")
    kinds = leak_details(leak_rate).partition(" (")[2].partition(")")[0]
    leaks = "evaluated frames that resemble training frames" + (f": {kinds}" if kinds else "")
    return [*tiles, Tile("Leak rate", leak_text(leak_rate), leaks)]


def is_coco(evaluation: Mapping) -> bool:
    """Whether the statistics are COCO's 12, whose names mean what readers expect."""
    return mapping(evaluation.get("protocol")).get("preset") in (None, "coco")


def stat_interval(evaluation: Mapping, key: str) -> str:
    """``95 %: 0.371 to 0.455`` of a statistic; empty where there is no interval."""
    intervals = mapping(evaluation.get("intervals"))
    edges = pair(mapping(intervals.get("stats")).get(key))
    if edges is None:
        return ""
    level = intervals.get("level")
    return (f"{100 * level:g} %: " if is_number(level) else "") + interval_text(edges)


def intervals_text(evaluation: Mapping) -> str | None:
    """How the intervals were made, in one sentence; None where there are none."""
    intervals = mapping(evaluation.get("intervals"))
    if not mapping(intervals.get("stats")):
        return None
    level, resamples, units = (intervals.get(key) for key in ("level", "resamples", "units"))
    sure = f"{100 * level:g} % intervals" if is_number(level) else "Intervals"
    drawn = f"{plain(units)} " if is_number(units) else ""
    unit = str(intervals.get("unit") or "unit") + ("" if units == 1 else "s")
    return f"{sure}: {plain(resamples)} bootstrap resamples of {drawn}{unit}, seed {plain(intervals.get('seed'))}."


def add_sureness(section: Section, evaluation: Mapping) -> None:
    """How the intervals were made, and their warning, as far as there are any."""
    sure, warning = intervals_text(evaluation), mapping(evaluation.get("intervals")).get("warning")
    if sure:
        section.paragraph(sure)
    if isinstance(warning, str):
        section.note(warning)


def speed_tiles(models: Sequence[Mapping]) -> list[Tile]:
    """int8 beside fp32: accuracy, size, latency. Only what both have."""
    fp32, int8 = (next((m for m in models if m.get("name") == name), {}) for name in ("fp32", "int8"))
    tiles = []
    change = change_text(stat(mapping(int8.get("eval")), "AP"), stat(mapping(fp32.get("eval")), "AP"))
    if change is not None:
        both = f"AP {ap_text(stat(int8['eval'], 'AP'))} against {ap_text(stat(fp32['eval'], 'AP'))}"
        tiles.append(Tile("int8 against fp32", change, both))
    for model in (int8, fp32):
        name, size, median = model.get("name"), size_text(model.get("size_bytes")), model.get("median_ms")
        if size:
            tiles.append(Tile(f"{name} file", f"{size} MB", str(model.get("file") or "")))
        if is_number(median):
            detail = f"{fps_text(median)} frames/s, {model.get('engine') or 'engine not stated'}"
            tiles.append(Tile(f"{name} latency", f"{ms_text(median)} ms", detail))
    return tiles


def accuracy_section(page: Page, evaluations: Mapping[str, Mapping], environment: Mapping) -> None:
    """PR curve and AP by size of the first evaluation, the statistics of all of them, and what else the first has.

    That is: presets; and sections on A against B, slices, dense small ships, mistakes and robustness.
    """
    section = page.section("Accuracy")
    if not evaluations:
        section.note("There is no evaluation in this folder: no PR curve, no AP by size.")
        return
    name, first = next(iter(evaluations.items()))
    protocol = {"evaluated": name, **accuracy_protocol(first, environment)}
    _pr_figure(section, name, first, protocol)
    _size_figure(section, evaluations, protocol)
    _statistics_table(section, evaluations, protocol)
    presets_table(section, first, protocol)
    olrp_table(section, first, protocol)
    for more in (comparison_section, density_section, slices_section, mistakes_section, robustness_section):
        more(page, first, protocol)


def _pr_figure(section: Section, name: str, evaluation: Mapping, protocol: Protocol) -> None:
    curves = mapping(evaluation.get("curves"))
    recall = sequence(curves.get("recall"))
    precision = {
        ("mean of .50:.95" if key == "mean" else f"IoU {key}"): values
        for key, values in mapping(curves.get("precision")).items()
        if len(sequence(values)) == len(recall) and recall
    }
    if not precision:
        section.note(f"The evaluation of '{name}' has no precision-recall curves.")
        return
    svg = pr_chart(f"Precision over recall of {name}", recall, precision)
    caption = "Precision at 101 recall points, as COCO interpolates it."
    threshold = mapping(evaluation.get("threshold"))
    if is_number(threshold.get("score")):
        caption += (
            f" Best F1 at IoU .50: {format_number(threshold.get('f1'), 3)} with scores of "
            f"{format_number(threshold['score'], 3)} and up (precision {format_number(threshold.get('precision'), 3)}, "
            f"recall {format_number(threshold.get('recall'), 3)})."
        )
    every = range(0, len(recall), 10) if len(recall) == 101 else range(len(recall))
    table = Table(
        [Column("recall", number=True), *(Column(key, number=True) for key in precision)],
        [[format_number(recall[i]), *(ap_text(values[i]) for values in precision.values())] for i in every],
    )
    section.figure("Precision and recall", svg, caption, protocol, table)


def _size_figure(section: Section, evaluations: Mapping[str, Mapping], protocol: Protocol) -> None:
    name, first = next(iter(evaluations.items()))
    bins = [mapping(row) for row in sequence(first.get("size_bins"))]
    if not bins:
        section.note(f"The evaluation of '{name}' has no AP by size.")
        return
    bars = []
    for row in bins:
        ships = row.get("boxes")
        count = f"n={ships}" if is_number(ships) else ""
        title, edges = _bin_name(row), _bin_edges(row)
        bars.append(Bar(title, row.get("AP"), ("" if edges == title else edges, count)))
    svg = bar_chart(f"AP by ship size of {name}", bars, y_label="AP", y_range=(0, 1))
    unit = str(bins[0].get("unit"))
    heads = [Column("ships of", "√area" if unit in _SIZE_UNITS else "px, √area"), Column("ships", number=True)]
    heads += [Column(key, number=True) for key in ("AP", "AP50", "AR", "recall50")]
    rows = [
        [_bin_edges(row), plain(row.get("boxes")), *(ap_text(row.get(k)) for k in ("AP", "AP50", "AR", "recall50"))]
        for row in bins
    ]
    section.figure(
        "AP by size of the ship",
        svg,
        f"Size is the square root of the area, {_SIZE_UNITS.get(unit, 'in pixels of the frame')}; n is the number of "
        "ships; one exactly on an edge counts on both sides. recall50 is the share of ships found at IoU .50 by all "
        "detections, whatever their score.",
        protocol,
        Table(heads, rows),
    )


def _bin_name(row: Mapping) -> str:
    return str(row.get("name") or "").partition(" (")[0]


def _bin_edges(row: Mapping) -> str:
    low, high = row.get("low_px"), row.get("high_px")
    if str(row.get("unit")) in _SIZE_UNITS:  # the name says which pixels or shares
        return str(row.get("name") or "")
    if not is_number(low) and not is_number(high):
        return str(row.get("name") or "")
    if not is_number(high):
        return f"{format_number(low)}+ px"
    return f"{format_number(low or 0)}–{format_number(high)} px"


def _statistics_table(section: Section, evaluations: Mapping[str, Mapping], protocol: Protocol) -> None:
    known = STATISTICS if all(is_coco(evaluation) for evaluation in evaluations.values()) else {}
    keys = list(known)
    # Statistics that we do not know by name are shown as they are.
    keys += [
        k for k in dict.fromkeys(k for e in evaluations.values() for k in mapping(e.get("stats"))) if k not in keys
    ]
    first = next(iter(evaluations.values()))
    preset = mapping(first.get("protocol")).get("preset")
    title = f"{'COCO statistics' if known else f'Statistics of {preset}'} (0 to 1; – where there are no such ships)"
    if len(evaluations) == 1:
        # Downwards, so that intervals have room and a phone shows all.
        sure = any(stat_interval(first, key) for key in keys)
        titles = mapping(first.get("titles"))
        heads = [Column("figure"), Column("value", number=True), *([Column("interval", number=True)] if sure else [])]
        heads.append(Column("what it is"))
        rows = [
            [
                key,
                ap_text(stat(first, key)),
                *([stat_interval(first, key).rpartition(": ")[2] or "–"] if sure else []),
                str(titles.get(key) or known.get(key, "")),
            ]
            for key in keys
        ]
        leaks = leak_text(first.get("leak_rate"))
        said = [leaks, "of the frames"] if leaks[:1].isdigit() else [None, leaks]
        rows.append(["leak rate", said[0], *([None] if sure else []), said[1]])
        section.table(title, Table(heads, rows), protocol)
        return
    heads = [Column("model"), *(Column(key, known.get(key, ""), True) for key in keys)]
    heads.append(Column("leak rate", number=True))
    rows = [
        [name, *(ap_text(stat(evaluation, key)) for key in keys), leak_text(evaluation.get("leak_rate"))]
        for name, evaluation in evaluations.items()
    ]
    section.table(title, Table(heads, rows), protocol, wide=True)
