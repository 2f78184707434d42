"""Tiles: every pixel is looked at, and every ship comes out once and whole.

Ships are painted rectangles, so the truth is known: a fake detector sees the extent of each colour in what it is shown.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wutdet.detections import Detections
from wutdet.errors import UsageError
from wutdet.runtime.merge import BORDER_PX
from wutdet.runtime.tile_policy import tile_windows
from wutdet.runtime.tiling import TiledDetector


class PaintedShips:
    """Finds what ``paint`` has painted: the extent of every colour, unless too small at the scale of its input.

    What is shown large scores .9, also where it is only a part; what is scaled down scores .5. So parts outdo wholes.
    """

    category_names = ("ship", "buoy")
    threshold = 0.001
    stride = 32
    metadata = path = None

    def __init__(self, imgsz: int = 64, max_det: int = 300, smallest: float = 3.0):
        self.imgsz, self.max_det, self.smallest = imgsz, max_det, smallest
        self.shown: list[tuple[int, int]] = []

    def __call__(self, picture: np.ndarray) -> Detections:
        self.shown.append(picture.shape[1::-1])
        scale = self.imgsz / max(picture.shape[:2])
        boxes, scores, categories = [], [], []
        for channel in (0, 1):
            for colour in np.unique(picture[..., channel][picture[..., channel] > 0]):
                y, x = np.nonzero(picture[..., channel] == colour)
                box = x.min(), y.min(), x.max() + 1, y.max() + 1
                if min(box[2] - box[0], box[3] - box[1]) * scale >= self.smallest:
                    boxes.append(box)
                    scores.append((0.9 if scale >= 1 else 0.5) - colour / 1000)
                    categories.append(picture[y[0], x[0], 2])
        order = np.argsort(-np.array(scores), kind="stable")[: self.max_det]
        columns = np.array(boxes, float).reshape(-1, 4), np.array(scores), np.array(categories)
        return Detections(*(column[order] for column in columns), np.zeros(len(order)), self.category_names)


def paint(size_wh: tuple[int, int], ships, channel: int = 0, onto: np.ndarray | None = None) -> np.ndarray:
    """A black frame with rectangles (xyxy), each in its own colour."""
    frame = np.zeros((size_wh[1], size_wh[0], 3), np.uint8) if onto is None else onto
    for colour, (x1, y1, x2, y2) in enumerate(ships, 1):
        frame[y1:y2, x1:x2, channel] = colour
    return frame


def found_boxes(found: Detections) -> list[tuple[int, ...]]:
    assert (found.xyxy == found.xyxy.round()).all()
    return sorted(tuple(box) for box in found.xyxy.astype(int).tolist())


# --- the grid --------------------------------------------------------------------------------------------------

sides = st.integers(1, 400)


@given(sides, sides, st.integers(32, 200), st.floats(0, 0.9))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_every_pixel_are_equally_large_and_overlap_enough(width, height, tile, overlap):
    windows = tile_windows((width, height), tile, overlap)
    seen = np.zeros((height, width), int)
    for x1, y1, x2, y2 in windows:
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert (x2 - x1, y2 - y1) == (min(tile, width), min(tile, height))
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1
    assert len(np.unique(windows, axis=0)) == len(windows)
    for low, high in ((0, 2), (1, 3)):
        starts, ends = np.unique(windows[:, low]), np.unique(windows[:, high])
        assert (ends[:-1] - starts[1:] >= tile * overlap - 1e-6).all()
        # No tile too many: without the last one, the frame would not be covered.
        assert len(starts) == 1 or ends[-2] < (width, height)[low]


def test_last_row_and_column_move_inwards():
    windows = tile_windows((1920, 1080), 640, 0.2).tolist()
    assert [w[0] for w in windows[:4]] == [0, 512, 1024, 1280]
    assert [w[1] for w in windows[::4]] == [0, 440]
    assert windows[-1] == [1280, 440, 1920, 1080]
    assert tile_windows((1920, 500), 640, 0.2).tolist() == [[x, 0, x + 640, 500] for x in (0, 512, 1024, 1280)]


# --- painted ships ---------------------------------------------------------------------------------------------


@st.composite
def ship_scenes(draw):
    """Frame size, tile, overlap, and ships that do not touch and are no larger than the overlap less the border."""
    tile, overlap = draw(st.integers(48, 120)), draw(st.sampled_from([0.25, 0.3, 0.5]))
    width, height = draw(st.integers(20, 350)), draw(st.integers(20, 350))
    largest = int(tile * overlap) - 2 * int(np.ceil(BORDER_PX)) - 1
    cell = largest + 1
    cells = [(x, y) for x in range(0, width - cell + 1, cell) for y in range(0, height - cell + 1, cell)]
    chosen = draw(st.lists(st.sampled_from(cells), unique=True, max_size=40)) if cells else []
    ships = []
    for x, y in chosen:
        w, h = draw(st.integers(3, largest)), draw(st.integers(3, largest))
        dx, dy = draw(st.integers(0, largest - w)), draw(st.integers(0, largest - h))
        ships.append((x + dx, y + dy, x + dx + w, y + dy + h))
    return (width, height), tile, overlap, ships


@given(ship_scenes(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_ship_up_to_the_overlap_comes_out_once_and_whole(scene, full_frame):
    size, tile, overlap, ships = scene
    detector = TiledDetector(PaintedShips(imgsz=tile), tile, overlap, full_frame=full_frame)
    found = detector(paint(size, ships))
    scale = min(1, tile / max(size)) if len(detector.windows(size)) == 1 else 1
    visible = [ship for ship in ships if min(ship[2] - ship[0], ship[3] - ship[1]) * scale >= 3]
    assert found_boxes(found) == sorted(visible)
    assert (np.diff(found.score) <= 0).all()


@pytest.mark.parametrize(
    "ship",
    [(20, 60, 160, 90), (30, 4, 60, 190), (5, 5, 290, 195), (60, 60, 70, 72), (52, 30, 64, 40), (0, 0, 300, 200)],
)
def test_whole_ship_beats_its_better_scoring_parts(ship):
    frame = paint((300, 200), [ship])
    detector = TiledDetector(PaintedShips(imgsz=64), tile=64, overlap=0.2)
    touched = [
        w
        for w in detector.windows((300, 200))[:-1]
        if (np.minimum(w[2:], ship[2:]) > np.maximum(w[:2], ship[:2])).all()
    ]
    assert len(touched) > 1  # so that there are parts, or doubles
    assert found_boxes(detector(frame)) == [ship]


def test_parts_that_nothing_covers_stay():
    ship = (20, 20, 160, 50)
    found = TiledDetector(PaintedShips(), tile=64, overlap=0.2, full_frame=False)(paint((300, 200), [ship]))
    boxes = np.array(found_boxes(found))
    assert len(boxes) > 1
    assert (boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()) == ([20, 20], [160, 50])


@pytest.mark.parametrize("shift", range(0, 64, 3))
def test_neighbours_and_overlapping_ships_stay_two(shift):
    side_by_side = [(40 + shift, 30, 60 + shift, 42), (60 + shift, 30, 80 + shift, 42)]
    detector = TiledDetector(PaintedShips(), tile=64, overlap=0.4)
    assert found_boxes(detector(paint((300, 200), side_by_side))) == side_by_side
    # One hides a third of the other; IoU .5 would need two thirds.
    first, second = (40 + shift, 30, 58 + shift, 42), (46 + shift, 34, 64 + shift, 46)
    frame = paint((300, 200), [second], channel=1, onto=paint((300, 200), [first]))
    assert found_boxes(detector(frame)) == [first, second]


@pytest.mark.parametrize("shift", range(0, 64, 3))
def test_boat_in_front_of_a_large_ship_stays(shift):
    ship, boat = (30, 20, 200, 80), (40 + shift, 60, 50 + shift, 70)
    frame = paint((300, 200), [boat], channel=1, onto=paint((300, 200), [ship]))
    assert found_boxes(TiledDetector(PaintedShips(), tile=64, overlap=0.3)(frame)) == [ship, boat]


def test_passes_that_disagree_meet_in_the_middle():
    class Imprecise(PaintedShips):
        def __call__(self, picture):
            found = super().__call__(picture)
            if picture.shape == frame.shape:
                found.xyxy[:] += [-2, -1, 2, 1]
            return found

    ship, alone = (70, 75, 80, 83), (150, 20, 240, 60)
    frame = paint((300, 200), [ship, alone])
    # One tile and the frame show the ship; the frame alone shows the other whole. Scores .899 and .499, and .498.
    found = TiledDetector(Imprecise(smallest=1.0), tile=64, overlap=0.1)(frame)
    share = 0.499**2 / (0.899**2 + 0.499**2)
    wanted = [(70 - 2 * share, 75 - share, 80 + 2 * share, 83 + share), (148, 19, 242, 61)]
    np.testing.assert_allclose(found.xyxy, wanted, rtol=1e-6)
    np.testing.assert_allclose(found.score, [0.899, 0.498], rtol=1e-6)


def test_no_ships_and_frames_smaller_than_a_tile():
    detector = TiledDetector(PaintedShips(imgsz=64), tile=64)
    empty = detector(np.zeros((200, 300, 3), np.uint8))
    assert len(empty) == 0
    assert empty.category_names == ("ship", "buoy")
    assert detector.detector.shown[-1] == (300, 200)
    for size in ((64, 64), (1, 1), (64, 1), (30, 50)):
        detector.detector.shown.clear()
        detector(np.zeros((*size[::-1], 3), np.uint8))
        assert detector.detector.shown == [size]  # one look, at the frame as it is
    assert found_boxes(detector(paint((50, 30), [(4, 5, 20, 30)]))) == [(4, 5, 20, 30)]


def test_limit_is_on_the_frame_and_not_on_the_passes():
    ships = [(x, y, x + 6, y + 5) for x in range(0, 290, 20) for y in range(0, 190, 13)]
    assert len(ships) > 200
    plain = PaintedShips(max_det=5)
    frame = paint((300, 200), ships)
    assert len(TiledDetector(plain, tile=64)(frame)) == 5
    assert found_boxes(TiledDetector(plain, tile=64, max_det=1000)(frame)) == sorted(ships)
    best = TiledDetector(plain, tile=64, max_det=7)(frame)
    assert found_boxes(best) == sorted(ships[:7])  # the first colours score best
    assert plain.max_det == 5


def test_parts_take_no_places_from_ships():
    long = [(5, y, 290, y + 15) for y in (0, 17, 34)]  # every tile of the first row sees parts of all three
    boat = (22, 50, 27, 55)  # scores below the parts; the whole frame at its scale does not show it
    found = TiledDetector(PaintedShips(max_det=3), tile=64, overlap=0.1)(paint((300, 200), [*long, boat]))
    assert found_boxes(found) == sorted([boat, *long[:2]])


# --- other policies ----------------------------------------------------------------------------------------------


@given(ship_scenes(), st.sampled_from(["2x1", "3x2", "4x4", "5x1"]))
@settings(max_examples=100, deadline=None)
def test_every_grid_finds_each_ship_that_a_tile_shows_whole_once(scene, text):
    size, tile, overlap, ships = scene
    detector = TiledDetector(PaintedShips(imgsz=tile), text, overlap)
    found = detector(paint(size, ships))
    wh = detector.policy.tile_wh(size, detector.view)
    scale = detector.view.scale(wh)
    visible = [ship for ship in ships if min(ship[2] - ship[0], ship[3] - ship[1]) * scale >= 3]
    assert found_boxes(found) == sorted(visible)


def test_tiles_are_parts_of_the_frame_and_no_copies():
    class Watching(PaintedShips):
        def __call__(self, picture):
            self.shared.append(np.shares_memory(picture, frame))
            return super().__call__(picture)

    frame = paint((300, 200), [(10, 10, 20, 20)])
    for policy in ("64", "3x2", "horizon"):
        plain = Watching()
        plain.shared = []
        TiledDetector(plain, policy)(frame)
        assert len(plain.shared) > 3 and all(plain.shared)


@pytest.mark.parametrize(("whisper", "score"), [(0.05, 0.4), (0.03, None), (None, None)])
def test_boxes_too_weak_to_be_shown_still_agree(whisper, score):
    class Unsure(PaintedShips):
        """Sure of a ship in tiles, hardly so in the whole frame."""

        def __call__(self, picture):
            found = super().__call__(picture)
            said = whisper if picture.shape[1] == 300 else 0.4
            if said is None or said <= self.threshold:
                return Detections.empty(self.category_names)
            return Detections(found.xyxy, np.full(len(found), said, np.float32), found.category, found.image, ("ship",))

    plain = Unsure()
    plain.threshold = 0.25
    found = TiledDetector(plain, tile=64, overlap=0.1)(paint((300, 200), [(5, 5, 50, 50)]))
    assert found.score.tolist() == ([] if score is None else [pytest.approx(score)])
    assert plain.threshold == 0.25


def test_a_row_of_tiles_lies_along_the_horizon():
    rng = np.random.default_rng(1)
    sky_and_sea = np.where(np.arange(400)[:, None] < 150, 200, 90) + rng.normal(0, 3, (400, 600))
    frame = np.repeat(sky_and_sea.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)

    class Blind(PaintedShips):
        def __call__(self, picture):
            self.shown.append(picture.shape[1::-1])
            return Detections.empty(self.category_names)

    detector = TiledDetector(Blind(imgsz=100), "horizon")
    detector(frame)
    assert detector.detector.shown == [(600, 400)] + [(104, 104)] * 7  # the whole frame first
    assert detector.passes == 8
    assert detector.facts(np.array([[600, 400]]))["tiles_per_frame"] == 8.0
    detector(np.zeros((400, 600, 3), np.uint8))  # no horizon: all of it
    assert detector.passes == 8 + 1 + 7 * 5
    assert detector.facts(np.array([[600, 400]]))["tiles_per_frame"] == 22.0


# --- options and protocol ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 5}, "at least 32 pixels"),
        ({"tile": -640}, "at least 32 pixels"),
        ({"overlap": 1.0}, "share of the tile"),
        ({"overlap": -0.1}, "share of the tile"),
        ({"overlap": float("nan")}, "share of the tile"),
        ({"iou": 0}, "IoU threshold"),
        ({"max_det": 0}, "at least one box"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UsageError, match=message):
        TiledDetector(PaintedShips(), **options)


def test_protocol_says_how_many_passes_a_frame_takes():
    detector = TiledDetector(PaintedShips(), tile=640, overlap=0.2)
    assert detector.facts() == {
        "tile": 640,
        "tile_overlap": 0.2,
        "tile_full_frame": True,
        "tile_merge_iou": 0.5,
    }
    sizes = np.array([[1920, 1080], [1920, 1080], [640, 480]])
    assert detector.facts(sizes)["tiles_per_frame"] == round((9 + 9 + 1) / 3, 2)
    assert TiledDetector(PaintedShips(), full_frame=False).facts(sizes[:1])["tiles_per_frame"] == 8
