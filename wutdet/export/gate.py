"""The acceptance gate: parity of the float graph, exact decoding of packed weights, and accuracy of the artefact
against the float graph, by the same evaluator."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime

from wutdet.dataset.dataset import Dataset
from wutdet.errors import ExportError
from wutdet.quantize.onnx_functions import DOMAIN
from wutdet.quantize.weights import PackedWeight
from wutdet.runtime.torch_backend import Checkpoint

if TYPE_CHECKING:
    from wutdet.evaluation.result import EvaluationResult

log = logging.getLogger(__name__)

#: Bounds of the parity check. float32 sums in another order give about 1e-3 px on a 640 px input.
MOST_BOX_DIFFERENCE_PX, MOST_SCORE_DIFFERENCE = 0.05, 0.001
#: The best boxes are compared; those far below any threshold have no meaning and there are thousands.
COMPARED_BOXES = 100


@dataclass(frozen=True)
class Figures:
    """What the evaluator says of one file on the gate's frames.

    Attributes:
        stats: the 12 COCO statistics; ``None`` where there are no such ships.
        bins: ships and AP by size bin, without the bins that have no ships.
        threshold: the score with the best F1, ``None`` without a single hit.
    """

    stats: Mapping[str, float | None]
    bins: Mapping[str, tuple[int, float]]
    threshold: float | None

    @classmethod
    def of(cls, result: EvaluationResult) -> Figures:
        bins = {row["name"]: (row["boxes"], row["AP"]) for row in result.size_bins if row["AP"] is not None}
        return cls(dict(result.stats), bins, None if result.threshold is None else float(result.threshold["score"]))


@dataclass(frozen=True)
class GateResult:
    """The float graph and the artefact on the gate's frames.

    Attributes:
        before, after: figures of the float graph and of the artefact.
        max_drop: largest accepted fall of AP.
    """

    before: Figures
    after: Figures
    max_drop: float

    @property
    def drop(self) -> float:
        """Fall of AP; a figure that does not exist counts as 0."""
        return (self.before.stats["AP"] or 0.0) - (self.after.stats["AP"] or 0.0)

    @property
    def passed(self) -> bool:
        return self.drop <= self.max_drop

    def facts(self) -> dict:
        """The artefact's metadata entry ``gate``, but for the data; figures that do not exist are left out."""
        facts = {
            "AP_float": round(self.before.stats["AP"] or 0.0, 5),
            "AP": round(self.after.stats["AP"] or 0.0, 5),
            "drop": round(self.drop, 5),
            "max_drop": self.max_drop,
            "passed": int(self.passed),
        }
        for ending, figures in (("_float", self.before), ("", self.after)):
            for name in ("AP50", "AP75"):
                if figures.stats[name] is not None:
                    facts[name + ending] = round(figures.stats[name], 5)
            if figures.bins:
                facts[f"AP_by_size{ending}"] = {name: round(ap, 5) for name, (_, ap) in figures.bins.items()}
            if figures.threshold is not None:
                facts[f"threshold{ending}"] = round(figures.threshold, 4)
        if self.after.bins:
            facts["ships_by_size"] = {name: ships for name, (ships, _) in self.after.bins.items()}
        return facts


def gate_table(facts: Mapping, weight_format: str) -> list[str]:
    """The gate's figures for people, float and artefact side by side.

    Args:
        facts: the metadata entry ``gate``.
        weight_format: of the artefact; ``fp32`` has one column, since both are one file.
    """
    rows = [(name, facts.get(f"{name}_float"), facts.get(name)) for name in ("AP", "AP50", "AP75")]
    floats, ships = facts.get("AP_by_size_float", {}), facts.get("ships_by_size", {})
    for name, ap in facts.get("AP_by_size", {}).items():
        rows.append((f"AP {name}, {ships[name]} ship{'s' * (ships[name] != 1)}", floats.get(name), ap))
    rows.append(("threshold (best F1)", facts.get("threshold_float"), facts.get("threshold")))
    rows = [row for row in rows if row[1:] != (None, None)]
    width = max(len(name) for name, *_ in rows)
    if weight_format == "fp32":
        return [f"{name:<{width}}  {_figure(after)}" for name, _, after in rows]
    lines = [f"{'':<{width}}   float  {weight_format:>6}  change"]
    for name, before, after in rows:
        change = "" if None in (before, after) else f"  {after - before:+.4f}"
        lines.append(f"{name:<{width}}  {_figure(before)}  {_figure(after)}{change}")
    return lines


def _figure(value: float | None) -> str:
    return "  none" if value is None else f"{value:.4f}"


def check_parity(checkpoint: Checkpoint, model: onnx.ModelProto, network_input: np.ndarray) -> dict[str, float]:
    """Largest differences between torch and onnxruntime on one network input, over the best 100 boxes.

    Raises:
        ExportError: they differ by more than rounding explains.
    """
    import torch

    with torch.inference_mode():
        ours = checkpoint.model(torch.from_numpy(network_input)).float().numpy()[0]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    theirs = session.run(None, {session.get_inputs()[0].name: network_input})[0][0]
    if ours.shape != theirs.shape:
        raise ExportError(f"torch gives an output of shape {ours.shape}, onnxruntime {theirs.shape}")
    if checkpoint.end2end:
        keep = np.argsort(-ours[:, 4], kind="stable")[:COMPARED_BOXES]
        # Rows of nearly equal score may change places, so each torch row is matched to the nearest row.
        nearest = np.abs(ours[keep][:, None] - theirs[None]).max(axis=2).argmin(axis=1)
        boxes, boxes_onnx = ours[keep][:, :4], theirs[nearest][:, :4]
        scores, scores_onnx = ours[keep][:, 4:5], theirs[nearest][:, 4:5]
    else:
        keep = np.argsort(-ours[4:].max(axis=0), kind="stable")[:COMPARED_BOXES]
        boxes, boxes_onnx, scores, scores_onnx = ours[:4, keep], theirs[:4, keep], ours[4:, keep], theirs[4:, keep]
    facts = {
        "compared": len(keep),
        "max_box_difference_px": float(f"{np.abs(boxes - boxes_onnx).max():.3g}"),
        "max_score_difference": float(f"{np.abs(scores - scores_onnx).max():.3g}"),
    }
    if facts["max_box_difference_px"] > MOST_BOX_DIFFERENCE_PX or facts["max_score_difference"] > MOST_SCORE_DIFFERENCE:
        raise ExportError(
            f"the ONNX graph does not compute what torch computes: boxes differ by up to "
            f"{facts['max_box_difference_px']} px, scores by up to {facts['max_score_difference']}",
            hint="report this with the versions of torch and onnxruntime; the file was not written",
        )
    return facts


def check_decoding(model: onnx.ModelProto, weights: Mapping[str, PackedWeight]) -> None:
    """Makes sure that onnxruntime decodes a file's packed weights to the very values that were packed.

    Raises:
        ExportError: a value differs.
    """
    decoded = decode_packed(model)
    for name, weight in weights.items():
        expected = weight.dequantize()
        if name not in decoded or not np.array_equal(decoded[name], expected, equal_nan=True):
            wrong = (decoded[name] != expected).sum() if name in decoded else expected.size
            raise ExportError(
                f"onnxruntime {onnxruntime.__version__} decodes {wrong} of {expected.size} values of '{name}' wrongly",
                hint="report this with the version of onnxruntime; the file was not written",
            )


def runs_here(model: onnx.ModelProto) -> bool:
    """Whether the installed onnxruntime has kernels for everything in a graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception classes have no common public base
        log.info("onnxruntime %s: %s", onnxruntime.__version__, str(error).strip().splitlines()[0])
        return False
    return True


def decode_packed(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Packed weights as onnxruntime decodes them, float32 [O, I, H, W] by name. The rest of the graph is not run."""
    calls = [node for node in model.graph.node if node.domain == DOMAIN]
    if not calls:
        return {}
    outputs = [onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, [None] * 4) for node in calls]
    needed = {name for node in calls for name in node.input}
    parts = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    graph = onnx.helper.make_graph(calls, "packed", [], outputs, parts)
    alone = onnx.helper.make_model(
        graph, opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(alone.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in outputs], session.run(None, {}), strict=True))


def score_artefact(file: Path, dataset: Dataset) -> EvaluationResult:
    """The evaluation of one artefact by the evaluator of ``wutdet eval``: scores from 0.001 up, 100 boxes a frame.

    Raises:
        DataError: a frame cannot be read, or the categories do not fit.
    """
    from wutdet.evaluation.model import evaluate_model
    from wutdet.runtime.detector import Detector

    # A stock runtime: the gate speaks for whoever takes the file, with whatever they run it on.
    detector = Detector(file, backend="onnxruntime", conf=0.001, max_det=100)
    log.info("scoring %s on %d frames", detector.metadata.weight_format, len(dataset))
    return evaluate_model(detector, dataset)[1]


def run_gate(float_file: Path, artefact_file: Path, dataset: Dataset, max_drop: float) -> GateResult:
    """Scores both files on the same frames; where they are one file, once."""
    after = Figures.of(score_artefact(artefact_file, dataset))
    before = after if float_file == artefact_file else Figures.of(score_artefact(float_file, dataset))
    return GateResult(before, after, max_drop)
