"""An evaluation as text for a terminal: protocol on top, headline with intervals, then what else was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wutdet.evaluation.compare import comparison_lines
from wutdet.evaluation.density import density_text
from wutdet.evaluation.error_types import errors_text
from wutdet.evaluation.slices import slice_lines

if TYPE_CHECKING:
    from wutdet.evaluation.result import EvaluationResult

# Of the presets beside the headline's only these figures are printed; --json has them all.
_SHOWN = {
    "coco": ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"),
    "aitod": ("AP", "AP25", "AP50", "APvt", "APt", "APs", "APm", "oLRP"),
    "soda-d": ("AP", "AP50", "APes", "APrs", "APgs", "APn"),
    "tinyperson": ("AP50_tiny", "AP50_tiny1", "AP50_tiny2", "AP50_tiny3", "AP50_small", "MR50_tiny"),
    "visdrone": ("AP", "AP50", "AP75", "AR100", "AR500"),
}

# Of more categories than that the rest is only counted.
_MOST_CATEGORIES = 12


def figure(value: float | None) -> str:
    """Three digits, or "none" where there are no such objects."""
    return "none" if value is None else f"{value:.3f}"


def result_text(result: EvaluationResult) -> str:
    """Everything that the result holds; parts that were not measured are left out."""
    parts = [
        _protocol_lines(result.protocol),
        _headline_lines(result),
        _size_lines(result.size_bins),
        [*_threshold_lines(result.threshold), *(_olrp_lines(result) if result.protocol["preset"] == "aitod" else [])],
        density_text(result.density).splitlines() if result.density else [],
        ["  " + line for line in errors_text(result.errors).splitlines()] if result.errors else [],
        slice_lines(result.slices),
        _preset_lines(result),
        comparison_lines(result.comparison) if result.comparison else [],
        _robustness_lines(result.robustness),
        [f"  {result.leak_text}"] if result.leak_text else [],
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in parts if lines).rstrip("\n")


def _protocol_lines(p: Mapping) -> list[str]:
    lines = [f"model     {p['model']}"] if p.get("model") else []
    lines.append(
        f"data      {p['dataset'] or 'unnamed data'}, split {p['split'] or 'none'}: {p['images']} images, "
        f"{p['boxes']} boxes"
        + (f" and {p['boxes_ignored']} ignored" if p["boxes_ignored"] else "")
        + f", {p['images_without_boxes']} images without boxes"
    )
    scores = "" if p.get("conf") is None else f", score from {p['conf']:g}"
    if "nms_iou" in p:
        scores += ", no NMS" if p["nms_iou"] is None else f", NMS at IoU {p['nms_iou']:g}"
    lines.append(
        f"protocol  {p['preset']}: IoU {p['iou_thresholds'][0]:.2f} to {p['iou_thresholds'][-1]:.2f}, "
        f"maxDets {p['max_dets'][-1]}, input size {p.get('input_size') or 'unknown'}{scores}; "
        f"{p['detections']} detections"
        + (f", {p['detections_over_limit']} of them above the limit" if p["detections_over_limit"] else "")
    )
    tiles = tiles_text(p)
    return [*lines, f"          {tiles}"] if tiles else lines


def tiles_text(protocol: Mapping) -> str:
    """How frames were cut into tiles (``TiledDetector.facts`` in the protocol), in a few words; empty without."""
    p = protocol
    tile = p.get("tile")
    if not tile:
        return ""
    words = f"tiles of {tile} px" if isinstance(tile, int) else f"tiles {tile}"
    words += f", overlap {p['tile_overlap']:g}"
    words += ", beside the whole frame" if p["tile_full_frame"] else ""
    words += f", merged at IoU {p['tile_merge_iou']:g}"
    return words + (f" ({p['tiles_per_frame']:g} passes a frame)" if "tiles_per_frame" in p else "")


def _headline_lines(result: EvaluationResult) -> list[str]:
    bounds = result.intervals.get("stats", {})
    width = max(len(name) for name in result.stats)
    lines = []
    for name, value in result.stats.items():
        span = bounds.get(name)
        shown = f"[{span[0]:.3f}, {span[1]:.3f}]" if span else ""
        column = f" {shown:<14}" if bounds else ""
        lines.append(f"  {name:<{width}} {figure(value):>6}{column}   {result.titles[name]}")
    if bounds:
        i = result.intervals
        lines.append(f"  {i['level']:.0%} intervals: {i['resamples']} resamples of {i['units']} {i['unit']}s")
        if i["warning"]:
            lines.append(f"  ! {i['warning']}")
    return lines


def _size_lines(rows: Sequence[Mapping]) -> list[str]:
    lines = [f"  {'ships of (sqrt area)':<22} {'boxes':>6} {'AP':>7} {'AP50':>7} {'AR':>7} {'found*':>7}"]
    for row in rows:
        values = " ".join(f"{figure(row[key]):>7}" for key in ("AP", "AP50", "AR", "recall50"))
        lines.append(f"  {row['name']:<22} {row['boxes']:>6} {values}")
    return [*lines, "  * recall at IoU .50 of all detections"]


def _threshold_lines(threshold: Mapping | None) -> list[str]:
    if threshold is None:
        return ["  best threshold: none, no detection hits anything"]
    t = threshold
    return [
        f"  best threshold at IoU .50: {t['score']:.3f} (F1 {t['f1']:.3f}, precision {t['precision']:.3f}, "
        f"recall {t['recall']:.3f})"
    ]


def _olrp_lines(result: EvaluationResult, indent: str = "  ") -> list[str]:
    if not result.olrp_thresholds:
        return []
    found = [f"{name} {figure(score)}" for name, score in result.olrp_thresholds.items()]
    more = f" and {len(found) - _MOST_CATEGORIES} more" if len(found) > _MOST_CATEGORIES else ""
    return [f"{indent}best thresholds by oLRP: {', '.join(found[:_MOST_CATEGORIES])}{more}"]


def _preset_lines(result: EvaluationResult) -> list[str]:
    lines = []
    for name, stats in result.presets.items():
        if name != result.protocol["preset"]:
            lines.append(f"  {name:<11} " + ", ".join(f"{key} {figure(stats[key])}" for key in _SHOWN[name]))
            if name == "aitod":
                lines += _olrp_lines(result, indent=" " * 14)
    return ["  the same detections under other protocols", *lines] if lines else []


def _robustness_lines(robustness: Mapping | None) -> list[str]:
    if not robustness:
        return []
    from wutdet.evaluation.robustness import robustness_text  # which itself evaluates, and so imports this module

    return robustness_text(robustness).splitlines()
