"""``wutdet bench eval``: our evaluator beside pycocotools, faster-coco-eval and hotcoco, in one run on the same files.

Each measurement runs in a process of its own; the evaluators take turns, so that a busy machine slows all of them
alike. The others are optional: what is not installed is said to be absent.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from wutdet.bench.detection_files import Sizes, prepare_files
from wutdet.bench.evaluators import EVALUATORS, SLICES
from wutdet.errors import WutdetError

log = logging.getLogger(__name__)

#: Of the project's third issue.
ISSUE = Sizes(images=20_000, boxes=76_000, detections=464_000)
#: All of WUTDet (arXiv 2604.07759, abstract), with as many detections per image.
WUTDET = Sizes(images=100_576, boxes=381_378, detections=2_333_000)
#: Bars of the same issue.
MAX_S, MAX_FULL_S, MAX_PEAK_MB = 1.0, 6.0, 1024.0
_TITLES = {"wutdet": "wutdet, 12 statistics", "wutdet-full": "wutdet, everything"}


@dataclass(frozen=True)
class EvaluationBenchmark:
    """What was measured.

    Attributes:
        machine: what it depends on; ``load_1min_before`` and ``load_1min_after`` tell whether the machine did other
            work (the measurement itself makes for at most 2), in which case CPU seconds say more than wall seconds.
        rows: one per evaluator and size: evaluator, version, images, boxes, detections, runs; seconds, cpu_s, peak_mb
            (medians, MB of 2^20 bytes), all_seconds, AP, difference (largest to pycocotools' 12 statistics; None where
            it was not measured), parts (median seconds); or ``absent``, the reason.
    """

    machine: Mapping
    rows: Sequence[Mapping]

    def to_text(self) -> str:
        facts = self.machine
        lines = [
            f"{facts['cpu']}, {facts['cores']} cores, load average before "
            f"{facts.get('load_1min_before', 'unknown')}, after {facts.get('load_1min_after', 'unknown')}; "
            "COCO files read and scored, medians of runs in turn"
        ]
        size = None
        for row in self.rows:
            if (row["images"], row["detections"]) != size:
                size = row["images"], row["detections"]
                lines += [
                    f"{row['images']:,} images, {row['boxes']:,} boxes, {row['detections']:,} detections",
                    f"  {'evaluator':<24} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'AP':>9}  others' figures",
                ]
            name = _TITLES.get(row["evaluator"], f"{row['evaluator']} {row['version']}")
            if "absent" in row:
                lines.append(f"  {name:<24} absent: {row['absent']}")
                continue
            difference = "" if row["difference"] is None else f"  within {row['difference']:.1g}"
            lines.append(
                f"  {name:<24} {row['seconds']:>8.2f} {row['cpu_s']:>8.2f} {row['peak_mb']:>8.0f} {row['AP']:>9.6f}"
                f"{difference}"
            )
            if row["parts"]:
                lines.append("    " + ", ".join(f"{part} {seconds:.3f}" for part, seconds in row["parts"].items()))
        first = {row["evaluator"]: row for row in reversed(self.rows) if "seconds" in row}
        bars = (("wutdet", MAX_S), ("wutdet-full", MAX_FULL_S))
        for evaluator, most in bars:
            row = first.get(evaluator)
            if row is not None:
                good = row["seconds"] <= most and row["peak_mb"] <= MAX_PEAK_MB
                lines.append(
                    f"  {_TITLES[evaluator]}: {row['seconds']:.2f} s (bar {most:g} s), {row['peak_mb']:.0f} MB "
                    f"(bar {MAX_PEAK_MB:g} MB): {'ok' if good else 'MISSED'}"
                )
        lines.append(f"everything: figures of all presets and bins, {SLICES} slices, 1,000 resamples, error types")
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": "wutdet.bench-eval/1",
            "machine": dict(self.machine),
            "rows": [dict(row) for row in self.rows],
            "bars": {"wutdet_s": MAX_S, "wutdet_full_s": MAX_FULL_S, "peak_mb": MAX_PEAK_MB},
        }


def run_evaluation_benchmark(
    work: Path | None = None, sizes: Sizes = ISSUE, full_size: Sizes | None = WUTDET, runs: int = 3
) -> EvaluationBenchmark:
    """Writes the files, then lets all evaluators take turns on them.

    Args:
        work: folder for the files, kept and used again (60 MB, and 290 MB for ``full_size``); by default a temporary
            one that is removed.
        sizes: for all evaluators.
        full_size: for ours alone; None leaves it out.
        runs: turns.

    Raises:
        WutdetError: an evaluator that is installed did not run as it should.
    """
    if work is None:
        with tempfile.TemporaryDirectory(prefix="wutdet-eval-") as folder:
            return run_evaluation_benchmark(Path(folder), sizes, full_size, runs)
    from wutdet.bench.timing import machine

    facts = machine()
    rows = _rows(Path(work), sizes, list(EVALUATORS), runs)
    reference = next((row["stats"] for row in rows if row["evaluator"] == "pycocotools" and "stats" in row), None)
    if full_size is not None:
        rows += _rows(Path(work), full_size, ["wutdet", "wutdet-full"], runs)
    if hasattr(os, "getloadavg"):
        facts["load_1min_after"] = round(os.getloadavg()[0], 2)
    for row in rows:
        if "stats" in row:
            same = reference is not None and row["images"] == sizes.images
            stats = np.array(row.pop("stats"))
            row["difference"] = float(np.abs(stats - reference).max()) if same else None
    return EvaluationBenchmark(facts, rows)


def _rows(work: Path, sizes: Sizes, names: Sequence[str], turns: int) -> list[dict]:
    log.info("%d images, %d detections: writing files", sizes.images, sizes.detections)
    truth, results = prepare_files(work, sizes)
    runs: dict[str, list[dict]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names:
            if runs[name] and "absent" in runs[name][0]:
                continue
            run = _measure(name, truth, results)
            runs[name].append(run)
            if "seconds" in run:
                log.info("turn %d, %s: %.2f s", turn + 1, name, run["seconds"])
    return [{"evaluator": name, "version": None, **asdict(sizes), **_summary(name, runs[name])} for name in names]


def _summary(name: str, runs: list[dict]) -> dict:
    if "absent" in runs[0]:
        return {"absent": runs[0]["absent"]}
    if any(run["stats"] != runs[0]["stats"] for run in runs):
        raise WutdetError(f"{name} gave different figures for the same files")

    def median(values) -> float:
        return round(float(np.median(list(values))), 4)

    return {
        "version": version(EVALUATORS[name][0]),
        "runs": len(runs),
        "seconds": median(run["seconds"] for run in runs),
        "all_seconds": [round(run["seconds"], 4) for run in runs],
        "cpu_s": median(run["cpu"] for run in runs),
        "peak_mb": median(run["peak_mb"] for run in runs),
        "parts": {part: median(run["parts"][part] for run in runs) for part in runs[0]["parts"]},
        "AP": runs[0]["stats"][0],
        "stats": runs[0]["stats"],
    }


def _measure(name: str, truth: Path, results: Path) -> dict:
    command = [sys.executable, "-m", "wutdet.bench.evaluators", name, str(truth), str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WutdetError(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}", file=results)
    return json.loads(done.stdout)
