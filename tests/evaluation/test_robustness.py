"""``evaluate_robustness``: figures, boxes and frames, with a detector that finds bright rectangles by looking."""

from __future__ import annotations

import json
import logging

import cv2
import numpy as np
import pytest

from wutdet.corrupt.draws import derived_seed
from wutdet.corrupt.frame import corrupt
from wutdet.corrupt.severities import NAMES
from wutdet.dataset.load import load_dataset
from wutdet.detections import Detections
from wutdet.errors import DataError, UsageError
from wutdet.evaluation import robustness as room
from wutdet.evaluation.coco import evaluate
from wutdet.evaluation.robustness import choose_frames, evaluate_robustness, frame_horizons, robustness_text

SIZE_WH = (240, 160)
SOME = ("contrast", "noise", "horizon_tilt")


class Looker:
    """Finds connected bright areas; red ones are tugs, others are ships. Stands in for wutdet.Detector."""

    def __init__(self, names=("ship",), extra=0):
        self.category_names, self.extra, self.calls = names, extra, 0

    def __call__(self, frame: np.ndarray) -> Detections:
        self.calls += 1
        lit = cv2.compare(np.ascontiguousarray(frame.max(axis=2)), 150, cv2.CMP_GT)
        _, _, stats, _ = cv2.connectedComponentsWithStats(lit)
        found = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= 4][:60].astype(float)
        xyxy = np.c_[found[:, :2], found[:, :2] + found[:, 2:4]]
        red = np.array([frame[int(y + h / 2), int(x + w / 2), 0] < 100 for x, y, w, h, _ in found], dtype=bool)
        category = (
            np.where(red, self.category_names.index("tug"), 0) if "tug" in self.category_names else np.zeros(len(red))
        )
        score = 0.9 - 0.001 * np.arange(len(xyxy))
        if self.extra:  # boxes on nothing, better and worse than the others
            rng = np.random.default_rng(len(xyxy))
            corner = rng.uniform(0, 100, (self.extra, 2))
            xyxy = np.r_[xyxy, np.c_[corner, corner + 9]]
            category = np.r_[category, rng.integers(0, len(self.category_names), self.extra)]
            score = np.r_[score, rng.uniform(0.1, 0.95, self.extra)]
            order = rng.permutation(len(score))
            xyxy, category, score = xyxy[order], category[order], score[order]
        return Detections(xyxy, score, category, np.zeros(len(score)), self.category_names)


def write_harbour(folder, *, frames=6, names=("ship",), with_boxes=True, corner=False):
    """Frames of three sequences with one to three bright ships each, as a COCO file."""
    (folder / "images").mkdir(parents=True)
    truth = {"images": [], "annotations": [], "categories": [{"id": i + 1, "name": n} for i, n in enumerate(names)]}
    for i in range(frames):
        frame = np.full((*SIZE_WH[::-1], 3), 30, np.uint8)
        for k in range(1 + i % 3 if with_boxes else 0):
            kind = (i + k) % len(names)
            x, y, w, h = 60 + 40 * k, 60 + 8 * i % 40, 14, 10
            if corner:
                x, y = 0, 0
            frame[y : y + h, x : x + w] = ((250, 250, 250), (40, 40, 250))[kind]
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, "image_id": i + 1, "category_id": kind + 1, "bbox": [x, y, w, h],
                 "area": w * h, "iscrowd": 0}
            )  # fmt: skip
            if corner:
                break
        cv2.imwrite(str(folder / "images" / f"{i}.png"), frame)
        truth["images"].append(
            {"id": i + 1, "file_name": f"{i}.png", "width": SIZE_WH[0], "height": SIZE_WH[1],
             "sequence_id": f"s{i // 2}"}
        )  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(truth))
    return load_dataset(folder / "truth.json", classes="keep")


@pytest.fixture
def harbour(tmp_path):
    return write_harbour(tmp_path / "harbour")


def run(detector, dataset, **options):
    return evaluate_robustness(
        detector, dataset, **{"names": SOME, "severities": (1, 3, 5), "progress": False, **options}
    )


def test_the_figures_are_those_of_evaluating_each_corrupted_set(harbour):
    """Recomputed frame by frame with the public pieces, without the code under test."""
    got = run(Looker(), harbour, seed=7, horizon=0.5)
    for entry in got["corruptions"]:
        if entry["name"] == "horizon_tilt":
            continue
        for place, severity in enumerate((1, 3, 5)):
            parts = []
            for row in range(len(harbour)):
                seed = derived_seed(7, harbour.path[row])
                bad = corrupt(harbour.read_image(row), entry["name"], severity, seed=seed, horizon=0.5)
                parts.append(Looker()(bad).at_row(row))
            stats = evaluate(harbour, Detections.concatenate(parts)).stats
            assert [entry[key][place] for key in ("AP", "AP50", "APs")] == [stats[k] for k in ("AP", "AP50", "APs")]


def test_the_json_form_and_its_sums(harbour):
    got = run(Looker(), harbour)
    json.dumps(got, allow_nan=False)
    assert got["clean"] == {"AP": 1.0, "AP50": 1.0, "APs": 1.0}
    assert (got["frames"], got["frames_of"], got["severities"], got["seed"]) == (6, 6, [1, 3, 5], 0)
    assert [(row["name"], row["group"]) for row in got["corruptions"]] == [
        ("contrast", "light"), ("noise", "camera"), ("horizon_tilt", "pose"),
    ]  # fmt: skip
    for row in got["corruptions"]:
        assert len(row["AP"]) == len(row["AP50"]) == len(row["APs"]) == 3
        assert row["mean_AP"] == pytest.approx(sum(row["AP"]) / 3)
        assert row["loss_AP"] == pytest.approx(1 - row["mean_AP"])
        assert row["relative_loss"] == pytest.approx(row["loss_AP"])
    assert got["mean_AP"] == pytest.approx(np.mean([row["AP"] for row in got["corruptions"]]))
    assert got["mean_loss_AP"] == pytest.approx(1 - got["mean_AP"])
    contrast = got["corruptions"][0]["AP"]
    assert contrast[0] == 1 and contrast[2] == 0, "white falls below the detector's threshold at severity 5"


def test_all_corruptions_by_default_and_the_same_twice(harbour):
    once, twice = (evaluate_robustness(Looker(), harbour, max_frames=2, progress=False) for _ in range(2))
    assert once == twice
    assert [row["name"] for row in once["corruptions"]] == list(NAMES)
    assert all(len(row["AP"]) == 5 for row in once["corruptions"])


def test_boxes_turn_with_the_frame(harbour):
    """The detector boxes what it sees; boxes left where they lay would be hit by almost nothing at 16 degrees."""
    row = run(Looker(), harbour, names=("horizon_tilt",), severities=(2, 5))["corruptions"][0]
    assert min(row["AP50"]) > 0.95
    parts = [
        Looker()(corrupt(harbour.read_image(i), "horizon_tilt", 5, seed=derived_seed(0, harbour.path[i]))).at_row(i)
        for i in range(len(harbour))
    ]
    assert evaluate(harbour, Detections.concatenate(parts)).stats["AP50"] < 0.5


def test_ships_that_leave_the_frame_are_not_missed(tmp_path):
    """A ship in the corner turns out of the frame whichever way it rolls: no such objects, not an AP of 0."""
    dataset = write_harbour(tmp_path / "corner", frames=2, corner=True)
    row = run(lambda frame: Detections.empty(), dataset, names=("horizon_tilt", "contrast"), severities=(5,))
    tilt, contrast = row["corruptions"]
    assert tilt["AP"] == [None] and tilt["mean_AP"] is None and tilt["relative_loss"] is None
    assert contrast["AP"] == [0.0]
    assert row["mean_AP"] == 0.0


def test_every_frame_is_decoded_once_and_clean_figures_save_a_pass(harbour, monkeypatch):
    decoded = []
    read = type(harbour).read_image
    monkeypatch.setattr(type(harbour), "read_image", lambda self, row: decoded.append(row) or read(self, row))
    detector = Looker()
    first = run(detector, harbour)
    assert sorted(decoded) == list(range(6))
    assert detector.calls == 6 * (9 + 1)
    found = Detections.concatenate([Looker()(read(harbour, row)).at_row(row) for row in range(6)])
    for clean, calls, options in (
        (evaluate(harbour, found), 6 * 9, {}),
        (evaluate(harbour, found, preset="aitod"), 6 * 10, {}),  # other bins
        (evaluate(harbour, found), 3 * 10, {"max_frames": 3}),  # other frames
    ):
        detector.calls = 0
        got = run(detector, harbour, clean=clean, **options)
        assert detector.calls == calls
        assert options or got == first


def test_a_frames_corruptions_do_not_depend_on_the_other_frames(harbour):
    def looks(dataset, **options) -> tuple[dict, set[bytes]]:
        seen = set()

        def detector(frame):
            seen.add(frame.tobytes())
            return Looker()(frame)

        return run(detector, dataset, horizon=0.5, **options), seen

    everything, all_seen = looks(harbour)
    part, some_seen = looks(harbour, max_frames=3)
    alone, alone_seen = looks(harbour.select(choose_frames(harbour, 3)))
    assert some_seen == alone_seen and some_seen < all_seen
    assert {**part, "frames_of": 3} == alone
    assert (part["frames"], part["frames_of"], everything["frames"]) == (3, 6, 6)
    _, other_seed = looks(harbour, seed=1, names=("noise",))
    assert len(other_seed & all_seen) == 6, "only the clean frames are the same"


def test_several_categories_are_matched_by_name(tmp_path):
    dataset = write_harbour(tmp_path / "two", names=("ship", "tug"))
    got = run(Looker(names=("ship", "buoy", "tug")), dataset, names=("contrast", "horizon_tilt"), severities=(1,))
    assert got["clean"]["AP"] == 1.0
    assert got["corruptions"][0]["AP"] == [1.0] and got["corruptions"][1]["AP50"][0] > 0.95
    with pytest.raises(DataError, match="categories that the model does not know: tug"):
        run(Looker(names=("ship", "buoy")), dataset)


def test_boxes_beyond_cocos_limit_are_dropped_without_changing_figures(tmp_path):
    dataset = write_harbour(tmp_path / "two", names=("ship", "tug"))
    detector = Looker(names=("ship", "tug"), extra=400)
    got = run(detector, dataset, names=("contrast",), severities=(1,))
    found = Detections.concatenate([detector(dataset.read_image(row)).at_row(row) for row in range(len(dataset))])
    stats = evaluate(dataset, found).stats
    assert len(found) > 400 * len(dataset)
    assert got["clean"] == {key: stats[key] for key in ("AP", "AP50", "APs")}
    assert 0 < got["clean"]["AP"] < 1


def test_frames_are_chosen_evenly_over_sequences(tmp_path):
    dataset = write_harbour(tmp_path / "many", frames=12)  # six sequences of two
    assert choose_frames(dataset, None).tolist() == list(range(12)) == choose_frames(dataset, 12).tolist()
    assert choose_frames(dataset, 99).tolist() == list(range(12))
    rows = choose_frames(dataset, 6)
    assert sorted(np.asarray(dataset.sequence.codes)[rows].tolist()) == list(range(6))
    shuffled = dataset.select(np.random.default_rng(1).permutation(12))
    assert sorted(np.asarray(shuffled.sequence.codes)[choose_frames(shuffled, 6)].tolist()) == list(range(6))
    assert len(choose_frames(dataset, 5)) == len(set(choose_frames(dataset, 5).tolist())) == 5
    with pytest.raises(UsageError, match="max_frames=0"):
        choose_frames(dataset, 0)


def test_horizons_come_from_far_ships_or_are_assumed(tmp_path):
    near = write_harbour(tmp_path / "near")
    share, origin = frame_horizons(near)
    assert origin == "assumed" and (share == 0.45).all()
    far = write_harbour(tmp_path / "far", frames=6)
    far.area[:], far.xyxy[:, 3] = 4, 0.3 * SIZE_WH[1]
    far.sequence.codes[:] = 0
    share, origin = frame_horizons(far)
    assert origin == "estimated" and share == pytest.approx(0.3)


def test_a_set_without_boxes_has_no_figures(tmp_path):
    dataset = write_harbour(tmp_path / "empty", frames=2, with_boxes=False)
    got = run(Looker(), dataset, names=("contrast",), severities=(1,))
    assert got["clean"] == {"AP": None, "AP50": None, "APs": None}
    assert got["corruptions"][0]["mean_AP"] is None and got["mean_loss_AP"] is None
    assert "none" in robustness_text(got)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ("fogg",)}, "unknown corruption 'fogg'.*Did you mean 'fog'"),
        ({"severities": (0,)}, "from 1 to 5, received 0"),
        ({"names": ()}, "no corruptions"),
        ({"severities": ()}, "no severities"),
        ({"names": ("fog", "fog")}, "named twice"),
        ({"max_frames": 0}, "at least one frame"),
    ],
)
def test_what_cannot_be_is_refused_before_any_frame_is_seen(harbour, options, message):
    detector = Looker()
    with pytest.raises(UsageError, match=message):
        run(detector, harbour, **options)
    assert detector.calls == 0


def test_no_frames_and_unreadable_frames(harbour):
    with pytest.raises(DataError, match="no frames"):
        run(Looker(), harbour.select(np.zeros(0, dtype=np.int64)))
    harbour.image_file(3).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"3\.png"):
        run(Looker(), harbour)


def test_an_error_of_the_detector_ends_the_run(harbour):
    def broken(frame):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run(broken, harbour)


def test_progress_goes_to_the_log_where_there_is_no_terminal(harbour, caplog):
    caplog.set_level(logging.INFO, logger=room.__name__)
    run(Looker(), harbour, names=("contrast",), severities=(1, 2), progress=True)
    lines = [record.message for record in caplog.records]
    assert lines[-1] == "corrupted frames: 18 of 18" and 5 <= len(lines) <= 20


def test_the_table_names_everything_worst_first(harbour):
    got = run(Looker(), harbour, max_frames=4)
    lines = robustness_text(got).splitlines()
    assert "4 of 6 frames" in lines[0] and "clean: AP 1.000" in lines[0]
    order = [line.split()[0] for line in lines[2:-1]]
    losses = {row["name"]: row["loss_AP"] for row in got["corruptions"]}
    assert set(order) == set(SOME) and [losses[n] for n in order] == sorted(losses.values(), reverse=True)
    contrast = next(row for row in got["corruptions"] if row["name"] == "contrast")
    shown = next(line for line in lines if line.split()[0] == "contrast").split()
    assert shown[1:6] == [f"{v:.3f}" for v in (*contrast["AP"], contrast["mean_AP"], contrast["loss_AP"])]
    assert lines[-1].split()[:3] == ["mean", f"{got['mean_AP']:.3f}", f"{got['mean_loss_AP']:.3f}"]
    assert all(len(line) <= 120 for line in lines)
    older = {key: value for key, value in got.items() if key != "frames_of"}
    assert "(4 frames)" in robustness_text(older)
