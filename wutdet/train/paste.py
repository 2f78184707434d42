"""Copy-paste of small ships: cut out of other training frames, put on the water where their size fits their distance.

Over a flat sea the horizon cuts every ship at the height of the camera: a ship's height in pixels divided by its
foot's distance below the horizon, in rows, is its height divided by the camera's. From the boxes of a frame follow both
the row of the horizon and the usual ratio (``sea_law``); a cut-out of a given height then has its row. It is laid down
only where nothing is labelled, inside the frame, where the picture looks like the water under the frame's own ships and
like the surroundings that the cut-out comes with; what difference is left is taken off its borders inwards.

A frame without ships stays empty, for two reasons: its horizon is unknown, and empty water is worth something too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.train.views import View, frame_scale

#: Longer side of ships that are cut out, and the shortest side, in pixels of the training picture.
LARGEST_SIDE, SMALLEST_SIDE = 64.0, 4.0
#: Most ships that one picture gets, all out of one frame.
_MOST = 4
#: Frames out of which ships are tried, until one finds a place, and places that are tried for a ship.
_FRAMES, _TRIES = 3, 24
#: Spread of log(height / distance) among ships seen by one camera, and of its mean among cameras (around 0: a shore
#: or bridge camera is about as high as the ships that it sees).
_SHIP_SPREAD, _CAMERA_SPREAD = 0.6, 0.8
#: Largest factor of brightness between a cut-out and its place.
_GAIN = 1.8
#: Grey levels: what may be left of the difference in one row; how far water may be from water; and the largest standard
#: deviation of the water in front of a cut-out.
_RESIDUE, _COLOUR, _ROUGHNESS = 40.0, 28.0, 18.0


@dataclass(frozen=True)
class SeaLaw:
    """Heights of ships over a flat sea: ``height = ratio * (foot row - horizon row)``, in pixels of the frame."""

    horizon_y: float
    ratio: float


def sea_law(xyxy: np.ndarray, frame_wh: tuple[int, int]) -> SeaLaw | None:
    """The law that explains the boxes [N, 4] of a frame best; None without a box that ends above the frame's edge.

    Ratios of the ships spread around one value, and that lies around 1: with one ship alone the horizon is taken to be
    as far above its foot as it is high.
    """
    height, foot = xyxy[:, 3] - xyxy[:, 1], xyxy[:, 3]
    whole = (height >= 2) & (foot < frame_wh[1] - 2)
    height, foot = height[whole], foot[whole]
    if not len(height):
        return None
    horizons = foot.min() - np.geomspace(1.0, 0.7 * frame_wh[1], 160)
    logs = np.log(height[None] / (foot[None] - horizons[:, None]))
    mean = logs.sum(axis=1) / (len(height) + (_SHIP_SPREAD / _CAMERA_SPREAD) ** 2)
    cost = ((logs - mean[:, None]) ** 2).sum(axis=1) / _SHIP_SPREAD**2 + mean**2 / _CAMERA_SPREAD**2
    best = int(np.argmin(cost))
    return SeaLaw(float(horizons[best]), float(np.exp(mean[best])))


class Donors:
    """The small ships of a data set that can be cut out, by the conditions of their frames: no ship by day at night.

    Args:
        dataset: training frames.
        scales: float64 [M], of the frames, to training pictures.
    """

    def __init__(self, dataset: Dataset, scales: np.ndarray):
        self.dataset = dataset
        xyxy, image = np.asarray(dataset.xyxy), np.asarray(dataset.box_image)
        frame_wh = np.asarray(dataset.size_wh)[image]
        side = (xyxy[:, 2:] - xyxy[:, :2]) * scales[image][:, None]
        margin = 0.25 * (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0)[:, None] + 3
        inside = (xyxy[:, :2] >= margin).all(axis=1) & (xyxy[:, 2:] <= frame_wh - margin).all(axis=1)
        good = inside & ~np.asarray(dataset.ignore)
        good &= (side.max(axis=1, initial=0) <= LARGEST_SIDE) & (side.min(axis=1, initial=9e9) >= SMALLEST_SIDE)
        self.boxes = np.flatnonzero(good)
        conditions = np.asarray(dataset.conditions)[image[self.boxes]]
        self.by_conditions = {int(code): self.boxes[conditions == code] for code in np.unique(conditions)}
        sequence = np.asarray(dataset.sequence.codes)[image[self.boxes]]
        order = np.argsort(sequence, kind="stable")
        self._by_sequence = self.boxes[order]
        self._sequence_edges = np.searchsorted(sequence[order], np.arange(len(dataset.sequence.names) + 1))

    def choose(self, rng: np.random.Generator, row: int) -> tuple[int, np.ndarray] | None:
        """A frame other than ``row`` and at most _MOST of its ships (rows of boxes) that stand clear of all others.

        Half of the time it is one of the same sequence: the same light and water, so that more ships find a place.
        """
        pool = self.by_conditions.get(int(self.dataset.conditions[row]))
        sequence = int(self.dataset.sequence.codes[row])
        if rng.random() < 0.5 and sequence >= 0:
            pool = self._by_sequence[slice(*self._sequence_edges[[sequence, sequence + 1]])]
        if pool is None or not len(pool):
            return None
        image = int(self.dataset.box_image[pool[rng.integers(len(pool))]])
        if image == row:
            return None
        all_boxes = self.dataset.box_rows(image)
        first, last = np.searchsorted(self.boxes, [all_boxes.start, all_boxes.stop])
        boxes = rng.permutation(self.boxes[first:last])
        xyxy = np.asarray(self.dataset.xyxy[all_boxes])
        clear = []
        for box in boxes:
            own = self.dataset.xyxy[box]
            margin = 0.25 * (own[2:] - own[:2]).max() + 2
            if overlaps(np.concatenate([own[:2] - margin, own[2:] + margin]), xyxy).sum() == 1:  # itself
                clear.append(box)
        return (image, np.array(clear[:_MOST])) if clear else None


def overlaps(box: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """bool [N]: which of the boxes [N, 4] share a point with ``box`` [4]."""
    return (xyxy[:, :2] < box[2:]).all(axis=1) & (xyxy[:, 2:] > box[:2]).all(axis=1)


class Paster:
    """Puts ships of other frames into a picture.

    Args:
        dataset: training frames.
        long_side: to which frames are scaled, in pixels.
        max_scale: they are enlarged at most so many times.
        draw: ``draw(row, views)`` gives the pictures of some views on a frame, all of one scale.
    """

    def __init__(self, dataset: Dataset, long_side: int, max_scale: float | None, draw):
        self.dataset, self.draw = dataset, draw
        self.scales = frame_scale(dataset.size_wh, long_side, max_scale)
        self.donors = Donors(dataset, self.scales)

    def __call__(
        self, rng: np.random.Generator, picture: np.ndarray, row: int, view: View
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The picture with ships on it (a copy, where there are any), their boxes [K, 4] and categories [K].

        Args:
            rng: source of all choices.
            picture: uint8 [H, W, 3], ``view`` on the frame ``row``.
            row: of the frame.
            view: what the picture shows.
        """
        nothing = picture, np.zeros((0, 4)), np.zeros(0, np.int32)
        dataset = self.dataset
        frame_wh = tuple(int(v) for v in dataset.size_wh[row])
        rows = dataset.box_rows(row)
        xyxy, ignore = np.asarray(dataset.xyxy[rows]), np.asarray(dataset.ignore[rows])
        law = sea_law(xyxy[~ignore], frame_wh)
        if law is None:
            return nothing
        place = _Place(picture, view, frame_wh, law, xyxy, ignore)
        for _ in range(_FRAMES if place.has_water else 0):
            chosen = self.donors.choose(rng, row)
            if chosen is None:
                continue
            donor, boxes = chosen
            scale = float(view.scale * self.scales[donor] / self.scales[row])
            found = [(place.find(rng, cut), box) for cut, box in self._cut(rng, donor, boxes, scale)]
            found = [(where, dataset.category[box]) for where, box in found if where is not None]
            if found:
                where, category = zip(*found, strict=True)
                return place.picture, np.array(where), np.array(category, dtype=np.int32)
        return nothing

    def _cut(self, rng: np.random.Generator, donor: int, boxes: np.ndarray, scale: float):
        """Cut-outs of the boxes (rows) of one frame at this scale, mirrored or not, as far as their size allows."""
        xyxy = np.asarray(self.dataset.xyxy[boxes])
        side = (xyxy[:, 2:] - xyxy[:, :2]) * scale
        fits = (side.max(axis=1) <= LARGEST_SIDE) & (side.min(axis=1) >= SMALLEST_SIDE)
        xyxy, side, boxes = xyxy[fits], side[fits], boxes[fits]
        margins = np.maximum(2, np.round(0.2 * side.max(axis=1, initial=0))).astype(int)
        views = []
        for own, (w, h), margin in zip(xyxy, np.ceil(side).astype(int), margins, strict=True):
            x, y = (own[:2] * scale - margin).tolist()
            views.append(View(scale, (x, y), (int(w + 2 * margin), int(h + 2 * margin)), bool(rng.random() < 0.5)))
        pictures = self.draw(donor, views)
        for picture, view, own, margin, box in zip(pictures, views, xyxy, margins, boxes, strict=True):
            yield CutOut(picture, view.to_picture(own[None])[0], int(margin)), box


class CutOut:
    """A ship with its surroundings.

    Args:
        picture: uint8 [h, w, 3].
        xyxy: box of the ship in it.
        margin: pixels around the box.
    """

    def __init__(self, picture: np.ndarray, xyxy: np.ndarray, margin: int):
        self.picture, self.xyxy, self.margin = picture.astype(np.float32), xyxy, margin
        self.height = float(xyxy[3] - xyxy[1])
        height, width = picture.shape[:2]
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        across = np.minimum((x / margin).clip(0, 1), ((width - x) / margin).clip(0, 1))
        down = np.minimum((y / margin).clip(0, 1), ((height - y) / margin).clip(0, 1))
        ramp = down[:, None] * across[None]
        #: float32 [h, w, 1]: opaque inside the box, fading out to the border.
        self.opacity = (ramp * ramp * (3 - 2 * ramp))[..., None].astype(np.float32)
        self.sides = _sides(self.picture, margin)
        self.on_water = bool(water_strip(self.picture, xyxy).std(axis=(0, 1)).max() < _ROUGHNESS)

    def laid_on(self, ground: np.ndarray) -> np.ndarray | None:
        """uint8: the part ``ground`` of a picture, of the same size, with the ship on it; None where it does not fit.

        The cut-out is made as bright as the water of the place; what difference is left at the left and right border,
        row by row, is taken off everything between them.
        """
        ground = ground.astype(np.float32)
        sides = _sides(ground, self.margin)
        lower = slice(len(self.picture) // 2, None)
        gain = (sides[:, lower].mean() + 1) / (self.sides[:, lower].mean() + 1)
        difference = _smooth(sides - gain * self.sides)  # [2, h, 3]
        if not 1 / _GAIN <= gain <= _GAIN or np.abs(difference).max() > _RESIDUE:
            return None
        right = np.linspace(0, 1, self.picture.shape[1], dtype=np.float32)[None, :, None]
        matched = gain * self.picture + difference[0][:, None] * (1 - right) + difference[1][:, None] * right
        return (ground + self.opacity * (matched - ground)).clip(0, 255).round().astype(np.uint8)


def _sides(picture: np.ndarray, margin: int) -> np.ndarray:
    """float32 [2, h, 3]: mean colour of the left and right margin of each row."""
    return np.stack([picture[:, :margin].mean(axis=1), picture[:, -margin:].mean(axis=1)])


def _smooth(columns: np.ndarray) -> np.ndarray:
    """Means over 5 rows of [2, h, 3]: single waves are not copied into ships."""
    padded = np.pad(columns, ((0, 0), (2, 2), (0, 0)), mode="edge")
    return np.mean([padded[:, shift : shift + columns.shape[1]] for shift in range(5)], axis=0)


def water_strip(picture: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """The part of a picture [..., 3] below the foot of a box: as wide, a third as high, but at least 3 pixels."""
    x1, x2 = (int(v) for v in np.round(xyxy[[0, 2]]))
    foot = int(np.ceil(xyxy[3]))
    deep = max(3, round((xyxy[3] - xyxy[1]) / 3))
    return picture[max(foot, 0) : max(foot + deep, 0), max(x1, 0) : max(x2, 0)]


class _Place:
    """A picture in which places for ships are sought.

    Args:
        picture: uint8 [H, W, 3].
        view: that it shows.
        frame_wh: size of the frame.
        law: of the frame.
        xyxy: boxes [N, 4] in frame pixels, those to ignore included.
        ignore: bool [N].
    """

    def __init__(self, picture, view: View, frame_wh, law: SeaLaw, xyxy: np.ndarray, ignore: np.ndarray):
        self.picture, self.ratio = picture.copy(), law.ratio
        self.occupied = view.to_picture(xyxy)
        self.horizon_y = law.horizon_y * view.scale - view.origin_xy[1]
        frame = view.to_picture(np.array([[0.0, 0.0, *frame_wh]]))[0]
        self.low = np.ceil(np.maximum(frame[:2], 0)).astype(int)
        self.high = np.floor(np.minimum(frame[2:], view.size_wh)).astype(int)
        own = self.occupied[~ignore]
        distance = own[:, 3] - self.horizon_y
        #: Rows in which ships were seen; the law is not stretched far beyond them.
        self.rows = (self.horizon_y + 0.6 * distance.min(), self.horizon_y + 1.6 * distance.max())
        strips = [(box[3], water_strip(self.picture, box)) for box in own if self._inside(box)]
        self.water = [(foot, s.mean(axis=(0, 1)), s.std(axis=(0, 1)).max()) for foot, s in strips if s.size]

    def _inside(self, box: np.ndarray) -> bool:
        """Whether a box and some water below it lie inside both frame and picture."""
        return bool((box[:2] >= self.low).all() and (box[2:] + np.array([0, 3]) <= self.high).all())

    @property
    def has_water(self) -> bool:
        return bool(self.water)

    def find(self, rng: np.random.Generator, cut: CutOut) -> np.ndarray | None:
        """Lays a ship down and returns its box [4] in the picture; None where no place was found."""
        if not cut.on_water:
            return None
        height, width = cut.picture.shape[:2]
        if (self.high - self.low < (width, height)).any():
            return None
        for _ in range(_TRIES):
            foot = self.horizon_y + cut.height / self.ratio * np.exp(rng.triangular(-0.6, 0, 0.6))
            x = int(rng.integers(self.low[0], self.high[0] - width + 1))
            y = round(foot - cut.xyxy[3])
            box = cut.xyxy + np.array([x, y, x, y])
            if not self.rows[0] <= box[3] <= self.rows[1]:
                continue
            if y < self.low[1] or y + height > self.high[1]:
                continue
            if overlaps(np.array([x, y, x + width, y + height]), self.occupied).any() or not self._is_water(box):
                continue
            laid = cut.laid_on(self.picture[y : y + height, x : x + width])
            if laid is None:
                continue
            self.picture[y : y + height, x : x + width] = laid
            self.occupied = np.concatenate([self.occupied, box[None]])
            return box
        return None

    def _is_water(self, box: np.ndarray) -> bool:
        """Whether the place around the foot of ``box`` looks like the water under the nearest row's ship."""
        height = box[3] - box[1]
        around = water_strip(self.picture, np.array([box[0], box[1], box[2], box[3] - 0.3 * height]))
        strip = water_strip(self.picture, box)
        _, colour, roughness = min(self.water, key=lambda seen: abs(seen[0] - box[3]))
        for part in (around, strip):
            if not part.size or np.abs(part.mean(axis=(0, 1)) - colour).max() > _COLOUR:
                return False
            if part.std(axis=(0, 1)).max() > 1.5 * roughness + 3:
                return False
        return True
