import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from markup_checks import check_page, page_words

from wutdet.cli import run as command_line
from wutdet.config import ReportConfig
from wutdet.dataset.builder import DatasetBuilder
from wutdet.dataset.classes import ClassMap
from wutdet.dataset.stats import statistics
from wutdet.dataset.write_coco import write_coco
from wutdet.detections import Detections
from wutdet.errors import DataError
from wutdet.evaluation.coco import evaluate
from wutdet.report.gallery import example_pictures, write_pictures
from wutdet.report.run import build_report, run

ENVIRONMENT = {
    "schema": "wutdet.environment/1",
    "python": "3.11.7",
    "cpu": "Fast & <Small> CPU",
    "cpu_cores": 2,
    "versions": {"wutdet": "0.1.0", "torch": None, "numpy": "2.4.1"},
    "git_commit": "0123abc+",
}


# As wutdet.dataset.leaks.LeakRate writes it, without a comparison of objects.
LEAKS = {"rate": 0.03125, "exact": 0.0, "near": 0.03125, "objects": None, "sequence": 0.0, "against": "train",
         "near_distance": 10, "frames": 32, "train_frames": 100, "unread": 0, "splits": {}}  # fmt: skip


@pytest.fixture
def dataset(tmp_path, write_picture):
    """Twelve frames in three sequences with ships of 6, 20 and 50 px; none above 96 px."""
    builder = DatasetBuilder(tmp_path / "data", ClassMap.single(), "harbour <1>")
    for index in range(12):
        write_picture(tmp_path / f"data/frame {index}.jpg", (640, 360), seed=index)
        labels = {"sequence": f"s{index // 4}", "scene": "port", "split": "val"}
        row = builder.add_image(f"frame {index}.jpg", (640, 360), labels=labels)
        for side in (6, 20, 50):
            builder.add_box(row, (side * 8, 100, side * 8 + side, 100 + side), "ship")
    return builder.build()


@pytest.fixture
def evaluation(dataset):
    rng = np.random.default_rng(1)
    keep = rng.random(dataset.box_count) < 0.8
    boxes = dataset.xyxy[keep] + rng.normal(0, 1, (int(keep.sum()), 4))
    found = Detections(boxes, rng.random(len(boxes)), np.zeros(len(boxes)), dataset.box_image[keep])
    result = evaluate(dataset, found).with_protocol(input_size=640, model="ship.fp32.onnx")
    return found, {**result.to_json(), "leak_rate": 0.0213}


def write_train_run(folder, evaluation=None):
    folder.mkdir(parents=True)
    config = {
        "data": "data/<x> & y.yaml",
        "model": "yolo26n",
        "epochs": 3,
        "imgsz": 640,
        "batch": 16,
        "val_split": "val",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    rows = [
        {"epoch": 1, "seconds": 10.0, "lr": 0.01, "train": {"box": 2.125, "cls": 3.5}, "AP": None},
        {"epoch": 2, "seconds": 11.0, "lr": 0.005, "train": {"box": 1.875, "cls": 2.5}, "AP": 0.1111, "AP50": 0.3},
        {"epoch": 2, "seconds": 12.0, "lr": 0.005, "train": {"box": 1.75, "cls": 2.25}, "AP": 0.2222, "AP50": 0.4},
        {"epoch": 3, "seconds": 13.0, "lr": 0.001, "train": {"box": 1.625, "cls": 2.0}, "AP": 0.2111, "AP50": 0.45},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if evaluation:
        (folder / "eval.json").write_text(json.dumps(evaluation))
    return folder


@pytest.fixture
def demo(tmp_path, dataset, evaluation):
    found, scores = evaluation
    folder = tmp_path / "demo ö"
    write_train_run(folder / "train")
    examples = write_pictures(example_pictures(dataset, found, count=2), folder / "detect", folder)
    worse = json.loads(json.dumps(scores))
    worse["stats"]["AP"] = scores["stats"]["AP"] - 0.0042
    models = [
        {"name": "fp32", "file": "ship.fp32.onnx", "engine": "onnxruntime", "size_bytes": 9_871_234, "median_ms": 61.26,
         "p95_ms": 73.1, "imgsz": [384, 640], "eval": scores},
        {"name": "int8", "file": "ship.int8.onnx", "engine": "onnxruntime", "size_bytes": 2_912_345, "median_ms": 8.25,
         "p95_ms": 9.5, "imgsz": [384, 640], "eval": worse},
        {"name": "checkpoint", "file": "best.pt", "engine": "torch", "size_bytes": 5_412_345, "eval": scores},
    ]  # fmt: skip
    content = {
        "schema": "wutdet.demo/1",
        "config": {"out": "runs/demo", "quick": True, "seed": 7},
        "environment": {**ENVIRONMENT, "threads": 2},
        "seconds": {"render": 41.5, "train": 305.0},
        "data": statistics(dataset),
        "audit": {"errors": 0, "warnings": 3, "leak_rate": LEAKS},
        "split": {"splits": {"train": 8, "val": 4}, "leak_rate": 0.0, "digest": "sha256:cafe"},
        "train": "train",
        "models": models,
        "examples": examples,
    }
    (folder / "demo.json").write_text(json.dumps(content))
    return folder


def test_train_report_holds_all_of_the_run(tmp_path, evaluation):
    folder = write_train_run(tmp_path / "run <1> & ü", evaluation[1])
    result = run(ReportConfig(folder))
    assert result.file == folder / "report.html" and result.remarks == ()
    words = page_words(result.file)
    for expected in (
        "run <1> & ü",
        "data/<x> & y.yaml",
        "3 epochs in 35.0 s; best AP 0.222 after epoch 2.",  # of epoch 2, the row written last counts
        "epoch 3 box: 1.625 cls: 2",
        "Fast & <Small> CPU",
        "wutdet 0.1.0, numpy 2.4.1",
        "0123abc+",
        "no such ships",  # none above 96 px
        "n=12",
        "2.1 %",
        "IoU 0.75",
    ):
        assert expected in words, expected
    for value in evaluation[1]["stats"].values():
        assert value is None or f"{value:.3f}" in words
    assert "1.875" not in words


def test_train_report_without_evaluation_says_so(tmp_path):
    folder = write_train_run(tmp_path / "run")
    (folder / "environment.json").unlink()
    result = run(ReportConfig(folder, out=tmp_path / "elsewhere.html"))
    assert [r.partition(" ")[0] for r in result.remarks] == ["environment.json", "eval.json"]
    assert "note: eval.json is not in the run folder" in result.to_text()
    words = page_words(tmp_path / "elsewhere.html")
    assert "There is no evaluation in this folder" in words and "Environment: not recorded" in words
    assert result.to_json()["schema"] == "wutdet.report/1" and result.to_json()["kind"] == "train"
    assert not (folder / "report.html").exists()


def test_demo_report_holds_all_of_the_demo(demo, evaluation):
    words = page_words(build_report(demo))
    scores = evaluation[1]["stats"]
    change = f"{-0.0042:.3f}".replace("-", "−")
    for expected in (
        f"int8 against fp32 {change}",
        f"AP {scores['AP'] - 0.0042:.3f} against {scores['AP']:.3f}",
        "fp32 file 9.87 MB",
        "int8 file 2.91 MB",
        "int8 latency 8.25 ms 121.2 frames/s",
        "fp32 latency 61.3 ms 16.3 frames/s",
        "640×384 px",
        "best.pt",
        "threads: 2",
        "maxDets: 100",
        "Leak rate 2.1 %",
        "leak rate of the audit 3.1 % (exact 0.0 %, near 3.1 %, sequence 0.0 %) of 32 frames against 'train'",
        "leak rate of the split 0.0 %",
        "train 8, val 4",
        "sha256:cafe",
        "audit warnings 3",
        "render 41.5 s 12%",
        "train 5 min 05 s 88%",
        "12 frames, 36 ships",
        "scene: port 12 36 67% 20",
        "frame 0.jpg (port), score 0.25 and up. 3 ships:",
        "best AP 0.222 after epoch 2",
    ):
        assert expected in words, expected


def test_demo_report_embeds_the_example_frames(demo):
    html = build_report(demo).read_text("utf-8")
    page = check_page(html)
    content = json.loads((demo / "demo.json").read_text())
    count = sum(1 + len(example["insets"]) for example in content["examples"])
    assert count > 4 and sum(name == "src" for name, _ in page.addresses) == count


def test_a_demo_with_pieces_missing_shows_the_rest(demo):
    content = json.loads((demo / "demo.json").read_text())
    (demo / content["examples"][0]["image"]).unlink()
    for key in ("data", "audit", "split", "seconds", "environment", "config"):
        del content[key]
    content["train"] = "gone"
    content["models"] = [{"name": "int8", "file": "ship.int8.onnx", "median_ms": None}]
    (demo / "demo.json").write_text(json.dumps(content))
    words = page_words(build_report(demo))
    for expected in (
        "No model of this demo was evaluated.",
        "The train run is not in the demo folder",
        "missing or cannot be read: detect/example-01.jpg.",
        "None of these models was timed.",
        "no facts about its data set",
        "frame 4.jpg (port)",
        "Environment: not recorded",
    ):
        assert expected in words, expected
    assert "against" not in words and "frames/s" not in words.replace("speed frames/s", "")


@pytest.mark.parametrize("content", ['{"schema": "wutdet.demo/1"}', '{"schema": "wutdet.demo/1", "models": []}'])
def test_an_empty_demo_is_a_page_of_notes(tmp_path, content):
    (tmp_path / "demo.json").write_text(content)
    assert "No model of this demo was evaluated." in page_words(build_report(tmp_path))


def test_a_line_cut_short_by_a_kill_is_remarked_on(tmp_path):
    folder = write_train_run(tmp_path / "run")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "tra')
    result = run(ReportConfig(folder))
    assert any("cut short" in remark for remark in result.remarks)
    assert "3 epochs" in page_words(result.file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.jsonl", '{"epoch": 1}\n{"epoch": \n{"epoch": 3}\n', r"metrics\.jsonl:2: not valid JSON"),
        ("metrics.jsonl", '{"epoch": 1}\n[1]\n', r"metrics\.jsonl:2: a JSON object was expected, received list"),
        ("metrics.jsonl", '{"epoch": "one"}\n', r"metrics\.jsonl:1: 'epoch' must be a whole number, received 'one'"),
        ("eval.json", '{\n "stats": }', r"eval\.json:2: not valid JSON"),
        ("config.json", "[]", r"config\.json: a JSON object was expected"),
        ("environment.json", b"\xff\xfe", r"environment\.json: not UTF-8"),
        ("demo.json", '{"schema": "wutdet.demo/9"}', r"demo\.json: 'schema' is 'wutdet.demo/9'"),
        ("demo.json", '{"schema": "wutdet.demo/1", "models": {}}', r"'models' must be a list, received dict"),
        ("demo.json", '{"schema": "wutdet.demo/1", "examples": [3]}', r"'examples\[0\]' must be an object, received 3"),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path, name, content, message):
    folder = write_train_run(tmp_path / "run")
    (folder / "report.html").write_text("old")
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message):
        build_report(folder)
    assert (folder / "report.html").read_text() == "old"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such run folder"):
        build_report(tmp_path / "nothing")
    with pytest.raises(DataError, match="not a run folder"):
        build_report(tmp_path)


def test_command_line_prints_where_the_report_lies(tmp_path, capsys):
    folder = write_train_run(tmp_path / "run")
    assert command_line(["report", str(folder), "--json", str(tmp_path / "r.json")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {folder / 'report.html'}"
    assert json.loads((tmp_path / "r.json").read_text())["file"] == str(folder / "report.html")


def test_odd_values_are_shown_as_missing_never_as_numbers(tmp_path, evaluation):
    broken = {
        "stats": {"AP": "0.5", "AP50": None, "APs": float("nan")},
        "curves": [],
        "size_bins": "none",
        "slices": [1],
    }
    folder = write_train_run(tmp_path / "run", broken)
    words = page_words(build_report(folder))
    assert "no precision-recall curves" in words and "has no AP by size" in words
    assert "nan" not in words.lower()


def test_the_report_room_needs_no_torch():
    code = "import sys, wutdet.report.run, wutdet.report.gallery; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_frames_in_the_report_are_those_that_were_written(demo):
    """The largest embedded picture has the width that the page promises, or that of the file where it is smaller."""
    html = build_report(demo).read_text("utf-8")
    first = cv2.imread(str(demo / "detect/example-01.jpg"))
    assert f'width="{min(960, first.shape[1])}"' in html


def test_a_train_report_shows_frames_where_detections_lie_in_the_folder(tmp_path, dataset, evaluation):
    found, scores = evaluation
    write_coco(dataset, tmp_path / "data/val.json")
    folder = write_train_run(tmp_path / "run", scores)
    assert "wutdet eval MODEL DATA --detections" in page_words(build_report(folder))

    config = {
        "schema": "wutdet.config/1",
        "train": {"data": str(tmp_path / "data/val.json"), "val_split": "val", "imgsz": 320},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "detections.json").write_text(json.dumps(found.to_coco(dataset.image_id)))
    html = build_report(folder).read_text("utf-8")
    assert html.count("data:image/jpeg;base64,") > 6
    words = page_words(folder / "report.html")
    assert f"frame 0.jpg (port), score {round(scores['threshold']['score'], 3):g} and up. 3 ships:" in words
    assert "input size: 320 px, long side" in words

    dataset.image_file(0).unlink()
    words = page_words(build_report(folder))
    assert "There are no example frames: " in words and "frame 0.jpg" in words
    assert "Precision and recall" in words
