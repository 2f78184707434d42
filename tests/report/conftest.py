"""Fixtures of the report tests."""

from __future__ import annotations

import json

import numpy as np
import pytest
from evaluation_content import jittered, objects_of, small_dataset, whole_result

from wutdet.dataset.write_coco import write_coco
from wutdet.evaluation.objects_file import write_objects


@pytest.fixture
def evaluated(tmp_path, write_picture):
    """``(dataset, detections, objects, result)`` of twelve small frames."""
    dataset = small_dataset(tmp_path / "data", write_picture)
    found = jittered(dataset, np.random.default_rng(5))
    return dataset, found, objects_of(dataset, found), whole_result()


@pytest.fixture
def evaluation_folder(tmp_path, evaluated):
    """A folder as ``wutdet eval --report`` writes it, and its data set beside it."""
    dataset, found, objects, result = evaluated
    write_coco(dataset, tmp_path / "data/val.json")
    folder = tmp_path / "eval ö"
    folder.mkdir()
    result["protocol"]["data"] = str(tmp_path / "data/val.json")
    (folder / "eval.json").write_text(json.dumps(result))
    (folder / "detections.json").write_text(json.dumps(found.to_coco(dataset.image_id)))
    write_objects(folder / "objects.csv", objects, dataset)
    return folder
