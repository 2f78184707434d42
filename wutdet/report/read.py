"""Reading what a train, demo or evaluation folder holds.

Missing files are noted, broken ones are errors with file and line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wutdet.errors import DataError
from wutdet.report.markup import is_number

DEMO_FILE = "demo.json"
EVALUATION_FILE = "eval.json"
_TRAIN_FILES = ("config.json", "environment.json", "metrics.jsonl", "eval.json")


@dataclass(frozen=True)
class TrainRun:
    """What a train run folder holds.

    Attributes:
        folder: the run folder.
        config, environment, evaluation: contents of config.json, environment.json, eval.json; empty where absent.
        epochs: rows of metrics.jsonl by rising epoch; of an epoch that was run twice, the later row.
        remarks: what is missing or cut short, as sentences.
    """

    folder: Path
    config: Mapping = field(default_factory=dict)
    environment: Mapping = field(default_factory=dict)
    evaluation: Mapping = field(default_factory=dict)
    epochs: tuple[Mapping, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DemoRun:
    """What a demo folder holds.

    Attributes:
        folder: the demo folder.
        content: of demo.json.
        train: its train run, empty where absent.
        remarks: what is missing, as sentences.
    """

    folder: Path
    content: Mapping
    train: TrainRun
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationRun:
    """What a folder of ``wutdet eval --report`` holds.

    Attributes:
        folder: the folder.
        evaluation: content of eval.json.
        environment: content of environment.json, empty where absent.
        remarks: none so far; the report says itself what is missing.
    """

    folder: Path
    evaluation: Mapping
    environment: Mapping = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read_run(folder: str | Path) -> TrainRun | DemoRun | EvaluationRun:
    """Reads a run folder, a demo folder (one with demo.json), or an evaluation folder (eval.json and no training).

    Raises:
        DataError: no such folder, nothing of a run in it, or a file in it is not what its name says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            "no such run folder", file=folder, hint="give the folder that 'wutdet train', 'demo' or 'eval' wrote"
        )
    if (folder / DEMO_FILE).exists():
        return _read_demo(folder)
    if not any((folder / name).exists() for name in _TRAIN_FILES):
        raise DataError(
            f"not a run folder: it has none of {DEMO_FILE}, {', '.join(_TRAIN_FILES)}",
            file=folder,
            hint="give the folder that 'wutdet train', 'wutdet demo' or 'wutdet eval --report' wrote",
        )
    if not any((folder / name).exists() for name in ("config.json", "metrics.jsonl")):
        return _read_evaluation(folder)
    return read_train_run(folder)


def _read_evaluation(folder: Path) -> EvaluationRun | TrainRun:
    if not (folder / EVALUATION_FILE).exists():
        return read_train_run(folder)
    file = folder / EVALUATION_FILE
    evaluation = read_json_object(file)
    schema = str(evaluation.get("schema"))
    if not schema.startswith(("wutdet.eval/", "wutdet.score/")):
        raise DataError(f"'schema' is {schema!r}, this report reads 'wutdet.eval/2'", file=file)
    environment = folder / "environment.json"
    return EvaluationRun(folder, evaluation, read_json_object(environment) if environment.exists() else {})


def read_train_run(folder: Path) -> TrainRun:
    """Reads a train run folder; what is absent is left empty and remarked on.

    Raises:
        DataError: a file is not what its name says.
    """
    remarks: list[str] = []

    def optional(name: str, what: str) -> Mapping:
        if (folder / name).exists():
            return read_json_object(folder / name)
        remarks.append(f"{name} is not in the run folder: {what}.")
        return {}

    config = optional("config.json", "the settings of the training are unknown")
    config = mapping(config.get("train")) or config  # one file holds the settings by command
    environment = optional("environment.json", "the machine and the versions are unknown")
    evaluation = optional("eval.json", "there are no precision-recall curves and no AP by size")
    epochs: dict[float, Mapping] = {}
    if (folder / "metrics.jsonl").exists():
        rows, cut = _read_json_lines(folder / "metrics.jsonl")
        if cut:
            remarks.append("The last line of metrics.jsonl is cut short (the run was killed while writing).")
        for line, row in rows:
            if not isinstance(row.get("epoch"), int):
                raise DataError(
                    f"'epoch' must be a whole number, received {row.get('epoch')!r}",
                    file=folder / "metrics.jsonl",
                    line=line,
                )
            epochs[row["epoch"]] = row
    if not epochs:
        remarks.append("metrics.jsonl has no epochs: there are no training curves.")
    return TrainRun(folder, config, environment, evaluation, tuple(epochs[e] for e in sorted(epochs)), tuple(remarks))


def _read_demo(folder: Path) -> DemoRun:
    file = folder / DEMO_FILE
    content = read_json_object(file)
    schema = content.get("schema")
    if schema != "wutdet.demo/1":
        raise DataError(f"'schema' is {schema!r}, this report reads 'wutdet.demo/1'", file=file)
    for key, kind in (("models", list), ("examples", list), ("seconds", dict), ("data", dict), ("environment", dict)):
        value = content.get(key)
        if value is not None and not isinstance(value, kind):
            raise DataError(f"'{key}' must be a {kind.__name__}, received {type(value).__name__}", file=file)
    for key in ("models", "examples"):
        for index, row in enumerate(content.get(key) or ()):
            if not isinstance(row, dict):
                raise DataError(f"'{key}[{index}]' must be an object, received {row!r}", file=file)
    remarks = []
    train = content.get("train")
    if isinstance(train, str) and (folder / train).is_dir():
        run = read_train_run(folder / train)
        # The demo measures accuracy itself, model by model; the run's own eval.json is not needed.
        remarks += [r for r in run.remarks if not r.startswith("eval.json")]
    else:
        run = TrainRun(folder)
        remarks.append("The train run is not in the demo folder: there are no training curves.")
    return DemoRun(folder, content, run, tuple(remarks))


def read_json_object(file: Path) -> dict:
    """The JSON object in a file.

    Raises:
        DataError: unreadable, not JSON, or not an object.
    """
    try:
        value = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", file=file) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text ({error.reason} at byte {error.start})", file=file) from error
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg}", file=file, line=error.lineno) from error
    if not isinstance(value, dict):
        raise DataError(f"a JSON object was expected, received {type(value).__name__}", file=file)
    return value


def _read_json_lines(file: Path) -> tuple[list[tuple[int, dict]], bool]:
    """Objects with their line numbers, and whether the last line is cut short."""
    try:
        lines = file.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", file=file) from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return rows, True
            raise DataError(f"not valid JSON: {error.msg}", file=file, line=number) from error
        if not isinstance(row, dict):
            raise DataError(f"a JSON object was expected, received {type(row).__name__}", file=file, line=number)
        rows.append((number, row))
    return rows, False


# --- optional parts of what was read ---------------------------------------------------------------------------


def mapping(value: object) -> Mapping:
    """``value`` where it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence:
    """``value`` where it is a JSON list, else an empty one."""
    return value if isinstance(value, (list, tuple)) else ()


def stat(evaluation: Mapping, key: str) -> float | None:
    """One of the 12 statistics, or None."""
    value = mapping(evaluation.get("stats")).get(key)
    return value if is_number(value) else None
