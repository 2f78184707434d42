"""YOLO reader: a ``data.yaml`` as ultralytics reads it, and one ``.txt`` of labels per image.

``path`` is taken relative to the file's own folder, then to the working directory. ``train``, ``val`` and ``test`` are
a folder, a ``.txt`` list of images, or a list of those. The labels of ``.../images/a/b.jpg`` are in
``.../labels/a/b.txt`` (the last ``images`` in the path counts); an image without that file is a frame without ships.
A label line is ``class x_centre y_centre width height`` in shares of the frame; polygons and oriented boxes (``class x
y x y x y ...``) become their bounding box, said in the log. ``download:`` in a data.yaml may hold code or an address:
it is never followed.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.image_header import is_picture_name, read_size_wh
from wutdet.dataset.problems import ProblemSink
from wutdet.dataset.yaml_lines import read_yaml
from wutdet.errors import DataError

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
#: Rounding lets a coordinate pass 1 by a little; anything more is in pixels, not in shares of the frame.
LARGEST_SHARE = 1.01
_NOT_LABELS = frozenset(("classes.txt", "readme.txt", "notes.txt"))


@dataclass(frozen=True)
class YoloDescription:
    """A data.yaml, checked.

    Attributes:
        file: the data.yaml.
        root: folder that the splits are relative to.
        names: class names by number.
        splits: entries per split, as written.
        lines: line of each key of the file.
        has_keypoints: label lines go on after the box.
    """

    file: Path
    root: Path
    names: dict[int, str]
    splits: dict[str, list[str]]
    lines: dict[str, int]
    has_keypoints: bool


def find_data_yaml(folder: Path) -> Path | None:
    """The data.yaml of a folder: ``data.yaml``, ``dataset.yaml``, or the only .yaml that has ``names`` and a split."""
    for name in ("data.yaml", "dataset.yaml", "data.yml"):
        if (folder / name).is_file() and is_data_yaml(folder / name):
            return folder / name
    found = [file for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))) if is_data_yaml(file)]
    return found[0] if len(found) == 1 else None


def is_data_yaml(file: Path) -> bool:
    """Whether a file has the keys of an ultralytics data.yaml (a broken file has not)."""
    try:
        content, _ = read_yaml(file)
    except DataError:
        return file.stem in ("data", "dataset")  # its reader says what is wrong
    keys = set(content)
    return "format" not in keys and bool({"names", "nc"} & keys) and bool({*SPLITS, "validation"} & keys)


def read_data_yaml(file: Path) -> YoloDescription:
    """Reads and checks a data.yaml.

    Raises:
        DataError: no ``names``, no split, ``nc`` that does not fit, or a ``path`` that is not there.
    """
    file = Path(file)
    content, lines = read_yaml(file)

    def wrong(message: str, key: str, hint: str = "") -> DataError:
        return DataError(message, file=file, line=lines.get(key, 0), hint=hint)

    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(type(k) is int and k >= 0 for k in names):
        raise wrong("'names' must list the classes: [ship, ...] or {0: ship, ...}", "names")
    names = {number: str(name) for number, name in names.items()}
    count = content.get("nc")
    if count is not None and count != len(names):
        raise wrong(f"'nc' is {count}, but 'names' lists {len(names)} classes", "nc")
    if "validation" in content and "val" not in content:
        logger.warning("%s:%d: 'validation' is taken for 'val'", file, lines["validation"])
        content["val"] = content.pop("validation")
    splits = {}
    for split in SPLITS:
        entry = content.get(split)
        if entry is None or entry == "":
            continue
        entries = entry if isinstance(entry, list) else [entry]
        if not all(isinstance(e, str) for e in entries):
            raise wrong(f"'{split}' must be a folder, a .txt list, or a list of those", split)
        splits[split] = entries
    if not splits:
        raise wrong("none of 'train', 'val', 'test' is given", "train")
    download = ""
    if content.get("download"):
        download = "its 'download' entry is never run or fetched; get the data yourself"
        logger.info("%s:%d: 'download' is ignored", file, lines["download"])
    return YoloDescription(
        file, _root(file, content.get("path"), lines, download), names, splits, lines, bool(content.get("kpt_shape"))
    )


def _root(file: Path, path, lines: dict[str, int], hint: str) -> Path:
    if path in (None, ""):
        return file.parent
    for candidate in (file.parent / str(path), Path(str(path))):
        if candidate.is_dir():
            return candidate
    raise DataError(
        f"'path' names a folder that is not there: {path}",
        file=file,
        line=lines["path"],
        hint=hint or f"it is looked for in {file.parent.resolve()} and in the working directory",
    )


def read_yolo(
    data_yaml: Path,
    *,
    sink: ProblemSink | None = None,
    name: str = "",
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Dataset:
    """Reads all splits of a data.yaml. Sizes come from the pictures' headers.

    Raises:
        DataError: as read_data_yaml; a wrong label line, a label file without image, an unreadable picture, no label
            file at all.
    """
    sink = ProblemSink() if sink is None else sink
    description = read_data_yaml(data_yaml)
    root = description.root
    builder = DatasetBuilder(root, name=name or description.file.resolve().parent.name, sink=sink)
    for number in sorted(description.names):
        builder.class_map.index(description.names[number])
    frames: dict[str, tuple[str, Path, int]] = {}
    for split, entries in description.splits.items():
        for entry in entries:
            for image, line, listing in _images_of(description, split, entry, sink):
                key = os.path.normpath(image)
                if key in frames:
                    other = frames[key][0]
                    where = f"in '{other}' and in '{split}'" if other != split else f"twice in '{split}'"
                    message = f"image '{_relative(key, root)}' is {where}"
                    sink.report("duplicate-image", message, file=listing, line=line)
                else:
                    frames[key] = (split, listing, line)
    labels_seen: set[str] = set()
    backgrounds = polygons = 0
    for image in progress(list(frames), len(frames)):
        split = frames[image][0]
        try:
            size = read_size_wh(image)
        except DataError as error:
            kind = "unreadable-image" if os.path.exists(image) else "missing-image"
            _, listing, line = frames[image]
            sink.report(kind, f"{error.message}: {_relative(image, root)}", file=listing, line=line)
            continue
        label_file = label_file_of(image)
        labels_seen.add(label_file)
        text = _read_labels(label_file, sink)
        backgrounds += text is None
        row = builder.add_image(
            _relative(image, root),
            size,
            annotation_file="" if text is None else _relative(label_file, root),
            labels={"split": split},
        )
        for line, values in enumerate((text or "").splitlines(), 1):
            if values.strip():
                polygons += _add_label(builder, row, size, values.split(), description, label_file, line, sink)
    if frames and backgrounds == len(frames):
        first = label_file_of(next(iter(frames)))
        sink.report(
            "missing-annotation",
            f"none of the {len(frames)} images has a label file (the first one should be {first})",
            file=description.file,
            hint="labels belong in a folder 'labels' beside 'images'",
        )
    elif backgrounds:
        logger.info("%s: %d of %d images have no label file: frames without ships", data_yaml, backgrounds, len(frames))
    if polygons:
        logger.info("%s: %d polygons were turned into their bounding boxes", data_yaml, polygons)
    _report_labels_without_image(labels_seen, sink)
    return builder.build()


def label_file_of(image: str) -> str:
    """``.../labels/a/b.txt`` for ``.../images/a/b.jpg``: the last ``images`` counts, as in ultralytics."""
    marker, target = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"
    stem = os.path.splitext(image)[0]
    return target.join(stem.rsplit(marker, 1)) + ".txt"


def _relative(path: str, root: Path) -> str:
    absolute, base = os.path.abspath(path), os.path.abspath(root)
    inside = absolute.startswith(os.path.join(base, ""))
    return (os.path.relpath(absolute, base) if inside else absolute).replace(os.sep, "/")


def _images_of(
    description: YoloDescription, split: str, entry: str, sink: ProblemSink
) -> Iterator[tuple[str, int, Path]]:
    """Image path, and where it is listed: line and file."""
    place = description.root / entry
    if not place.exists() and entry.startswith("../"):  # Roboflow writes ../train/images for train/images
        place = description.root / entry[3:]
    line = description.lines.get(split, 0)
    if place.is_dir():
        found = sorted(p for p in place.rglob("*") if is_picture_name(p.name))
        if not found:
            sink.report("dangling-id", f"'{split}' has no pictures: {place}", file=description.file, line=line)
        yield from ((str(p), line, description.file) for p in found)
    elif place.is_file() and place.suffix.lower() == ".txt":
        try:
            lines = place.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            sink.report("unreadable-annotation", f"cannot read the list of images ({error})", file=place)
            return
        for number, text in enumerate(lines, 1):
            text = text.strip()
            if text:
                image = place.parent / text[2:] if text.startswith("./") else Path(text)
                yield str(image if image.is_absolute() or image.exists() else place.parent / image), number, place
    else:
        what = "is neither a folder nor a .txt list" if place.exists() else "is not there"
        sink.report(
            "dangling-id",
            f"'{split}: {entry}' {what} (looked for {place})",
            file=description.file,
            line=line,
            hint="'path' plus the entry must name a folder of pictures or a .txt list of them",
        )


def _read_labels(file: str, sink: ProblemSink) -> str | None:
    try:
        with open(file, encoding="utf-8-sig") as opened:
            return opened.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        sink.report("unreadable-annotation", f"cannot read the labels ({error})", file=file)
        return ""


def _add_label(
    builder: DatasetBuilder,
    row: int,
    size_wh: tuple[int, int],
    words: list[str],
    description: YoloDescription,
    file: str,
    line: int,
    sink: ProblemSink,
) -> bool:
    """Adds the box of one label line; returns whether it was a polygon."""
    is_polygon = len(words) >= 7 and len(words) % 2 == 1 and not description.has_keypoints
    if description.has_keypoints and len(words) > 5:
        words = words[:5]
    if len(words) != 5 and not is_polygon:
        hint = "six columns are detections with scores, not labels" if len(words) == 6 else ""
        sink.report(
            "bad-value",
            f"a label has 5 columns (class x y width height), this line {len(words)}",
            file=file,
            line=line,
            hint=hint,
        )
        return False
    try:
        number, values = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        sink.report("bad-value", f"not numbers: '{' '.join(words)[:60]}'", file=file, line=line)
        return False
    if number not in description.names:
        sink.report(
            "unknown-class",
            f"class {words[0]} is not in 'names' of {description.file.name} "
            f"({min(description.names)} to {max(description.names)})",
            file=file,
            line=line,
        )
        return False
    if not all(math.isfinite(v) for v in values):
        sink.report(
            "non-finite-box", f"a coordinate is not a finite number: '{' '.join(words)[:60]}'", file=file, line=line
        )
        return False
    inverted = not is_polygon and min(values[2:]) < 0  # add_box says so
    if not inverted and (max(values) > LARGEST_SHARE or min(values) < 1 - LARGEST_SHARE):
        sink.report(
            "bad-value",
            f"coordinates must be shares of the frame (0 to 1): '{' '.join(words)[:60]}'",
            file=file,
            line=line,
            hint="divide x and width by the image's width, y and height by its height",
        )
        return False
    width, height = size_wh
    if is_polygon:
        xs, ys = values[0::2], values[1::2]
        box = (min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height)
    else:
        x, y, w, h = values
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    builder.add_box(row, box, description.names[int(number)], line=line, file=file)
    return is_polygon


def _report_labels_without_image(labels_seen: set[str], sink: ProblemSink) -> None:
    for folder in sorted({os.path.dirname(file) for file in labels_seen}):
        if not os.path.isdir(folder) or f"{os.sep}labels{os.sep}" not in f"{folder}{os.sep}":
            continue  # labels beside the pictures: other .txt files may lie there
        # A list may name some of the pictures only: their labels are no orphans.
        head, _, tail = f"{folder}{os.sep}".rpartition(f"{os.sep}labels{os.sep}")
        pictures = os.path.join(head, "images", tail)
        beside = os.listdir(pictures) if os.path.isdir(pictures) else []
        with_picture = {os.path.splitext(name)[0] for name in beside if is_picture_name(name)}
        for name in sorted(os.listdir(folder)):
            file = os.path.join(folder, name)
            if name.lower().endswith(".txt") and name.lower() not in _NOT_LABELS and name[:-4] not in with_picture:
                sink.report("missing-image", "label file without image", file=file)
