"""The presets: known benchmarks' protocols. These are definitions of benchmarks, not defaults."""

from __future__ import annotations

from wutdet.errors import UsageError, suggest
from wutdet.evaluation.protocol import ALL, HUGE_PX2, Protocol, Stat, View


def preset(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        UsageError: no such preset.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset '{name}'; there is {', '.join(PRESETS)}.{suggest(name, PRESETS)}")
    return PRESETS[name]


def _coco() -> Protocol:
    small, medium = View("small", 0, 32**2), View("medium", 32**2, 96**2)
    large = View("large", 96**2, HUGE_PX2)
    return Protocol(
        name="coco",
        source="pycocotools COCOeval",
        stats=(
            Stat("AP", "average precision, IoU .50:.95", "precision", ALL, 100),
            Stat("AP50", "average precision, IoU .50", "precision", ALL, 100, 0.5),
            Stat("AP75", "average precision, IoU .75", "precision", ALL, 100, 0.75),
            Stat("APs", "AP, ships below 32 px", "precision", small, 100),
            Stat("APm", "AP, 32 to 96 px", "precision", medium, 100),
            Stat("APl", "AP, above 96 px", "precision", large, 100),
            Stat("AR1", "average recall, 1 box a frame", "recall", ALL, 1),
            Stat("AR10", "average recall, 10 boxes a frame", "recall", ALL, 10),
            Stat("AR100", "average recall, 100 boxes a frame", "recall", ALL, 100),
            Stat("ARs", "AR100, ships below 32 px", "recall", small, 100),
            Stat("ARm", "AR100, 32 to 96 px", "recall", medium, 100),
            Stat("ARl", "AR100, above 96 px", "recall", large, 100),
        ),
    )


PRESETS: dict[str, Protocol] = {protocol.name: protocol for protocol in (_coco(),)}
