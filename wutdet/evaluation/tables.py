"""The two box tables that go into matching, both in float64: ground truth and what a detector found.

They exist so that a Dataset with Detections (float32 scores) and two JSON files (float64, never rounded) take the same
path. Corners and box area are kept side by side because ``(x + w) - x`` is not always ``w``, and an IoU that lies on a
threshold must fall on the same side as in pycocotools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError
from wutdet.evaluation.network_input import NetworkInput


def _box_area(xyxy: np.ndarray) -> np.ndarray:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """M images and G annotated boxes.

    Attributes:
        image_id: [M] int64 (or str objects); decides the order of images, which decides between equal scores.
        image: int64 [G], row of the image.
        category: int64 [G], index into ``category_names``.
        xyxy: float64 [G, 4], corners in pixels.
        box_area: float64 [G], width times height, for IoU.
        area: float64 [G], COCO ``area`` (of the mask, where there is one), for size bins.
        ignore: bool [G], neither hit nor miss counts.
        crowd: bool [G], one box for many objects: overlap is intersection over the detection's area.
        category_names: by index.
        name, split: of the data set, for the protocol.
        size_wh: [M, 2] width and height of the images in pixels; None where they are not known.
        labels: LabelColumns of the images (sequence, scene, source, ...), for slices and resampling.
        conditions: bool [M] per condition that occurs and for "clear"; a frame may have several.
    """

    image_id: np.ndarray
    image: np.ndarray
    category: np.ndarray
    xyxy: np.ndarray
    box_area: np.ndarray
    area: np.ndarray
    ignore: np.ndarray
    crowd: np.ndarray
    category_names: tuple[str, ...]
    name: str = ""
    split: str | None = None
    size_wh: np.ndarray | None = None
    labels: Mapping[str, LabelColumn] = field(default_factory=dict)
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def image_count(self) -> int:
        return len(self.image_id)

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def of(cls, dataset: Dataset) -> GroundTruth:
        """The boxes of a Dataset."""
        splits = dataset.split.counts()
        xyxy = np.asarray(dataset.xyxy, dtype=np.float64)
        return cls(
            image_id=np.asarray(dataset.image_id),
            image=np.asarray(dataset.box_image, dtype=np.int64),
            category=np.asarray(dataset.category, dtype=np.int64),
            xyxy=xyxy,
            box_area=_box_area(xyxy),
            area=np.asarray(dataset.area, dtype=np.float64),
            ignore=np.asarray(dataset.ignore, dtype=bool) | np.asarray(dataset.crowd, dtype=bool),
            crowd=np.asarray(dataset.crowd, dtype=bool),
            category_names=tuple(dataset.category_names),
            name=dataset.name,
            split="+".join(sorted(splits)) or None,
            size_wh=np.asarray(dataset.size_wh),
            labels=dict(dataset.labels),
            conditions=condition_masks(dataset),
        )

    @property
    def sequence_codes(self) -> np.ndarray | None:
        """int [M], -1 for an image without a sequence; None where no sequences are known."""
        column = self.labels.get("sequence")
        return None if column is None else np.asarray(column.codes)

    def area_factor(self, unit: str, network_input: NetworkInput | None = None) -> np.ndarray | None:
        """float64 [M]: what an area in square frame pixels is multiplied with, by image; None means 1 everywhere.

        Args:
            unit: "px" of the frame, "input" for pixels of the network input, "frame" for shares of the frame's area.
            network_input: what frames are scaled to.

        Raises:
            UsageError: sizes of frames or of the network input are needed and not known.
        """
        if unit == "px":
            return None
        if self.size_wh is None:
            raise UsageError(
                "size bins in network-input pixels or relative to the frame need 'width' and 'height' of every image",
                hint="add them to the ground truth, or give bins in pixels",
            )
        size = np.maximum(np.asarray(self.size_wh, dtype=np.float64), 1)
        if unit == "frame":
            return 1 / (size[:, 0] * size[:, 1])
        if network_input is None:
            raise UsageError("size bins in network-input pixels need the input size", hint="add --imgsz")
        return network_input.scale(size) ** 2


def condition_masks(dataset: Dataset) -> dict[str, np.ndarray]:
    """bool [M] per condition that occurs, and "clear" for frames without any; empty where nothing is tagged."""
    masks = {name: dataset.has_condition(name) for name in dataset.condition_names}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    if masks:
        masks["clear"] = dataset.has_condition("clear")
    return masks


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """N detections.

    Attributes:
        image: int64 [N], row of the image in the ground truth.
        category: int64 [N], index into the ground truth's ``category_names``.
        xyxy: float64 [N, 4], corners in pixels.
        area: float64 [N], width times height.
        score: float64 [N].
    """

    image: np.ndarray
    category: np.ndarray
    xyxy: np.ndarray
    area: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def of(cls, detections: Detections, ground_truth: GroundTruth) -> FoundBoxes:
        """Detections whose categories are already those of the ground truth.

        Raises:
            DataError: an image row or category that does not exist, a coordinate or score that is not finite, or a
                box with negative width or height.
        """
        xyxy = detections.xyxy.astype(np.float64)
        score = detections.score.astype(np.float64)
        checks = (
            (detections.image, (detections.image < 0) | (detections.image >= ground_truth.image_count),
             f"image row outside 0..{ground_truth.image_count - 1}"),
            (detections.category, (detections.category < 0) | (detections.category >= len(ground_truth.category_names)),
             f"category outside 0..{len(ground_truth.category_names) - 1}"),
            (score, ~np.isfinite(score), "score is not a finite number"),
            (xyxy, ~np.isfinite(xyxy).all(axis=1), "box has a coordinate that is not a finite number"),
            (xyxy, (xyxy[:, 2] < xyxy[:, 0]) | (xyxy[:, 3] < xyxy[:, 1]), "box has a negative width or height"),
        )  # fmt: skip
        for values, wrong, what in checks:
            if wrong.any():
                row = int(np.argmax(wrong))
                raise DataError(
                    f"detections[{row}] (image row {detections.image[row]}): {what}: {values[row].tolist()} "
                    f"({int(wrong.sum())} such detections)"
                )
        return cls(
            image=detections.image.astype(np.int64),
            category=detections.category.astype(np.int64),
            xyxy=xyxy,
            area=_box_area(xyxy),
            score=score,
        )
