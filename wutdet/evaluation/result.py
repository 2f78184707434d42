"""EvaluationResult: figures together with the protocol they were made under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from wutdet.evaluation.matching import Matches
from wutdet.evaluation.text import result_text

SCHEMA = "wutdet.score/2"


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What an evaluation found. All figures are in 0..1; None where there are no such objects.

    Attributes:
        stats: by name; for COCO "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl".
        titles: what each of them is, for people.
        protocol: what the figures mean: preset, thresholds, limits, area bins, counts, data set, versions.
        curves: precision and score at 101 recall points: ``{"recall": [..], "precision": {"0.50": [..], "0.75": [..],
            "mean": [..]}, "score": {...}}``; None in place of the lists where there is no ground truth.
        size_bins: one dict per bin of sqrt(area): name, edges, boxes, AP, AP50, AR, recall50.
        threshold: the score with the best F1 at IoU .5 and its precision and recall; None without a single hit.
        presets: figures of every preset, by its name.
        olrp_thresholds: by category with ships, the score at which its LRP is least; None without a hit. Empty where
            oLRP was not measured.
        intervals: of the figures; see intervals_json.
        slices: one dict per part of the frames; see slice_rows.
        density: ships per frame, crowding, recall by size, false alarms; see density.py.
        errors: what false alarms and misses are and what they cost; see error_types.py.
        comparison: with a second model on the same frames; see compare.py.
        robustness: figures under corruptions; see robustness.py.
        leak_rate: of the evaluated split against the training split, as ``LeakRate.to_json()``; None where it was not
            measured.
        leak_text: the same in one line.
        matches: the matching pass that all of this was accumulated from.
        schema: of the JSON form.
    """

    stats: Mapping[str, float | None]
    titles: Mapping[str, str]
    protocol: Mapping
    curves: Mapping
    size_bins: Sequence[Mapping]
    threshold: Mapping | None
    matches: Matches
    presets: Mapping[str, Mapping] = field(default_factory=dict)
    olrp_thresholds: Mapping[str, float | None] = field(default_factory=dict)
    intervals: Mapping = field(default_factory=dict)
    slices: Sequence[Mapping] = field(default=())
    density: Mapping = field(default_factory=dict)
    errors: Mapping = field(default_factory=dict)
    comparison: Mapping | None = None
    robustness: Mapping | None = None
    leak_rate: Mapping | None = None
    leak_text: str = ""
    schema: str = SCHEMA

    def with_protocol(self, **facts) -> EvaluationResult:
        """The same figures with more said about how they were made (model, input size, ...)."""
        return replace(self, protocol={**self.protocol, **facts})

    def to_json(self) -> dict:
        """JSON-compatible values."""
        return {
            "schema": self.schema,
            "protocol": dict(self.protocol),
            "stats": dict(self.stats),
            "titles": dict(self.titles),
            "threshold": None if self.threshold is None else dict(self.threshold),
            "size_bins": [dict(row) for row in self.size_bins],
            "presets": {name: dict(stats) for name, stats in self.presets.items()},
            "olrp_thresholds": dict(self.olrp_thresholds),
            "intervals": dict(self.intervals),
            "slices": [dict(row) for row in self.slices],
            "density": dict(self.density),
            "errors": dict(self.errors),
            "comparison": self.comparison,
            "robustness": self.robustness,
            "leak_rate": self.leak_rate,
            "curves": dict(self.curves),
        }

    def to_text(self) -> str:
        """Tables for people, with the protocol on top."""
        return result_text(self)
