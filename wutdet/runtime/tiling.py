"""TiledDetector: small ships in large frames, found tile by tile and on the whole frame.

``tile_policy`` says which parts of a frame are looked at ("passes"), ``merge`` how their boxes become one list.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wutdet.detections import Detections
from wutdet.errors import UsageError
from wutdet.runtime.decode import MAX_CANDIDATES
from wutdet.runtime.horizon import Horizon, find_horizon
from wutdet.runtime.merge import AGREEING_SHARE, BORDER_PX, MERGE_IOU, doubted, merge_passes
from wutdet.runtime.tile_policy import InputView, TilePolicy

if TYPE_CHECKING:
    from pathlib import Path

    from wutdet.runtime.detector import Detector
    from wutdet.runtime.metadata import ArtefactMetadata

#: Passes are not asked for boxes below this score, unless the detector's own threshold is lower.
_LEAST_SCORE = 0.001


class TiledDetector:
    """A detector that looks at tiles and at the whole frame; takes the place of the detector it is made of.

    Args:
        detector: a ``Detector`` (of an artefact, also one of fixed input size, or a checkpoint), or anything with its
            attributes that can be called with a frame. It is left as it is.
        tile: a ``TilePolicy``, or what ``TilePolicy.parse`` takes: a number is the side of square tiles in pixels of
            the frame. Each tile is scaled to the detector's input: equal to the input's side, nothing is scaled.
        overlap: share of a tile that neighbours have in common; ships up to this size are seen whole by a tile.
        full_frame: look at the whole frame as well, for ships larger than the overlap.
        iou: NMS threshold between the passes.
        max_det: most boxes per frame, after merging; ``None`` takes the detector's. Passes have no limit of their own,
            but for networks that have one built in (NMS-free heads: 300).

    Attributes:
        category_names, imgsz, stride, threshold, metadata, path: the detector's.
        policy: the TilePolicy.
        view: the InputView that tiles are scaled to.
        max_det: most boxes per frame.

    Raises:
        UsageError: a policy, tile, overlap, threshold or limit that makes no sense.

    Example:
        >>> tiled = TiledDetector(wutdet.Detector("ship.onnx"), tile="3x2")    # doctest: +SKIP
        >>> tiled(cv2.imread("harbour.jpg")).xyxy                              # doctest: +SKIP
    """

    def __init__(
        self,
        detector: Detector,
        tile: TilePolicy | str | int = 640,
        overlap: float = 0.2,
        *,
        full_frame: bool = True,
        iou: float = MERGE_IOU,
        max_det: int | None = None,
    ):
        policy = tile if isinstance(tile, TilePolicy) else TilePolicy.parse(tile, overlap, full_frame)
        if not 0 < iou <= 1:
            raise UsageError(f"the IoU threshold between tiles must be above 0 and at most 1, received {iou}")
        self.max_det = int(detector.max_det if max_det is None else max_det)
        if self.max_det < 1:
            raise UsageError(f"at least one box per frame must be allowed, received {self.max_det}")
        self.policy, self.iou = policy, float(iou)
        # A cap per pass would let parts and doubles take the places of ships: the copy, which shares the network, has
        # none below what its own NMS looks at.
        self.detector = copy.copy(detector)
        self.detector.max_det = max(MAX_CANDIDATES, self.max_det)
        # Boxes too weak to be shown still agree with others, so that hardly anything depends on what is shown.
        self.threshold: float = detector.threshold
        self.detector.threshold = min(self.threshold, max(AGREEING_SHARE * self.threshold, _LEAST_SCORE))
        self.category_names: tuple[str, ...] = tuple(detector.category_names)
        # Whole frames are enlarged as far as the model says, tiles as far as their zoom does.
        self._tile_detector = copy.copy(self.detector)
        if getattr(detector, "max_scale", None) is not None:
            self._tile_detector.max_scale = max(detector.max_scale, policy.zoom)
        self.imgsz: int = detector.imgsz
        self.view = InputView.of(detector)
        self._frames_and_passes = np.zeros(2, dtype=np.int64)

    @property
    def metadata(self) -> ArtefactMetadata:
        """What the model says of itself."""
        return self.detector.metadata

    @property
    def backend(self):
        """What runs the model."""
        return self.detector.backend

    @property
    def path(self) -> Path:
        """File of the model."""
        return self.detector.path

    @property
    def stride(self) -> int:
        """Coarsest stride of the network in pixels."""
        return self.detector.stride

    @property
    def passes(self) -> int:
        """How often a frame or a tile was looked at so far."""
        return int(self._frames_and_passes[1])

    def windows(self, frame_wh: tuple[int, int], horizon: Horizon | None = None) -> np.ndarray:
        """int32 [P, 4]: what is looked at in a frame of this size, as xyxy; the whole frame last, if at all.

        Args:
            frame_wh: size of the frame in pixels.
            horizon: of this frame, for policies that need one; without, tiles cover the whole frame.
        """
        whole = np.array([[0, 0, *frame_wh]], dtype=np.int32)
        tiles = self.policy.tiles(frame_wh, self.view, horizon)
        if len(tiles) == 0 or (tiles[0] == whole[0]).all():
            return whole
        return np.concatenate([tiles, whole]) if self.policy.full_frame else tiles

    def facts(self, sizes_wh: np.ndarray | None = None) -> dict:
        """What the protocol of an evaluation says of the tiles.

        Args:
            sizes_wh: int [M, 2], width and height of the frames; gives ``tiles_per_frame``, the mean number of passes:
                of the frames seen so far where the policy looks into them, else of frames of these sizes.
        """
        text = str(self.policy)
        facts = {
            "tile": int(text) if text.isdecimal() else text,
            "tile_overlap": self.policy.overlap,
            "tile_full_frame": self.policy.full_frame,
            "tile_merge_iou": self.iou,
        }
        frames, passes = self._frames_and_passes.tolist()
        if sizes_wh is None or not len(sizes_wh):
            return facts
        if frames and self.policy.kind in ("horizon", "auto"):
            facts["tiles_per_frame"] = round(passes / frames, 2)
        else:
            sizes, count = np.unique(np.asarray(sizes_wh), axis=0, return_counts=True)
            passes = [len(self.windows(tuple(size))) for size in sizes.tolist()]
            facts["tiles_per_frame"] = round(float(np.average(passes, weights=count)), 2)
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
        if self.policy.for_frame(frame_wh, self.view).kind == "horizon":
            whole = self.detector(image)
            windows = self.windows(frame_wh, find_horizon(image, whole.xyxy, whole.score))
            found = [*self._look(image, windows[:-1], self._tile_detector), whole]
        else:
            windows = self.windows(frame_wh)
            found = self._look(image, windows, self.detector)
        self._frames_and_passes += (1, len(windows))
        if len(windows) == 1:
            return self._shown(found[0])
        window = np.repeat(windows, [len(part) for part in found], axis=0)
        everything = Detections.concatenate(found)
        border = self._border(frame_wh)
        keep, xyxy, agreed = merge_passes(
            everything.xyxy + window[:, [0, 1, 0, 1]].astype(np.float32),
            everything.score,
            everything.category,
            window,
            frame_wh,
            iou=self.iou,
            border=border,
            max_det=self.detector.max_det,
            passes=windows,
        )
        scale = self._scales(windows, frame_wh)
        score = doubted(xyxy, everything.score[keep], window[keep], agreed, windows, scale, frame_wh, border=border)
        best = np.argsort(-score, kind="stable")
        image_row = np.zeros(len(keep), dtype=np.int32)
        ships = Detections(xyxy, score, everything.category[keep], image_row, self.category_names)
        return self._shown(ships.take(best))

    def _shown(self, ships: Detections) -> Detections:
        """Of boxes by falling score: those above the threshold, as many as are allowed."""
        return ships.take(slice(min(int((ships.score > self.threshold).sum()), self.max_det)))

    def _scales(self, windows: np.ndarray, frame_wh: tuple[int, int]) -> np.ndarray:
        """float64 [P]: pixels of the network input per pixel of the frame, by window."""
        whole = (0, 0, *frame_wh)
        return np.array(
            [
                self.view.scale((x2 - x1, y2 - y1), 0.0 if (x1, y1, x2, y2) == whole else self.policy.zoom)
                for x1, y1, x2, y2 in windows.tolist()
            ]
        )

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """One Detections per frame (image column 0 in each)."""
        return [self(image) for image in images]

    @staticmethod
    def _look(image: np.ndarray, windows: np.ndarray, detector: Detector) -> list[Detections]:
        """What every window shows, in pixels of the window. Windows are views: nothing is copied."""
        pictures = [image[y1:y2, x1:x2] for x1, y1, x2, y2 in windows.tolist()]
        # A backend that takes one picture at a time may have a shorter way from bytes to boxes.
        if getattr(getattr(detector, "backend", None), "batch", 1) == 1:
            return [detector(picture) for picture in pictures]
        return detector.predict_batch(pictures)

    def _border(self, frame_wh: tuple[int, int]) -> float:
        """BORDER_PX in pixels of the frame, at the scale of the tiles."""
        return BORDER_PX * max(1.0, 1 / self.policy.scale(frame_wh, self.view))
