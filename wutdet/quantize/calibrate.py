"""Which frames calibrate a model: training frames only, drawn evenly over sequences, with a digest."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wutdet.boxes import Letterbox
from wutdet.dataset.dataset import Dataset
from wutdet.errors import DataError, UsageError
from wutdet.images import to_network_input

log = logging.getLogger(__name__)

#: Splits that must never shape a model.
HELD_OUT = ("val", "valid", "validation", "test", "test-dev", "testing")


@dataclass(frozen=True)
class CalibrationSet:
    """Frames that activation ranges are measured on.

    Attributes:
        dataset: the chosen frames, in the order they are used.
        split: the split they come from; empty where the data set has none.
        seed: that chose them.
        digest: SHA-256 over the frames' paths and their files' bytes.
        max_scale: frames are enlarged at most so many times, as the model asks.
    """

    dataset: Dataset
    split: str
    seed: int
    digest: str
    max_scale: float | None = None

    def network_inputs(self, imgsz_hw: tuple[int, int]) -> Iterable[np.ndarray]:
        """float32 [1, 3, H, W] per frame, letterboxed as at run time.

        Raises:
            DataError: a frame cannot be read.
        """
        height, width = imgsz_hw
        for row in range(len(self.dataset)):
            frame = self.dataset.read_image(row)
            letterbox = Letterbox.fit((frame.shape[1], frame.shape[0]), (width, height), self.max_scale)
            yield to_network_input(letterbox.apply(frame))

    def evenly(self, count: int, without: Collection[int] = ()) -> list[int]:
        """Rows of at most ``count`` frames, evenly over those not in ``without``; over all where that leaves none."""
        rows = [row for row in range(len(self.dataset)) if row not in without] or list(range(len(self.dataset)))
        places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
        return [rows[place] for place in places]

    def inputs_of(self, rows: Sequence[int], imgsz_hw: tuple[int, int]) -> list[np.ndarray]:
        """The network inputs of some rows."""
        return list(replace(self, dataset=self.dataset.select(np.asarray(rows))).network_inputs(imgsz_hw))


def choose_frames(dataset: Dataset, split: str, count: int, seed: int) -> CalibrationSet:
    """Draws frames evenly over the sequences of one split: every sequence gives one before any gives a second.

    Args:
        dataset: annotated frames.
        split: the split to draw from; ``val`` and ``test`` are refused.
        count: how many at most; all where the split has fewer.
        seed: of the draw.

    Raises:
        UsageError: a held-out split, or a count below 1.
        DataError: the data set has splits but not this one, or a frame cannot be read.
    """
    if split.lower() in HELD_OUT:
        raise UsageError(
            f"calibration on split '{split}' is refused: what calibrates a model must not test it",
            hint="leave --calib-split at 'train'",
        )
    if count < 1:
        raise UsageError(f"at least one calibration picture is needed, received {count}")
    has_splits = bool((np.asarray(dataset.split.codes) >= 0).any())
    if has_splits:
        dataset = dataset.in_split(split)
    else:
        log.warning(
            "%s says nothing of splits; all %d frames count as '%s' for calibration",
            dataset.name or dataset.root,
            len(dataset),
            split,
        )
    if not len(dataset):
        raise DataError("the calibration data set has no frames", file=dataset.root)
    rows = _spread(np.asarray(dataset.sequence.codes), count, np.random.default_rng(seed))
    chosen = dataset.select(rows)
    digest = hashlib.sha256()
    for row in range(len(chosen)):
        digest.update(chosen.path[row].encode("utf-8", "surrogateescape") + b"\0")
        try:
            digest.update(hashlib.sha256(chosen.image_file(row).read_bytes()).digest())
        except OSError as error:
            raise DataError(
                f"cannot read a calibration picture ({error.strerror})", file=chosen.image_file(row)
            ) from error
    return CalibrationSet(chosen, split if has_splits else "", seed, digest.hexdigest())


def _spread(sequence: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows in rounds: one of each sequence per round, random inside it. Frames without a sequence stand alone."""
    own = sequence.astype(np.int64).copy()
    alone = own < 0
    own[alone] = own.max(initial=-1) + 1 + np.arange(alone.sum())
    order = rng.permutation(len(own))
    round_of, seen = np.empty(len(own), dtype=np.int64), {}
    for row in order:
        round_of[row] = seen.get(own[row], 0)
        seen[own[row]] = round_of[row] + 1
    ranked = order[np.argsort(round_of[order], kind="stable")]
    return np.sort(ranked[:count])
