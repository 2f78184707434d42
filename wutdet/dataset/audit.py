"""``wutdet data audit``: everything that is wrong with a data set, or spoils an evaluation on it.

Exit code 3 where errors are left (with ``--strict`` also for warnings); what ``--fix`` put right in its copy
is not left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wutdet.config import AuditConfig
from wutdet.dataset.audit_boxes import (
    check_boxes,
    check_classes,
    check_frame_numbers,
    check_sequences,
    check_unlisted_images,
)
from wutdet.dataset.audit_pixels import SPLIT_ORDER, Duplicates, check_files
from wutdet.dataset.columns import LabelColumn
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.findings import SEVERITIES, Finding
from wutdet.dataset.leaks import LeakRate, leak_rate
from wutdet.dataset.load import load_dataset
from wutdet.dataset.pictures import MISSING, scan_pictures
from wutdet.dataset.problems import KINDS
from wutdet.errors import DataError

_EXAMPLES = 3


@dataclass(frozen=True)
class AuditResult:
    """What ``wutdet data audit`` found.

    Attributes:
        findings: gravest first.
        leaks: the leak rate between the splits.
        frames: number of frames looked at.
        boxes: number of boxes looked at.
        strict: whether warnings count as errors for the exit code.
        fixed: what ``--fix`` wrote, line by line; empty without ``--fix``.
    """

    findings: Sequence[Finding]
    leaks: LeakRate
    frames: int
    boxes: int
    strict: bool = False
    fixed: Sequence[str] = field(default=())

    @property
    def exit_code(self) -> int:
        left = [finding for finding in self.findings if not (self.fixed and finding.remedy)]
        grave = {"error", "warning"} if self.strict else {"error"}
        return DataError.exit_code if any(finding.severity in grave for finding in left) else 0

    def count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.audit/1",
            "frames": self.frames,
            "boxes": self.boxes,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "findings": [finding.to_json(fixed=bool(self.fixed)) for finding in self.findings],
            "leak_rate": self.leaks.to_json(),
        }

    def to_text(self) -> str:
        lines = []
        kinds: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            kinds.setdefault((finding.severity, finding.kind), []).append(finding)
        for (severity, kind), findings in kinds.items():
            lines.append(f"{severity:8} {kind} ({len(findings)})")
            lines += [f"    {finding.where}: {finding.message}" for finding in findings[:_EXAMPLES]]
            if len(findings) > _EXAMPLES:
                lines.append(f"    ... and {len(findings) - _EXAMPLES} more (--json FILE has them all)")
        lines += self.fixed
        errors, warnings, infos = (self.count(severity) for severity in SEVERITIES)
        counts = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}, {infos} info"
        lines.append(f"{self.frames} frames, {self.boxes} boxes: {counts}")
        lines.append(self.leaks.to_text())
        return "\n".join(lines)


def run(config: AuditConfig) -> AuditResult:
    """Audits one or several data sets, and with ``config.fix`` writes a cleaned copy.

    Raises:
        DataError: a data set cannot be loaded at all.
        UsageError: the folder for the cleaned copy is not empty.
    """
    datasets, findings = [], []
    for source in config.data:
        problems: list = []
        datasets.append(load_dataset(source, format=config.format, classes=config.classes, problems=problems))
        findings += [_of_reader(problem) for problem in problems]
    dataset, origin = together(datasets)
    part = split_of_frames(dataset, datasets)
    for source, one in zip(config.data, datasets, strict=True):
        findings += check_classes(one, str(source))
    findings += check_boxes(dataset, config)
    findings += check_sequences(dataset, part)
    for one in datasets:
        findings += check_frame_numbers(one, split_of_frames(one, [one]))
    findings += check_unlisted_images(datasets)
    pictures, repeats = None, np.zeros(len(dataset), dtype=bool)
    if config.pixels and len(dataset):
        pictures = np.concatenate([scan_pictures(one, decode=True) for one in datasets if len(one)])
        if (pictures["status"] == MISSING).all():  # the readers have said so
            pictures = None
    if pictures is not None:
        findings += check_files(dataset, pictures)
        duplicates = Duplicates(dataset, pictures, part, origin, config.near_distance)
        findings += duplicates.check()
        repeats = duplicates.repeats_later_split
    leaks = leak_rate(
        dataset.with_labels(split=part),
        against="trainval" if "trainval" in part.names else "train",
        near_distance=config.near_distance,
        pixels=pictures is not None,
        pictures=pictures,
    )
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    fixed: Sequence[str] = ()
    if config.fix is not None:
        from wutdet.dataset.fix import write_cleaned

        fixed = write_cleaned(dataset.with_labels(split=part), findings, repeats, config.fix)
    return AuditResult(tuple(findings), leaks, len(dataset), dataset.box_count, config.strict, fixed)


def _of_reader(problem) -> Finding:
    message = problem.message
    if problem.kind in KINDS:
        message = f"{message}; {KINDS[problem.kind]}"
    return Finding("error", problem.kind, problem.file, problem.line, message, "skip")


def together(datasets: Sequence[Dataset]) -> tuple[Dataset, np.ndarray]:
    """Several data sets as one, over the union of their classes, and int64 [M] which one each frame is of."""
    names = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.category_names))
    same = []
    for dataset in datasets:
        codes = np.array([names.index(name) for name in dataset.category_names], dtype=np.int32)
        info = {} if len(datasets) > 1 else dataset.info  # original category ids are per file
        same.append(replace(dataset, category=codes[dataset.category], category_names=names, info=info))
    origin = np.repeat(np.arange(len(datasets)), [len(dataset) for dataset in datasets])
    return (same[0] if len(same) == 1 else Dataset.concatenate(same)), origin


def split_of_frames(dataset: Dataset, datasets: Sequence[Dataset]) -> LabelColumn:
    """The split of each frame: its label, or the name of its data set where that is one (``train.json``)."""
    named = [
        LabelColumn.constant(len(one), one.name) if one.name in SPLIT_ORDER else LabelColumn.none(len(one))
        for one in datasets
    ]
    fallback, column = LabelColumn.concatenate(named), dataset.split
    if not (np.asarray(column.codes) < 0).any():
        return column
    return LabelColumn.of(column[row] or fallback[row] for row in range(len(dataset)))
