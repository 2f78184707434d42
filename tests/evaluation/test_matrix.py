"""wutdet eval --matrix: planted twins between training and test frames, cells against pycocotools on what is left."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from wutdet.cli import run as run_command
from wutdet.dataset.load import load_dataset
from wutdet.detections import Detections
from wutdet.errors import DataError, ModelError, UsageError
from wutdet.evaluation.matrix import evaluate_matrix
from wutdet.evaluation.matrix_inputs import Pair

SIZE_WH = (136, 128)
THREE = [(10, 10, 30, 20), (50, 10, 70, 20), (90, 60, 120, 90)]

_ships: dict[bytes, list] = {}  # by the bytes of a frame: where its ships are, which the stand-in detectors know


def scenery(seed: int) -> np.ndarray:
    """A coarse picture that is a stranger to that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 17, 3), dtype=np.uint8)
    return cv2.resize(coarse, SIZE_WH, interpolation=cv2.INTER_NEAREST)


def nearly(picture: np.ndarray) -> np.ndarray:
    out = picture.copy()
    out[60:64, 60:64] += 1
    return out


def ships(seed: int, count: int) -> list[tuple]:
    rng = np.random.default_rng([7, seed])
    low, size = rng.uniform(0, 60, (count, 2)).round(1), rng.uniform(8, 60, (count, 2)).round(1)
    return [tuple(box) for box in np.c_[low, low + size].tolist()]


def make(folder: Path, frames: list[tuple]) -> Path:
    """A COCO folder of frames (picture, ships, split, sequence)."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, (picture, boxes, split, sequence) in enumerate(frames):
        name = f"{number}.png"
        cv2.imwrite(str(folder / "images" / name), picture)
        _ships[picture.tobytes()] = boxes
        keys = {"split": split, "sequence_id": sequence}
        images.append({"id": number + 1, "file_name": name, "width": SIZE_WH[0], "height": SIZE_WH[1],
                       **{key: value for key, value in keys.items() if value}})  # fmt: skip
        for x1, y1, x2, y2 in boxes:
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 0,
                                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]}
    (folder / "all.json").write_text(json.dumps(content))
    return folder


class StandIn:
    """Finds the ships of a frame more or less exactly, in a way that depends on the model's name and the frame."""

    imgsz, max_det = 640, 100
    metadata = SimpleNamespace(end2end=False)
    calls: list[str]

    def __init__(self, model, *, conf=0.001, names=("ship",), **options):
        if not Path(model).exists():
            raise ModelError("no such model", file=model)
        self.name, self.threshold, self.category_names, self.options = Path(model).stem, conf, names, options

    def __call__(self, frame: np.ndarray) -> Detections:
        self.calls.append(self.name)
        return found_by(self.name, frame, self.category_names)


def found_by(name: str, frame: np.ndarray, names=("ship",)) -> Detections:
    truth = np.array(_ships[frame.tobytes()], dtype=float).reshape(-1, 4)
    rng = np.random.default_rng([*name.encode(), len(truth), int(frame.sum())])
    wild = rng.uniform(0, 60, (3, 2))
    xyxy = np.concatenate([truth + rng.normal(0, 2 if name == "sharp" else 5, truth.shape), np.c_[wild, wild + 20]])
    xyxy = np.c_[xyxy[:, :2], np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)]
    score = np.r_[rng.uniform(0.3, 0.9, len(truth)), rng.uniform(0.1, 0.6, 3)]
    zeros = np.zeros(len(score))
    return Detections(xyxy, score, zeros, zeros, names)


@pytest.fixture
def world(tmp_path, monkeypatch) -> Path:
    """Data sets a and b (train, val), c (no splits), and the files of two models; the planted twins are in comments."""
    a_train = [scenery(i) for i in range(4)]
    make(tmp_path / "a", [
        (a_train[0], ships(0, 2), "train", "s0"),
        (a_train[1], THREE, "train", "s1"),
        (a_train[2], ships(2, 1), "train", "s2"),
        (a_train[3], [], "train", "s3"),
        (a_train[0], ships(0, 2), "val", "s4"),                # exactly a training frame of a
        (scenery(10), [(x + 1, y, x2 + 1, y2) for x, y, x2, y2 in THREE], "val", "s5"),  # the same ships moored
        (scenery(11), ships(11, 4), "val", "s2"),              # of a trained sequence
        (scenery(12), ships(12, 2), "val", "s6"),
        (scenery(13), ships(13, 3), "val", "s7"),
    ])  # fmt: skip
    b_train = [scenery(20), scenery(21)]
    make(tmp_path / "b", [
        (b_train[0], ships(20, 1), "train", "s0"),             # sequence names of other sets mean nothing
        (b_train[1], ships(21, 1), "train", "s1"),
        (a_train[1], THREE, "val", "s2"),                      # exactly a training frame of a
        (nearly(a_train[2]), ships(2, 1), "val", "s3"),        # near a training frame of a
        (scenery(22), ships(22, 4), "val", "s4"),
        (scenery(23), ships(23, 5), "val", "s5"),
        (scenery(24), [], "val", "s6"),
    ])  # fmt: skip
    make(tmp_path / "c", [
        (nearly(b_train[0]), ships(30, 2), None, None),        # near a training frame of b
        (a_train[3], ships(31, 2), None, None),                # exactly a training frame of a
        (scenery(32), ships(32, 4), None, None),
        (scenery(33), ships(33, 3), None, None),
    ])  # fmt: skip
    for name in ("sharp", "dull"):
        (tmp_path / f"{name}.pt").write_text("model")
    monkeypatch.setattr(StandIn, "calls", [], raising=False)
    monkeypatch.setattr("wutdet.runtime.load.Detector", StandIn)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reference(model: str, data: Path, split: str | None, without: set[int]) -> tuple[int, dict]:
    """Frames and figures by pycocotools, on the frames of a split without some rows of the annotation file."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content = json.loads((data / "all.json").read_text())
    chosen = [
        image
        for row, image in enumerate(content["images"])
        if row not in without and (split is None or image.get("split") == split)
    ]
    ids = {image["id"] for image in chosen}
    results = []
    for image in chosen:
        found = found_by(model, cv2.imread(str(data / "images" / image["file_name"])))
        for box, score in zip(found.xyxy.astype(float), found.score.astype(float), strict=True):
            xywh = [*box[:2], *(box[2:] - box[:2])]
            results.append({"image_id": image["id"], "category_id": 1, "bbox": xywh, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        annotations = [annotation for annotation in content["annotations"] if annotation["image_id"] in ids]
        truth.dataset = {**content, "images": chosen, "annotations": annotations}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [None if value == -1 else float(value) for value in evaluation.stats]
    return len(chosen), {"AP": stats[0], "AP50": stats[1], "APs": stats[3]}


#: Rows that must go, by (training set, test set).
PLANTED = {
    ("a", "a"): {4: "exact", 5: "objects"},
    ("a", "b"): {2: "exact", 3: "near"},
    ("a", "c"): {1: "exact"},
    ("b", "a"): {},
    ("b", "b"): {},
    ("b", "c"): {0: "near"},
}


def test_every_cell_is_scored_without_the_planted_twins(world):
    result = evaluate_matrix(["sharp.pt=a", "dull.pt=b", "=c"], resamples=50)
    assert [test["name"] for test in result.tests] == ["a", "b", "c"]
    assert [test["split"] for test in result.tests] == ["val", "val", None]
    for model, trained_on in (("sharp", "a"), ("dull", "b")):
        for test, split in (("a", "val"), ("b", "val"), ("c", None)):
            cell = result.cell(model, test)
            planted = PLANTED[trained_on, test]
            frames, figures = reference(model, world / test, split, set(planted))
            kinds = list(planted.values())
            assert cell["trained_on"] == trained_on and cell["own"] == (trained_on == test)
            assert cell["removed_by"] == {kind: kinds.count(kind) for kind in ("exact", "near", "objects")}
            assert (cell["frames"], cell["removed"]) == (frames, len(planted))
            assert {stat: cell[stat] for stat in figures} == pytest.approx(figures, abs=1e-9)
            low, high = cell["intervals"]["AP"]
            assert 0 <= low < high <= 1
    assert result.cell("sharp", "a")["same_sequence"] == 1 and result.cell("sharp", "b")["same_sequence"] is None
    assert result.cell("dull", "b")["same_sequence"] == 0
    # Every model sees each test frame once, also the frames that are then removed.
    assert StandIn.calls.count("sharp") == StandIn.calls.count("dull") == 5 + 5 + 4


def test_means_gap_and_the_comparison_on_what_no_model_was_trained_on(world):
    result = evaluate_matrix(["sharp.pt=a", "dull.pt=b", "=c"], resamples=0)
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["schema"] == "wutdet.matrix/1"
    figures = {
        (model, test): reference(model, world / test, split, set(PLANTED[trained, test]))[1]
        for model, trained in (("sharp", "a"), ("dull", "b"))
        for test, split in (("a", "val"), ("b", "val"), ("c", None))
    }
    for stat in ("AP", "AP50", "APs"):
        own, other = figures["sharp", "a"][stat], (figures["sharp", "b"][stat] + figures["sharp", "c"][stat]) / 2
        assert content["own"]["sharp"][stat] == pytest.approx(own, abs=1e-9)
        assert content["mean_other"]["sharp"][stat] == pytest.approx(other, abs=1e-9)
        assert content["generalisation_gap"]["sharp"][stat] == pytest.approx(own - other, abs=1e-9)
    # c/0 is a twin of b's training frames, c/1 of a's: neither counts for either model.
    unseen = content["unseen"]
    assert unseen["tests"] == ["c"] and unseen["frames"] == {"c": 2}
    for model in ("sharp", "dull"):
        assert unseen["mean"][model] == pytest.approx(reference(model, world / "c", None, {0, 1})[1], abs=1e-9)
    assert unseen["best"] == "sharp"
    assert all(cell["intervals"] == {} for cell in content["cells"])


def test_text_marks_the_diagonal_and_says_what_was_removed(world):
    result = evaluate_matrix(["sharp.pt=a", "dull.pt=b", "=c"], resamples=50)
    text = result.to_text()
    for model, test in (("sharp", "a"), ("dull", "b")):
        assert f"*{result.cell(model, test)['AP']:.3f} [" in text
    assert text.count("*0.") + text.count("*1.") == 6  # two models, three figures
    frames = next(lines for lines in text.split("\n\n") if lines.startswith("frames scored")).splitlines()
    assert frames[1].split() == ["sharp", "a", "3", "(-2)", "3", "(-2)", "3", "(-1)"]
    assert frames[2].split() == ["dull", "b", "5", "5", "3", "(-1)"]
    assert "3 exact, 2 near, 1 objects" in text
    assert "sharp on a: 1 of 3 frames are of sequences it was trained on" in text
    # Sequences of a/val that are left: s2, s6, s7.
    assert result.cell("sharp", "a")["unit"] == "sequence" and "! only 3 sequences" in text
    assert "best there: sharp (trained on a)" in text and "c (2 frames)" in text


def test_a_set_without_splits_leaves_nothing_of_itself_to_its_own_model(world):
    result = evaluate_matrix(["sharp.pt=c", "dull.pt=b"], resamples=0)
    cell = result.cell("sharp", "c")
    assert (cell["frames"], cell["removed"], cell["removed_by"]["exact"]) == (0, 4, 4)
    assert cell["AP"] is None and result.own()["sharp"]["AP"] is None
    assert result.generalisation_gap()["sharp"]["AP"] is None and result.mean_other()["sharp"]["AP"] is not None
    assert result.unseen is None
    assert "none" in result.to_text() and "gives a ranking" in result.to_text()
    # b's training frame 0 is near c/0, and so c's frames near b's test frames would count the other way round.
    assert result.cell("dull", "c")["removed"] == 1 and result.cell("sharp", "b")["removed"] == 0


def test_models_may_share_a_training_set_or_have_none_here(world):
    result = evaluate_matrix(["sharp.pt=a", "dull.pt=a", "=c"], resamples=0)
    assert result.tests[0]["trained_by"] == ["sharp", "dull"] and result.unseen["tests"] == ["c"]
    assert result.unseen["frames"] == {"c": 3}
    result = evaluate_matrix(["sharp.pt=", "=c"], resamples=0)
    cell = result.cell("sharp", "c")
    assert (cell["trained_on"], cell["own"], cell["frames"], cell["removed"]) == (None, False, 4, 0)
    assert result.own() == {"sharp": None} and result.unseen is None
    assert "its training data is not here" in result.to_text()


def test_a_training_file_alone_is_no_test_set(world, caplog):
    content = json.loads((world / "a/all.json").read_text())
    content["images"] = [image for image in content["images"] if image["split"] == "train"]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in ids]
    (world / "a/train.json").write_text(json.dumps(content))
    result = evaluate_matrix(["sharp.pt=a/train.json", "=b"], resamples=0)
    assert [test["name"] for test in result.tests] == ["b"] and result.models[0]["trained_on"] == "a-train"
    assert result.cell("sharp", "b")["removed_by"] == {"exact": 1, "near": 1, "objects": 0}
    assert result.own()["sharp"] is None
    with pytest.raises(DataError, match=r"pair 'sharp.pt=a/train.json': split 'val' has no frames"):
        evaluate_matrix(["sharp.pt=a/train.json", "=b"], split="val", resamples=0)


def test_the_command_runs_it_and_its_options_reach_the_detectors(world, monkeypatch, capsys):
    made = []

    class Noting(StandIn):
        def __init__(self, model, **options):
            super().__init__(model, **options)
            made.append(options)

    monkeypatch.setattr("wutdet.runtime.load.Detector", Noting)
    arguments = ["eval", "--matrix", "sharp.pt=a", "=c", "--imgsz", "320", "--conf", "0.01", "--resamples", "20"]
    assert run_command([*arguments, "--json", "matrix.json"]) == 0
    assert made[0]["imgsz"] == 320 and made[0]["conf"] == 0.01 and made[0]["max_det"] >= 100
    assert "frames scored" in capsys.readouterr().out
    content = json.loads(Path("matrix.json").read_text())
    assert content["schema"] == "wutdet.matrix/1" and content["protocol"]["resamples"] == 20
    assert [cell["removed"] for cell in content["cells"]] == [2, 1]


def test_pairs_are_split_where_the_files_are(world):
    assert Pair.parse("sharp.pt=a") == Pair("sharp.pt=a", "sharp.pt", "a")
    assert Pair.parse("=c").model is None and Pair.parse("default=a").model == "default"
    (world / "lr=0.1").mkdir()
    (world / "lr=0.1/best.pt").write_text("model")
    assert Pair.parse("lr=0.1/best.pt=a").model == "lr=0.1/best.pt"


def test_models_of_equal_file_names_are_told_apart(world):
    for run in ("x", "y"):
        (world / run).mkdir()
        (world / run / "sharp.pt").write_text("model")
    result = evaluate_matrix(["x/sharp.pt=a", "y/sharp.pt=b"], resamples=0)
    assert [model["name"] for model in result.models] == ["x/sharp.pt", "y/sharp.pt"]


@pytest.mark.parametrize(
    ("pairs", "error", "words"),
    [
        (["sharp.pt"], UsageError, "'sharp.pt' is not MODEL=DATA"),
        (["="], UsageError, "'=' is not MODEL=DATA"),
        ([], UsageError, "no model to test"),
        (["=c"], UsageError, "no model to test"),
        (["sharp.pt="], UsageError, "none of the data sets has frames"),
        (["sharp.pt=a", "./sharp.pt=b"], UsageError, "pair 'sharp.pt=a' and in pair './sharp.pt=b'"),
        (["sharp.pt=a", "=c", "=./c"], UsageError, "pair '=c' and in pair '=./c'"),
        (["=a", "sharp.pt=a"], UsageError, "pair 'sharp.pt=a' and in pair '=a'"),
        (["sharp.pt=a", "gone.pt=b"], ModelError, "pair 'gone.pt=b': no such model"),
        (["sharp.pt=a", "dull.pt=gone"], DataError, "pair 'dull.pt=gone': no such data set"),
    ],
)
def test_bad_pairs_are_refused_by_name(world, pairs, error, words):
    with pytest.raises(error) as caught:
        evaluate_matrix(pairs, resamples=0)
    assert words in str(caught.value)
    assert StandIn.calls == []  # before any frame is looked at


def test_categories_and_damaged_frames_are_told_with_pair_and_set(world, monkeypatch):
    (world / "c/images/2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2\.png.*pair 'sharp.pt=a' on 'c'"):
        evaluate_matrix(["sharp.pt=a", "=c"], resamples=0)
    monkeypatch.setattr(StandIn.__init__, "__kwdefaults__", {"conf": 0.001, "names": ("car", "boat")})
    with pytest.raises(DataError, match=r"pair 'sharp.pt=a' on 'a'.*does not know: ship"):
        evaluate_matrix(["sharp.pt=a"], resamples=0)


def test_a_real_checkpoint_and_its_artefact_agree_with_eval(checkpoints, artefact, dataset_file, tmp_path):
    """Annotated with what the yolo26n checkpoint finds, so that one is best; nothing is a stand-in here."""
    from wutdet.evaluation.model import evaluate_model
    from wutdet.runtime.detector import Detector

    onnx = artefact("yolo26n", "nms", "fp32")
    other = checkpoints["yolo11n"]
    options = {"conf": 0.01, "max_det": 100}
    result = evaluate_matrix(
        [f"{onnx}={dataset_file}", f"{other}={dataset_file}"], resamples=0, detector_options=options
    )
    for path in (onnx, other):
        cell = result.cell(Path(path).stem, result.tests[0]["name"])
        val = load_dataset(dataset_file, "val", classes="ship")
        _, direct = evaluate_model(Detector(path, **options), val)
        assert cell["removed"] == 0 and cell["frames"] == 4
        assert cell["AP"] == pytest.approx(direct.stats["AP"], abs=1e-9)
    assert result.cells[0]["AP"] > result.cells[1]["AP"] + 0.2
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx.*pair '.*broken\.onnx="):
        evaluate_matrix([f"{tmp_path / 'broken.onnx'}={dataset_file}"], resamples=0)
