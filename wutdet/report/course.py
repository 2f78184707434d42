"""The training section of a report: losses, accuracy and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wutdet.report.charts import Series, format_number, line_chart
from wutdet.report.markup import is_number
from wutdet.report.page import Column, Page, Protocol, Table
from wutdet.report.read import mapping
from wutdet.report.words import ap_text, seconds_text

_AP_KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def training_section(page: Page, epochs: Sequence[Mapping], protocol: Protocol) -> None:
    """Loss and AP over the epochs."""
    section = page.section("Training")
    if not epochs:
        section.note("There are no training records (metrics.jsonl), so there are no curves.")
        return
    numbers = [row["epoch"] for row in epochs]

    def series(name: str, values: Sequence) -> Series:
        return Series(name, numbers, values)

    def numbers_table(columns: Mapping[str, Sequence]) -> Table:
        heads = [Column("epoch", number=True), *(Column(name, number=True) for name in columns)]
        rows = [[epoch, *(format_number(values[i]) for values in columns.values())] for i, epoch in enumerate(numbers)]
        return Table(heads, rows)

    seconds = [row.get("seconds") for row in epochs if is_number(row.get("seconds"))]
    best = max((row for row in epochs if is_number(row.get("AP"))), key=lambda row: row["AP"], default=None)
    said = f"{len(epochs)} epoch{'s' if len(epochs) != 1 else ''}"
    if seconds:
        said += f" in {seconds_text(sum(seconds))}"
    if best is not None:
        said += f"; best AP {ap_text(best['AP'])} after epoch {best['epoch']}"
    section.paragraph(said + ".")

    names = list(dict.fromkeys(key for row in epochs for key in mapping(row.get("train"))))
    losses = {name: [mapping(row.get("train")).get(name) for row in epochs] for name in names}
    if losses:
        svg = line_chart(
            "Training loss per epoch",
            [series(name, values) for name, values in losses.items()],
            x_label="epoch",
            y_label="training loss",
            x_integer=True,
        )
        section.figure("Training loss", svg, "Mean over the epoch, by part.", protocol, numbers_table(losses))
    else:
        section.note("metrics.jsonl has no training losses.")
    measured = {
        key: [row.get(key) for row in epochs] for key in _AP_KEYS if any(is_number(row.get(key)) for row in epochs)
    }
    if measured:
        drawn = [key for key in ("AP", "AP50", "APs") if key in measured] or list(measured)
        svg = line_chart(
            "AP per epoch",
            [series(key, measured[key]) for key in drawn],
            x_label="epoch",
            y_label="AP",
            x_integer=True,
        )
        section.figure("Accuracy on the validation split", svg, "After each epoch.", protocol, numbers_table(measured))
    else:
        section.note("metrics.jsonl has no AP: no epoch was validated.")
    if any(is_number(row.get("lr")) for row in epochs):
        rates = [row.get("lr") for row in epochs]
        svg = line_chart(
            "Learning rate per epoch", [series("learning rate", rates)], x_label="epoch", y_label="rate", x_integer=True
        )
        section.figure("Learning rate", svg, "", protocol, numbers_table({"rate": rates}))
    if len(seconds) > 1:
        times = [row.get("seconds") for row in epochs]
        svg = line_chart("Time per epoch", [series("time", times)], x_label="epoch", y_label="seconds", x_integer=True)
        section.figure("Time per epoch", svg, "", protocol, numbers_table({"seconds": times}))
