"""Fixtures that every room's tests may use."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_detectors import shared_artefact, shared_checkpoints, shared_dataset

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository_dir() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real frames, weights and golden vectors beside the checkout; skips where there is none."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"{folder} is absent: real frames and weights are not part of the repository")
    return folder


@pytest.fixture
def rng(request) -> np.random.Generator:
    """A generator seeded by the test's own name, so that tests do not depend on their order."""
    return np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture
def write_picture():
    """Writes a small random picture and returns its path."""

    def write(path: Path, size_wh: tuple[int, int] = (64, 48), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
        ok, data = cv2.imencode(path.suffix, pixels)
        assert ok
        path.write_bytes(data.tobytes())
        return path

    return write


@pytest.fixture
def checkpoints(tmp_path_factory):
    """``checkpoints["yolo26n"]``, ``checkpoints["yolo11n"]``: .pt files."""
    return shared_checkpoints(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def dataset_file(tmp_path_factory):
    """A COCO file with splits, annotated with what the yolo26n checkpoint finds."""
    return shared_dataset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def artefact(tmp_path_factory):
    """``artefact("yolo26n", "nms", "int8")``: a file made by ``wutdet export``."""
    return lambda arch, head, number_format: shared_artefact(tmp_path_factory.mktemp("tiny"), arch, head, number_format)
