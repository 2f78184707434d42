"""``wutdet eval --matrix MODEL=DATA ...``: train on one data set, test on all of them.

The question is that of the WUTDet paper's Ship-GEN test set: which training set gives the detector that does best
elsewhere. A figure on another set means little where that set shares pictures with the training set, so test frames
that resemble a training frame of the model are removed from that model's cell, and counted: exact and near duplicates,
and frames with the same boxes in the same places (wutdet.dataset.twins). That is done on a model's own set as well.

Every model looks at every frame once; removal chooses frames for scoring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wutdet.config import AnalysisConfig, AuditConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.twins import TWIN_KINDS, Twins, check_near_distance, seen_in_training
from wutdet.detections import Detections
from wutdet.evaluation.analyse import Plan, Scored, score
from wutdet.evaluation.bootstrap import bootstrap, draw, units_of
from wutdet.evaluation.categories import align_categories
from wutdet.evaluation.intervals import few_units_warning, interval
from wutdet.evaluation.matrix_inputs import Subject, TestSet, about, read_inputs
from wutdet.evaluation.matrix_result import MatrixResult
from wutdet.evaluation.model import detect_all
from wutdet.evaluation.presets import preset as preset_of
from wutdet.evaluation.tables import FoundBoxes, GroundTruth
from wutdet.runtime.tiling import TiledDetector

_STATS = ("AP", "AP50", "APs")


def evaluate_matrix(
    pairs: Sequence[str],
    *,
    split: str | None = None,
    format: str = "auto",
    classes: str = "ship",
    preset: str = "coco",
    near_distance: int = AuditConfig.near_distance,
    resamples: int = 1000,
    seed: int = 0,
    detector_options: Mapping | None = None,
    tile: str | int = "none",
    tile_overlap: float = 0.2,
    progress: bool = True,
) -> MatrixResult:
    """Tests every model on the evaluation frames of every data set.

    Args:
        pairs: ``MODEL=DATA`` (which data a model was trained on: its training split, or all of a set without one),
            ``=DATA`` (a further test set), ``MODEL=`` (training data not here). Several models may name the same data.
        split: to test on; by default ``val``, else ``test``. A set that has neither a training split nor this one is
            used whole.
        format, classes: how to read the data sets.
        preset: evaluation protocol.
        near_distance: hash distance (of 256 bits) up to which two frames are near duplicates.
        resamples, seed: for intervals, over the sequences of the scored frames; 0 gives none.
        detector_options: keyword arguments of ``wutdet.Detector``, for all models (``conf``, ``max_det``, ...).
        tile, tile_overlap: tile policy for all models, as ``load_detector`` takes it.
        progress: a bar on stderr, where that is a terminal.

    Raises:
        UsageError: an impossible distance, tile or overlap, an unknown preset, or pairs that cannot be (read_inputs).
        WutdetError: what reading data and models raises, of the same class; the message names the pair.
    """
    check_near_distance(near_distance)
    scorer = _Scorer.of(preset, resamples, seed)
    subjects, sets = read_inputs(
        pairs,
        split=split,
        format=format,
        classes=classes,
        detector_options=detector_options or {},
        tile=tile,
        tile_overlap=tile_overlap,
    )
    tests = [one for one in sets if one.test is not None]
    twins = _twins_of_pairs(subjects, tests, near_distance)
    fair = _fair_frames(subjects, tests, twins)
    cells, fair_figures = [], {}
    for subject in subjects:
        fair_figures[subject.name] = []
        for test in tests:
            with about(subject.pair.text, test.given):
                found = detect_all(subject.detector, test.test, progress=progress)
                found = align_categories(found, test.test.category_names)
            seen = None if subject.trained_on is None else twins[subject.trained_on.name, test.name]
            keep = np.ones(len(test.test), dtype=bool) if seen is None else ~seen.any
            figures = scorer.figures(test.test, found, keep)
            cells.append({**_cell_facts(subject, test, keep, seen), **figures})
            if test.name in fair:
                same = fair[test.name]
                if (same != keep).any():
                    figures = scorer.figures(test.test, found, same, intervals=False)
                fair_figures[subject.name].append(figures)
    return MatrixResult(
        models=[_model_facts(subject) for subject in subjects],
        tests=[_test_facts(test, subjects) for test in tests],
        cells=cells,
        stats=scorer.stats,
        unseen=_unseen(fair, fair_figures, scorer.stats),
        protocol={
            "preset": preset,
            "split": split,
            "classes": classes,
            "near_distance": near_distance,
            "resamples": resamples,
            "seed": seed,
            **(subjects[0].detector.facts() if isinstance(subjects[0].detector, TiledDetector) else {}),
        },
    )


@dataclass(frozen=True)
class _Scorer:
    """Scores chosen frames: the three figures of a cell, with intervals."""

    config: AnalysisConfig
    stats: tuple[str, ...]

    @classmethod
    def of(cls, preset: str, resamples: int, seed: int) -> _Scorer:
        known = [stat.name for stat in preset_of(preset).stats]
        stats = tuple(name for name in _STATS if name in known) or tuple(known[:3])
        return cls(AnalysisConfig(preset=preset, resamples=resamples, seed=seed, full=False), stats)

    def figures(self, test: Dataset, found: Detections, keep: np.ndarray, *, intervals: bool = True) -> dict:
        """``{figure: value, ..., "intervals": {figure: [low, high] or None}, "units", "unit", "warning"}`` of the
        frames at ``keep`` (bool [M]); intervals are over the sequences of these frames."""
        none = {**dict.fromkeys(self.stats), "intervals": {}, "units": 0, "unit": None, "warning": None}
        if not keep.any():
            return none
        truth = GroundTruth.of(test.select(keep))
        found = found.take(keep[found.image])
        found = Detections(
            found.xyxy, found.score, found.category, (np.cumsum(keep) - 1)[found.image], found.category_names
        )
        plan = Plan.of(truth, AnalysisConfig(preset=self.config.preset, resamples=0, full=False))
        scored = score(plan, FoundBoxes.of(found, truth))
        out = {**none, **{name: scored.result.stats[name] for name in self.stats}}
        return {**out, **self._intervals(scored)} if intervals and self.config.resamples else out

    def _intervals(self, scored: Scored) -> dict:
        unit_of_image, unit = units_of(scored.truth.sequence_codes, scored.truth.image_count)
        resampling = draw(unit_of_image, unit, self.config.resamples, self.config.seed)
        drawn = bootstrap(scored.matches, preset_of(self.config.preset), resampling, stats=self.stats)
        units = resampling.units_in()
        bounds = {name: interval(values, units) for name, values in drawn.items()}
        warning = few_units_warning(unit, units, given=bounds[self.stats[0]] is not None)
        return {"intervals": bounds, "units": units, "unit": unit, "warning": warning}


def _twins_of_pairs(
    subjects: Sequence[Subject], tests: Sequence[TestSet], near_distance: int
) -> dict[tuple[str, str], Twins]:
    """By names of training set and test set: which test frames resemble a training frame."""
    out: dict[tuple[str, str], Twins] = {}
    for subject in subjects:
        training = subject.trained_on
        for test in tests:
            if training is not None and (training.name, test.name) not in out:
                out[training.name, test.name] = seen_in_training(
                    test.test,
                    test.test_pictures,
                    training.training,
                    training.training_pictures,
                    near_distance=near_distance,
                )
    return out


def _fair_frames(
    subjects: Sequence[Subject], tests: Sequence[TestSet], twins: Mapping[tuple[str, str], Twins]
) -> dict[str, np.ndarray]:
    """Test sets that none of several models was trained on: bool [M] by name, the frames left for all of the models.

    A model of unknown training leaves nothing to be called unseen.
    """
    trained_on = {None if subject.trained_on is None else subject.trained_on.name for subject in subjects}
    if len(subjects) < 2 or None in trained_on:
        return {}
    out = {}
    for test in tests:
        if test.name not in trained_on:
            keep = ~np.any([twins[training, test.name].any for training in trained_on], axis=0)
            if keep.any():
                out[test.name] = keep
    return out


def _unseen(fair: Mapping[str, np.ndarray], figures: Mapping[str, list[dict]], stats: Sequence[str]) -> dict | None:
    if not fair:
        return None
    mean = {}
    for name, rows in figures.items():
        values = {stat: [row[stat] for row in rows if row[stat] is not None] for stat in stats}
        mean[name] = {stat: sum(present) / len(present) if present else None for stat, present in values.items()}
    ranked = [name for name in mean if mean[name][stats[0]] is not None]
    best = max(ranked, key=lambda name: mean[name][stats[0]], default=None)
    frames = {name: int(keep.sum()) for name, keep in fair.items()}
    return {"tests": list(fair), "frames": frames, "mean": mean, "best": best}


def _cell_facts(subject: Subject, test: TestSet, keep: np.ndarray, seen: Twins | None) -> dict:
    own = subject.trained_on is test
    return {
        "model": subject.name,
        "trained_on": None if subject.trained_on is None else subject.trained_on.name,
        "test": test.name,
        "own": own,
        "frames": int(keep.sum()),
        "boxes": int((keep[test.test.box_image] & ~np.asarray(test.test.ignore)).sum()),
        "removed": int((~keep).sum()),
        "removed_by": dict.fromkeys(TWIN_KINDS, 0) if seen is None else seen.counts(),
        "same_sequence": _of_trained_sequences(test, keep) if own else None,
    }


def _of_trained_sequences(test: TestSet, keep: np.ndarray) -> int:
    """Scored frames of a sequence that has training frames too."""
    trained = {test.training.sequence[row] for row in range(len(test.training))} - {None}
    return sum(test.test.sequence[row] in trained for row in np.flatnonzero(keep).tolist())


def _model_facts(subject: Subject) -> dict:
    detector, training = subject.detector, subject.trained_on
    return {
        "name": subject.name,
        "model": subject.pair.model,
        "trained_on": None if training is None else training.name,
        "training_frames": None if training is None else len(training.training),
        "input_size": int(detector.imgsz),
        "conf": float(detector.threshold),
        "max_det": int(detector.max_det),
    }


def _test_facts(test: TestSet, subjects: Sequence[Subject]) -> dict:
    return {
        "name": test.name,
        "data": test.given,
        "split": test.split,
        "frames": len(test.test),
        "boxes": int((~np.asarray(test.test.ignore)).sum()),
        "trained_by": [subject.name for subject in subjects if subject.trained_on is test],
    }
