"""The report of an evaluation: one HTML file, and the same without pictures as Markdown beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.errors import WutdetError
from wutdet.evaluation.objects_file import read_objects
from wutdet.files import write_text
from wutdet.report.accuracy import accuracy_section, accuracy_tiles, add_sureness
from wutdet.report.comparison import compared_names
from wutdet.report.density import found_from_detail, found_from_text
from wutdet.report.facts import settings_section
from wutdet.report.frames import DETECTIONS_FILE, add_examples, read_detections, read_frames
from wutdet.report.markup import is_number
from wutdet.report.page import Page, Tile
from wutdet.report.plot import format_number
from wutdet.report.read import EvaluationRun, mapping
from wutdet.report.words import accuracy_protocol, plain
from wutdet.report.worst_section import worst_section

#: The table of single objects in an evaluation folder.
OBJECTS_FILE = "objects.csv"

_EXAMPLES = 4

# What an evaluation may have, and what to say where it has not.
_ABSENT = {
    "intervals": "There are no intervals: how sure these figures are is unknown.",
    "slices": "There are no slices: figures by scene, condition, source or sequence were not made.",
    "density": "Recall by size and density, and false alarms, were not measured.",
    "errors": "Mistakes were not broken down by kind.",
}


def write_evaluation_report(
    result_json: Mapping,
    out: Path,
    *,
    dataset: Dataset | None = None,
    detections: Detections | None = None,
    objects: Mapping[str, np.ndarray] | None = None,
    environment: Mapping | None = None,
) -> Path:
    """Writes the HTML report of an evaluation, and ``.md`` beside it.

    Args:
        result_json: ``EvaluationResult.to_json()``, schema wutdet.eval/2; older ones and ones with parts missing too.
        out: HTML file, or a folder, which gets report.html and report.md.
        dataset: the frames that were evaluated, for the pictures.
        detections: on them, for the example frames.
        objects: what became of every ship and detection, for the gallery of mistakes; of
            wutdet.evaluation.objects.objects_table.
        environment: machine and versions, for the protocols.

    Returns:
        The HTML file. What is missing for the pictures is a note in it.

    Raises:
        WutdetError: a file cannot be written.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        out = out / "report.html"
    return write_page(evaluation_page(result_json, dataset, detections, objects, environment), out)


def write_page(page: Page, out: Path) -> Path:
    """Writes a page as HTML and, beside it, as Markdown; returns the HTML file.

    Raises:
        WutdetError: a file cannot be written.
    """
    write_text(out.with_suffix(".md"), page.to_markdown())
    return page.write(out)


def page_of_folder(run: EvaluationRun) -> tuple[Page, tuple[str, ...]]:
    """The report of an evaluation folder, and what it could not show, as sentences."""
    dataset = detections = objects = None
    remarks = []
    try:
        dataset = _frames_of(run)
    except WutdetError as error:
        remarks.append(f"The frames are not there: {error.message}{f' ({error.where})' if error.where else ''}.")
    if (run.folder / OBJECTS_FILE).exists():
        try:
            objects = read_objects(run.folder / OBJECTS_FILE)
        except WutdetError as error:
            remarks.append(f"{OBJECTS_FILE} cannot be used: {error}.")
    else:
        remarks.append(f"{OBJECTS_FILE} is not in the folder.")
    if dataset is not None and (run.folder / DETECTIONS_FILE).exists():
        try:
            detections = read_detections(run.folder / DETECTIONS_FILE, dataset)
        except WutdetError as error:
            remarks.append(f"{DETECTIONS_FILE} cannot be used: {error}.")
    page = evaluation_page(run.evaluation, dataset, detections, objects, run.environment, " ".join(remarks))
    return page, tuple(remarks)


def evaluation_page(
    evaluation: Mapping,
    dataset: Dataset | None = None,
    detections: Detections | None = None,
    objects: Mapping[str, np.ndarray] | None = None,
    environment: Mapping | None = None,
    reason: str = "",
) -> Page:
    """The report as a page; see write_evaluation_report. ``reason`` says why something for pictures is missing."""
    import wutdet

    protocol = mapping(evaluation.get("protocol"))
    name = Path(str(protocol["model"])).name if protocol.get("model") else "detections"
    page = Page(
        f"Evaluation report: {name}",
        _subtitle(protocol),
        f"Made by wutdet {wutdet.__version__} from the results of the evaluation; nothing is measured here.",
    )
    _headline(page, evaluation, name)
    comparison = mapping(evaluation.get("comparison"))
    if comparison:
        a, b = compared_names(comparison)
        page.sections[0].paragraph(f"{a} (A) is compared with {b} (B) below; all other figures are those of A.")
    accuracy_section(page, {name: evaluation}, environment or {})
    words = accuracy_protocol(evaluation, environment)
    worst_section(page, evaluation, words, dataset, objects, reason)
    if dataset is not None and detections is not None:
        add_examples(page.section("What it sees"), evaluation, words, dataset, detections, _EXAMPLES)
    parts = {"Protocol": {**words, **_long_facts(protocol)}}
    settings_section(page, {**parts, "Environment": environment} if environment else parts)
    return page


def _subtitle(protocol: Mapping) -> str:
    facts = [str(protocol[key]) for key in ("dataset", "data") if protocol.get(key)][:1]
    facts += [f"split {protocol['split']}"] if protocol.get("split") else []
    facts += [f"{plain(protocol[key])} {word}" for key, word in (("images", "frames"), ("boxes", "ships"))
              if is_number(protocol.get(key))]  # fmt: skip
    facts += [f"preset {protocol['preset']}"] if protocol.get("preset") else []
    return " · ".join(facts)


def _headline(page: Page, evaluation: Mapping, name: str) -> None:
    section = page.section("Headline")
    tiles = accuracy_tiles(evaluation, name)
    found_from = found_from_text(evaluation)
    if found_from is not None:
        tiles.append(Tile("90 % found from", found_from, found_from_detail(evaluation)))
    alarms = mapping(mapping(evaluation.get("density")).get("false_alarms"))
    if is_number(alarms.get("per_frame")):
        score = f"scores of {format_number(alarms.get('score'), 3)} and up"
        tiles.append(Tile("False alarms per frame", f"{alarms['per_frame']:.3f}", score))
    threshold = mapping(evaluation.get("threshold"))
    if is_number(threshold.get("score")):
        detail = (
            f"F1 {format_number(threshold.get('f1'), 3)}: precision {format_number(threshold.get('precision'), 3)}, "
            f"recall {format_number(threshold.get('recall'), 3)}"
        )
        tiles.append(Tile("Best threshold", format_number(threshold["score"], 3), detail))
    section.tiles(tiles)
    add_sureness(section, evaluation)
    for key, sentence in _ABSENT.items():
        if not evaluation.get(key):
            section.note(sentence)


def _long_facts(protocol: Mapping) -> dict[str, object]:
    """What the protocol boxes leave out because it is long."""
    out: dict[str, object] = {}
    for key in ("area_bins_px2", "categories", "model_categories", "iou_thresholds", "max_dets"):
        if protocol.get(key) is not None:
            out[key.replace("_", " ")] = protocol[key]
    return out


def _frames_of(run: EvaluationRun) -> Dataset:
    """The evaluated frames.

    Raises:
        WutdetError: they are not there, or are not those that were evaluated.
    """
    protocol = mapping(run.evaluation.get("protocol"))
    data = protocol.get("data")
    if not data:
        raise WutdetError("eval.json does not say which data were evaluated")
    inside = run.folder / str(data)
    dataset = read_frames(inside if not Path(str(data)).exists() and inside.exists() else data,
                          protocol.get("classes"), protocol.get("split_chosen", protocol.get("split")))  # fmt: skip
    for key, count in (("images", len(dataset)), ("boxes", int((~dataset.ignore).sum()))):
        if is_number(protocol.get(key)) and protocol[key] != count:
            raise WutdetError(f"the data have changed since: {plain(count)} {key} there, {protocol[key]} evaluated",
                              file=str(data))  # fmt: skip
    return dataset
