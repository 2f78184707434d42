"""MatrixResult: who was trained on what, tested on what, and how well that went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wutdet.evaluation.text import tiles_text

SCHEMA = "wutdet.matrix/1"


@dataclass(frozen=True, eq=False)
class MatrixResult:
    """Every model on every test set. All figures are in 0..1; None where no frames or no such ships are left.

    Attributes:
        models: ``{"name", "model", "trained_on", "training_frames", "input_size", "conf", "max_det"}``; ``trained_on``
            is the name of a data set, None where the model's training data is not here.
        tests: ``{"name", "data", "split", "frames", "boxes", "trained_by"}``; ``split`` None means all frames,
            ``trained_by`` names the models trained on this set.
        cells: model by model, test by test: ``{"model", "trained_on", "test", "own", "frames", "boxes", "removed",
            "removed_by": {"exact", "near", "objects"}, "same_sequence", figures..., "intervals": {figure: [low, high]},
            "units", "unit", "warning"}``. ``frames`` and ``boxes`` are what was scored, after removal;
            ``same_sequence`` counts scored frames of a sequence that the model was trained on (own set only).
        stats: names of the figures, the headline first.
        unseen: the fair comparison: figures on test sets that none of the models was trained on, on the frames that
            are left for all models: ``{"tests", "frames": {test: n}, "mean": {model: {figure: value}}, "best"}``; None
            where there is no such set, one model only, or a model whose training data is not here.
        protocol: preset, near_distance, resamples, seed, classes; with tiles also their facts, see TiledDetector.
    """

    models: Sequence[Mapping]
    tests: Sequence[Mapping]
    cells: Sequence[Mapping]
    stats: Sequence[str]
    unseen: Mapping | None
    protocol: Mapping

    def cell(self, model: str, test: str) -> Mapping:
        """The cell of a model and a test set, by their names."""
        return next(cell for cell in self.cells if (cell["model"], cell["test"]) == (model, test))

    def own(self) -> dict[str, dict | None]:
        """Per model its figures on the test frames of its own data set; None without such a set."""
        return {m["name"]: self._mean(m["name"], own=True) for m in self.models}

    def mean_other(self) -> dict[str, dict | None]:
        """Per model the mean figures over all other data sets. Models trained on different sets have different others,
        so these means are no ranking; ``unseen`` is one."""
        return {m["name"]: self._mean(m["name"], own=False) for m in self.models}

    def generalisation_gap(self) -> dict[str, dict | None]:
        """Per model ``own`` minus ``mean_other``: how much is lost away from home."""
        out: dict[str, dict | None] = {}
        for name, own in self.own().items():
            other = self.mean_other()[name]
            out[name] = None if own is None or other is None else {s: _minus(own[s], other[s]) for s in self.stats}
        return out

    def _mean(self, model: str, own: bool) -> dict | None:
        cells = [cell for cell in self.cells if cell["model"] == model and cell["own"] == own]
        return {stat: _mean([cell[stat] for cell in cells]) for stat in self.stats} if cells else None

    def to_json(self) -> dict:
        """JSON-compatible values."""
        return {
            "schema": SCHEMA,
            "protocol": dict(self.protocol),
            "models": [dict(model) for model in self.models],
            "tests": [dict(test) for test in self.tests],
            "cells": [dict(cell) for cell in self.cells],
            "stats": list(self.stats),
            "own": self.own(),
            "mean_other": self.mean_other(),
            "generalisation_gap": self.generalisation_gap(),
            "unseen": None if self.unseen is None else dict(self.unseen),
        }

    def to_text(self) -> str:
        """One table per figure (rows: models, columns: test sets; ``*`` marks a model's own set), then frame counts."""
        tiles = tiles_text(self.protocol)
        lines = [
            f"protocol {self.protocol['preset']}, {f'{tiles}, ' if tiles else ''}scored on: "
            + "; ".join(_words(test) for test in self.tests)
        ]
        own, other, gap = self.own(), self.mean_other(), self.generalisation_gap()
        for stat in self.stats:
            rows = [
                [*self._who(model), *(self._figure(model["name"], test["name"], stat) for test in self.tests)]
                + [_text(values[model["name"]], stat) for values in (own, other)]
                + [_text(gap[model["name"]], stat, "+.3f")]
                for model in self.models
            ]
            head = [stat, "trained on", *(test["name"] for test in self.tests), "own", "mean of others", "own - others"]
            lines += ["", *_table(head, rows)]
        counts = [
            [*self._who(model), *(_frames(self.cell(model["name"], test["name"])) for test in self.tests)]
            for model in self.models
        ]
        head = ["frames scored", "trained on", *(test["name"] for test in self.tests)]
        lines += ["", *_table(head, counts), *self._notes()]
        return "\n".join(lines)

    def _who(self, model: Mapping) -> list[str]:
        return [model["name"], model["trained_on"] or "(not here)"]

    def _figure(self, model: str, test: str, stat: str) -> str:
        cell = self.cell(model, test)
        bounds = cell["intervals"].get(stat)
        span = f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds and stat == self.stats[0] else ""
        return ("*" if cell["own"] else "") + _text(cell, stat) + span

    def _notes(self) -> list[str]:
        removed = {kind: sum(cell["removed_by"][kind] for cell in self.cells) for kind in ("exact", "near", "objects")}
        kinds = ", ".join(f"{count} {kind}" for kind, count in removed.items())
        lines = [
            "* own data set. In brackets: frames removed from that cell, as they resemble the model's training frames "
            f"({kinds} over all cells)."
        ]
        if any(cell["intervals"] for cell in self.cells):
            lines.append(
                f"Intervals: 95 %, {self.protocol['resamples']} resamples of sequences (images where unknown)."
            )
        thin: dict[str, list[str]] = {}
        for cell in self.cells:
            if cell["warning"]:
                thin.setdefault(cell["warning"], []).append(f"{cell['model']} on {cell['test']}")
        lines += [f"! {warning} ({', '.join(where)})" for warning, where in thin.items()]
        for cell in self.cells:
            if cell["same_sequence"]:
                lines.append(
                    f"! {cell['model']} on {cell['test']}: {cell['same_sequence']} of {cell['frames']} frames are of "
                    "sequences it was trained on; its own figure may be too good"
                )
        lines += [
            f"! {model['name']}: its training data is not here, so nothing could be removed"
            for model in self.models
            if model["trained_on"] is None
        ]
        if self.unseen is None:
            if len(self.models) > 1:
                lines.append(
                    "The means of others are over different sets: compare models down a column. A test set that no "
                    "model was trained on (=DATA) gives a ranking."
                )
            return lines
        u = self.unseen
        sets = ", ".join(f"{name} ({u['frames'][name]} frames)" for name in u["tests"])
        lines.append(f"On what no model was trained on, the same frames for all: {sets}")
        for name, values in u["mean"].items():
            lines.append(f"  {name}: " + ", ".join(f"{stat} {_text(values, stat)}" for stat in self.stats))
        if u["best"] is not None:
            trained = next(model["trained_on"] for model in self.models if model["name"] == u["best"])
            lines.append(f"  best there: {u['best']} (trained on {trained or 'data not here'})")
        return lines


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _text(values: Mapping | None, stat: str, form: str = ".3f") -> str:
    return "none" if values is None or values[stat] is None else format(values[stat], form)


def _words(test: Mapping) -> str:
    return f"{test['name']} ({test['split'] or 'all frames'}: {test['frames']} frames, {test['boxes']} boxes)"


def _frames(cell: Mapping) -> str:
    return f"{cell['frames']}" + (f" (-{cell['removed']})" if cell["removed"] else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        left = [f"{word:<{width}}" for word, width in zip(row[:2], widths[:2], strict=True)]
        return "  ".join([*left, *(f"{word:>{width}}" for word, width in zip(row[2:], widths[2:], strict=True))])

    return [line(head), *(line(row) for row in rows)]
