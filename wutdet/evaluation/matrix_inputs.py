"""The pairs of ``wutdet eval --matrix``: the models and data sets that they name, checked before the long part."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset
from wutdet.dataset.pictures import READABLE, scan_pictures
from wutdet.dataset.several import TRAINING_SPLITS, evaluation_frames, training_frames, unique_names
from wutdet.detections import Detections
from wutdet.errors import UsageError, WutdetError
from wutdet.evaluation.categories import align_categories
from wutdet.runtime.load import load_detector

if TYPE_CHECKING:
    from wutdet.runtime.detector import Detector
    from wutdet.runtime.tiling import TiledDetector

log = logging.getLogger(__name__)

_FORM = "MODEL=DATA, =DATA (a set to test on only) or MODEL= (training data not here)"
_EXAMPLE = "wutdet eval --matrix a.pt=data/a.yaml b.pt=data/b.yaml =data/c.yaml"
#: Where no split is asked for, the first of these that a set has is tested on.
_EVALUATION_SPLITS = ("val", "test")


@dataclass(frozen=True)
class Pair:
    """One argument.

    Attributes:
        text: as the user wrote it.
        model: file or released name; None for a set to test on only.
        data: the data set that the model was trained on; None where that is not here.
    """

    text: str
    model: str | None
    data: str | None

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Splits ``MODEL=DATA`` at the ``=`` that has existing files on both sides, else at the first one.

        Raises:
            UsageError: no ``=``, or nothing on both sides of it.
        """
        places = [place for place, letter in enumerate(text) if letter == "="]
        if not places or not text.strip("= "):
            raise UsageError(f"'{text}' is not {_FORM}", hint=_EXAMPLE)

        def both_exist(place: int) -> bool:
            return all(not side or Path(side).exists() for side in (text[:place], text[place + 1 :]))

        place = next((place for place in places if both_exist(place)), places[0])
        return cls(text, text[:place].strip() or None, text[place + 1 :].strip() or None)


@dataclass(frozen=True, eq=False)
class TestSet:
    """A data set: what models train on and what they are tested on.

    Attributes:
        name: short, unique.
        given: as the user named it.
        training: the training split, all frames of a set without one.
        test: the frames to test on; None where the set has training frames only.
        split: of ``test``; None means all frames.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    name: str
    given: str
    training: Dataset
    test: Dataset | None
    split: str | None

    @cached_property
    def training_pictures(self) -> np.ndarray:
        """PICTURE [N]."""
        return self._scan(self.training, "training")

    @cached_property
    def test_pictures(self) -> np.ndarray:
        """PICTURE [M]."""
        return self._scan(self.test, "test")

    def _scan(self, frames: Dataset, what: str) -> np.ndarray:
        pictures = scan_pictures(frames)
        if bad := int((pictures["status"] != READABLE).sum()):
            log.warning("%d %s pictures of '%s' cannot be read and are compared with nothing", bad, what, self.given)
        return pictures


@dataclass(frozen=True, eq=False)
class Subject:
    """A model to be tested.

    Attributes:
        name: short, unique.
        pair: the argument that named it.
        detector: ready to run.
        trained_on: its data set, None where that is not here.
    """

    name: str
    pair: Pair
    detector: Detector | TiledDetector
    trained_on: TestSet | None


def read_inputs(
    texts: Sequence[str],
    *,
    split: str | None,
    format: str,
    classes: str,
    detector_options: Mapping,
    tile: str | int = "none",
    tile_overlap: float = 0.2,
) -> tuple[list[Subject], list[TestSet]]:
    """The models and the data sets, in the order named.

    Raises:
        UsageError: a malformed pair, a model or a test set named twice, no model, or nothing to test on.
        WutdetError: what reading data and models raises, of the same class; the message names the pair. So do
            categories of a data set that a model does not know.
    """
    pairs = [Pair.parse(text) for text in texts]
    _refuse_repetitions(pairs)
    sets: dict[Path, TestSet] = {}
    given = {Path(pair.data).resolve(): pair for pair in reversed(pairs) if pair.data is not None}
    names = unique_names([pair.data for pair in given.values()], format)
    for pair in pairs:
        if pair.data is not None and (place := Path(pair.data).resolve()) not in sets:
            with about(pair.text):
                sets[place] = _read_set(given[place].data, names[given[place].data], split, format, classes)
    tests = [one for one in sets.values() if one.test is not None]
    if not tests:
        raise UsageError("none of the data sets has frames to test on", hint=f"name one as =DATA: {_EXAMPLE}")
    models = [pair for pair in pairs if pair.model is not None]
    stems = Counter(Path(pair.model).stem for pair in models)
    subjects = []
    for pair in models:
        stem = Path(pair.model).stem
        with about(pair.text):
            detector = load_detector(pair.model, tile=tile, tile_overlap=tile_overlap, **detector_options)
        for one in tests:  # before the long part, so that categories that do not fit are told at once
            with about(pair.text, one.given):
                align_categories(Detections.empty(detector.category_names), one.test.category_names)
        trained_on = None if pair.data is None else sets[Path(pair.data).resolve()]
        subjects.append(Subject(stem if stems[stem] == 1 else pair.model, pair, detector, trained_on))
    return subjects, list(sets.values())


@contextmanager
def about(pair: str, data: str | None = None) -> Iterator[None]:
    """Errors raised inside say which pair (and which test set) they are about."""
    try:
        yield
    except WutdetError as error:
        where = f"pair '{pair}'" + ("" if data is None else f" on '{data}'")
        raise type(error)(f"{where}: {error.message}", hint=error.hint, file=error.file, line=error.line) from error


def _refuse_repetitions(pairs: Sequence[Pair]) -> None:
    models: dict[Path, Pair] = {}
    for pair in pairs:
        if pair.model is None:
            continue
        first = models.setdefault(Path(pair.model).resolve(), pair)
        if first is not pair:
            raise UsageError(
                f"the model '{pair.model}' is named twice: in pair '{first.text}' and in pair '{pair.text}'",
                hint="for a model trained on several sets, merge them first: wutdet data merge PART PART --out DIR",
            )
    if not models:
        raise UsageError("no model to test", hint=_EXAMPLE)
    data: dict[Path, Pair] = {}
    for pair in sorted((pair for pair in pairs if pair.data is not None), key=lambda pair: pair.model is None):
        first = data.setdefault(Path(pair.data).resolve(), pair)
        if first is not pair and pair.model is None:
            raise UsageError(
                f"the test set '{pair.data}' is named twice: in pair '{first.text}' and in pair '{pair.text}'",
                hint="every DATA of a pair is tested on anyway; leave the second one out",
            )


def _read_set(given: str, name: str, split: str | None, format: str, classes: str) -> TestSet:
    dataset = load_dataset(given, format=format, classes=classes)
    splits = dataset.split.counts()
    trains = any(training in splits for training in TRAINING_SPLITS)
    wanted = split
    if split is None:
        wanted = next((one for one in _EVALUATION_SPLITS if one in splits), None)
        if trains and wanted is None:
            log.info("'%s' has no split val or test: models trained on it are tested on the other sets", given)
            return TestSet(name, given, training_frames(dataset), None, None)
    test = evaluation_frames(dataset, wanted)
    return TestSet(name, given, training_frames(dataset), test, wanted if wanted in splits else None)
