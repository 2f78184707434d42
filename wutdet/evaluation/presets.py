"""The presets: known benchmarks' protocols. These are definitions of benchmarks, not defaults."""

from __future__ import annotations

import numpy as np

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


def _aitod() -> Protocol:
    # jwwangchn/cocoapi-aitod, and mmdet-aitod's limits. AI-TOD's own tool prints -1 for AP25 unless it is told to match
    # at .25, because that threshold is not one of its ten; here it is matched.
    ranges = (
        ("vt", "below 8 px", View("very tiny", 0, 8**2)),
        ("t", "8 to 16 px", View("tiny", 8**2, 16**2)),
        ("s", "16 to 32 px", View("small", 16**2, 32**2)),
        ("m", "above 32 px", View("medium", 32**2, HUGE_PX2)),
    )
    return Protocol(
        name="aitod",
        source="aitodpycocotools (AI-TOD)",
        stats=(
            Stat("AP", "average precision, IoU .50:.95", "precision", ALL, 1500),
            Stat("AP25", "average precision, IoU .25", "precision", ALL, 1500, 0.25),
            Stat("AP50", "average precision, IoU .50", "precision", ALL, 1500, 0.5),
            Stat("AP75", "average precision, IoU .75", "precision", ALL, 1500, 0.75),
            *(Stat(f"AP{key}", f"AP, ships {words}", "precision", view, 1500) for key, words, view in ranges),
            *(Stat(f"AR{n}", f"average recall, {n} boxes a frame", "recall", ALL, n) for n in (100, 300, 1500)),
            *(Stat(f"AR{key}", f"AR1500, ships {words}", "recall", view, 1500) for key, words, view in ranges),
        ),
        olrp=True,
    )


def _soda_d() -> Protocol:
    # shaunyuan22's sodadeval.py. There is no figure over all areas: the headline is of objects below 32 px.
    small = View("small", 0, 32**2)
    parts = (
        ("es", "below 12 px", View("extremely small", 0, 12**2)),
        ("rs", "12 to 20 px", View("relatively small", 12**2, 20**2)),
        ("gs", "20 to 32 px", View("generally small", 20**2, 32**2)),
        ("n", "32 to 44.7 px", View("normal", 32**2, 40 * 50)),
    )
    return Protocol(
        name="soda-d",
        source="SODA-D's sodadeval",
        stats=(
            Stat("AP", "average precision, IoU .50:.95, ships below 32 px", "precision", small, 100),
            Stat("AP50", "the same at IoU .50", "precision", small, 100, 0.5),
            Stat("AP75", "the same at IoU .75", "precision", small, 100, 0.75),
            *(Stat(f"AP{key}", f"AP, ships {words}", "precision", view, 100) for key, words, view in parts),
            *(Stat(f"AR{n}", f"average recall below 32 px, {n} boxes a frame", "recall", small, n)
              for n in (100, 300, 1000)),
            *(Stat(f"AR{key}", f"AR1000, ships {words}", "recall", view, 1000) for key, words, view in parts),
        ),
        ignore_rule="plain",
    )  # fmt: skip


def _tinyperson() -> Protocol:
    # ucas-vg/TinyBenchmark (now PointTinyBenchmark), cocoeval.py with use_iod_for_ignore and ignore_uncertain, as in
    # evaluate_tiny.py, which made the published tables. There is no mean over IoU thresholds.
    ranges = (
        ("tiny", "below 20 px", View("tiny", 1, 20**2)),
        ("tiny1", "below 8 px", View("tiny1", 1, 8**2)),
        ("tiny2", "8 to 12 px", View("tiny2", 8**2, 12**2)),
        ("tiny3", "12 to 20 px", View("tiny3", 12**2, 20**2)),
        ("small", "20 to 32 px", View("small", 20**2, 32**2)),
        ("reasonable", "above 32 px", View("reasonable", 32**2, HUGE_PX2)),
        ("all", "of any size", View("all", 1, HUGE_PX2)),
    )
    words = {"precision": ("AP", "average precision"), "recall": ("AR", "recall, 200 boxes a frame")}
    return Protocol(
        name="tinyperson",
        source="TinyBenchmark (TinyPerson)",
        stats=tuple(
            Stat(f"{words[kind][0]}{iou:.0f}_{key}", f"{words[kind][1]}, IoU .{iou:.0f}, ships {size}", kind, view, 200,
                 iou / 100)
            for kind in ("precision", "recall")
            for iou in (50.0, 25.0, 75.0)
            for key, size, view in ranges
        ),
        iou_thresholds=np.array([0.25, 0.5, 0.75]),
        miss_rate=True,
        pairing="cover",
    )  # fmt: skip


def _visdrone() -> Protocol:
    # VisDrone2018-DET-toolkit: limits per image over all classes, area under the whole curve. Its newest version
    # weights classes by the images they occur in, which published tables do not; here classes count alike.
    return Protocol(
        name="visdrone",
        source="VisDrone2018-DET-toolkit",
        stats=(
            Stat("AP", "average precision, IoU .50:.95", "precision", ALL, 500),
            Stat("AP50", "average precision, IoU .50", "precision", ALL, 500, 0.5),
            Stat("AP75", "average precision, IoU .75", "precision", ALL, 500, 0.75),
            *(Stat(f"AR{n}", f"average recall, {n} boxes a frame", "recall", ALL, n) for n in (1, 10, 100, 500)),
        ),
        integral="area",
        limit_per="image",
        ignore_rule="drop",
    )


PRESETS: dict[str, Protocol] = {p.name: p for p in (_coco(), _aitod(), _soda_d(), _tinyperson(), _visdrone())}
