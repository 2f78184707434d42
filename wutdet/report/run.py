"""``wutdet report RUN``: the HTML report of a train run, a demo or an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wutdet.config import ReportConfig
from wutdet.report.accuracy import accuracy_section, accuracy_tiles, add_sureness, speed_tiles
from wutdet.report.course import training_section
from wutdet.report.evaluation import page_of_folder, write_page
from wutdet.report.facts import data_section, settings_section, time_section
from wutdet.report.frames import frames_section
from wutdet.report.models import examples_section, models_section
from wutdet.report.page import Page
from wutdet.report.read import DemoRun, EvaluationRun, TrainRun, mapping, read_run, sequence
from wutdet.report.words import accuracy_protocol, environment_protocol, plain, size_hw_text

SCHEMA = "wutdet.report/1"


@dataclass(frozen=True)
class ReportResult:
    """Where the report lies and what it could not show."""

    file: Path
    kind: str
    remarks: tuple[str, ...]

    def to_json(self) -> dict:
        """``{"schema", "file", "kind": "train" | "demo" | "eval", "remarks": [...]}``."""
        return {"schema": SCHEMA, "file": str(self.file), "kind": self.kind, "remarks": list(self.remarks)}

    def to_text(self) -> str:
        """One line per remark, then where the report lies."""
        return "\n".join([*(f"note: {remark}" for remark in self.remarks), f"report: {self.file}"])


def run(config: ReportConfig) -> ReportResult:
    """Runs ``wutdet report``.

    Raises:
        DataError: no run folder, or a broken file in it.
        WutdetError: the report cannot be written.
    """
    content = read_run(config.run)
    return _write(content, config.out)


def build_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Writes the report of a train run, demo or evaluation folder and returns its path.

    Args:
        folder: with config.json, metrics.jsonl ...; or with demo.json; or with eval.json, detections.json, objects.csv.
        out: file to write; ``folder/report.html`` by default. Reports of evaluations get a .md file beside it.

    Raises:
        DataError: no run folder, or a broken file in it.
        WutdetError: the report cannot be written.
    """
    return _write(read_run(folder), None if out is None else Path(out)).file


def _write(content: TrainRun | DemoRun | EvaluationRun, out: Path | None) -> ReportResult:
    out = content.folder / "report.html" if out is None else out
    if isinstance(content, EvaluationRun):
        page, remarks = page_of_folder(content)
        return ReportResult(write_page(page, out), "eval", remarks)
    if isinstance(content, DemoRun):
        page, kind = demo_page(content), "demo"
    else:
        page, kind = train_page(content), "train"
    return ReportResult(page.write(out), kind, content.remarks)


def _page(title: str, subtitle: str) -> Page:
    import wutdet

    return Page(
        title, subtitle, f"Made by wutdet {wutdet.__version__} from the files of the run; nothing is measured here."
    )


def train_page(run: TrainRun) -> Page:
    """The report of a train run."""
    config = run.config
    page = _page(
        f"Training report: {run.folder.resolve().name}",
        " · ".join(plain(config[key]) for key in ("model", "data") if config.get(key) is not None),
    )
    headline = page.section("Headline")
    if run.evaluation:
        headline.tiles(accuracy_tiles(run.evaluation, "evaluation"))
        add_sureness(headline, run.evaluation)
    for remark in run.remarks:
        headline.note(remark)
    training_section(page, run.epochs, _train_protocol(run))
    accuracy_section(page, {"evaluation": run.evaluation} if run.evaluation else {}, run.environment)
    frames_section(page, run)
    settings_section(page, {"Configuration": config, "Environment": run.environment})
    return page


def demo_page(demo: DemoRun) -> Page:
    """The report of a demo."""
    content, environment = demo.content, mapping(demo.content.get("environment"))
    models: Sequence[Mapping] = [mapping(model) for model in sequence(content.get("models"))]
    evaluations = {str(model.get("name")): mapping(model.get("eval")) for model in models if mapping(model.get("eval"))}
    page = _page("wutdet demo report", _demo_subtitle(content))
    headline = page.section("Headline")
    main = next((name for name in ("fp32", "checkpoint") if name in evaluations), next(iter(evaluations), None))
    if main is not None:
        headline.tiles(accuracy_tiles(evaluations[main], main))
        headline.tiles(speed_tiles(models))
        add_sureness(headline, evaluations[main])
        # The figures of the headline come first in the charts too.
        evaluations = {main: evaluations[main], **evaluations}
    else:
        headline.note("No model of this demo was evaluated.")
    for remark in demo.remarks:
        headline.note(remark)
    training_section(page, demo.train.epochs, _train_protocol(demo.train, environment))
    accuracy_section(page, evaluations, environment)
    protocol = accuracy_protocol(evaluations[main], environment) if main is not None else {}
    examples_section(page, demo.folder, sequence(content.get("examples")), protocol)
    models_section(page, models, environment)
    data_section(page, mapping(content.get("data")), mapping(content.get("audit")), mapping(content.get("split")))
    time_section(page, mapping(content.get("seconds")))
    settings_section(
        page,
        {
            "Demo": mapping(content.get("config")),
            "Training": demo.train.config,
            "Environment": environment or demo.train.environment,
        },
    )
    return page


def _demo_subtitle(content: Mapping) -> str:
    data = mapping(content.get("data"))
    facts = [f"{plain(data[key])} {words}" for key, words in (("images", "frames"), ("boxes", "ships")) if key in data]
    return "Rendered scenes" + (f": {', '.join(facts)}" if facts else "")


def _train_protocol(run: TrainRun, environment: Mapping | None = None) -> dict[str, object]:
    """What the training curves were measured on."""
    config = run.config
    size = config.get("frame_size") or config.get("imgsz")
    words = {
        "data": config.get("val") or config.get("data"),
        "split": config.get("val_split"),
        "input size": size_hw_text(size) if size else None,
        "batch": config.get("batch"),
        "model": config.get("model"),
        "weights": config.get("weights"),
    }
    measured = accuracy_protocol(run.evaluation) if run.evaluation else {}
    for key in ("images", "maxDets", "leak rate"):
        words[key] = measured.get(key)
    return {
        **{key: plain(value) for key, value in words.items() if value is not None},
        **environment_protocol(run.environment or environment or {}),
    }
