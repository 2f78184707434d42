"""Do 95 % intervals hold the true value 95 times in 100? Measured on simulated recordings, whose true value is known.

Many small data sets are drawn from a world (see simulated.py), each is evaluated as ``wutdet eval`` does it, and the
intervals that hold the true value are counted. The true value is that of very large samples of the same world.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from wutdet.bench.simulated import Skill, World, simulate
from wutdet.evaluation.bootstrap import bootstrap, effective_units_of, resample
from wutdet.evaluation.compare import compare
from wutdet.evaluation.intervals import interval, p_value
from wutdet.evaluation.matching import Matches, match
from wutdet.evaluation.presets import preset
from wutdet.evaluation.protocol import ALL, Protocol, Stat, View
from wutdet.evaluation.summary import summarise
from wutdet.evaluation.tables import FoundBoxes, GroundTruth

log = logging.getLogger(__name__)

SCHEMA = "wutdet.bench-coverage/1"

#: The project's third issue: nominal 95 % shall cover between these.
LEAST, MOST = 0.92, 0.98

_WANTED = ("AP", "AP50", "APs", "AR100")
_COMPARED = ("AP", "AP50")

PROTOCOL = Protocol(
    name="coverage",
    source="figures of the presets coco and aitod",
    stats=(
        *(stat for stat in preset("coco").stats if stat.name in _WANTED),
        Stat("APvt", "AP, ships below 8 px", "precision", View("very tiny", 0, 8**2), 100),
    ),
)

_USUAL = World()

#: Frames of each sample that gives the true values, with about 640,000 ships.
TRUE_FRAMES = 200_000
_TRUE_SAMPLES = 8
_LEVEL = 0.95


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        name: short, for tables.
        about: what it shows.
        sequences: in each data set.
        world: what they are drawn from.
        draws: what the bootstrap draws, "sequence" or "image".
        part: only frames with this condition count ("rough"); all by default.
        sound: coverage is expected to be right here.
    """

    name: str
    about: str
    sequences: int
    world: World = _USUAL
    draws: str = "sequence"
    part: str | None = None
    sound: bool = True


@dataclass(frozen=True)
class Pair:
    """Two models on the same frames."""

    name: str
    about: str
    sequences: int
    skills: tuple[Skill, Skill]
    world: World = _USUAL


CASES = (
    Case("images-100", "100 images that are independent, images drawn", 100, World(frames=1), "image"),
    Case("sequences-10", "10 sequences of 10 frames, sequences drawn", 10),
    Case("sequences-20", "20 sequences", 20),
    Case("sequences-40", "40 sequences", 40),
    Case("uneven-20", "20 sequences, few of which hold most ships", 20, World(ships_spread=1.2)),
    Case("rough-40", "the slice in rough weather (about 12 sequences) of 40 sequences", 40, part="rough"),
    Case("sequences-5", "5 sequences", 5, sound=False),
    Case("sequences-3", "3 sequences", 3, sound=False),
    Case("wrong-20", "20 sequences, but single images drawn: wrong", 20, draws="image", sound=False),
    Case("wrong-40", "40 sequences, but single images drawn: wrong", 40, draws="image", sound=False),
)

PAIRS = (
    Pair("equal-10", "10 sequences, two models equally good", 10, (Skill(), Skill())),
    Pair("equal-20", "20 sequences, two models equally good", 20, (Skill(), Skill())),
    Pair("better-20", "20 sequences, B finds more", 20, (Skill(), Skill(ease=0.4))),
    Pair("better-40", "40 sequences, B finds more", 40, (Skill(), Skill(ease=0.4))),
)


@dataclass(frozen=True)
class CoverageBenchmark:
    """What was counted.

    Attributes:
        datasets, resamples, seed: of each case.
        cases: one row per case and figure: true value, mean and standard deviation of the figure, share of intervals
            that hold the true value ("coverage") or lie above or below it, mean width, share without an interval.
        pairs: one row per pair and figure: the same of the paired difference, how often it was called real, and how
            often without pairing.
    """

    datasets: int
    resamples: int
    seed: int
    cases: Sequence[Mapping]
    pairs: Sequence[Mapping]

    @property
    def margin(self) -> float:
        """Two standard errors of a coverage of 95 %."""
        return 2 * (0.95 * 0.05 / self.datasets) ** 0.5

    def to_text(self) -> str:
        lines = [
            f"coverage of {_LEVEL:.0%} intervals, {self.datasets} data sets per case, {self.resamples} resamples, "
            f"seed {self.seed}, good to {self.margin:.1%} (two standard errors)",
            f"  {'case':<13} {'figure':<6} {'true':>6} {'mean':>6} {'sd':>6} {'covered':>8} {'too high':>8} "
            f"{'too low':>8} {'width':>6} {'none':>6} {'like':>6}",
        ]
        for row in self.cases:
            lines.append(
                f"  {row['case']:<13} {row['stat']:<6} {row['true']:>6.3f} {row['mean']:>6.3f} {row['sd']:>6.3f} "
                f"{row['coverage']:>8.1%} {row['above']:>8.1%} {row['below']:>8.1%} {row['width']:>6.3f} "
                f"{row['none']:>6.1%} {row['effective_units']:>6.1f}{_mark(row)}"
            )
        lines += [
            "  'too high': the whole interval is above the true value; 'like': worth so many equal units (median)",
            f"  {'pair':<13} {'figure':<6} {'true':>7} {'covered':>8} {'width':>6} {'called real':>12} "
            f"{'unpaired: covered':>18} {'width':>6} {'called real':>12}",
        ]
        for row in self.pairs:
            alone = row["unpaired"]
            lines.append(
                f"  {row['case']:<13} {row['stat']:<6} {row['true']:>+7.3f} {row['coverage']:>8.1%} "
                f"{row['width']:>6.3f} {row['real']:>12.1%} {alone['coverage']:>18.1%} {alone['width']:>6.3f} "
                f"{alone['real']:>12.1%}{_mark(row)}"
            )
        lines += [f"  {case.name}: {case.about}" for case in (*CASES, *PAIRS)]
        return "\n".join(lines)

    def to_json(self) -> dict:
        return {
            "schema": SCHEMA,
            "level": _LEVEL,
            "bars": [LEAST, MOST],
            "datasets": self.datasets,
            "resamples": self.resamples,
            "seed": self.seed,
            "worlds": {case.name: asdict(case.world) for case in (*CASES, *PAIRS)},
            "skills": {pair.name: [asdict(skill) for skill in pair.skills] for pair in PAIRS},
            "about": {case.name: case.about for case in (*CASES, *PAIRS)},
            "cases": [dict(row) for row in self.cases],
            "pairs": [dict(row) for row in self.pairs],
        }


def _mark(row: Mapping) -> str:
    if not row["sound"]:
        return ""
    return "  ok" if LEAST <= row["coverage"] <= MOST else f"  OUTSIDE {LEAST:.0%}..{MOST:.0%}"


def run_coverage(work: Path | None = None) -> CoverageBenchmark:
    """``wutdet bench coverage``; nothing is written, so ``work`` plays no part."""
    return run_coverage_benchmark()


def run_coverage_benchmark(
    datasets: int = 1000,
    resamples: int = 500,
    seed: int = 0,
    workers: int | None = None,
    true_frames: int = TRUE_FRAMES,
) -> CoverageBenchmark:
    """Runs all cases and pairs; about 8 minutes on 2 cores.

    Args:
        datasets: data sets drawn per case.
        resamples: bootstrap resamples per data set.
        seed: same seed, same figures, whatever ``workers``.
        workers: processes; all cores by default.
        true_frames: frames of each of the samples that give the true values.
    """
    workers = workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    cases, pairs = [], []
    for case in CASES:
        log.info("%s: %s", case.name, case.about)
        cases += case_rows(case, datasets, resamples, seed, workers, true_frames)
    for pair in PAIRS:
        log.info("%s: %s", pair.name, pair.about)
        pairs += pair_rows(pair, datasets, resamples, seed, workers, true_frames)
    return CoverageBenchmark(datasets, resamples, seed, cases, pairs)


def case_rows(
    case: Case, datasets: int, resamples: int, seed: int, workers: int = 1, true_frames: int = TRUE_FRAMES
) -> list[dict]:
    """One row per figure; see CoverageBenchmark."""
    true = true_figures(case.world, case.part, true_frames)
    drawn = _each(partial(_one_of_case, case, resamples, seed), datasets, workers)
    rows = []
    for stat in PROTOCOL.stats:
        found = [figures[stat.name] for figures in drawn if figures[stat.name]["point"] is not None]
        points = np.array([one["point"] for one in found])
        rows.append(
            {
                "case": case.name,
                "stat": stat.name,
                "sound": case.sound,
                "true": true[stat.name],
                "mean": float(points.mean()),
                "sd": float(points.std()),
                **_counts([one["interval"] for one in found], true[stat.name]),
                "effective_units": float(np.median([one["effective_units"] for one in found])),
            }
        )
    return rows


def pair_rows(
    pair: Pair, datasets: int, resamples: int, seed: int, workers: int = 1, true_frames: int = TRUE_FRAMES
) -> list[dict]:
    """One row per compared figure; see CoverageBenchmark."""
    true = true_differences(pair, true_frames)
    drawn = _each(partial(_one_of_pair, pair, resamples, seed), datasets, workers)
    rows = []
    for name in _COMPARED:
        found = [differences[name] for differences in drawn]
        rows.append(
            {
                "case": pair.name,
                "stat": name,
                "sound": True,
                "true": true[name],
                "mean": float(np.mean([one["difference"] for one in found])),
                **_counts([one["interval"] for one in found], true[name]),
                "real": float(np.mean([bool(one["real"]) for one in found])),
                "p_below_05": float(np.mean([one["p"] is not None and one["p"] < 0.05 for one in found])),
                "unpaired": {
                    **_counts([one["alone"] for one in found], true[name]),
                    "real": float(np.mean([one["alone_p"] is not None and one["alone_p"] < 0.05 for one in found])),
                },
            }
        )
    return rows


def _counts(bounds: Sequence[list[float] | None], true: float) -> dict:
    given = np.array([pair for pair in bounds if pair is not None]).reshape(-1, 2)
    if len(given) == 0:
        return {"coverage": 0.0, "above": 0.0, "below": 0.0, "width": 0.0, "none": 1.0}
    above, below = float((given[:, 0] > true).mean()), float((given[:, 1] < true).mean())
    return {
        "coverage": float(((given[:, 0] <= true) & (true <= given[:, 1])).mean()),
        "above": above,
        "below": below,
        "width": float((given[:, 1] - given[:, 0]).mean()),
        "none": 1 - len(given) / len(bounds),
    }


@lru_cache(maxsize=64)
def true_figures(world: World, part: str | None = None, frames: int = TRUE_FRAMES) -> Mapping[str, float]:
    """Mean figures of eight very large samples, always the same."""
    return _mean([figures for (figures,) in _large_samples(world, frames, (Skill(),), part)])


@lru_cache(maxsize=64)
def true_differences(pair: Pair, frames: int = TRUE_FRAMES) -> Mapping[str, float]:
    """B minus A in the mean of eight very large samples; exactly 0 for models of the same skill."""
    if pair.skills[0] == pair.skills[1]:
        return dict.fromkeys(_COMPARED, 0.0)
    samples = _large_samples(pair.world, frames, pair.skills)
    return _mean([{name: b[name] - a[name] for name in _COMPARED} for a, b in samples])


def _large_samples(
    world: World, frames: int, skills: tuple[Skill, ...], part: str | None = None
) -> Iterator[list[dict[str, float]]]:
    """Figures of each model on a single frame of each of ``frames`` sequences, eight times.

    How many frames of a sequence there are does not change what frames are like on average, which alone decides the
    true value; and of that many frames, those of different sequences leave the least error in it. Several samples are
    averaged because precision at 101 recall points has steps: where the final recall lies just beside a point, the
    largest of samples still falls on one side or the other, which is worth .001 AP.
    """
    for number in range(_TRUE_SAMPLES):
        truth, found = simulate(replace(world, frames=1), frames, np.random.default_rng([1, 2, 3, number]), skills)
        images = None if part is None else truth.conditions[part]
        yield [summarise(_matched(truth, boxes), PROTOCOL, images=images) for boxes in found]


def _mean(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([figures[name] for figures in samples])) for name in samples[0]}


def _one_of_case(case: Case, resamples: int, seed: int, number: int) -> dict[str, dict]:
    truth, (found,) = simulate(case.world, case.sequences, np.random.default_rng([seed, case.sequences, number]))
    images = None if case.part is None else truth.conditions[case.part]
    matches = _matched(truth, found)
    codes = truth.sequence_codes if case.draws == "sequence" else None
    resampling = resample(codes, truth.image_count, resamples, seed=number)
    points = summarise(matches, PROTOCOL, images=images)
    drawn = bootstrap(matches, PROTOCOL, resampling, images=images)
    counting = effective_units_of(matches, PROTOCOL, resampling, images=images)
    units = resampling.units_in(images)
    return {
        name: {
            "point": points[name],
            "interval": interval(drawn[name], units, _LEVEL, counting=counting[name]),
            "effective_units": counting[name],
        }
        for name in points
    }


def _one_of_pair(pair: Pair, resamples: int, seed: int, number: int) -> dict[str, dict]:
    rng = np.random.default_rng([seed, pair.sequences, number])
    truth, found = simulate(pair.world, pair.sequences, rng, pair.skills)
    a, b = (_matched(truth, boxes) for boxes in found)
    protocol = _only(_COMPARED)
    first, second = (
        resample(truth.sequence_codes, truth.image_count, resamples, seed=s) for s in (2 * number, 2 * number + 1)
    )
    rows = compare(a, b, protocol, first, level=_LEVEL)["stats"]
    # What one would do with two models' own resamples: no pairing, so that what is hard for both stays in.
    of_a, of_b = bootstrap(a, protocol, first), bootstrap(b, protocol, second)
    counting, units = effective_units_of(a, protocol, first), first.units_in()
    for name, row in rows.items():
        alone = of_b[name] - of_a[name]
        row["alone"] = interval(alone, units, _LEVEL, counting=counting[name], limits=(-1.0, 1.0))
        row["alone_p"] = p_value(alone, units, counting=counting[name])
    return rows


def _only(names: Sequence[str]) -> Protocol:
    stats = tuple(stat for stat in PROTOCOL.stats if stat.name in names)
    return Protocol(PROTOCOL.name, PROTOCOL.source, stats)


def _matched(truth: GroundTruth, found: FoundBoxes) -> Matches:
    views = [ALL, *PROTOCOL.views]
    return match(truth, found, views, PROTOCOL.all_thresholds, PROTOCOL.max_det)


def _each(work, count: int, workers: int) -> list:
    if workers == 1:
        return [work(number) for number in range(count)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(work, range(count), chunksize=max(1, count // (8 * workers))))
