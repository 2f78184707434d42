"""The sections of a report about the artefacts: example frames, speed and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wutdet.errors import DataError
from wutdet.images import read_image
from wutdet.report.charts import Bar, bar_chart
from wutdet.report.gallery import colour_key
from wutdet.report.markup import is_number
from wutdet.report.page import Column, Page, Picture, Protocol, Table
from wutdet.report.read import mapping, sequence, stat
from wutdet.report.words import ap_text, environment_protocol, fps_text, ms_text, plain, size_hw_text, size_text


def examples_section(page: Page, folder: Path, examples: Sequence[Mapping], protocol: Protocol) -> None:
    """The pictures that the run has drawn, with their details. Pictures that cannot be read are named."""
    section = page.section("What it sees")
    pictures, broken = [], []

    def picture(entry: Mapping, width: int) -> Picture | None:
        name = entry.get("image")
        try:
            return Picture(read_image(folder / str(name)), str(entry.get("caption") or name), (), width)
        except DataError:
            broken.append(str(name))
            return None

    for entry in examples:
        frame = picture(entry, 960)
        insets = [p for p in (picture(mapping(e), 240) for e in sequence(entry.get("insets"))) if p]
        if frame:
            pictures.append(Picture(frame.image, frame.caption, tuple(insets), 960))
    if broken:
        section.note(f"These pictures are missing or cannot be read: {', '.join(broken)}.")
    if pictures:
        section.gallery(pictures, protocol, colour_key())
    elif not broken:
        section.note("This folder has no example frames.")


def models_section(page: Page, models: Sequence[Mapping], environment: Mapping) -> None:
    """One row per artefact: size, latency, accuracy."""
    section = page.section("Speed and size")
    if not models:
        section.note("No artefact was timed in this folder.")
        return
    heads = [
        Column("model"),
        Column("file"),
        Column("engine"),
        Column("input", "w×h"),
        Column("size", "MB", True),
        Column("median", "ms", True),
        Column("95th perc.", "ms", True),
        Column("speed", "frames/s", True),
        Column("AP", number=True),
        Column("AP50", number=True),
        Column("AP small", number=True),
    ]
    rows = []
    for model in models:
        evaluation = mapping(model.get("eval"))
        rows.append(
            [
                plain(model.get("name")),
                plain(model.get("file")),
                plain(model.get("engine")),
                size_hw_text(model.get("imgsz")) if model.get("imgsz") else None,
                size_text(model.get("size_bytes")),
                ms_text(model.get("median_ms")),
                ms_text(model.get("p95_ms")),
                fps_text(model.get("median_ms")),
                *(ap_text(stat(evaluation, key)) for key in ("AP", "AP50", "APs")),
            ]
        )
    machine = environment_protocol(environment)
    inputs = list(dict.fromkeys(size_hw_text(model["imgsz"]) for model in models if model.get("imgsz")))
    recorded = {key: plain(models[0][key]) for key in ("threads", "runs", "warmup") if models[0].get(key) is not None}
    first = {"input size": ", ".join(inputs), "threads": recorded.pop("threads", machine.get("threads"))}
    protocol = {**first, "CPU": machine.get("CPU"), **recorded, **{k: v for k, v in machine.items() if k not in first}}
    section.table("", Table(heads, rows), protocol, wide=True)
    if not any(is_number(model.get("median_ms")) for model in models):
        section.note("None of these models was timed.")
    timed = [m for m in models if is_number(m.get("median_ms"))]
    if timed:
        bars = [Bar(str(m.get("name")), m["median_ms"], (f"{fps_text(m['median_ms'])}/s",)) for m in timed]
        svg = bar_chart("Median latency per frame", bars, y_label="ms per frame", digits=1)
        section.figure("Latency", svg, "Median per frame; frames per second below. Shorter is better.", protocol)
    sized = [m for m in models if is_number(m.get("size_bytes"))]
    if sized:
        bars = [Bar(str(m.get("name")), m["size_bytes"] / 1e6, (Path(str(m.get("file"))).suffix,)) for m in sized]
        svg = bar_chart("File size", bars, y_label="MB", digits=2)
        section.figure("File size", svg, "10⁶ bytes per MB.", protocol)
