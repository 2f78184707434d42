"""Pascal VOC writer in WUTDet's layout: ``JPEGImages/``, ``Annotations/*.xml``, ``ImageSets/Main/*.txt``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.writing import (
    Loss,
    check_finite,
    flat_names,
    losses,
    place_image,
    relative_names,
    unheld,
    unique_stems,
)

#: Splits whose lists VOC readers look for.
SPLITS = ("train", "val", "test")
#: Elements of a frame with a meaning of their own; a label of such a name cannot be one.
FRAME_TAGS = frozenset((
    "folder", "filename", "path", "source", "owner", "size", "segmented", "object",
    "sequence", "frame_index", "scene", "condition", "conditions",
))  # fmt: skip
#: Texts that LabelImg writes everywhere and readers take for no label.
EMPTY_VALUES = frozenset(("", "Unspecified", "Unknown"))

_TAG = re.compile(r"(?!xml)[A-Za-z_][A-Za-z0-9_.-]*", re.IGNORECASE)
# Characters that XML 1.0 cannot hold even when escaped (section 2.2), line ends (they would end a line of an image
# set), and bytes of a file name that are not UTF-8.
_NOT_XML = re.compile("[^\u0020-\u0084\u0086-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_voc(
    dataset: Dataset,
    folder: str | Path,
    *,
    images: str = "copy",
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> list[Loss]:
    """Writes a VOC tree into a folder; frames without ships get an XML file without objects.

    Box corners are written as they are in the Dataset (0-based, ``xmax - xmin`` is the width, as in WUTDet and
    LabelImg), whole numbers without decimals. ``ignore`` becomes ``difficult``, ``source`` ``source/database``. Tags,
    frame numbers and box labels become elements of their own name, which VOC tools skip and our reader reads. VOC has
    one flat image folder: where two frames would get the same name, their folders are joined on (``cam1__7.jpg``).

    Args:
        dataset: what to write.
        folder: empty or new; see writing.staged_folder.
        images: ``copy``, ``link`` (hard links) or ``none``; with ``none`` each ``<path>`` names the original.
        progress: wraps the iteration over the frames.

    Returns:
        What the format could not hold.

    Raises:
        DataError: a box is not finite, an image is missing.
        WutdetError: a file cannot be written.
    """
    folder = Path(folder)
    check_finite(dataset)
    relative = relative_names(dataset)
    names = unique_stems([_name(name) for name in flat_names(relative)], [""] * len(dataset))
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    frames = _Frames(dataset)
    sets: dict[str, list[str]] = {}
    for row, name in progress(enumerate(names), len(names)):
        source = dataset.image_file(row)
        place_image(source, folder / "JPEGImages" / name, images)
        stem = PurePosixPath(name).stem
        text = frames.xml(row, name, str(source.absolute()) if images == "none" else "")
        (folder / "Annotations" / f"{stem}.xml").write_text(text, "utf-8")
        if (split := dataset.split[row]) is not None:
            sets.setdefault(split, []).append(stem)
    for split, stems in sets.items():
        file = folder / "ImageSets" / "Main" / f"{_name(split).replace('/', '_')}.txt"
        file.write_text("".join(f"{stem}\n" for stem in stems), "utf-8")
    bare = [PurePosixPath(name).name for name in relative]
    moved = sum("/" in path and new == old for path, old, new in zip(relative, bare, names, strict=True))
    renamed = sum(new != old for old, new in zip(bare, names, strict=True))
    unusual = sum(len(stems) for split, stems in sets.items() if split not in SPLITS)
    fractions = (np.asarray(dataset.xyxy) != np.round(dataset.xyxy)).any(axis=1).sum()
    unused = (np.bincount(dataset.category, minlength=len(dataset.category_names)) == 0).sum()
    return [
        *losses(
            ("folder dropped: VOC has one flat image folder", moved, "images"),
            ("renamed, as names would collide or do not fit into XML and lists", renamed, "images"),
            ("not copied; VOC expects them in JPEGImages", len(names) if images == "none" else 0, "images"),
            (f"split is not one of {', '.join(SPLITS)}: its list is written, but readers skip it", unusual, "images"),
            ("crowd flag (kept as 'difficult')", np.asarray(dataset.crowd).sum(), "boxes"),
            ("corners with decimals are kept; tools that take only whole numbers will fail", fractions, "boxes"),
            ("without boxes: VOC has no list of classes", unused, "classes"),
            *frames.unfit(),
        ),
        *unheld(dataset, tags=False),
    ]


class _Frames:
    """Makes the annotation files; decides once per label and value whether XML can hold it."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        own = {"source", "split"}
        self.labels = {
            name: column
            for name, column in dataset.labels.items()
            if name in ("scene", "sequence") or (name not in own and _TAG.fullmatch(name) and name not in FRAME_TAGS)
        }
        self.box_labels = {
            name: column
            for name, column in dataset.box_labels.items()
            if _TAG.fullmatch(name) and name not in ("name", "bndbox", "difficult")
        }
        conditions = [(name, dataset.has_condition(name)) for name in dataset.condition_names]
        self.unfit_conditions = [rows for name, rows in conditions if not _fits(name) or "," in name]

    def unfit(self) -> list[tuple[str, int, str]]:
        """The labels that XML could not hold, as ``losses`` takes them."""
        found = [
            *self._unfit(self.dataset.labels, {**self.labels, "source": None, "split": None}, "label", "images"),
            *self._unfit(self.dataset.box_labels, self.box_labels, "box label", "boxes"),
        ]
        if self.unfit_conditions:
            found.append(("conditions", np.any(self.unfit_conditions, axis=0).sum(), "images"))
        return found

    @staticmethod
    def _unfit(labels, held, what: str, of: str):
        for name, column in labels.items():
            bad = np.array([not _fits(value) for value in column.names] + [False])
            codes = np.asarray(column.codes)
            if name == "split":  # lists, not XML
                continue
            yield f"{what} '{name}'", (bad[codes] if name in held else codes >= 0).sum(), of

    def xml(self, row: int, name: str, path: str) -> str:
        """One annotation file, one element per line, so that a line number finds a box."""
        dataset = self.dataset
        width, height = dataset.size_wh[row].tolist()
        lines = ["<annotation>", "\t<folder>JPEGImages</folder>", f"\t<filename>{_text(name)}</filename>"]
        if path:
            lines.append(f"\t<path>{_text(path)}</path>")
        if (source := dataset.source[row]) is not None:
            lines += ["\t<source>", f"\t\t<database>{_text(source)}</database>", "\t</source>"]
        lines += [
            "\t<size>",
            f"\t\t<width>{width}</width>",
            f"\t\t<height>{height}</height>",
            "\t\t<depth>3</depth>",
            "\t</size>",
            "\t<segmented>0</segmented>",
            *(f"\t{line}" for line in _label_lines(self.labels, row)),
        ]
        if conditions := [c for c in dataset.conditions_of(row) if _fits(c) and "," not in c]:
            lines.append(f"\t<conditions>{_text(','.join(conditions))}</conditions>")
        # The reader takes a stem that is a number for the frame number, so an unknown one has to be said.
        frame, stem = int(dataset.frame_index[row]), PurePosixPath(name).stem
        if frame >= 0 or (stem.isascii() and stem.isdigit()):
            lines.append(f"\t<frame_index>{frame}</frame_index>")
        for box in range(*dataset.box_rows(row).indices(dataset.box_count)):
            lines += self._object(box)
        return "\n".join([*lines, "</annotation>", ""])

    def _object(self, box: int) -> list[str]:
        dataset = self.dataset
        corners = zip(("xmin", "ymin", "xmax", "ymax"), dataset.xyxy[box].tolist(), strict=True)
        # The devkit's evaluation, and its many copies, fail where pose or truncated is missing.
        defaults = {"pose": "Unspecified", "truncated": "0"}
        return [
            "\t<object>",
            f"\t\t<name>{_text(dataset.category_names[dataset.category[box]])}</name>",
            *(
                f"\t\t<{tag}>{value}</{tag}>"
                for tag, value in defaults.items()
                if tag not in self.box_labels or self.box_labels[tag][box] is None
            ),
            *(f"\t\t{line}" for line in _label_lines(self.box_labels, box)),
            f"\t\t<difficult>{int(dataset.ignore[box])}</difficult>",
            "\t\t<bndbox>",
            *(f"\t\t\t<{key}>{int(v) if v == int(v) else repr(v)}</{key}>" for key, v in corners),
            "\t\t</bndbox>",
            "\t</object>",
        ]


def _label_lines(labels: Mapping[str, LabelColumn], row: int) -> list[str]:
    values = ((name, column[row]) for name, column in labels.items())
    return [f"<{name}>{_text(value)}</{name}>" for name, value in values if value is not None and _fits(value)]


def _fits(value: str) -> bool:
    """Whether a text comes back from an XML element as it was."""
    return value == value.strip() and not _NOT_XML.search(value) and value not in EMPTY_VALUES


def _name(name: str) -> str:
    # Blanks at the ends of a stem get lost in XML text and image sets.
    path = PurePosixPath(_NOT_XML.sub("_", name))
    stem = path.stem.strip()
    return (stem if stem == path.stem else "_" + stem) + path.suffix.strip()


def _text(value: str) -> str:
    return escape(_NOT_XML.sub("_", value))
