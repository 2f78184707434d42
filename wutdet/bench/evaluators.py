"""One evaluator on one pair of COCO files, in a process of its own: ``python -m wutdet.bench.evaluators NAME GT DT``.

The clock starts when everything is imported, and covers reading both files up to the last figure. Prints one JSON
object: seconds, cpu (of all threads), peak_mb (of the whole process), stats (12 in pycocotools' order), parts (seconds
of each part, where the evaluator is ours).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

#: Slices of the "everything" row.
SLICES = 10


class Clock:
    """Wall time of parts that follow each other."""

    def __init__(self):
        self.parts: dict[str, float] = {}
        self._last = time.perf_counter()

    def part(self, name: str) -> None:
        """Ends a part."""
        now = time.perf_counter()
        self.parts[name] = now - self._last
        self._last = now


def _wutdet() -> Callable:
    from wutdet.evaluation.accumulate import Ranking
    from wutdet.evaluation.coco import match_for
    from wutdet.evaluation.coco_files import read_ground_truth, read_results
    from wutdet.evaluation.presets import preset
    from wutdet.evaluation.summary import summarise

    def run(truth_file: str, results_file: str, clock: Clock):
        truth, category_ids = read_ground_truth(truth_file)
        clock.part("read ground truth")
        found = read_results(results_file, truth, category_ids)
        clock.part("read detections")
        matches = match_for([preset("coco")], truth, found, bins=())
        clock.part("match")
        stats = summarise(matches, preset("coco"), ranking=Ranking.of(matches))
        clock.part("accumulate")
        return stats.values()

    return run


def _wutdet_full() -> Callable:
    from wutdet.dataset.columns import LabelColumn
    from wutdet.evaluation.analyse import analyse
    from wutdet.evaluation.coco_files import read_ground_truth, read_results

    def run(truth_file: str, results_file: str, clock: Clock):
        truth, category_ids = read_ground_truth(truth_file)
        found = read_results(results_file, truth, category_ids)
        clock.part("read")
        codes = np.random.default_rng(0).integers(0, SLICES, truth.image_count).astype(np.int32)
        scenes = LabelColumn(codes, tuple(f"scene {number}" for number in range(SLICES)))
        result = analyse(replace(truth, labels={"scene": scenes}), found)
        assert len(result.slices) == SLICES
        clock.part("analyse")
        return result.stats.values()

    return run


def _pycocotools() -> Callable:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return _in_the_manner_of(COCO, COCOeval)


def _faster_coco_eval() -> Callable:
    from faster_coco_eval import COCO, COCOeval_faster

    return _in_the_manner_of(COCO, COCOeval_faster)


def _hotcoco() -> Callable:
    from hotcoco import COCO, COCOeval

    return _in_the_manner_of(COCO, COCOeval)


def _in_the_manner_of(coco_class, eval_class) -> Callable:
    def run(truth_file: str, results_file: str, clock: Clock):
        truth = coco_class(truth_file)
        evaluation = eval_class(truth, truth.loadRes(results_file), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return np.asarray(evaluation.stats)[:12]

    return run


#: name -> (the package whose version counts, a function that imports and returns what is timed).
EVALUATORS: dict[str, tuple[str, Callable]] = {
    "wutdet": ("wutdet", _wutdet),
    "wutdet-full": ("wutdet", _wutdet_full),
    "hotcoco": ("hotcoco", _hotcoco),
    "faster-coco-eval": ("faster-coco-eval", _faster_coco_eval),
    "pycocotools": ("pycocotools", _pycocotools),
}


def measure(name: str, truth_file: str, results_file: str) -> dict:
    """See the module's own text; ``{"absent": reason}`` where the evaluator is not installed."""
    try:
        evaluator = EVALUATORS[name][1]()
    except ImportError as error:
        return {"absent": str(error)}
    clock, busy = Clock(), time.process_time()
    started = time.perf_counter()
    stats = evaluator(truth_file, results_file, clock)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    stats = [-1.0 if value is None else float(value) for value in stats]
    return {"seconds": seconds, "cpu": cpu, "peak_mb": _peak_mb(), "stats": stats, "parts": clock.parts}


def _peak_mb() -> float:
    """MB of 2^20 bytes. Not ru_maxrss where there is better: Linux counts the parent's memory in, up to exec."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the others talk while they work
    print(json.dumps(measure(*sys.argv[1:])), file=answer, flush=True)
