from collections import Counter

import numpy as np
import pytest
from evaluation_content import jittered, objects_of, small_dataset

from wutdet.report.worst import SHOWN, badness, choose_worst, crops


def many(rng, count=3000) -> dict[str, np.ndarray]:
    kinds = np.array(["hit", "miss", "false_alarm", "duplicate", "localisation", "ignored"])
    kind = kinds[rng.integers(0, len(kinds), count)]
    size = rng.uniform(2, 200, count)
    return {"kind": kind, "size_px": size, "score": np.where(kind == "miss", np.nan, rng.random(count)),
            **squares(size, places(count))}  # fmt: skip


def places(count: int) -> np.ndarray:
    """float64 [2, count]: corners so far from one another that nothing is a repetition."""
    return 250.0 * np.stack(np.divmod(np.arange(count), 60))


def squares(size_px: np.ndarray, corner: np.ndarray) -> dict[str, np.ndarray]:
    return {"x1": corner[0], "y1": corner[1], "x2": corner[0] + size_px, "y2": corner[1] + size_px}


def test_each_kind_has_its_worst_first_and_kinds_take_turns(rng):
    objects = many(rng)
    one = np.zeros(len(objects["kind"]), dtype=int)
    rows = choose_worst(objects, one, np.arange(len(one)))
    kinds = objects["kind"][rows]
    assert Counter(kinds.tolist()) == {kind: SHOWN[kind][1] for kind in np.unique(kinds)}
    assert set(kinds) == {"miss", "false_alarm", "duplicate", "localisation"}
    assert kinds[:4].tolist() == ["miss", "false_alarm", "localisation", "duplicate"]
    # With one bin and every object in a sequence of its own, these are simply the worst of all.
    sizes = np.sort(objects["size_px"][objects["kind"] == "miss"])[::-1][:40]
    assert objects["size_px"][rows[kinds == "miss"]].tolist() == sizes.tolist()
    scores = np.sort(objects["score"][objects["kind"] == "false_alarm"])[::-1][:40]
    assert objects["score"][rows[kinds == "false_alarm"]].tolist() == scores.tolist()


def test_size_bins_share_the_room_evenly(rng):
    objects = many(rng)
    bins = np.searchsorted([8, 16, 32, 96], objects["size_px"])
    rows = choose_worst(objects, bins, np.arange(len(bins)))
    misses = rows[objects["kind"][rows] == "miss"]
    assert Counter(bins[misses].tolist()) == dict.fromkeys(range(5), 8)
    for b in range(5):
        of_bin = objects["size_px"][(bins == b) & (objects["kind"] == "miss")]
        assert sorted(objects["size_px"][misses[bins[misses] == b]]) == sorted(np.sort(of_bin)[-8:])


def test_one_static_camera_does_not_fill_the_gallery(rng):
    """300 misses of one sequence, all bigger than five of five others: the others are all shown."""
    size = np.concatenate([np.linspace(60, 90, 300), np.linspace(40, 50, 5)])
    objects = {"kind": np.array(["miss"] * 305), "score": np.full(305, np.nan), "size_px": size,
               **squares(size, places(305))}  # fmt: skip
    groups = np.concatenate([np.zeros(300, int), np.arange(1, 6)])
    rows = choose_worst(objects, np.zeros(305, int), groups)
    assert len(rows) == 40 and set(range(300, 305)) <= set(rows.tolist())
    assert badness(objects)[rows].tolist() == sorted(badness(objects)[rows], reverse=True)


def test_a_buoy_in_every_frame_is_shown_once_before_it_is_shown_again(rng):
    """200 false alarms at one buoy, with higher scores than 39 elsewhere in the same sequence and 20 of other sizes."""
    size = np.concatenate([np.full(200, 60.0), np.full(39, 60.0), np.full(20, 12.0)])
    corner = np.concatenate([rng.uniform((604, 284), (616, 296), (200, 2)), [(128.0 * i, 900.0) for i in range(39)],
                             [(64.0 * i, 100.0) for i in range(20)]]).T  # fmt: skip
    score = np.concatenate([np.linspace(0.9, 0.8, 200), np.linspace(0.7, 0.5, 39), np.full(20, 0.4)])
    kind = np.array(["false_alarm"] * 259)
    objects = {"kind": kind, "size_px": size, "score": score, **squares(size, corner)}
    rows = choose_worst(objects, (size > 16).astype(int), np.zeros(259, int))
    assert rows.tolist() == [0, *range(200, 219), *range(239, 259)]
    # In another sequence, the same place is another thing.
    assert set(choose_worst(objects, np.zeros(259, int), np.arange(259) // 100).tolist()) >= {0, 100, 200}
    # Repetitions fill what room is left, at the end.
    few = {name: values[:250] for name, values in objects.items()}
    few = {name: np.concatenate([values[:200], values[239:]]) for name, values in few.items()}
    assert choose_worst(few, np.zeros(211, int), np.zeros(211, int)).tolist() == [0, *range(200, 211), *range(1, 29)]


def test_nothing_to_choose_from():
    objects = {"kind": np.array(["hit"]), "score": np.array([0.5]), "size_px": np.array([4.0]),
               **squares(np.array([4.0]), np.zeros((2, 1)))}  # fmt: skip
    assert choose_worst(objects, np.zeros(1, int), np.zeros(1, int)).tolist() == []
    nothing = {"kind": np.array([], dtype=str), "score": np.zeros(0), "size_px": np.zeros(0),
               **squares(np.zeros(0), np.zeros((2, 0)))}  # fmt: skip
    assert choose_worst(nothing, np.zeros(0, int), np.zeros(0, int)).tolist() == []


def boxes(*rows) -> dict[str, np.ndarray]:
    kind, image, score, xyxy = zip(*rows, strict=True)
    x1, y1, x2, y2 = np.array(xyxy, dtype=float).T
    return {"kind": np.array(kind), "image": np.array(image), "score": np.array(score, dtype=float),
            "x1": x1, "y1": y1, "x2": x2, "y2": y2}  # fmt: skip


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(v) for v in pixel) for pixel in image.reshape(-1, 3)}


PINK, ORANGE, GREEN, WHITE = (208, 63, 255), (0, 128, 255), (140, 201, 0), (255, 255, 255)


@pytest.fixture
def dataset(tmp_path, write_picture):
    return small_dataset(tmp_path / "data", write_picture)


def test_crops_show_the_box_its_neighbours_and_the_pixels_of_the_frame(dataset):
    # Frame 0 has ships at (48, 100, 54, 106), (160, 100, 180, 120) and (400, 100, 450, 150).
    objects = boxes(
        ("false_alarm", 0, 0.9, (190, 104, 200, 112)),
        ("hit", 0, 0.8, (163, 102, 183, 122)),
        ("miss", 0, np.nan, (400, 100, 450, 150)),
        ("hit", 0, 0.1, (186, 100, 192, 106)),
    )
    (crop, ship), unread = crops(dataset, objects, np.array([0, 2]), 0.25)
    assert unread == [] and (crop.row, ship.row) == (0, 2)
    assert crop.image.shape == (320, 320, 3) and crop.factor == 5  # 64 px around the box, five times
    assert {PINK, GREEN, WHITE} <= colours(crop.image) and ORANGE not in colours(crop.image)
    assert ORANGE in colours(ship.image) and ship.factor == 2
    # What no box covers is the frame, pixel for pixel: x 163..227, y 76..140 around (195, 108).
    frame = dataset.read_image(0)
    inner = crop.image[40 * 5 + 2 : 55 * 5 : 5, 45 * 5 + 2 : 60 * 5 : 5]
    assert (inner == frame[76 + 40 : 76 + 55, 163 + 45 : 163 + 60]).all()
    # Only what has the score is drawn: the second hit lies beside the false alarm, at x 115..145 of the crop.
    low, _ = crops(dataset, objects, np.array([0]), 0.05)
    assert (low[0].image != crop.image).any()


def test_crops_of_boxes_at_borders_and_bigger_than_the_crop(dataset):
    objects = boxes(
        ("false_alarm", 1, 0.9, (-5, -5, 4, 4)),
        ("miss", 1, np.nan, (0, 0, 640, 360)),
        ("miss", 1, np.nan, (630, 350, 640, 360)),
    )
    made, _ = crops(dataset, objects, np.array([2, 1, 0]), 0.25)
    assert [crop.row for crop in made] == [2, 1, 0]
    assert [crop.image.shape for crop in made] == [(320, 320, 3), (60, 107, 3), (320, 320, 3)]
    assert all(len(colours(crop.image) & {PINK, ORANGE}) for crop in made)


def test_frames_that_cannot_be_read_are_named(dataset):
    dataset.image_file(2).unlink()
    objects = boxes(("miss", 2, np.nan, (0, 0, 9, 9)), ("miss", 3, np.nan, (0, 0, 9, 9)))
    made, unread = crops(dataset, objects, np.array([0, 1]), 0.25)
    assert [crop.row for crop in made] == [1] and unread == ["frame 2.png"]


def test_the_table_made_for_these_tests_counts_every_box_once(dataset, rng):
    found = jittered(dataset, rng)
    objects = objects_of(dataset, found)
    assert sorted(objects["detection"][objects["detection"] >= 0].tolist()) == list(range(len(found)))
    ships = objects["box"][np.isin(objects["kind"], ["hit", "miss"])]
    assert sorted(ships.tolist()) == list(range(dataset.box_count))
