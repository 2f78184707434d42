"""TiledDetector: small ships in large frames, found tile by tile and on the whole frame.

A grid of equal tiles and the whole frame are looked at ("passes"), and their boxes are put together in two steps:

1. A box that ends at an inner border of its tile is the part of a ship that the border cuts. It goes where another
   pass saw more of that ship: where a box there, cut down to the part's tile, is the part. The score does not matter,
   so that a sure part cannot beat an unsure whole; a ship lying in front of a larger one is no part of it and stays.
2. Category-wise greedy NMS over what is left. Whole boxes are compared by IoU alone, never by the share of the smaller
   one, so that two ships of which one hides the other stay two.

A ship wider than the overlap that only tiles see, each of them a part, stays as its parts.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wutdet._kernels import nms
from wutdet.detections import Detections
from wutdet.errors import UsageError
from wutdet.runtime.decode import MAX_CANDIDATES

if TYPE_CHECKING:
    from pathlib import Path

    from wutdet.runtime.detector import Detector
    from wutdet.runtime.metadata import ArtefactMetadata

#: A box this near to its tile's border, in pixels of the network input, ends there.
BORDER_PX = 3.0
#: Least IoU of a part with the ship cut down to the part's tile. At 0.5 or more, the ship holds the part's centre.
PART_IOU = 0.5
#: NMS threshold between the passes.
MERGE_IOU = 0.5

_SMALLEST_TILE = 32
_LARGEST_OVERLAP = 0.9
_PAIRS_AT_ONCE = 1 << 18


def tile_windows(frame_wh: tuple[int, int], tile: int, overlap: float) -> np.ndarray:
    """The regular grid of tiles that covers a frame, row by row.

    Neighbours share at least ``overlap`` of a tile; the last row and column are moved inwards, so all tiles are equally
    large and none reaches over the frame. A side of the frame shorter than a tile is taken whole.

    Args:
        frame_wh: size of the frame in pixels.
        tile: side of the square tiles in pixels of the frame.
        overlap: share of the tile, 0..0.9.

    Returns:
        int32 [T, 4], left, top, right, bottom in pixels of the frame.
    """
    step = max(1, int(tile * (1 - overlap)))
    (left, width), (top, height) = (_starts(int(side), tile, step) for side in frame_wh)
    corners = np.stack(np.meshgrid(left, top), axis=-1).reshape(-1, 2)
    return np.concatenate([corners, corners + np.array([width, height])], axis=1).astype(np.int32)


def _starts(side: int, tile: int, step: int) -> tuple[np.ndarray, int]:
    if side <= tile:
        return np.zeros(1, dtype=np.int64), side
    count = -(-(side - tile) // step) + 1
    return np.minimum(np.arange(count) * step, side - tile), tile


class TiledDetector:
    """A detector that looks at tiles and at the whole frame; takes the place of the detector it is made of.

    Args:
        detector: a ``Detector`` (of an artefact, also one of fixed input size, or a checkpoint), or anything with its
            attributes that can be called with a frame. It is left as it is.
        tile: side of the square tiles in pixels of the frame. Each is scaled to the detector's input: equal to the
            input's side, nothing is scaled.
        overlap: share of a tile that neighbours have in common; ships up to this size are seen whole by a tile.
        full_frame: look at the whole frame as well, for ships larger than the overlap.
        iou: NMS threshold between the passes.
        max_det: most boxes per frame, after merging; ``None`` takes the detector's. Passes have no limit of their own,
            but for networks that have one built in (NMS-free heads: 300).

    Attributes:
        category_names, imgsz, stride, threshold, metadata, path: the detector's.
        max_det: most boxes per frame.

    Raises:
        UsageError: a tile, overlap, threshold or limit that makes no sense.

    Example:
        >>> tiled = TiledDetector(wutdet.Detector("ship.onnx"), tile=640)      # doctest: +SKIP
        >>> tiled(cv2.imread("harbour.jpg")).xyxy                              # doctest: +SKIP
    """

    def __init__(
        self,
        detector: Detector,
        tile: int = 640,
        overlap: float = 0.2,
        *,
        full_frame: bool = True,
        iou: float = MERGE_IOU,
        max_det: int | None = None,
    ):
        if tile < _SMALLEST_TILE:
            raise UsageError(f"a tile must have at least {_SMALLEST_TILE} pixels a side, received {tile}")
        if not 0 <= overlap <= _LARGEST_OVERLAP:
            raise UsageError(
                f"the overlap of tiles is a share of the tile in 0..{_LARGEST_OVERLAP}, received {overlap}",
                hint="0.2 lets neighbours share a fifth",
            )
        if not 0 < iou <= 1:
            raise UsageError(f"the IoU threshold between tiles must be above 0 and at most 1, received {iou}")
        self.max_det = int(detector.max_det if max_det is None else max_det)
        if self.max_det < 1:
            raise UsageError(f"at least one box per frame must be allowed, received {self.max_det}")
        self.tile, self.overlap, self.full_frame, self.iou = int(tile), float(overlap), bool(full_frame), float(iou)
        # A cap per pass would let parts and doubles take the places of ships: the copy, which shares the network, has
        # none below what its own NMS looks at.
        self.detector = copy.copy(detector)
        self.detector.max_det = max(MAX_CANDIDATES, self.max_det)
        self.category_names: tuple[str, ...] = tuple(detector.category_names)
        self.imgsz: int = detector.imgsz
        self.threshold: float = detector.threshold

    @property
    def metadata(self) -> ArtefactMetadata:
        """What the model says of itself."""
        return self.detector.metadata

    @property
    def path(self) -> Path:
        """File of the model."""
        return self.detector.path

    @property
    def stride(self) -> int:
        """Coarsest stride of the network in pixels."""
        return self.detector.stride

    def windows(self, frame_wh: tuple[int, int]) -> np.ndarray:
        """int32 [P, 4]: what is looked at in a frame of this size, as xyxy; the whole frame last, if at all."""
        tiles = tile_windows(frame_wh, self.tile, self.overlap)
        if len(tiles) == 1 or not self.full_frame:
            return tiles
        return np.concatenate([tiles, np.array([[0, 0, *frame_wh]], dtype=np.int32)])

    def facts(self, sizes_wh: np.ndarray | None = None) -> dict:
        """What the protocol of an evaluation says of the tiles.

        Args:
            sizes_wh: int [M, 2], width and height of the frames; gives ``tiles_per_frame``, the mean number of passes.
        """
        facts = {
            "tile": self.tile,
            "tile_overlap": self.overlap,
            "tile_full_frame": self.full_frame,
            "tile_merge_iou": self.iou,
        }
        if sizes_wh is not None and len(sizes_wh):
            sizes, frames = np.unique(np.asarray(sizes_wh), axis=0, return_counts=True)
            passes = [len(self.windows(tuple(size))) for size in sizes.tolist()]
            facts["tiles_per_frame"] = round(float(np.average(passes, weights=frames)), 2)
        return facts

    def __call__(self, image: np.ndarray) -> Detections:
        """Boxes of one frame (image column 0), best first.

        Args:
            image: uint8 [H, W, 3] BGR, or what else the detector takes.

        Raises:
            DataError: not a picture.
        """
        if not isinstance(image, np.ndarray) or image.ndim < 2 or image.size == 0:
            return self.detector(image)  # which says what is wrong with it
        frame_wh = (image.shape[1], image.shape[0])
        windows = self.windows(frame_wh)
        if len(windows) == 1:
            return self.detector(image).take(slice(self.max_det))
        found = self._look([np.ascontiguousarray(image[y1:y2, x1:x2]) for x1, y1, x2, y2 in windows.tolist()])
        window = np.repeat(windows, [len(part) for part in found], axis=0)
        everything = Detections.concatenate(found)
        xyxy = everything.xyxy + window[:, [0, 1, 0, 1]].astype(np.float32)
        keep = merge_passes(
            xyxy,
            everything.score,
            everything.category,
            window,
            frame_wh,
            iou=self.iou,
            border=self._border(),
            max_det=self.max_det,
        )
        image_row = np.zeros(len(keep), dtype=np.int32)
        return Detections(xyxy[keep], everything.score[keep], everything.category[keep], image_row, self.category_names)

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """One Detections per frame (image column 0 in each)."""
        return [self(image) for image in images]

    def _look(self, pictures: list[np.ndarray]) -> list[Detections]:
        batch = getattr(self.detector, "predict_batch", None)
        return [self.detector(picture) for picture in pictures] if batch is None else batch(pictures)

    def _border(self) -> float:
        """BORDER_PX in pixels of the frame: a tile is scaled to the shorter side of the input."""
        fixed = getattr(getattr(self.detector, "backend", None), "fixed_input_wh", None)
        return BORDER_PX * max(1.0, self.tile / min(fixed or (self.imgsz,)))


def merge_passes(
    xyxy: np.ndarray,
    score: np.ndarray,
    category: np.ndarray,
    window: np.ndarray,
    frame_wh: tuple[int, int],
    *,
    iou: float = MERGE_IOU,
    border: float = BORDER_PX,
    max_det: int = MAX_CANDIDATES,
) -> np.ndarray:
    """Which boxes of overlapping passes over one frame are the ships. The order of the boxes does not matter.

    Args:
        xyxy: float32 [N, 4], boxes in pixels of the frame.
        score: float32 [N].
        category: int32 [N].
        window: int32 [N, 4], the part of the frame that each box's pass looked at. Boxes of equal windows are of one
            pass.
        frame_wh: size of the frame in pixels.
        iou: a box goes that overlaps a better one of its category by more than this.
        border: a box this near to an inner border of its window ends there, pixels of the frame.
        max_det: most boxes kept.

    Returns:
        int64 [K], rows of the boxes kept, best first; of equal scores the one further left first.
    """
    rows = np.flatnonzero(~parts_of_others(xyxy, category, window, frame_wh, border=border))
    x1, y1, x2, y2 = xyxy[rows].T
    rows = rows[np.lexsort((y2, x2, y1, x1, category[rows], -score[rows]))]
    boxes = np.ascontiguousarray(xyxy[rows], dtype=np.float32)
    return rows[nms(boxes, np.ascontiguousarray(category[rows], dtype=np.int32), iou, max_det)]


def parts_of_others(
    xyxy: np.ndarray, category: np.ndarray, window: np.ndarray, frame_wh: tuple[int, int], *, border: float = BORDER_PX
) -> np.ndarray:
    """bool [N]: boxes cut by an inner border of their window of which another pass saw more.

    The other box is of the same category and another window, is not cut or else larger, and cut down to the first
    one's window overlaps it with an IoU of at least ``PART_IOU``. Arguments as for ``merge_passes``.
    """
    boxes, window = np.asarray(xyxy, dtype=np.float64), np.asarray(window, dtype=np.int64)
    inner = window != np.array([0, 0, *frame_wh])
    outwards = np.array([-1, -1, 1, 1])
    cut = (inner & ((boxes - window) * outwards >= -border)).any(axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    is_part = np.zeros(len(boxes), dtype=bool)
    for part, other in _centre_pairs(boxes, np.flatnonzero(cut)):
        useful = (category[part] == category[other]) & (~cut[other] | (area[other] > area[part]))
        useful &= (window[part] != window[other]).any(axis=1)
        part, other = part[useful], other[useful]
        shown = _intersection(boxes[other], window[part])
        both = _area(_intersection(shown, boxes[part]))
        is_part[part[both >= PART_IOU * (_area(shown) + area[part] - both)]] = True
    return is_part


def _centre_pairs(boxes: np.ndarray, rows: np.ndarray):
    """Pairs (row of ``rows``, row of a box that holds its centre), in pieces of bounded size; a box holds its own."""
    centre = (boxes[rows, :2] + boxes[rows, 2:]) / 2
    order = np.argsort(centre[:, 0], kind="stable")
    rows, centre = rows[order], centre[order]
    first = np.searchsorted(centre[:, 0], boxes[:, 0], side="left")
    count = np.searchsorted(centre[:, 0], boxes[:, 2], side="right") - first
    total = np.cumsum(count)
    start = total - count
    begin = 0
    while begin < len(boxes):
        end = max(begin + 1, int(np.searchsorted(total, start[begin] + _PAIRS_AT_ONCE, side="right")))
        holder = np.repeat(np.arange(begin, end), count[begin:end])
        held = first[holder] + np.arange(start[begin], total[end - 1]) - start[holder]
        inside = (boxes[holder, 1] <= centre[held, 1]) & (centre[held, 1] <= boxes[holder, 3])
        yield rows[held[inside]], holder[inside]
        begin = end


def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])], axis=1)


def _area(boxes: np.ndarray) -> np.ndarray:
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return size[:, 0] * size[:, 1]
