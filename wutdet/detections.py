"""Detections: what a detector found in one or many frames, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes found in frames; N boxes as parallel columns.

    Attributes:
        xyxy: float32 [N, 4], corners in pixels of the original frame (x right, y down, 0 is the outer
            edge of the first pixel).
        score: float32 [N] in 0..1.
        category: int32 [N], index into ``category_names``.
        image: int32 [N], row of the frame in its dataset (0 for a single frame).
        category_names: names by category index.
    """

    xyxy: np.ndarray
    score: np.ndarray
    category: np.ndarray
    image: np.ndarray
    category_names: tuple[str, ...] = field(default=("ship",))

    def __post_init__(self):
        columns = (
            ("xyxy", np.float32, (4,)),
            ("score", np.float32, ()),
            ("category", np.int32, ()),
            ("image", np.int32, ()),
        )
        count = len(self.xyxy)
        for name, dtype, tail in columns:
            value = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            if value.shape != (count, *tail):
                raise ValueError(f"Detections.{name} must have shape {(count, *tail)}, received {value.shape}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "category_names", tuple(self.category_names))

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def empty(cls, category_names: Sequence[str] = ("ship",)) -> Detections:
        """No boxes at all."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0), np.zeros(0), tuple(category_names))

    @classmethod
    def concatenate(cls, parts: Iterable[Detections]) -> Detections:
        """One table out of several; ``image`` columns are kept as they are."""
        parts = list(parts)
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([p.xyxy for p in parts]),
            np.concatenate([p.score for p in parts]),
            np.concatenate([p.category for p in parts]),
            np.concatenate([p.image for p in parts]),
            parts[0].category_names,
        )

    def take(self, rows: np.ndarray) -> Detections:
        """The given rows (an index array, a boolean mask or a slice) as a new table."""
        return Detections(self.xyxy[rows], self.score[rows], self.category[rows], self.image[rows], self.category_names)

    def on_image(self, image_row: int) -> Detections:
        """The boxes of one frame."""
        return self.take(self.image == image_row)

    def at_row(self, image_row: int) -> Detections:
        """The same boxes, all said to belong to frame ``image_row``."""
        image = np.full(len(self), image_row, dtype=np.int32)
        return Detections(self.xyxy, self.score, self.category, image, self.category_names)

    def to_coco(self, image_ids: np.ndarray, category_ids: Sequence[int] | None = None) -> list[dict]:
        """COCO results: ``[{"image_id", "category_id", "bbox": [x, y, w, h], "score"}, ...]``.

        Args:
            image_ids: int [number of frames], COCO image id by frame row.
            category_ids: COCO category id by category index; 1, 2, ... where not given.
        """
        ids = category_ids if category_ids is not None else range(1, len(self.category_names) + 1)
        ids = np.asarray(list(ids), dtype=np.int64)
        xywh = self.xyxy.astype(np.float64)
        xywh[:, 2:] -= xywh[:, :2]
        return [
            {"image_id": int(i), "category_id": int(c), "bbox": b, "score": float(s)}
            for i, c, b, s in zip(
                np.asarray(image_ids)[self.image], ids[self.category], xywh.tolist(), self.score, strict=True
            )
        ]

    def to_supervision(self):
        """``supervision.Detections`` of these boxes (needs the package ``supervision``)."""
        from wutdet.errors import require

        supervision = require("supervision", "ecosystem")
        names = np.asarray(self.category_names, dtype=object)
        return supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.score.copy(),
            class_id=self.category.astype(int),
            data={"class_name": names[self.category].astype(str)},
        )

    def to_records(self) -> list[dict]:
        """``[{"xyxy": [..], "score", "category"}, ...]``, the JSON form of ``wutdet detect``."""
        return [
            {"xyxy": [round(float(v), 2) for v in box], "score": round(float(s), 5), "category": self.category_names[c]}
            for box, s, c in zip(self.xyxy, self.score, self.category, strict=True)
        ]
