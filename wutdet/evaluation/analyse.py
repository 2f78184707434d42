"""analyse: everything there is to say about some detections, out of one matching pass.

One pass covers the area ranges, thresholds and limits of all presets, the size bins and the density bins; what follows
only accumulates its columns again. Presets that pair boxes in their own way (TinyPerson), or whose ignored boxes change
which boxes take part at all (VisDrone, SODA-D, where there are such boxes), get a pass of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wutdet.config import AnalysisConfig
from wutdet.dataset.dataset import Dataset
from wutdet.detections import Detections
from wutdet.errors import UsageError
from wutdet.evaluation.accumulate import Ranking
from wutdet.evaluation.bootstrap import Resampling, bootstrap, draw, units_of
from wutdet.evaluation.coco import box_tables, match_for, preset_stats, result_of
from wutdet.evaluation.compare import compare
from wutdet.evaluation.density import density
from wutdet.evaluation.error_types import error_breakdown
from wutdet.evaluation.ignored import apply_ignore_rule
from wutdet.evaluation.intervals import intervals_json
from wutdet.evaluation.matching import Matches
from wutdet.evaluation.network_input import NetworkInput
from wutdet.evaluation.presets import PRESETS, preset
from wutdet.evaluation.protocol import Protocol, View, size_bins
from wutdet.evaluation.result import EvaluationResult
from wutdet.evaluation.slices import Slice, slice_rows, slices_of
from wutdet.evaluation.tables import FoundBoxes, GroundTruth


@dataclass(frozen=True, eq=False)
class Plan:
    """What is the same for every model scored on the same frames.

    Attributes:
        truth: the ground truth.
        protocol: of the headline.
        bins: size bins.
        slices: parts of the frames.
        resampling: None without intervals.
        config: what was asked for.
        network_input: what frames are scaled to, for size bins in network-input pixels; None where not known.
    """

    truth: GroundTruth
    protocol: Protocol
    bins: tuple[View, ...]
    slices: tuple[Slice, ...]
    resampling: Resampling | None
    config: AnalysisConfig
    network_input: NetworkInput | None

    @classmethod
    def of(cls, truth: GroundTruth, config: AnalysisConfig, network_input: NetworkInput | None = None) -> Plan:
        """Draws the resamples and finds the slices.

        Raises:
            UsageError: unknown preset, size bins or a number of resamples that cannot be.
        """
        if config.resamples < 0:
            raise UsageError(f"--resamples must be 0 (no intervals) or more, received {config.resamples}")
        units, unit = units_of(truth.sequence_codes, truth.image_count)
        return cls(
            truth=truth,
            protocol=preset(config.preset),
            bins=size_bins(config.bins),
            slices=tuple(slices_of(truth)) if config.full else (),
            resampling=draw(units, unit, config.resamples, config.seed) if config.resamples else None,
            config=config,
            network_input=network_input,
        )


@dataclass(frozen=True, eq=False)
class Scored:
    """One model's detections on the frames of a plan.

    Attributes:
        found: the detections under the headline protocol's ignore rule.
        truth: the ground truth under that rule.
        matches: the pass that the headline, slices, density and error types come from.
        result: everything that was measured.
    """

    truth: GroundTruth
    found: FoundBoxes
    matches: Matches
    result: EvaluationResult


def analyse(
    ground_truth: Dataset | GroundTruth,
    detections: Detections | FoundBoxes,
    config: AnalysisConfig | None = None,
    *,
    input_size: int | None = None,
) -> EvaluationResult:
    """Everything about some detections: figures of all presets, intervals, slices, density, error types.

    Args:
        ground_truth: a Dataset, or the table of a COCO file.
        detections: ``image`` is the row in the Dataset.
        config: what to measure; see AnalysisConfig.
        input_size: long side of the network input in pixels, for size bins in network-input pixels.

    Raises:
        DataError: detections that cannot be, or categories that do not fit.
        UsageError: unknown preset, size bins that cannot be.
    """
    truth, found = box_tables(ground_truth, detections)
    plan = Plan.of(truth, config or AnalysisConfig(), NetworkInput.of_long_side(input_size))
    return score(plan, found).result


def score(plan: Plan, found: FoundBoxes) -> Scored:
    """One model's figures under a plan."""
    protocols = list(PRESETS.values()) if plan.config.full else [plan.protocol]
    passes: list[tuple[list[Protocol], GroundTruth, FoundBoxes]] = []
    shared: list[Protocol] = []
    for protocol in protocols:
        truth, left, changed = apply_ignore_rule(plan.truth, found, protocol.ignore_rule)
        if changed or protocol.pairing != "coco":
            passes.append(([protocol], truth, left))
        else:
            shared.append(protocol)
    if shared:
        passes.append((shared, plan.truth, found))

    stats: dict[str, dict] = {}
    olrp_thresholds: dict[str, float | None] = {}
    main: Scored | None = None
    for served, truth, left in passes:
        matches = match_for(served, truth, left, bins=plan.bins, network_input=plan.network_input)
        ranking = Ranking.of(matches)
        if plan.protocol in served:
            result = result_of(matches, truth, plan.protocol, bins=plan.bins)
            main = Scored(truth, left, matches, result)
        for protocol in served:
            figures, thresholds = preset_stats(matches, truth, left, protocol, ranking=ranking)
            stats[protocol.name] = figures
            olrp_thresholds |= thresholds
    assert main is not None
    stats = {name: stats[name] for name in PRESETS if name in stats}
    result = replace(main.result, presets=stats, stats=stats[plan.protocol.name], olrp_thresholds=olrp_thresholds)
    result = _with_intervals(result, main, plan)
    if plan.config.full:
        result = _with_breakdowns(result, main, plan)
    return replace(main, result=result)


def _with_intervals(result: EvaluationResult, scored: Scored, plan: Plan) -> EvaluationResult:
    if plan.resampling is None:
        return result
    drawn = bootstrap(scored.matches, plan.protocol, plan.resampling)
    r = plan.resampling
    return replace(result, intervals=intervals_json(drawn, r.unit, r.units_in(), r.seed))


def _with_breakdowns(result: EvaluationResult, scored: Scored, plan: Plan) -> EvaluationResult:
    matches, truth, found = scored.matches, scored.truth, scored.found
    ranking = Ranking.of(matches)
    threshold = None if result.threshold is None else result.threshold["score"]
    return replace(
        result,
        slices=slice_rows(matches, plan.protocol, plan.slices, resampling=plan.resampling, ranking=ranking),
        density=density(
            matches,
            truth,
            found,
            plan.protocol,
            bins=plan.bins,
            score=threshold,
            resampling=plan.resampling,
            ranking=ranking,
        ),
        errors=error_breakdown(
            matches,
            truth,
            found,
            max_det=plan.protocol.headline.max_det,
            recall_points=plan.protocol.recall_points,
        ),
    )


def compare_scored(plan: Plan, a: Scored, b: Scored, names: tuple[str, str]) -> dict:
    """The comparison of two models on the frames of one plan; see compare.

    Raises:
        UsageError: without resamples there is nothing to compare with.
    """
    if plan.resampling is None:
        raise UsageError("a comparison needs resamples", hint="leave --resamples at 1000")
    return compare(a.matches, b.matches, plan.protocol, plan.resampling, names=names, slices=plan.slices)
