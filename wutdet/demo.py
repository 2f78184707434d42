"""``wutdet demo``: the main job on rendered scenes, from frames to a measured artefact and a report.

Each step is a command that works the same on real frames; it is printed before it runs. A step whose result is there
already is not run again, so that an interrupted demo continues where it stopped.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from wutdet.config import (
    AuditConfig,
    BenchConfig,
    DemoConfig,
    DetectConfig,
    EvalConfig,
    ExportConfig,
    RenderConfig,
    SplitConfig,
    StatsConfig,
    TrainConfig,
    to_json,
)
from wutdet.errors import DataError, WutdetError
from wutdet.files import write_json

log = logging.getLogger(__name__)

#: Trained by the project on rendered scenes of another seed; see models/README.md.
WEIGHTS = "ship-n-rendered.pt"
ARTEFACTS = {"fp32": "ship.fp32.onnx", "int8": "ship.int8.onnx"}


@dataclass(frozen=True)
class Scale:
    """How much the demo does."""

    sequences: int
    frames: int
    epochs: int
    calib_images: int
    runs: int


FULL = Scale(sequences=24, frames=8, epochs=5, calib_images=100, runs=40)
QUICK = Scale(sequences=15, frames=6, epochs=1, calib_images=60, runs=10)

STEPS = 12

#: Long side of the network input, at which everything is measured; and the artefacts' HEIGHTxWIDTH for 16:9 frames.
FRAME_SIZE, ARTEFACT_SIZE = 1280, "736x1280"


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes:
        report: the HTML report.
        content: of demo.json.
    """

    report: Path
    content: Mapping

    def to_json(self) -> dict:
        return dict(self.content)

    def to_text(self) -> str:
        lines = [f"{'model':11} {'AP':>6} {'AP50':>6} {'AP small':>8} {'MB':>6} {'median ms':>10}"]
        for model in self.content["models"]:
            stats = model["eval"]["stats"]
            figures = [f"{'-' if stats[key] is None else format(stats[key], '.3f')}" for key in ("AP", "AP50", "APs")]
            latency = f"{model['median_ms']:.1f}" if "median_ms" in model else "-"
            lines.append(
                f"{model['name']:11} {figures[0]:>6} {figures[1]:>6} {figures[2]:>8} "
                f"{model['size_bytes'] / 1e6:>6.1f} {latency:>10}"
            )
        protocol = self.content["models"][0]["eval"]["protocol"]
        minutes = sum(self.content["seconds"].values()) / 60
        lines += [
            f"{protocol['images']} held-out rendered frames, input long side {FRAME_SIZE}, maxDets 100, "
            f"leak rate {self.content['split']['leak_rate']:.1%}; {minutes:.1f} minutes in all",
            f"report: {self.report}",
        ]
        return "\n".join(lines)


class _Steps:
    """Runs the demo's steps, keeps their results beside the data, and remembers how long each took."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.seconds: dict[str, float] = {}
        self._number = 0

    def __call__(self, name: str, command: str, config, work: Callable, *outputs: str) -> dict:
        """The JSON result of a step: ``work(config).to_json()``, or what an earlier run of the same step left."""
        self._number += 1
        log.info("\n[%d/%d] %s\n$ wutdet %s", self._number, STEPS, name, command)
        record = self.folder / "steps" / f"{name}.json"
        wanted = to_json(config)
        if record.exists():
            done = json.loads(record.read_text("utf-8"))
            if done["config"] == wanted and all((self.folder / output).exists() for output in outputs):
                log.info("done before, kept")
                self.seconds[name] = done["seconds"]
                return done["result"]
        started = time.monotonic()
        result = work(config)
        code = getattr(result, "exit_code", 0)
        if code:
            raise WutdetError(f"step '{name}' ended with exit code {code}:\n{result.to_text()}")
        self.seconds[name] = round(time.monotonic() - started, 1)
        text = result.to_text()
        if text:
            log.info("%s", text)
        content = result.to_json()
        write_json(record, {"config": wanted, "seconds": self.seconds[name], "result": content})
        return content


def run(config: DemoConfig) -> DemoResult:
    """Runs the demo.

    Raises:
        MissingExtraError: the extra ``train`` is not installed.
        WutdetError: a step failed; what the steps before it made is kept.
    """
    from wutdet.runtime.offline import import_ultralytics

    import_ultralytics()
    import wutdet.bench.run
    import wutdet.dataset.audit
    import wutdet.dataset.split
    import wutdet.dataset.stats
    import wutdet.export.run
    import wutdet.runtime.detect
    import wutdet.scenes.render
    import wutdet.scorecard
    import wutdet.train.run
    from wutdet.environment import environment
    from wutdet.report.run import build_report

    scale = QUICK if config.quick else FULL
    folder = Path(config.out)
    _claim(folder, config)
    step = _Steps(folder)
    scenes, splits, data = folder / "scenes", folder / "splits.json", folder / "splits.yaml"

    render = RenderConfig(scenes, sequences=scale.sequences, frames=scale.frames, seed=config.seed)
    step("render", f"data render {_q(scenes)} --sequences {scale.sequences} --frames {scale.frames}", render,
         wutdet.scenes.render.run, "scenes/annotations/all.json")  # fmt: skip
    split = SplitConfig(str(scenes), splits, parts="train=0.6,val=0.2,test=0.2", seed=config.seed, classes="ship")
    split_result = step("split", f"data split {_q(scenes)} --out {_q(splits)} --parts {split.parts} --classes ship",
                        split, wutdet.dataset.split.run, "splits.json", "splits.yaml")  # fmt: skip
    audit = step("audit", f"data audit {_q(data)}", AuditConfig((str(data),), classes="ship"), wutdet.dataset.audit.run)
    stats = step("stats", f"data stats {_q(data)}", StatsConfig(str(data), imgsz=FRAME_SIZE), wutdet.dataset.stats.run)

    train = TrainConfig(
        str(data), model=str(released_weights()), epochs=scale.epochs, imgsz=640, frame_size=FRAME_SIZE, close_mosaic=1,
        batch=8, eval_every=2 if scale.epochs > 1 else 1, seed=config.seed, out=folder / "train",
    )  # fmt: skip
    step("train", f"train {_q(data)} --model {_q(released_weights())} --epochs {train.epochs} --imgsz 640 "
         f"--frame-size {FRAME_SIZE} --batch 8 --out {_q(train.out)}", train,
         lambda c: _train(c, wutdet.train.run.run), "train/weights/best.pt")  # fmt: skip
    checkpoint = folder / "train" / "weights" / "best.pt"

    for number_format, file in ARTEFACTS.items():
        export = ExportConfig(
            str(checkpoint), format=number_format, out=folder / file, imgsz=ARTEFACT_SIZE, gate=str(data),
            calib=str(data) if number_format == "int8" else None, calib_images=scale.calib_images, seed=config.seed,
            force=True,  # a few frames can miss the bound by chance: then the demo says so and goes on
        )  # fmt: skip
        calib = f"--calib {_q(data)} " if export.calib else ""
        step(f"export-{number_format}", f"export {_q(checkpoint)} --format {number_format} --imgsz {ARTEFACT_SIZE} "
             f"{calib}--gate {_q(data)} --force -o {_q(export.out)}", export, wutdet.export.run.run, file)  # fmt: skip

    files = {"checkpoint": checkpoint, **{name: folder / file for name, file in ARTEFACTS.items()}}
    models = []
    for name, file in files.items():
        detections = folder / "detections" / f"{name}.json"
        size = FRAME_SIZE if name == "checkpoint" else None
        evaluation = EvalConfig((str(file), str(data)), split="test", imgsz=size, detections=detections)
        content = step(f"eval-{name}", f"eval {_q(file)} {_q(data)} --split test"
                       + (f" --imgsz {size}" if size else ""), evaluation, wutdet.scorecard.run_eval,
                       f"detections/{name}.json")  # fmt: skip
        engine = "torch" if name == "checkpoint" else "onnxruntime"
        models.append({"name": name, "file": file.name, "engine": engine, "size_bytes": file.stat().st_size,
                       "imgsz": [736, 1280], "eval": content})  # fmt: skip

    bench = BenchConfig(tuple(str(folder / file) for file in ARTEFACTS.values()), runs=scale.runs,
                        images=str(scenes / "images"))  # fmt: skip
    timing = step("bench", f"bench {' '.join(_q(folder / file) for file in ARTEFACTS.values())} --runs {scale.runs}",
                  bench, wutdet.bench.run.run)  # fmt: skip
    for model, row in zip(models[1:], timing["rows"], strict=True):
        model.update({key: row[key] for key in ("median_ms", "p95_ms", "threads")})

    held_out = folder / "held-out"
    examples = _examples(data, folder, models[-1])
    _hold_out(data, held_out)
    detect = DetectConfig(str(held_out), str(folder / ARTEFACTS["int8"]), save=folder / "detect", quiet=True)
    step("detect", f"detect {_q(held_out)} --model {_q(folder / ARTEFACTS['int8'])} --save {_q(folder / 'detect')}",
         detect, wutdet.runtime.detect.run, "detect")  # fmt: skip

    content = {
        "schema": "wutdet.demo/1",
        "config": to_json(config),
        "environment": environment(config.seed),
        "seconds": step.seconds,
        "data": stats,
        "audit": {"errors": audit["counts"]["error"], "warnings": audit["counts"]["warning"],
                  "leak_rate": audit["leak_rate"]},
        "split": split_result,
        "train": "train",
        "models": models,
        "examples": examples,
    }  # fmt: skip
    write_json(folder / "demo.json", content)
    return DemoResult(build_report(folder), content)


def released_weights() -> Path:
    """The starting weights that are installed with the package."""
    return Path(str(resources.files("wutdet") / "released" / WEIGHTS))


def _q(path: Path) -> str:
    return shlex.quote(str(path))


def _claim(folder: Path, config: DemoConfig) -> None:
    """Makes the folder ours, or checks that it holds the same demo."""
    marker = folder / "steps" / "demo.json"
    wanted = {"quick": config.quick, "seed": config.seed}
    if marker.exists():
        found = json.loads(marker.read_text("utf-8"))
        if found != wanted:
            raise DataError(
                f"this folder holds a demo with other settings: {found}, asked for {wanted}",
                file=folder,
                hint="choose another --out, or remove the folder",
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise DataError("this folder holds something else", file=folder, hint="choose another --out")
    write_json(marker, wanted)


def _train(config: TrainConfig, train: Callable):
    """Trains, or goes on where an interrupted demo stopped."""
    from dataclasses import replace

    if (config.out / "weights" / "last.pt").exists():
        return train(replace(config, resume=config.out))
    if config.out.exists():  # killed before the first epoch ended: nothing to resume
        import shutil

        shutil.rmtree(config.out)
    return train(config)


def _examples(data: Path, folder: Path, model: Mapping) -> list[dict]:
    """Held-out frames with hits, misses and false alarms of one model, at its own threshold."""
    import numpy as np

    from wutdet.boxes import xywh_to_xyxy
    from wutdet.dataset.load import load_dataset
    from wutdet.detections import Detections
    from wutdet.report.gallery import example_pictures, write_pictures

    dataset = load_dataset(data, split="test")
    rows = {int(image_id): row for row, image_id in enumerate(dataset.image_id)}
    found = json.loads((folder / "detections" / f"{model['name']}.json").read_text("utf-8"))
    detections = Detections(
        xywh_to_xyxy(np.array([d["bbox"] for d in found], dtype=np.float32).reshape(-1, 4)),
        np.array([d["score"] for d in found]),
        np.zeros(len(found)),
        np.array([rows[d["image_id"]] for d in found]),
    )
    threshold = (model["eval"].get("threshold") or {}).get("score") or 0.25
    pictures = example_pictures(dataset, detections, count=6, score_threshold=round(threshold, 3))
    return write_pictures(pictures, folder / "examples", folder)


def _hold_out(data: Path, folder: Path, count: int = 6) -> None:
    """A folder with a few held-out frames, as a user would have one."""
    import shutil

    from wutdet.dataset.load import load_dataset

    dataset = load_dataset(data, split="test")
    folder.mkdir(exist_ok=True)
    for row in range(0, len(dataset), max(1, len(dataset) // count)):
        source = dataset.image_file(row)
        shutil.copyfile(source, folder / source.name)
