"""Tiny checkpoints and artefacts, made when first asked for and once per test run."""

from __future__ import annotations

import pytest
from tiny_detectors import shared_artefact, shared_checkpoints, shared_dataset


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
