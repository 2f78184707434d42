"""The headline and accuracy sections of a report: what the evaluator measured, beside its protocol and leak rate.

Nothing here computes a figure that was not measured; differences and frames per second are the only arithmetic. What is
missing gets a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wutdet.report.charts import Bar, bar_chart, format_number, pr_chart
from wutdet.report.markup import is_number
from wutdet.report.page import Column, Page, Protocol, Section, Table, Tile
from wutdet.report.read import mapping, sequence, stat
from wutdet.report.words import (
    STATISTICS,
    accuracy_protocol,
    ap_text,
    change_text,
    fps_text,
    leak_text,
    ms_text,
    plain,
    size_text,
)


def accuracy_tiles(evaluation: Mapping, name: str) -> list[Tile]:
    """AP, AP50, AP of small ships, and the leak rate beside them."""
    protocol = mapping(evaluation.get("protocol"))
    where = f"{name}, {protocol['images']} frames" if is_number(protocol.get("images")) else name
    small = stat(evaluation, "APs")
    return [
        Tile("AP (IoU .50:.95)", ap_text(stat(evaluation, "AP")), where),
        Tile("AP50", ap_text(stat(evaluation, "AP50")), where),
        Tile("AP small", ap_text(small), "area below 32² px" if small is not None else "no such ships"),
        Tile("Leak rate", leak_text(evaluation.get("leak_rate")), "evaluated frames that resemble training frames"),
    ]


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
    """PR curve and AP by size of the first evaluation; the 12 statistics of all of them."""
    section = page.section("Accuracy")
    if not evaluations:
        section.note("There is no evaluation in this folder: no PR curve, no AP by size.")
        return
    name, first = next(iter(evaluations.items()))
    protocol = {"evaluated": name, **accuracy_protocol(first, environment)}
    _pr_figure(section, name, first, protocol)
    _size_figure(section, evaluations, protocol)
    _statistics_table(section, evaluations, protocol)
    _slices_table(section, first, protocol)


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
        bars.append(Bar(_bin_name(row), row.get("AP"), (_bin_edges(row), count)))
    svg = bar_chart(f"AP by ship size of {name}", bars, y_label="AP", y_range=(0, 1))
    heads = [Column("ships of", "px, √area"), Column("ships", number=True)]
    heads += [Column(key, number=True) for key in ("AP", "AP50", "AR", "recall50")]
    rows = [
        [_bin_edges(row), plain(row.get("boxes")), *(ap_text(row.get(k)) for k in ("AP", "AP50", "AR", "recall50"))]
        for row in bins
    ]
    section.figure(
        "AP by size of the ship",
        svg,
        "Size is the square root of the area, in pixels of the frame; n is the number of ships. recall50 is the share "
        "of ships found at IoU .50 by all detections, whatever their score.",
        protocol,
        Table(heads, rows),
    )


def _bin_name(row: Mapping) -> str:
    return str(row.get("name") or "").partition(" (")[0]


def _bin_edges(row: Mapping) -> str:
    low, high = row.get("low_px"), row.get("high_px")
    if not is_number(low) and not is_number(high):
        return str(row.get("name") or "")
    if not is_number(high):
        return f"{format_number(low)}+ px"
    return f"{format_number(low or 0)}–{format_number(high)} px"


def _statistics_table(section: Section, evaluations: Mapping[str, Mapping], protocol: Protocol) -> None:
    keys = list(STATISTICS)
    # Statistics that we do not know by name are shown as they are.
    keys += [
        k for k in dict.fromkeys(k for e in evaluations.values() for k in mapping(e.get("stats"))) if k not in keys
    ]
    heads = [Column("model"), *(Column(key, STATISTICS.get(key, ""), True) for key in keys)]
    heads.append(Column("leak rate", number=True))
    rows = [
        [name, *(ap_text(stat(evaluation, key)) for key in keys), leak_text(evaluation.get("leak_rate"))]
        for name, evaluation in evaluations.items()
    ]
    section.table("COCO statistics (0 to 1; – where there are no such ships)", Table(heads, rows), protocol, wide=True)


def _slices_table(section: Section, evaluation: Mapping, protocol: Protocol) -> None:
    slices = [{**row, **mapping(row.get("stats"))} for row in sequence(evaluation.get("slices")) if mapping(row)]
    keys = list(dict.fromkeys(k for row in slices for k, v in row.items() if not isinstance(v, (dict, list))))
    if not keys:
        return
    numeric = {key: any(is_number(row.get(key)) for row in slices) for key in keys}
    rows = [[plain(row.get(key)) for key in keys] for row in slices]
    section.table("By slice", Table([Column(k, number=numeric[k]) for k in keys], rows), protocol, wide=True)
