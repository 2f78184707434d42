"""Pascal VOC reader, in the layout of WUTDet's Part A: JPEGImages/, Annotations/*.xml, ImageSets/Main/*.txt.

Also read: the same inside one sub-folder (``voc/``, ``VOC2007/``), and LabelImg's ``.xml`` beside the pictures.

Corners are taken as they stand: 0-based, the second corner is the outer edge, so ``xmax - xmin`` is the width. That is
what LabelImg and WUTDet's tools write. The VOC challenge itself counted pixels from 1, both corners inside the box;
``one_based`` reads those (1 is taken off ``xmin`` and ``ymin``).

A file name that is a number is the frame number in the full set and becomes ``frame_index``. ``difficult`` becomes
``ignore``; other fields of an object become box labels, other fields of a frame labels (``scene``, ``condition``,
``sequence``, ``frame_index`` where a file has them). ``train.txt``, ``val.txt`` and ``test.txt`` become the split.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.image_header import is_picture_name, read_size_wh
from wutdet.dataset.problems import ProblemSink
from wutdet.dataset.xml_lines import Node, parse_xml
from wutdet.errors import DataError

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
_FRAME_FIELDS = frozenset(("folder", "filename", "path", "source", "owner", "size", "segmented", "object", "sequence",
                           "frame_index", "scene", "condition", "conditions"))  # fmt: skip
# LabelImg writes these for every frame and box; they say nothing.
_EMPTY_VALUES = frozenset(("", "Unspecified", "Unknown"))


class VocLayout:
    """Where the parts of a VOC data set lie.

    Attributes:
        root: folder that paths are relative to.
        annotations: folder with the ``.xml`` files.
        images: folder with the pictures; equal to ``annotations`` in LabelImg's layout.
        lists: folder with the split lists; it need not exist.
    """

    def __init__(self, root: Path):
        self.root = root
        flat = not (root / "Annotations").is_dir()
        self.annotations = root if flat else root / "Annotations"
        self.images = root if flat else root / "JPEGImages"
        self.lists = root / "ImageSets" / "Main"

    @classmethod
    def find(cls, folder: Path) -> VocLayout | None:
        """The layout of a folder or of its only sub-folder that looks like VOC; ``None`` where there is none."""
        if (folder / "Annotations").is_dir() and _has_xml(folder / "Annotations"):
            return cls(folder)
        inner = [
            place.parent
            for pattern in ("*/Annotations", "*/*/Annotations")
            for place in folder.glob(pattern)
            if place.is_dir() and _has_xml(place)
        ]
        if len(inner) == 1:
            return cls(inner[0])
        return cls(folder) if not inner and _has_xml(folder) else None

    def first_annotation(self) -> Path:
        """Some annotation file."""
        with os.scandir(self.annotations) as entries:
            return next(Path(entry.path) for entry in entries if entry.name.lower().endswith(".xml"))


def _has_xml(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(".xml") for entry in entries)


def read_voc(
    layout: VocLayout,
    *,
    one_based: bool = False,
    sink: ProblemSink | None = None,
    name: str = "",
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Dataset:
    """Reads a VOC data set.

    Args:
        layout: from VocLayout.find.
        one_based: corners count pixels from 1 and lie inside the box.
        sink: collects problems; by default the first one raises.
        name: of the data set; by default the folder's.
        progress: wraps the iteration over the annotation files.

    Raises:
        DataError: an unreadable file, a missing or wrong field, an image without annotation, a wrong split list.
    """
    sink = ProblemSink() if sink is None else sink
    root = layout.root
    stems = sorted(entry.name[:-4] for entry in os.scandir(layout.annotations) if entry.name.lower().endswith(".xml"))
    xml_suffix = {e.name[:-4]: e.name[-4:] for e in os.scandir(layout.annotations) if e.name.lower().endswith(".xml")}
    pictures = _pictures(layout.images)
    splits = _read_lists(layout, set(stems), pictures, sink)
    annotation_prefix = _prefix(layout.annotations, root)
    image_prefix = _prefix(layout.images, root)
    builder = DatasetBuilder(root, name=name or root.resolve().name, sink=sink)
    seen: set[str] = set()
    for stem in progress(stems, len(stems)):
        file = f"{layout.annotations}{os.sep}{stem}{xml_suffix[stem]}"
        try:
            with open(file, "rb") as opened:
                node = parse_xml(opened.read(), file)
            _check_root(node, file)
        except OSError as error:
            sink.report("unreadable-annotation", f"cannot read the file ({error.strerror})", file=file)
            continue
        except DataError as error:
            sink.report("unreadable-annotation", error.message, file=file, line=error.line, hint=error.hint)
            continue
        picture = _picture_of(stem, node.value("filename"), pictures)
        if picture in seen:
            sink.report("duplicate-image", f"image '{picture}' is annotated by another file as well", file=file)
            continue
        seen.add(picture)
        size = _size(node, layout.images / picture, sink, file)
        if size is None:
            continue
        row = builder.add_image(
            image_prefix + picture,
            size,
            annotation_file=f"{annotation_prefix}{stem}{xml_suffix[stem]}",
            **_tags(node, stem, splits.get(stem)),
        )
        for item in node.children:
            if item.tag == "object":
                _add_object(builder, row, item, one_based, sink, file)
    _report_unannotated(layout, pictures, seen, set(stems), sink)
    return builder.build()


def _prefix(folder: Path, root: Path) -> str:
    return "" if folder == root else folder.relative_to(root).as_posix() + "/"


def _pictures(folder: Path) -> dict[str, list[str]]:
    """File names of the pictures in a folder, by stem."""
    found: dict[str, list[str]] = {}
    if folder.is_dir():
        for name in sorted(entry.name for entry in os.scandir(folder)):
            if is_picture_name(name):
                found.setdefault(os.path.splitext(name)[0], []).append(name)
    return found


def _picture_of(stem: str, filename: str, pictures: dict[str, list[str]]) -> str:
    """The picture of an annotation: the one of its own stem, else the one it names."""
    filename = filename.replace("\\", "/").rpartition("/")[2]
    own = pictures.get(stem)
    if own:
        return filename if filename in own else own[0]
    if filename in pictures.get(os.path.splitext(filename)[0], ()):
        return filename
    return filename if os.path.splitext(filename)[0] == stem else f"{stem}.jpg"


def _check_root(node: Node, file: str) -> None:
    if node.tag != "annotation":
        raise DataError(
            f"not a VOC annotation: the root element is <{node.tag}>, not <annotation>", file=file, line=node.line
        )


def _size(node: Node, picture: Path, sink: ProblemSink, file: str) -> tuple[int, int] | None:
    size = node.child("size")
    texts = ("", "") if size is None else (size.value("width"), size.value("height"))
    if texts in (("", ""), ("0", "0")):  # some tools write 0; the picture knows
        try:
            return read_size_wh(picture)
        except DataError as error:
            sink.report(
                "missing-field",
                f"no <size>, and the picture cannot tell: {error.message}",
                file=file,
                line=node.line if size is None else size.line,
            )
            return None
    try:
        width, height = (int(float(text)) for text in texts)
        if width <= 0 or height <= 0:
            raise ValueError
    except (ValueError, OverflowError):
        sink.report(
            "bad-value",
            f"<size> must be whole pixels above 0: width '{texts[0]}', height '{texts[1]}'",
            file=file,
            line=size.line,
        )
        return None
    return width, height


def _tags(node: Node, stem: str, split: str | None) -> dict:
    """``frame_index``, ``conditions`` and ``labels`` for DatasetBuilder.add_image."""
    labels: dict[str, str | None] = {}
    conditions: list[str] = []
    frame = stem
    for child in node.children:
        tag = child.tag
        if tag == "source":
            database = child.value("database")
            labels["source"] = None if database in _EMPTY_VALUES else database
        elif tag in ("condition", "conditions"):
            conditions += [part.strip() for part in child.text.split(",")]
        elif tag == "frame_index":
            frame = child.text
        elif tag in ("scene", "sequence") or (tag not in _FRAME_FIELDS and not child.children):
            labels[tag] = None if child.text in _EMPTY_VALUES else child.text
    labels["split"] = split
    number = int(frame) if frame.isascii() and frame.isdigit() and len(frame) < 18 else -1
    return {
        "frame_index": number,
        "conditions": [c for c in dict.fromkeys(conditions) if c not in ("", "clear")],
        "labels": labels,
    }


def _add_object(builder: DatasetBuilder, row: int, node: Node, one_based: bool, sink: ProblemSink, file: str) -> None:
    name, box, labels, difficult = "", None, {}, False
    for child in node.children:
        tag, text = child.tag, child.text
        if tag == "name":
            name = text
        elif tag == "bndbox":
            box = child
        elif tag == "difficult":
            difficult = text not in ("", "0")
        elif not child.children and text not in _EMPTY_VALUES:
            labels[tag] = text
    if not name or box is None:
        missing = "<bndbox>" if name else "<name>"
        sink.report("missing-field", f"object without {missing}", file=file, line=node.line)
        return
    texts = {child.tag: child.text for child in box.children}
    try:
        x1, y1, x2, y2 = (float(texts[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
    except KeyError as error:
        sink.report("missing-field", f"box of '{name}' has no <{error.args[0]}>", file=file, line=box.line)
        return
    except ValueError:
        sink.report(
            "bad-value", f"box of '{name}' has a corner that is not a number: {texts}", file=file, line=box.line
        )
        return
    if one_based:
        x1, y1 = x1 - 1, y1 - 1
    builder.add_box(row, (x1, y1, x2, y2), name, ignore=difficult, line=box.line, file=file, labels=labels)


def _read_lists(
    layout: VocLayout, stems: set[str], pictures: dict[str, list[str]], sink: ProblemSink
) -> dict[str, str]:
    """Split by stem, out of ``train.txt``, ``val.txt``, ``test.txt`` (or ``trainval.txt`` where neither half is)."""
    files = [layout.lists / f"{split}.txt" for split in SPLITS]
    if not files[0].is_file() and not files[1].is_file():
        files.append(layout.lists / "trainval.txt")
    splits: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            continue
        for line, stem in _list_entries(file, stems, sink):
            if stem not in stems:
                if stem in pictures:
                    sink.report(
                        "missing-annotation",
                        f"'{stem}' has a picture but no annotation in {layout.annotations.name}/",
                        file=file,
                        line=line,
                    )
                else:
                    sink.report("dangling-id", f"'{stem}' is in no annotation file", file=file, line=line)
            elif splits.get(stem, file.stem) != file.stem:
                sink.report(
                    "duplicate-id",
                    f"'{stem}' is in {splits[stem]}.txt as well",
                    file=file,
                    line=line,
                    hint="a frame belongs to one split; 'wutdet data split' makes new ones",
                )
            else:
                splits[stem] = file.stem
    return splits


def _list_entries(file: Path, stems: set[str], sink: ProblemSink) -> Iterator[tuple[int, str]]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        sink.report("unreadable-annotation", f"cannot read the split list ({error})", file=file)
        return
    for number, text in enumerate(lines, 1):
        entry = text.strip()
        if entry not in stems:
            head, _, last = entry.rpartition(" ")
            if last in ("-1", "0", "1") and head.strip() in stems:  # VOC's lists per class
                entry = head.strip()
            elif is_picture_name(entry):
                entry = os.path.splitext(os.path.basename(entry))[0]
        if entry:
            yield number, entry


def _report_unannotated(
    layout: VocLayout, pictures: dict[str, list[str]], seen: set[str], stems: set[str], sink: ProblemSink
) -> None:
    lost = [name for stem, names in pictures.items() for name in names if name not in seen and stem not in stems]
    total = len(lost)
    for name in lost if sink.lenient else lost[:1]:
        more = f" ({total} such images)" if total > 1 and not sink.lenient else ""
        sink.report(
            "missing-annotation",
            f"image without annotation file{more}",
            file=layout.images / name,
            hint="a frame without ships needs an .xml without objects; remove or annotate the image",
        )
