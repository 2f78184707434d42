"""LabelMe reader: one JSON per image, with ``shapes``.

Rectangles (in whatever corner order they were drawn), and polygons, masks and circles as their bounding boxes;
points and lines are left out; both said in the log. ``flags`` that are set become conditions where they are named so
(``fog``), else labels; ``group_id``, ``description`` and set flags of a shape become box labels.
"""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.dataset import CONDITIONS, SCENES, Dataset
from wutdet.dataset.image_header import is_picture_name, read_size_wh
from wutdet.dataset.json_lines import read_json_with_lines
from wutdet.dataset.problems import ProblemSink
from wutdet.dataset.split_file import is_split_file
from wutdet.errors import DataError

logger = logging.getLogger(__name__)

_NOT_AREAS = frozenset(("point", "points", "line", "linestrip"))


def read_labelme(source: Path, *, sink: ProblemSink | None = None, name: str = "") -> Dataset:
    """Reads one LabelMe file, or all below a folder.

    Raises:
        DataError: unreadable or not LabelMe, a shape without label or points, an image without annotation.
    """
    sink = ProblemSink() if sink is None else sink
    root = source if source.is_dir() else source.parent
    files = [f for f in sorted(source.rglob("*.json")) if not is_split_file(f)] if source.is_dir() else [source]
    builder = DatasetBuilder(root, name=name or source.resolve().stem, sink=sink)
    counts = {"bounding": 0, "left out": 0}
    seen: set[str] = set()
    for file in files:
        try:
            content, lines = read_json_with_lines(file)
            if not isinstance(content.get("shapes"), list):
                raise DataError("not a LabelMe file: it has no list 'shapes'", file=file)
        except DataError as error:
            sink.report("unreadable-annotation", error.message, file=file, line=error.line, hint=error.hint)
            continue
        image = _image_of(file, content)
        if image in seen:
            sink.report("duplicate-image", f"image '{image}' is annotated by another file as well", file=file)
            continue
        seen.add(image)
        size = _size(content, image, file, sink)
        if size is None:
            continue
        row = builder.add_image(
            os.path.relpath(image, root).replace(os.sep, "/"),
            size,
            annotation_file=file.relative_to(root).as_posix(),
            **_tags(content),
        )
        for shape, line in zip(content["shapes"], lines["shapes"], strict=True):
            _add_shape(builder, row, shape, file, line, sink, counts)
    if counts["bounding"]:
        logger.info("%s: %d polygons, masks and circles became their bounding boxes", source, counts["bounding"])
    if counts["left out"]:
        logger.info("%s: %d points and lines were left out", source, counts["left out"])
    _report_unannotated({file.parent for file in files}, seen, sink)
    return builder.build()


def _image_of(file: Path, content: dict) -> str:
    named = content.get("imagePath")
    candidates = []
    if isinstance(named, str) and named:
        candidates.append(file.parent / named.replace("\\", "/"))
        candidates.append(file.parent / named.replace("\\", "/").rpartition("/")[2])
    candidates += [file.with_suffix(suffix) for suffix in (".jpg", ".jpeg", ".png", ".JPG", ".bmp", ".tif", ".webp")]
    found = next((c for c in candidates if c.is_file()), candidates[0])
    return os.path.normpath(found)


def _size(content: dict, image: str, file: Path, sink: ProblemSink) -> tuple[int, int] | None:
    size = content.get("imageWidth"), content.get("imageHeight")
    if all(isinstance(side, int) and side > 0 for side in size):
        return size
    try:
        return read_size_wh(image)
    except DataError as error:
        sink.report(
            "missing-field",
            f"no 'imageWidth' and 'imageHeight', and the picture cannot tell: {error.message}",
            file=file,
        )
        return None


def _set_flags(flags) -> list[str]:
    return [str(key) for key, value in flags.items() if value is True] if isinstance(flags, dict) else []


def _tags(content: dict) -> dict:
    flags = _set_flags(content.get("flags"))
    labels = {flag: "true" for flag in flags if flag not in (*CONDITIONS, *SCENES, "clear")}
    scenes = [flag for flag in flags if flag in SCENES]
    return {
        "conditions": [flag for flag in flags if flag in CONDITIONS],
        "labels": {**labels, "scene": scenes[0] if scenes else None},
    }


def _add_shape(
    builder: DatasetBuilder, row: int, shape, file: Path, line: int, sink: ProblemSink, counts: dict[str, int]
) -> None:
    label = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label:
        sink.report("missing-field", "shape without 'label'", file=file, line=line)
        return
    kind = shape.get("shape_type") or "polygon"
    if kind in _NOT_AREAS:
        counts["left out"] += 1
        return
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        if len(points) < 2:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        sink.report("bad-value", f"shape '{label}': 'points' must be at least two [x, y]", file=file, line=line)
        return
    if kind == "circle":
        (x, y), edge = points[0], points[1]
        radius = math.dist(points[0], edge)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    counts["bounding"] += kind != "rectangle"
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    finite = all(map(math.isfinite, (*xs, *ys)))
    box = (min(xs), min(ys), max(xs), max(ys)) if finite else (math.nan,) * 4
    flags = _set_flags(shape.get("flags"))
    labels = {flag: "true" for flag in flags if flag != "ignore"}
    labels |= {key: shape[key] for key in ("group_id", "description") if shape.get(key) not in (None, "")}
    builder.add_box(row, box, label, ignore="ignore" in flags, line=line, file=file, labels=labels)


def _report_unannotated(folders: set[Path], seen: set[str], sink: ProblemSink) -> None:
    for folder in sorted(folders):
        for entry in sorted(folder.iterdir()):
            if is_picture_name(entry.name) and os.path.normpath(entry) not in seen:
                sink.report(
                    "missing-annotation",
                    "image without LabelMe file",
                    file=entry,
                    hint="a frame without ships needs a file with empty 'shapes'",
                )
