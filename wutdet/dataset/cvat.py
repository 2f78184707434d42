"""CVAT XML 1.1 reader: "CVAT for images" (``<image>``) and "CVAT for video" (``<track>``).

Boxes (turned ones, polygons, ellipses and masks as their upright bounding box; points, polylines, cuboids and
skeletons are left out; both said in the log). Attributes of a box become box labels, whatever their type, as text;
an attribute ``ignore`` that is true becomes ``ignore``. ``<tag>`` on an image: its label becomes a condition or scene
where it is one (``fog``, ``port``), else a label with the value ``true``; its attributes become labels. ``subset``
becomes the split.

Tracks: every frame of the task is a frame of the data set. A shape with ``outside="1"`` ends the ship there. CVAT
writes one shape per frame; where a file has key frames only, the box moves in a straight line between them, as in CVAT
itself.
Source: https://docs.cvat.ai/docs/other/xml_format
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.dataset import CONDITIONS, SCENES, Dataset
from wutdet.dataset.frames import find_pattern, frame_path
from wutdet.dataset.image_header import read_size_wh
from wutdet.dataset.problems import ProblemSink
from wutdet.dataset.xml_lines import Node, read_xml
from wutdet.errors import DataError

logger = logging.getLogger(__name__)

_SHAPES = frozenset(("box", "polygon", "ellipse", "mask"))
_NOT_AREAS = frozenset(("points", "polyline", "cuboid", "skeleton"))
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
#: CVAT's own names of exported frames come first.
_FRAME_PATTERNS = (
    *(f"{folder}frame_{{frame:06d}}.{end}" for folder in ("", "{video}/") for end in ("jpg", "png", "PNG", "jpeg")),
    "{video}/{frame:05d}.jpg",
    "{video}_frame{frame}.jpg",
)


def find_cvat_files(folder: Path) -> list[Path]:
    """The XML files of a folder with the root element ``<annotations>``."""
    files = sorted(folder.glob("*.xml"))
    return [file for file in files if b"<annotations" in file.read_bytes()[:65536]]


def read_cvat(
    source: Path,
    *,
    images: Path | None = None,
    frames: str | None = None,
    sink: ProblemSink | None = None,
    name: str = "",
) -> Dataset:
    """Reads one CVAT XML file, or all of a folder.

    Args:
        source: file or folder.
        images: folder that picture names are relative to; by default ``images/`` beside the file, or its own folder.
        frames: pattern of a video's frames, with ``{video}``, ``{frame}`` (from 0) or ``{number}`` (from 1).
        sink: collects problems.
        name: of the data set.

    Raises:
        DataError: unreadable, not CVAT, a shape with a missing or wrong attribute, wrong boxes.
    """
    sink = ProblemSink() if sink is None else sink
    files = find_cvat_files(source) if source.is_dir() else [source]
    if not files:
        raise DataError("no CVAT annotations (an .xml with <annotations>) here", file=source)
    own = source if source.is_dir() else source.parent
    root = images or (own / "images" if (own / "images").is_dir() else own)
    builder = DatasetBuilder(root, name=name or source.resolve().stem, sink=sink)
    reader = _Reader(builder, sink, frames)
    for file in files:
        try:
            top = read_xml(file)
            if top.tag != "annotations":
                message = f"not CVAT XML: the root element is <{top.tag}>, not <annotations>"
                raise DataError(message, file=file, line=top.line)
        except DataError as error:
            sink.report("unreadable-annotation", error.message, file=file, line=error.line, hint=error.hint)
            continue
        reader.read(top, file)
    for count, what in ((reader.bounding, "became their bounding boxes"), (reader.left_out, "were left out")):
        if count:
            logger.info("%s: %d shapes that are not boxes %s", source, count, what)
    return builder.build()


class _Reader:
    def __init__(self, builder: DatasetBuilder, sink: ProblemSink, frames: str | None):
        self.builder, self.sink, self.frames = builder, sink, frames
        self.bounding = self.left_out = 0
        self.seen: set[str] = set()

    def read(self, top: Node, file: Path) -> None:
        self.file = file
        self.annotation_file = os.path.relpath(file, self.builder.root).replace(os.sep, "/")
        meta = top.child("meta") or Node("meta", {}, 0)
        task = meta.child("task") or meta.child("job") or Node("task", {}, 0)
        for node in ((labels := task.child("labels")) and labels.all("label")) or []:
            if node.value("name"):
                self.builder.class_map.index(node.value("name"))
        for node in top.all("image"):
            self._image(node)
        tracks = top.all("track")
        if tracks or task.value("mode") == "interpolation":
            self._video(meta, task, tracks)

    def _report(self, kind: str, message: str, line: int, hint: str = "") -> None:
        self.sink.report(kind, message, file=self.file, line=line, hint=hint)

    # --- CVAT for images

    def _image(self, node: Node) -> None:
        name = node.attributes.get("name", "").replace("\\", "/")
        if not name:
            return self._report("missing-field", "<image> without 'name'", node.line)
        if name in self.seen:
            return self._report("duplicate-image", f"image '{name}' is listed twice", node.line)
        size = self._size(node.attributes.get("width"), node.attributes.get("height"), name, node.line)
        if size is None:
            return None
        self.seen.add(name)
        subset = node.attributes.get("subset", "")
        tags = _image_tags(node)
        tags["labels"]["split"] = _SPLITS.get(subset.lower(), subset) or None
        row = self.builder.add_image(name, size, annotation_file=self.annotation_file, **tags)
        for shape in node.children:
            self._shape(row, shape, shape.attributes.get("label", ""), {})
        return None

    def _size(self, width: str | None, height: str | None, name: str, line: int) -> tuple[int, int] | None:
        if width is None or height is None:
            try:
                return read_size_wh(self.builder.root / name)
            except DataError as error:
                return self._report("missing-field", f"'{name}' has no size, and: {error.message}", line)
        if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
            return self._report("bad-value", f"size of '{name}' must be whole pixels above 0: {width} x {height}", line)
        return int(width), int(height)

    def _shape(self, row: int, node: Node, label: str, labels: dict[str, str]) -> None:
        if node.tag in _NOT_AREAS:
            self.left_out += 1
        if node.tag not in _SHAPES:
            return
        if not label:
            return self._report("missing-field", f"<{node.tag}> without 'label'", node.line)
        try:
            xyxy, exact = _box_of(node)
        except KeyError as error:
            return self._report("missing-field", f"<{node.tag}> of '{label}' has no {error}", node.line)
        except ValueError:
            return self._report(
                "bad-value",
                f"<{node.tag}> of '{label}' has a coordinate that is not a number: {node.attributes}",
                node.line,
            )
        self.bounding += not exact
        attributes = {a.attributes.get("name", ""): a.text for a in node.all("attribute")}
        labels = labels | {key: text for key, text in attributes.items() if key not in ("", "ignore")}
        if node.attributes.get("occluded") == "1":
            labels["occluded"] = "1"
        if node.attributes.get("group_id"):
            labels["group_id"] = node.attributes["group_id"]
        self.builder.add_box(
            row,
            xyxy,
            label,
            ignore=attributes.get("ignore", "").lower() in ("true", "1"),
            line=node.line,
            file=self.file,
            labels=labels,
        )
        return None

    # --- CVAT for video

    def _video(self, meta: Node, task: Node, tracks: list[Node]) -> None:
        if any(track.attributes.get("task_id") not in (None, tracks[0].attributes.get("task_id")) for track in tracks):
            return self._report(
                "bad-value", "this is an export of a project with several videos", 1, "export each task by itself"
            )
        video = Path(meta.value("source") or task.value("source") or task.value("name") or self.file.stem).stem
        step = re.fullmatch(r"step\s*=\s*([1-9]\d*)", task.value("frame_filter").strip())
        shapes: dict[int, list[tuple[Node, dict]]] = {}
        frames = _task_frames(task, int(step[1]) if step else 1)
        for track in tracks:
            labels = {"track_id": track.attributes.get("id", "")}
            for frame, node in _track_frames(self, track, int(step[1]) if step else 1):
                shapes.setdefault(frame, []).append((node, labels | {"@": track.attributes.get("label", "")}))
        frames = sorted(set(frames) | set(shapes))
        if not frames:
            return None
        root = self.builder.root
        patterns = [self.frames] if self.frames else _FRAME_PATTERNS
        found = find_pattern([root, root / "images"], patterns, video, frames)
        folder, pattern = found or (root, patterns[0])
        prefix = "" if folder == root else "images/"
        original = task.child("original_size") or meta.child("original_size")
        width, height = (original.value("width"), original.value("height")) if original else (None, None)
        first = prefix + frame_path(pattern, video, frames[0])
        size = self._size(width, height, first, original.line if original else 0)
        if size is None:
            return None
        for frame in frames:
            path = prefix + frame_path(pattern, video, frame)
            if path in self.seen:
                self._report("duplicate-image", f"frame {frame} ('{path}') is annotated by another file as well", 0)
                continue
            self.seen.add(path)
            row = self.builder.add_image(
                path, size, frame_index=frame, annotation_file=self.annotation_file, labels={"sequence": video}
            )
            for node, labels in shapes.get(frame, ()):
                self._shape(row, node, labels["@"], {k: v for k, v in labels.items() if k != "@"})
        return None


def _image_tags(node: Node) -> dict:
    conditions: list[str] = []
    labels: dict[str, str | None] = {}
    for tag in node.all("tag"):
        label = tag.attributes.get("label", "")
        if label in CONDITIONS:
            conditions.append(label)
        elif label in SCENES:
            labels["scene"] = label
        elif label and label != "clear":
            labels[label] = "true"
        for attribute in tag.all("attribute"):
            name = attribute.attributes.get("name", "")
            if name in ("condition", "conditions"):
                conditions += [part.strip() for part in attribute.text.split(",")]
            elif name:
                labels[name] = attribute.text
    return {"conditions": [c for c in dict.fromkeys(conditions) if c not in ("", "clear")], "labels": labels}


def _box_of(node: Node) -> tuple[tuple[float, float, float, float], bool]:
    """Upright box of a shape, and whether the shape was that box.

    Raises:
        KeyError: an attribute is missing.
        ValueError: an attribute is not a number.
    """
    values = node.attributes
    if node.tag == "box":
        x1, y1, x2, y2 = (float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        angle = math.radians(float(values.get("rotation", 0)))
        if not angle:
            return (x1, y1, x2, y2), True
        # CVAT turns a box about its centre.
        half_w, half_h = (x2 - x1) / 2, (y2 - y1) / 2
        wide = abs(half_w * math.cos(angle)) + abs(half_h * math.sin(angle))
        high = abs(half_w * math.sin(angle)) + abs(half_h * math.cos(angle))
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        return (x - wide, y - high, x + wide, y + high), False
    if node.tag == "mask":
        left, top, width, height = (float(values[key]) for key in ("left", "top", "width", "height"))
        return (left, top, left + width, top + height), False
    if node.tag == "ellipse":
        x, y, rx, ry = (float(values[key]) for key in ("cx", "cy", "rx", "ry"))
        return (x - rx, y - ry, x + rx, y + ry), False
    points = [tuple(float(v) for v in pair.split(",")) for pair in values["points"].split(";")]
    xs, ys = [p[0] for p in points], [p[-1] for p in points]
    if not all(map(math.isfinite, (*xs, *ys))):  # min() and max() would hide a NaN
        return (math.nan,) * 4, False
    return (min(xs), min(ys), max(xs), max(ys)), False


def _task_frames(task: Node, step: int) -> range:
    """Numbers of the frames that were annotated."""
    try:
        start = int(task.value("start_frame") or 0)
        size = int(task.value("size") or 0)
        stop = int(task.value("stop_frame")) if task.value("stop_frame") else start + (size - 1) * step
    except ValueError:
        return range(0)
    return range(start, stop + 1, step)


def _track_frames(reader: _Reader, track: Node, step: int) -> Iterator[tuple[int, Node]]:
    """Frame number and shape of every frame in which the tracked ship is to be seen."""
    shapes = []
    for node in track.children:
        number = node.attributes.get("frame", "")
        if node.tag in _NOT_AREAS:
            reader.left_out += 1
        elif node.tag in _SHAPES and not number.isdigit():
            reader._report("missing-field", f"<{node.tag}> without 'frame'", node.line)
        elif node.tag in _SHAPES:
            shapes.append((int(number), node))
    shapes.sort(key=lambda pair: pair[0])
    for index, (frame, node) in enumerate(shapes):
        if node.attributes.get("outside") == "1":
            continue
        yield frame, node
        if index + 1 < len(shapes) and node.tag == "box":
            next_frame, after = shapes[index + 1]
            for between in range(frame + step, next_frame, step):
                yield between, _between(node, after, (between - frame) / (next_frame - frame))


def _between(node: Node, after: Node, share: float) -> Node:
    """The box at ``share`` (0..1) of the way to the next key frame."""
    moved = Node(node.tag, dict(node.attributes), node.line)
    moved.children = node.children
    if after.tag == "box" and after.attributes.get("outside") != "1":
        for key in ("xtl", "ytl", "xbr", "ybr"):
            try:
                start, end = float(node.attributes[key]), float(after.attributes[key])
            except (KeyError, ValueError):
                break  # the key frame itself is reported
            moved.attributes[key] = repr(start + (end - start) * share)
    return moved
