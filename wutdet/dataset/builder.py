"""DatasetBuilder: what every reader fills in, row by row, to get a Dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from wutdet.dataset.classes import ClassMap
from wutdet.dataset.columns import LabelColumn, TextColumn
from wutdet.dataset.dataset import CONDITIONS, Dataset
from wutdet.dataset.problems import ProblemSink
from wutdet.errors import DataError

_FIRST_CLASS = ("sequence", "source", "scene", "split")
#: Conditions are bits of a uint32.
MAX_CONDITIONS = 32


class DatasetBuilder:
    """Collects frames and their boxes; ``build()`` turns them into columns.

    Args:
        root: folder that image and annotation paths are relative to.
        class_map: decides what becomes of each class name in the file. Readers keep all classes here; load_dataset
            applies the user's map afterwards.
        name: of the data set.
        sink: where wrong boxes are reported; by default the first one raises.
    """

    def __init__(self, root: Path, class_map: ClassMap | None = None, name: str = "", sink: ProblemSink | None = None):
        self.root, self.name = Path(root), name
        self.class_map = ClassMap.keep() if class_map is None else class_map
        self.sink = ProblemSink() if sink is None else sink
        self._frames: list[tuple] = []
        self._labels: dict[str, list] = {key: [] for key in _FIRST_CLASS}
        self._boxes: list[tuple] = []
        self._box_labels: dict[str, list] = {}
        self._conditions: list[str] = list(CONDITIONS)
        self.info: dict = {}

    def __len__(self) -> int:
        return len(self._frames)

    def add_image(
        self,
        path: str,
        size_wh: tuple[int, int],
        *,
        image_id: int | None = None,
        frame_index: int = -1,
        conditions: Iterable[str] = (),
        annotation_file: str = "",
        labels: Mapping[str, object] | None = None,
    ) -> int:
        """Adds a frame and returns its row. ``labels`` are ``sequence``, ``scene`` ... and any other tag."""
        row = len(self._frames)
        bits = 0
        for condition in conditions:
            if condition not in self._conditions:
                if len(self._conditions) == MAX_CONDITIONS:
                    raise DataError(
                        f"more than {MAX_CONDITIONS} different conditions; '{condition}' is one too many",
                        file=annotation_file or None,
                    )
                self._conditions.append(condition)
            bits |= 1 << self._conditions.index(condition)
        for key, value in (labels or {}).items():
            column = self._labels.setdefault(key, [])
            column.extend([None] * (row - len(column)))
            column.append(None if value is None else str(value))
        self._frames.append(
            (path, size_wh, row + 1 if image_id is None else image_id, frame_index, bits, annotation_file)
        )
        return row

    def add_box(
        self,
        image_row: int,
        xyxy: Sequence[float],
        class_name: str,
        *,
        area: float | None = None,
        ignore: bool = False,
        crowd: bool = False,
        line: int = 0,
        file: str | Path | None = None,
        labels: Mapping[str, object] | None = None,
    ) -> bool:
        """Adds a box to a frame, unless the class map drops its class. Returns whether it was added.

        A box of no width or height is added as it stands (the audit lists them); one outside the frame too.

        Raises:
            DataError: the class is unknown, a coordinate is not a finite number, or the corners are in the
                wrong order; unless the sink collects problems.
        """
        category = self.class_map.index(class_name, file=file or self._frames[image_row][5], line=line)
        if category is None:
            return False
        x1, y1, x2, y2 = (float(v) for v in xyxy)
        finite = math.isfinite(x1) and math.isfinite(y1) and math.isfinite(x2) and math.isfinite(y2)
        if not finite or x2 < x1 or y2 < y1:
            kind, what = (
                ("inverted-box", "is inverted (its second corner lies left of or above its first)")
                if finite
                else ("non-finite-box", "has a coordinate that is not a finite number")
            )
            self.sink.report(
                kind,
                f"box of '{class_name}' {what}: x1 {x1:g}, y1 {y1:g}, x2 {x2:g}, y2 {y2:g}",
                file=file or self._frames[image_row][5],
                line=line,
                hint="correct or remove the box; 'wutdet data audit' lists all such places",
            )
            return False
        row = len(self._boxes)
        for key, value in (labels or {}).items():
            column = self._box_labels.setdefault(key, [])
            column.extend([None] * (row - len(column)))
            column.append(None if value is None else str(value))
        self._boxes.append(
            (
                image_row,
                x1,
                y1,
                x2,
                y2,
                category,
                (x2 - x1) * (y2 - y1) if area is None else area,
                ignore or crowd,
                crowd,
                line,
            )
        )
        return True

    def build(self) -> Dataset:
        """The Dataset of everything added so far."""
        frames, count, box_count = self._frames, len(self._frames), len(self._boxes)
        boxes = np.array(self._boxes, dtype=np.float64).reshape(box_count, 10)
        order = np.argsort(boxes[:, 0], kind="stable")
        boxes = boxes[order]

        def column(values: list, length: int) -> LabelColumn:
            return LabelColumn.of([*values, *[None] * (length - len(values))])

        return Dataset(
            root=self.root,
            path=TextColumn.of(f[0] for f in frames),
            size_wh=np.array([f[1] for f in frames], dtype=np.int32).reshape(count, 2),
            image_id=np.array([f[2] for f in frames], dtype=np.int64),
            frame_index=np.array([f[3] for f in frames], dtype=np.int64),
            conditions=np.array([f[4] for f in frames], dtype=np.uint32),
            labels={key: column(values, count) for key, values in self._labels.items()},
            annotation_file=TextColumn.of(f[5] for f in frames),
            box_image=boxes[:, 0].astype(np.int32),
            xyxy=np.ascontiguousarray(boxes[:, 1:5]),
            category=boxes[:, 5].astype(np.int32),
            area=boxes[:, 6].copy(),
            ignore=boxes[:, 7].astype(bool),
            crowd=boxes[:, 8].astype(bool),
            box_line=boxes[:, 9].astype(np.int32),
            box_labels={key: column(values, box_count).take(order) for key, values in self._box_labels.items()},
            category_names=self.class_map.names,
            condition_names=tuple(self._conditions),
            name=self.name,
            info=self.info,
        )
