"""``wutdet score GT.json DT.json``: COCO result files from anywhere, in float64 from the file to the figure."""

from __future__ import annotations

from wutdet.config import ScoreConfig
from wutdet.evaluation.coco import evaluate
from wutdet.evaluation.coco_files import read_ground_truth, read_results
from wutdet.evaluation.result import EvaluationResult


def run(config: ScoreConfig) -> EvaluationResult:
    """Scores one file against the other.

    Raises:
        DataError: a file that cannot be scored; the message names the file and the entry.
    """
    ground_truth, category_ids = read_ground_truth(config.ground_truth)
    found = read_results(config.detections, ground_truth, category_ids)
    result = evaluate(ground_truth, found, preset=config.preset)
    return result.with_protocol(ground_truth=str(config.ground_truth), results=str(config.detections))
