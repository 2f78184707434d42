"""``wutdet bench tiling`` and ``wutdet bench merge``: rows, front, choice. No test looks at how long anything takes."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from tiny_detectors import IMGSZ, shared_artefact, smooth_picture

from wutdet import cli
from wutdet.bench.merge import run_merge, seen_boxes
from wutdet.bench.tiling import best_within, mark_front, run
from wutdet.bench.tiling_choice import embed_choice
from wutdet.config import DetectConfig, EvalConfig, TilingConfig
from wutdet.errors import DataError, ModelError, UsageError
from wutdet.runtime.detector import Detector
from wutdet.runtime.model_digest import model_digest
from wutdet.runtime.model_files import find_model
from wutdet.runtime.saved_policy import choice_for, policy_file
from wutdet.runtime.tile_policy import TilePolicy
from wutdet.runtime.tiling import TiledDetector

SIZE = (2 * IMGSZ + 80, 2 * IMGSZ)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory):
    """An artefact of its own, and frames annotated with what it finds in a grid of 3 x 2 tiles."""
    folder = tmp_path_factory.mktemp("harbour")
    model = folder / "ship.fp32.onnx"
    shared = shared_artefact(tmp_path_factory.mktemp("shared"), "yolo26n", "nms", "fp32")
    model.write_bytes(shared.read_bytes())
    detector = TiledDetector(Detector(model, conf=0.05, max_det=100, threads=1, backend="native"), "3x2")
    frames = [smooth_picture(SIZE, 40 + row) for row in range(3)]
    found = [detector(frame) for frame in frames]
    least = np.sort(np.concatenate([part.score for part in found]))[-100]  # fewer than COCO's limit in every frame
    truth = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "ship"}]}
    (folder / "images").mkdir()
    for row, frame in enumerate(frames):
        cv2.imwrite(str(folder / "images" / f"{row}.png"), frame)
        keys = {"id": row + 1, "file_name": f"{row}.png", "width": SIZE[0], "height": SIZE[1]}
        truth["images"].append(keys)
        for x1, y1, x2, y2 in found[row].take(found[row].score >= least).xyxy.astype(float):
            number = len(truth["annotations"]) + 1
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            truth["annotations"].append({"id": number, "image_id": row + 1, "category_id": 1, **box})
    (folder / "truth.json").write_text(json.dumps(truth))
    return model, folder / "truth.json"


def options(harbour, folder, **changes):
    model, data = harbour
    known = {"policies": ("none", "3x2", "horizon:2"), "threads": 1, "backend": "native", "out": folder, "max_det": 100}
    return TilingConfig(str(model), str(data), **{**known, **changes})


def test_the_curve_and_the_choice(harbour, tmp_path, caplog):
    caplog.set_level("INFO")
    model, data = harbour
    result = run(options(harbour, tmp_path / "out"))
    rows = {row["policy"]: row for row in result.rows}
    assert set(rows) == {"none", "3x2", "horizon:2"}
    # Not 1: boxes of lower scores, too low for the annotations, may show more of a ship than the annotated part of it.
    assert rows["3x2"]["AP"] > 0.9 and max(rows["none"]["AP"], rows["horizon:2"]["AP"]) < rows["3x2"]["AP"]
    assert (rows["none"]["passes"], rows["3x2"]["passes"]) == (1, 7)
    assert rows["none"]["scale"] == pytest.approx(160 / 400)
    assert [row["ms"] for row in result.rows] == sorted(row["ms"] for row in result.rows)
    assert result.chosen == {"policy": "3x2", "overlap": 0.2, "metric": "AP", "within_ms": None, "clock": "wall",
                             "threshold": rows["3x2"]["threshold"]}  # fmt: skip
    assert "3x2" in result.to_text() and "best AP: 3x2" in result.to_text()
    file = policy_file(model)
    assert json.loads(file.read_text()) == json.loads(json.dumps(result.to_json(), allow_nan=False))

    # 'auto' takes it, in 'eval' and in 'detect'.
    from wutdet import scorecard

    config = EvalConfig((str(model), str(data)), tile="auto", full=False, resamples=0, max_det=100, threads=1,
                        backend="native")  # fmt: skip
    scored = scorecard.run_eval(config)
    assert (scored.protocol["tile"], scored.protocol["tiles_per_frame"]) == ("3x2", 7.0)
    # The benchmark's file holds boxes to .01 px, and here many lie near the truth's: some thresholds of IoU are missed.
    assert scored.stats["AP"] == pytest.approx(rows["3x2"]["AP"], abs=3e-3)
    assert "tiles 3x2, overlap 0.2, beside the whole frame" in scored.to_text()
    from wutdet.runtime.detect import run as detect

    frame = data.parent / "images" / "0.png"
    found = detect(DetectConfig(str(frame), model=str(model), tile="auto", quiet=True, threads=1, conf=0.3))
    assert found.boxes == len(TiledDetector(Detector(model, conf=0.3, threads=1), "3x2")(cv2.imread(str(frame))))
    assert "tiles: 3x2, overlap 0.2, from" in caplog.text
    file.unlink()


def test_the_choice_travels_with_the_artefact(harbour, tmp_path):
    model, data = harbour
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(model.read_bytes())
    before = Detector(moved, threads=1)
    for policies in (("none",), ("none", "3x2")):  # a second choice takes the place of the first
        result = run(options((moved, data), tmp_path / "out", save=tmp_path / "c.json", policies=policies, embed=True))
    after = Detector(moved, threads=1)
    assert after.metadata.tiling == {"policy": "3x2", "overlap": 0.2}
    assert after.threshold == result.chosen["threshold"] == result.rows[-1]["threshold"] > 0
    assert replace(after.metadata, tiling={}, threshold=before.metadata.threshold) == before.metadata
    assert str(choice_for("auto", 0.4, after).policy) == "3x2"
    frame = smooth_picture(SIZE, 3)
    for one in (before, after):
        one.threshold = 0.3
    assert after(frame).to_records() == before(frame).to_records()
    with pytest.raises(UsageError, match="--embed writes into artefacts"):
        embed_choice(tmp_path / "last.pt", {"policy": "3x2", "overlap": 0.2})


def test_embedding_is_refused_before_measuring(tmp_path):
    nothing = str(tmp_path / "nothing")  # there are no such data
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(UsageError, match="--embed writes into artefacts"):
        run(TilingConfig(str(tmp_path / "last.pt"), nothing, embed=True))
    with pytest.raises(ModelError, match="no such model"):
        run(TilingConfig("ship-x.int8", nothing, embed=True))
    for name in ("default", "ship-n.int8"):
        with pytest.raises(UsageError, match=r"'ship-n.int8.onnx', a file of the installed package") as error:
            run(TilingConfig(name, nothing, embed=True))
        assert error.value.hint.startswith("copy that file") and error.value.file == str(find_model(name))


def test_what_is_tried_with_an_installed_model_stays_in_the_output_folder(harbour, tmp_path, monkeypatch):
    """Two frames tried out must not decide how every later 'detect' of this installation looks at frames."""
    model, _ = harbour
    monkeypatch.setattr("wutdet.bench.tiling_choice.released_artefacts", lambda: {"ship": model})
    result = run(options(harbour, tmp_path / "out", policies=("none",)))
    assert result.file == tmp_path / "out" / policy_file(model).name and result.file.is_file()
    assert not policy_file(model).exists()


def test_measuring_again_after_embedding_finds_what_was_measured(harbour, tmp_path, monkeypatch):
    model, data = harbour
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(model.read_bytes())
    once = options((moved, data), tmp_path / "out", policies=("none", "2x1"), embed=True)
    first = run(once)
    assert moved.read_bytes() != model.read_bytes()
    monkeypatch.setattr(TiledDetector, "__call__", lambda *_: pytest.fail("a frame was looked at again"))
    again = run(once)
    assert again.rows == first.rows and again.protocol == first.protocol
    assert again.protocol["model_digest"] == model_digest(model)
    # The file beside the model still counts: it is this model's, whatever the metadata say.
    assert str(choice_for("saved", 0.4, Detector(moved)).policy) == first.chosen["policy"]


def another_model(model, folder):
    """The same name, date, format, input and metadata: trained again."""
    graph = onnx.load(model)
    bias = next(one for one in graph.graph.initializer if one.name.endswith("bias") and len(one.dims) == 1)
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
    (folder / "again").mkdir()
    onnx.save(graph, folder / "again" / model.name)
    return {"model": str(folder / "again" / model.name)}


def another_limit(model, folder):
    graph = onnx.load(model)
    graph.metadata_props.add(key="max_scale", value="1.0")
    (folder / "limit").mkdir()
    onnx.save(graph, folder / "limit" / model.name)
    return {"model": str(folder / "limit" / model.name)}


def other_frames(data, folder):
    """As many frames of the same names, in a data set of the same name: of other pictures."""
    (folder / "images").mkdir()
    for file in (data.parent / "images").iterdir():
        picture = cv2.imread(str(file))
        picture[:40] = 0
        cv2.imwrite(str(folder / "images" / file.name), picture)
    (folder / data.name).write_bytes(data.read_bytes())
    return {"data": str(folder / data.name)}


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("model_digest", lambda model, data, folder: another_model(model, folder)),
        ("max_scale", lambda model, data, folder: another_limit(model, folder)),
        ("category", lambda model, data, folder: {"category": "ship"}),
        ("classes", lambda model, data, folder: {"classes": "keep"}),
        ("head", lambda model, data, folder: {"head": "nms"}),
        ("frames_digest", lambda model, data, folder: other_frames(data, folder)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_folder_keeps_to_one_model_and_its_frames(harbour, tmp_path, what, change):
    first = options(harbour, tmp_path / "out", policies=("none",), save=tmp_path / "c.json")
    run(first)
    before = (tmp_path / "out" / "frames.jsonl").read_bytes()
    with pytest.raises(DataError, match="measurements of something else") as error:
        run(replace(first, **change(*harbour, tmp_path)))
    assert error.value.message.count(f"'{what}'") == 2 and "--out" in error.value.hint  # what is held, what is asked
    assert "'iou'" not in error.value.message
    assert (tmp_path / "out" / "frames.jsonl").read_bytes() == before


def test_a_folder_keeps_to_one_part_of_the_frames_and_one_input(checkpoints, dataset_file, tmp_path):
    """Of a checkpoint, whose file says neither date nor input; both splits and every second frame are two frames."""
    known = {"policies": ("none",), "threads": 1, "out": tmp_path / "out", "save": tmp_path / "c.json", "imgsz": 64}
    first = TilingConfig(str(checkpoints["yolo26n"]), str(dataset_file), split="val", every=2, **known)
    assert run(first).protocol["frames"] == 2
    assert run(first).protocol["input"] == "64x64"
    for change, what in (({"imgsz": 96}, "'input': '96x96'"), ({"split": "train", "every": 3}, "frames_digest")):
        with pytest.raises(DataError, match="measurements of something else") as error:
            run(replace(first, **change))
        assert what in error.value.message


def test_a_run_that_was_killed_goes_on(harbour, tmp_path, monkeypatch):
    out, save = tmp_path / "out", tmp_path / "choice.json"
    first = run(options(harbour, out, save=save))
    lines = (out / "frames.jsonl").read_text().strip().splitlines()
    assert len(lines) == 9
    (out / "frames.jsonl").write_text("\n".join(lines[:4]) + "\n" + lines[4][:30])  # in the middle of a line
    looked = []
    original = TiledDetector.__call__
    monkeypatch.setattr(TiledDetector, "__call__", lambda self, image: (looked.append(str(self.policy)),
                                                                        original(self, image))[1])  # fmt: skip
    again = run(options(harbour, out, save=save))
    kept = {(look["policy"], look["frame"]): look["ms"] for look in map(json.loads, lines[:4])}
    assert len(looked) == 5 + 2  # and a first untimed look for each policy that its first new frame lacks
    by_name = [{row["policy"]: (row["AP"], row["recall"], row["passes"]) for row in r.rows} for r in (first, again)]
    assert by_name[0] == by_name[1]
    now = {
        (look["policy"], look["frame"]): look["ms"]
        for look in map(
            json.loads, (line for line in (out / "frames.jsonl").read_text().splitlines() if line.endswith("}"))
        )
    }
    assert all(now[key] == value for key, value in kept.items())
    with pytest.raises(DataError, match="measurements of something else"):
        run(options(harbour, out, save=save, conf=0.1))


def test_what_is_refused(harbour, tmp_path):
    with pytest.raises(UsageError, match="'auto' is what"):
        run(options(harbour, tmp_path, policies=("auto",)))
    with pytest.raises(UsageError, match="no policies"):
        run(options(harbour, tmp_path, policies=()))
    with pytest.raises(UsageError, match="--every"):
        run(options(harbour, tmp_path, every=0))
    with pytest.raises(DataError, match="no frames"):
        run(options(harbour, tmp_path, split="test"))


ROWS = [
    {"policy": "a", "ms": 10.0, "AP": 0.2, "AP_16": None},
    {"policy": "b", "ms": 20.0, "AP": 0.1, "AP_16": 0.1},
    {"policy": "c", "ms": 30.0, "AP": 0.4, "AP_16": 0.1},
    {"policy": "d", "ms": 40.0, "AP": 0.4, "AP_16": 0.3},
    {"policy": "e", "ms": 40.0, "AP": 0.4, "AP_16": 0.2},
]


def test_the_front_and_the_best_within_a_time():
    def front(metric):
        return [row["policy"] for row in mark_front(ROWS, metric) if row["front"]]

    assert front("AP") == ["a", "c"]
    assert front("AP_16") == ["a", "b", "d"]
    turned = [{**row, "cpu_ms": 50 - row["ms"]} for row in ROWS]
    assert [row["policy"] for row in mark_front(turned, "AP", "cpu_ms") if row["front"]] == ["d", "e"]
    assert best_within(turned, "AP_16", 20, "cpu_ms")["policy"] == "d"
    for within, metric, wanted in ((None, "AP", "c"), (None, "AP_16", "d"), (39, "AP_16", "b"), (30, "AP", "c"),
                                   (29, "AP", "a"), (5, "AP", "a")):  # fmt: skip
        assert best_within(ROWS, metric, within)["policy"] == wanted


def test_within_a_time_that_no_policy_keeps(harbour, tmp_path, caplog):
    result = run(options(harbour, tmp_path / "out", save=tmp_path / "c.json", within_ms=1e-3))
    assert "no policy is within 0.001 ms" in caplog.text
    assert "no policy is within 0.001 ms, wall time; the fastest: no" in result.to_text()
    assert result.chosen["policy"] == result.rows[0]["policy"]


def test_the_command_line(harbour, tmp_path, capsys):
    model, data = harbour
    words = ["--policies", "none", "2x1", "--threads", "1", "--every", "2", "--json", "-"]
    out, save = str(tmp_path / "out"), str(tmp_path / "c.json")
    code = cli.run(["bench", "tiling", str(model), str(data), *words, "--out", out, "--save", save])
    content = json.loads(capsys.readouterr().out)
    assert code == 0 and content["schema"] == "wutdet.tiling/1" and content["protocol"]["frames"] == 2
    assert TilePolicy.parse(content["chosen"]["policy"]).kind in ("none", "grid")


def test_merging_is_timed_on_as_many_boxes_as_it_says():
    xyxy, score, category, window = seen_boxes(500, 20, 100)
    assert len(xyxy) == len(score) == len(category) == len(window) == 500
    assert (xyxy[:, :2] >= window[:, :2]).all() and (xyxy[:, 2:] <= window[:, 2:]).all()
    content = json.loads(json.dumps(run_merge(1).to_json(), allow_nan=False))
    assert [row["boxes"] for row in content["rows"]] == [1_000, 10_000, 10_000, 10_000, 30_000]
    assert all(0 < row["kept"] <= row["boxes"] for row in content["rows"])
    with pytest.raises(UsageError, match="--runs"):
        run_merge(0)
