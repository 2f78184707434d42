"""``wutdet bench lowbit``: the table of low-bit formats on trained detectors, from the command line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wutdet.bench.lowbit_table import ACTIVATIONS, FORMATS, METHODS, TRAINED, all_rows, run_table, to_markdown
from wutdet.bench.timing import machine
from wutdet.config import LowbitConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.errors import DataError, UsageError, suggest
from wutdet.files import write_json, write_text
from wutdet.runtime.detector import Detector

log = logging.getLogger(__name__)

SCHEMA = "wutdet.bench-lowbit/1"


@dataclass(frozen=True)
class LowbitResult:
    """The table.

    Attributes:
        facts: machine, versions, calibration and input size.
        rows: one per model, data set and way to quantise, see ``run_table``.
    """

    facts: Mapping
    rows: Sequence[Mapping]

    def to_text(self) -> str:
        return to_markdown(self.rows)

    def to_json(self) -> dict:
        return {"schema": SCHEMA, "facts": dict(self.facts), "rows": [dict(row) for row in self.rows]}


def run_lowbit(config: LowbitConfig) -> LowbitResult:
    """Measures the rows that the output folder does not hold yet; writes ``lowbit.json`` and ``table.md`` there.

    Raises:
        UsageError: no models, data or calibration frames given, or an unknown format, width or method.
        ModelError: a checkpoint cannot be read.
        DataError: a data set cannot be read or has no such split, or the folder holds rows of other settings.
    """
    _check(config)
    from wutdet.quantize.calibrate import choose_frames

    models = dict(_named(text) for text in config.models)
    test = {name: _held_out(path, config.split) for name, path in map(_named, config.data)}
    frames = choose_frames(load_dataset(config.calib), "train", config.calib_images, config.seed)
    facts = {
        **machine(),
        "imgsz": config.imgsz,
        "threads": config.threads,
        "calibration": {"images": len(frames.dataset), "seed": config.seed, "digest": frames.digest},
    }
    _same_settings(config.out / "settings.json", facts)
    rows = all_rows(config.formats, config.activations, config.methods)
    load = {name: _loader(path, config) for name, path in models.items()}
    calibration = _network_inputs(next(iter(load.values())), frames)
    table = run_table(load, test, calibration, config.out, rows, _trained_loaders(config, models))
    result = LowbitResult(facts, table)
    write_json(config.out / "lowbit.json", result.to_json())
    write_text(config.out / "table.md", result.to_text() + "\n")
    return result


def _check(config: LowbitConfig) -> None:
    for option, given in (("models", config.models), ("data", config.data), ("calib", config.calib)):
        if not given:
            raise UsageError(f"--lowbit.{option} is missing", hint="'wutdet bench --help' says what it takes")
    for option, given, known in (
        ("formats", config.formats, FORMATS),
        ("activations", config.activations, ACTIVATIONS),
        ("methods", config.methods, (*METHODS, TRAINED)),
    ):
        for name in given:
            if name not in known:
                raise UsageError(
                    f"--lowbit.{option}: unknown '{name}'.{suggest(name, list(known))}",
                    hint=f"known are {', '.join(known)}",
                )


def _named(text: str) -> tuple[str, str]:
    """'NAME=PATH', or a path, whose name is that of the file or, for best.pt and the like, of the run folder."""
    name, equals, path = text.partition("=")
    if equals:
        return name, path
    parts = [part for part in Path(text).with_suffix("").parts if part not in ("best", "last", "weights")]
    return (parts[-1] if parts else Path(text).stem), text


def _held_out(path: str, split: str) -> Dataset:
    dataset = load_dataset(path)
    if (np.asarray(dataset.split.codes) >= 0).any():
        dataset = dataset.in_split(split)
    if not len(dataset):
        raise DataError(f"no frames to score on (split '{split}')", file=path)
    return dataset


def _loader(path: str, config: LowbitConfig) -> Callable[[], Detector]:
    def load() -> Detector:
        return Detector(
            path, conf=0.001, max_det=100, imgsz=config.imgsz, threads=config.threads, category=config.category
        )

    return load


def _trained_loaders(config: LowbitConfig, models: Mapping[str, str]) -> dict[tuple, Callable[[], Detector]]:
    """By model, key of ``FORMATS`` and whether inputs were rounded in training too, which the checkpoint tells."""
    found = {}
    for text in config.trained:
        name, equals, path = text.partition("=")
        if not equals or name not in models:
            raise UsageError(
                f"--lowbit.trained takes NAME=CHECKPOINT with the name of a model, received '{text}'",
                hint=f"models are {', '.join(models)}",
            )
        load = _loader(path, config)
        backend = load().backend
        if not backend.packed:
            raise DataError(
                "this checkpoint was not trained aware of its rounding", file=path, hint="'wutdet train --quantize'"
            )
        tensor = next(iter(backend.packed.values())).tensor
        for key, (format, options) in FORMATS.items():
            if format == tensor.format and all(getattr(tensor.options, k) == v for k, v in options):
                found[name, key, backend.packed_inputs] = load
                break
    return found


def _network_inputs(load: Callable[[], Detector], frames) -> list[np.ndarray]:
    """The calibration frames, letterboxed to one size as the detector would the first of them."""
    from wutdet.images import read_image

    first = read_image(frames.dataset.image_file(0))
    height, width = load().preprocess(first)[0].shape[2:]
    return list(frames.network_inputs((height, width)))


def _same_settings(file: Path, facts: Mapping) -> None:
    """A folder holds rows of one input size and one calibration set."""
    import json

    settings = {key: facts[key] for key in ("imgsz", "calibration")}
    if file.is_file():
        before = json.loads(file.read_text("utf-8"))
        if before != settings:
            raise DataError(
                f"this folder holds rows of other settings: {before}, now {settings}",
                file=file,
                hint="name another folder with --lowbit.out",
            )
    write_json(file, settings)
