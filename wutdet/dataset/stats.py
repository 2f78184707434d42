"""``wutdet data stats``: how many ships, how small, how dense, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from wutdet.config import StatsConfig
from wutdet.dataset.dataset import Dataset
from wutdet.dataset.load import load_dataset

#: Lower edges in pixels, of sqrt(area). COCO: Lin et al., ECCV 2014; AI-TOD: Wang et al., ICPR 2020 (its smallest
#: bin begins at 2, its largest ends at 64; the outer two bins here hold the rest).
COCO_BINS = {"small": 0, "medium": 32, "large": 96}
AITOD_BINS = {"below_2": 0, "very_tiny": 2, "tiny": 8, "small": 16, "medium": 32, "larger": 64}
QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
#: Slices in the order in which they are printed.
SLICES = ("scene", "condition", "source", "split")


@dataclass(frozen=True)
class StatsResult:
    """The figures of a data set, as ``to_json`` gives them."""

    figures: dict

    def to_json(self) -> dict:
        """See ``statistics``."""
        return self.figures

    def to_text(self) -> str:
        """A readable table."""
        return "\n".join(_text_lines(self.figures))


def run(config: StatsConfig) -> StatsResult:
    """Runs ``wutdet data stats``.

    Raises:
        DataError: the data set cannot be read.
        WutdetError: the picture cannot be written.
    """
    dataset = load_dataset(config.data, config.split, format=config.format, classes=config.classes)
    result = StatsResult(statistics(dataset, config.imgsz))
    if config.plot is not None:
        from wutdet.dataset.stats_plot import write_stats_picture

        write_stats_picture(config.plot, dataset, result.figures)
    return result


def statistics(dataset: Dataset, imgsz: int = 640) -> dict:
    """The figures of a data set, JSON-compatible; ``None`` where there is nothing to take a quantile of.

    ``boxes`` counts all boxes; ``sizes`` only those that are not ignored (``sizes.counted``), by the ``area`` column,
    as pycocotools does, in bins that hold their lower edge. ``sizes.input`` is the same after each frame is scaled so
    that its long side is ``imgsz``. ``slices`` repeats all of it per scene, condition (``clear``: none tagged), source
    and split, where these are tagged.

    Args:
        dataset: what to count.
        imgsz: long side of the network input in pixels.
    """
    sequences = dataset.sequence.counts()
    return {
        "schema": "wutdet.data.stats/1",
        "name": dataset.name,
        **_figures(dataset, imgsz),
        "sources": dataset.source.counts(),
        "splits": dataset.split.counts(),
        "scenes": dataset.scene.counts(),
        "conditions": {name: int(dataset.has_condition(name).sum()) for name in _conditions(dataset)},
        "images_per_sequence": sequences,
        "slices": {
            kind: {name: _figures(dataset.select(rows), imgsz) for name, rows in slices_of(dataset, kind)}
            for kind in SLICES
        },
    }


def slices_of(dataset: Dataset, kind: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and image rows (bool [M]) of each slice of a kind; frames without that tag are in ``untagged``."""
    if kind == "condition":
        for name in _conditions(dataset):
            yield name, dataset.has_condition(name)
        return
    column = dataset.labels[kind]
    counts = column.counts()
    for name in counts:
        yield name, column.is_(name)
    untagged = np.asarray(column.codes) < 0
    if counts and untagged.any():
        yield "untagged", untagged


def _conditions(dataset: Dataset) -> list[str]:
    """The conditions that occur, ``clear`` first; none where no frame is tagged with any."""
    found = [name for name in dataset.condition_names if dataset.has_condition(name).any()]
    return [*(["clear"] if found and dataset.has_condition("clear").any() else []), *found]


def _figures(dataset: Dataset, imgsz: int) -> dict:
    per_image = dataset.boxes_per_image()
    ignored = int(np.asarray(dataset.ignore).sum())
    boxes = np.bincount(dataset.category, minlength=len(dataset.category_names)).tolist()
    frame_wh, frames = np.unique(np.asarray(dataset.size_wh).reshape(-1, 2), axis=0, return_counts=True)
    order = np.argsort(-frames, kind="stable")
    return {
        "images": len(dataset),
        "images_without_ships": int((per_image == 0).sum()),
        "boxes": dataset.box_count,
        "ignored_boxes": ignored,
        "categories": dict(zip(dataset.category_names, boxes, strict=True)),
        "sequences": len(dataset.sequence.counts()),
        "boxes_per_image": _density(per_image),
        "sizes": _sizes(dataset, imgsz),
        "frame_sizes": {f"{frame_wh[i][0]}x{frame_wh[i][1]}": int(frames[i]) for i in order},
    }


def _density(per_image: np.ndarray) -> dict:
    """Mean, median, 95th percentile, maximum, and the number of images for each number of boxes."""
    if not len(per_image):
        return {"mean": None, "median": None, "p95": None, "max": None, "histogram": {}}
    images = np.bincount(per_image)
    return {
        "mean": float(per_image.mean()),
        "median": float(np.median(per_image)),
        "p95": float(np.quantile(per_image, 0.95)),
        "max": int(per_image.max()),
        "histogram": {str(boxes): int(images[boxes]) for boxes in np.flatnonzero(images)},
    }


def counted_sizes(dataset: Dataset, imgsz: int) -> tuple[np.ndarray, np.ndarray]:
    """float64 [K] sqrt(area) of the boxes that are not ignored, in frame pixels and in network-input pixels."""
    kept = ~np.asarray(dataset.ignore)
    size = np.sqrt(np.maximum(np.asarray(dataset.area)[kept], 0))
    long_side = np.asarray(dataset.size_wh).max(axis=1, initial=1)[np.asarray(dataset.box_image)[kept]]
    return size, size * (imgsz / long_side)


def _sizes(dataset: Dataset, imgsz: int) -> dict:
    size, input_size = counted_sizes(dataset, imgsz)
    xyxy = np.asarray(dataset.xyxy)[~np.asarray(dataset.ignore)]
    width, height = xyxy[:, 2] - xyxy[:, 0], xyxy[:, 3] - xyxy[:, 1]
    real = (width > 0) & (height > 0)
    return {
        "counted": len(size),
        **_binned(size),
        "sqrt_area": _quantiles(size),
        "width": _quantiles(width),
        "height": _quantiles(height),
        "aspect": _quantiles(width[real] / height[real]),
        "input": {"imgsz": imgsz, **_binned(input_size), "sqrt_area": _quantiles(input_size)},
    }


def _binned(size: np.ndarray) -> dict:
    """Boxes, and their share of all, per COCO and AI-TOD bin."""
    out: dict = {}
    for scheme, bins in (("coco", COCO_BINS), ("aitod", AITOD_BINS)):
        edges = np.array([*bins.values(), np.inf])
        counts = np.diff(np.searchsorted(np.sort(size), edges)).tolist()
        out[scheme] = dict(zip(bins, counts, strict=True))
        out[f"{scheme}_share"] = {
            name: count / len(size) if len(size) else None for name, count in zip(bins, counts, strict=True)
        }
    return out


def _quantiles(values: np.ndarray) -> dict:
    if not len(values):
        return dict.fromkeys(QUANTILES)
    return dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())).tolist(), strict=True))


# --- text ------------------------------------------------------------------------------------------------------


def octaves(histogram: Mapping[str, int]) -> dict[str, int]:
    """Images per number of boxes, in the bins 0, 1, 2, 3-4, 5-8, 9-16, ..."""
    most = max((int(boxes) for boxes in histogram), default=0)
    bins: dict[str, int] = {}
    low, high = 0, 0
    while low <= most:
        name = str(low) if low == high else f"{low}-{high}"
        bins[name] = sum(images for boxes, images in histogram.items() if low <= int(boxes) <= high)
        low, high = high + 1, max(1, 2 * high)
    return bins


def _text_lines(figures: dict) -> Iterator[str]:
    sizes, density = figures["sizes"], figures["boxes_per_image"]
    imgsz = sizes["input"]["imgsz"]
    yield (
        f"{figures['name'] or 'data set'}: {figures['images']:,} images ({figures['images_without_ships']:,} without "
        f"ships), {figures['boxes']:,} boxes ({figures['ignored_boxes']:,} ignored), {figures['sequences']:,} sequences"
    )
    yield ""
    for title, counts in (
        ("classes", figures["categories"]),
        ("splits", figures["splits"]),
        ("frames", figures["frame_sizes"]),
    ):
        yield f"{title:<16}{_listed(counts)}"
    yield ""
    if density["max"] is not None:
        yield (
            f"boxes per image: mean {density['mean']:.2f}, median {density['median']:g}, "
            f"95 % of images have at most {density['p95']:g}, most {density['max']}"
        )
        bins = octaves(density["histogram"])
        for name, images in bins.items():
            yield f"{name:>9} {images:>8,}  {'#' * round(40 * images / max(bins.values()))}".rstrip()
        yield ""
    if sizes["counted"]:
        yield from _size_lines(sizes, imgsz)
        yield ""
    yield from _slice_lines(figures, imgsz)


def _listed(counts: Mapping[str, int], most: int = 6) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:most]]
    more = [f"and {len(counts) - most} more"] if len(counts) > most else []
    return ", ".join(shown + more) or "none"


def _size_lines(sizes: dict, imgsz: int) -> Iterator[str]:
    yield f"{'pixels':<28}{''.join(f'{name:>9}' for name in QUANTILES)}"
    rows = {
        "sqrt(area)": sizes["sqrt_area"],
        "width": sizes["width"],
        "height": sizes["height"],
        f"sqrt(area) at input {imgsz}": sizes["input"]["sqrt_area"],
        "aspect (width / height)": sizes["aspect"],
    }
    for name, quantiles in rows.items():
        digits = 2 if name.startswith("aspect") else 1
        yield f"{name:<28}" + "".join(f"{'-' if v is None else f'{v:.{digits}f}':>9}" for v in quantiles.values())
    for scheme, bins in (("coco", COCO_BINS), ("aitod", AITOD_BINS)):
        yield ""
        yield f"{'COCO bins' if scheme == 'coco' else 'AI-TOD bins':<28}{'boxes':>9}{'share':>9}{f'at {imgsz}':>9}"
        for (name, low), high in zip(bins.items(), [*list(bins.values())[1:], None], strict=True):
            if scheme == "aitod" and not low and not sizes[scheme][name] and not sizes["input"][scheme][name]:
                continue
            edges = f"below {high} px" if not low else f"{low} px and up" if high is None else f"{low} to {high} px"
            share, scaled = sizes[f"{scheme}_share"][name], sizes["input"][f"{scheme}_share"][name]
            yield (
                f"  {name.replace('_', ' '):<11}{edges:<15}{sizes[scheme][name]:>9,}"
                f"{100 * share:>7.1f} %{100 * scaled:>7.1f} %"
            )


def _slice_lines(figures: dict, imgsz: int) -> Iterator[str]:
    rows = [("", "all", figures)]
    rows += [(name, kind, part) for kind in SLICES for name, part in figures["slices"][kind].items()]
    width = min(40, max(len(name) for name, _, _ in rows) + 2)
    yield (
        f"{'':<11}{'':<{width}}{'images':>8}{'empty':>7}{'boxes':>9}{'per img':>8}"
        f"{'small':>8}{'medium':>8}{'large':>8}{'median px':>11}{f'at {imgsz}':>9}"
    )
    previous = None
    for name, kind, part in rows:
        sizes, share = part["sizes"], part["sizes"]["coco_share"]
        label = kind if kind != previous else ""
        previous = kind
        line = (
            f"{label:<11}{name[: width - 1]:<{width}}{part['images']:>8,}{part['images_without_ships']:>7,}"
            f"{part['boxes']:>9,}"
        )
        mean = part["boxes_per_image"]["mean"]
        line += f"{'-' if mean is None else f'{mean:.2f}':>8}"
        line += "".join(f"{'-' if v is None else f'{100 * v:.1f} %':>8}" for v in share.values())
        for median, column in ((sizes["sqrt_area"]["p50"], 11), (sizes["input"]["sqrt_area"]["p50"], 9)):
            line += f"{'-' if median is None else f'{median:.1f}':>{column}}"
        yield line
