"""ClassMap: a total table from the class names in a file to ours; nothing is renumbered or dropped in silence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.problems import ProblemSink
from wutdet.errors import DataError, UsageError, suggest


class ClassMap:
    """Maps class names of an annotation file to category indices.

    Three ways to make one:

    - ``ClassMap.keep()``: every class keeps its name, in order of first appearance (or of the file's own list).
    - ``ClassMap.single("ship")``: every class becomes ``ship``.
    - ``ClassMap.table({"ferry": "ship", "buoy": None})``: as written; ``None`` drops the class by name; a class that is
      not in the table is an error.
    """

    def __init__(self, names: Sequence[str], table: Mapping[str, str | None] | None, single: str | None, open_: bool):
        self._names = list(names)
        self._table = None if table is None else dict(table)
        self._single, self._open = single, open_

    @classmethod
    def keep(cls, names: Sequence[str] = ()) -> ClassMap:
        """Every class keeps its name; ``names`` fixes the order of those known beforehand."""
        return cls(names, None, None, True)

    @classmethod
    def only(cls, names: Sequence[str]) -> ClassMap:
        """These classes keep their names; any other is an error."""
        return cls(names, {name: name for name in names}, None, False)

    @classmethod
    def single(cls, name: str = "ship") -> ClassMap:
        """Every class becomes ``name``."""
        return cls([name], None, name, False)

    @classmethod
    def table(cls, table: Mapping[str, str | None]) -> ClassMap:
        """As the table says; ``None`` drops."""
        names = dict.fromkeys(target for target in table.values() if target is not None)
        return cls(list(names), table, None, False)

    @classmethod
    def parse(cls, text: str) -> ClassMap:
        """From the command line: ``"ship"`` (all become ship), ``"keep"``, or ``"ferry=ship,tug=ship,buoy="``.

        Raises:
            UsageError: an empty text, or a pair without ``=``.
        """
        text = text.strip()
        if text == "keep":
            return cls.keep()
        if text and "=" not in text and "," not in text:
            return cls.single(text)
        table: dict[str, str | None] = {}
        for pair in text.split(","):
            name, equals, target = pair.partition("=")
            if not equals or not name.strip():
                raise UsageError(
                    f"class map entry '{pair}' is not 'name=target'",
                    hint="write ferry=ship,buoy= (an empty target drops the class), or one name for all, or keep",
                )
            table[name.strip()] = target.strip() or None
        return cls.table(table)

    @property
    def keeps_all(self) -> bool:
        """Whether this is ``keep()`` without fixed names: it changes nothing."""
        return self._open and not self._names

    @property
    def names(self) -> tuple[str, ...]:
        """Our category names, by index."""
        return tuple(self._names)

    def index(self, class_name: str, *, file: str | Path | None = None, line: int = 0) -> int | None:
        """Category index of a class name in a file, or ``None`` where it is dropped.

        Raises:
            DataError: the class is in no table.
        """
        if self._single is not None:
            return 0
        if self._table is not None:
            if class_name not in self._table:
                raise DataError(
                    f"unknown class '{class_name}'; the class map knows {sorted(self._table)}."
                    f"{suggest(class_name, self._table)}",
                    file=file,
                    line=line,
                    hint=f"map it (--classes '{class_name}=ship,...'), drop it ('{class_name}=,...'), "
                    "or take all as one class (--classes ship)",
                )
            target = self._table[class_name]
            return None if target is None else self._names.index(target)
        if class_name not in self._names:
            self._names.append(class_name)
        return self._names.index(class_name)


def apply_class_map(dataset: Dataset, class_map: ClassMap, sink: ProblemSink | None = None) -> Dataset:
    """The data set with its categories mapped; boxes of dropped classes go, their frames stay.

    Where classes are renamed, the name in the file is kept as the box label ``orig_class`` (unless the format had one).

    Raises:
        DataError: a class of some box is in no table (the message names the first such box); unless ``sink``
            collects problems, which then takes one per box.
    """
    if class_map.keeps_all:
        return dataset
    sink = ProblemSink() if sink is None else sink
    category = np.asarray(dataset.category)
    used = np.bincount(category, minlength=len(dataset.category_names)) > 0
    mapped = np.full(len(dataset.category_names), -1, dtype=np.int32)
    for old, name in enumerate(dataset.category_names):
        if not used[old]:
            continue
        try:
            new = class_map.index(name)
        except DataError as error:
            boxes = np.flatnonzero(category == old)
            for box in boxes if sink.lenient else boxes[:1]:
                file = dataset.root / dataset.annotation_file[int(dataset.box_image[box])]
                line = int(dataset.box_line[box])
                sink.report("unknown-class", error.message, file=os.path.normpath(file), line=line, hint=error.hint)
            continue
        mapped[old] = -1 if new is None else new
    names = class_map.names
    renamed = any(used[i] and mapped[i] >= 0 and names[mapped[i]] != n for i, n in enumerate(dataset.category_names))
    box_labels = dict(dataset.box_labels)
    if renamed and "orig_class" not in box_labels:
        box_labels["orig_class"] = LabelColumn(category, dataset.category_names)
    info = dict(dataset.info)
    ids = info.pop("category_ids", None)
    if ids is not None and set(names) <= set(dataset.category_names):
        info["category_ids"] = [ids[dataset.category_names.index(name)] for name in names]
    out = replace(dataset, category=mapped[category], category_names=names, box_labels=box_labels, info=info)
    kept = out.category >= 0
    return out if kept.all() else out.select_boxes(kept)
