"""Data descriptions: ``data/*.yaml``, which say what a data set is, how to get it, how it lies on disk, how to read it.

name: smd                     # short name, for reports
title: Singapore Maritime Dataset
about: |                      # what it is
licence: |                    # and what is unclear about it
home: https://...             # where it is published
get: |                        # how to get it; shown when it is not there
layout: |                     # how it lies on disk, for people
format: smd                   # voc, coco, yolo, smd, cvat, labelme or auto
path: SMD                     # folder or file; see Description.find_data
classes: {ferry: ship, buoy: null}   # class map: 'keep', one name for all, or a table (null drops)
splits: splits.json           # split file of 'wutdet data split'; relative to this file, then to the data
images: frames                # folder that image names are relative to, inside the data (COCO, SMD, CVAT)
frames: "{video}/{frame:05d}.jpg"    # names of a video's extracted frames (SMD, CVAT)
frame_size: [1920, 1080]      # SMD: where no picture tells
voc_one_based: false          # VOC: corners count from 1 and lie inside the box
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wutdet.dataset.classes import ClassMap
from wutdet.dataset.formats import FORMATS, ReadOptions
from wutdet.dataset.yaml_lines import read_yaml
from wutdet.errors import DataError, suggest

#: Environment variable: folder where data sets are looked for.
DATA_HOME = "WUTDET_DATA"
KEYS = (
    "name",
    "title",
    "about",
    "licence",
    "home",
    "get",
    "layout",
    "format",
    "path",
    "classes",
    "splits",
    "images",
    "frames",
    "frame_size",
    "voc_one_based",
)
_TEXT_KEYS = tuple(key for key in KEYS if key not in ("classes", "frame_size", "voc_one_based"))


@dataclass(frozen=True)
class Description:
    """A checked data description; see the module's docstring for the fields."""

    file: Path
    name: str
    format: str
    path: str
    class_map: ClassMap
    title: str = ""
    about: str = ""
    licence: str = ""
    home: str = ""
    get: str = ""
    layout: str = ""
    splits_file: str | None = None
    images: str | None = None
    frames: str | None = None
    frame_size: tuple[int, int] | None = None
    voc_one_based: bool = False
    path_line: int = 0
    splits_line: int = 0

    def find_data(self) -> Path:
        """The folder or file: ``path`` as it is, relative to the description, to the working directory, or in
        ``$WUTDET_DATA``; the first that exists.

        Raises:
            DataError: it is in none of them; the message says how to get the data.
        """
        places = [self.file.parent / self.path, Path(self.path)]
        if home := os.environ.get(DATA_HOME):
            places.append(Path(home) / self.path)
        places = list(dict.fromkeys(Path(os.path.normpath(place)) for place in places))
        for place in places:
            if place.exists():
                return place
        looked = ", ".join(str(place) for place in places)
        home_hint = "" if home else f" (or set {DATA_HOME} to the folder that holds it)"
        get = " ".join(self.get.split()) or f"see {self.home or 'its publisher'}"
        raise DataError(
            f"the data of '{self.name}' is not here; looked for {looked}{home_hint}",
            file=self.file,
            line=self.path_line,
            hint=get,
        )

    def options(self) -> ReadOptions:
        """How to read the data; to be called when it is there."""
        images = None
        if self.images is not None:
            data = self.find_data()
            images = Path(os.path.normpath((data if data.is_dir() else data.parent) / self.images))
        return ReadOptions(images, self.voc_one_based, self.frames, self.frame_size)

    @property
    def splits(self) -> Path | None:
        """The split file, if one is named.

        Raises:
            DataError: it is not there.
        """
        if self.splits_file is None:
            return None
        data = self.find_data()
        places = (self.file.parent / self.splits_file, (data if data.is_dir() else data.parent) / self.splits_file)
        for place in places:
            if place.is_file():
                return place
        raise DataError(
            f"the split file is not there: {self.splits_file}",
            file=self.file,
            line=self.splits_line,
            hint=f"make it: wutdet data split {self.file} --out {places[0]}",
        )


def find_description(source: Path, format: str = "auto") -> Description | None:
    """The description in ``source``, or ``None`` where that is something else (a folder, a YOLO data.yaml ...).

    Raises:
        DataError: it is a description with something wrong in it.
    """
    from wutdet.dataset.yolo import is_data_yaml

    if source.suffix.lower() not in (".yaml", ".yml") or format == "yolo" or not source.is_file():
        return None
    return None if is_data_yaml(source) else read_description(source)


def read_description(file: Path) -> Description:
    """Reads and checks a data description.

    Raises:
        DataError: unreadable, an unknown key, or a value of the wrong kind; with the line.
    """
    file = Path(file)
    content, lines = read_yaml(file)

    def wrong(key: str, message: str, hint: str = "") -> DataError:
        return DataError(message, file=file, line=lines.get(key, 0), hint=hint)

    for key in content:
        if key not in KEYS:
            raise wrong(key, f"unknown key '{key}'.{suggest(str(key), KEYS)}", f"known keys: {', '.join(KEYS)}")
    for key in _TEXT_KEYS:
        if key in content and not (isinstance(content[key], str) and content[key]):
            raise wrong(key, f"'{key}' must be text, received {content[key]!r}")
    if "path" not in content:
        raise wrong("path", "'path' is missing: where the data lies", "a folder or file, relative to this file")
    format = content.get("format", "auto")
    if format not in ("auto", *FORMATS):
        raise wrong("format", f"unknown format '{format}'.{suggest(format, FORMATS)}", f"formats: {', '.join(FORMATS)}")
    size = content.get("frame_size")
    if size is not None and not (isinstance(size, list) and [type(s) is int and s > 0 for s in size] == [True, True]):
        raise wrong("frame_size", f"'frame_size' must be [width, height] in pixels, received {size!r}")
    one_based = content.get("voc_one_based", False)
    if not isinstance(one_based, bool):
        raise wrong("voc_one_based", f"'voc_one_based' must be true or false, received {one_based!r}")
    texts = {
        key: content[key]
        for key in ("title", "about", "licence", "home", "get", "layout", "images", "frames")
        if key in content
    }
    return Description(
        file=file,
        name=content.get("name", file.stem),
        format=format,
        path=content["path"],
        class_map=_class_map(content.get("classes", "keep"), wrong),
        splits_file=content.get("splits"),
        frame_size=None if size is None else tuple(size),
        voc_one_based=one_based,
        path_line=lines["path"],
        splits_line=lines.get("splits", 0),
        **texts,
    )


def _class_map(value, wrong) -> ClassMap:
    if isinstance(value, str) and value:
        return ClassMap.parse(value)
    if isinstance(value, dict) and all(target is None or isinstance(target, str) for target in value.values()):
        return ClassMap.table({str(name): target for name, target in value.items()})
    raise wrong(
        "classes",
        f"'classes' must be 'keep', a class name, or a table name: target, received {value!r}",
        "an empty target (null) drops the class",
    )
