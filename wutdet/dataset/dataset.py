"""Dataset: annotated frames as columns. Slices and filters are cheap; nothing here reads a pixel unless asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from wutdet.dataset.columns import LabelColumn, TextColumn

#: Conditions of WUTDet, plus those of the rendered scenes. A frame may have several.
CONDITIONS = ("fog", "glare", "low_light", "rain")
#: Scenes of WUTDet.
SCENES = ("port", "anchorage", "navigation", "berthing")


@dataclass(frozen=True, eq=False)
class Dataset:
    """M frames and N boxes as parallel columns.

    Frame columns (length M):
        path: image file, relative to ``root`` (absolute where it lies elsewhere), with ``/`` as separator.
        size_wh: int32 [M, 2], width and height in pixels as annotated.
        image_id: int64 [M], the id used in COCO files; unique.
        frame_index: int64 [M], position of the frame in its sequence, -1 where unknown.
        conditions: uint32 [M], bit i set where ``condition_names[i]`` applies; 0 means none tagged.
        labels: named LabelColumns. Always there: ``sequence``, ``source``, ``scene``, ``split``. Readers add
            what else their format carries (``camera``, ``time_of_day``, ``condition_level``, ...).
        annotation_file: the file that each frame's boxes came from, relative to ``root``.

    Box columns (length N, ordered by ``box_image``):
        box_image: int32 [N], row of the frame.
        xyxy: float64 [N, 4], corners in pixels of the frame, 0-based, as annotated (not clipped). float64, not
            float32, so that a COCO box survives a round trip and IoU ties fall as they do in pycocotools.
        category: int32 [N], index into ``category_names``.
        area: float64 [N], COCO ``area`` in square pixels (box area where the format has none).
        ignore: bool [N], neither hit nor miss counts here (COCO ``ignore`` or ``iscrowd``, VOC ``difficult``).
        crowd: bool [N], one box for many ships (COCO ``iscrowd``); implies ``ignore``.
        box_line: int32 [N], 1-based line of the box in its annotation file, 0 where unknown.
        box_labels: named LabelColumns of what else the format says of a box (``orig_class``, ``motion``, ...).

    Others:
        root: folder that ``path`` and ``annotation_file`` are relative to.
        name: of the data set, for reports.
        info: free JSON-compatible facts kept for writers (COCO ``info``, ``licenses``; original category ids
            under ``"category_ids"``, as many as ``category_names``).
    """

    root: Path
    path: TextColumn
    size_wh: np.ndarray
    image_id: np.ndarray
    frame_index: np.ndarray
    conditions: np.ndarray
    labels: Mapping[str, LabelColumn]
    annotation_file: TextColumn
    box_image: np.ndarray
    xyxy: np.ndarray
    category: np.ndarray
    area: np.ndarray
    ignore: np.ndarray
    crowd: np.ndarray
    box_line: np.ndarray
    box_labels: Mapping[str, LabelColumn] = field(default_factory=dict)
    category_names: tuple[str, ...] = ("ship",)
    condition_names: tuple[str, ...] = CONDITIONS
    name: str = ""
    info: Mapping = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_id)

    def __repr__(self) -> str:
        """One line: name, frames, boxes, classes, splits, folder."""
        splits = ", ".join(f"{name} {count:,}" for name, count in self.split.counts().items())
        classes = ", ".join(self.category_names[:8]) + (", ..." if len(self.category_names) > 8 else "")
        return (
            f"Dataset({self.name!r}: {len(self):,} frames, {self.box_count:,} boxes; classes: {classes or 'none'}; "
            f"splits: {splits or 'none'}; in '{self.root}')"
        )

    @property
    def box_count(self) -> int:
        return len(self.box_image)

    @property
    def sequence(self) -> LabelColumn:
        return self.labels["sequence"]

    @property
    def source(self) -> LabelColumn:
        return self.labels["source"]

    @property
    def scene(self) -> LabelColumn:
        return self.labels["scene"]

    @property
    def split(self) -> LabelColumn:
        return self.labels["split"]

    def box_rows(self, image_row: int) -> slice:
        """The slice of the box columns that belongs to one frame."""
        start, stop = np.searchsorted(self.box_image, [image_row, image_row + 1])
        return slice(int(start), int(stop))

    def image_file(self, image_row: int) -> Path:
        """Absolute path of a frame's image."""
        return self.root / self.path[image_row]

    def read_image(self, image_row: int) -> np.ndarray:
        """uint8 [H, W, 3] BGR, in the orientation that the annotation means.

        Raises:
            DataError: the file is missing, truncated, not an image, or of another size than annotated.
        """
        from wutdet.images import read_image

        width, height = self.size_wh[image_row]
        return read_image(self.image_file(image_row), expected_size_wh=(int(width), int(height)))

    def conditions_of(self, image_row: int) -> tuple[str, ...]:
        """Names of the conditions tagged on a frame."""
        bits = int(self.conditions[image_row])
        return tuple(name for bit, name in enumerate(self.condition_names) if bits >> bit & 1)

    def has_condition(self, name: str) -> np.ndarray:
        """bool [M]: frames tagged with this condition; ``"clear"`` means tagged with none."""
        if name == "clear":
            return np.asarray(self.conditions) == 0
        if name not in self.condition_names:
            return np.zeros(len(self), dtype=bool)
        return (np.asarray(self.conditions) >> self.condition_names.index(name) & 1).astype(bool)

    def boxes_per_image(self) -> np.ndarray:
        """int64 [M]."""
        return np.bincount(self.box_image, minlength=len(self))

    def select(self, images: np.ndarray) -> Dataset:
        """The frames at ``images`` (bool mask or index array, order kept) with their boxes."""
        images = np.asarray(images)
        if images.dtype == bool:
            images = np.flatnonzero(images)
        starts, stops = np.searchsorted(self.box_image, [images, images + 1])
        counts = stops - starts
        new_image = np.repeat(np.arange(len(images), dtype=np.int32), counts)
        first = np.cumsum(counts) - counts
        boxes = np.arange(counts.sum()) + np.repeat(starts - first, counts)
        picked = self.select_boxes(boxes)
        return replace(
            picked,
            path=self.path.take(images),
            size_wh=self.size_wh[images],
            image_id=self.image_id[images],
            frame_index=self.frame_index[images],
            conditions=self.conditions[images],
            labels={name: column.take(images) for name, column in self.labels.items()},
            annotation_file=self.annotation_file.take(images),
            box_image=new_image,
        )

    def select_boxes(self, boxes: np.ndarray) -> Dataset:
        """All frames, with only the boxes at ``boxes`` (bool mask, or ascending index array)."""
        return replace(
            self,
            **{
                name: getattr(self, name)[boxes]
                for name in ("box_image", "xyxy", "category", "area", "ignore", "crowd", "box_line")
            },
            box_labels={name: column.take(boxes) for name, column in self.box_labels.items()},
        )

    def in_split(self, split: str) -> Dataset:
        """The frames of one split.

        Raises:
            DataError: the data set has no such split, or it is empty.
        """
        from wutdet.errors import DataError, suggest

        chosen = self.split.is_(split)
        if not chosen.any():
            have = self.split.counts()
            raise DataError(
                f"split '{split}' has no frames in '{self.name or self.root}'; splits there: "
                f"{', '.join(f'{k} ({v})' for k, v in have.items()) or 'none'}.{suggest(split, have)}",
                hint="name one of those"
                if have
                else "run 'wutdet data split DATA', and name the splits.yaml that it writes in DATA's place",
            )
        return self.select(chosen)

    def with_labels(self, **columns: LabelColumn) -> Dataset:
        """The same frames with some LabelColumns added or replaced."""
        return replace(self, labels={**self.labels, **columns})

    @staticmethod
    def concatenate(parts: Sequence[Dataset], name: str = "") -> Dataset:
        """Several data sets as one. Image ids are renumbered where they collide; paths become absolute where
        the roots differ.

        Raises:
            DataError: the parts name their categories differently.
        """
        from wutdet.errors import DataError

        first = parts[0]
        for part in parts[1:]:
            if part.category_names != first.category_names:
                raise DataError(
                    f"'{first.name}' has the classes {first.category_names}, '{part.name}' {part.category_names}",
                    hint="load both with the same class map (for example --classes ship)",
                )
        same_root = all(part.root == first.root for part in parts)
        condition_names = tuple(dict.fromkeys(n for part in parts for n in part.condition_names))
        ids = np.concatenate([part.image_id for part in parts])
        if len(np.unique(ids)) != len(ids):
            ids = np.arange(1, len(ids) + 1, dtype=np.int64)
        image_offsets = np.cumsum([0, *(len(part) for part in parts)])

        def paths(column: str) -> TextColumn:
            return TextColumn.of(
                text if same_root or not text else str((part.root / text).absolute())
                for part in parts
                for text in getattr(part, column)
            )

        def merged(attribute: str, counts: Sequence[int]) -> dict[str, LabelColumn]:
            names = dict.fromkeys(n for part in parts for n in getattr(part, attribute))
            return {
                n: LabelColumn.concatenate(
                    [getattr(p, attribute).get(n, LabelColumn.none(c)) for p, c in zip(parts, counts, strict=True)]
                )
                for n in names
            }

        def conditions(part: Dataset) -> np.ndarray:
            out = np.zeros(len(part), dtype=np.uint32)
            for bit, condition in enumerate(condition_names):
                if condition in part.condition_names:
                    out |= part.has_condition(condition).astype(np.uint32) << np.uint32(bit)
            return out

        def joined(column: str) -> np.ndarray:
            return np.concatenate([getattr(part, column) for part in parts])

        return Dataset(
            root=first.root if same_root else Path("/"),
            path=paths("path"),
            size_wh=joined("size_wh"),
            image_id=ids,
            frame_index=joined("frame_index"),
            conditions=np.concatenate([conditions(part) for part in parts]),
            labels=merged("labels", [len(part) for part in parts]),
            annotation_file=paths("annotation_file"),
            box_image=np.concatenate(
                [part.box_image + offset for part, offset in zip(parts, image_offsets[:-1], strict=True)]
            ).astype(np.int32),
            xyxy=joined("xyxy"),
            category=joined("category"),
            area=joined("area"),
            ignore=joined("ignore"),
            crowd=joined("crowd"),
            box_line=joined("box_line"),
            box_labels=merged("box_labels", [part.box_count for part in parts]),
            category_names=first.category_names,
            condition_names=condition_names,
            name=name or "+".join(part.name for part in parts),
            info=first.info,
        )
