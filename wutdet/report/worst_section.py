"""The filterable gallery of the worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError
from wutdet.evaluation.protocol import SIZE_BINS
from wutdet.report.filters import SCRIPT, Card, filter_bar
from wutdet.report.markup import is_number, tag
from wutdet.report.objects import check_objects
from wutdet.report.page import Column, Page, Picture, Protocol, Table, protocol_box
from wutdet.report.plot import format_number
from wutdet.report.read import mapping, sequence
from wutdet.report.words import plain
from wutdet.report.worst import SHOWN, Crop, choose_worst, crops

_TITLE = "Worst misses and false alarms"
_CROP_PX = 320
# Other detections are drawn from this score up, where the evaluation names no better threshold.
_USUAL_THRESHOLD = 0.25
_MOST_NAMED = 5


def worst_section(
    page: Page,
    evaluation: Mapping,
    protocol: Protocol,
    dataset: Dataset | None,
    objects: Mapping[str, np.ndarray] | None,
    reason: str = "",
) -> None:
    """Crops of missed ships, false alarms, duplicates and badly placed boxes, the worst first; or why there are none.

    Args:
        page: takes the section and the script of the filters.
        evaluation: JSON form of an evaluation, for its size bins and its threshold.
        protocol: shown below.
        dataset: frames that the objects lie in.
        objects: of wutdet.evaluation.objects.objects_table.
        reason: why dataset or objects are missing, as a sentence.
    """
    section = page.section(_TITLE)
    if dataset is None or objects is None:
        what = "the frames were" if dataset is None else "the table of single objects was"
        section.note(f"There is no gallery: {reason or f'{what} not given to this report.'}")
        return
    try:
        objects = check_objects(objects, len(dataset))
    except DataError as error:
        section.note(f"There is no gallery: {error}")
        return
    names, edges = _bins(evaluation)
    bins = np.searchsorted(edges, objects["size_px"], side="right")
    rows = choose_worst(objects, bins, _groups(dataset)[objects["image"]])
    if not len(rows):
        section.paragraph("There is no mistake to show: every ship was found once, and nothing else.")
        return
    best = mapping(evaluation.get("threshold")).get("score")
    score = float(best) if is_number(best) else _USUAL_THRESHOLD
    shown, unread = crops(dataset, objects, rows, score)
    if unread:
        more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
        section.note(f"Frames that cannot be read have no pictures: {', '.join(unread[:_MOST_NAMED])}{more}.")
    if not shown:
        return
    section.paragraph(
        "Biggest missed ships and highest scores first; what lies in the same place in several frames of a sequence is "
        "repeated at the end at most. Each kind has room for ships of all sizes, and sequences take turns. "
        f"Shown are {_counts_text(objects, shown)}{_at_scores(best)}."
    )
    cards = [_card(dataset, objects, crop, names[bins[crop.row]]) for crop in shown]
    labels = {"size": "Size", "sequence": "Sequence", "source": "Source"}
    page.script = SCRIPT
    section.add(
        tag(
            "div",
            _colour_key(objects),
            filter_bar(cards, labels, {"size": names}),
            tag("div", *(card.to_html() for card in cards), class_="shots"),
            protocol_box({**protocol, "other detections drawn from score": format_number(score, 3)}),
            class_="wide",
        ),
        _markdown(dataset, objects, shown),
    )


def _at_scores(threshold: object) -> str:
    return f", at scores of {format_number(threshold, 3)} and up" if is_number(threshold) else ""


def _groups(dataset: Dataset) -> np.ndarray:
    """int64 [M]: the sequence of each frame; a number of its own where it belongs to none."""
    codes = np.asarray(dataset.sequence.codes, dtype=np.int64)
    return np.where(codes >= 0, codes, codes.max(initial=0) + 1 + np.arange(len(codes)))


def _bins(evaluation: Mapping) -> tuple[list[str], np.ndarray]:
    """Names of size bins, and the inner edges in pixels of the frame."""
    rows = [mapping(row) for row in sequence(evaluation.get("size_bins"))]
    edges = [row.get("high_px") for row in rows[:-1]]
    fits = all(row.get("unit") in (None, "px") and row.get("name") for row in rows) and all(map(is_number, edges))
    if rows and fits and list(edges) == sorted(edges):
        return [str(row["name"]) for row in rows], np.array(edges, dtype=np.float64)
    return [view.name for view in SIZE_BINS], np.array([view.edges[1] for view in SIZE_BINS[:-1]])


def _counts_text(objects: Mapping[str, np.ndarray], shown: Sequence[Crop]) -> str:
    kinds = [str(objects["kind"][crop.row]) for crop in shown]
    parts = []
    for kind, (words, _) in SHOWN.items():
        if kind in kinds:
            every = int((objects["kind"] == kind).sum())
            several = "s" if words in ("false alarm", "duplicate") and every != 1 else ""
            parts.append(f"{kinds.count(kind)} of {every} {words}{several}")
    return ", ".join(parts)


def _colour_key(objects: Mapping[str, np.ndarray]):
    words = {kind: name for kind, (name, _) in SHOWN.items() if (objects["kind"] == kind).any()}
    words |= {"hit": "hit", "truth": "as annotated"}
    return tag("div", *(tag("span", text, class_=f"is {kind}") for kind, text in words.items()), class_="key")


def _card(dataset: Dataset, objects: Mapping[str, np.ndarray], crop: Crop, size: str) -> Card:
    row, image = crop.row, int(objects["image"][crop.row])
    kind = str(objects["kind"][row])
    facts = {"size": size}
    for key in ("sequence", "source"):
        name = dataset.labels[key][image] if key in dataset.labels else None
        if name:
            facts[key] = str(name)
    said = "; ".join(_figures(objects, row))
    enlarged = f"{format_number(crop.factor, 2)}×" if crop.factor != 1 else "not enlarged"
    caption = f"{said}; {dataset.path[image]}; {enlarged}"
    return Card(Picture(crop.image, caption, (), _CROP_PX), SHOWN[kind][0], (kind, SHOWN[kind][0]), facts)


def _figures(objects: Mapping[str, np.ndarray], row: int) -> list[str]:
    width, height = (objects[b][row] - objects[a][row] for a, b in (("x1", "x2"), ("y1", "y2")))
    said = [f"{width:.0f}×{height:.0f} px"]
    if np.isfinite(objects["score"][row]):
        said.append(f"score {objects['score'][row]:.2f}")
    if objects["iou"][row] >= 0.01:
        said.append(f"best IoU {objects['iou'][row]:.2f}")
    return said


def _markdown(dataset: Dataset, objects: Mapping[str, np.ndarray], shown: Sequence[Crop]) -> str:
    heads = [Column("mistake"), Column("frame"), Column("size", "px, √area", True), Column("score", number=True),
             Column("best IoU", number=True), Column("box", "x1, y1, x2, y2")]  # fmt: skip
    rows = []
    for crop in shown:
        row = crop.row
        score, iou = float(objects["score"][row]), float(objects["iou"][row])
        rows.append(
            [
                SHOWN[str(objects["kind"][row])][0],
                dataset.path[int(objects["image"][row])],
                format_number(float(objects["size_px"][row]), 3),
                f"{score:.2f}" if np.isfinite(score) else None,
                f"{iou:.2f}" if iou >= 0.01 else None,
                plain([round(float(objects[c][row]), 1) for c in ("x1", "y1", "x2", "y2")]),
            ]
        )
    return Table(heads, rows).to_markdown()
