"""``wutdet eval`` and ``wutdet score``: from models, data and result files to figures, tables and a report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wutdet.config import AnalysisConfig, EvalConfig, ScoreConfig
from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.environment import environment
from wutdet.errors import UsageError, finished, require
from wutdet.evaluation.analyse import Plan, Scored, compare_scored, score
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.coco_files import read_ground_truth, read_results
from wutdet.evaluation.crops import write_crops
from wutdet.evaluation.model import (
    category_ids,
    detect_all,
    detector_facts,
    leak_rate_text,
    to_coco_results,
)
from wutdet.evaluation.network_input import NetworkInput
from wutdet.evaluation.objects import objects_table
from wutdet.evaluation.objects_file import check_ending, write_objects
from wutdet.evaluation.presets import PRESETS, preset
from wutdet.evaluation.result import EvaluationResult
from wutdet.evaluation.tables import FoundBoxes, GroundTruth
from wutdet.files import check_output_file, check_output_folder, same_file, write_json
from wutdet.runtime.load import load_detector
from wutdet.runtime.saved_policy import SAVED
from wutdet.runtime.tile_policy import NO_TILES

if TYPE_CHECKING:
    from wutdet.evaluation.matrix import MatrixResult

log = logging.getLogger(__name__)

SCHEMA = "wutdet.eval/2"


@dataclass(frozen=True, eq=False)
class Subject:
    """What is scored: detections of one model on the frames, and how they were made.

    Attributes:
        name: for people.
        found: the boxes.
        facts: of the protocol (input size, lowest score, ...).
        network_input: what frames were scaled to; None where not known.
        detector: None where the detections came from a file.
    """

    name: str
    found: FoundBoxes
    facts: Mapping
    network_input: NetworkInput | None
    detector: object | None = None


def run_eval(config: EvalConfig) -> EvaluationResult | MatrixResult:
    """Runs ``wutdet eval``.

    Raises:
        UsageError: not a model or two and data.
        DataError: the data cannot be read, has no frames, or its categories do not fit the model.
        ModelError: a model cannot be read.
    """
    if config.matrix:
        from wutdet.evaluation.matrix import evaluate_matrix

        return evaluate_matrix(
            config.inputs,
            split=config.split,
            format=config.format,
            classes=config.classes,
            preset=config.preset,
            resamples=config.resamples,
            seed=config.seed,
            detector_options=_detector_options(config),
            tile=config.tile,
            tile_overlap=config.tile_overlap,
        )
    from wutdet.dataset.load import load_dataset

    models, data = config.inputs[:-1], config.inputs[-1] if config.inputs else None
    if not 1 <= len(models) <= 2:
        raise UsageError(
            f"expected MODEL DATA, or MODEL MODEL DATA to compare two, received {len(config.inputs)} argument(s): "
            f"{' '.join(config.inputs)}",
            hint="wutdet eval best.pt mydata/ --split val",
        )
    _refuse_early(config, models)
    _check_outputs(config, config.detections)
    everything = load_dataset(data, format=config.format, classes=config.classes)
    dataset = everything if config.split is None else everything.in_split(config.split)
    truth = GroundTruth.of(dataset)
    subjects = [_subject(model, dataset, truth, config) for model in models]
    plan = Plan.of(truth, config, subjects[0].network_input)
    scored = [_scored(plan, subject) for subject in subjects]
    result = replace(scored[0].result, schema=SCHEMA).with_protocol(
        data=str(data), split_chosen=config.split, classes=config.classes
    )
    if len(scored) == 2:
        names = (subjects[0].name, subjects[1].name)
        result = replace(result, comparison=compare_scored(plan, *scored, names))
    if config.leaks:
        rate, text = leak_rate_text(everything, config.split)
        result = replace(result, leak_rate=rate, leak_text=text)
    if config.corrupt:
        result = replace(result, robustness=_robustness(subjects[0], dataset, result, config))
    with finished(result):
        results = to_coco_results(subjects[0].found, dataset)
        if config.detections is not None:
            write_json(config.detections, results, indent=None)
            log.info("detections: %s", config.detections)
        _write(config, result, scored[0], results, dataset)
    return result


def run_score(config: ScoreConfig) -> EvaluationResult:
    """Runs ``wutdet score``: COCO result files from anywhere, in float64 from the file to the figure.

    Raises:
        DataError: a file that cannot be scored; the message names the file and the entry.
        UsageError: not one or two result files.
    """
    if not 1 <= len(config.detections) <= 2:
        raise UsageError(f"expected one result file, or two to compare, received {len(config.detections)}")
    if config.crops is not None:
        raise UsageError("crops need the frames, and result files have none", hint="use wutdet eval FILE.json DATA")
    _check_outputs(config)
    truth, ids = read_ground_truth(config.ground_truth)
    network_input = NetworkInput.of_long_side(config.imgsz)
    plan = Plan.of(truth, config, network_input)
    scored = []
    for path in config.detections:
        facts = {"ground_truth": str(config.ground_truth), "results": str(path), "input_size": config.imgsz}
        scored.append(_scored(plan, Subject(str(path), read_results(path, truth, ids), facts, network_input)))
    result = scored[0].result
    if len(scored) == 2:
        names = (str(config.detections[0]), str(config.detections[1]))
        result = replace(result, comparison=compare_scored(plan, *scored, names))
    with finished(result):
        _write(config, result, scored[0], None, None)
    return result


def _refuse_early(config: EvalConfig, models: list[str]) -> None:
    """What would only be noticed after hours of detecting."""
    if config.corrupt and models[0].endswith(".json"):
        raise UsageError(
            f"'{models[0]}' is a result file: corrupted frames need a model to look at them",
            hint="leave --corrupt out, or name a checkpoint or artefact",
        )
    results = next((model for model in models if model.endswith(".json")), None)
    if results is not None and str(config.tile) not in (*NO_TILES, SAVED):
        raise UsageError(
            f"'{results}' is a result file: tiles need a model to look at them",
            hint="leave --tile out, or name a checkpoint or artefact",
        )
    if config.detections is not None and any(same_file(config.detections, one) for one in config.inputs):
        raise UsageError(f"--detections would write over '{config.detections}', which is read as well")
    if config.resamples == 0 and len(models) == 2:
        raise UsageError("a comparison needs resamples", hint="leave --resamples at 1000")


def _check_outputs(config: AnalysisConfig, *files: Path | None) -> None:
    """Whether what is written at the end can be written: a WutdetError or UsageError now, not after hours."""
    if config.objects is not None and check_ending(config.objects):
        require("pyarrow", "parquet")
    for file in (config.objects, *files):
        check_output_file(file)
    for folder in (config.report, config.crops):
        check_output_folder(folder)


def _subject(model: str, dataset: Dataset, truth: GroundTruth, config: EvalConfig) -> Subject:
    if model.endswith(".json"):
        found = read_results(model, truth, np.asarray(category_ids(dataset)))
        facts = {"model": model, "input_size": config.imgsz}
        return Subject(model, found, facts, NetworkInput.of_long_side(config.imgsz))
    detector = load_detector(model, tile=config.tile, tile_overlap=config.tile_overlap, **_detector_options(config))
    # Before the long part, so that categories that do not fit are told at once.
    align_categories(Detections.empty(detector.category_names), dataset.category_names)
    detections = align_categories(detect_all(detector, dataset), dataset.category_names)
    facts = {
        "model": model,
        **detector_facts(detector, dataset.size_wh),
        "nms_iou": None if detector.metadata.end2end else config.iou,
    }
    return Subject(model, FoundBoxes.of(detections, truth), facts, NetworkInput.of(detector), detector)


def _detector_options(config: EvalConfig) -> dict:
    limit = preset(config.preset).max_det
    if config.full:  # a preset with a lower limit cuts again, so its figures do not change
        limit = max(protocol.max_det for protocol in PRESETS.values())
    return {
        "threads": config.threads,
        "backend": config.backend,
        "conf": config.conf,
        "iou": config.iou,
        "max_det": config.max_det or limit,
        "imgsz": config.imgsz,
        "category": config.category,
        "arch": config.arch,
        "device": config.device,
        "head": config.head,
    }


def _scored(plan: Plan, subject: Subject) -> Scored:
    scored = score(plan, subject.found)
    return replace(scored, result=scored.result.with_protocol(**subject.facts))


def _robustness(subject: Subject, dataset: Dataset, clean: EvaluationResult, config: EvalConfig) -> dict:
    from wutdet.evaluation.robustness import evaluate_robustness

    return evaluate_robustness(
        subject.detector, dataset, seed=config.seed, clean=clean, max_frames=config.corrupt_frames or None
    )


def _write(
    config: AnalysisConfig,
    result: EvaluationResult,
    scored: Scored,
    results: list[dict] | None,
    dataset: Dataset | None,
) -> None:
    """The table of objects, crops and the report folder, where they were asked for."""
    if config.objects is None and config.crops is None and config.report is None:
        return
    threshold = None if result.threshold is None else result.threshold["score"]
    limit = preset(config.preset).headline.max_det
    table = objects_table(scored.matches, scored.truth, scored.found, score=threshold, max_det=limit)
    if config.objects is not None:
        write_objects(config.objects, table, dataset)
        log.info("objects: %s", config.objects)
    if config.crops is not None:
        log.info("crops: %d in %s", len(write_crops(config.crops, table, dataset)), config.crops)
    if config.report is None:
        return
    from wutdet.report.evaluation import DETECTIONS_FILE, read_detections, write_evaluation_report

    folder = Path(config.report)
    content = result.to_json()
    write_json(folder / "eval.json", content)
    write_objects(folder / "objects.csv", table, dataset)
    if results is not None:
        write_json(folder / DETECTIONS_FILE, results, indent=None)
    machine = environment(config.seed)
    write_json(folder / "environment.json", machine)
    found = None if results is None else read_detections(folder / DETECTIONS_FILE, dataset)
    file = write_evaluation_report(
        content, folder / "report.html", dataset=dataset, detections=found, objects=table, environment=machine
    )
    log.info("report: %s", file)
