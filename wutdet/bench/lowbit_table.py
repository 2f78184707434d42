"""What low-bit weights and activations cost a detector: one row per format, activation width and method.

Every row is a checkpoint quantised on calibration frames and scored on held-out frames, with the paired difference to
the float checkpoint on the same frames. Finished rows are kept in ``rows.jsonl`` and not done again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wutdet.config import AnalysisConfig
from wutdet.detections import Detections
from wutdet.errors import DataError
from wutdet.evaluation.analyse import Plan, compare_scored, score
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.coco_files import read_results
from wutdet.evaluation.model import category_ids, detect_all, to_coco_results
from wutdet.evaluation.network_input import NetworkInput
from wutdet.evaluation.tables import FoundBoxes, GroundTruth
from wutdet.files import write_json
from wutdet.quantize.lowbit import LowBitSettings, convolutions, quantise_weights, round_inputs
from wutdet.quantize.observe import Observation, observe

if TYPE_CHECKING:
    from wutdet.dataset.dataset import Dataset
    from wutdet.runtime.detector import Detector

log = logging.getLogger(__name__)

#: Edges of the size bins, sqrt(area) in pixels of the frame.
BINS = "16,32,96"
#: Format and its options.
FORMATS: dict[str, tuple[str, tuple[tuple[str, object], ...]]] = {
    "int8": ("int8", ()),
    "int4": ("int4", ()),
    "mxfp4 floor": ("mxfp4", (("scale_rule", "floor"),)),
    "mxfp4 truncation-free": ("mxfp4", (("scale_rule", "ceil"),)),
    "nvfp4": ("nvfp4", ()),
    "hif4": ("hif4", ()),
}
ACTIVATIONS = {"A16": "float", "A8": "int8", "A4": "same"}
METHODS = {
    "nearest": {"method": "nearest", "restore": False},
    "restored": {"method": "nearest", "restore": True},
    "optimised": {"method": "gptq", "restore": True},
}
#: The method of rows whose weights were rounded in training.
TRAINED = "trained"


@dataclass(frozen=True)
class Row:
    """One way to quantise.

    Attributes:
        format: key of ``FORMATS``, or ``fp32``.
        activations: key of ``ACTIVATIONS``.
        method: key of ``METHODS``, or ``trained``: the weights of a network that was trained aware of its rounding.
    """

    format: str = "fp32"
    activations: str = "A16"
    method: str = "nearest"

    @property
    def scheme(self) -> str:
        bits = {"fp32": 32, "int8": 8}.get(self.format, 4)
        return f"W{bits}A{self.activations[1:]}"

    @property
    def trained(self) -> bool:
        return self.method == TRAINED

    def settings(self) -> LowBitSettings:
        format, options = FORMATS[self.format]
        return LowBitSettings(
            format, options=options, activations=ACTIVATIONS[self.activations], **METHODS.get(self.method, {})
        )


def all_rows(
    formats: Iterable[str] = FORMATS, activations: Iterable[str] = ACTIVATIONS, methods: Iterable[str] = METHODS
) -> list[Row]:
    """The float row and every combination; int8 has no 4-bit activations and no rounding to optimise."""
    rows = [Row()]
    for method in methods:
        for width in activations:
            for name in formats:
                if name != "int8" or (width != "A4" and method != "optimised"):
                    rows.append(Row(name, width, method))
    return rows


def run_table(
    load: Mapping[str, Callable[[], Detector]],
    test: Mapping[str, Dataset],
    calibration: Sequence[np.ndarray],
    folder: Path,
    rows: Sequence[Row],
    load_trained: Mapping[tuple[str, str, bool], Callable[[], Detector]] | None = None,
) -> list[dict]:
    """Measures the rows that ``folder`` does not have yet.

    Args:
        load: name of a model -> function that gives a fresh float ``Detector`` of its checkpoint.
        test: name of a data set -> its held-out frames.
        calibration: network inputs of training frames, float32 [1, 3, H, W].
        folder: gets ``rows.jsonl`` and the detections of every row.
        rows: the ways to quantise; the first must be the float row.
        load_trained: (name of a model, format, inputs too) -> the same for its checkpoint trained aware of that
            format; A4 rows take one whose inputs were rounded too. Trained rows without one are left out.

    Returns:
        All rows of the folder, as dicts: model, data, format, scheme, method, stats, the paired difference of AP to
        float with its interval, and seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "rows.jsonl"
    done = {_key(row): row for row in read_rows(file)}
    for model, make in load.items():
        observed = None
        for row in rows:
            if row.trained:
                make_row = (load_trained or {}).get((model, row.format, row.activations == "A4"))
                if make_row is None:
                    continue
            else:
                make_row = make
            missing = [name for name in test if _key({"model": model, "data": name, **asdict(row)}) not in done]
            if not missing:
                continue
            started = time.monotonic()
            detector = make_row()
            if observed is None and row.format != "fp32" and not row.trained:
                observed = _observe(detector, calibration)
            bits = quantise(detector, row, calibration, observed)
            for name in missing:
                found = align_categories(detect_all(detector, test[name]), test[name].category_names)
                target = folder / f"{_slug(model, name, row)}.json"
                write_json(target, to_coco_results(found, test[name]), indent=None)
                float_file = folder / f"{_slug(model, name, Row())}.json"
                entry = {
                    "model": model,
                    "data": name,
                    **asdict(row),
                    "scheme": row.scheme,
                    "weight_bits": bits,
                    **_scores(test[name], found, float_file, detector),
                    "seconds": round(time.monotonic() - started, 1),
                }
                with open(file, "a", encoding="utf-8") as lines:
                    lines.write(json.dumps(entry) + "\n")
                done[_key(entry)] = entry
                log.info(
                    "%s on %s, %s %s %s: AP %.4f", model, name, row.format, row.scheme, row.method, entry["stats"]["AP"]
                )
    return list(done.values())


def quantise(
    detector: Detector,
    row: Row,
    calibration: Sequence[np.ndarray],
    observed: Mapping[str, Observation] | None = None,
) -> float | None:
    """Quantises a detector's network in place.

    Args:
        detector: on torch; for a trained row its weights are rounded already.
        row: how.
        calibration: network inputs, float32 [1, 3, H, W].
        observed: what the float network does on them; saves a pass.

    Returns:
        Mean bits of the packed weights, ``None`` for the float row.
    """
    if row.format == "fp32":
        return None
    network = detector.backend.model
    if row.trained:
        packed = detector.backend.packed
        round_inputs(network, packed, calibration, row.settings())
    else:
        names = packable_parameters(network)
        packed = quantise_weights(network, names, lambda: iter(calibration), row.settings(), observed)
    values = sum(int(np.prod(weight.shape)) for weight in packed.values())
    return round(8 * sum(weight.nbytes for weight in packed.values()) / values, 3)


def _observe(detector: Detector, calibration: Sequence[np.ndarray]) -> dict[str, Observation]:
    network = detector.backend.model
    layers = convolutions(network, packable_parameters(network))
    return observe(network, layers, calibration, inputs=True)


def packable_parameters(network) -> list[str]:
    """What quantisation-aware training would round, without the branches of a head that is not in use."""
    from wutdet.quantize.aware import trainable_parameters

    head = len(network.model) - 1
    nms_free = bool(getattr(network.model[-1], "end2end", False))
    idle = ("cv2", "cv3") if nms_free else ("one2one_cv2", "one2one_cv3")
    idle_branches = tuple(f"model.{head}.{name}." for name in idle)
    return [name for name in trainable_parameters(network) if not name.startswith(idle_branches)]


def read_rows(file: Path) -> list[dict]:
    """The rows of a ``rows.jsonl``; none where there is no such file.

    Raises:
        DataError: a line that is no row.
    """
    if not file.is_file():
        return []
    rows = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise DataError(
                f"not a row of the table: {error}", file=file, line=number, hint="delete the line; it is measured again"
            ) from error
    return rows


def to_markdown(rows: Sequence[Mapping]) -> str:
    """One table per model and data set."""
    parts = []
    for model, data in dict.fromkeys((row["model"], row["data"]) for row in rows):
        parts.append(f"**{model} on {data}**\n")
        parts.append("| format | scheme | method | AP | AP75 | to float [95 %] | " + " | ".join(_bins(rows[0])) + " |")
        parts.append("| --- | --- | --- | --- | --- | --- |" + " --- |" * len(_bins(rows[0])))
        for row in rows:
            if (row["model"], row["data"]) == (model, data):
                parts.append(_line(row))
        parts.append("")
    return "\n".join(parts)


def _line(row: Mapping) -> str:
    gap = row.get("difference")
    text = "" if not gap else f"{100 * gap['difference']:+.1f}"
    if gap and gap["interval"]:
        text += " [{:+.1f}, {:+.1f}]".format(*(100 * bound for bound in gap["interval"]))
    bins = [_figure(value) for value in row["bins"].values()]
    figures = [_figure(row["stats"]["AP"]), _figure(row["stats"]["AP75"]), text, *bins]
    return f"| {row['format']} | {row['scheme']} | {row['method']} | " + " | ".join(figures) + " |"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}".lstrip("0")


def _bins(row: Mapping) -> list[str]:
    return [f"AP {name}" for name in row["bins"]]


def _scores(dataset: Dataset, found: Detections, float_file: Path, detector: Detector) -> dict:
    truth = GroundTruth.of(dataset)
    config = AnalysisConfig(bins=BINS, full=False)
    plan = Plan.of(truth, config, NetworkInput.of_long_side(detector.imgsz))
    scored = score(plan, FoundBoxes.of(found, truth))
    reference = score(plan, read_results(float_file, truth, np.asarray(category_ids(dataset))))
    comparison = compare_scored(plan, reference, scored, ("float", "low-bit"))
    result = scored.result
    return {
        "images": len(dataset),
        "imgsz": int(detector.imgsz),
        "stats": {key: result.stats[key] for key in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")},
        "bins": {row["name"]: row["AP"] for row in result.to_json()["size_bins"]},
        "threshold": result.threshold,
        "difference": comparison["stats"]["AP"],
    }


def _key(row: Mapping) -> tuple:
    return tuple(row[name] for name in ("model", "data", "format", "activations", "method"))


def _slug(model: str, data: str, row: Row) -> str:
    return "-".join((model, data, row.format.replace(" ", "-"), row.activations, row.method))
