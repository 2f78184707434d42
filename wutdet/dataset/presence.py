"""Whether the images of a data set are there: one listing per folder, no file is opened."""

from __future__ import annotations

import logging
import os

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.dataset.problems import ProblemSink

logger = logging.getLogger(__name__)


def missing_images(dataset: Dataset) -> np.ndarray:
    """int64 [K]: rows of the frames whose image file is not there."""
    listings: dict[str, frozenset[str]] = {}
    root = str(dataset.root)
    missing = []
    for row, path in enumerate(dataset.path):
        folder, name = os.path.split(path)
        names = listings.get(folder)
        if names is None:
            try:
                names = frozenset(os.listdir(os.path.join(root, folder) or "."))
            except OSError:
                names = frozenset()
            listings[folder] = names
        if name not in names:
            missing.append(row)
    return np.array(missing, dtype=np.int64)


def drop_missing_images(dataset: Dataset, sink: ProblemSink) -> Dataset:
    """The data set without the frames whose image is missing, each of them reported.

    Where not a single image is there, annotations alone may be what the user has (statistics and conversion need no
    picture): then all frames stay and one line in the log says so.

    Raises:
        DataError: an image is missing, and ``sink`` does not collect problems.
    """
    rows = missing_images(dataset)
    if not len(rows):
        return dataset
    if len(rows) == len(dataset):
        logger.warning(
            "%s: none of the %d images is there (the first one should be %s); only the annotations are loaded",
            dataset.name,
            len(dataset),
            dataset.image_file(0),
        )
    for row in rows.tolist():
        if len(rows) == len(dataset) and row:
            break
        more = f" (1 of {len(rows)} missing of {len(dataset)})" if len(rows) > 1 else ""
        message = f"its image '{dataset.path[row]}' is missing{more}"
        file = os.path.normpath(dataset.root / dataset.annotation_file[row])
        if len(rows) < len(dataset):
            sink.report("missing-image", message, file=file, hint=f"it should be {dataset.image_file(row)}")
        elif sink.lenient:
            sink.report("missing-image", f"none of its {len(dataset)} images is there", file=file)
    if len(rows) == len(dataset):
        return dataset
    keep = np.ones(len(dataset), dtype=bool)
    keep[rows] = False
    return dataset.select(keep)
