"""``wutdet export MODEL``: checkpoint to artefact, in this order: trace, parity, calibrate, quantise, gate, write."""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from wutdet.config import ExportConfig
from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError, ExportError, ModelError, UsageError, finished
from wutdet.export.standard_form import OPSETS
from wutdet.files import check_output_file, write_bytes
from wutdet.runtime.metadata import ArtefactMetadata

log = logging.getLogger(__name__)

SCHEMA = "wutdet.export/1"

_AFTER_A_FALL = {
    "fp32": "set a higher --max-drop",
    "int8": "calibrate on more or more varied training frames (--calib, --calib-images), try another --calib-method",
}
_AFTER_A_FALL_PACKED = "train aware of the format first ('wutdet train --quantize'), choose another format"


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        file: the artefact.
        size_bytes: of the file.
        metadata: as in the file.
        seconds: wall time.
    """

    file: Path
    size_bytes: int
    metadata: ArtefactMetadata
    seconds: float

    @property
    def gate(self) -> Mapping:
        return self.metadata.gate

    def to_text(self) -> str:
        meta, gate = self.metadata, self.metadata.gate
        height, width = meta.imgsz_hw
        lines = [
            f"{self.file}: {meta.weight_format}, input {width}x{height}, {self.size_bytes / 1e6:.1f} MB, "
            f"{len(meta.names)} categories, licence {meta.license}",
            f"  parity with torch: boxes within {meta.parity['max_box_difference_px']} px, scores within "
            f"{meta.parity['max_score_difference']} ({meta.parity['compared']} boxes)",
        ]
        if gate:
            from wutdet.export.gate import gate_table

            outcome = "FAILED, kept because of --force" if gate.get("forced") else "passed"
            lines.append(f"  gate on {gate['images']} frames, AP may fall by {gate['max_drop']}: {outcome}")
            if "scored" in gate:
                lines.append(f"    scored: {gate['scored']}")
            lines += [f"    {line}" for line in gate_table(gate, meta.weight_format)]
        if "threshold" not in gate and meta.threshold is not None:
            lines.append(f"  score threshold {meta.threshold}")
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": SCHEMA,
            "file": str(self.file),
            "size_bytes": self.size_bytes,
            "seconds": round(self.seconds, 1),
            "metadata": self.metadata.to_props(),
            "gate": dict(self.gate),
        }


def run(config: ExportConfig) -> ExportResult:
    """Makes, checks and writes one artefact. A file that was there stays as it was unless the new one passes.

    Raises:
        UsageError: int8 without --calib, a form or activations that the format has not, or a size that is none.
        ModelError: the checkpoint cannot be read.
        DataError: calibration or gate frames cannot be read.
        ExportError: tracing, parity or the gate failed.
    """
    from wutdet.export.layer_formats import wants_layer_formats
    from wutdet.runtime.model_files import CHECKPOINT_SUFFIXES, find_model

    started = time.monotonic()
    imgsz_hw = parse_size(config.imgsz)
    _check_choices(config)
    wants_layer_formats(config)
    path = find_model(config.model)
    if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        raise ModelError(
            "this is an artefact already; export starts from a checkpoint",
            file=path,
            hint="name the .pt or .safetensors file it was made from",
        )
    out = config.out or path.with_name(f"{path.stem}.{config.format}.onnx")
    if out.suffix.lower() != ".onnx":
        raise UsageError(f"the output file must end in .onnx, received '{out}'")
    check_output_file(out)
    # Data first: a mistake there must not cost the minutes before it.
    calibration = _calibration(config)
    gate_frames = _gate_frames(config)

    from wutdet.export.metadata import describe
    from wutdet.runtime.torch_backend import load_checkpoint

    checkpoint = load_checkpoint(path, arch=config.arch, category=config.category, head=config.head)
    if calibration is not None:
        calibration = replace(calibration, max_scale=checkpoint.max_scale)
    names = ("ship",) if config.category is not None else checkpoint.names
    metadata = describe(checkpoint, names, imgsz_hw, config.format)
    if config.licence is not None:
        metadata = replace(metadata, license=config.licence)
    model, metadata = _float_graph(checkpoint, metadata, calibration, gate_frames)
    float_model, float_metadata, packed = model, replace(metadata, weight_format="fp32"), None
    if config.format == "int8":
        from wutdet.export.int8 import int8_graph

        facts = {**_calibration_facts(calibration, config), "method": config.calib_method}
        model, metadata = int8_graph(model, calibration, replace(metadata, calibration=facts), config)
    elif config.format != "fp32":
        from wutdet.export.lowbit import lowbit_graph, round_weights

        metadata = replace(metadata, calibration=_calibration_facts(calibration, config))
        weights = round_weights(checkpoint, model, calibration, imgsz_hw, config)
        model, packed, metadata = lowbit_graph(model, weights, calibration, metadata, config)
    if gate_frames is not None:
        metadata = _gated((float_model, float_metadata), (model, metadata), packed, gate_frames, config)
    data = _to_bytes(model, metadata)
    if config.size_budget_mb is not None and len(data) > config.size_budget_mb * 1e6:
        raise ExportError(f"the file would take {len(data) / 1e6:.3f} MB, and {config.size_budget_mb} are allowed")
    result = ExportResult(out, len(data), metadata, time.monotonic() - started)
    with finished(result):
        write_bytes(out, data)
    return result


def _check_choices(config: ExportConfig) -> None:
    packed = config.format not in ("fp32", "int8")
    if config.activations == "int8" and not packed:
        raise UsageError(
            f"--activations int8 goes with 4-bit weights, received --format {config.format}",
            hint="--format int8 has 8-bit weights and activations; or choose --format hif4",
        )
    if config.form == "standard" and config.format not in OPSETS:
        raise UsageError(
            f"ONNX has no 4-bit types for {config.format}, so --form standard cannot be had",
            hint=f"leave --form at 'packed', or choose --format {' or '.join(OPSETS)}",
        )
    if "int8" in (config.format, config.activations) and not config.calib:
        what = "int8 needs" if config.format == "int8" else "--activations int8 needs"
        raise UsageError(
            f"{what} frames to calibrate on, and --calib is missing",
            hint="--calib DATA names a data set; its training split is used",
        )


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from ``"640"`` or ``"384x640"``.

    Raises:
        UsageError: neither.
    """
    match = re.fullmatch(r"\s*(\d+)(?:\s*[xX,]\s*(\d+))?\s*", str(text))
    if not match or not int(match[1]):
        raise UsageError(f"--imgsz must be one number or HEIGHTxWIDTH, received '{text}'", hint="for example 384x640")
    return int(match[1]), int(match[2] or match[1])


def _calibration(config: ExportConfig):
    from wutdet.dataset.load import load_dataset
    from wutdet.quantize.calibrate import choose_frames

    if config.format == "fp32" or not config.calib:
        return None
    dataset = load_dataset(config.calib, classes=config.classes)
    return choose_frames(dataset, config.calib_split, config.calib_images, config.seed)


def _gate_frames(config: ExportConfig) -> Dataset | None:
    """The frames of the gate; ``None`` where none are to be had, which is logged."""
    from wutdet.dataset.load import load_dataset

    source = config.gate or config.calib
    if source is None:
        return None
    dataset = load_dataset(source, classes=config.classes)
    if (np.asarray(dataset.split.codes) >= 0).any():
        if config.gate is None and not dataset.split.is_(config.gate_split).any():
            raise DataError(
                f"the calibration data set has no split '{config.gate_split}' for the acceptance gate",
                file=source,
                hint="name held-out frames with --gate DATA (and --gate-split), or take the splits.yaml that "
                "'wutdet data split' writes",
            )
        dataset = dataset.in_split(config.gate_split)
    elif config.gate is None:
        raise DataError(
            "the calibration data set has no splits, so nothing is held out for the acceptance gate",
            file=source,
            hint="name held-out frames with --gate DATA, or take the splits.yaml that 'wutdet data split' writes",
        )
    if config.gate_images and len(dataset) > config.gate_images:
        rows = np.linspace(0, len(dataset) - 1, config.gate_images).round().astype(int)
        dataset = dataset.select(np.unique(rows))
    if not len(dataset):
        raise DataError("the gate data set has no frames", file=source)
    return dataset


def _float_graph(checkpoint, metadata: ArtefactMetadata, calibration, gate_frames: Dataset | None):
    from wutdet.export.gate import check_parity
    from wutdet.export.onnx_graph import trace

    model = trace(checkpoint, metadata.imgsz_hw)
    parity = check_parity(checkpoint, model, _picture(metadata.imgsz_hw, calibration, gate_frames))
    log.info("parity: %s", parity)
    return model, replace(metadata, parity=parity)


def _picture(imgsz_hw: tuple[int, int], calibration, gate_frames: Dataset | None) -> np.ndarray:
    """A real frame as network input where there is one, else seeded smooth noise."""
    if calibration is not None:
        return next(iter(calibration.network_inputs(imgsz_hw)))
    rng = np.random.default_rng(0)
    import cv2

    coarse = rng.integers(0, 256, (imgsz_hw[0] // 16, imgsz_hw[1] // 16, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, imgsz_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32) / 255


def _calibration_facts(calibration, config: ExportConfig) -> dict:
    if calibration is None:
        return {}
    return {
        "data": calibration.dataset.name or "unnamed",
        "split": calibration.split or config.calib_split,
        "images": len(calibration.dataset),
        "seed": config.seed,
        "digest": calibration.digest,
    }


def _gated(before, after, packed: onnx.ModelProto | None, frames: Dataset, config: ExportConfig) -> ArtefactMetadata:
    """The artefact's metadata with the gate's figures.

    Args:
        before, after: graph and metadata of the float graph and of the artefact.
        packed: scored in the artefact's place where onnxruntime cannot run that; its weights have the same values.

    Raises:
        ExportError: AP fell too far, and --force was not given.
    """
    from wutdet.export.gate import run_gate, runs_here

    scored = after
    if config.form == "standard" and not runs_here(after[0]):
        log.warning("onnxruntime %s does not run this file; the gate scores its packed form", onnxruntime.__version__)
        scored = (packed, after[1])
    with tempfile.TemporaryDirectory(prefix="wutdet-gate-") as folder:
        files = []
        for model, metadata in (before, scored):
            files.append(Path(folder) / f"{metadata.weight_format}.onnx")
            files[-1].write_bytes(_to_bytes(model, metadata))
        result = run_gate(*files, frames, config.max_drop)
    metadata = after[1]
    facts = {"data": frames.name or "unnamed", "images": len(frames), **result.facts()}
    if scored is not after:
        facts["scored"] = (
            f"packed form of the same weights; onnxruntime {onnxruntime.__version__} does not run this file"
        )
    if not result.passed:
        message = (
            f"acceptance gate: AP falls by {result.drop:.4f} ({facts['AP_float']:.4f} float, {facts['AP']:.4f} "
            f"{metadata.weight_format}) on {len(frames)} frames; at most {config.max_drop} is allowed"
        )
        if not config.force:
            raise ExportError(
                message,
                hint=f"{_AFTER_A_FALL.get(config.format, _AFTER_A_FALL_PACKED)}, or keep it with --force; nothing was "
                "written",
            )
        log.warning("%s; kept because of --force", message)
        facts["forced"] = 1
    accuracy = {key: round(value, 5) for key, value in result.after.stats.items() if value is not None}
    return replace(
        metadata,
        gate=facts,
        accuracy={"data": facts["data"], "images": len(frames), **accuracy},
        threshold=facts.get("threshold", metadata.threshold),
    )


def _to_bytes(model: onnx.ModelProto, metadata: ArtefactMetadata) -> bytes:
    from wutdet.export.anchors import generate_anchors
    from wutdet.export.onnx_graph import set_metadata

    model = generate_anchors(model)
    set_metadata(model, metadata.to_props())
    return model.SerializeToString()
