"""Which category of a model means which category of a data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from wutdet.detections import Detections
from wutdet.errors import DataError

log = logging.getLogger(__name__)


def _listed(names: Sequence[str], most: int = 12) -> str:
    text = ", ".join(names[:most])
    return f"{text}, ... ({len(names)} in all)" if len(names) > most else text or "none"


def align_categories(detections: Detections, data_names: Sequence[str]) -> Detections:
    """The detections with the categories of a data set.

    The same names in the same order, or one category on each side, need no change. Otherwise categories are matched by
    name; the model's other categories are left out, with a line in the log.

    Raises:
        DataError: the data set has a category that the model does not know.
    """
    data_names, model_names = tuple(data_names), detections.category_names
    if model_names == data_names:
        return detections
    if len(data_names) == 1 and len(model_names) == 1:
        return Detections(detections.xyxy, detections.score, detections.category, detections.image, data_names)
    missing = [name for name in data_names if name not in model_names]
    if missing:
        raise DataError(
            f"the data set has categories that the model does not know: {_listed(missing)}. "
            f"Model: {_listed(model_names)}. Data: {_listed(data_names)}",
            hint="name the model's category for a data set of one class (--category boat), or map the data's classes "
            "(--classes 'ferry=ship,...')",
        )
    table = np.array([data_names.index(n) if n in data_names else -1 for n in model_names], dtype=np.int32)
    category = table[detections.category]
    kept = category >= 0
    if not kept.all():
        log.info("%d detections of categories that the data set does not have are left out", int((~kept).sum()))
    return Detections(detections.xyxy[kept], detections.score[kept], category[kept], detections.image[kept], data_names)
