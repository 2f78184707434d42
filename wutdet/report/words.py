"""How figures and protocols are written in a report: units, rounding, and what stands for "not measured"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wutdet.dataset.leaks import LEAK_KINDS
from wutdet.report.charts import format_number
from wutdet.report.markup import is_number

#: The 12 COCO statistics, and what is special about each (small: area below 32² px; large: above 96² px).
STATISTICS = {
    "AP": "IoU .50:.95",
    "AP50": "IoU .50",
    "AP75": "IoU .75",
    "APs": "small",
    "APm": "medium",
    "APl": "large",
    "AR1": "1 a frame",
    "AR10": "10 a frame",
    "AR100": "100 a frame",
    "ARs": "small",
    "ARm": "medium",
    "ARl": "large",
}


def ap_text(value: object) -> str:
    """An AP or AR in 0..1 with three decimals; a dash where there is none."""
    return f"{value:.3f}" if is_number(value) else "–"


def change_text(value: object, reference: object) -> str | None:
    """``value - reference`` with its sign, three decimals; None where one is missing."""
    if not (is_number(value) and is_number(reference)):
        return None
    return f"{value - reference:+.3f}".replace("-", "−")


def size_text(size_bytes: object) -> str | None:
    """Bytes as MB (10^6) with two decimals; None where unknown."""
    return f"{size_bytes / 1e6:.2f}" if is_number(size_bytes) else None


def ms_text(value: object) -> str | None:
    """Milliseconds with one decimal (two below 10 ms); None where unknown."""
    return f"{value:.{1 if value >= 10 else 2}f}" if is_number(value) else None


def fps_text(median_ms: object) -> str | None:
    """Frames per second that a latency allows; None where unknown."""
    return f"{1000 / median_ms:.1f}" if is_number(median_ms) and median_ms > 0 else None


def seconds_text(seconds: float) -> str:
    """Seconds as ``4.2 s`` or ``3 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s"


def leak_text(leak_rate: object) -> str:
    """A leak rate in percent; says so where it was not measured.

    Args:
        leak_rate: a share (0..1), or the JSON form of wutdet.dataset.leaks.LeakRate.
    """
    rate = leak_rate.get("rate") if isinstance(leak_rate, Mapping) else leak_rate
    return f"{100 * rate:.1f} %" if is_number(rate) else "not measured"


def leak_details(leak_rate: object) -> str:
    """The leak rate with its kinds and what was compared, as far as that is known."""
    text = leak_text(leak_rate)
    if not isinstance(leak_rate, Mapping) or not is_number(leak_rate.get("rate")):
        return text
    kinds = [f"{kind} {leak_text(leak_rate[kind])}" for kind in LEAK_KINDS if is_number(leak_rate.get(kind))]
    if kinds:
        text += f" ({', '.join(kinds)})"
    if is_number(leak_rate.get("frames")):
        text += f" of {plain(leak_rate['frames'])} frames"
    if leak_rate.get("against") is not None:
        text += f" against '{leak_rate['against']}'"
    return text


def plain(value: object) -> str:
    """Any JSON value in one line of text."""
    if value is None or value != value:  # NaN
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_number(value):
        return format_number(value, 6)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value)
    return str(value)


def size_hw_text(imgsz: object) -> str:
    """Network input as ``width×height``; one number means the long side."""
    if isinstance(imgsz, (list, tuple)) and len(imgsz) == 2:
        return f"{plain(imgsz[1])}×{plain(imgsz[0])} px"
    return f"{plain(imgsz)} px, long side" if is_number(imgsz) else plain(imgsz)


def environment_protocol(environment: Mapping) -> dict[str, object]:
    """Machine and versions, as far as they are known."""
    versions = environment.get("versions")
    known = {
        "CPU": environment.get("cpu"),
        "CPU cores": environment.get("cpu_cores"),
        "GPU": environment.get("gpu"),
        "threads": environment.get("threads", environment.get("torch_threads")),
        "system": environment.get("system"),
        "Python": environment.get("python"),
        "versions": plain(versions) if isinstance(versions, Mapping) else versions,
        "commit": environment.get("git_commit"),
        "seed": environment.get("seed"),
    }
    return {key: plain(value) for key, value in known.items() if value is not None}


# Keys of the evaluation protocol in the order in which they are shown, and their names; others follow as they are.
_PROTOCOL_WORDS = {
    "dataset": "data",
    "split": "split",
    "images": "images",
    "input_size": "input size",
    "max_dets": "maxDets",
    "model": "model",
    "preset": "preset",
    "boxes": "ships",
    "data": "data as typed",
    "conf": "lowest score",
    "tile": "tiles",
    "tile_overlap": "overlap of tiles",
    "tile_full_frame": "whole frame beside the tiles",
    "tile_merge_iou": "NMS between tiles, IoU",
    "tiles_per_frame": "tiles and whole frame, per frame",
    "threads": "threads",
    "cpu": "CPU",
    "device": "device",
    "versions": "versions",
}
# Long or derived; they stay in eval.json.
_PROTOCOL_HIDDEN = {"area_bins_px2", "categories", "model_categories", "true_positives_50"}


def accuracy_protocol(evaluation: Mapping, environment: Mapping | None = None) -> dict[str, object]:
    """The protocol of an evaluation, with the leak rate beside it, and what else is known of the machine."""
    protocol = evaluation.get("protocol")
    protocol = protocol if isinstance(protocol, Mapping) else {}
    words: dict[str, object] = {}
    for key, name in _PROTOCOL_WORDS.items():
        value = protocol.get(key)
        if value is None:
            continue
        if key == "input_size":
            words[name] = size_hw_text(value)
            if is_number(protocol.get("tile")):
                words[name] += f", for tiles of {plain(protocol['tile'])} px"
            elif protocol.get("tile"):
                words[name] += f", for tiles {plain(protocol['tile'])}"
        elif key == "max_dets" and isinstance(value, Sequence) and not isinstance(value, str) and value:
            words[name] = plain(value[-1])
        else:
            words[name] = plain(value)
    thresholds = protocol.get("iou_thresholds")
    for key, value in protocol.items():
        if key not in _PROTOCOL_WORDS and key not in _PROTOCOL_HIDDEN and key != "iou_thresholds" and value is not None:
            words[key.replace("_", " ")] = plain(value)
    if isinstance(thresholds, (list, tuple)) and thresholds:
        words["IoU"] = f"{plain(thresholds[0])} to {plain(thresholds[-1])}"
    words["leak rate"] = leak_details(evaluation.get("leak_rate"))
    for key, value in environment_protocol(environment or {}).items():
        words.setdefault(key, value)
    return words
