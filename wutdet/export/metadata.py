"""Filling in an artefact's metadata: where it comes from, how it was made, what it measured."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import wutdet
from wutdet.runtime.metadata import ArtefactMetadata
from wutdet.runtime.torch_backend import Checkpoint


def describe(
    checkpoint: Checkpoint, names: tuple[str, ...], imgsz_hw: tuple[int, int], weight_format: str
) -> ArtefactMetadata:
    """What can be said before anything is measured. The licence is the one the checkpoint states, else ``unknown``."""
    facts = checkpoint.provenance
    kind = "ship detector" if names == ("ship",) else "detector"
    return ArtefactMetadata(
        names=names,
        imgsz_hw=imgsz_hw,
        stride=checkpoint.stride,
        end2end=checkpoint.end2end,
        description=f"{checkpoint.architecture or 'YOLO'} {kind}, {weight_format}, by wutdet",
        author=str(facts.get("author", "")),
        version=wutdet.__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        license=str(facts.get("license") or "unknown"),
        weight_format=weight_format,
        architecture=checkpoint.architecture,
        source_commit=source_commit(),
        source_digest=checkpoint.digest,
        train_data=str(facts.get("train_data", "")),
        threshold=facts.get("threshold"),
        max_scale=checkpoint.max_scale,
    )


def source_commit() -> str:
    """Git commit of the wutdet that runs, with ``-dirty`` where files differ; empty outside of a checkout."""
    folder = Path(wutdet.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
