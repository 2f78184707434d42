"""Training pictures out of a Dataset: decode, cut views, put mosaics together, augment. No file is written.

Every picture depends only on (seed, epoch, position) and on whether its epoch has mosaics, never on the number of
worker processes or on what ran before, so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from wutdet.boxes import Letterbox
from wutdet.config import AugmentConfig
from wutdet.dataset.dataset import Dataset
from wutdet.train.augment import MaritimeEffects
from wutdet.train.balance import Address, TrainingSampler, balance_of
from wutdet.train.overlay import draw_text
from wutdet.train.paste import Paster
from wutdet.train.views import View, choose_view, frame_scale, keep_and_cover

_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


@dataclass(frozen=True)
class PictureSettings:
    """How training pictures are made; see TrainConfig for what the fields mean.

    Attributes:
        imgsz: side of the square picture.
        frame_size: long side of the scaled frame from which crops are taken; None: whole frames at ``imgsz``.
        augment: effects, crops, scale, mirroring and colours.
        seed: of all choices.
        whole_frames: share of pictures that show the whole frame although ``frame_size`` is given.
        mosaic: probability of a mosaic.
        max_scale: frames are enlarged at most so many times (before the random scale).
        balance: groups that are to count alike, or ``none``.
    """

    imgsz: int
    frame_size: int | None
    augment: AugmentConfig
    seed: int
    whole_frames: float
    mosaic: float
    max_scale: float | None
    balance: str = "none"

    @property
    def long_side(self) -> int:
        """Long side of scaled frames in pixels."""
        return self.frame_size or self.imgsz


class FrameReader:
    """Reads frames, as small as the use allows: JPEG files are decoded at 1/2, 1/4 or 1/8 where that is enough."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def read(self, row: int, scale: float) -> tuple[np.ndarray, tuple[float, float]]:
        """The frame as uint8 [h, w, 3] BGR, and how many of its pixels make one frame pixel in x and y (at most 1).

        Raises:
            DataError: see Dataset.read_image.
        """
        width, height = (int(v) for v in self.dataset.size_wh[row])
        reduction = next((r for r in (8, 4, 2) if scale <= 1 / r), 1)
        if reduction > 1:
            image = self._reduced(self.dataset.image_file(row), reduction)
            expected = (-(-width // reduction), -(-height // reduction))
            if image is not None and (image.shape[1], image.shape[0]) == expected:
                return image, (image.shape[1] / width, image.shape[0] / height)
        return self.dataset.read_image(row), (1.0, 1.0)

    @staticmethod
    def _reduced(path: Path, reduction: int) -> np.ndarray | None:
        """None wherever anything is unusual; the full reader then decides and reports."""
        if path.suffix.lower() not in (".jpg", ".jpeg"):
            return None
        try:
            data = path.read_bytes()
        except OSError:
            return None  # the full reader names the file and the reason
        if data[:2] != b"\xff\xd8" or b"\xff\xd9" not in data[-4096:] or b"Exif" in data[:64]:
            return None
        return cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[reduction])


def draw_view(image: np.ndarray, shrink_xy: tuple[float, float], view: View) -> np.ndarray:
    """uint8 [H, W, 3]: the view on a frame that was read ``shrink_xy`` times as large; padding is grey 114."""
    width, height = view.size_wh
    step_x, step_y = shrink_xy[0] / view.scale, shrink_xy[1] / view.scale
    # Pixel centres: picture x + 0.5 lies at frame ((x + 0.5 + origin) / scale).
    to_image = np.array(
        [
            [step_x, 0, (0.5 + view.origin_xy[0]) * step_x - 0.5],
            [0, step_y, (0.5 + view.origin_xy[1]) * step_y - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grey = (Letterbox.PAD_VALUE,) * 3
    out = cv2.warpAffine(
        image, to_image, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=grey
    )
    return cv2.flip(out, 1) if view.flip else out


def jitter_colour(image: np.ndarray, strengths: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """uint8 [H, W, 3] BGR with hue shifted, saturation and value scaled by random amounts up to ``strengths``."""
    if not any(strengths):
        return image
    hue_shift = rng.uniform(-1, 1) * strengths[0] * 180
    saturation, value = 1 + rng.uniform(-1, 1, 2) * strengths[1:]
    levels = np.arange(256)
    table = np.stack(
        [(levels + hue_shift) % 180, np.clip(levels * saturation, 0, 255), np.clip(levels * value, 0, 255)], axis=-1
    ).astype(np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2BGR)


class TrainingPictures(TorchDataset):
    """Items are addressed by an Address, or by the tuple of its first values: (epoch, row).

    An item is a dict: ``img`` uint8 [3, H, W] RGB, ``cls`` float32 [N, 1], ``bboxes`` float32 [N, 4] (centre and
    size as a share of the picture), ``im_file``.
    """

    def __init__(self, dataset: Dataset, settings: PictureSettings):
        self.dataset, self.settings = dataset, settings
        self.reader = FrameReader(dataset)
        self.effects = MaritimeEffects(settings.augment)
        self.balance = balance_of(dataset, settings.balance)
        self.paster = None
        if settings.augment.paste > 0:
            self.paster = Paster(dataset, settings.long_side, settings.max_scale, self._draw)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, address: tuple[int, ...]) -> dict:
        address = Address(*address)
        settings = self.settings
        rng = np.random.default_rng((settings.seed, *address.seed))
        side = (settings.imgsz, settings.imgsz)
        if not address.plain and rng.random() < settings.mosaic:
            image, xyxy, category = self._mosaic(rng, address.row, side)
        else:
            image, xyxy, category = self._tile(rng, address.row, side, whole=self._show_whole(rng))
        centre_size = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1)
        return {
            "img": torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))),
            "cls": torch.from_numpy(category.astype(np.float32)[:, None]),
            "bboxes": torch.from_numpy((centre_size / settings.imgsz).astype(np.float32)),
            "im_file": self.dataset.path[address.row],
        }

    def _show_whole(self, rng: np.random.Generator) -> bool:
        augment = self.settings.augment
        if self.settings.frame_size is not None:
            return rng.random() < self.settings.whole_frames
        return not augment.crop or rng.random() >= augment.crop_probability

    def _mosaic(self, rng: np.random.Generator, row: int, size_wh: tuple[int, int]):
        """Four views on four frames around a random point; each tile keeps its own boxes whole."""
        width, height = size_wh
        split_x, split_y = (round(rng.uniform(0.3, 0.7) * side) for side in size_wh)
        canvas = np.empty((height, width, 3), np.uint8)
        others = rng.integers(len(self), size=3) if self.balance is None else self.balance.draw(rng, 3)
        rows = [row, *others]
        corners = [(0, 0, split_x, split_y), (split_x, 0, width, split_y), (0, split_y, split_x, height),
                   (split_x, split_y, width, height)]  # fmt: skip
        order = rng.permutation(4)
        boxes, categories = [], []
        for position, (x1, y1, x2, y2) in zip(order, corners, strict=True):
            image, xyxy, category = self._tile(rng, int(rows[position]), (x2 - x1, y2 - y1), whole=False)
            canvas[y1:y2, x1:x2] = image
            boxes.append(xyxy + np.array([x1, y1, x1, y1]))
            categories.append(category)
        return canvas, np.concatenate(boxes), np.concatenate(categories)

    def _tile(self, rng: np.random.Generator, row: int, size_wh: tuple[int, int], *, whole: bool):
        """One view on one frame: picture, boxes [N, 4] in its pixels (clipped) and their categories [N]."""
        settings, augment, dataset = self.settings, self.settings.augment, self.dataset
        frame_wh = tuple(int(v) for v in dataset.size_wh[row])
        rows = dataset.box_rows(row)
        xyxy, category, ignore = dataset.xyxy[rows], dataset.category[rows], dataset.ignore[rows]
        jitter = augment.scale
        if whole:
            fit = min(side / frame for side, frame in zip(size_wh, frame_wh, strict=True))
            if settings.max_scale is not None:
                fit = min(fit, settings.max_scale)
            scale = fit * rng.uniform(max(1 - jitter, 0.1), 1.0)
        else:
            scale = float(frame_scale(frame_wh, settings.long_side, settings.max_scale))
            scale *= np.exp(rng.uniform(np.log(max(1 - jitter, 0.1)), np.log((1 + jitter) * self._zoom())))
            scale = self._fit_largest(rng, xyxy[~ignore], scale, size_wh)
        view = choose_view(
            rng, frame_wh, xyxy[~ignore], scale, size_wh, focus=augment.focus, flip=rng.random() < augment.flip
        )
        (picture,) = self._draw(row, [view])
        pasted, pasted_category = np.zeros((0, 4)), category[:0]
        if self.paster is not None:
            # A generator of its own: all else in the picture is as it is without pasted ships.
            paste_rng = rng.spawn(1)[0]
            if paste_rng.random() < augment.paste:
                picture, pasted, pasted_category = self.paster(paste_rng, picture, row, view)
        picture = jitter_colour(picture, (augment.hue, augment.saturation, augment.value), rng)
        horizon = (horizon_row(frame_wh, xyxy, rng) * scale - view.origin_xy[1]) / size_wh[1]
        picture = self.effects(picture, horizon, int(rng.integers((1 << 31) - 1)))
        boxes = view.to_picture(xyxy)
        if augment.text and augment.probability > 0:
            text_rng = rng.spawn(1)[0]
            if text_rng.random() < augment.probability:
                picture = draw_text(picture, np.concatenate([boxes, pasted]), text_rng)
        picture = restore_padding(picture, view.to_picture(np.array([[0.0, 0.0, *frame_wh]]))[0])
        keep, cover = keep_and_cover(boxes, size_wh)
        cover |= ignore & (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < size_wh).all(axis=1)
        keep &= ~ignore
        boxes[:, [0, 2]] = boxes[:, [0, 2]].clip(0, size_wh[0])
        boxes[:, [1, 3]] = boxes[:, [1, 3]].clip(0, size_wh[1])
        if cover.any():
            picture = paint_over(picture, boxes[cover], boxes[keep])
        return picture, np.concatenate([boxes[keep], pasted]), np.concatenate([category[keep], pasted_category])

    def _zoom(self) -> float:
        """How many times more crops are enlarged at most, for far ships."""
        augment = self.settings.augment
        if not augment.crop:
            return 1.0
        if augment.zoom is not None:
            return augment.zoom
        return 1.5 if self.settings.frame_size is None else 1.0  # with frame_size: the scale of the evaluation

    def _draw(self, row: int, views: list[View]) -> list[np.ndarray]:
        """uint8 [H, W, 3] BGR: some views of one scale on a frame, which is read once."""
        if not views:
            return []
        image, shrink = self.reader.read(row, views[0].scale)
        return [draw_view(image, shrink, view) for view in views]

    def _fit_largest(self, rng: np.random.Generator, xyxy: np.ndarray, scale: float, size_wh: tuple[int, int]) -> float:
        """Mostly a smaller scale where a ship is larger than the picture: a close ship should be seen whole too."""
        if not len(xyxy) or rng.random() < 0.3:
            return scale
        fits = (np.asarray(size_wh) / np.maximum((xyxy[:, 2:] - xyxy[:, :2]).max(axis=0), 1)).min()
        return min(scale, float(fits) * rng.uniform(0.6, 1.0)) if fits < scale else scale


def horizon_row(frame_wh: tuple[int, int], xyxy: np.ndarray, rng: np.random.Generator) -> float:
    """A guess at the frame row of the horizon, for effects: the foot of the smallest ship, else 0.4 of the height."""
    guess = 0.4 * frame_wh[1]
    if len(xyxy):
        guess = xyxy[np.argmin(np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)), 3]
    return float(guess + rng.normal(0, 0.04) * frame_wh[1])


def restore_padding(picture: np.ndarray, frame_xyxy: np.ndarray) -> np.ndarray:
    """The picture with everything outside the frame ([4], picture pixels) in the grey of the evaluation's padding."""
    height, width = picture.shape[:2]
    left, top = (int(max(np.floor(v), 0)) for v in frame_xyxy[:2])
    right, bottom = int(min(np.ceil(frame_xyxy[2]), width)), int(min(np.ceil(frame_xyxy[3]), height))
    if (left, top, right, bottom) != (0, 0, width, height):
        picture = picture if picture.flags.writeable else picture.copy()
        for strip in (picture[:top], picture[bottom:], picture[:, :left], picture[:, right:]):
            strip[:] = Letterbox.PAD_VALUE
    return picture


def paint_over(picture: np.ndarray, cover: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """A copy with the boxes ``cover`` [N, 4] grey, except where a box of ``keep`` [M, 4] lies.

    Regions to ignore and pieces of cut ships are neither ships nor water to learn from. The grey is that of the
    padding, which carries no information anyway; nothing else in a frame looks like it.
    """
    mask = np.zeros(picture.shape[:2], bool)
    for boxes, value in ((cover, True), (keep, False)):
        for x1, y1, x2, y2 in boxes:
            mask[int(np.floor(y1)) : int(np.ceil(y2)), int(np.floor(x1)) : int(np.ceil(x2))] = value
    out = picture.copy()
    out[mask] = Letterbox.PAD_VALUE
    return out


def collate(items: list[dict]) -> dict:
    """Pictures as a batch in the form that ultralytics' losses take."""
    counts = [len(item["cls"]) for item in items]
    return {
        "img": torch.stack([item["img"] for item in items]),
        "cls": torch.cat([item["cls"] for item in items]),
        "bboxes": torch.cat([item["bboxes"] for item in items]),
        "batch_idx": torch.repeat_interleave(torch.arange(len(items), dtype=torch.float32), torch.tensor(counts)),
        "im_file": [item["im_file"] for item in items],
    }


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def training_loader(dataset: Dataset, settings: PictureSettings, batch: int, workers: int) -> DataLoader:
    """Batches of training pictures; a last batch of less than half the size is dropped (too few for batch norm)."""
    pictures = TrainingPictures(dataset, settings)
    batch = min(batch, len(pictures))
    return DataLoader(
        pictures,
        batch_size=batch,
        sampler=TrainingSampler(len(pictures), settings.seed, pictures.balance),
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers else None,
        collate_fn=collate,
        worker_init_fn=_one_thread,
        drop_last=len(pictures) % batch < batch // 2,
    )
